//! rtnetlink questions and answers as bytes (`netlink(7)`, `rtnetlink(7)`): pure, safe, and fuzzed.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::num::NonZeroU32;

use linux_raw_sys::net::{AF_INET, AF_INET6};
use linux_raw_sys::netlink::{
    self, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NLMSG_DONE, NLMSG_ERROR, ifaddrmsg, ifinfomsg, nlmsghdr, rtmsg,
};

use crate::error::Errno;
use crate::group::Name;

const HEADER: usize = size_of::<nlmsghdr>();
/// The longest question: header, body, and two attributes of which one is an IPv6 address.
const QUESTION: usize = 64;

const GET_LINK: u16 = netlink::RTM_GETLINK as u16;
const GET_ADDRESS: u16 = netlink::RTM_GETADDR as u16;
const GET_ROUTE: u16 = netlink::RTM_GETROUTE as u16;
const NEW_LINK: u16 = netlink::RTM_NEWLINK as u16;
const NEW_ADDRESS: u16 = netlink::RTM_NEWADDR as u16;
const NEW_ROUTE: u16 = netlink::RTM_NEWROUTE as u16;
const DELETED_LINK: u16 = netlink::RTM_DELLINK as u16;
const DELETED_ADDRESS: u16 = netlink::RTM_DELADDR as u16;
const DELETED_ROUTE: u16 = netlink::RTM_DELROUTE as u16;
const FAILED: u16 = NLMSG_ERROR as u16;
const DONE: u16 = NLMSG_DONE as u16;

const LINK_NAME: u16 = netlink::IFLA_IFNAME as u16;
const ADDRESS_PEER: u16 = netlink::IFA_ADDRESS as u16;
const ADDRESS_LOCAL: u16 = netlink::IFA_LOCAL as u16;
const ROUTE_TO: u16 = netlink::rtattr_type_t::RTA_DST as u16;
const ROUTE_INTERFACE: u16 = netlink::rtattr_type_t::RTA_OIF as u16;
const ROUTE_SOURCE: u16 = netlink::rtattr_type_t::RTA_PREFSRC as u16;

/// A question, ready to be sent.
pub(crate) struct Question {
    bytes: heapless::Vec<u8, QUESTION>,
}

impl Question {
    /// Which interface has this name?
    pub(crate) fn link(name: &Name) -> Self {
        Self::new(GET_LINK, 0, 0, size_of::<ifinfomsg>()).with(LINK_NAME, name.as_c_bytes())
    }

    /// Which interfaces are there?
    pub(crate) fn links() -> Self {
        Self::new(GET_LINK, NLM_F_DUMP, 0, size_of::<ifinfomsg>())
    }

    /// Is there an interface of this index?
    pub(crate) fn link_of(index: NonZeroU32) -> Self {
        let question = Self::new(GET_LINK, 0, 0, size_of::<ifinfomsg>());
        // Family and padding, type, index.
        let place = HEADER.saturating_add(4);
        index.get().to_ne_bytes().into_iter().zip(place..).fold(question, |question, (byte, at)| question.patched(at, byte))
    }

    /// Which addresses are there?
    pub(crate) fn addresses(of_ipv4: bool) -> Self {
        Self::new(GET_ADDRESS, NLM_F_DUMP, if of_ipv4 { AF_INET } else { AF_INET6 }, size_of::<ifaddrmsg>())
    }

    /// Which way would a packet to this address take, on this interface or on any?
    pub(crate) fn route(to: IpAddr, interface: Option<NonZeroU32>) -> Self {
        let question = match to {
            IpAddr::V4(to) => Self::new(GET_ROUTE, 0, AF_INET, size_of::<rtmsg>()).with(ROUTE_TO, &to.octets()),
            IpAddr::V6(to) => Self::new(GET_ROUTE, 0, AF_INET6, size_of::<rtmsg>()).with(ROUTE_TO, &to.octets()),
        };
        // The length of the destination's prefix is the second byte of the body: all of its bits.
        let question = question.patched(HEADER.saturating_add(1), if to.is_ipv4() { 32 } else { 128 });
        match interface {
            Some(index) => question.with(ROUTE_INTERFACE, &index.get().to_ne_bytes()),
            None => question,
        }
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// A header, and a body of zeros that begins with the address family.
    fn new(kind: u16, flags: u32, family: u32, body: usize) -> Self {
        let mut question = Self { bytes: heapless::Vec::new() };
        question.push(&0_u32.to_ne_bytes());
        question.push(&kind.to_ne_bytes());
        question.push(&((NLM_F_REQUEST | flags) as u16).to_ne_bytes());
        question.push(&[0; 8]);
        question.push(&[family as u8]);
        for _ in 1..body {
            question.push(&[0]);
        }
        question.measured()
    }

    /// One attribute more.
    fn with(mut self, kind: u16, value: &[u8]) -> Self {
        self.push(&(value.len().saturating_add(4) as u16).to_ne_bytes());
        self.push(&kind.to_ne_bytes());
        self.push(value);
        self.measured()
    }

    fn patched(mut self, place: usize, value: u8) -> Self {
        if let Some(byte) = self.bytes.get_mut(place) {
            *byte = value;
        }
        self
    }

    /// Writes the length into the header.
    fn measured(mut self) -> Self {
        let length = self.bytes.len() as u32;
        for (to, from) in self.bytes.iter_mut().zip(length.to_ne_bytes()) {
            *to = from;
        }
        self
    }

    fn push(&mut self, bytes: &[u8]) {
        // QUESTION is the longest there is, as the tests show: nothing is ever left out.
        let _ = self.bytes.extend_from_slice(bytes);
    }
}

/// One message of the kernel's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Link {
        interface: u32,
        /// `IFF_UP` and others (`netdevice(7)`).
        flags: u32,
        name: Option<Name>,
        is_gone: bool,
    },
    Address {
        interface: u32,
        address: Option<IpAddr>,
        is_gone: bool,
    },
    Route {
        interface: Option<u32>,
        source: Option<IpAddr>,
    },
    Failed(Errno),
    /// A list changed while it was read: it is to be asked for again.
    Interrupted,
    /// The end of a list, or an acknowledgement.
    Done,
    /// Something that we did not ask for.
    Other,
}

/// The messages in these bytes. A message that is cut off at the end is read as far as it is there; a length that cannot be
/// ends the list.
pub(crate) fn answers(bytes: &[u8]) -> impl Iterator<Item = Answer> {
    let mut rest = bytes;
    core::iter::from_fn(move || {
        let (answer, is_interrupted, after) = first(rest)?;
        rest = after;
        Some(if is_interrupted { Answer::Interrupted } else { answer })
    })
}

/// The first message in these bytes; whether it belongs to a list that changed while it was written; and the bytes behind it.
pub(crate) fn first(bytes: &[u8]) -> Option<(Answer, bool, &[u8])> {
    let (length, after) = bytes.split_first_chunk::<4>()?;
    let (kind, after) = after.split_first_chunk::<2>()?;
    let flags = after.first_chunk::<2>()?;
    let length = u32::from_ne_bytes(*length) as usize;
    let body = bytes.get(HEADER..length).or_else(|| bytes.get(HEADER..).filter(|_| length >= HEADER))?;
    let rest = length.checked_next_multiple_of(4).and_then(|next| bytes.get(next..)).unwrap_or(&[]);
    let is_interrupted = u32::from(u16::from_ne_bytes(*flags)) & NLM_F_DUMP_INTR != 0;
    Some((answer(u16::from_ne_bytes(*kind), body).unwrap_or(Answer::Other), is_interrupted, rest))
}

fn answer(kind: u16, body: &[u8]) -> Option<Answer> {
    match kind {
        // Bridges tell of their ports by messages of the same type and another family: a port that leaves a bridge is not gone.
        NEW_LINK | DELETED_LINK if body.first() == Some(&0) => {
            // Family and padding, type, index, flags.
            let (_, index) = body.split_first_chunk::<4>()?;
            let name = body.get(size_of::<ifinfomsg>()..).and_then(|attributes| attribute(attributes, LINK_NAME));
            Some(Answer::Link {
                interface: number(index)?,
                flags: index.get(4..).and_then(number).unwrap_or(0),
                name: name.and_then(Name::from_c_bytes),
                is_gone: kind == DELETED_LINK,
            })
        }
        NEW_ADDRESS | DELETED_ADDRESS => {
            // Family, prefix length, flags, scope, index.
            let (_, index) = body.split_first_chunk::<4>()?;
            let attributes = body.get(size_of::<ifaddrmsg>()..)?;
            // On a point-to-point link the local address is ours, and the other one is the peer's.
            let value = attribute(attributes, ADDRESS_LOCAL).or_else(|| attribute(attributes, ADDRESS_PEER));
            Some(Answer::Address {
                interface: number(index)?,
                address: value.and_then(ip),
                is_gone: kind == DELETED_ADDRESS,
            })
        }
        DELETED_ROUTE => Some(Answer::Route { interface: None, source: None }),
        NEW_ROUTE => {
            let attributes = body.get(size_of::<rtmsg>()..)?;
            Some(Answer::Route {
                interface: attribute(attributes, ROUTE_INTERFACE).and_then(number),
                source: attribute(attributes, ROUTE_SOURCE).and_then(ip),
            })
        }
        FAILED => {
            Some(match number(body)?.cast_signed() {
                0 => Answer::Done,
                errno @ -4095..=-1 => Answer::Failed(Errno(errno.unsigned_abs() as u16)),
                // A refusal all the same; cut to 16 bits it could read as errno 0, which is none.
                _ => Answer::Failed(Errno::PROTOCOL),
            })
        }
        DONE => Some(Answer::Done),
        _ => None,
    }
}

/// The value of the first attribute of this type.
fn attribute(attributes: &[u8], wanted: u16) -> Option<&[u8]> {
    let mut rest = attributes;
    loop {
        let (length, after) = rest.split_first_chunk::<2>()?;
        let (kind, _) = after.split_first_chunk::<2>()?;
        let length = usize::from(u16::from_ne_bytes(*length));
        let value = rest.get(4..length)?;
        if u16::from_ne_bytes(*kind) == wanted {
            return Some(value);
        }
        // At least 4, or the value would not have been there: this ends.
        rest = rest.get(length.checked_next_multiple_of(4)?..)?;
    }
}

fn number(bytes: &[u8]) -> Option<u32> {
    bytes.first_chunk::<4>().map(|bytes| u32::from_ne_bytes(*bytes))
}

fn ip(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => bytes.first_chunk::<4>().map(|bytes| Ipv4Addr::from_bits(u32::from_be_bytes(*bytes)).into()),
        16 => bytes.first_chunk::<16>().map(|bytes| Ipv6Addr::from_bits(u128::from_be_bytes(*bytes)).into()),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
