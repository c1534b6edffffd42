//! The guard: a program that passes packets to groups that this socket joined, on the interfaces on which it joined them. The
//! filter's program follows it.
//!
//! The list of groups and interfaces is stored only in the program. To change it, the program is read from the kernel
//! (`SO_GET_FILTER`), and the changed one is attached. The kernel exchanges both in one step, so the socket always has a guard.

mod program;

use core::net::IpAddr;
use core::num::NonZeroU32;

use linux_raw_sys::net as linux;

pub(crate) use self::program::Unicast;
use self::program::{Entry, Program};
use super::membership::setting_of;
use super::{SOCKET, Socket};
use crate::error::Errno;
use crate::filter::kernel::{Instruction, code, with_buffer};
use crate::group::Family;
use crate::sys;

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
        if is_read { Program::attached(buffer, start, family) } else { None }
    }
}

// Without `std`, descriptors have another type.
#[cfg(all(test, feature = "std"))]
mod tests;
