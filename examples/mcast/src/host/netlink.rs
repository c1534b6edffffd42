//! Questions to the kernel by netlink (`netlink(7)`), and a safe reader of its answers: routes, links, bridges and sockets.
//!
//! The kernel answers in full or with an error. A list that changed while it was written, and an answer that was cut off, count as
//! errors: what is missing must not look like "there is none".

use std::time::Duration;

use linux_raw_sys::netlink::{
    NLM_F_ACK, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NLMSG_DONE, NLMSG_ERROR, NLMSG_OVERRUN, nlmsghdr,
};
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::net::netlink::{GENERIC, NETFILTER, SOCK_DIAG, SocketAddrNetlink};
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};

const HEADER: usize = size_of::<nlmsghdr>();
/// The kernel writes pieces of a list of at most 32 KiB, and a single answer that is longer than this is an error here.
const BUFFER: usize = 64 * 1024;
/// The kernel writes an answer before it returns from the question. So this is only for a kernel that does not answer at all.
const PATIENCE: Duration = Duration::from_secs(2);
/// How often a list is asked for that changes while it is written.
const TRIES: u32 = 5;

const ERROR: u16 = NLMSG_ERROR as u16;
const DONE: u16 = NLMSG_DONE as u16;
const OVERRUN: u16 = NLMSG_OVERRUN as u16;

/// A socket for questions.
pub(crate) struct Netlink {
    socket: OwnedFd,
    sequence: u32,
    buffer: Vec<u8>,
}

/// What to ask.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ask {
    /// For one answer: the one that fits.
    One,
    /// For a list of all.
    All,
}

impl Netlink {
    /// For links, addresses, routes, bridges, queues (`rtnetlink(7)`).
    pub(crate) fn route() -> Result<Self, Errno> {
        Self::open(None)
    }

    /// For what has no protocol of its own, as the features of devices.
    pub(crate) fn generic() -> Result<Self, Errno> {
        Self::open(Some(GENERIC))
    }

    /// For firewalls.
    pub(crate) fn netfilter() -> Result<Self, Errno> {
        Self::open(Some(NETFILTER))
    }

    /// For sockets (`sock_diag(7)`).
    pub(crate) fn sockets() -> Result<Self, Errno> {
        Self::open(Some(SOCK_DIAG))
    }

    fn open(protocol: Option<rustix::net::Protocol>) -> Result<Self, Errno> {
        let socket = rustix::net::socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, protocol)?;
        set_socket_timeout(&socket, Timeout::Recv, Some(PATIENCE))?;
        Ok(Self { socket, sequence: 0, buffer: vec![0; BUFFER] })
    }

    /// Asks, and returns the bodies of all messages of the answer, each with its kind.
    pub(crate) fn ask(&mut self, kind: u16, ask: Ask, body: &[u8]) -> Result<Vec<Message>, Errno> {
        for _ in 1..TRIES {
            match self.ask_once(kind, ask, body) {
                Err(Errno::INTR) => {}
                answer => return answer,
            }
        }
        self.ask_once(kind, ask, body)
    }

    fn ask_once(&mut self, kind: u16, ask: Ask, body: &[u8]) -> Result<Vec<Message>, Errno> {
        self.sequence = self.sequence.wrapping_add(1);
        let flags = match ask {
            Ask::One => NLM_F_REQUEST | NLM_F_ACK,
            Ask::All => NLM_F_REQUEST | NLM_F_DUMP,
        };
        let mut question = Vec::with_capacity(HEADER.saturating_add(body.len()));
        question.extend_from_slice(&u32::try_from(HEADER.saturating_add(body.len())).unwrap_or(u32::MAX).to_ne_bytes());
        question.extend_from_slice(&kind.to_ne_bytes());
        question.extend_from_slice(&(flags as u16).to_ne_bytes());
        question.extend_from_slice(&self.sequence.to_ne_bytes());
        // The kernel knows by the socket who asks.
        question.extend_from_slice(&0_u32.to_ne_bytes());
        question.extend_from_slice(body);
        let kernel = SocketAddrNetlink::new(0, 0);
        while let Err(error) = rustix::net::sendto(&self.socket, &question, SendFlags::empty(), &kernel) {
            if error != Errno::INTR {
                return Err(error);
            }
        }
        self.answer()
    }

    fn answer(&mut self) -> Result<Vec<Message>, Errno> {
        let mut messages = Vec::new();
        let mut is_interrupted = false;
        loop {
            let received = rustix::net::recvfrom(&self.socket, self.buffer.as_mut_slice(), RecvFlags::TRUNC);
            let (_, length, from) = match received {
                Err(Errno::INTR) => continue,
                received => received?,
            };
            // Other programs may write to this socket, too.
            let from = from.and_then(|from| SocketAddrNetlink::try_from(from).ok());
            if from.is_none_or(|from| from.pid() != 0) {
                continue;
            }
            let mut rest = self.buffer.get(..length).ok_or(Errno::MSGSIZE)?;
            while let Some((message, after)) = split(rest) {
                rest = after;
                // What is left of an earlier question that ended with an error.
                if message.sequence != self.sequence {
                    continue;
                }
                is_interrupted |= message.is_interrupted;
                match message.kind {
                    ERROR | DONE => {
                        // A list that cannot be written to its end says why in its last message.
                        return match i32_at(message.body, 0).unwrap_or(0) {
                            0.. if is_interrupted => Err(Errno::INTR),
                            0.. => Ok(messages),
                            code => Err(Errno::from_raw_os_error(code.saturating_neg().clamp(1, 4095))),
                        };
                    }
                    OVERRUN => return Err(Errno::NOBUFS),
                    kind => messages.push(Message { kind, body: message.body.into() }),
                }
            }
        }
    }
}

/// One message of an answer.
pub(crate) struct Message {
    pub(crate) kind: u16,
    pub(crate) body: Box<[u8]>,
}

impl Message {
    /// The attributes behind the fixed part of the body, which has this length.
    pub(crate) fn attributes(&self, fixed: usize) -> Attributes<'_> {
        Attributes(self.body.get(aligned(fixed)..).unwrap_or(&[]))
    }
}

struct Raw<'b> {
    kind: u16,
    sequence: u32,
    is_interrupted: bool,
    body: &'b [u8],
}

/// The first message of these bytes, and the bytes behind it. `None` at the end, and for an impossible length.
fn split(bytes: &[u8]) -> Option<(Raw<'_>, &[u8])> {
    let length = u32_at(bytes, 0)? as usize;
    let body = bytes.get(HEADER..length)?;
    let kind = u16_at(bytes, 4)?;
    let is_interrupted = u32::from(u16_at(bytes, 6)?) & NLM_F_DUMP_INTR != 0;
    let rest = bytes.get(aligned(length)..).unwrap_or(&[]);
    Some((Raw { kind, sequence: u32_at(bytes, 8)?, is_interrupted, body }, rest))
}

/// Attributes: kinds, and values of any bytes. A cut one ends them.
#[derive(Clone, Copy)]
pub(crate) struct Attributes<'b>(pub(crate) &'b [u8]);

impl<'b> Attributes<'b> {
    /// The value of the first attribute of this kind.
    pub(crate) fn find(self, kind: u16) -> Option<&'b [u8]> {
        self.into_iter().find_map(|(found, value)| (found == kind).then_some(value))
    }

    /// The attributes inside the first attribute of this kind.
    pub(crate) fn inside(self, kind: u16) -> Option<Self> {
        self.find(kind).map(Self)
    }

    /// The value of the first attribute of this kind, as a number.
    pub(crate) fn number(self, kind: u16) -> Option<u32> {
        u32_at(self.find(kind)?, 0)
    }

    /// The value of the first attribute of this kind, as text that ends with its first zero byte.
    pub(crate) fn text(self, kind: u16) -> Option<String> {
        let bytes = self.find(kind)?.split(|byte| *byte == 0).next()?;
        Some(String::from_utf8_lossy(bytes).into_owned())
    }
}

impl<'b> Iterator for Attributes<'b> {
    type Item = (u16, &'b [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        // Two flags are in the same number.
        const KIND: u16 = 0x3fff;
        let length = usize::from(u16_at(self.0, 0)?);
        let kind = u16_at(self.0, 2)? & KIND;
        let value = self.0.get(4..length)?;
        self.0 = self.0.get(aligned(length)..).unwrap_or(&[]);
        Some((kind, value))
    }
}

/// Adds an attribute to the body of a question.
pub(crate) fn push_attribute(body: &mut Vec<u8>, kind: u16, value: &[u8]) {
    let length = value.len().saturating_add(4);
    body.resize(aligned(body.len()), 0);
    body.extend_from_slice(&u16::try_from(length).unwrap_or(u16::MAX).to_ne_bytes());
    body.extend_from_slice(&kind.to_ne_bytes());
    body.extend_from_slice(value);
    body.resize(aligned(body.len()), 0);
}

/// Messages and attributes begin at multiples of 4.
const fn aligned(length: usize) -> usize {
    length.saturating_add(3) & !3
}

pub(crate) fn u16_at(bytes: &[u8], place: usize) -> Option<u16> {
    bytes.get(place..)?.first_chunk().map(|bytes| u16::from_ne_bytes(*bytes))
}

pub(crate) fn u32_at(bytes: &[u8], place: usize) -> Option<u32> {
    bytes.get(place..)?.first_chunk().map(|bytes| u32::from_ne_bytes(*bytes))
}

pub(crate) fn i32_at(bytes: &[u8], place: usize) -> Option<i32> {
    u32_at(bytes, place).map(u32::cast_signed)
}

pub(crate) fn u64_at(bytes: &[u8], place: usize) -> Option<u64> {
    bytes.get(place..)?.first_chunk().map(|bytes| u64::from_ne_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use linux_raw_sys::netlink::{IFLA_IFNAME, RTM_GETLINK, RTM_NEWLINK, ifinfomsg};

    use super::*;

    #[test]
    fn attributes_come_back_as_they_were_pushed_and_a_cut_one_ends_them() {
        let mut inner = Vec::new();
        push_attribute(&mut inner, 7, &9_u32.to_ne_bytes());
        let mut body = Vec::new();
        push_attribute(&mut body, 1, b"eth0\0");
        push_attribute(&mut body, 2, &5_u32.to_ne_bytes());
        push_attribute(&mut body, 0x8003, &inner);
        let all = Attributes(&body);
        assert_eq!(all.text(1).as_deref(), Some("eth0"));
        assert_eq!(all.number(2), Some(5));
        assert_eq!(all.inside(3).and_then(|inside| inside.number(7)), Some(9));
        assert_eq!(all.find(4), None);
        for length in 0..body.len() {
            let cut = body.get(..length).map(Attributes).unwrap();
            assert!(cut.count() < 3, "{length}");
        }
        // A length below that of its header would never end.
        assert_eq!(Attributes(&[3, 0, 1, 0, 0, 0, 0, 0]).count(), 0);
    }

    #[test]
    fn messages_of_any_bytes_end() {
        for bytes in [&[][..], &[0; 16], &[255; 40], &[16, 0, 0, 0, 3, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0]] {
            let mut rest = bytes;
            let mut count = 0;
            while let Some((_, after)) = split(rest) {
                assert!(after.len() < rest.len());
                rest = after;
                count += 1;
            }
            assert!(count <= 1);
        }
    }

    #[test]
    fn the_kernel_lists_lo_and_refuses_an_interface_that_is_not_there() {
        let mut netlink = Netlink::route().unwrap();
        let links = netlink.ask(RTM_GETLINK as u16, Ask::All, &[0; size_of::<ifinfomsg>()]).unwrap();
        let names: Vec<_> = links
            .iter()
            .filter(|link| link.kind == RTM_NEWLINK as u16)
            .filter_map(|link| link.attributes(size_of::<ifinfomsg>()).text(IFLA_IFNAME as u16))
            .collect();
        assert!(names.contains(&"lo".to_owned()), "{names:?}");
        let mut body = [0; size_of::<ifinfomsg>()];
        body[4..8].copy_from_slice(&2_000_000_000_u32.to_ne_bytes());
        assert_eq!(netlink.ask(RTM_GETLINK as u16, Ask::One, &body).err(), Some(Errno::NODEV));
        // The socket still serves.
        assert!(!netlink.ask(RTM_GETLINK as u16, Ask::All, &[0; size_of::<ifinfomsg>()]).unwrap().is_empty());
    }
}
