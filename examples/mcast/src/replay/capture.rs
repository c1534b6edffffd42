//! Decodes captures, pcapng (draft-ietf-opsawg-pcapng) and pcap (draft-ietf-opsawg-pcap), while their bytes come.
//!
//! Anybody can write a capture. So each length is checked before it is used, nothing is allocated for bytes that did not come, and what
//! is kept has a bound.

use std::ops::Range;

mod fields;

use fields::{Fields, Order, Resolution};

/// A packet longer than this is none: other programs refuse it, too.
const LONGEST_PACKET: usize = 262_144;
/// A block with such a packet, and options.
const LONGEST_BLOCK: usize = LONGEST_PACKET * 2;
const MOST_INTERFACES: usize = 65_536;

const SECTION: u32 = 0x0a0d_0d0a;
const INTERFACE: u32 = 1;
/// The block that programs wrote before there were enhanced packets.
const OLD_PACKET: u32 = 2;
const SIMPLE_PACKET: u32 = 3;
const PACKET: u32 = 6;

/// Kind and length; in the header of a section, also the number that tells the order of bytes.
const BLOCK_HEADER: usize = 12;
const PCAP_HEADER: usize = 24;

/// A packet of the capture.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Frame<'a> {
    /// Nanoseconds since 1970; `None` if the capture has no times.
    pub(crate) time: Option<i128>,
    /// What its bytes begin with: a LINKTYPE_ number.
    pub(crate) link_type: u32,
    pub(crate) bytes: &'a [u8],
    /// Whether the program that captured it kept only its first bytes.
    pub(crate) is_cut: bool,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step<'a> {
    Frame(Frame<'a>),
    /// More bytes are needed: give them to [`Capture::push`], or call [`Capture::end`].
    More,
    End,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It is none at all.
    NoCapture,
    /// It ends inside of a block that begins at this byte.
    CutShort(u64),
    /// What is wrong, and the byte at which that block begins.
    Malformed(&'static str, u64),
}

#[derive(Default)]
pub(crate) struct Capture {
    bytes: Vec<u8>,
    /// How many of these are decoded.
    done: usize,
    /// How many came before these.
    before: u64,
    /// How many of the bytes that come next belong to a block that does not matter.
    skipped: u64,
    has_ended: bool,
    format: Format,
    /// Of this section, by their numbers.
    interfaces: Vec<Link>,
}

#[derive(Clone, Copy, Default)]
enum Format {
    #[default]
    Unknown,
    Pcapng(Order),
    Pcap {
        order: Order,
        link: Link,
        header: usize,
    },
}

/// An interface as the capture describes it.
#[derive(Clone, Copy)]
struct Link {
    link_type: u32,
    /// 0 is none.
    longest: u32,
    resolution: Resolution,
}

/// What one step found. Not yet a [`Frame`], which borrows the bytes.
enum Found {
    Packet {
        time: Option<i128>,
        link_type: u32,
        range: Range<usize>,
        is_cut: bool,
    },
    /// Something that is no packet.
    Other,
    More,
}

impl Capture {
    /// Takes the next bytes of the capture.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.bytes.drain(..self.done.min(self.bytes.len()));
        self.before = self.before.saturating_add(self.done as u64);
        self.done = 0;
        self.bytes.extend(bytes);
    }

    /// No more bytes come.
    pub(crate) fn end(&mut self) {
        self.has_ended = true;
    }

    /// The next packet.
    pub(crate) fn next(&mut self) -> Result<Step<'_>, Fault> {
        loop {
            match self.step()? {
                Found::Packet { time, link_type, range, is_cut } => {
                    let bytes = self.bytes.get(range).unwrap_or(&[]);
                    return Ok(Step::Frame(Frame { time, link_type, bytes, is_cut }));
                }
                Found::Other => {}
                Found::More if !self.has_ended => return Ok(Step::More),
                Found::More if matches!(self.format, Format::Unknown) => return Err(Fault::NoCapture),
                Found::More if self.rest().is_empty() && self.skipped == 0 => return Ok(Step::End),
                Found::More => return Err(Fault::CutShort(self.position())),
            }
        }
    }

    fn step(&mut self) -> Result<Found, Fault> {
        if self.skipped > 0 {
            let here = self.skipped.min(self.rest().len() as u64);
            self.skipped = self.skipped.saturating_sub(here);
            self.done = self.done.saturating_add(here as usize);
        }
        match self.format {
            _ if self.skipped > 0 => Ok(Found::More),
            Format::Unknown => self.begin(),
            Format::Pcapng(order) => self.block(order),
            Format::Pcap { order, link, header } => self.record(order, link, header),
        }
    }

    fn rest(&self) -> &[u8] {
        self.bytes.get(self.done..).unwrap_or(&[])
    }

    /// How many bytes of the capture are decoded.
    fn position(&self) -> u64 {
        self.before.saturating_add(self.done as u64)
    }

    fn malformed<T>(&self, what: &'static str) -> Result<T, Fault> {
        Err(Fault::Malformed(what, self.position()))
    }

    /// Recognises the format by the first bytes.
    fn begin(&mut self) -> Result<Found, Fault> {
        let Some(magic) = self.rest().first_chunk::<4>() else { return Ok(Found::More) };
        let number = u32::from_le_bytes(*magic);
        // The number says which unit the times have: 6 digits or 9. The third one is from a kind of pcap with longer headers.
        let (order, digits, header) = match (number, number.swap_bytes()) {
            (SECTION, _) => {
                self.format = Format::Pcapng(Order::Little);
                return Ok(Found::Other);
            }
            (0xa1b2_c3d4, _) => (Order::Little, 6, 16),
            (_, 0xa1b2_c3d4) => (Order::Big, 6, 16),
            (0xa1b2_3c4d, _) => (Order::Little, 9, 16),
            (_, 0xa1b2_3c4d) => (Order::Big, 9, 16),
            (0xa1b2_cd34, _) => (Order::Little, 6, 24),
            (_, 0xa1b2_cd34) => (Order::Big, 6, 24),
            _ => return Err(Fault::NoCapture),
        };
        let Some(bytes) = self.rest().first_chunk::<PCAP_HEADER>() else { return Ok(Found::More) };
        let fields = Fields::new(bytes, order);
        let (Some(2), Some(network)) = (fields.short(4), fields.long(20)) else {
            return self.malformed("a version of pcap that does not exist");
        };
        // The four bits above say how many bytes of a checksum follow each packet.
        let link = Link { link_type: network & 0x0fff_ffff, longest: 0, resolution: Resolution::digits(digits) };
        self.format = Format::Pcap { order, link, header };
        self.done = self.done.saturating_add(PCAP_HEADER);
        Ok(Found::Other)
    }

    /// A packet of a pcap file.
    fn record(&mut self, order: Order, link: Link, header: usize) -> Result<Found, Fault> {
        let fields = Fields::new(self.rest(), order);
        let (Some(seconds), Some(fraction), Some(kept), Some(length)) =
            (fields.long(0), fields.long(4), fields.long(8), fields.long(12))
        else {
            return Ok(Found::More);
        };
        if kept as usize > LONGEST_PACKET {
            return self.malformed("a packet that is longer than any");
        }
        let total = header.saturating_add(kept as usize);
        if self.rest().len() < total {
            return Ok(Found::More);
        }
        let time = link.resolution.of_parts(seconds, fraction);
        let range = self.done.saturating_add(header)..self.done.saturating_add(total);
        self.done = range.end;
        Ok(Found::Packet { time: Some(time), link_type: link.link_type, range, is_cut: kept < length })
    }

    /// A block of a pcapng file.
    fn block(&mut self, order: Order) -> Result<Found, Fault> {
        let Some(header) = self.rest().first_chunk::<BLOCK_HEADER>().copied() else { return Ok(Found::More) };
        let is_section = Fields::new(&header, order).long(0) == Some(SECTION);
        let Some(order) = (if is_section { Order::of_section(&header) } else { Some(order) }) else {
            return self.malformed("a section without its order of bytes");
        };
        self.format = Format::Pcapng(order);
        let fields = Fields::new(&header, order);
        let (Some(kind), Some(length)) = (fields.long(0), fields.long(4)) else { return Ok(Found::More) };
        let length = length as usize;
        if length < BLOCK_HEADER || !length.is_multiple_of(4) {
            return self.malformed("a block with a length that no block has");
        }
        if !matches!(kind, SECTION | INTERFACE | OLD_PACKET | SIMPLE_PACKET | PACKET) {
            self.skipped = length as u64;
            return Ok(Found::Other);
        }
        if length > LONGEST_BLOCK {
            return self.malformed("a block that is longer than any");
        }
        let Some(block) = self.rest().get(..length) else { return Ok(Found::More) };
        let fields = Fields::new(block, order);
        if fields.long(length.saturating_sub(4)) != Some(length as u32) {
            return self.malformed("a block whose two lengths differ");
        }
        let found = match kind {
            SECTION if fields.short(12) != Some(1) => return self.malformed("a version of pcapng that does not exist"),
            SECTION => {
                self.interfaces.clear();
                Found::Other
            }
            INTERFACE => {
                let Some(link) = described(&fields) else {
                    return self.malformed("an interface that is not described");
                };
                if self.interfaces.len() >= MOST_INTERFACES {
                    return self.malformed("more interfaces than any machine has");
                }
                self.interfaces.push(link);
                Found::Other
            }
            _ => match self.packet(kind, &fields) {
                Some(found) => found,
                None => {
                    return self
                        .malformed("a packet that is longer than its block, or of an interface that is not described");
                }
            },
        };
        self.done = self.done.saturating_add(length);
        Ok(found)
    }

    /// The packet of a block. The last four bytes are no part of it.
    fn packet(&self, kind: u32, fields: &Fields<'_>) -> Option<Found> {
        let (number, header) = match kind {
            SIMPLE_PACKET => (0, 12),
            OLD_PACKET => (fields.short(8)?.into(), 28),
            _ => (fields.long(8)?, 28),
        };
        let link = self.interfaces.get(number as usize)?;
        let room = fields.len().checked_sub(4)?.checked_sub(header)?;
        let (time, kept, length) = if kind == SIMPLE_PACKET {
            let length = fields.long(8)?;
            let longest = if link.longest == 0 { u32::MAX } else { link.longest };
            (None, length.min(longest), length)
        } else {
            let units = u64::from(fields.long(12)?) << 32 | u64::from(fields.long(16)?);
            (Some(link.resolution.of(units)), fields.long(20)?, fields.long(24)?)
        };
        if kept as usize > room {
            return None;
        }
        let start = self.done.saturating_add(header);
        let range = start..start.saturating_add(kept as usize);
        Some(Found::Packet { time, link_type: link.link_type, range, is_cut: kept < length })
    }
}

/// What a block says about its interface.
fn described(fields: &Fields<'_>) -> Option<Link> {
    const TSRESOL: u16 = 9;
    const TSOFFSET: u16 = 14;
    let link_type = fields.short(8)?.into();
    let longest = fields.long(12)?;
    let mut resolution = Resolution::digits(6);
    let mut at = 16;
    // Up to the length at the end.
    let end = fields.len().checked_sub(4)?;
    while let (Some(code), Some(length)) = (fields.short(at), fields.short(at.saturating_add(2))) {
        let value = at.saturating_add(4);
        if code == 0 || value.saturating_add(length.into()) > end {
            break;
        }
        match (code, length) {
            (TSRESOL, 1) => resolution.unit = fields.byte(value)?,
            (TSOFFSET, 8) => resolution.offset = fields.signed(value)?,
            _ => {}
        }
        at = value.saturating_add(usize::from(length).next_multiple_of(4));
    }
    Some(Link { link_type, longest, resolution })
}

#[cfg(test)]
mod tests;
