//! How a packet is printed as JSON.

use serde::Serialize;

use multicast::Packet;

use super::format::hex;
use crate::interfaces::Names;
use crate::places::Place;
use crate::receivers::Totals;

/// `kind` is `packet`.
#[derive(Serialize)]
pub(super) struct PacketObject<'p> {
    version: u8,
    kind: &'static str,
    /// Since 1970, when the kernel received it.
    time_ns: Option<u64>,
    interface: Option<String>,
    group: Option<String>,
    source: String,
    ttl: Option<u8>,
    size_bytes: usize,
    /// More than 0 if it was cut.
    missing_bytes: usize,
    payload_hex: String,
    /// If it is UTF-8.
    payload_text: Option<&'p str>,
}

impl<'p> PacketObject<'p> {
    pub(super) fn new(place: Option<&Place>, packet: &Packet<'p>, names: &mut Names) -> Self {
        let known = packet.metadata().copied().unwrap_or_default();
        let payload = packet.payload();
        let mut digits = Vec::with_capacity(payload.len().saturating_mul(2));
        hex(payload, &mut digits);
        Self {
            version: 1,
            kind: "packet",
            time_ns: known.received_at().and_then(|time| u64::try_from(time.as_nanos()).ok()),
            interface: known.interface.map(|index| names.of(index).to_owned()),
            group: place.map(|place| place.group.to_string()),
            source: packet.source().to_string(),
            ttl: known.hop_limit,
            size_bytes: packet.wire_length(),
            missing_bytes: packet.wire_length().saturating_sub(payload.len()),
            payload_hex: String::from_utf8_lossy(&digits).into_owned(),
            payload_text: std::str::from_utf8(payload).ok(),
        }
    }
}

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
            version: 1,
            kind: "total",
            received_packets: totals.received,
            rejected_packets: totals.rejected,
            truncated_packets: totals.truncated,
            dropped_packets: totals.dropped,
            foreign_packets: totals.foreign,
        }
    }
}
