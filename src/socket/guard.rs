//! The guard: a program that passes packets to groups that this socket joined, on the interfaces on which it joined them. The
//! filter's program follows it.
//!
//! The list of groups and interfaces is stored only in the program. To change it, the program is read from the kernel
//! (`SO_GET_FILTER`), and the changed one is attached. The kernel exchanges both in one step, so the socket always has a guard.
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
use core::num::NonZeroU32;

use linux_raw_sys::net as linux;

use super::membership::setting_of;
use super::{SOCKET, Socket};
use crate::error::Errno;
use crate::filter::kernel::{Instruction, code, with_buffer};
use crate::group::Family;
use crate::sys;

/// The upper half of the number that the first instruction of a guard loads; the lower half is the number of entries. No program
/// of a filter begins with this instruction.
const MARK: u32 = 0x6d63_0000;
/// The same for a guard that passes unicast, too.
const MARK_UNICAST: u32 = 0x6d75_0000;
const COUNT: u32 = 0xffff;
/// More instructions than a new entry has.
const SPARE: usize = 16;
/// Room for most programs: a guard with as many entries as the kernel allows memberships by default, and a filter. Longer
/// programs take more of the stack.
const ROOM: usize = 256;

/// Refuses a packet.
const REFUSE: Instruction = Instruction::new(code::RETURN, 0);

/// The result of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Guard {
    /// The guard is attached and correct.
    Kept,
    /// There was no room for it, or the kernel did not accept it: there is no guard. The filter may run alone.
    Lost { filters: bool },
}

/// What a guard does with packets to no group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unicast {
    Refused,
    Passed,
}

/// A change of the program.
#[derive(Clone, Copy)]
enum Change<'p> {
    /// Pass a group on an interface.
    Admit(Entry),
    /// Remove all entries of which the socket is not a member.
    Prune,
    /// Use another filter after the guard.
    Filter(&'p [Instruction]),
}

impl Socket {
    /// Attaches a guard without entries, followed by a filter. Returns whether this succeeded.
    pub(crate) fn guard(&self, family: Family, unicast: Unicast, filter: &[Instruction]) -> bool {
        // In a virtual routing domain, the socket and the program see different interfaces: the one below and the one above.
        let is_bound = sys::getsockopt(&self.fd, SOCKET, linux::SO_BINDTODEVICE, &mut [0; 16]) != Ok(0);
        if is_bound || setting_of(c"/proc/sys/net/ipv4/udp_l3mdev_accept") != 0 {
            return false;
        }
        // The guard's own instructions, at most four, precede the filter.
        with_buffer::<ROOM, _>(filter.len().saturating_add(4), |buffer| {
            let mut program = Program::with_filter(buffer, family, unicast, filter);
            program.begin().is_some() && self.attach(program.instructions())
        })
    }

    /// Makes the guard pass a group on an interface. It is an error if the guard stays and refuses the group, as one that somebody
    /// else has locked. With `is_ours`, a guard that cannot be changed is detached; otherwise that is an error as well.
    pub(crate) fn admit(&self, group: IpAddr, interface: NonZeroU32, is_ours: bool) -> Result<Guard, Errno> {
        let family = if group.is_ipv4() { Family::V4 } else { Family::V6 };
        self.change(family, Change::Admit((group, interface.get())), is_ours)
    }

    /// Removes all entries of which the socket is no longer a member. After an error they may still be there. `is_ours` as for
    /// [`admit`](Self::admit).
    pub(crate) fn prune(&self, family: Family, is_ours: bool) -> Result<Guard, Errno> {
        self.change(family, Change::Prune, is_ours)
    }

    /// Replaces the filter after the guard, in one step.
    ///
    /// If the guard cannot be kept, the filter is attached alone, or no program at all. After an error nothing has changed.
    pub(crate) fn guard_with(&self, family: Family, filter: &[Instruction]) -> Result<Guard, Errno> {
        self.change(family, Change::Filter(filter), true)
    }

    /// What an attached guard, by us or by a previous owner, does with unicast. `None` if there is none.
    pub(crate) fn guarded(&self, family: Family) -> Option<Unicast> {
        self.with_guard(family, |program| Some(program.unicast))
    }

    /// Whether the guard passes any group on this interface: then the socket has joined one there. `None` if there is no guard.
    pub(crate) fn has_joined_on(&self, family: Family, interface: NonZeroU32) -> Option<bool> {
        self.with_guard(family, |program| {
            let mut entries = (0..program.entries()).filter_map(|entry| program.entry(entry));
            Some(entries.any(|(_, index)| index == interface.get()))
        })
    }

    /// The first entry of the guard.
    pub(crate) fn first_entry(&self, family: Family) -> Option<Entry> {
        self.with_guard(family, |program| if program.entries() > 0 { program.entry(0) } else { None })
    }

    fn with_guard<T>(&self, family: Family, ask: impl FnOnce(&Program<'_>) -> Option<T>) -> Option<T> {
        let length = sys::attached_filter(&self.fd, &mut []).ok()?;
        with_buffer::<ROOM, _>(length, |buffer| ask(&self.read(buffer, length, family)?))
    }

    /// Attaches a program that refuses all packets.
    pub(crate) fn refuse_all(&self) {
        let _ = self.attach(&[REFUSE]);
    }

    /// Detaches the program that refuses all packets, if that is the one attached.
    pub(crate) fn admit_again(&self) {
        let mut program = [Instruction::ZERO; 1];
        if self.attached(&mut program) == Ok(Some(1)) && program == [REFUSE] {
            let _ = self.detach();
        }
    }

    /// Attaches a program, which replaces the previous one in one step. Returns whether this succeeded.
    pub(crate) fn attach(&self, program: &[Instruction]) -> bool {
        sys::attach_filter(&self.fd, program).is_ok()
    }

    /// Detaches the program, if there is one.
    pub(crate) fn detach(&self) -> Result<(), Errno> {
        match sys::setsockopt_int(&self.fd, SOCKET, linux::SO_DETACH_FILTER, 0) {
            Err(errno) if errno != Errno::NO_ENTRY => Err(errno),
            _ => Ok(()),
        }
    }

    /// Reads the attached program into the beginning of a buffer. Returns its length, or `None` if it does not fit.
    pub(crate) fn attached(&self, buffer: &mut [Instruction]) -> Result<Option<usize>, Errno> {
        let length = sys::attached_filter(&self.fd, &mut [])?;
        Ok(match buffer.get_mut(..length) {
            Some([]) => Some(0),
            Some(room) => Some(sys::attached_filter(&self.fd, room)?),
            None => None,
        })
    }

    fn change(&self, family: Family, change: Change<'_>, is_ours: bool) -> Result<Guard, Errno> {
        let length = sys::attached_filter(&self.fd, &mut []).unwrap_or(0);
        let more = if let Change::Filter(filter) = change { filter.len() } else { SPARE };
        with_buffer::<ROOM, _>(length.saturating_add(more), |buffer| self.change_in(buffer, length, family, change, is_ours))
    }

    fn change_in(
        &self,
        buffer: &mut [Instruction],
        length: usize,
        family: Family,
        change: Change<'_>,
        is_ours: bool,
    ) -> Result<Guard, Errno> {
        let Some(mut program) = self.read(buffer, length, family) else {
            return match change {
                // Whoever attached it has detached it.
                _ if !is_ours => Ok(Guard::Lost { filters: false }),
                Change::Filter(filter) => self.filter_alone(filter),
                // If the kernel does not return the guard, it cannot be changed, and would refuse what is joined now.
                Change::Admit(_) | Change::Prune => self.filter_alone(&[]),
            };
        };
        let is_attached = match change {
            Change::Admit(entry) if program.position(entry).is_some() => true,
            Change::Admit(entry) => program.add(entry).is_some() && self.attach(program.instructions()),
            Change::Prune => {
                let before = program.entries();
                for entry in (0..before).rev() {
                    // After an error it stays: what is not known is no reason to refuse the group for ever.
                    let is_member = program.entry(entry).is_some_and(|(group, index)| {
                        NonZeroU32::new(index).is_some_and(|index| self.is_member(group, index) != Ok(false))
                    });
                    if !is_member {
                        program.remove(entry);
                    }
                }
                program.entries() == before || self.attach(program.instructions())
            }
            Change::Filter(filter) if self.exchange(&program, filter).is_some() => true,
            Change::Filter(filter) => return self.filter_alone(filter),
        };
        match (is_attached, is_ours) {
            (true, _) => Ok(Guard::Kept),
            (false, true) => self.filter_alone(program.filter()),
            (false, false) => Err(Errno::NO_MEMORY),
        }
    }

    /// Attaches the filter alone, without a guard; no program, if the kernel does not accept it. After an error nothing has changed.
    fn filter_alone(&self, filter: &[Instruction]) -> Result<Guard, Errno> {
        let filters = !filter.is_empty() && self.attach(filter);
        if !filters {
            self.detach()?;
        }
        Ok(Guard::Lost { filters })
    }

    /// Attaches the same guard with another filter.
    fn exchange(&self, old: &Program<'_>, filter: &[Instruction]) -> Option<()> {
        with_buffer::<ROOM, _>(filter.len().saturating_add(old.instructions().len()), |buffer| {
            let mut program = Program::with_filter(buffer, old.family, old.unicast, filter);
            program.begin()?;
            for entry in (0..old.entries()).rev() {
                program.add(old.entry(entry)?)?;
            }
            self.attach(program.instructions()).then_some(())
        })
    }

    /// Reads the attached program into the end of a buffer; `None` if it has no guard.
    fn read<'b>(&self, buffer: &'b mut [Instruction], length: usize, family: Family) -> Option<Program<'b>> {
        let start = buffer.len().checked_sub(length)?;
        let room = buffer.get_mut(start..)?;
        let is_read = !room.is_empty() && sys::attached_filter(&self.fd, room) == Ok(length);
        let is_read = is_read && room.first().is_some_and(|first| first.code == code::LOAD_X_NUMBER);
        let unicast = match room.first()?.operand & !COUNT {
            MARK => Unicast::Refused,
            MARK_UNICAST => Unicast::Passed,
            _ => return None,
        };
        is_read.then_some(Program { buffer, start, family, unicast })
    }
}

/// One entry: a group, and the index of an interface.
pub(crate) type Entry = (IpAddr, u32);

/// Guard and filter, at the end of a buffer.
struct Program<'b> {
    buffer: &'b mut [Instruction],
    start: usize,
    family: Family,
    unicast: Unicast,
}

impl<'b> Program<'b> {
    /// A filter, as far as it fits, without a guard yet.
    fn with_filter(buffer: &'b mut [Instruction], family: Family, unicast: Unicast, filter: &[Instruction]) -> Self {
        let start = buffer.len().saturating_sub(filter.len());
        for (to, from) in buffer.iter_mut().skip(start).zip(filter) {
            *to = *from;
        }
        Self { buffer, start, family, unicast }
    }

    fn instructions(&self) -> &[Instruction] {
        self.buffer.get(self.start..).unwrap_or(&[])
    }

    /// The instructions after the guard.
    fn filter(&self) -> &[Instruction] {
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

    fn entries(&self) -> usize {
        self.at(self.start).map_or(0, |first| (first.operand & COUNT) as usize)
    }

    /// Where an entry begins.
    const fn place(&self, entry: usize) -> usize {
        entry.saturating_mul(self.size()).saturating_add(self.start).saturating_add(1)
    }

    fn entry(&self, entry: usize) -> Option<Entry> {
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

    fn position(&self, wanted: Entry) -> Option<usize> {
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
    fn begin(&mut self) -> Option<()> {
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

    fn add(&mut self, (group, index): Entry) -> Option<()> {
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
    fn remove(&mut self, entry: usize) {
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

// Without `std`, descriptors have another type.
#[cfg(all(test, feature = "std"))]
mod tests;
