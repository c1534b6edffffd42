//! Multicast groups.

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use core::num::NonZeroU16;

/// A multicast group and the UDP port on which it is sent: an address of 224.0.0.0/4 or ff00::/8, and a port of 1 to 65535.
///
/// Parsed from and printed as `239.1.2.3:5000` or `[ff02::4242]:4242`. The interface is not part of it: see
/// [`Membership::on`](crate::Membership::on) and [`SendOptions::interface`](crate::SendOptions::interface).
///
/// ```
/// # use multicast::Group;
/// let group: Group = "239.1.2.3:5000".parse()?;
/// assert_eq!(group.port(), 5000);
/// assert_eq!(Group::DEFAULT.to_string(), "224.0.42.42:4242");
/// # Ok::<(), multicast::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Group {
    address: IpAddr,
    port: NonZeroU16,
}

impl Group {
    /// The default group, 224.0.42.42:4242.
    pub const DEFAULT: Self = match NonZeroU16::new(4242) {
        Some(port) => Self { address: IpAddr::V4(Ipv4Addr::new(224, 0, 42, 42)), port },
        None => unreachable!(),
    };

    /// A group, as a constant expression; `None` if [`new`](Self::new) would return an error.
    ///
    /// ```
    /// # use core::net::{IpAddr, Ipv4Addr};
    /// # use multicast::Group;
    /// const GROUP: Group = Group::known(IpAddr::V4(Ipv4Addr::new(239, 1, 2, 3)), 5000).unwrap();
    /// assert_eq!(GROUP.to_string(), "239.1.2.3:5000");
    /// ```
    #[must_use]
    // Inlined, so that a program which knows the address family links only that one: without it tiny-mcast is 3,744 bytes larger.
    #[inline(always)]
    pub const fn known(address: IpAddr, port: u16) -> Option<Self> {
        if !address.is_multicast() {
            return None;
        }
        match NonZeroU16::new(port) {
            Some(port) => Some(Self { address, port }),
            None => None,
        }
    }

    /// The address of the group.
    #[must_use]
    pub const fn address(self) -> IpAddr {
        self.address
    }

    /// The UDP port.
    #[must_use]
    #[inline]
    pub const fn port(self) -> u16 {
        self.port.get()
    }

    /// Whether the address is an IPv4 address.
    pub(crate) const fn is_ipv4(self) -> bool {
        self.address.is_ipv4()
    }

    /// The address family.
    #[must_use]
    #[inline]
    pub const fn family(self) -> Family {
        match self.address {
            IpAddr::V4(_) => Family::V4,
            IpAddr::V6(_) => Family::V6,
        }
    }

    /// Whether the group is an IPv6 group of interface-local or link-local scope (`ff01::/16`, `ff02::/16`; RFC 4291, section
    /// 2.7). Such a group exists separately on every link, so an interface must be named with it.
    #[must_use]
    #[inline]
    pub const fn is_link_local(self) -> bool {
        is_link_local(self.address)
    }
}

/// Whether the address is an IPv6 address, of a group or unicast, that exists separately on every link, so that the kernel needs the
/// interface with it.
#[inline]
pub(crate) const fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(_) => false,
        IpAddr::V6(address) if address.is_multicast() => matches!(address.segments()[0] & 0x000f, 1 | 2),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    }
}

impl Default for Group {
    fn default() -> Self {
        Self::DEFAULT
    }
}

impl From<Group> for SocketAddr {
    #[inline]
    fn from(group: Group) -> Self {
        Self::new(group.address, group.port())
    }
}

impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        SocketAddr::from(*self).fmt(f)
    }
}

/// The address family of a group, and of a listener. A listener has one family, never both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}
