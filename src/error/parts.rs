//! What an error is made of: its kind, the kernel's number, what was done, and to what.

use core::net::IpAddr;

use linux_raw_sys::errno as linux;

use crate::address::{Group, Interface, Name};

/// The kind of an [`Error`](crate::Error), for programs that decide by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A text could not be parsed; the message says what to write instead.
    Syntax,
    /// An address is not a multicast address: 224.0.0.0 to 239.255.255.255, or ff00::/8.
    NotMulticast,
    /// Port 0, on which nothing can be sent or received.
    PortZero,
    /// A number past its range, as a TTL of 256.
    OutOfRange,
    /// There is no interface of that name, index or address (any more).
    NoSuchInterface,
    /// An interface must be named: an IPv6 link-local group exists once on every link.
    InterfaceNeeded,
    /// The interface has no address of the group's family (yet), so that packets would leave without a source.
    NoAddress,
    /// IPv4 and IPv6 were mixed.
    FamilyMismatch,
    /// The listener is bound to one group and cannot hear another one.
    BoundToGroup,
    /// The listener is bound to another port than the group's.
    PortMismatch,
    /// A limit of the kernel was reached; the message names the setting that raises it.
    LimitReached,
    /// A limit of the kernel on the sources of one group was reached; the message names the setting that raises it.
    SourceLimitReached,
    /// A group cannot be joined both from any source and from named ones by one listener on one interface.
    MixedSources,
    /// The group is not joined on the interface.
    NotJoined,
    /// Packets leave on one interface, and a listener that is bound to its interface hears that one: [`Interface::All`], and for such
    /// a listener any other interface, makes no sense.
    OneInterface,
    /// A packet is longer than UDP, or than the path, can carry.
    TooLong,
    /// The kernel is short of room for now: the same call may succeed later.
    Transient,
    /// There is no way to the group: no route, or the interface is down or gone.
    Unreachable,
    /// The kernel or a firewall does not allow it.
    Denied,
    /// Another socket holds the address without sharing it.
    AddressInUse,
    /// This kernel does not know the option or the protocol.
    Unsupported,
    /// The file descriptor is registered already.
    AlreadyRegistered,
    /// The file descriptor is not registered.
    NotRegistered,
    /// This kind of file cannot be waited for: regular files and folders are always ready.
    NotPollable,
    /// The token is the one that the poller keeps for its waker.
    ReservedToken,
    /// The file descriptor is no UDP socket.
    NotUdp,
    /// The pattern is no regular expression of the supported syntax.
    Pattern,
    /// A number that must be 1 at least is 0.
    Zero,
    /// What was asked for makes no sense in this state; the message says why.
    InvalidInput,
    /// Anything else that the kernel said; [`Error::raw_os_error`](crate::Error::raw_os_error) tells what.
    System,
}

/// An error number of the kernel, 1 to 4095.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Errno(pub(crate) u16);

impl Errno {
    pub(crate) const INTERRUPTED: Self = Self(linux::EINTR as u16);
    pub(crate) const WOULD_BLOCK: Self = Self(linux::EAGAIN as u16);
    pub(crate) const NO_BUFFERS: Self = Self(linux::ENOBUFS as u16);
    pub(crate) const IN_USE: Self = Self(linux::EADDRINUSE as u16);
    pub(crate) const NOT_AVAILABLE: Self = Self(linux::EADDRNOTAVAIL as u16);
    pub(crate) const NO_MEMORY: Self = Self(linux::ENOMEM as u16);
    pub(crate) const INVALID: Self = Self(linux::EINVAL as u16);
    pub(crate) const IO: Self = Self(linux::EIO as u16);
    pub(crate) const NO_ENTRY: Self = Self(linux::ENOENT as u16);
    pub(crate) const NO_OPTION: Self = Self(linux::ENOPROTOOPT as u16);
    pub(crate) const TOO_LONG: Self = Self(linux::EMSGSIZE as u16);
    pub(crate) const PROTOCOL: Self = Self(linux::EPROTO as u16);
}

impl From<rustix::io::Errno> for Errno {
    fn from(errno: rustix::io::Errno) -> Self {
        // rustix holds what the kernel returned, 1 to 4095: the cast keeps it whole.
        Self(errno.raw_os_error() as u16)
    }
}

/// What was being done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    ParseGroup,
    ParseInterface,
    ParseTtl,
    ParseSubnet,
    #[cfg(feature = "regex")]
    ParsePattern,
    Open,
    Bind,
    Join,
    Leave,
    Block,
    Unblock,
    Watch,
    Configure,
    Resolve,
    Send,
    Receive,
    Count,
    Poll,
    Register,
    Reregister,
    Unregister,
    Wake,
    /// What a user of the crate did: the object says it all.
    Custom,
}

/// What it was done to.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Object {
    Nothing,
    /// The noun that the sentence needs, as "socket".
    Named(&'static str),
    Text(Excerpt),
    Address(IpAddr),
    Group(Group),
    Interface(Name),
    Membership {
        group: IpAddr,
        interface: Interface,
    },
    Packet {
        length: u32,
        group: Group,
    },
    Number(i64),
    Port(u16),
    #[cfg(feature = "std")]
    Message(std::boxed::Box<str>),
}

/// The beginning of a text that a user gave, kept without a heap.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Excerpt {
    bytes: [u8; Self::CAPACITY],
    length: u8,
    is_cut: bool,
}

impl Excerpt {
    const CAPACITY: usize = 34;

    /// As much of `text` as fits, cut between characters.
    pub(crate) fn new(text: &str) -> Self {
        let mut kept = text;
        while kept.len() > Self::CAPACITY {
            let mut rest = kept.chars();
            rest.next_back();
            kept = rest.as_str();
        }
        let mut bytes = [0; Self::CAPACITY];
        for (to, from) in bytes.iter_mut().zip(kept.bytes()) {
            *to = from;
        }
        Self { bytes, length: kept.len() as u8, is_cut: kept.len() < text.len() }
    }

    pub(super) fn as_str(&self) -> &str {
        self.bytes.get(..usize::from(self.length)).and_then(|bytes| core::str::from_utf8(bytes).ok()).unwrap_or("")
    }

    pub(super) const fn is_cut(&self) -> bool {
        self.is_cut
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_excerpt_is_cut_between_characters() {
        let long = "é".repeat(40);
        assert_eq!(Excerpt::new(&long).as_str(), "é".repeat(17));
        assert_eq!(Excerpt::new("eth0").as_str(), "eth0");
        assert_eq!(Excerpt::new("").as_str(), "");
    }
}
