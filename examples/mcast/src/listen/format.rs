//! How a packet is printed as text.

use std::io::Write;
use std::str::FromStr;

use multicast::Packet;

use crate::interfaces::Names;
use crate::output::escape;
use crate::places::Place;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
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

impl Format {
    /// Adds a packet to the line; with its metadata if there are `names`.
    #[inline(never)]
    pub(super) fn write(self, packet: &Packet<'_>, place: Option<&Place>, names: Option<&mut Names>, line: &mut Vec<u8>) {
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
        (_, Some(place)) => write!(line, "{} ", place.group),
        (_, None) => write!(line, "- "),
    };
    let _ = match known.hop_limit {
        Some(hops) => write!(line, "ttl {hops} "),
        None => write!(line, "ttl - "),
    };
    let _ = write!(line, "{} bytes ", packet.wire_length());
}

pub(super) fn hex(bytes: &[u8], line: &mut Vec<u8>) {
    for byte in bytes {
        // Writing into a vector does not fail.
        let _ = write!(line, "{byte:02x}");
    }
}
