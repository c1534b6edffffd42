//! The parts of an error: kind, errno, operation, and object.

use core::net::{IpAddr, SocketAddr};

use linux_raw_sys::errno as linux;

use crate::address::{Group, Interface, Name};

/// The kind of an [`Error`](crate::Error), for programs to match on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A text could not be parsed; the message says what to write instead.
    Syntax,
    /// An address is not a multicast address: 224.0.0.0 to 239.255.255.255, or ff00::/8.
    NotMulticast,
    /// Port 0, which a group cannot have.
    PortZero,
    /// A number is out of its range, such as a TTL of 256, or a port of 65536.
    OutOfRange,
    /// There is no interface with this name, index or address (any more).
    NoSuchInterface,
    /// An interface must be named: an IPv6 link-local group exists once on every link. Or the group is joined on several interfaces, of
    /// which the default one is none.
    InterfaceNeeded,
    /// The interface has no address of the group's family (yet), or does not support IPv6.
    NoAddress,
    /// IPv4 and IPv6 were mixed.
    FamilyMismatch,
    /// The listener is bound to one group and cannot receive another one. To receive several groups, use
    /// [`Bind::Port`](crate::Bind::Port).
    BoundToGroup,
    /// The listener is bound to another port than that of the group.
    PortMismatch,
    /// A limit of the kernel, or of a fixed capacity, was reached; the message names what to raise.
    LimitReached,
    /// A limit of the kernel on the sources of one group was reached; the message names the setting that raises it.
    SourceLimitReached,
    /// A group cannot be joined both from any source and from named ones by one listener on one interface.
    MixedSources,
    /// An IPv6 group cannot be joined by one listener on two interfaces if either membership names a source: the kernel would use the
    /// sources of the latest membership on both. Use two listeners, each bound to its interface
    /// ([`Bind::Interface`](crate::Bind::Interface)).
    SourcesOnOneInterface,
    /// The group is not joined on the interface.
    NotJoined,
    /// Only one interface is possible: [`Interface::All`] was given to send on or to bind to, or a listener that stays on its
    /// interface ([`Bind::Interface`](crate::Bind::Interface)) was to join on another one. To receive on several interfaces, use
    /// [`Bind::Group`](crate::Bind::Group).
    OneInterface,
    /// A packet is too long for UDP, or for the path.
    TooLong,
    /// The queue of the interface refused the packet at every try, for as long as
    /// [`SendOptions::give_up_after`](crate::SendOptions::give_up_after) says: the queue stays full, a traffic shaper never takes a packet
    /// of this length, or an egress filter drops it.
    QueueRefused,
    /// The kernel is short of memory or buffer space; the same call may succeed later.
    Transient,
    /// The group is unreachable: there is no route, or the interface is down, or it or its address is gone.
    Unreachable,
    /// The kernel does not allow it: a firewall, a `prohibit` route, a security policy, or a missing privilege.
    Denied,
    /// Another socket holds the port without sharing it. Sockets share a port with `SO_REUSEADDR` if both have it, and with
    /// `SO_REUSEPORT` if both have it and belong to the same user (`socket(7)`).
    AddressInUse,
    /// This kernel does not know the option or the protocol.
    Unsupported,
    /// The file descriptor is already registered.
    AlreadyRegistered,
    /// The file descriptor is not registered.
    NotRegistered,
    /// This kind of file cannot be polled: regular files and directories are always ready.
    NotPollable,
    /// The token is reserved for the poller's waker.
    ReservedToken,
    /// The file descriptor is not a UDP socket.
    NotUdp,
    /// The pattern is not a regular expression of the supported syntax.
    Pattern,
    /// A number that must be at least 1 is 0.
    Zero,
    /// The call is not possible with this input or in this state; the message says why.
    InvalidInput,
    /// Any other error of the kernel; [`Error::raw_os_error`](crate::Error::raw_os_error) returns its number.
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
    pub(crate) const BUSY: Self = Self(linux::EBUSY as u16);
    pub(crate) const IO: Self = Self(linux::EIO as u16);
    pub(crate) const NO_ENTRY: Self = Self(linux::ENOENT as u16);
    pub(crate) const NO_OPTION: Self = Self(linux::ENOPROTOOPT as u16);
    pub(crate) const TOO_LONG: Self = Self(linux::EMSGSIZE as u16);
    pub(crate) const UNREACHABLE: Self = Self(linux::ENETUNREACH as u16);
    pub(crate) const NO_DEVICE: Self = Self(linux::ENODEV as u16);
    pub(crate) const NO_FAMILY: Self = Self(linux::EAFNOSUPPORT as u16);
    pub(crate) const NOT_PERMITTED: Self = Self(linux::EPERM as u16);
    pub(crate) const NO_ACCESS: Self = Self(linux::EACCES as u16);
    pub(crate) const PROTOCOL: Self = Self(linux::EPROTO as u16);
}

impl Errno {
    /// Whether the kernel answers with it that no route leads to an address; or our own code, that none leads there over one interface.
    pub(crate) const fn is_no_route(self) -> bool {
        matches!(
            self.0 as u32,
            linux::ENETUNREACH | linux::EHOSTUNREACH | linux::EACCES | linux::EINVAL | linux::ENETDOWN | linux::EPROTO
        )
    }

    /// Whether the same question may be answered a moment later: no descriptor was free, or no memory, or a signal came.
    pub(crate) const fn may_pass(self) -> bool {
        matches!(
            self.0 as u32,
            linux::EMFILE | linux::ENFILE | linux::ENOBUFS | linux::ENOMEM | linux::EAGAIN | linux::EINTR
        )
    }

    /// Whether a send returns it only for a report of the network about an earlier packet.
    pub(crate) const fn is_only_of_earlier(self) -> bool {
        matches!(
            self.0 as u32,
            linux::ECONNREFUSED | linux::EHOSTDOWN | linux::ENONET | linux::EOPNOTSUPP | linux::ENOPROTOOPT | linux::EPROTO
        )
    }

    /// Whether a receive returns it only for a report of the network (ICMP) about a packet that was sent from the socket.
    pub(crate) const fn is_only_of_network(self) -> bool {
        self.is_only_of_earlier()
            || matches!(self.0 as u32, linux::EHOSTUNREACH | linux::ENETUNREACH | linux::EMSGSIZE | linux::EACCES)
    }
}

impl From<rustix::io::Errno> for Errno {
    fn from(errno: rustix::io::Errno) -> Self {
        // rustix holds the number that the kernel returned, 1 to 4095, so the cast does not change it.
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
    Read,
    Poll,
    Register,
    Reregister,
    Unregister,
    Wake,
    /// An operation of the crate's user: the object is the whole sentence.
    Custom,
}

/// What it was done to.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Object {
    Nothing,
    /// A noun, such as "socket".
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
        to: SocketAddr,
    },
    /// Packets that leave on this interface.
    On(Interface),
    /// Packets with this source.
    From(IpAddr),
    /// A group, and another port that the listener is bound to.
    OtherPort {
        group: Group,
        port: u16,
    },
    Number(i64),
    Port(u16),
    #[cfg(feature = "std")]
    Message(std::boxed::Box<str>),
}

/// The beginning of a text from the user, stored without a heap.
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
