//! The totals as JSON.

use serde::Serialize;

use crate::json::VERSION;
use crate::receivers::Totals;

/// `kind` is `total`.
#[derive(Serialize)]
pub(super) struct TotalObject {
    version: u8,
    kind: &'static str,
    received_packets: u64,
    rejected_packets: u64,
    truncated_packets: u64,
    /// Null if the kernel is too old to report it.
    dropped_packets: Option<u64>,
    foreign_packets: u64,
}

impl TotalObject {
    pub(super) fn new(totals: &Totals) -> Self {
        Self {
            version: VERSION,
            kind: "total",
            received_packets: totals.received,
            rejected_packets: totals.rejected,
            truncated_packets: totals.truncated,
            dropped_packets: totals.dropped,
            foreign_packets: totals.foreign,
        }
    }
}
