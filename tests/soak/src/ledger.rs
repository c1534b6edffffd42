//! What was sent, and what became of it: one line for each kind of listener and sender, checked after every burst.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use multicast::Counters;

/// How many packets each kind must see.
pub const GOAL: u64 = 100_000_000;

/// A finding, in words.
pub type Result<T> = core::result::Result<T, String>;

#[derive(Clone, Copy, Debug, Default)]
pub struct Line {
    /// What was sent to a listener, or by a sender.
    pub sent: u64,
    pub received: u64,
    pub rejected: u64,
    pub refused: u64,
    pub dropped: u64,
    /// Taken by the kernel while a link was away, or lost in the queue of the machine: no socket counts it.
    pub lost: u64,
}

impl Line {
    /// The counters of a listener to which this much was sent, and which lost nothing elsewhere.
    pub fn of(sent: u64, counters: &Counters) -> Self {
        let Counters { received, rejected, foreign, dropped, .. } = *counters;
        Self { sent, received, rejected, refused: foreign, dropped: dropped.unwrap_or(0), lost: 0 }
    }

    /// How much is not accounted for. The kernel's counter has 32 bits.
    pub fn open(&self) -> u32 {
        let known = self.received + self.rejected + self.refused + self.lost;
        (self.sent.wrapping_sub(known) as u32).wrapping_sub(self.dropped as u32)
    }

    fn difference(&self, before: &Self) -> Self {
        Self {
            sent: self.sent - before.sent,
            received: self.received - before.received,
            rejected: self.rejected - before.rejected,
            refused: self.refused - before.refused,
            dropped: u64::from((self.dropped as u32).wrapping_sub(before.dropped as u32)),
            lost: self.lost - before.lost,
        }
    }
}

/// The lines of all kinds.
#[derive(Debug, Default)]
pub struct Ledger(Mutex<BTreeMap<&'static str, Line>>);

impl Ledger {
    /// Adds what has happened since `before`, which becomes `now`.
    pub fn add(&self, kind: &'static str, now: Line, before: &mut Line) {
        let more = now.difference(before);
        *before = now;
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let line = lines.entry(kind).or_default();
        line.sent += more.sent;
        line.received += more.received;
        line.rejected += more.rejected;
        line.refused += more.refused;
        line.dropped += more.dropped;
        line.lost += more.lost;
    }

    /// Adds packets of a sender.
    pub fn sent(&self, kind: &'static str, packets: u64) {
        self.add(kind, Line { sent: packets, ..Line::default() }, &mut Line::default());
    }

    /// How many packets the kind has seen.
    pub fn seen(&self, kind: &str) -> u64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(kind).map_or(0, |line| line.sent)
    }

    pub fn lines(&self) -> BTreeMap<&'static str, Line> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
