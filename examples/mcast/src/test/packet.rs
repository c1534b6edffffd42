//! The layout of a test packet. All numbers are big-endian; what follows the header is padding.
//!
//! | bytes | field |
//! |---|---|
//! | 0..4 | `mcts` |
//! | 4 | version: 1 |
//! | 5 | kind: 0 begin, 1 data, 2 end |
//! | 6..8 | 0 |
//! | 8..16 | stream: a random number that the sender chooses when it starts |
//! | 16..24 | data: the packet's number, from 0 on; end: how many data packets were sent; begin: 0 |
//! | 24..32 | when it was sent: nanoseconds since 1970 by the sender's clock |

use std::time::{Duration, SystemTime};

/// The length of the header, which is the shortest packet.
pub(crate) const HEADER: usize = 32;
/// The longest payload of UDP over IPv4.
pub(crate) const LONGEST: usize = 65_507;

const MAGIC: [u8; 4] = *b"mcts";
const VERSION: u8 = 1;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The stream begins: who has heard this knows that number 0 is the first.
    Begin,
    /// One of the numbered packets.
    Data,
    /// The stream has ended, and its number is how many were sent: so the loss of the last ones is known, too.
    End,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Packet {
    pub(crate) kind: Kind,
    pub(crate) stream: u64,
    pub(crate) number: u64,
    /// Nanoseconds since 1970.
    pub(crate) sent: u64,
}

impl Packet {
    /// The packet in these bytes; `None` if somebody else's packet is in them.
    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        let (header, _) = bytes.split_first_chunk::<HEADER>()?;
        let (magic, rest) = header.split_first_chunk()?;
        let ([version, kind, 0, 0], rest) = rest.split_first_chunk()? else { return None };
        let kind = match kind {
            0 => Kind::Begin,
            1 => Kind::Data,
            2 => Kind::End,
            _ => return None,
        };
        let (stream, rest) = rest.split_first_chunk()?;
        let (number, rest) = rest.split_first_chunk()?;
        let (sent, _) = rest.split_first_chunk()?;
        (*magic == MAGIC && *version == VERSION).then_some(Self {
            kind,
            stream: u64::from_be_bytes(*stream),
            number: u64::from_be_bytes(*number),
            sent: u64::from_be_bytes(*sent),
        })
    }

    /// Its header.
    pub(crate) fn header(&self) -> [u8; HEADER] {
        let kind = match self.kind {
            Kind::Begin => 0,
            Kind::Data => 1,
            Kind::End => 2,
        };
        let mut header = [0; HEADER];
        let fields = [&MAGIC[..], &[VERSION, kind, 0, 0], &self.stream.to_be_bytes(), &self.number.to_be_bytes()];
        let bytes = fields.into_iter().flatten().copied().chain(self.sent.to_be_bytes());
        for (place, byte) in header.iter_mut().zip(bytes) {
            *place = byte;
        }
        header
    }
}

/// Nanoseconds since 1970 by this machine's clock; 0 for a clock that is before that, or after the year 2554.
pub(crate) fn now() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    nanoseconds(since)
}

/// So many nanoseconds; 0 for more than 584 years.
pub(crate) fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BYTES: [u8; HEADER] = [
        b'm', b'c', b't', b's', 1, 1, 0, 0, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 0, 0, 0, 0, 0, 1, 0x86, 0xa0,
        0x18, 0x2f, 0x3c, 0x4d, 0x5e, 0x6f, 0x70, 0x81,
    ];

    #[test]
    fn the_layout_is_as_documented() {
        let packet =
            Packet { kind: Kind::Data, stream: 0x1122_3344_5566_7788, number: 100_000, sent: 0x182f_3c4d_5e6f_7081 };
        assert_eq!(packet.header(), BYTES);
        assert_eq!(Packet::read(&BYTES), Some(packet));
        assert_eq!(Packet::read(&[&BYTES[..], &[7; 1000]].concat()), Some(packet));
    }

    #[test]
    fn other_peoples_packets_are_none_of_ours() {
        assert_eq!(Packet::read(&BYTES[..HEADER - 1]), None);
        assert_eq!(Packet::read(&[]), None);
        for (place, byte) in [(0, b'M'), (3, 0), (4, 0), (4, 2), (5, 3), (5, 255), (6, 1), (7, 1)] {
            let mut bytes = BYTES;
            bytes[place] = byte;
            assert_eq!(Packet::read(&bytes), None, "{byte} at {place}");
        }
    }
}
