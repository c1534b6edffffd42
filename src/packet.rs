//! What a listener returns: a received packet, borrowed from the listener's buffer, and its metadata.

use core::fmt;
use core::net::{IpAddr, SocketAddr};
use core::num::NonZeroU32;
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
    length: u16,
    /// Where in its buffer the payload begins.
    begin: u16,
}

impl<'a> Packet<'a> {
    /// The source is an internet address. No datagram is longer than 65,535 bytes.
    pub(crate) const fn new(
        payload: &'a [u8],
        begin: u16,
        source: Address,
        length: u16,
        metadata: Option<&'a Metadata>,
    ) -> Self {
        Self { payload, source, metadata, length, begin }
    }

    /// The packet without its payload, which borrows nothing: with it, a function can wait for a packet and return it. See
    /// [`Head`].
    #[must_use]
    pub const fn head(&self) -> Head {
        Head { source: self.source, begin: self.begin, kept: self.payload.len() as u16, length: self.length }
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

    /// What the kernel reports about the packet beside its payload; `None` if the listener did not ask for it.
    /// [`ListenOptions::metadata`](crate::ListenOptions::metadata) asks for all of it;
    /// [`answers`](crate::ListenOptions::answers), [`unicast`](crate::ListenOptions::unicast) and
    /// [`open_with_replies`](crate::SendOptions::open_with_replies) ask for destination and interface.
    #[must_use]
    pub const fn metadata(&self) -> Option<&'a Metadata> {
        self.metadata
    }
}

/// Where a packet lies in its buffer, its length, and where it came from: a small value that borrows nothing.
///
/// A packet borrows its listener, and Rust does not let a loop that may receive again return such a borrow. So let the loop end with
/// the head, and borrow the packet again:
///
/// ```no_run
/// # use multicast::{Events, Interest, Listener, Packet, Poller, Received, Result};
/// /// Waits until a packet comes. The listener is registered with the poller.
/// fn next_packet<'l>(listener: &'l mut Listener, poller: &Poller, events: &mut Events<1>) -> Result<Packet<'l>> {
///     let head = loop {
///         match listener.recv()? {
///             Received::Packet(packet) => break packet.head(),
///             Received::Paused => continue,
///             Received::Empty => {
///                 poller.poll(events, None)?;
///             }
///         }
///     };
///     Ok(listener.packet(head))
/// }
/// ```
///
/// It is good until the next call to `recv`, which overwrites the buffer: after that it gives other bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    source: Address,
    begin: u16,
    /// How many bytes of the payload the buffer holds.
    kept: u16,
    length: u16,
}

impl Head {
    /// The packet, lent from the buffer that it was received into; as far as the buffer reaches.
    ///
    /// A listener with a buffer of its own does this by [`packet`](crate::ListeningSocket::packet). Here you give the buffer that
    /// you gave to [`recv_into`](crate::Receiver::recv_into), and a copy of the metadata if you kept one.
    #[must_use]
    pub fn packet<'a>(&self, buffer: &'a [u8], metadata: Option<&'a Metadata>) -> Packet<'a> {
        let rest = buffer.get(self.begin.into()..).unwrap_or(&[]);
        let payload = rest.get(..self.kept.into()).unwrap_or(rest);
        Packet::new(payload, self.begin, self.source, self.length, metadata)
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
    pub(crate) received: Stamp,
    /// Whether the destination is an address of this machine: neither a group nor a broadcast address.
    pub(crate) is_to_us: bool,
}

/// Nanoseconds since 1970, 0 for none. In two halves, since a `u64` would make the structure, of which each listener has one, 4 bytes
/// longer.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Stamp {
    high: u32,
    low: u32,
}

impl Stamp {
    pub(crate) const fn new(nanoseconds: u64) -> Self {
        Self { high: (nanoseconds >> 32) as u32, low: nanoseconds as u32 }
    }

    const fn nanoseconds(self) -> u64 {
        (self.high as u64) << 32 | self.low as u64
    }
}

impl fmt::Debug for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.nanoseconds().fmt(f)
    }
}

impl Metadata {
    /// When the kernel received the packet (`SO_TIMESTAMPNS`): the time since 1970-01-01 00:00 UTC by the system's clock, in nanoseconds, up to
    /// the year 2554.
    #[must_use]
    #[doc(alias = "SO_TIMESTAMPNS")]
    pub const fn received_at(&self) -> Option<Duration> {
        match self.received.nanoseconds() {
            0 => None,
            nanoseconds => Some(Duration::from_nanos(nanoseconds)),
        }
    }

    /// Whether the packet was sent to an address of this machine: neither to a group nor to a broadcast address. False if the
    /// [destination](Self::destination) is not known.
    #[must_use]
    pub const fn is_unicast(&self) -> bool {
        self.is_to_us
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
///
/// A loop that takes all packets goes on at `Paused`, and ends at `Empty`. It is right for level-triggered and edge-triggered pollers:
///
/// ```no_run
/// # use multicast::{Group, Listener, Membership, Received};
/// # let mut listener = Listener::bind(Membership::any(Group::DEFAULT))?;
/// loop {
///     match listener.recv()? {
///         Received::Packet(packet) => println!("{}: {:?}", packet.source(), packet.payload()),
///         Received::Paused => continue,
///         Received::Empty => break,
///     }
/// }
/// # Ok::<(), multicast::Error>(())
/// ```
///
/// Do not write `while let Received::Packet(packet) = listener.recv()?`: that ends at `Paused`, and an edge-triggered poller never
/// reports the packets that are left. With a level-triggered poller you may leave at `Paused`, serve other sources first, and come back
/// when the poller reports the listener again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received<'a> {
    /// A packet that passed the filter.
    Packet(Packet<'a>),
    /// No packet is queued (`EAGAIN`): wait until the listener is readable.
    Empty,
    /// This call has refused or rejected 64 packets, as many as one call may. More may be queued: call again.
    Paused,
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
