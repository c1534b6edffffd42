//! How packets are printed: as text, and as JSON. It is the same for all commands that print each packet.

#[cfg(feature = "json")]
mod object;

use std::io::Write;
use std::str::FromStr;
use std::time::Duration;

use multicast::Packet;

#[cfg(feature = "json")]
pub(crate) use object::PacketObject;

use crate::interfaces::Names;
use crate::limits::Limits;
use crate::output::{Output, escape};
use crate::places::Place;
use crate::stop::Stop;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Text,
    Hex,
    Raw,
    #[cfg(feature = "json")]
    Json,
}

impl FromStr for Format {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "text" => Ok(Self::Text),
            "hex" => Ok(Self::Hex),
            "raw" => Ok(Self::Raw),
            #[cfg(feature = "json")]
            "json" => Ok(Self::Json),
            _ => Err(format!("{text}: give text, hex, raw or json")),
        }
    }
}

/// Prints packets to standard output.
pub(crate) struct Printer {
    pub(crate) output: Output,
    format: Format,
    /// Whether to print what the kernel reports beside the payload.
    metadata: bool,
    /// Kept, so that a packet needs no new memory.
    line: Vec<u8>,
    names: Names,
}

/// A packet to be printed.
pub(crate) struct Printed<'p> {
    /// What it is called in JSON.
    pub(crate) kind: &'static str,
    /// Where it was received; `None` if it was sent to this program alone.
    pub(crate) place: Option<&'p Place>,
    pub(crate) packet: Packet<'p>,
    /// Of an answer: the time since the question.
    pub(crate) after: Option<Duration>,
}

impl Printer {
    pub(crate) fn new(output: Output, format: Format, metadata: bool) -> Self {
        Self { output, format, metadata, line: Vec::new(), names: Names::default() }
    }

    pub(crate) fn print(&mut self, printed: &Printed<'_>, limits: &Limits) -> Result<(), Stop> {
        #[cfg(feature = "json")]
        if self.format == Format::Json {
            return self.output.object(&PacketObject::new(printed, &mut self.names), limits);
        }
        self.line.clear();
        let names = self.metadata.then_some(&mut self.names);
        self.format.write(&printed.packet, printed.place, names, &mut self.line);
        self.output.write(&self.line, limits)
    }

    /// The name of the interface with this index.
    #[cfg(feature = "answer")]
    pub(crate) fn name_of(&mut self, index: std::num::NonZeroU32) -> &str {
        self.names.of(index)
    }

    /// Prints the last object, if it prints JSON.
    #[cfg(feature = "json")]
    pub(crate) fn total(&mut self, total: &impl serde::Serialize, limits: &Limits) -> Result<(), Stop> {
        match self.format {
            Format::Json => self.output.object(total, limits),
            _ => Ok(()),
        }
    }
}

impl Format {
    /// Adds a packet to the line; with its metadata if there are `names`.
    #[inline(never)]
    fn write(self, packet: &Packet<'_>, place: Option<&Place>, names: Option<&mut Names>, line: &mut Vec<u8>) {
        if self == Self::Raw {
            line.extend_from_slice(packet.payload());
            return;
        }
        // Writing into a vector does not fail.
        if let Some(names) = names {
            metadata(packet, place, names, line);
        }
        let _ = write!(line, "{} ", packet.source());
        if self == Self::Hex {
            hex(packet.payload(), line);
        } else {
            escape(packet.payload(), line);
        }
        if let missing @ 1.. = packet.wire_length().saturating_sub(packet.payload().len()) {
            let _ = write!(line, "\\+{missing}");
        }
        line.push(b'\n');
    }
}

/// Time, interface, destination, TTL and size. What the kernel did not report is a dash.
fn metadata(packet: &Packet<'_>, place: Option<&Place>, names: &mut Names, line: &mut Vec<u8>) {
    let known = packet.metadata().copied().unwrap_or_default();
    let _ = match known.received_at() {
        Some(time) => write!(line, "{}.{:09} ", time.as_secs(), time.subsec_nanos()),
        None => write!(line, "- "),
    };
    let _ = match known.interface {
        Some(index) => write!(line, "{} ", names.of(index)),
        None => write!(line, "- "),
    };
    let _ = match (known.destination, place) {
        (Some(address), Some(place)) => write!(line, "{} ", std::net::SocketAddr::new(address, place.group.port())),
        (Some(address), None) => write!(line, "{address} "),
        (None, Some(place)) => write!(line, "{} ", place.group),
        (None, None) => write!(line, "- "),
    };
    let _ = match known.hop_limit {
        Some(hops) => write!(line, "ttl {hops} "),
        None => write!(line, "ttl - "),
    };
    let _ = write!(line, "{} bytes ", packet.wire_length());
}

fn hex(bytes: &[u8], line: &mut Vec<u8>) {
    for byte in bytes {
        // Writing into a vector does not fail.
        let _ = write!(line, "{byte:02x}");
    }
}
