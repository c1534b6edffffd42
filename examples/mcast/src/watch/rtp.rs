//! RTP (RFC 3550): whether a stream is RTP, and what its headers tell about losses, order and jitter.
//!
//! Nothing in a packet says for certain that it is RTP. A sender counts as one of RTP when four packets with the same SSRC had consecutive
//! sequence numbers (RFC 3550, appendix A.1, asks for two).

use super::jitter::Jitter;
use super::sequence::{Counts, Sequence};

/// How many packets must follow the first one in sequence before a stream counts as RTP.
const PROBATION: u8 = 3;
/// How many SSRCs of one stream are told apart.
const MAX_SSRCS: usize = 8;
/// An SSRC that is silent for this long, in nanoseconds, makes room for another.
const STALE: u64 = 10_000_000_000;

/// What the header of a packet says (RFC 3550, section 5.1).
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Header<'p> {
    pub(crate) payload_type: u8,
    pub(crate) sequence: u16,
    pub(crate) timestamp: u32,
    pub(crate) ssrc: u32,
    pub(crate) payload: &'p [u8],
}

/// The header of a packet, if it may be RTP: of version 2, with a payload type that is not one of RTCP (RFC 5761, section 4), and as
/// long as it says itself.
pub(crate) fn parse(packet: &[u8]) -> Option<Header<'_>> {
    let (fixed, mut rest) = packet.split_first_chunk::<12>()?;
    let [first, second, s0, s1, t0, t1, t2, t3, i0, i1, i2, i3] = *fixed;
    let payload_type = second & 0x7f;
    if first >> 6 != 2 || (64..=95).contains(&payload_type) {
        return None;
    }
    let contributors = usize::from(first & 0x0f) * 4;
    rest = rest.get(contributors..)?;
    if first & 0x10 != 0 {
        let ([_, _, high, low], after) = rest.split_first_chunk::<4>()?;
        let words = usize::from(u16::from_be_bytes([*high, *low]));
        rest = after.get(words * 4..)?;
    }
    if first & 0x20 != 0 {
        let padding = usize::from(*rest.last()?);
        rest = rest.get(..rest.len().checked_sub(padding)?).filter(|_| padding > 0)?;
    }
    Some(Header {
        payload_type,
        sequence: u16::from_be_bytes([s0, s1]),
        timestamp: u32::from_be_bytes([t0, t1, t2, t3]),
        ssrc: u32::from_be_bytes([i0, i1, i2, i3]),
        payload: rest,
    })
}

/// The ticks a second of a payload type's clock (RFC 3551, section 6), if it is fixed.
pub(crate) fn clock_rate(payload_type: u8) -> Option<u32> {
    Some(match payload_type {
        0 | 3..=5 | 7..=9 | 12 | 13 | 15 | 18 => 8_000,
        6 => 16_000,
        10 | 11 => 44_100,
        16 => 11_025,
        17 => 22_050,
        14 | 25 | 26 | 28 | 31..=34 => 90_000,
        _ => return None,
    })
}

/// One SSRC.
struct Sender {
    ssrc: u32,
    payload_type: u8,
    /// How many packets are missing until it counts.
    probation: u8,
    sequence: Sequence,
    /// The number of the last packet, in the order of arrival.
    last: u16,
    timestamp: u32,
    jitter: Jitter,
    heard: u64,
}

impl Sender {
    fn new(header: &Header<'_>, arrival: u64) -> Self {
        Self {
            ssrc: header.ssrc,
            payload_type: header.payload_type,
            probation: PROBATION,
            sequence: Sequence::new(header.sequence),
            last: header.sequence,
            timestamp: header.timestamp,
            jitter: Jitter::default(),
            heard: arrival,
        }
    }

    /// Whether this packet is the next one of the probation. A duplicate of the last one changes nothing.
    fn is_tried(&mut self, header: &Header<'_>) -> bool {
        let highest = self.sequence.highest();
        if header.sequence == highest {
            return false;
        }
        if header.sequence != highest.wrapping_add(1) {
            *self = Self::new(header, self.heard);
            return false;
        }
        // What it counts is added when the probation ends.
        self.sequence.add(header.sequence, &mut Counts::default());
        self.probation = self.probation.saturating_sub(1);
        true
    }

    fn time(&mut self, header: &Header<'_>, arrival: u64, given_rate: Option<u32>) {
        let ticks = header.timestamp.wrapping_sub(self.timestamp).cast_signed();
        let is_same_clock = header.payload_type == self.payload_type;
        (self.timestamp, self.payload_type) = (header.timestamp, header.payload_type);
        match clock_rate(header.payload_type).or(given_rate).filter(|rate| *rate > 0) {
            // 2^31 ticks in nanoseconds are less than 2^63.
            Some(rate) if is_same_clock => self.jitter.add(arrival, i64::from(ticks) * 1_000_000_000 / i64::from(rate)),
            _ => self.jitter.restart(arrival),
        }
    }
}

/// What a packet was.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Seen<'p> {
    /// Not of a stream of RTP, as far as is known.
    Other,
    /// A packet that had already come.
    Duplicate,
    /// RTP, with this payload. `is_next` is false if it does not follow the one that came before.
    Packet { payload_type: u8, payload: &'p [u8], is_next: bool },
}

/// The RTP of one stream, which may have several SSRCs.
#[derive(Default)]
pub(crate) struct Rtp {
    senders: Vec<Sender>,
    /// The SSRC of the last packet.
    current: Option<u32>,
    pub(crate) counts: Counts,
    /// How often an SSRC came that was not known, after the first one.
    pub(crate) ssrc_changes: u64,
    /// Packets of SSRCs for which there was no room.
    pub(crate) beyond: u64,
}

impl Rtp {
    /// Reads a packet that arrived at this time, in nanoseconds. `given_rate` is the clock rate of payload types that have none.
    pub(crate) fn read<'p>(&mut self, packet: &'p [u8], arrival: u64, given_rate: Option<u32>) -> Seen<'p> {
        let Some(header) = parse(packet) else { return Seen::Other };
        let Some(sender) = self.senders.iter_mut().find(|sender| sender.ssrc == header.ssrc) else {
            self.admit(&header, arrival);
            return Seen::Other;
        };
        sender.heard = arrival;
        let is_new = if sender.probation > 0 {
            if sender.is_tried(&header) {
                sender.time(&header, arrival, given_rate);
            }
            if sender.probation > 0 {
                return Seen::Other;
            }
            self.counts.received = self.counts.received.saturating_add(u64::from(PROBATION) + 1);
            if self.current.is_some() {
                self.ssrc_changes = self.ssrc_changes.saturating_add(1);
            }
            true
        } else {
            let is_new = sender.sequence.add(header.sequence, &mut self.counts);
            if is_new {
                sender.time(&header, arrival, given_rate);
            }
            is_new
        };
        self.current = Some(header.ssrc);
        if !is_new {
            return Seen::Duplicate;
        }
        let is_next = std::mem::replace(&mut sender.last, header.sequence).wrapping_add(1) == header.sequence;
        Seen::Packet { payload_type: header.payload_type, payload: header.payload, is_next }
    }

    /// Tries an SSRC that is not known. It takes the place of one that is on probation or silent, if all places are taken.
    fn admit(&mut self, header: &Header<'_>, arrival: u64) {
        let sender = Sender::new(header, arrival);
        if self.senders.len() < MAX_SSRCS {
            self.senders.push(sender);
            return;
        }
        let may_go = |sender: &&mut Sender| sender.probation > 0 || arrival.saturating_sub(sender.heard) > STALE;
        match self.senders.iter_mut().filter(may_go).min_by_key(|sender| sender.heard) {
            Some(place) => {
                if place.probation == 0 {
                    place.sequence.finish(&mut self.counts);
                }
                *place = sender;
            }
            None => self.beyond = self.beyond.saturating_add(1),
        }
    }

    /// Whether this stream is RTP.
    pub(crate) fn is_known(&self) -> bool {
        self.current.is_some()
    }

    fn current(&self) -> Option<&Sender> {
        self.senders.iter().find(|sender| Some(sender.ssrc) == self.current)
    }

    /// The SSRC and the payload type of the last packet.
    pub(crate) fn identity(&self) -> Option<(u32, u8)> {
        self.current().map(|sender| (sender.ssrc, sender.payload_type))
    }

    /// The jitter of the last packet's sender, and the highest that it had, in nanoseconds; `None` if the clock rate is unknown.
    pub(crate) fn jitter(&self, given_rate: Option<u32>) -> Option<(u64, u64)> {
        let sender = self.current()?;
        clock_rate(sender.payload_type).or(given_rate)?;
        Some((sender.jitter.now(), sender.jitter.highest()))
    }

    /// To be called once a second, so that what is missing is counted as lost.
    pub(crate) fn tick(&mut self) {
        for sender in self.senders.iter_mut().filter(|sender| sender.probation == 0) {
            sender.sequence.tick(&mut self.counts);
        }
    }

    /// Nothing more comes.
    pub(crate) fn finish(&mut self) {
        for sender in self.senders.iter_mut().filter(|sender| sender.probation == 0) {
            sender.sequence.finish(&mut self.counts);
        }
    }
}

#[cfg(test)]
#[path = "rtp_tests.rs"]
mod tests;
