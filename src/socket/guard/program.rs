//! The program of a guard: entries in front of a filter. It has no socket.
//!
//! ```text
//! ldx #mark                   marks it as a guard, and holds the number of entries
//! ld [net + 16]               an entry: the group,
//! jeq #group jf next
//! ld #ifidx                   the interface
//! jeq #index jt filter
//! ret #0                      after the last entry
//! ..                          filter
//! ```
//!
//! A guard for a listener that wants unicast, too, passes each packet that was not sent to a group. The listener then checks where
//! that packet came in, which the program cannot see: it sees `lo` for packets from this machine. In place of the `ret`:
//!
//! ```text
//! ld [net + 16]               the first word of the destination
//! jge #groups jf filter
//! ret #0
//! ```
//!
//! The jump from an entry to the filter is relative, so it stays valid if entries are added in front. A new entry is written
//! before the first. To remove an entry, the first one is moved to its place.

use core::net::IpAddr;

use crate::filter::kernel::{Instruction, code};
use crate::group::Family;

/// The upper half of the number that the first instruction of a guard loads; the lower half is the number of entries. No program
/// of a filter begins with this instruction.
const MARK: u32 = 0x6d63_0000;
/// The same for a guard that passes unicast, too.
const MARK_UNICAST: u32 = 0x6d75_0000;
const COUNT: u32 = 0xffff;

/// What a guard does with packets to no group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unicast {
    Refused,
    Passed,
}

/// One entry: a group, and the index of an interface.
pub(super) type Entry = (IpAddr, u32);

/// Guard and filter, at the end of a buffer.
pub(super) struct Program<'b> {
    buffer: &'b mut [Instruction],
    start: usize,
    pub(super) family: Family,
    pub(super) unicast: Unicast,
}

impl<'b> Program<'b> {
    /// A program that a socket has, from `start` of a buffer; `None` if it has no guard.
    pub(super) fn attached(buffer: &'b mut [Instruction], start: usize, family: Family) -> Option<Self> {
        let first = buffer.get(start).filter(|first| first.code == code::LOAD_X_NUMBER)?;
        let unicast = match first.operand & !COUNT {
            MARK => Unicast::Refused,
            MARK_UNICAST => Unicast::Passed,
            _ => return None,
        };
        Some(Self { buffer, start, family, unicast })
    }

    /// A filter, as far as it fits, without a guard yet.
    pub(super) fn with_filter(
        buffer: &'b mut [Instruction],
        family: Family,
        unicast: Unicast,
        filter: &[Instruction],
    ) -> Self {
        let start = buffer.len().saturating_sub(filter.len());
        for (to, from) in buffer.iter_mut().skip(start).zip(filter) {
            *to = *from;
        }
        Self { buffer, start, family, unicast }
    }

    pub(super) fn instructions(&self) -> &[Instruction] {
        self.buffer.get(self.start..).unwrap_or(&[])
    }

    /// The instructions after the guard.
    pub(super) fn filter(&self) -> &[Instruction] {
        self.buffer.get(self.place(self.entries()).saturating_add(self.after_entries())..).unwrap_or(&[])
    }

    /// How many instructions are between the last entry and the filter.
    const fn after_entries(&self) -> usize {
        match self.unicast {
            Unicast::Refused => 1,
            Unicast::Passed => 3,
        }
    }

    /// How many instructions an entry has: two for each word of the group, two for the interface.
    const fn size(&self) -> usize {
        match self.family {
            Family::V4 => 4,
            Family::V6 => 10,
        }
    }

    fn at(&self, index: usize) -> Option<Instruction> {
        self.buffer.get(index).copied()
    }

    pub(super) fn entries(&self) -> usize {
        self.at(self.start).map_or(0, |first| (first.operand & COUNT) as usize)
    }

    /// Where an entry begins.
    const fn place(&self, entry: usize) -> usize {
        entry.saturating_mul(self.size()).saturating_add(self.start).saturating_add(1)
    }

    pub(super) fn entry(&self, entry: usize) -> Option<Entry> {
        let operand = |offset: usize| Some(self.at(self.place(entry).saturating_add(offset))?.operand);
        Some(match self.family {
            Family::V4 => (IpAddr::V4(operand(1)?.into()), operand(3)?),
            Family::V6 => {
                let words = [operand(7)?, operand(5)?, operand(3)?, operand(1)?];
                let group = words.iter().fold(0_u128, |group, word| (group << 32) | u128::from(*word));
                (IpAddr::V6(group.into()), operand(9)?)
            }
        })
    }

    pub(super) fn position(&self, wanted: Entry) -> Option<usize> {
        (0..self.entries()).find(|entry| self.entry(*entry) == Some(wanted))
    }

    /// Adds an instruction in front of all others.
    fn push(&mut self, instruction: Instruction) -> Option<()> {
        let start = self.start.checked_sub(1)?;
        *self.buffer.get_mut(start)? = instruction;
        self.start = start;
        Some(())
    }

    fn mark(&mut self, entries: usize) -> Option<()> {
        let mark = match self.unicast {
            Unicast::Refused => MARK,
            Unicast::Passed => MARK_UNICAST,
        };
        self.push(Instruction::new(code::LOAD_X_NUMBER, mark | (entries as u32 & COUNT)))
    }

    /// Adds a guard without entries in front.
    pub(super) fn begin(&mut self) -> Option<()> {
        self.push(Instruction::new(code::RETURN, 0))?;
        if self.unicast == Unicast::Passed {
            // 224.0.0.0 and all above, and ff00::/8.
            let (place, groups) = match self.family {
                Family::V4 => (16, 0xe000_0000),
                Family::V6 => (24, 0xff00_0000),
            };
            self.push(Instruction::jump(code::JUMP_AT_LEAST, groups, 0, 1))?;
            self.push(Instruction::new(code::LOAD_WORD, code::NETWORK.saturating_add(place)))?;
        }
        self.mark(0)
    }

    pub(super) fn add(&mut self, (group, index): Entry) -> Option<()> {
        let entries = self.entries();
        // Skips the other entries and what is after the last one.
        let to_filter = u8::try_from(entries.saturating_mul(self.size()).saturating_add(self.after_entries())).ok()?;
        // The mark is overwritten, since the number of entries changes.
        self.start = self.start.saturating_add(1);
        self.push(Instruction::jump(code::JUMP_EQUAL, index, to_filter, 0))?;
        self.push(Instruction::new(code::LOAD_WORD, code::INTERFACE))?;
        // The last word of the group is compared first, since groups differ most in it.
        match group {
            IpAddr::V4(group) => self.word(16, group.to_bits(), 2)?,
            IpAddr::V6(group) => {
                let mut rest = group.to_bits().rotate_left(32);
                for (place, to_next) in [(24, 2), (28, 4), (32, 6), (36, 8)] {
                    self.word(place, rest as u32, to_next)?;
                    rest = rest.rotate_left(32);
                }
            }
        }
        self.mark(entries.saturating_add(1))
    }

    /// Compares one word of the group with the network header at `place`. If they differ, it jumps to the next entry.
    fn word(&mut self, place: u32, word: u32, to_next: u8) -> Option<()> {
        self.push(Instruction::jump(code::JUMP_EQUAL, word, 0, to_next))?;
        self.push(Instruction::new(code::LOAD_WORD, code::NETWORK.saturating_add(place)))
    }

    /// Moves the first entry to the place of this one.
    pub(super) fn remove(&mut self, entry: usize) {
        let entries = self.entries();
        for offset in 0..self.size() {
            let first = self.at(self.place(0).saturating_add(offset));
            let index = self.place(entry).saturating_add(offset);
            if let (Some(first), Some(place)) = (first, self.buffer.get_mut(index)) {
                // The jump to the filter stays, since it depends on the place only.
                place.operand = first.operand;
            }
        }
        self.start = self.place(1);
        let _ = self.mark(entries.saturating_sub(1));
    }
}
