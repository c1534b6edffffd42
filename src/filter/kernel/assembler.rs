//! Writes programs, from their end to their beginning.
//!
//! Jumps of classic BPF only lead forward. Since a program is written backward, the distance of each jump is known when it is
//! written, and labels need no memory: a label is the distance (height) of an instruction from the program's end.

use core::net::IpAddr;

use super::piece::Piece;
use super::{Fit, Instruction, code};
use crate::address::Family;

/// The height of the last instruction of every program, which rejects the packet.
const REJECT: usize = 1;
/// The height of a program that passes all packets.
const EMPTY: usize = 2;
/// An upper limit of the instructions that a test needs beside its pieces: jumps, loads, and a check of the length.
const BESIDE: usize = 6;
/// With more ranges of bytes, a conditional jump would have to go farther than it can.
const RANGES: usize = 32;
/// The longest possible payload.
const LONGEST: usize = u16::MAX as usize;

/// Writes the tests that a packet must pass into a buffer of 2 to 4,096 instructions. All of them must hold.
///
/// Filters write their tests with [`Filter::compile`](super::super::Filter::compile).
///
/// A test that does not fit into the rest of the buffer is left out, in whole or in part, and returns [`Fit::Superset`]. The
/// order of tests does not change the result; the kernel runs the last one first.
///
/// Offsets in the payload count from its first byte. As in [`Filter::accepts`](super::super::Filter::accepts), the payload is cut
/// at [`mtu`](Self::mtu) bytes: tests do not see the rest.
#[derive(Debug)]
pub struct Assembler<'b> {
    buffer: &'b mut [Instruction],
    /// How many instructions there are, at the end of the buffer.
    height: usize,
    /// The height that a failed test jumps to.
    otherwise: usize,
    /// Whether a failed test rejects the packet. If so, the length need not be checked: a load beyond the end of the packet
    /// rejects it, too.
    rejects: bool,
    mtu: usize,
    family: Family,
}

impl<'b> Assembler<'b> {
    /// An empty program for a listener of this family, whose packets are cut at `mtu` bytes: it passes all packets.
    ///
    /// A buffer of less than 2 instructions holds no program.
    pub fn new(buffer: &'b mut [Instruction], mtu: usize, family: Family) -> Self {
        let mut code = Self { buffer, height: 0, otherwise: REJECT, rejects: true, mtu: mtu.min(LONGEST), family };
        code.push(Instruction::new(code::RETURN, 0));
        code.push(Instruction::new(code::RETURN, code::ALL));
        code
    }

    /// At how many bytes the payload is cut, 65,535 at most.
    #[must_use]
    pub const fn mtu(&self) -> usize {
        self.mtu
    }

    /// The family of the addresses of all packets.
    #[must_use]
    pub const fn family(&self) -> Family {
        self.family
    }

    /// How many more instructions there is room for.
    pub(crate) const fn room(&self) -> usize {
        self.buffer.len().saturating_sub(self.height)
    }

    /// Whether the program tests nothing.
    pub(crate) const fn is_empty(&self) -> bool {
        self.height <= EMPTY
    }

    /// The program so far.
    #[must_use]
    pub fn instructions(&self) -> &[Instruction] {
        self.buffer.get(self.room()..).unwrap_or(&[])
    }

    /// Tests that the payload has these bytes from `offset` on. Zero bytes match every packet.
    pub(crate) fn bytes(&mut self, offset: usize, bytes: &[u8]) -> Fit {
        let end = offset.saturating_add(bytes.len());
        if bytes.is_empty() {
            return Fit::Exact;
        }
        if end > self.mtu {
            return self.reject();
        }
        let count = Piece::count(bytes.len());
        let Some(kept) = self.fitting(count, 2) else { return Fit::Superset };
        for piece in (0..kept).rev().map(|index| Piece::of(bytes.len(), index)) {
            self.holds(code::JUMP_EQUAL, piece.number(bytes));
            self.push(Instruction::new(piece.load(code::LOAD_WORD), place(offset.saturating_add(piece.offset))));
        }
        // If all bytes are loaded and failed tests reject, the last load rejects a packet that is too short.
        if !self.rejects || kept < count {
            self.longer(end);
        }
        if kept == count { Fit::Exact } else { Fit::Superset }
    }

    /// Tests that the payload equals `value` from `offset` on, in the bits where `mask` has ones, and is long enough for all of
    /// `value`. A `mask` shorter than `value` is extended with zeros.
    pub(crate) fn masked(&mut self, offset: usize, mask: &[u8], value: &[u8]) -> Fit {
        let end = offset.saturating_add(value.len());
        if value.is_empty() {
            return Fit::Exact;
        }
        if end > self.mtu {
            return self.reject();
        }
        let count = Piece::count(value.len());
        let Some(kept) = self.fitting(count, 3) else { return Fit::Superset };
        for piece in (0..kept).rev().map(|index| Piece::of(value.len(), index)) {
            let ones = piece.number(mask);
            if ones != 0 {
                self.holds(code::JUMP_EQUAL, piece.number(value) & ones);
                if ones != piece.all() {
                    self.push(Instruction::new(code::AND, ones));
                }
                self.push(Instruction::new(piece.load(code::LOAD_WORD), place(offset.saturating_add(piece.offset))));
            }
        }
        self.longer(end);
        if kept == count { Fit::Exact } else { Fit::Superset }
    }

    /// Tests that the payload ends with these bytes.
    pub(crate) fn ending(&mut self, bytes: &[u8]) -> Fit {
        if bytes.is_empty() {
            return Fit::Exact;
        }
        if bytes.len() > self.mtu {
            return self.reject();
        }
        let count = Piece::count(bytes.len());
        let Some(kept) = self.fitting(count, 2) else { return Fit::Superset };
        for piece in (0..kept).rev().map(|index| Piece::of(bytes.len(), index)) {
            let from_end = bytes.len().saturating_sub(piece.offset) as u32;
            self.holds(code::JUMP_EQUAL, piece.number(bytes));
            self.push(Instruction::new(piece.load(code::LOAD_WORD_AT_X), from_end.wrapping_neg()));
        }
        // X is the end of the payload: the end of the packet, or the place where it is cut.
        self.push(Instruction::new(code::COPY_TO_X, 0));
        if self.mtu < LONGEST {
            let cut = place(self.mtu);
            self.push(Instruction::new(code::LOAD_NUMBER, cut));
            self.push(Instruction::jump(code::JUMP_GREATER, cut, 0, 1));
        }
        self.longer(bytes.len());
        if kept == count { Fit::Exact } else { Fit::Superset }
    }

    /// Tests that the payload, cut at the [`mtu`](Self::mtu), has `least` to `most` bytes.
    pub(crate) fn length(&mut self, least: usize, most: usize) -> Fit {
        if least > most || least > self.mtu {
            return self.reject();
        }
        if self.room() < 2 * BESIDE {
            return Fit::Superset;
        }
        if most < self.mtu {
            self.holds_not(code::JUMP_GREATER, place(most));
            self.push(Instruction::new(code::LOAD_LENGTH, 0));
        }
        if least > 0 {
            self.longer(least);
        }
        Fit::Exact
    }

    /// Tests that the byte at `offset` is in one of these ranges, each a lowest and a highest byte. They must be sorted, and
    /// must not overlap. With more than 32 ranges, nothing is tested.
    pub fn byte_in(&mut self, offset: usize, ranges: &[(u8, u8)]) -> Fit {
        if offset >= self.mtu || ranges.is_empty() {
            return self.reject();
        }
        if ranges.len() > RANGES || self.room() < ranges.len().saturating_mul(2).saturating_add(2 * BESIDE) {
            return Fit::Superset;
        }
        let member = self.height;
        for (lowest, highest) in ranges.iter().rev() {
            if self.height == member {
                self.holds_not(code::JUMP_GREATER, u32::from(*highest));
            } else {
                // A greater byte may be in the next range; any other is in this one.
                let found = self.height.saturating_sub(member) as u8;
                self.push(Instruction::jump(code::JUMP_GREATER, u32::from(*highest), 0, found));
            }
            self.holds(code::JUMP_AT_LEAST, u32::from(*lowest));
        }
        self.push(Instruction::new(code::LOAD_BYTE, place(offset)));
        if !self.rejects {
            self.longer(offset.saturating_add(1));
        }
        Fit::Exact
    }

    /// Tests that the sender's port is `first` to `last`.
    pub fn port(&mut self, first: u16, last: u16) -> Fit {
        if self.room() < 2 * BESIDE {
            return Fit::Superset;
        }
        self.holds_not(code::JUMP_GREATER, last.into());
        self.holds(code::JUMP_AT_LEAST, first.into());
        self.push(Instruction::new(code::LOAD_HALF, 0));
        Fit::Exact
    }

    /// Tests that the remaining hop limit, or time to live, is `least` to `most`.
    pub(crate) fn hop_limit(&mut self, least: u8, most: u8) -> Fit {
        if least > most {
            return self.reject();
        }
        if self.room() < 2 * BESIDE {
            return Fit::Superset;
        }
        let (tests_least, tests_most) = (least > u8::MIN, most < u8::MAX);
        if tests_most {
            self.holds_not(code::JUMP_GREATER, most.into());
        }
        if tests_least {
            self.holds(code::JUMP_AT_LEAST, least.into());
        }
        if tests_least || tests_most {
            let at = match self.family {
                Family::V4 => 8,
                Family::V6 => 7,
            };
            self.push(Instruction::new(code::LOAD_BYTE, code::NETWORK.saturating_add(at)));
        }
        Fit::Exact
    }

    /// Tests that the first `bits` bits of the sender's address are those of `network`. On an IPv6 socket an IPv4 address is a
    /// mapped one, `::ffff:192.0.2.1`.
    pub(crate) fn source(&mut self, network: IpAddr, bits: u8) -> Fit {
        let (network, bits, words, at) = match (network, self.family) {
            (IpAddr::V4(network), Family::V4) => (u128::from(network.to_bits()) << 96, bits.min(32), 1, 12_u32),
            (IpAddr::V4(network), Family::V6) => (network.to_ipv6_mapped().to_bits(), bits.min(32).saturating_add(96), 4, 8),
            (IpAddr::V6(network), Family::V6) => (network.to_bits(), bits.min(128), 4, 8),
            (IpAddr::V6(_), Family::V4) => return self.reject(),
        };
        if self.room() < 3 * 4 + BESIDE {
            return Fit::Superset;
        }
        let mask = u128::MAX.checked_shl(128_u32.saturating_sub(bits.into())).unwrap_or(0);
        // The first word is the most significant one.
        for (shift, from) in [(96, at), (64, at.saturating_add(4)), (32, at.saturating_add(8)), (0, at.saturating_add(12))]
            .into_iter()
            .take(words)
            .rev()
        {
            let word = |all: u128| (all >> shift) as u32;
            if word(mask) != 0 {
                self.holds(code::JUMP_EQUAL, word(network & mask));
                if word(mask) != u32::MAX {
                    self.push(Instruction::new(code::AND, word(mask)));
                }
                self.push(Instruction::new(code::LOAD_WORD, code::NETWORK.saturating_add(from)));
            }
        }
        Fit::Exact
    }

    /// Tests that at least one of two tests holds; each closure writes one.
    pub(crate) fn either(&mut self, first: impl FnOnce(&mut Self) -> Fit, second: impl FnOnce(&mut Self) -> Fit) -> Fit {
        let (end, otherwise, rejects) = (self.height, self.otherwise, self.rejects);
        let second_fit = second(self);
        self.otherwise = otherwise;
        let alternative = self.height;
        if alternative == end {
            // It passes all packets, so both together do.
            return second_fit;
        }
        if self.room() == 0 {
            self.height = end;
            return Fit::Superset;
        }
        self.push(Instruction::new(code::JUMP, self.height.saturating_sub(end) as u32));
        let begin = self.height;
        (self.otherwise, self.rejects) = (alternative, false);
        let first_fit = first(self);
        (self.otherwise, self.rejects) = (otherwise, rejects);
        if self.height == begin {
            self.height = end;
            return first_fit;
        }
        first_fit.and(second_fit)
    }

    /// Tests that the closure's test does not hold. If the kernel cannot decide that test exactly, every packet passes.
    pub(crate) fn not(&mut self, test: impl FnOnce(&mut Self) -> Fit) -> Fit {
        let (end, otherwise, rejects) = (self.height, self.otherwise, self.rejects);
        if self.reject() == Fit::Superset {
            return Fit::Superset;
        }
        (self.otherwise, self.rejects) = (end, false);
        let fit = test(self);
        (self.otherwise, self.rejects) = (otherwise, rejects);
        if fit == Fit::Superset {
            self.height = end;
        }
        fit
    }

    /// Rejects every packet.
    pub(crate) fn reject(&mut self) -> Fit {
        if self.room() == 0 {
            return Fit::Superset;
        }
        self.leave();
        Fit::Exact
    }

    /// Tests that the payload has at least this many bytes.
    fn longer(&mut self, least: usize) {
        self.holds(code::JUMP_AT_LEAST, place(least));
        self.push(Instruction::new(code::LOAD_LENGTH, 0));
    }

    /// Continues if the comparison with the loaded value is true.
    fn holds(&mut self, comparison: u16, operand: u32) {
        let (next, otherwise) = self.ways();
        self.push(Instruction::jump(comparison, operand, next, otherwise));
    }

    /// Continues if it is false.
    fn holds_not(&mut self, comparison: u16, operand: u32) {
        let (next, otherwise) = self.ways();
        self.push(Instruction::jump(comparison, operand, otherwise, next));
    }

    /// How far the next instruction must jump if its test holds, and if it does not. A target too far away is reached by a second
    /// jump.
    fn ways(&mut self) -> (u8, u8) {
        match u8::try_from(self.height.saturating_sub(self.otherwise)) {
            Ok(otherwise) => (0, otherwise),
            Err(_) => {
                self.leave();
                self.otherwise = self.height;
                (1, 0)
            }
        }
    }

    /// Does what a failed test does: rejects, or jumps to the alternative.
    fn leave(&mut self) {
        self.push(if self.rejects {
            Instruction::new(code::RETURN, 0)
        } else {
            Instruction::new(code::JUMP, self.height.saturating_sub(self.otherwise) as u32)
        });
    }

    /// How many of these pieces fit, if each takes `each` instructions; `None` if there is no room for what a test needs beside
    /// them.
    fn fitting(&self, pieces: usize, each: usize) -> Option<usize> {
        let room = self.room().checked_sub(2 * BESIDE)?;
        // One jump per 255 instructions, and a reserve.
        let room = room.saturating_sub(room / 128);
        Some(pieces.min(if each == 2 { room / 2 } else { room / 3 }))
    }

    fn push(&mut self, instruction: Instruction) {
        let height = self.height.saturating_add(1);
        let place = self.buffer.len().checked_sub(height).and_then(|index| self.buffer.get_mut(index));
        if let Some(place) = place {
            *place = instruction;
            self.height = height;
        }
    }
}

/// The offset of a byte of the payload, counted from the UDP header; also the length of a packet whose payload ends there.
fn place(offset: usize) -> u32 {
    code::UDP_HEADER.saturating_add(offset as u32)
}
