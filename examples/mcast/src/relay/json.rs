//! What became of the packets, as JSON.

use serde::Serialize;

use super::{Counts, Relay};
use crate::json::VERSION;
use crate::limits::Limits;
use crate::output::Output;
use crate::receivers::Totals;
use crate::stop::Stop;

/// `kind` is `total`.
#[derive(Serialize)]
struct Total {
    version: u8,
    kind: &'static str,
    received_packets: u64,
    relayed_packets: u64,
    relayed_bytes: u64,
    /// Came with TTL 1.
    stayed_packets: u64,
    own_packets: u64,
    /// Came from where they would go.
    back_packets: u64,
    /// Over `--rate`.
    limited_packets: u64,
    refused_packets: u64,
    lost_in_outages_packets: u64,
    /// Null if the kernel is too old to report it.
    dropped_packets: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pairs: Option<Pairs>,
}

/// With `--pair`.
#[derive(Serialize)]
struct Pairs {
    askers: u64,
    forgotten_askers: u64,
    answers: u64,
    refused_packets: u64,
}

#[inline(never)]
pub(super) fn print(relay: &Relay<'_>, totals: &Totals, limits: &Limits) -> Result<(), Stop> {
    let Counts { received, relayed, bytes, stayed, own, back, over_rate } = relay.counts;
    let pairs = relay.pairs.as_ref().map(|pairs| {
        let super::pairs::Counts { askers, answers, forgotten, refused } = pairs.counts;
        Pairs { askers, forgotten_askers: forgotten, answers, refused_packets: refused }
    });
    let total = Total {
        version: VERSION,
        kind: "total",
        received_packets: received,
        relayed_packets: relayed,
        relayed_bytes: bytes,
        stayed_packets: stayed,
        own_packets: own,
        back_packets: back,
        limited_packets: over_rate,
        refused_packets: relay.outputs.lost.refused,
        lost_in_outages_packets: relay.outputs.lost.in_outages,
        dropped_packets: totals.dropped,
        pairs,
    };
    Output::new(limits)?.object(&total, limits)
}
