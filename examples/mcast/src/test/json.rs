//! The statistics as JSON. Kinds: `sent` and `total` of `test send`; `report`, `stream` and `total` of `test receive`.

use std::time::Duration;

use multicast::{Group, Interface};
use serde::Serialize;

use super::latency::Summary;
use super::stream::Counts;
use super::text::Line;
use crate::figures::per_second;
use crate::json::{VERSION, microseconds, whole_microseconds};
use crate::receivers::Totals;

/// What has left: of one stream, or of all.
#[derive(Serialize)]
pub(super) struct Sent {
    version: u8,
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    interface: Option<String>,
    sent_packets: u64,
    duration_us: u64,
    packets_per_second: u64,
}

impl Sent {
    pub(super) fn stream(group: Group, interface: Interface, sent: u64, time: Duration) -> Self {
        let (group, interface) = (Some(group.to_string()), Some(interface.to_string()));
        Self { kind: "sent", group, interface, ..Self::total(sent, time) }
    }

    pub(super) fn total(sent: u64, time: Duration) -> Self {
        Self {
            version: VERSION,
            kind: "total",
            group: None,
            interface: None,
            sent_packets: sent,
            duration_us: whole_microseconds(time),
            packets_per_second: per_second(sent, time),
        }
    }
}

/// A stream in the last second (`report`), or from its beginning to its end (`stream`).
#[derive(Serialize)]
pub(super) struct Report<'r> {
    version: u8,
    kind: &'static str,
    group: &'r str,
    interface: &'r str,
    source: &'r str,
    #[serde(skip_serializing_if = "Option::is_none")]
    packets_per_second: Option<u64>,
    #[serde(flatten)]
    counts: Packets,
    restarts: u64,
    jitter_us: f64,
    /// Null if nothing came, or if the clocks do not agree.
    clocks_agree: Option<bool>,
    latency_min_us: Option<f64>,
    latency_avg_us: Option<f64>,
    latency_p99_us: Option<f64>,
    latency_max_us: Option<f64>,
}

#[derive(Serialize)]
struct Packets {
    /// Null until the sender has told its end. Then it is the sum of skipped, received and lost packets.
    sent_packets: Option<u64>,
    received_packets: u64,
    lost_packets: u64,
    reordered_packets: u64,
    duplicate_packets: u64,
    late_packets: u64,
    skipped_packets: u64,
}

impl From<&Counts> for Packets {
    fn from(counts: &Counts) -> Self {
        Self {
            sent_packets: counts.total,
            received_packets: counts.received,
            lost_packets: counts.lost,
            reordered_packets: counts.reordered,
            duplicate_packets: counts.duplicates,
            late_packets: counts.late,
            skipped_packets: counts.skipped,
        }
    }
}

impl<'r> Report<'r> {
    pub(super) fn new(line: &Line<'r>) -> Self {
        let [min, avg, p99, max] = match line.latency {
            Summary::Known { min, avg, p99, max } => [min, avg, p99, max].map(|time| Some(microseconds(time))),
            Summary::Nothing | Summary::ClocksDisagree => [None; 4],
        };
        Self {
            version: VERSION,
            kind: if line.rate.is_some() { "report" } else { "stream" },
            group: line.group,
            interface: line.interface,
            source: line.source,
            packets_per_second: line.rate,
            counts: Packets::from(&line.counts),
            restarts: line.restarts,
            jitter_us: microseconds(line.jitter),
            clocks_agree: match line.latency {
                Summary::Nothing => None,
                Summary::ClocksDisagree => Some(false),
                Summary::Known { .. } => Some(true),
            },
            latency_min_us: min,
            latency_avg_us: avg,
            latency_p99_us: p99,
            latency_max_us: max,
        }
    }
}

/// `kind` is `total`: the sum of all streams, and what is none.
#[derive(Serialize)]
pub(super) struct Total {
    version: u8,
    kind: &'static str,
    #[serde(flatten)]
    counts: Packets,
    /// By the kernel, since the receive buffer was full. Null if it is too old to report it.
    dropped_packets: Option<u64>,
    other_packets: u64,
    beyond_packets: u64,
}

impl Total {
    pub(super) fn new(sum: &Counts, totals: &Totals, others: u64, beyond: u64) -> Self {
        let counts = Packets::from(sum);
        let (dropped_packets, other_packets, beyond_packets) = (totals.dropped, others, beyond);
        Self { version: VERSION, kind: "total", counts, dropped_packets, other_packets, beyond_packets }
    }
}
