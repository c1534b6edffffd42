//! MPEG transport streams (ISO/IEC 13818-1): whether datagrams carry one, and what its packets tell about losses and jitter.
//!
//! A transport packet has 188 bytes, of which the first is 0x47. A datagram carries a whole number of them, most often seven. A stream
//! counts as MPEG-TS when five of them came in a row.

use super::jitter::Jitter;

/// The length of a transport packet.
const PACKET: usize = 188;
const SYNC: u8 = 0x47;
/// Packets with this PID are stuffing: their counter means nothing.
const STUFFING: u16 = 0x1fff;
/// How many transport packets in a row make a stream.
const PROBATION: u8 = 5;
/// How many PIDs of one stream are told apart.
const MAX_PIDS: usize = 256;
/// A PID that is silent for this long, in nanoseconds, makes room for another.
const STALE: u64 = 60_000_000_000;
/// The PCR is 33 bits of 90 kHz, and then counts to 300 in each of them (section 2.4.3.5).
const PCR_WRAP: i64 = 300 << 33;

/// Counts of all PIDs of a stream. None of them ever goes back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Transport packets.
    pub(crate) packets: u64,
    /// How often the counter of a PID did not go on as it must.
    pub(crate) continuity_errors: u64,
    /// Those of them that losses and other orders of what carries the stream explain.
    pub(crate) explained_errors: u64,
    /// Packets that a device on the way marked as damaged (`transport_error_indicator`).
    pub(crate) marked_errors: u64,
    /// Places where a transport packet should begin and did not.
    pub(crate) sync_errors: u64,
    /// Packets that were sent twice in a row, which is allowed (section 2.4.3.3).
    pub(crate) repeated: u64,
    /// Stuffing.
    pub(crate) stuffing: u64,
    /// Packets with a PID for which there was no room.
    pub(crate) beyond: u64,
}

impl Counts {
    /// Adds those of another stream.
    pub(crate) fn add(&mut self, other: &Self) {
        let Self { packets, continuity_errors, explained_errors, marked_errors, sync_errors, repeated, stuffing, beyond } =
            self;
        for (counter, more) in [
            (packets, other.packets),
            (continuity_errors, other.continuity_errors),
            (explained_errors, other.explained_errors),
            (marked_errors, other.marked_errors),
            (sync_errors, other.sync_errors),
            (repeated, other.repeated),
            (stuffing, other.stuffing),
            (beyond, other.beyond),
        ] {
            *counter = counter.saturating_add(more);
        }
    }
}

fn count(counter: &mut u64) {
    *counter = counter.saturating_add(1);
}

/// What a transport packet says, as far as it matters here.
struct Header {
    pid: u16,
    continuity: u8,
    has_payload: bool,
    is_discontinuity: bool,
    pcr: Option<i64>,
    /// Of all bytes but the PCR, to tell a repetition from another packet with the same counter.
    digest: u64,
}

impl Header {
    /// `None` if it is of no use: its adaptation field control has the reserved value.
    fn of(packet: &[u8; PACKET]) -> Option<Self> {
        let [_, high, low, control, length, flags, p0, p1, p2, p3, p4, p5, ..] = *packet;
        let (has_payload, has_field) = (control & 0x10 != 0, control & 0x20 != 0);
        if !has_payload && !has_field {
            return None;
        }
        // A field without a payload after it fills the packet.
        let fits = if has_payload { length <= 182 } else { length == 183 };
        let has_flags = has_field && fits && length > 0;
        let has_pcr = has_flags && flags & 0x10 != 0 && length >= 7;
        let base = i64::from(u32::from_be_bytes([p0, p1, p2, p3])) << 1 | i64::from(p4 >> 7);
        let extension = i64::from(u16::from_be_bytes([p4 & 1, p5]));
        Some(Self {
            pid: u16::from_be_bytes([high & 0x1f, low]),
            continuity: control & 0x0f,
            has_payload,
            is_discontinuity: has_flags && flags & 0x80 != 0,
            pcr: has_pcr.then_some((base * 300 + extension) % PCR_WRAP),
            digest: digest(packet, has_pcr),
        })
    }
}

/// Whether this is a transport packet, in a stream that is not known to have them.
fn is_plausible(packet: &[u8; PACKET]) -> bool {
    packet.first() == Some(&SYNC) && Header::of(packet).is_some()
}

/// The PCR, which may be another one in a repeated packet, is at 6 to 11.
fn digest(packet: &[u8; PACKET], has_pcr: bool) -> u64 {
    let (head, rest) = packet.split_at(12);
    let head = if has_pcr { head.get(..6).unwrap_or(head) } else { head };
    [head, rest].iter().flat_map(|part| part.chunks(8)).fold(0, |digest: u64, chunk| {
        let mut word = [0; 8];
        word.iter_mut().zip(chunk).for_each(|(to, from)| *to = *from);
        (digest.rotate_left(23) ^ u64::from_le_bytes(word)).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    })
}

/// What is known of one PID.
#[derive(Default)]
pub(crate) struct Pid {
    pub(crate) pid: u16,
    pub(crate) packets: u64,
    pub(crate) continuity_errors: u64,
    continuity: Option<u8>,
    /// The digest of the last packet, as long as it may be repeated.
    repeatable: Option<u64>,
    pcr: Option<i64>,
    pcr_jitter: Jitter,
    heard: u64,
    /// How often the stream had been disturbed when the last packet came.
    disturbed: u64,
}

/// What the counter of a packet means.
#[derive(PartialEq, Eq)]
enum Continuity {
    Right,
    Repeated,
    Wrong,
}

impl Pid {
    fn check(&mut self, header: &Header) -> Continuity {
        let before = self.continuity.replace(header.continuity);
        let repeatable = self.repeatable.take();
        let expected = before.map(|before| if header.has_payload { (before + 1) & 0x0f } else { before });
        if header.has_payload && before == Some(header.continuity) && repeatable == Some(header.digest) {
            // Once: a third time would be an error.
            return Continuity::Repeated;
        }
        self.repeatable = header.has_payload.then_some(header.digest);
        match expected {
            Some(expected) if expected != header.continuity && !header.is_discontinuity => Continuity::Wrong,
            _ => Continuity::Right,
        }
    }

    fn clock(&mut self, header: &Header, arrival: u64) {
        let Some(pcr) = header.pcr else { return };
        match self.pcr.replace(pcr) {
            Some(before) if !header.is_discontinuity => {
                let ticks = (pcr - before).rem_euclid(PCR_WRAP);
                // More than half of all is a step back, as when a film is played again.
                let ticks = if ticks > PCR_WRAP / 2 { ticks - PCR_WRAP } else { ticks };
                self.pcr_jitter.add(arrival, ticks * 1_000 / 27);
            }
            _ => self.pcr_jitter.restart(arrival),
        }
    }
}

/// The MPEG-TS of one stream.
#[derive(Default)]
pub(crate) struct Transport {
    /// In the order of their numbers.
    pids: Vec<Pid>,
    pub(crate) counts: Counts,
    /// How many transport packets came in a row, until they are enough.
    in_a_row: u8,
    /// How often what carries the stream lost a packet, or changed the order.
    disturbed: u64,
}

impl Transport {
    /// Reads a datagram, or the payload of RTP, that arrived at this time, in nanoseconds.
    pub(crate) fn read(&mut self, datagram: &[u8], arrival: u64) {
        let (packets, rest) = datagram.as_chunks::<PACKET>();
        let is_whole = !packets.is_empty() && rest.is_empty();
        if !self.is_known() {
            if !(is_whole && packets.iter().all(is_plausible)) {
                *self = Self::default();
                return;
            }
            self.in_a_row = u8::try_from(packets.len()).unwrap_or(PROBATION).saturating_add(self.in_a_row);
        }
        for packet in packets {
            if packet.first() == Some(&SYNC) {
                self.packet(packet, arrival);
            } else {
                count(&mut self.counts.sync_errors);
            }
        }
        if !is_whole {
            count(&mut self.counts.sync_errors);
        }
    }

    /// What carries the stream lost a packet, or changed the order: that explains one error of each PID.
    pub(crate) fn disturb(&mut self) {
        count(&mut self.disturbed);
    }

    /// Whether this stream is MPEG-TS.
    pub(crate) fn is_known(&self) -> bool {
        self.in_a_row >= PROBATION
    }

    fn packet(&mut self, packet: &[u8; PACKET], arrival: u64) {
        count(&mut self.counts.packets);
        if packet.get(1).is_some_and(|flags| flags & 0x80 != 0) {
            // Nothing in it is certain, not even its PID.
            return count(&mut self.counts.marked_errors);
        }
        // With the reserved value, a decoder discards the packet.
        let Some(header) = Header::of(packet) else { return };
        if header.pid == STUFFING {
            return count(&mut self.counts.stuffing);
        }
        let Some(place) = self.place(header.pid, arrival) else { return count(&mut self.counts.beyond) };
        let Some(pid) = self.pids.get_mut(place) else { return };
        pid.heard = arrival;
        count(&mut pid.packets);
        let is_explained = std::mem::replace(&mut pid.disturbed, self.disturbed) != self.disturbed;
        match pid.check(&header) {
            Continuity::Right => {}
            Continuity::Repeated => return count(&mut self.counts.repeated),
            Continuity::Wrong => {
                count(&mut pid.continuity_errors);
                count(&mut self.counts.continuity_errors);
                if is_explained {
                    count(&mut self.counts.explained_errors);
                }
            }
        }
        pid.clock(&header, arrival);
    }

    /// Where this PID is in the list. A new one takes the place of one that is silent, if all places are taken.
    fn place(&mut self, number: u16, arrival: u64) -> Option<usize> {
        if let Ok(place) = self.pids.binary_search_by_key(&number, |pid| pid.pid) {
            return Some(place);
        }
        if self.pids.len() >= MAX_PIDS {
            let (place, oldest) = self.pids.iter().enumerate().min_by_key(|(_, pid)| pid.heard)?;
            if arrival.saturating_sub(oldest.heard) <= STALE {
                return None;
            }
            self.pids.remove(place);
        }
        let place = self.pids.partition_point(|pid| pid.pid < number);
        self.pids.insert(place, Pid { pid: number, disturbed: self.disturbed, ..Pid::default() });
        Some(place)
    }

    /// The PIDs, in their order.
    pub(crate) fn pids(&self) -> &[Pid] {
        &self.pids
    }

    /// The jitter of the PCR against the arrivals, and the highest that there was, in nanoseconds: of the PID where it is worst now. `None`
    /// if no PID has a PCR.
    pub(crate) fn pcr_jitter(&self) -> Option<(u64, u64)> {
        let clocks = self.pids.iter().filter(|pid| pid.pcr.is_some());
        clocks.map(|pid| (pid.pcr_jitter.now(), pid.pcr_jitter.highest())).max()
    }
}

#[cfg(test)]
#[path = "mpegts_tests.rs"]
mod tests;
