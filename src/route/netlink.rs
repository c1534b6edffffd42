//! rtnetlink questions and answers as bytes (`netlink(7)`, `rtnetlink(7)`): pure, safe, and fuzzed.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::num::NonZeroU32;

use linux_raw_sys::net::{AF_INET, AF_INET6};
use linux_raw_sys::netlink::{
    self, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NLMSG_DONE, NLMSG_ERROR, RTEXT_FILTER_SKIP_STATS, RTM_F_FIB_MATCH,
    RTPROT_KERNEL, if_stats_msg, ifaddrmsg, ifinfomsg, nlmsghdr, rtmsg,
};

use crate::address::put;
use crate::error::Errno;
use crate::group::Name;

const HEADER: usize = size_of::<nlmsghdr>();
/// The longest question: header, body, and two attributes of which one is an IPv6 address.
const QUESTION: usize = 64;

const GET_LINK: u16 = netlink::RTM_GETLINK as u16;
const GET_ADDRESS: u16 = netlink::RTM_GETADDR as u16;
const GET_ROUTE: u16 = netlink::RTM_GETROUTE as u16;
const GET_COUNTERS: u16 = netlink::RTM_GETSTATS as u16;
const NEW_LINK: u16 = netlink::RTM_NEWLINK as u16;
const NEW_ADDRESS: u16 = netlink::RTM_NEWADDR as u16;
const NEW_ROUTE: u16 = netlink::RTM_NEWROUTE as u16;
const NEW_RULE: u16 = netlink::RTM_NEWRULE as u16;
const NEW_NEXT_HOP: u16 = netlink::RTM_NEWNEXTHOP as u16;
const NEW_COUNTERS: u16 = netlink::RTM_NEWSTATS as u16;
const DELETED_LINK: u16 = netlink::RTM_DELLINK as u16;
const DELETED_ADDRESS: u16 = netlink::RTM_DELADDR as u16;
const DELETED_ROUTE: u16 = netlink::RTM_DELROUTE as u16;
const DELETED_RULE: u16 = netlink::RTM_DELRULE as u16;
const DELETED_NEXT_HOP: u16 = netlink::RTM_DELNEXTHOP as u16;
const FAILED: u16 = NLMSG_ERROR as u16;
const DONE: u16 = NLMSG_DONE as u16;

const LINK_NAME: u16 = netlink::IFLA_IFNAME as u16;
const LINK_MASK: u16 = netlink::IFLA_EXT_MASK as u16;
const LINK_MTU: u16 = netlink::IFLA_MTU as u16;
const LINK_MASTER: u16 = netlink::IFLA_MASTER as u16;
const LINK_INFO: u16 = netlink::IFLA_LINKINFO as u16;
const INFO_PORT_OF: u16 = netlink::IFLA_INFO_SLAVE_KIND as u16;
const ADDRESS_PEER: u16 = netlink::IFA_ADDRESS as u16;
const ADDRESS_LOCAL: u16 = netlink::IFA_LOCAL as u16;
const ROUTE_TO: u16 = netlink::rtattr_type_t::RTA_DST as u16;
const ROUTE_INTERFACE: u16 = netlink::rtattr_type_t::RTA_OIF as u16;
const ROUTE_SOURCE: u16 = netlink::rtattr_type_t::RTA_PREFSRC as u16;

/// The kinds of masters that take all packets of their ports: a socket that joins on a port receives nothing. (A master of
/// another kind, as a virtual routing domain, leaves the packets with the interface.)
const TAKE_ALL: [&[u8]; 4] = [b"bridge", b"bond", b"team", b"openvswitch"];

/// A question, ready to be sent.
pub(crate) struct Question {
    bytes: [u8; QUESTION],
    length: usize,
    /// Whether the kernel is to take each field of it into account.
    pub(super) is_strict: bool,
}

impl Question {
    /// Which interfaces are there?
    ///
    /// Without a mask, the kernel ends the list, without an error, at an interface whose description is longer than 8 KiB. With any, it
    /// writes longer pieces. This one leaves out counters.
    pub(crate) fn links() -> Self {
        Self::new(GET_LINK, NLM_F_DUMP, 0, size_of::<ifinfomsg>()).with(LINK_MASK, &RTEXT_FILTER_SKIP_STATS.to_ne_bytes())
    }

    /// Is there an interface of this index?
    pub(crate) fn link_of(index: NonZeroU32) -> Self {
        // Family and padding, type, index.
        Self::new(GET_LINK, 0, 0, size_of::<ifinfomsg>()).patched(4, &index.get().to_ne_bytes())
    }

    /// Which interfaces are there, with their counters? The answers are short, whatever the interfaces are called.
    pub(crate) fn counters() -> Self {
        // Family and padding, index, and which counters: those of `IFLA_STATS_LINK_64`. Without any, it would be no valid question.
        Self::new(GET_COUNTERS, NLM_F_DUMP, 0, size_of::<if_stats_msg>()).patched(8, &1_u32.to_ne_bytes())
    }

    /// Which addresses are there?
    pub(crate) fn addresses(of_ipv4: bool) -> Self {
        Self::new(GET_ADDRESS, NLM_F_DUMP, if of_ipv4 { AF_INET } else { AF_INET6 }, size_of::<ifaddrmsg>())
    }

    /// Which addresses are there on this interface? On a socket that is strict about questions (`NETLINK_GET_STRICT_CHK`, Linux 4.20); any
    /// other gets the addresses of all interfaces.
    pub(crate) fn addresses_on(interface: NonZeroU32, of_ipv4: bool) -> Self {
        // Family, prefix length, flags, scope, index.
        Self { is_strict: true, ..Self::addresses(of_ipv4).patched(4, &interface.get().to_ne_bytes()) }
    }

    /// Which way would a packet to this address take, on this interface or on any?
    pub(crate) fn route(to: IpAddr, interface: Option<NonZeroU32>) -> Self {
        let question = match to {
            IpAddr::V4(to) => Self::new(GET_ROUTE, 0, AF_INET, size_of::<rtmsg>()).with(ROUTE_TO, &to.octets()),
            IpAddr::V6(to) => Self::new(GET_ROUTE, 0, AF_INET6, size_of::<rtmsg>()).with(ROUTE_TO, &to.octets()),
        };
        // The length of the destination's prefix is the second byte of the body: all of its bits.
        let question = question.patched(1, &[if to.is_ipv4() { 32 } else { 128 }]);
        match interface {
            Some(index) => question.with(ROUTE_INTERFACE, &index.get().to_ne_bytes()),
            None => question,
        }
    }

    /// As [`route`](Self::route), but what the administrator wrote: with a source address only if the route names one.
    pub(crate) fn written_route(to: IpAddr) -> Self {
        // Family, three lengths and the type of service, table, protocol, scope, type, flags.
        Self::route(to, None).patched(8, &RTM_F_FIB_MATCH.to_ne_bytes())
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or(&self.bytes)
    }

    /// A header, and a body of zeros that begins with the address family.
    fn new(kind: u16, flags: u32, family: u32, body: usize) -> Self {
        let mut question = Self { bytes: [0; QUESTION], length: HEADER.saturating_add(body), is_strict: false };
        put(&mut question.bytes, 4, &kind.to_ne_bytes());
        put(&mut question.bytes, 6, &((NLM_F_REQUEST | flags) as u16).to_ne_bytes());
        question.patched(0, &[family as u8]).measured()
    }

    /// Adds an attribute. QUESTION has room for all attributes in use, as the tests show.
    fn with(mut self, kind: u16, value: &[u8]) -> Self {
        let length = value.len().saturating_add(4);
        put(&mut self.bytes, self.length, &(length as u16).to_ne_bytes());
        put(&mut self.bytes, self.length.saturating_add(2), &kind.to_ne_bytes());
        put(&mut self.bytes, self.length.saturating_add(4), value);
        self.length = self.length.saturating_add(length);
        self.measured()
    }

    /// Overwrites bytes of the body.
    fn patched(mut self, place: usize, value: &[u8]) -> Self {
        put(&mut self.bytes, HEADER.saturating_add(place), value);
        self
    }

    /// Writes the length into the header.
    fn measured(mut self) -> Self {
        put(&mut self.bytes, 0, &(self.length as u32).to_ne_bytes());
        self
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
        /// The longest packet; 0 if it is not told.
        mtu: u32,
        /// The index of the bridge, routing domain or other interface that it belongs to; 0 for none.
        master: u32,
        /// Whether that one takes all its packets.
        is_port: bool,
        is_gone: bool,
    },
    Address {
        interface: u32,
        address: Option<IpAddr>,
        /// An address in the network that is reached over this interface, and how many of its first bits all of them share.
        network: Option<IpAddr>,
        prefix: u8,
        is_gone: bool,
    },
    /// A route; without an interface, something that may have changed routes: one that was removed, a rule, a next hop.
    Route {
        interface: Option<u32>,
        source: Option<IpAddr>,
    },
    /// The counters of an interface.
    Counters {
        interface: u32,
    },
    Failed(Errno),
    /// The end of a list, or an acknowledgement.
    Done,
    /// A message of another kind.
    Other,
}

/// One message of the kernel's answer, not parsed yet.
#[derive(Clone, Copy)]
pub(crate) struct Message<'a> {
    kind: u16,
    /// See [`is_interrupted`](Self::is_interrupted).
    is_interrupted: bool,
    body: &'a [u8],
}

impl<'a> Message<'a> {
    /// The first message in these bytes, and the bytes after it. Of a message that is cut off, the present part is read. `None`
    /// at the end, and for an impossible length.
    pub(crate) fn first(bytes: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let (length, after) = bytes.split_first_chunk::<4>()?;
        let (kind, after) = after.split_first_chunk::<2>()?;
        let flags = after.first_chunk::<2>()?;
        let length = u32::from_ne_bytes(*length) as usize;
        let body = bytes.get(HEADER..length).or_else(|| bytes.get(HEADER..).filter(|_| length >= HEADER))?;
        let rest = length.checked_next_multiple_of(4).and_then(|next| bytes.get(next..)).unwrap_or(&[]);
        let is_interrupted = u32::from(u16::from_ne_bytes(*flags)) & NLM_F_DUMP_INTR != 0;
        Some((Self { kind: u16::from_ne_bytes(*kind), is_interrupted, body }, rest))
    }

    /// Parses the message, as a report of a change or of a list. Callers that need only one kind use the methods below, so that the other
    /// parsers are not linked.
    pub(crate) fn answer(self) -> Answer {
        let route = || if self.leads_to_no_group() { None } else { self.route() };
        let found = self.last().or_else(|| self.link()).or_else(|| self.address()).or_else(route);
        found.or_else(|| self.counters()).unwrap_or(Answer::Other)
    }

    /// Whether it belongs to a list that changed while the kernel wrote it (`NLM_F_DUMP_INTR`): entries may be missing or come
    /// twice, so the list is to be asked for again. What this message says is true all the same.
    pub(crate) const fn is_interrupted(self) -> bool {
        self.is_interrupted
    }

    /// Whether it ends the answer for those who ask again where a list [changed](Self::is_interrupted): `Done`, or `Failed`, which
    /// is `EINTR` for such a list.
    pub(crate) fn end(self) -> Option<Answer> {
        if self.is_interrupted { Some(Answer::Failed(Errno::INTERRUPTED)) } else { self.last() }
    }

    /// Whether it says that it is the last one: `Failed`, `Done`.
    fn last(self) -> Option<Answer> {
        match self.kind {
            // A list that the kernel could not write to its end says why in its last message.
            FAILED | DONE => Some(match number(self.body).map(u32::cast_signed) {
                None if self.kind == FAILED => return None,
                None | Some(0..) if self.kind == DONE => Answer::Done,
                Some(0) => Answer::Done,
                Some(errno @ -4095..=-1) => Answer::Failed(Errno(errno.unsigned_abs() as u16)),
                // Still an error; cut to 16 bits it could become errno 0, which means success.
                _ => Answer::Failed(Errno::PROTOCOL),
            }),
            _ => None,
        }
    }

    pub(crate) fn link(self) -> Option<Answer> {
        let Self { kind: NEW_LINK | DELETED_LINK, body, .. } = self else { return None };
        // Family and padding, type, index, flags. Bridges report their ports with messages of the same type but another family; a
        // port that leaves a bridge still exists.
        let (family, index) = body.split_first_chunk::<4>()?;
        if family.first() != Some(&0) {
            return None;
        }
        let attributes = body.get(size_of::<ifinfomsg>()..).unwrap_or(&[]);
        let number_of = |kind| attribute(attributes, kind).and_then(number).unwrap_or(0);
        let port_of = attribute(attributes, LINK_INFO).and_then(|info| attribute(info, INFO_PORT_OF));
        let port_of = port_of.and_then(|kind| kind.split(|byte| *byte == 0).next()).unwrap_or(&[]);
        Some(Answer::Link {
            interface: number(index)?,
            flags: index.get(4..).and_then(number).unwrap_or(0),
            name: attribute(attributes, LINK_NAME).and_then(Name::from_c_bytes),
            mtu: number_of(LINK_MTU),
            master: number_of(LINK_MASTER),
            is_port: TAKE_ALL.contains(&port_of),
            is_gone: self.kind == DELETED_LINK,
        })
    }

    pub(crate) fn address(self) -> Option<Answer> {
        let Self { kind: NEW_ADDRESS | DELETED_ADDRESS, body, .. } = self else { return None };
        // Family, prefix length, flags, scope, index.
        let ([_, prefix, ..], index) = body.split_first_chunk::<4>()?;
        let attributes = body.get(size_of::<ifaddrmsg>()..)?;
        // On a point-to-point link, the local address is ours, and ADDRESS_PEER is the peer's.
        let peer = attribute(attributes, ADDRESS_PEER);
        Some(Answer::Address {
            interface: number(index)?,
            address: attribute(attributes, ADDRESS_LOCAL).or(peer).and_then(ip),
            network: peer.and_then(ip),
            prefix: *prefix,
            is_gone: self.kind == DELETED_ADDRESS,
        })
    }

    pub(crate) fn route(self) -> Option<Answer> {
        match self.kind {
            DELETED_ROUTE | NEW_RULE | DELETED_RULE | NEW_NEXT_HOP | DELETED_NEXT_HOP => {
                Some(Answer::Route { interface: None, source: None })
            }
            NEW_ROUTE => {
                let attributes = self.body.get(size_of::<rtmsg>()..)?;
                Some(Answer::Route {
                    interface: attribute(attributes, ROUTE_INTERFACE).and_then(number),
                    source: attribute(attributes, ROUTE_SOURCE).and_then(ip),
                })
            }
            _ => None,
        }
    }

    /// Whether it is about a route that packets to groups never take: to a unicast network, and written by an administrator or a routing
    /// daemon. (The kernel's own routes come and go with addresses. When the last one of an interface goes, other routes go, too, without a
    /// message.)
    fn leads_to_no_group(self) -> bool {
        let Self { kind: NEW_ROUTE | DELETED_ROUTE, body, .. } = self else { return false };
        // Family, the length of the destination's prefix, that of the source's, type of service, table, protocol.
        let Some([family, prefix, _, _, _, protocol]) = body.first_chunk() else { return false };
        let attributes = body.get(size_of::<rtmsg>()..).unwrap_or(&[]);
        let Some([first, ..]) = attribute(attributes, ROUTE_TO) else { return false };
        // 224.0.0.0/4 and ff00::/8.
        let (groups, bits) = match u32::from(*family) {
            AF_INET => (0xe0, 4),
            AF_INET6 => (0xff, 8),
            _ => return false,
        };
        let shared = (first ^ groups).leading_zeros();
        u32::from(*protocol) != RTPROT_KERNEL && shared < bits.min((*prefix).into())
    }

    pub(crate) fn counters(self) -> Option<Answer> {
        let Self { kind: NEW_COUNTERS, body, .. } = self else { return None };
        Some(Answer::Counters { interface: body.get(4..).and_then(number)? })
    }
}

/// The messages in these bytes.
#[cfg(any(test, fuzzing))]
pub(crate) fn messages(bytes: &[u8]) -> impl Iterator<Item = Message<'_>> {
    let mut rest = bytes;
    core::iter::from_fn(move || {
        let (message, after) = Message::first(rest)?;
        rest = after;
        Some(message)
    })
}

/// The value of the first attribute of this type.
fn attribute(attributes: &[u8], wanted: u16) -> Option<&[u8]> {
    let mut rest = attributes;
    loop {
        let (length, after) = rest.split_first_chunk::<2>()?;
        let (kind, _) = after.split_first_chunk::<2>()?;
        let length = usize::from(u16::from_ne_bytes(*length));
        let value = rest.get(4..length)?;
        // The upper two bits are flags: newer kernels mark attributes that contain others.
        if u16::from_ne_bytes(*kind) & 0x3fff == wanted {
            return Some(value);
        }
        // The length is at least 4 (checked by reading the value), so the loop ends.
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
