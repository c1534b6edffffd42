//! What was sent, or what a capture has, as JSON.

use multicast::Group;
use serde::Serialize;

use super::Sent;
use super::contents::LeftOut;
use crate::limits::Limits;
use crate::output::Output;
use crate::stop::Stop;

/// `kind` is `report`: a group of the capture.
#[derive(Serialize)]
pub(super) struct Report {
    version: u8,
    kind: &'static str,
    group: String,
    packets: u64,
    payload_bytes: u64,
    duration_ns: u64,
}

impl Report {
    pub(super) fn new(group: Group, packets: u64, payload_bytes: u64, nanoseconds: i128) -> Self {
        let duration_ns = u64::try_from(nanoseconds).unwrap_or(u64::MAX);
        Self { version: 1, kind: "report", group: group.to_string(), packets, payload_bytes, duration_ns }
    }
}

#[derive(Serialize)]
struct LeftOutPackets {
    fragments: u64,
    cut: u64,
    not_udp: u64,
    not_to_a_group: u64,
    not_chosen: u64,
    of_unknown_links: u64,
    refused: u64,
}

impl LeftOutPackets {
    fn of(left_out: &LeftOut) -> Self {
        let LeftOut { fragments, cut, not_udp, not_to_a_group, not_chosen, of_unknown_links, refused, .. } = *left_out;
        Self { fragments, cut, not_udp, not_to_a_group, not_chosen, of_unknown_links, refused }
    }
}

/// `kind` is `total`, of `--list`.
#[derive(Serialize)]
pub(super) struct ListTotal {
    version: u8,
    kind: &'static str,
    groups: usize,
    left_out_packets: LeftOutPackets,
}

impl ListTotal {
    pub(super) fn new(groups: usize, left_out: &LeftOut) -> Self {
        Self { version: 1, kind: "total", groups, left_out_packets: LeftOutPackets::of(left_out) }
    }
}

/// `kind` is `total`.
#[derive(Serialize)]
struct Total {
    version: u8,
    kind: &'static str,
    sent_packets: u64,
    sent_bytes: u64,
    rounds: u64,
    /// How much later than due the latest packet left.
    latest_us: u64,
    left_out_packets: LeftOutPackets,
}

#[inline(never)]
pub(super) fn print(sent: &Sent, left_out: &LeftOut, limits: &Limits) -> Result<(), Stop> {
    let total = Total {
        version: 1,
        kind: "total",
        sent_packets: sent.packets,
        sent_bytes: sent.bytes,
        rounds: sent.rounds,
        latest_us: u64::try_from(sent.latest.as_micros()).unwrap_or(u64::MAX),
        left_out_packets: LeftOutPackets::of(left_out),
    };
    Output::new(limits)?.object(&total, limits)
}
