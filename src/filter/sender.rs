//! Filters on the sender's address.

use core::fmt;
use core::net::{IpAddr, Ipv6Addr, SocketAddr};
use core::str::FromStr;

use super::Filter;
use super::kernel::{Assembler, Fit};
use crate::error::{Error, ErrorKind, Excerpt, Object, Operation, Result};

/// The IPv6 subnet of IPv4-mapped addresses: `::ffff:0:0/96` (RFC 4291, section 2.5.5.2).
const MAPPED: IpAddr = IpAddr::V6(Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0, 0));

/// Accepts packets from one address, or from a subnet.
///
/// A source address that is IPv4-mapped (`::ffff:192.0.2.1`) counts as IPv4.
///
/// ```
/// # use multicast::filter::{Filter, Source};
/// # use std::net::Ipv4Addr;
/// # fn main() -> multicast::Result<()> {
/// let mut ours = Source("192.0.2.0/24".parse()?);
/// assert!(ours.accepts(b"", "192.0.2.7:1900".parse().unwrap()));
/// assert!(!ours.accepts(b"", "198.51.100.7:1900".parse().unwrap()));
/// let only = Source(Ipv4Addr::new(192, 0, 2, 1).into());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Source(pub Subnet);

impl Filter for Source {
    #[inline]
    fn accepts(&mut self, _payload: &[u8], source: SocketAddr) -> bool {
        self.0.contains(source.ip())
    }

    fn compile(&self, code: &mut Assembler<'_>) -> Fit {
        let Subnet { network, bits } = self.0;
        // An IPv6 subnet contains no IPv4 addresses, not even the mapped ones that have the same first bits.
        let has_mapped = bits < 96 && Subnet { network: MAPPED, bits }.has(network);
        code.source(network, bits).and(if has_mapped { Fit::Superset } else { Fit::Exact })
    }
}

/// Accepts packets that were sent from this UDP port.
///
/// ```
/// # use multicast::filter::{Filter, Port};
/// assert!(Port(5353).accepts(b"", "192.0.2.1:5353".parse().unwrap()));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Port(pub u16);

impl Filter for Port {
    #[inline]
    fn accepts(&mut self, _payload: &[u8], source: SocketAddr) -> bool {
        source.port() == self.0
    }

    fn compile(&self, code: &mut Assembler<'_>) -> Fit {
        code.port(self.0, self.0)
    }
}

/// An address, or all addresses that begin with the same bits (RFC 4632).
///
/// Parsed from `192.0.2.0/24`, `2001:db8::/32`, or a single address; printed as `192.0.2.0/24`. The bits after the prefix are
/// ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Subnet {
    network: IpAddr,
    bits: u8,
}

impl Subnet {
    /// All addresses whose first `bits` bits are those of `network`. `None` if `bits` is more than 32 for IPv4, or 128 for IPv6.
    ///
    /// An IPv4-mapped address (`::ffff:192.0.2.1`) counts as IPv4 if `bits` is at least 96.
    #[must_use]
    pub const fn new(network: IpAddr, bits: u8) -> Option<Self> {
        let most = match network {
            IpAddr::V4(_) => 32,
            IpAddr::V6(_) => 128,
        };
        if bits > most {
            return None;
        }
        Some(match network {
            IpAddr::V6(address) if bits >= 96 => match address.to_ipv4_mapped() {
                Some(address) => Self { network: IpAddr::V4(address), bits: bits.saturating_sub(96) },
                None => Self { network, bits },
            },
            _ => Self { network, bits },
        })
    }

    /// Whether the subnet contains the address.
    #[must_use]
    pub const fn contains(&self, address: IpAddr) -> bool {
        self.has(address.to_canonical())
    }

    const fn has(&self, address: IpAddr) -> bool {
        match (self.network, address) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                let differing = network.to_bits() ^ address.to_bits();
                differing.leading_zeros() >= self.bits as u32
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                let differing = network.to_bits() ^ address.to_bits();
                differing.leading_zeros() >= self.bits as u32
            }
            _ => false,
        }
    }

    /// The address that the subnet was created from; it may have bits after the prefix.
    #[must_use]
    pub const fn network(&self) -> IpAddr {
        self.network
    }

    /// The length of the prefix in bits.
    #[must_use]
    pub const fn bits(&self) -> u8 {
        self.bits
    }
}

/// The subnet of this one address.
impl<A: Into<IpAddr>> From<A> for Subnet {
    fn from(address: A) -> Self {
        let network = address.into().to_canonical();
        Self { network, bits: if network.is_ipv4() { 32 } else { 128 } }
    }
}

impl FromStr for Subnet {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let refused = |kind| Error::new(Operation::ParseSubnet, Object::Text(Excerpt::new(text)), kind);
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| refused(ErrorKind::Syntax))?;
        let Some(bits) = bits else { return Ok(Self::from(address)) };
        if bits.is_empty() || !bits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(refused(ErrorKind::Syntax));
        }
        bits.parse().ok().and_then(|bits| Self::new(address, bits)).ok_or_else(|| refused(ErrorKind::OutOfRange))
    }
}

impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.network, self.bits)
    }
}
