//! Reads and writes control messages as bytes (`cmsg(3)`): what the kernel reports about a datagram beside its payload, and what it
//! must do with one that is sent.
//!
//! Pure and safe: no pointers, no casts, and the lengths in the bytes are not trusted. Word size and byte order are arguments, so
//! that the layouts of all processors can be tested on any one.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::num::NonZeroU32;

use linux_raw_sys::net as linux;

use crate::address::put;
use crate::packet::{Metadata, Stamp};

/// The option levels, as control messages carry them.
const IP: u32 = linux::IPPROTO_IP as u32;
const IPV6: u32 = linux::IPPROTO_IPV6 as u32;
const UDP: u32 = linux::IPPROTO_UDP as u32;
/// The UDP option that reports the size of the segments of a coalesced datagram. Missing in the generated bindings; from
/// `linux/udp.h`.
pub(crate) const UDP_GRO: u32 = 104;

/// From `linux/errqueue.h`.
const ORIGIN_ICMP: u8 = 2;
const ORIGIN_ICMP6: u8 = 3;

/// Room for the packet information alone.
pub(crate) const PACKET_INFO_SPACE: usize = Layout::NATIVE.space(20);

/// Room for all that we ask for: packet information, hop limit, traffic class, segment size, and a time stamp.
pub(crate) const SPACE: usize = {
    let layout = Layout::NATIVE;
    layout.space(20) + 3 * layout.space(4) + layout.space(16)
};

/// Room for what describes a queued error: all that we ask for about the packet that came with it, and then the error, and the address of
/// who sent it.
pub(crate) const ERROR_SPACE: usize = SPACE + Layout::NATIVE.space(16 + 28);

/// How a processor lays out control messages.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Layout {
    /// The size of a word in bytes, 4 or 8. The length is one word, and messages are aligned to words.
    pub(crate) word: usize,
    pub(crate) big_endian: bool,
}

impl Layout {
    /// The layout of the processor that runs this code.
    pub(crate) const NATIVE: Self = Self { word: size_of::<usize>(), big_endian: cfg!(target_endian = "big") };

    /// The size of a message's header: length (a word), level, type.
    const fn header(self) -> usize {
        self.word.saturating_add(8)
    }

    /// The size of a message with this many bytes of data, including the padding before the next one.
    const fn space(self, data: usize) -> usize {
        self.header().saturating_add(data).next_multiple_of(self.word)
    }

    /// The number in the first 4 or 8 bytes.
    #[inline]
    fn number(self, bytes: &[u8], size: usize) -> Option<u64> {
        if size == 4 {
            return self.int(bytes).map(u64::from);
        }
        let bytes = *bytes.first_chunk()?;
        Some(if self.big_endian { u64::from_be_bytes(bytes) } else { u64::from_le_bytes(bytes) })
    }

    /// This length and the padding behind it. Words are of 4 or 8 bytes.
    const fn padded(self, length: usize) -> usize {
        let most = self.word.saturating_sub(1);
        length.saturating_add(most) & !most
    }

    /// The header of a message: length, level, type.
    #[inline]
    fn head(self, bytes: &[u8]) -> Option<(u64, u32, u32)> {
        let (length, rest) = if self.word == 8 {
            let (word, rest) = bytes.split_first_chunk()?;
            (if self.big_endian { u64::from_be_bytes(*word) } else { u64::from_le_bytes(*word) }, rest)
        } else {
            let (word, rest) = bytes.split_first_chunk()?;
            (self.int_of(*word).into(), rest)
        };
        let ([a, b, c, d, kind @ ..], _) = rest.split_first_chunk::<8>()?;
        Some((length, self.int_of([*a, *b, *c, *d]), self.int_of(*kind)))
    }

    #[inline]
    fn int(self, bytes: &[u8]) -> Option<u32> {
        bytes.first_chunk().map(|bytes| self.int_of(*bytes))
    }

    #[inline]
    const fn int_of(self, bytes: [u8; 4]) -> u32 {
        if self.big_endian { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) }
    }
}

/// The way of one outgoing datagram: the interface that it leaves on, and its source address (`IP_PKTINFO`, `ip(7)`; `IPV6_PKTINFO`,
/// `ipv6(7)`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Way {
    /// 0: the routing table chooses.
    pub(crate) interface: u32,
    /// `None`: the kernel chooses.
    pub(crate) source: Option<IpAddr>,
}

/// One control message to send. Control messages are aligned to words.
#[repr(C, align(8))]
pub(crate) struct Outgoing {
    bytes: [u8; Self::ROOM],
    length: usize,
}

impl Outgoing {
    /// Header and packet information, of which that of IPv6 is the longer one, as the widest layout lays them out.
    const ROOM: usize = 16 + 24;

    /// The packet information for a datagram to an address of this family.
    pub(crate) fn packet_info(way: Way, to_ipv4: bool, layout: Layout) -> Self {
        let (level, kind, length) = if to_ipv4 { (IP, linux::IP_PKTINFO, 12) } else { (IPV6, linux::IPV6_PKTINFO, 20) };
        let mut outgoing = Self { bytes: [0; Self::ROOM], length: layout.space(length) };
        outgoing.number(0, layout.header().saturating_add(length) as u64, layout.word, layout);
        outgoing.number(layout.word, level.into(), 4, layout);
        outgoing.number(layout.word.saturating_add(4), kind.into(), 4, layout);
        let data = layout.header();
        // struct in_pktinfo: interface, source, destination, which the kernel ignores. struct in6_pktinfo: source, interface.
        let (interface_at, source_at) = if to_ipv4 { (0, 4) } else { (16, 0) };
        outgoing.number(data.saturating_add(interface_at), way.interface.into(), 4, layout);
        let source_at = data.saturating_add(source_at);
        match way.source {
            Some(IpAddr::V4(source)) if to_ipv4 => put(&mut outgoing.bytes, source_at, &source.octets()),
            Some(IpAddr::V6(source)) if !to_ipv4 => put(&mut outgoing.bytes, source_at, &source.octets()),
            _ => {}
        }
        outgoing
    }

    fn number(&mut self, offset: usize, number: u64, size: usize, layout: Layout) {
        let (big, little) = (number.to_be_bytes(), number.to_le_bytes());
        let bytes = if layout.big_endian { big.get(8_usize.saturating_sub(size)..) } else { little.get(..size) };
        put(&mut self.bytes, offset, bytes.unwrap_or(&[]));
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or(&self.bytes)
    }
}

/// Where a queued error comes from (`IP_RECVERR`, `ip(7)`; `IPV6_RECVERR`, `ipv6(7)`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// This machine: the packet did not leave.
    Local,
    /// The network: an ICMP message that somebody sent, about a packet that has left.
    Network,
}

impl Origin {
    /// Reads the messages that came with a queued error. `None` if none of them describes an error.
    pub(crate) fn read(control: &[u8], layout: Layout) -> Option<Self> {
        // struct sock_extended_err: the errno, and the origin in the byte after it.
        let error = messages(control, layout).find(|message| {
            matches!((message.level, message.kind), (IP, linux::IP_RECVERR) | (IPV6, linux::IPV6_RECVERR))
        })?;
        Some(match error.data.get(4)? {
            &ORIGIN_ICMP | &ORIGIN_ICMP6 => Self::Network,
            _ => Self::Local,
        })
    }
}

/// What the control messages of one datagram say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Arrival {
    pub(crate) metadata: Metadata,
    /// The size of the packets that the kernel coalesced into this datagram; the last one may be shorter.
    pub(crate) segment: Option<u32>,
}

impl Arrival {
    /// Reads the known messages. What is missing, unknown or cut off is `None`.
    pub(crate) fn read(control: &[u8], layout: Layout) -> Self {
        let mut arrival = Self::default();
        for message in messages(control, layout) {
            arrival.add(message, layout);
        }
        arrival
    }

    fn add(&mut self, Message { level, kind, data }: Message<'_>, layout: Layout) {
        let metadata = &mut self.metadata;
        match (level, kind) {
            (IP, linux::IP_PKTINFO) | (IPV6, linux::IPV6_PKTINFO) => metadata.add_packet_info(data, level == IP, layout),
            (IP, linux::IP_TTL) | (IPV6, linux::IPV6_HOPLIMIT) => {
                metadata.hop_limit = layout.int(data).map(|hops| hops as u8);
            }
            // A single byte for IPv4, an int for IPv6.
            (IP, linux::IP_TOS) => metadata.traffic_class = data.first().copied(),
            (IPV6, linux::IPV6_TCLASS) => metadata.traffic_class = layout.int(data).map(|class| class as u8),
            (linux::SOL_SOCKET, linux::SO_TIMESTAMPNS_OLD | linux::SO_TIMESTAMPNS_NEW) => {
                metadata.received = nanoseconds(data, layout).map_or(Stamp::default(), Stamp::new);
            }
            (UDP, UDP_GRO) => self.segment = layout.int(data),
            _ => {}
        }
    }
}

impl Metadata {
    /// Reads the packet information, where nothing else was asked for.
    pub(crate) fn of_packet_info(control: &[u8], layout: Layout) -> Self {
        let mut metadata = Self::default();
        match messages(control, layout).next() {
            Some(Message { level: IP, kind: linux::IP_PKTINFO, data }) => metadata.add_packet_info(data, true, layout),
            Some(Message { level: IPV6, kind: linux::IPV6_PKTINFO, data }) => metadata.add_packet_info(data, false, layout),
            _ => {}
        }
        metadata
    }

    fn add_packet_info(&mut self, data: &[u8], is_ipv4: bool, layout: Layout) {
        if is_ipv4 {
            // struct in_pktinfo: interface, our own address, destination (ip(7)). The last two differ for multicast and broadcast.
            let Some([a, b, c, d, ours @ .., e, f, g, h]) = data.first_chunk::<12>() else { return };
            self.interface = NonZeroU32::new(layout.int_of([*a, *b, *c, *d]));
            let destination = [*e, *f, *g, *h];
            self.is_to_us = *ours == destination;
            self.destination = Some(IpAddr::V4(Ipv4Addr::from_bits(u32::from_be_bytes(destination))));
        } else {
            // struct in6_pktinfo: destination, interface (ipv6(7)). IPv6 has no broadcast.
            let Some([destination @ .., a, b, c, d]) = data.first_chunk::<20>() else { return };
            self.interface = NonZeroU32::new(layout.int_of([*a, *b, *c, *d]));
            self.is_to_us = destination.first() != Some(&0xff);
            self.destination = Some(IpAddr::V6(Ipv6Addr::from_bits(u128::from_be_bytes(*destination))));
        }
    }
}

/// Nanoseconds since 1970, from seconds and nanoseconds in two words of 8 bytes (on older 32-bit kernels, of 4).
fn nanoseconds(data: &[u8], layout: Layout) -> Option<u64> {
    let size = if data.len() >= 16 { 8 } else { 4 };
    let seconds = layout.number(data, size)?;
    let nanoseconds = layout.number(data.get(size..)?, size)?;
    // Valid only below one second.
    let nanoseconds = Some(nanoseconds).filter(|nanoseconds| *nanoseconds < 1_000_000_000)?;
    seconds.checked_mul(1_000_000_000)?.checked_add(nanoseconds)
}

/// One control message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Message<'a> {
    pub(crate) level: u32,
    pub(crate) kind: u32,
    pub(crate) data: &'a [u8],
}

/// Iterates over the control messages in these bytes. Ends where a header is cut off, or where its length is impossible.
pub(crate) const fn messages(control: &[u8], layout: Layout) -> Messages<'_> {
    Messages { rest: control, layout }
}

/// See [`messages`].
pub(crate) struct Messages<'a> {
    rest: &'a [u8],
    layout: Layout,
}

impl<'a> Iterator for Messages<'a> {
    type Item = Message<'a>;

    // Inlined, so that the layout is a constant: without it tiny-ask is 296 bytes larger.
    #[inline(always)]
    fn next(&mut self) -> Option<Message<'a>> {
        let (rest, layout) = (self.rest, self.layout);
        let (length, level, kind) = layout.head(rest)?;
        let length = usize::try_from(length).ok()?;
        let data = rest.get(layout.header()..length)?;
        self.rest = rest.get(layout.padded(length)..).unwrap_or(&[]);
        Some(Message { level, kind, data })
    }
}

#[cfg(test)]
mod tests;
