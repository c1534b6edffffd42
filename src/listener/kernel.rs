//! What the kernel does in a listener's stead: guard and filter as one program, which follows both.

use super::Listener;
use super::receiver::Receiver;
use super::state::Look;
use crate::error::{Errno, Error, ErrorKind, Object, Operation, Result};
use crate::filter::kernel::{Assembler, INSTRUCTIONS, Instruction, Listing, MAX_INSTRUCTIONS};
use crate::filter::{Always, Filter};
use crate::group::Family;
use crate::socket::Guard;

impl<F: Filter> Receiver<F> {
    /// At how many bytes the filter sees packets cut.
    pub(super) fn cut_at(&mut self, mtu: usize) {
        self.state.mtu = u16::try_from(mtu).unwrap_or(u16::MAX);
    }

    /// Gives guard and filter to the kernel, as far as it takes them, before the socket is bound.
    #[inline(always)]
    pub(super) fn attach<const PROGRAM: usize>(&mut self, family: Family, look: Look) {
        const { assert!(PROGRAM >= 2 && PROGRAM <= MAX_INSTRUCTIONS, "a program has 2 to 4,096 instructions") };
        self.state.set_room(PROGRAM);
        let mut buffer = [Instruction::ZERO; PROGRAM];
        let code = self.assemble(&mut buffer, &self.filter, family);
        let (program, is_empty) = (code.instructions(), code.is_empty());
        if look.is_guarded() && self.socket.guard(family, program) {
            self.state.look = self.state.look.guarded(false);
            self.state.set_kernel(true, !is_empty);
        } else {
            let filters = !is_empty && self.socket.attach(program);
            self.state.set_kernel(false, filters);
        }
    }

    #[inline]
    fn assemble<'b, G: Filter>(&self, buffer: &'b mut [Instruction], filter: &G, family: Family) -> Assembler<'b> {
        let mut code = Assembler::new(buffer, self.state.mtu.into(), family);
        // What is made of several packets would be judged by the first of them.
        if !self.state.look.is_coalesced() {
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
        filter.prepare(self.state.mtu.into());
        self.install(&filter)?;
        Ok(core::mem::replace(&mut self.filter, filter))
    }

    /// The same with a filter of another type.
    ///
    /// # Errors
    /// As [`replace_filter`](Self::replace_filter); the socket is closed then.
    pub fn with_filter<G: Filter>(mut self, mut filter: G) -> Result<Receiver<G>> {
        filter.prepare(self.state.mtu.into());
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
        let room = self.state.room();
        if room == 0 {
            return Ok(());
        }
        let installed = if room <= INSTRUCTIONS {
            self.install_in(&mut [Instruction::ZERO; INSTRUCTIONS], filter)
        } else {
            self.install_in_large(filter)
        };
        installed.map_err(|errno| Error::system(Operation::Configure, Object::Named("SO_DETACH_FILTER"), errno))
    }

    /// Apart, so that others do not take so much of the stack.
    #[inline(never)]
    fn install_in_large<G: Filter>(&mut self, filter: &G) -> core::result::Result<(), Errno> {
        self.install_in(&mut [Instruction::ZERO; MAX_INSTRUCTIONS], filter)
    }

    fn install_in<G: Filter>(&mut self, buffer: &mut [Instruction], filter: &G) -> core::result::Result<(), Errno> {
        let family = self.socket.family()?;
        let room = buffer.len().min(self.state.room());
        let code = self.assemble(buffer.get_mut(..room).unwrap_or(&mut []), filter, family);
        let (program, is_empty) = (code.instructions(), code.is_empty());
        let mut filters = !is_empty;
        if self.state.guards() {
            if self.socket.guard_with(family, program)? == Guard::Lost {
                self.state.unguarded();
            }
        } else if is_empty || !self.socket.attach(program) {
            if self.state.filters() {
                self.socket.detach()?;
            }
            filters = false;
        }
        self.state.set_kernel(self.state.guards(), filters);
        Ok(())
    }
}

impl<F> Receiver<F> {
    /// Whether what is queued by now has been read: then the guard alone is enough again.
    #[inline]
    pub(super) const fn settle(&mut self) {
        if self.state.guards() {
            self.state.look = self.state.look.guarded(false);
        }
    }

    /// Follows a guard that the socket brings along: that of another listener, which shares it.
    pub(super) fn adopt_guard(&mut self, family: Family) {
        self.state.set_kernel(self.socket.is_guarded(family), false);
    }

    /// Memberships have changed by another handle to the same socket: what is remembered of them is asked for again, and the guard may
    /// be one that could not be kept.
    #[cfg(feature = "std")]
    pub(crate) fn recheck(&mut self) {
        self.last.interface = None;
        if self.state.guards() {
            self.state.look = self.state.look.guarded(true);
            if !self.socket.family().is_ok_and(|family| self.socket.is_guarded(family)) {
                self.state.unguarded();
            }
        }
    }

    /// The program that the kernel runs for this listener, guard included; empty where there is none (`SO_GET_FILTER`, `socket(7)`).
    ///
    /// ```no_run
    /// # use multicast::{Group, ListenOptions, Membership, filter::{Prefix, kernel::Instruction}};
    /// # let membership = Membership::any(Group::DEFAULT);
    /// let listener = ListenOptions::new().filter(Prefix(b"NOTIFY ")).bind::<1500>(membership)?;
    /// println!("{}", listener.kernel_program(&mut [Instruction::ZERO; 256])?);
    /// # Ok::<(), multicast::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] where the program does not fit into the buffer. What the kernel reports.
    #[doc(alias = "SO_GET_FILTER")]
    pub fn kernel_program<'b>(&self, buffer: &'b mut [Instruction]) -> Result<Listing<'b>> {
        match self.socket.attached(buffer) {
            Ok(Some(length)) => Ok(Listing(buffer.get(..length).unwrap_or(&[]))),
            Ok(None) => Err(Error::custom(
                ErrorKind::InvalidInput,
                "read the kernel's program: it is longer than the buffer, 4,096 instructions at most",
            )),
            Err(errno) => Err(Error::system(Operation::Configure, Object::Named("SO_GET_FILTER"), errno)),
        }
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
