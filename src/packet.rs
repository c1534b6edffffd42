//! What a listener hands out: a received packet, lent from the listener's buffer, and what the kernel tells of it.

use core::net::{IpAddr, SocketAddr};
use core::num::{NonZeroU32, NonZeroU64};
use core::time::Duration;

use crate::address::Address;

/// A received packet, lent from the buffer that it was read into: the next call to `recv` overwrites it, so take what you want
/// to keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet<'a> {
    payload: &'a [u8],
    /// As the kernel wrote it: to make a value of it takes longer than to copy it, and not everybody asks.
    source: Address,
    metadata: Option<&'a Metadata>,
    length: u32,
}

impl<'a> Packet<'a> {
    /// The source is an internet address.
    pub(crate) const fn new(payload: &'a [u8], source: Address, length: u32, metadata: Option<&'a Metadata>) -> Self {
        Self { payload, source, metadata, length }
    }

    /// The bytes that the sender put into the datagram, cut at the length of the buffer. It can be empty: a datagram without
    /// payload is a datagram.
    #[must_use]
    pub const fn payload(&self) -> &'a [u8] {
        self.payload
    }

    /// The sender's address and port. For an IPv6 link-local sender the scope id is the index of the receiving interface.
    #[must_use]
    pub const fn source(&self) -> SocketAddr {
        self.source.internet()
    }

    /// The length of the whole datagram in bytes, as it was on the wire; more than the payload's where it was cut.
    #[must_use]
    pub const fn wire_length(&self) -> usize {
        self.length as usize
    }

    /// Whether the datagram was longer than the buffer, and its end is lost (`MSG_TRUNC`, `recv(2)`).
    #[must_use]
    #[doc(alias = "MSG_TRUNC")]
    pub const fn is_truncated(&self) -> bool {
        self.wire_length() > self.payload.len()
    }

    /// What the kernel tells of the packet beside its payload; `None` on a listener that did not ask for it with
    /// [`ListenOptions::metadata`](crate::ListenOptions::metadata).
    #[must_use]
    pub const fn metadata(&self) -> Option<&'a Metadata> {
        self.metadata
    }
}

/// What the kernel tells of a packet beside its payload (`ip(7)`, `ipv6(7)`, `socket(7)`). Each is `None` where the kernel did not
/// say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Metadata {
    /// The address that it was sent to: the group (`IP_PKTINFO`, `IPV6_PKTINFO`).
    pub destination: Option<IpAddr>,
    /// The index of the interface on which it came in (likewise).
    pub interface: Option<NonZeroU32>,
    /// What was left of its time to live (IPv4) or hop limit (IPv6) when it came in (`IP_TTL`, `IPV6_HOPLIMIT`).
    pub hop_limit: Option<u8>,
    /// Its traffic class: DSCP in the upper six bits, ECN in the lower two (`IP_TOS`, `IPV6_TCLASS`; RFC 2474, RFC 3168).
    pub traffic_class: Option<u8>,
    /// When the kernel received it: nanoseconds since 1970-01-01 00:00 UTC by the system's clock (`SO_TIMESTAMPNS`), up to the
    /// year 2554. [`received_at`](Self::received_at) is the same as a duration.
    pub received_ns: Option<NonZeroU64>,
}

impl Metadata {
    /// When the kernel received it, as the time since 1970-01-01 00:00 UTC by the system's clock.
    #[must_use]
    pub const fn received_at(&self) -> Option<Duration> {
        match self.received_ns {
            Some(nanoseconds) => Some(Duration::from_nanos(nanoseconds.get())),
            None => None,
        }
    }

    /// The two bits of explicit congestion notification (RFC 3168): 0 not capable, 1 and 2 capable, 3 congestion was met.
    #[must_use]
    pub const fn ecn(&self) -> Option<u8> {
        match self.traffic_class {
            Some(class) => Some(class & 3),
            None => None,
        }
    }
}

/// What one call to `recv` brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received<'a> {
    /// A packet that passed the filter.
    Packet(Packet<'a>),
    /// Nothing is queued (`EAGAIN`): wait until the listener is readable.
    Empty,
    /// More may be queued, but this call has refused as many packets as one call may: see to other sources, then call again.
    /// A level-triggered poller reports the listener again by itself.
    Paused,
}

impl<'a> Received<'a> {
    /// The packet, if it is one.
    #[must_use]
    pub const fn packet(self) -> Option<Packet<'a>> {
        match self {
            Self::Packet(packet) => Some(packet),
            Self::Empty | Self::Paused => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_fits_into_64_bytes() {
        assert!(size_of::<Packet<'_>>() <= 64, "{}", size_of::<Packet<'_>>());
        assert!(size_of::<Received<'_>>() <= 64, "{}", size_of::<Received<'_>>());
    }
}
