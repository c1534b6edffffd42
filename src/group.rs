//! Groups, interfaces, scopes, and memberships.
//!
//! All of them are plain values that can be parsed, printed, compared and copied. Nothing here calls the kernel. The values that
//! errors contain are in `address`; the functions that parse them, and so return errors, are here.

mod interface;

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use core::str::FromStr;

pub use crate::address::{Family, Group, Interface, Name};
use crate::error::{Error, ErrorKind, Excerpt, Object, Operation, Result};

impl Group {
    /// A group with this address and port.
    ///
    /// # Errors
    /// [`ErrorKind::NotMulticast`] if the address is not a multicast address, [`ErrorKind::PortZero`] for port 0.
    #[inline]
    pub fn new(address: impl Into<IpAddr>, port: u16) -> Result<Self> {
        let address = address.into();
        Self::known(address, port)
            .ok_or_else(|| Error::new(Operation::ParseGroup, Object::Address(address), why_no_group(address)))
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
            // A scope belongs to the membership, not to the group. Ignoring it could join on another link.
            Ok(SocketAddr::V6(address)) if address.scope_id() != 0 => Err(ErrorKind::Syntax),
            Ok(address) => Self::known(address.ip(), address.port()).ok_or_else(|| why_no_group(address.ip())),
            Err(_) => Err(why_no_address(text)),
        };
        parsed.map_err(|kind| Error::new(Operation::ParseGroup, Object::Text(Excerpt::new(text)), kind))
    }
}

/// The reason why `known` returned `None` for this address and its port.
const fn why_no_group(address: IpAddr) -> ErrorKind {
    if address.is_multicast() { ErrorKind::PortZero } else { ErrorKind::NotMulticast }
}

/// The reason why this is no address with a port: only the port is too large, or something else.
fn why_no_address(text: &str) -> ErrorKind {
    let Some((address, port)) = text.rsplit_once(':') else { return ErrorKind::Syntax };
    let is_address = match address.strip_prefix('[').and_then(|address| address.strip_suffix(']')) {
        Some(address) => address.parse::<Ipv6Addr>().is_ok(),
        None => address.parse::<Ipv4Addr>().is_ok(),
    };
    let is_number = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    if is_address && is_number { ErrorKind::OutOfRange } else { ErrorKind::Syntax }
}

/// How far packets go: the time to live (IPv4) or hop limit (IPv6), 0 to 255. Every router on the way subtracts one.
///
/// Parsed from a number or the name of a scope, in lower case; printed as the number.
///
/// ```
/// # use multicast::Ttl;
/// assert_eq!("site".parse::<Ttl>()?, Ttl::SITE);
/// assert_eq!("7".parse::<Ttl>()?.get(), 7);
/// assert!("256".parse::<Ttl>().is_err());
/// assert!(Ttl::try_from(256).is_err());
/// # Ok::<(), multicast::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ttl(u8);

impl Ttl {
    /// Same host: 0. On other interfaces than `lo`, Linux keeps such packets on this host only if a process of this host has
    /// joined the group there; otherwise they leave. If packets must not leave, send on [`Interface::LOOPBACK`].
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

/// From every integer type except `u8`, which has `From`.
macro_rules! ttl_from {
    ($($integer:ty),*) => {$(
        impl TryFrom<$integer> for Ttl {
            type Error = Error;

            /// # Errors
            /// [`ErrorKind::OutOfRange`] if it is not 0 to 255.
            fn try_from(hops: $integer) -> Result<Self> {
                u8::try_from(hops).map(Self).map_err(|_| no_ttl(i64::try_from(hops).ok()))
            }
        }
    )*};
}

ttl_from!(i8, i16, i32, i64, i128, isize, u16, u32, u64, u128, usize);

/// `None` is a number that does not fit into an error.
#[cold]
fn no_ttl(hops: Option<i64>) -> Error {
    let object = hops.map_or(Object::Named("a number of more than 63 bits"), Object::Number);
    Error::new(Operation::ParseTtl, object, ErrorKind::OutOfRange)
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

/// A group, and the interface to join it on; optionally the one source to receive from.
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

    /// Packets to `group` from this source only (source-specific multicast, RFC 4607), on the interface that the routing table
    /// names for the group. For several sources, join several memberships.
    ///
    /// On one interface, a listener can join a group either from any source or from named sources, not both.
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

    /// The only source to receive from; `None` for any source.
    #[must_use]
    pub const fn only_source(&self) -> Option<IpAddr> {
        self.source
    }

    /// The membership as an error names it.
    pub(crate) const fn object(&self) -> Object {
        Object::Membership { group: self.group.address(), interface: self.interface }
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
