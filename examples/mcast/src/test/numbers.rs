//! The packets of one stream, made when the multicaster pulls them: so each has the time at which it leaves.

use super::packet::{HEADER, Kind, Packet, now};
use crate::figures::random;

/// An iterator that gives as many packets as were ordered.
pub(crate) struct Numbers {
    stream: u64,
    /// The length of a packet.
    size: usize,
    /// The number of the next data packet.
    next: u64,
    kind: Kind,
    ordered: usize,
    /// When they were ordered.
    at: u64,
}

impl Numbers {
    /// A stream with a number of its own. `size` is at least that of the header.
    pub(crate) fn new(size: usize) -> Self {
        Self { stream: random(), size, next: 0, kind: Kind::Begin, ordered: 0, at: 0 }
    }

    /// How many data packets were made.
    pub(crate) fn made(&self) -> u64 {
        self.next
    }

    /// The next packets are so many of this kind.
    pub(crate) fn order(&mut self, kind: Kind, packets: usize) {
        (self.kind, self.ordered, self.at) = (kind, packets, now());
    }

    /// Takes the order back, and so many packets that were made and did not leave: their numbers are given again.
    pub(crate) fn take_back(&mut self, packets: u64) {
        self.ordered = 0;
        if self.kind == Kind::Data {
            self.next = self.next.saturating_sub(packets);
        }
    }
}

impl Iterator for Numbers {
    type Item = Box<[u8]>;

    fn next(&mut self) -> Option<Box<[u8]>> {
        self.ordered = self.ordered.checked_sub(1)?;
        let number = match self.kind {
            Kind::Begin => 0,
            Kind::Data | Kind::End => self.next,
        };
        if self.kind == Kind::Data {
            self.next = self.next.saturating_add(1);
        }
        let header = Packet { kind: self.kind, stream: self.stream, number, sent: self.at }.header();
        let mut packet = Vec::with_capacity(self.size.max(HEADER));
        packet.extend_from_slice(&header);
        packet.resize(self.size.max(HEADER), 0);
        Some(packet.into())
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.ordered, Some(self.ordered))
    }
}
