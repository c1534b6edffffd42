//! How a packet is printed as JSON.

use serde::Serialize;

use super::{Printed, hex};
use crate::interfaces::Names;
use crate::json::{VERSION, whole_microseconds};

#[derive(Serialize)]
pub(crate) struct PacketObject<'p> {
    version: u8,
    kind: &'static str,
    /// Since 1970, when the kernel received it.
    time_ns: Option<u64>,
    interface: Option<String>,
    group: Option<String>,
    source: String,
    ttl: Option<u8>,
    /// Since the question, for an answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    after_us: Option<u64>,
    size_bytes: usize,
    /// More than 0 if it was cut.
    missing_bytes: usize,
    payload_hex: String,
    /// If it is UTF-8.
    payload_text: Option<&'p str>,
}

impl<'p> PacketObject<'p> {
    pub(super) fn new(printed: &Printed<'p>, names: &mut Names) -> Self {
        let Printed { kind, place, packet, after } = printed;
        let known = packet.metadata().copied().unwrap_or_default();
        let payload = packet.payload();
        let mut digits = Vec::with_capacity(payload.len().saturating_mul(2));
        hex(payload, &mut digits);
        Self {
            version: VERSION,
            kind,
            time_ns: known.received_at().and_then(|time| u64::try_from(time.as_nanos()).ok()),
            interface: known.interface.map(|index| names.of(index).to_owned()),
            group: place.map(|place| place.group.to_string()),
            source: packet.source().to_string(),
            ttl: known.hop_limit,
            after_us: after.map(whole_microseconds),
            size_bytes: packet.wire_length(),
            missing_bytes: packet.wire_length().saturating_sub(payload.len()),
            payload_hex: String::from_utf8_lossy(&digits).into_owned(),
            payload_text: std::str::from_utf8(payload).ok(),
        }
    }
}
