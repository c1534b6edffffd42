//! The statistics of one stream: what one sender sends to one group, from its start on.

use super::latency::{Jitter, Latency, Summary};
use super::packet::{Kind, Packet};
use super::window::{Seen, Window};

/// The most by which a number may be ahead of all before. One that is farther ahead is not of this stream.
const LARGEST_STEP: u64 = 1 << 32;

pub(crate) struct Stream {
    id: u64,
    /// Its beginning was heard: number 0 is the first. Otherwise the lowest one that came is.
    has_begun: bool,
    first: u64,
    /// `None` before the first number.
    window: Option<Window>,
    received: u64,
    reordered: u64,
    duplicates: u64,
    late: u64,
    /// How many the sender says that it has sent.
    total: Option<u64>,
    jitter: Jitter,
    /// Since the last report, and before it.
    recent: Latency,
    before: Latency,
}

/// The counters of a stream. `total` is `skipped + received + lost`, if the sender has told it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) received: u64,
    pub(crate) lost: u64,
    /// A number below the highest one seen before it (RFC 4737). A duplicate is not.
    pub(crate) reordered: u64,
    pub(crate) duplicates: u64,
    /// So far below the highest number that nobody knows whether they came before. They stay counted as lost.
    pub(crate) late: u64,
    /// Sent before this program heard the first one.
    pub(crate) skipped: u64,
    /// How many the sender says that it has sent.
    pub(crate) total: Option<u64>,
}

impl Counts {
    /// How many of those that were sent while this program listened should have come.
    pub(crate) fn expected(&self) -> u64 {
        self.received.saturating_add(self.lost)
    }

    /// Adds those of another stream. The total is known if both are.
    pub(crate) fn add(&mut self, other: &Self) {
        self.received = self.received.saturating_add(other.received);
        self.lost = self.lost.saturating_add(other.lost);
        self.reordered = self.reordered.saturating_add(other.reordered);
        self.duplicates = self.duplicates.saturating_add(other.duplicates);
        self.late = self.late.saturating_add(other.late);
        self.skipped = self.skipped.saturating_add(other.skipped);
        self.total = self.total.zip(other.total).map(|(total, other)| total.saturating_add(other));
    }
}

impl Stream {
    /// A stream of which this is the first packet that came.
    pub(crate) fn new(id: u64) -> Self {
        Self {
            id,
            has_begun: false,
            first: 0,
            window: None,
            received: 0,
            reordered: 0,
            duplicates: 0,
            late: 0,
            total: None,
            jitter: Jitter::default(),
            recent: Latency::new(),
            before: Latency::new(),
        }
    }

    /// Takes the latencies of the stream before it.
    pub(crate) fn follow(&mut self, other: &mut Self) {
        other.move_latency(&mut self.before);
    }

    pub(crate) fn move_latency(&mut self, to: &mut Latency) {
        to.take(&mut self.before);
        to.take(&mut self.recent);
    }

    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    /// Adds a packet, which came at this time. False if it contradicts what the stream has told before, so that it is not of it.
    #[must_use]
    pub(crate) fn add(&mut self, packet: &Packet, came: u64) -> bool {
        match packet.kind {
            Kind::Begin => {
                self.has_begun |= self.window.is_none();
                true
            }
            Kind::Data => self.add_number(packet, came),
            Kind::End => self.end(packet.number),
        }
    }

    fn add_number(&mut self, packet: &Packet, came: u64) -> bool {
        let number = packet.number;
        if self.total.is_some_and(|total| number >= total) {
            return false;
        }
        let Some(window) = &mut self.window else {
            // Also of a stream that has begun: the first that comes may be far from 0.
            self.window = Some(Window::new(number));
            self.first = number;
            self.received = 1;
            self.time(packet, came);
            return true;
        };
        let highest = window.highest();
        if number.saturating_sub(highest) > LARGEST_STEP {
            return false;
        }
        match window.see(number) {
            Seen::New => {
                self.received = self.received.saturating_add(1);
                self.reordered = self.reordered.saturating_add((number < highest).into());
                self.first = self.first.min(number);
                self.time(packet, came);
            }
            Seen::Again => self.duplicates = self.duplicates.saturating_add(1),
            Seen::Unknown => self.late = self.late.saturating_add(1),
        }
        true
    }

    fn time(&mut self, packet: &Packet, came: u64) {
        self.jitter.add(packet.sent, came);
        self.recent.add(packet.sent, came);
    }

    fn end(&mut self, total: u64) -> bool {
        let least = self.window.as_ref().map_or(0, |window| window.highest().saturating_add(1));
        let is_possible = match self.total {
            Some(told) => told == total,
            None => total >= least && total.saturating_sub(least) <= LARGEST_STEP,
        };
        if is_possible {
            self.total = Some(total);
        }
        is_possible
    }

    pub(crate) fn counts(&self) -> Counts {
        let Self { received, reordered, duplicates, late, total, .. } = *self;
        let seen = self.window.as_ref().map(|window| window.highest().saturating_add(1));
        let end = total.or(seen).unwrap_or(0);
        let skipped = match (self.has_begun, seen) {
            (true, _) => 0,
            (false, Some(_)) => self.first,
            (false, None) => end,
        };
        let lost = end.saturating_sub(skipped).saturating_sub(received);
        Counts { received, lost, reordered, duplicates, late, skipped, total }
    }

    /// Whether the sender has told that it ended.
    pub(crate) fn has_ended(&self) -> bool {
        self.total.is_some()
    }

    /// In nanoseconds.
    pub(crate) fn jitter(&self) -> u64 {
        self.jitter.nanoseconds()
    }

    /// The latency since this was called before.
    pub(crate) fn recent_latency(&mut self) -> Summary {
        let summary = self.recent.summary();
        self.before.take(&mut self.recent);
        summary
    }

    /// The latency since the start.
    pub(crate) fn latency(&mut self) -> Summary {
        self.before.take(&mut self.recent);
        self.before.summary()
    }
}

#[cfg(test)]
#[path = "stream_tests.rs"]
mod tests;
