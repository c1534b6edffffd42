//! Where packets go and come from: groups, interfaces, scopes, and memberships.
//!
//! Everything here is a plain value that can be parsed, printed, compared and copied; nothing here talks to the kernel.

mod interface;

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use core::num::NonZeroU16;
use core::str::FromStr;

pub use interface::{Interface, Name};

use crate::error::{Error, ErrorKind, Excerpt, Object, Operation, Result};

/// A multicast group and the UDP port on which it is sent: an address of 224.0.0.0/4 or ff00::/8, and a port of 1 to 65535.
///
/// Parsed from and printed as `239.1.2.3:5000` or `[ff02::4242]:4242`. The interface is not part of it: see
/// [`Membership::on`] and [`SendOptions::interface`](crate::SendOptions::interface).
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
    /// The documented default, 224.0.42.42:4242.
    pub const DEFAULT: Self = match NonZeroU16::new(4242) {
        Some(port) => Self { address: IpAddr::V4(Ipv4Addr::new(224, 0, 42, 42)), port },
        None => unreachable!(),
    };

    /// A group of this address and port.
    ///
    /// # Errors
    /// [`ErrorKind::NotMulticast`] where the address is no multicast address, [`ErrorKind::PortZero`] for port 0.
    #[inline]
    pub fn new(address: impl Into<IpAddr>, port: u16) -> Result<Self> {
        let address = address.into();
        Self::checked(address, port).map_err(|kind| Error::new(Operation::ParseGroup, Object::Address(address), kind))
    }

    /// A group that is known when the program is built; `None` where [`new`](Self::new) gives an error.
    ///
    /// ```
    /// # use core::net::{IpAddr, Ipv4Addr};
    /// # use multicast::Group;
    /// const GROUP: Group = Group::known(IpAddr::V4(Ipv4Addr::new(239, 1, 2, 3)), 5000).unwrap();
    /// assert_eq!(GROUP.to_string(), "239.1.2.3:5000");
    /// ```
    #[must_use]
    #[inline(always)]
    pub const fn known(address: IpAddr, port: u16) -> Option<Self> {
        match Self::checked(address, port) {
            Ok(group) => Some(group),
            Err(_) => None,
        }
    }

    #[inline(always)]
    const fn checked(address: IpAddr, port: u16) -> core::result::Result<Self, ErrorKind> {
        if !address.is_multicast() {
            return Err(ErrorKind::NotMulticast);
        }
        match NonZeroU16::new(port) {
            Some(port) => Ok(Self { address, port }),
            None => Err(ErrorKind::PortZero),
        }
    }

    /// The address of the group.
    #[must_use]
    pub const fn address(self) -> IpAddr {
        self.address
    }

    /// The UDP port.
    #[must_use]
    pub const fn port(self) -> u16 {
        self.port.get()
    }

    /// Whether the address is an IPv4 address.
    #[must_use]
    #[inline(always)]
    pub const fn is_ipv4(self) -> bool {
        self.address.is_ipv4()
    }

    /// Whether the address is an IPv6 address.
    #[must_use]
    #[inline(always)]
    pub const fn is_ipv6(self) -> bool {
        self.address.is_ipv6()
    }

    /// The address family.
    #[must_use]
    pub const fn family(self) -> Family {
        match self.address {
            IpAddr::V4(_) => Family::V4,
            IpAddr::V6(_) => Family::V6,
        }
    }

    /// Whether the group exists once on every link, so that only an interface makes it unambiguous: IPv6 groups of
    /// interface-local or link-local scope (`ff01::/16`, `ff02::/16`; RFC 4291, section 2.7).
    #[must_use]
    pub const fn is_link_local(self) -> bool {
        matches!(self.address, IpAddr::V6(address) if matches!(address.segments()[0] & 0x000f, 1 | 2))
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

impl TryFrom<SocketAddr> for Group {
    type Error = Error;

    fn try_from(address: SocketAddr) -> Result<Self> {
        Self::new(address.ip(), address.port())
    }
}

impl FromStr for Group {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let parsed = match text.parse::<SocketAddr>() {
            // A scope belongs to the membership, not to the group: dropping it in silence would join another link.
            Ok(SocketAddr::V6(address)) if address.scope_id() != 0 => Err(ErrorKind::Syntax),
            Ok(address) => Self::checked(address.ip(), address.port()),
            Err(_) => Err(ErrorKind::Syntax),
        };
        parsed.map_err(|kind| Error::new(Operation::ParseGroup, Object::Text(Excerpt::new(text)), kind))
    }
}

impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        SocketAddr::from(*self).fmt(f)
    }
}

/// The address family of a listener: one of the two, never both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

/// How far packets go: the time to live (IPv4) or hop limit (IPv6), 0 to 255. Every router on the way takes one off.
///
/// Parsed from a number or the name of a scope, in lower case; printed as the number.
///
/// ```
/// # use multicast::Ttl;
/// assert_eq!("site".parse::<Ttl>()?, Ttl::SITE);
/// assert_eq!("7".parse::<Ttl>()?.get(), 7);
/// assert!("256".parse::<Ttl>().is_err());
/// # Ok::<(), multicast::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ttl(u8);

impl Ttl {
    /// Same host: 0. On any interface but `lo` Linux holds such packets back only if somebody on this host has joined the group
    /// there, and lets them out otherwise: send on [`Interface::LOOPBACK`] what must not leave.
    pub const HOST: Self = Self(0);
    /// Same subnet: 1, the default.
    pub const SUBNET: Self = Self(1);
    /// Same site: 32.
    pub const SITE: Self = Self(32);
    /// Same region: 64.
    pub const REGION: Self = Self(64);
    /// Same continent: 128.
    pub const CONTINENT: Self = Self(128);
    /// Unrestricted: 255.
    pub const UNRESTRICTED: Self = Self(255);

    const NAMES: [(&'static str, Self); 6] = [
        ("host", Self::HOST),
        ("subnet", Self::SUBNET),
        ("site", Self::SITE),
        ("region", Self::REGION),
        ("continent", Self::CONTINENT),
        ("unrestricted", Self::UNRESTRICTED),
    ];

    /// A time to live of `hops` routers.
    #[must_use]
    pub const fn new(hops: u8) -> Self {
        Self(hops)
    }

    /// The number, 0 to 255.
    #[must_use]
    pub const fn get(self) -> u8 {
        self.0
    }
}

impl Default for Ttl {
    fn default() -> Self {
        Self::SUBNET
    }
}

impl From<u8> for Ttl {
    fn from(hops: u8) -> Self {
        Self(hops)
    }
}

impl TryFrom<i64> for Ttl {
    type Error = Error;

    /// # Errors
    /// [`ErrorKind::OutOfRange`] for anything but 0 to 255.
    fn try_from(hops: i64) -> Result<Self> {
        u8::try_from(hops)
            .map(Self)
            .map_err(|_| Error::new(Operation::ParseTtl, Object::Number(hops), ErrorKind::OutOfRange))
    }
}

impl FromStr for Ttl {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        if let Some((_, ttl)) = Self::NAMES.iter().find(|(name, _)| *name == text) {
            return Ok(*ttl);
        }
        let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse::<u8>().ok().filter(|_| is_number).map(Self).ok_or_else(|| {
            let kind = if is_number { ErrorKind::OutOfRange } else { ErrorKind::Syntax };
            Error::new(Operation::ParseTtl, Object::Text(Excerpt::new(text)), kind)
        })
    }
}

impl fmt::Display for Ttl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What a listener is to be a member of: a group, on an interface.
///
/// ```
/// # use multicast::{Group, Interface, Membership};
/// let membership = Membership::any("239.1.2.3:5000".parse()?).on("eth0".parse()?);
/// assert_eq!(membership.to_string(), "239.1.2.3:5000 on eth0");
/// # Ok::<(), multicast::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Membership {
    group: Group,
    interface: Interface,
    source: Option<IpAddr>,
}

impl Membership {
    /// Packets to `group` from any source, on the interface that the routing table names for the group.
    #[must_use]
    pub const fn any(group: Group) -> Self {
        Self { group, interface: Interface::Default, source: None }
    }

    /// Packets to `group` from this source alone (source-specific multicast, RFC 4607), on the interface that the routing table
    /// names for the group. Several sources are several memberships.
    ///
    /// On one listener and interface a group is joined either from any source or from named ones.
    #[must_use]
    pub const fn source(group: Group, source: IpAddr) -> Self {
        Self { group, interface: Interface::Default, source: Some(source) }
    }

    /// The same on another interface.
    #[must_use]
    pub const fn on(self, interface: Interface) -> Self {
        Self { interface, ..self }
    }

    /// The group.
    #[must_use]
    pub const fn group(&self) -> Group {
        self.group
    }

    /// The interface.
    #[must_use]
    pub const fn interface(&self) -> Interface {
        self.interface
    }

    /// The source that is listened to alone; `None` for any source.
    #[must_use]
    pub const fn only_source(&self) -> Option<IpAddr> {
        self.source
    }

    /// As what an error names it.
    pub(crate) const fn object(&self) -> Object {
        Object::Membership { group: self.group.address, interface: self.interface }
    }
}

impl fmt::Display for Membership {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.group)?;
        if let Some(source) = self.source {
            write!(f, " from {source}")?;
        }
        write!(f, " on {}", self.interface)
    }
}

#[cfg(test)]
mod tests;
