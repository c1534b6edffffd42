//! Private modules made public for the fuzz targets in `fuzz/` only: `cargo fuzz` sets `cfg(fuzzing)`. Private types are passed
//! as plain data.

#![allow(missing_docs, reason = "for the fuzz targets only")]

use core::net::IpAddr;

use crate::cmsg::{Arrival, Layout, Origin, Outgoing, Way, messages};
use crate::packet::Stamp;
use crate::route::netlink::{Answer, messages as netlink_messages};
use crate::sender::{segments, staging};
use crate::{Change, Metadata, links};

/// The level, type and data of each control message.
pub fn control_messages(bytes: &[u8], word: usize, big_endian: bool) -> impl Iterator<Item = (u32, u32, &[u8])> {
    messages(bytes, Layout { word, big_endian }).map(|message| (message.level, message.kind, message.data))
}

/// The metadata in the control messages of a datagram, and the size of its segments.
pub fn arrival(bytes: &[u8], word: usize, big_endian: bool) -> (Metadata, Option<u32>) {
    let arrival = Arrival::read(bytes, Layout { word, big_endian });
    (arrival.metadata, arrival.segment)
}

/// Writes when a packet was received, which others can only read.
pub fn set_received(metadata: &mut Metadata, nanoseconds: Option<u64>) {
    metadata.received = nanoseconds.map_or(Stamp::default(), Stamp::new);
}

/// Writes whether a packet was sent to this machine, which others can only read.
pub fn set_unicast(metadata: &mut Metadata, is_unicast: bool) {
    metadata.is_to_us = is_unicast;
}

/// Calls `check` with the control message that names the way of an outgoing packet.
pub fn outgoing(
    interface: u32,
    source: Option<IpAddr>,
    to_ipv4: bool,
    word: usize,
    big_endian: bool,
    check: impl FnOnce(&[u8]),
) {
    check(Outgoing::packet_info(Way { interface, source }, to_ipv4, Layout { word, big_endian }).as_bytes());
}

/// Whether a queued error comes from the network; `None` if the messages describe no error.
pub fn is_of_network(control: &[u8], word: usize, big_endian: bool) -> Option<bool> {
    Origin::read(control, Layout { word, big_endian }).map(|origin| origin == Origin::Network)
}

/// Kind of answer, its interface or errno, and its address.
pub fn netlink_answers(bytes: &[u8]) -> impl Iterator<Item = (&'static str, Option<u32>, Option<IpAddr>)> {
    netlink_messages(bytes).map(|message| match message.answer() {
        _ if message.is_interrupted() => ("interrupted", None, None),
        Answer::Link { interface, .. } => ("link", Some(interface), None),
        Answer::Address { interface, address, .. } => ("address", Some(interface), address),
        Answer::Route { interface, source } => ("route", interface, source),
        Answer::Failed(errno) => ("failed", Some(errno.0.into()), None),
        Answer::Counters { interface } => ("counters", Some(interface), None),
        Answer::Done => ("done", None, None),
        Answer::Other => ("other", None, None),
    })
}

/// The changes of interfaces in these messages.
pub fn link_changes(bytes: &[u8]) -> impl Iterator<Item = Change> {
    links::changes(bytes)
}

/// The part of a multicaster that has no socket, and the number of items that were sent.
pub struct Staging<I: Iterator, const BATCH: usize>(staging::Staging<I, BATCH>, u8);

impl<I: Iterator, const BATCH: usize> Staging<I, BATCH> {
    pub fn new(items: I) -> Self {
        Self(staging::Staging::new(items), 0)
    }

    pub fn fill(&mut self) {
        self.0.fill(&mut self.1);
    }

    pub fn left(&self) -> &[I::Item] {
        self.0.left(self.1)
    }

    pub fn sent(&mut self, count: usize) {
        self.0.sent(&mut self.1, count);
    }

    pub fn discard(&mut self) -> Option<I::Item> {
        self.0.discard(&mut self.1)
    }

    pub fn items_mut(&mut self) -> &mut I {
        self.0.items_mut()
    }

    pub fn into_parts(self) -> (I, impl Iterator<Item = I::Item>) {
        self.0.into_parts(self.1)
    }
}

/// Decides which packets can leave together.
pub struct Segments(segments::Segments);

impl Segments {
    pub const fn new() -> Self {
        Self(segments::Segments::new())
    }

    /// How many packets can leave together, and their size.
    pub fn run(&self, lengths: impl Iterator<Item = usize>) -> Option<(usize, u16)> {
        self.0.run(lengths).map(|run| (run.count, run.size))
    }

    pub fn refused(&mut self, size: u16) {
        self.0.refused(size);
    }

    pub const fn unsupported(&mut self) {
        self.0.unsupported();
    }
}
