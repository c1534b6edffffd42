//! What a listener returns: a received packet, borrowed from the listener's buffer, and its metadata.

use core::net::{IpAddr, SocketAddr};
use core::num::{NonZeroU32, NonZeroU64};
use core::time::Duration;

use crate::address::Address;

/// A received packet, borrowed from the buffer that it was read into. The next call to `recv` overwrites it, so copy what you
/// want to keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet<'a> {
    payload: &'a [u8],
    /// As the kernel wrote it: converting it takes longer than copying it, and not every caller reads it.
    source: Address,
    metadata: Option<&'a Metadata>,
    length: u32,
}

impl<'a> Packet<'a> {
    /// The source is an internet address.
    pub(crate) const fn new(payload: &'a [u8], source: Address, length: u32, metadata: Option<&'a Metadata>) -> Self {
        Self { payload, source, metadata, length }
    }

    /// The payload of the datagram, cut at the length of the buffer. It can be empty: a datagram may have no payload.
    #[must_use]
    pub const fn payload(&self) -> &'a [u8] {
        self.payload
    }

    /// The sender's address and port. For an IPv6 link-local sender the scope id is the index of the receiving interface.
    #[must_use]
    pub const fn source(&self) -> SocketAddr {
        self.source.internet()
    }

    /// The length of the whole datagram in bytes, as it was on the wire; more than that of the payload if it was cut.
    #[must_use]
    pub const fn wire_length(&self) -> usize {
        self.length as usize
    }

    /// Whether the datagram was longer than the buffer, so that its end is lost (`MSG_TRUNC`, `recv(2)`).
    #[must_use]
    #[doc(alias = "MSG_TRUNC")]
    pub const fn is_truncated(&self) -> bool {
        self.wire_length() > self.payload.len()
    }

    /// What the kernel reports about the packet beside its payload; `None` without
    /// [`ListenOptions::metadata`](crate::ListenOptions::metadata).
    #[must_use]
    pub const fn metadata(&self) -> Option<&'a Metadata> {
        self.metadata
    }
}

/// What the kernel reports about a packet beside its payload (`ip(7)`, `ipv6(7)`, `socket(7)`). A field is `None` if the kernel
/// did not report it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Metadata {
    /// The address that the packet was sent to: the group (`IP_PKTINFO`, `IPV6_PKTINFO`).
    pub destination: Option<IpAddr>,
    /// The index of the interface that the packet came in on (from the same).
    pub interface: Option<NonZeroU32>,
    /// The remaining time to live (IPv4) or hop limit (IPv6) when the packet came in (`IP_TTL`, `IPV6_HOPLIMIT`).
    pub hop_limit: Option<u8>,
    /// The traffic class: DSCP in the upper six bits, ECN in the lower two (`IP_TOS`, `IPV6_TCLASS`; RFC 2474, RFC 3168).
    pub traffic_class: Option<u8>,
    /// When the kernel received the packet: nanoseconds since 1970-01-01 00:00 UTC by the system's clock (`SO_TIMESTAMPNS`), up
    /// to the year 2554. [`received_at`](Self::received_at) returns it as a `Duration`.
    pub received_ns: Option<NonZeroU64>,
}

impl Metadata {
    /// When the kernel received the packet, as the time since 1970-01-01 00:00 UTC by the system's clock.
    #[must_use]
    pub const fn received_at(&self) -> Option<Duration> {
        match self.received_ns {
            Some(nanoseconds) => Some(Duration::from_nanos(nanoseconds.get())),
            None => None,
        }
    }

    /// The two bits of explicit congestion notification (RFC 3168): 0 not capable, 1 and 2 capable, 3 congestion experienced.
    #[must_use]
    pub const fn ecn(&self) -> Option<u8> {
        match self.traffic_class {
            Some(class) => Some(class & 3),
            None => None,
        }
    }
}

/// What one call to `recv` returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received<'a> {
    /// A packet that passed the filter.
    Packet(Packet<'a>),
    /// No packet is queued (`EAGAIN`): wait until the listener is readable.
    Empty,
    /// More packets may be queued, but this call has refused as many as one call may (64): serve other sources, then call
    /// again. A level-triggered poller reports the listener again without further action; with an edge-triggered one you must
    /// call again.
    Paused,
}

impl<'a> Received<'a> {
    /// The packet, if there is one.
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
