//! What was sent, or what a capture has, as JSON.

use multicast::Group;
use serde::Serialize;

use super::Sent;
use super::contents::LeftOut;
use crate::json::{VERSION, microseconds, whole_microseconds};
use crate::limits::Limits;
use crate::output::Output;
use crate::stop::Stop;

/// `kind` is `report`: a group of the capture.
#[derive(Serialize)]
pub(super) struct Report {
    version: u8,
    kind: &'static str,
    group: String,
    captured_packets: u64,
    captured_bytes: u64,
    duration_us: f64,
}

impl Report {
    pub(super) fn new(group: Group, captured_packets: u64, captured_bytes: u64, nanoseconds: i128) -> Self {
        let duration_us = microseconds(u64::try_from(nanoseconds).unwrap_or(u64::MAX));
        Self { version: VERSION, kind: "report", group: group.to_string(), captured_packets, captured_bytes, duration_us }
    }
}

#[derive(Serialize)]
struct Reasons {
    fragment_packets: u64,
    truncated_packets: u64,
    not_udp_packets: u64,
    not_to_a_group_packets: u64,
    not_chosen_packets: u64,
    unknown_link_packets: u64,
    refused_packets: u64,
}

impl Reasons {
    /// How many packets were left out, and why.
    fn of(left_out: &LeftOut) -> (u64, Self) {
        let LeftOut { fragments, cut, not_udp, not_to_a_group, not_chosen, of_unknown_links, refused, .. } = *left_out;
        let all = [fragments, cut, not_udp, not_to_a_group, not_chosen, of_unknown_links, refused];
        let reasons = Self {
            fragment_packets: fragments,
            truncated_packets: cut,
            not_udp_packets: not_udp,
            not_to_a_group_packets: not_to_a_group,
            not_chosen_packets: not_chosen,
            unknown_link_packets: of_unknown_links,
            refused_packets: refused,
        };
        (all.into_iter().fold(0, u64::saturating_add), reasons)
    }
}

/// `kind` is `total`, of `--list`.
#[derive(Serialize)]
pub(super) struct ListTotal {
    version: u8,
    kind: &'static str,
    group_count: usize,
    left_out_packets: u64,
    left_out: Reasons,
}

impl ListTotal {
    pub(super) fn new(groups: usize, left_out: &LeftOut) -> Self {
        let (left_out_packets, left_out) = Reasons::of(left_out);
        Self { version: VERSION, kind: "total", group_count: groups, left_out_packets, left_out }
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
    lateness_max_us: u64,
    left_out_packets: u64,
    left_out: Reasons,
}

#[inline(never)]
pub(super) fn print(sent: &Sent, left_out: &LeftOut, limits: &Limits) -> Result<(), Stop> {
    let (left_out_packets, left_out) = Reasons::of(left_out);
    let total = Total {
        version: VERSION,
        kind: "total",
        sent_packets: sent.packets,
        sent_bytes: sent.bytes,
        rounds: sent.rounds,
        lateness_max_us: whole_microseconds(sent.latest),
        left_out_packets,
        left_out,
    };
    Output::new(limits)?.object(&total, limits)
}
