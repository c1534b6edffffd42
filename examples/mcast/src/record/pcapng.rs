//! The blocks of a pcapng file (draft-ietf-opsawg-pcapng), in little-endian order on every machine.

/// Packets begin with their IP header (LINKTYPE_RAW).
const LINK_TYPE: u16 = 101;
/// No packet is cut; readers want a number all the same, and this is what other programs write.
const LONGEST: u32 = 262_144;
/// Times are in nanoseconds: 10 to the power of -9.
const RESOLUTION: u8 = 9;

const SECTION: u32 = 0x0a0d_0d0a;
const INTERFACE: u32 = 1;
const STATISTICS: u32 = 5;
const PACKET: u32 = 6;
const BYTE_ORDER: u32 = 0x1a2b_3c4d;
const UNKNOWN_LENGTH: u64 = u64::MAX;

const END_OF_OPTIONS: u16 = 0;
const USER_APPLICATION: u16 = 4;
const IF_NAME: u16 = 2;
const IF_TSRESOL: u16 = 9;
const ISB_IFRECV: u16 = 4;
const ISB_IFDROP: u16 = 5;

/// The block that a file begins with.
pub(crate) fn section(out: &mut Vec<u8>) {
    block(out, SECTION, |out| {
        out.extend(BYTE_ORDER.to_le_bytes());
        // Version 1.0.
        out.extend([1, 0, 0, 0]);
        out.extend(UNKNOWN_LENGTH.to_le_bytes());
        option(out, USER_APPLICATION, concat!("mcast ", env!("CARGO_PKG_VERSION")).as_bytes());
        option(out, END_OF_OPTIONS, &[]);
    });
}

/// Describes an interface. The first one that is described has the number 0, the next one 1.
pub(crate) fn interface(out: &mut Vec<u8>, name: &str) {
    block(out, INTERFACE, |out| {
        out.extend(LINK_TYPE.to_le_bytes());
        out.extend([0, 0]);
        out.extend(LONGEST.to_le_bytes());
        option(out, IF_NAME, name.as_bytes());
        option(out, IF_TSRESOL, &[RESOLUTION]);
        option(out, END_OF_OPTIONS, &[]);
    });
}

/// A packet that came in at this time on the interface of this number. `data`: its bytes, from the IP header on.
pub(crate) fn packet(out: &mut Vec<u8>, interface: u32, nanoseconds: u64, data: &[u8]) {
    block(out, PACKET, |out| {
        out.extend(interface.to_le_bytes());
        time(out, nanoseconds);
        // Twice: so much is here, and so long it was.
        let length = u32::try_from(data.len()).unwrap_or(u32::MAX).to_le_bytes();
        out.extend(length);
        out.extend(length);
        out.extend(data);
    });
}

/// What was received on the interface of this number until this time, and how much of it was dropped.
pub(crate) fn statistics(out: &mut Vec<u8>, interface: u32, nanoseconds: u64, received: u64, dropped: Option<u64>) {
    block(out, STATISTICS, |out| {
        out.extend(interface.to_le_bytes());
        time(out, nanoseconds);
        option(out, ISB_IFRECV, &received.to_le_bytes());
        if let Some(dropped) = dropped {
            option(out, ISB_IFDROP, &dropped.to_le_bytes());
        }
        option(out, END_OF_OPTIONS, &[]);
    });
}

/// The length of the block that `bytes` begins with, if the bytes are so many.
pub(crate) fn block_length(bytes: &[u8]) -> Option<usize> {
    let length = u32::from_le_bytes(*bytes.get(4..)?.first_chunk()?) as usize;
    (length > 0 && length <= bytes.len()).then_some(length)
}

fn time(out: &mut Vec<u8>, nanoseconds: u64) {
    out.extend(((nanoseconds >> 32) as u32).to_le_bytes());
    out.extend((nanoseconds as u32).to_le_bytes());
}

/// A block with its length before and after it, both filled in when the length is known.
fn block(out: &mut Vec<u8>, kind: u32, body: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend(kind.to_le_bytes());
    out.extend([0; 4]);
    body(out);
    pad(out, start);
    let length = out.len().saturating_sub(start).saturating_add(4) as u32;
    out.extend(length.to_le_bytes());
    for (byte, digit) in out.iter_mut().skip(start.saturating_add(4)).zip(length.to_le_bytes()) {
        *byte = digit;
    }
}

fn option(out: &mut Vec<u8>, code: u16, value: &[u8]) {
    let start = out.len();
    out.extend(code.to_le_bytes());
    let length = u16::try_from(value.len()).unwrap_or(u16::MAX);
    out.extend(length.to_le_bytes());
    out.extend(value.get(..length.into()).unwrap_or(value));
    pad(out, start);
}

/// Fills up to a multiple of 4 bytes from `start` on.
fn pad(out: &mut Vec<u8>, start: usize) {
    while !out.len().saturating_sub(start).is_multiple_of(4) {
        out.push(0);
    }
}
