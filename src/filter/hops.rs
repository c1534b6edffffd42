//! A filter on the remaining hop limit.

use core::net::SocketAddr;
use core::ops::{Bound, RangeBounds};

use super::Filter;
use super::kernel::{Assembler, Fit};

/// Accepts packets whose hop limit (IPv6) or time to live (IPv4), as it was when they arrived, is in this range.
///
/// Each router on the way subtracts 1. So where senders send with 255, `Hops(255..)` accepts only packets that no router has
/// forwarded: nobody outside of the link can forge that (RFC 5082; mDNS sends with 255, RFC 6762, section 11).
///
/// ```
/// # use multicast::filter::{Filter, Hops, Prefix};
/// # let source = "192.0.2.1:5353".parse().unwrap();
/// let mut from_this_link = Hops(255..).and(Prefix(b"\0\0"));
/// assert!(from_this_link.accepts_with_hop_limit(b"\0\0\x84\0", source, 255));
/// assert!(!from_this_link.accepts_with_hop_limit(b"\0\0\x84\0", source, 254));
/// assert!(!from_this_link.accepts(b"\0\0\x84\0", source), "the hop limit is unknown");
///
/// // Also in constants.
/// const SUBNET: Hops<core::ops::RangeInclusive<u8>> = Hops(1..=1);
/// ```
///
/// The kernel decides it. For packets that this process must judge itself, a listener asks the kernel for the hop limit of each
/// packet (`IP_RECVTTL`, `ip(7)`; `IPV6_RECVHOPLIMIT`, `ipv6(7)`): they then take about as long as with
/// [`metadata`](crate::ListenOptions::metadata). If the hop limit is unknown, neither this filter nor its [`Not`](super::Not)
/// accepts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[doc(alias = "TTL")]
#[doc(alias = "GTSM")]
#[doc(alias = "IP_RECVTTL")]
#[doc(alias = "IPV6_RECVHOPLIMIT")]
pub struct Hops<R>(pub R);

impl<R: RangeBounds<u8>> Filter for Hops<R> {
    #[inline]
    fn accepts(&mut self, _payload: &[u8], _source: SocketAddr) -> bool {
        false
    }

    #[inline]
    fn needs_hop_limit(&self) -> bool {
        true
    }

    #[inline]
    fn accepts_with_hop_limit(&mut self, _payload: &[u8], _source: SocketAddr, hop_limit: u8) -> bool {
        self.0.contains(&hop_limit)
    }

    fn compile(&self, code: &mut Assembler<'_>) -> Fit {
        let least = match self.0.start_bound() {
            Bound::Included(least) => Some(*least),
            Bound::Excluded(less) => less.checked_add(1),
            Bound::Unbounded => Some(u8::MIN),
        };
        let most = match self.0.end_bound() {
            Bound::Included(most) => Some(*most),
            Bound::Excluded(more) => more.checked_sub(1),
            Bound::Unbounded => Some(u8::MAX),
        };
        match (least, most) {
            (Some(least), Some(most)) => code.hop_limit(least, most),
            _ => code.reject(),
        }
    }
}
