//! What a listener hands out: a received packet, lent from the listener's buffer.

use core::net::SocketAddr;

/// A received packet, lent from the buffer that it was read into: the next call to `recv` overwrites it, so take what you want
/// to keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet<'a> {
    payload: &'a [u8],
    source: SocketAddr,
    length: u32,
}

impl<'a> Packet<'a> {
    pub(crate) const fn new(payload: &'a [u8], source: SocketAddr, length: u32) -> Self {
        Self { payload, source, length }
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
        self.source
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
