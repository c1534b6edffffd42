//! What the kernel does in a listener's stead: guard and filter as one program, which follows both.

use core::net::IpAddr;
use core::num::NonZeroU32;

use super::Listener;
use super::receiver::{Look, Receiver};
use crate::error::{Errno, Error, ErrorKind, Object, Operation, Result};
use crate::filter::kernel::{Assembler, INSTRUCTIONS, Instruction, Listing, MOST_INSTRUCTIONS};
use crate::filter::{Always, Filter};
use crate::group::Family;
use crate::socket::{Guard, Socket};

/// What the kernel decides for us.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kernel {
    /// Destination and interface: then we need not look at them, but at those of what it had queued when a group was left.
    pub(super) guards: bool,
    /// It runs the filter's program.
    pub(super) filters: bool,
    /// It may have refused packets, which it counts as dropped.
    pub(super) has_refused: bool,
    /// How many instructions the filter's program may have; 0 where it is to have none.
    room: u16,
    /// At how many bytes the filter sees packets cut. Its program knows.
    pub(super) mtu: u16,
}

impl Kernel {
    pub(super) const NOTHING: Self = Self { guards: false, filters: false, has_refused: false, room: 0, mtu: u16::MAX };

    /// Lets a group through the guard. Where that cannot be, we look for ourselves from now on.
    pub(super) fn admit(&mut self, socket: &Socket, look: &mut Look, group: IpAddr, interface: NonZeroU32) {
        if self.guards && socket.admit(group, interface) == Guard::Gone {
            self.guards = false;
            look.is_guarded = true;
        }
    }
}

impl<F: Filter> Receiver<F> {
    /// At how many bytes the filter sees packets cut.
    pub(super) fn cut_at(&mut self, mtu: usize) {
        self.kernel.mtu = u16::try_from(mtu).unwrap_or(u16::MAX);
    }

    /// Gives guard and filter to the kernel, as far as it takes them, before the socket is bound.
    #[inline(always)]
    pub(super) fn attach<const PROGRAM: usize>(&mut self, family: Family, look: Look) {
        const { assert!(PROGRAM >= 2 && PROGRAM <= MOST_INSTRUCTIONS, "a program has 2 to 4,096 instructions") };
        self.kernel.room = PROGRAM as u16;
        let mut buffer = [Instruction::NOTHING; PROGRAM];
        let code = self.assemble(&mut buffer, &self.filter, family);
        let (program, is_empty) = (code.instructions(), code.is_empty());
        if look.is_guarded && self.socket.guard(family, program) {
            self.look.is_guarded = false;
            self.kernel.guards = true;
            self.kernel.filters = !is_empty;
        } else {
            self.kernel.filters = !is_empty && self.socket.attach(program);
        }
        self.kernel.has_refused = self.kernel.guards || self.kernel.filters;
    }

    #[inline]
    fn assemble<'b, G: Filter>(&self, buffer: &'b mut [Instruction], filter: &G, family: Family) -> Assembler<'b> {
        let mut code = Assembler::new(buffer, self.kernel.mtu.into(), family);
        // What is made of several packets would be judged by the first of them.
        if !self.look.is_coalesced {
            // Whatever the fit: what is let through is judged here again.
            let _ = filter.compile(&mut code);
        }
        code
    }

    /// Takes another filter in place of this one, which is given back: in the kernel at once, so that at no time there is none.
    ///
    /// What is queued already passed the filter before, and is judged by the new one, too. On a socket that was taken over with
    /// `TryFrom<OwnedFd>`, and where [`kernel_filter`](crate::ListenOptions::kernel_filter) is off, filters are asked here alone.
    ///
    /// # Errors
    /// Where the kernel does not let go of the filter before, as one that was locked by somebody else (`SO_LOCK_FILTER`): then
    /// nothing is changed. That the new one cannot be given to it is no error, and costs speed alone.
    pub fn replace_filter(&mut self, mut filter: F) -> Result<F> {
        filter.prepare(self.kernel.mtu.into());
        self.install(&filter)?;
        Ok(core::mem::replace(&mut self.filter, filter))
    }

    /// The same with a filter of another type.
    ///
    /// # Errors
    /// As [`replace_filter`](Self::replace_filter); the socket is closed then.
    pub fn with_filter<G: Filter>(mut self, mut filter: G) -> Result<Receiver<G>> {
        filter.prepare(self.kernel.mtu.into());
        self.install(&filter)?;
        Ok(self.exchange_filter(filter))
    }

    /// The filter, to be changed.
    ///
    /// The kernel's program cannot follow, so it is taken off: from now on the filter is asked here alone. To have both, give a
    /// changed filter to [`replace_filter`](Self::replace_filter).
    pub fn filter_mut(&mut self) -> &mut F {
        // It is ours, so that nothing can keep it from being taken off.
        let _ = self.install(&Always);
        &mut self.filter
    }

    /// Puts the filter's program in the place of the one before.
    fn install<G: Filter>(&mut self, filter: &G) -> Result<()> {
        let room = usize::from(self.kernel.room);
        if room == 0 {
            return Ok(());
        }
        let installed = if room <= INSTRUCTIONS {
            self.install_in(&mut [Instruction::NOTHING; INSTRUCTIONS], filter)
        } else {
            self.install_in_large(filter)
        };
        installed.map_err(|errno| Error::system(Operation::Configure, Object::Noun("SO_DETACH_FILTER"), errno))
    }

    /// Apart, so that others do not take so much of the stack.
    #[inline(never)]
    fn install_in_large<G: Filter>(&mut self, filter: &G) -> core::result::Result<(), Errno> {
        self.install_in(&mut [Instruction::NOTHING; MOST_INSTRUCTIONS], filter)
    }

    fn install_in<G: Filter>(&mut self, buffer: &mut [Instruction], filter: &G) -> core::result::Result<(), Errno> {
        let family = self.socket.family()?;
        let room = buffer.len().min(self.kernel.room.into());
        let code = self.assemble(buffer.get_mut(..room).unwrap_or(&mut []), filter, family);
        let (program, is_empty) = (code.instructions(), code.is_empty());
        let mut filters = !is_empty;
        if self.kernel.guards {
            if self.socket.guard_with(family, program)? == Guard::Gone {
                self.kernel.guards = false;
                self.look.is_guarded = true;
            }
        } else if is_empty || !self.socket.attach(program) {
            if self.kernel.filters {
                self.socket.detach()?;
            }
            filters = false;
        }
        self.kernel.filters = filters;
        self.kernel.has_refused |= self.kernel.guards || filters;
        Ok(())
    }
}

impl<F> Receiver<F> {
    /// Whether what is queued by now has been read: then the guard alone is enough again.
    #[inline]
    pub(super) const fn settle(&mut self) {
        if self.kernel.guards {
            self.look.is_guarded = false;
        }
    }

    /// Follows a guard that the socket brings along: that of another listener, which shares it.
    pub(super) fn adopt_guard(&mut self, family: Family) {
        self.kernel.guards = self.socket.is_guarded(family);
        self.kernel.has_refused |= self.kernel.guards;
    }

    /// Memberships have changed by another handle to the same socket: what is remembered of them is asked for again, and the guard may
    /// be one that could not be kept.
    #[cfg(feature = "std")]
    pub(crate) fn recheck(&mut self) {
        self.last.interface = None;
        if self.kernel.guards {
            self.look.is_guarded = true;
            self.kernel.guards = self.socket.family().is_ok_and(|family| self.socket.is_guarded(family));
        }
    }

    /// The program that the kernel runs for this listener, guard included; empty where there is none (`SO_GET_FILTER`, `socket(7)`).
    ///
    /// ```no_run
    /// # use multicast::{Group, ListenOptions, Membership, filter::{Prefix, kernel::Instruction}};
    /// # let membership = Membership::any(Group::DEFAULT);
    /// let listener = ListenOptions::new().filter(Prefix(b"NOTIFY ")).bind::<1500>(membership)?;
    /// println!("{}", listener.kernel_program(&mut [Instruction::NOTHING; 256])?);
    /// # Ok::<(), multicast::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] where the program does not fit into the buffer. What the kernel reports.
    #[doc(alias = "SO_GET_FILTER")]
    pub fn kernel_program<'b>(&self, buffer: &'b mut [Instruction]) -> Result<Listing<'b>> {
        let length = self.socket.attached(buffer).ok_or_else(|| {
            Error::custom(
                ErrorKind::InvalidInput,
                "read the kernel's program: it is longer than the buffer, 4,096 instructions at most",
            )
        })?;
        Ok(Listing(buffer.get(..length).unwrap_or(&[])))
    }
}

impl<const MTU: usize, F: Filter> Listener<MTU, F> {
    /// Takes a filter of another type in place of this one: see [`Receiver::replace_filter`].
    ///
    /// # Errors
    /// As [`Receiver::replace_filter`]; the socket is closed then.
    pub fn with_filter<G: Filter>(self, filter: G) -> Result<Listener<MTU, G>> {
        self.receiver.with_filter(filter).map(Listener::from_receiver)
    }
}
