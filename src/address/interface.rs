//! Network interfaces and their names.

use core::fmt;
use core::net::IpAddr;
use core::num::NonZeroU32;

/// A network interface, as the user names it. The crate asks the kernel for its index when a membership is joined, or when a
/// sender is created.
///
/// A sender needs interface and source address. By name or index, IPv4 packets have the interface's first address as their source;
/// if it has none, the address that the route to the group names (`src`, `ip-route(8)`), as on links without a number; else they are
/// refused. IPv6 packets have the source that the kernel chooses for each (RFC 6724). By an address, packets have that source, on the
/// interface that has it. A listener by the same address means the same interface.
///
/// Names and indexes need no netlink socket; the others do, and where a sandbox does not allow it (`RestrictAddressFamilies` of
/// systemd), the error says so. Only a sender on the default interface works without it: there the kernel decides for each packet.
///
/// An interface that belongs to a bridge, bond or team receives nothing itself: name the bridge. That it became one is reported by
/// [`Links`](crate::Links) ([`Link::is_port`](crate::Link::is_port)).
///
/// Parsed and printed as `default`, as `all`, as an index in digits, or as an IP address; any other text is a name. Digits are
/// never a name: write the index of an interface that is called `3`, or in code [`Interface::Name`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Interface {
    /// The interface that the routing table names for the group.
    #[default]
    Default,
    /// For listening: every interface that is up and supports multicast (`IFF_MULTICAST`, which `lo` does not have). Ports of a bridge,
    /// bond or team are left out: what arrives there is received on the bridge. If a packet arrives on several interfaces, it is
    /// received once for each. If there are more than a limit of the kernel allows (`net.ipv4.igmp_max_memberships`, by default 20 for
    /// a socket), a new listener receives on as many as fit; joining this membership again returns
    /// [`ErrorKind::LimitReached`](crate::ErrorKind::LimitReached). To send on several interfaces, use one sender for each, or
    /// [`Destination::on`](crate::Destination::on).
    All,
    /// The interface with this index (`if_nametoindex(3)`, `ip link`).
    Index(NonZeroU32),
    /// The interface with this name.
    Name(Name),
    /// The interface that has this address, which is also the source of packets that are sent. If several interfaces have it: for
    /// IPv4 the one that the kernel means by it (`ip_mreq`, `ip(7)`; on current kernels the latest to get it), for IPv6 the one with the
    /// lowest index. The unspecified address is none of an interface: use [`Default`](Self::Default) or [`All`](Self::All).
    Address(IpAddr),
}

impl Interface {
    /// The loopback interface, `lo`: packets do not leave the machine.
    pub const LOOPBACK: Self = Self::Name(Name::LOOPBACK);
}

impl From<Name> for Interface {
    fn from(name: Name) -> Self {
        Self::Name(name)
    }
}

impl From<NonZeroU32> for Interface {
    fn from(index: NonZeroU32) -> Self {
        Self::Index(index)
    }
}

impl From<IpAddr> for Interface {
    fn from(address: IpAddr) -> Self {
        Self::Address(address)
    }
}

impl fmt::Display for Interface {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::All => f.write_str("all"),
            Self::Index(index) => index.fmt(f),
            Self::Name(name) => name.fmt(f),
            Self::Address(address) => address.fmt(f),
        }
    }
}

/// The name of an interface, under the kernel's rules: 1 to 15 bytes, without white space, `/` and `:`, and neither `.` nor `..`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Name {
    /// The name, followed by at least one zero (`IFNAMSIZ` is 16).
    bytes: [u8; Self::CAPACITY],
}

impl Name {
    const CAPACITY: usize = linux_raw_sys::net::IFNAMSIZ as usize;
    const LOOPBACK: Self = Self { bytes: *b"lo\0\0\0\0\0\0\0\0\0\0\0\0\0\0" };

    /// A name, whether or not an interface has it; `None` if the kernel does not allow it.
    pub(crate) fn known(name: &str) -> Option<Self> {
        Self::checked(name.as_bytes(), |_| true)
    }

    /// A name from ASCII bytes, such as a command-line argument; `None` if they are not ASCII, or not a name that the kernel
    /// allows. It takes less code than [`new`](Self::new), which matters in a program of a few kilobytes.
    #[must_use]
    pub fn from_ascii(name: &[u8]) -> Option<Self> {
        Self::checked(name, |byte| byte.is_ascii())
    }

    /// The rule of the kernel's `dev_valid_name()`. Its `isspace()` includes the no-break space of Latin-1 (0xa0).
    fn checked(name: &[u8], is_allowed: impl Fn(&u8) -> bool) -> Option<Self> {
        let mut bytes = [0; Self::CAPACITY];
        if matches!(name, b"" | b"." | b"..") || name.len() >= bytes.len() {
            return None;
        }
        for (to, from) in bytes.iter_mut().zip(name) {
            if !is_allowed(from) || matches!(from, 0 | b'/' | b':' | b' ' | 0x09..=0x0d | 0xa0) {
                return None;
            }
            *to = *from;
        }
        Some(Self { bytes })
    }

    /// A name as the kernel writes it, with or without zeros at its end; `None` if it is not a valid name, or not UTF-8.
    pub(crate) fn from_c_bytes(name: &[u8]) -> Option<Self> {
        let name = name.split(|byte| *byte == 0).next()?;
        core::str::from_utf8(name).ok().and_then(Self::known)
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        let length = self.bytes.iter().position(|byte| *byte == 0).unwrap_or(Self::CAPACITY);
        self.bytes.get(..length).and_then(|bytes| core::str::from_utf8(bytes).ok()).unwrap_or("")
    }

    /// The name, followed by at least one zero.
    pub(crate) const fn as_c_bytes(&self) -> &[u8; Self::CAPACITY] {
        &self.bytes
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
