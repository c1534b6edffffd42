//! What was recorded, as JSON.

use serde::Serialize;

use super::Recorder;
use super::file::Kept;
use crate::json::VERSION;
use crate::limits::Limits;
use crate::output::Output;
use crate::receivers::Totals;
use crate::stop::Stop;

/// `kind` is `report`: a group on an interface.
#[derive(Serialize)]
struct Report {
    version: u8,
    kind: &'static str,
    group: String,
    interface: String,
    recorded_packets: u64,
    recorded_bytes: u64,
}

/// `kind` is `total`.
#[derive(Serialize)]
struct Total<'n> {
    version: u8,
    kind: &'static str,
    file: &'n str,
    recorded_packets: u64,
    /// Payloads.
    recorded_bytes: u64,
    file_bytes: u64,
    /// Null if the kernel is too old to report it.
    dropped_packets: Option<u64>,
    foreign_packets: u64,
}

#[inline(never)]
pub(super) fn print(recorder: &Recorder, totals: &Totals, limits: &Limits) -> Result<(), Stop> {
    let mut output = Output::new(limits)?;
    let Kept { packets, bytes } = recorder.recording.kept;
    for (place, heard) in recorder.places.iter().zip(&recorder.heard).filter(|(_, heard)| heard.packets > 0) {
        let (group, interface) = (place.group.to_string(), place.interface.to_string());
        let (recorded_packets, recorded_bytes) = (heard.packets, heard.bytes);
        let report = Report { version: VERSION, kind: "report", group, interface, recorded_packets, recorded_bytes };
        output.object(&report, limits)?;
    }
    let total = Total {
        version: VERSION,
        kind: "total",
        file: recorder.recording.name(),
        recorded_packets: packets,
        recorded_bytes: recorder.bytes,
        file_bytes: bytes,
        dropped_packets: totals.dropped,
        foreign_packets: totals.foreign,
    };
    output.object(&total, limits)
}
