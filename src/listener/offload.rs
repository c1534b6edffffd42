//! What the kernel does for a listener: guard and filter as one program, which follows both.

use super::receiving::{Inner, Setup};
use super::socket::ListeningSocket;
use crate::error::{Errno, Error, ErrorKind, Object, Operation, Result};
use crate::filter::kernel::{Assembler, INSTRUCTIONS, Instruction, Listing, MAX_INSTRUCTIONS, with_buffer};
use crate::filter::{Always, Filter};
use crate::group::Family;
use crate::socket::{Guard, Socket};

impl<B, F: Filter> ListeningSocket<B, F> {
    /// Puts another filter in place of this one, which is given back: in the kernel at once, so that there is always one.
    ///
    /// What is queued has passed the previous filter, and is judged by the new one, too. On a socket that was taken over with
    /// `TryFrom<OwnedFd>`, and where [`kernel_filter`](crate::ListenOptions::kernel_filter) is off, the kernel runs no filter.
    ///
    /// # Errors
    /// If the kernel does not let go of the previous filter, as one that somebody else has locked (`SO_LOCK_FILTER`): then nothing is
    /// changed. It is no error if the kernel does not take the new one; that costs speed alone.
    pub fn replace_filter(&mut self, mut filter: F) -> Result<F> {
        filter.prepare(self.inner.setup.mtu.into());
        self.inner.install(&filter)?;
        Ok(core::mem::replace(&mut self.inner.filter, filter))
    }

    /// The same with a filter of another type.
    ///
    /// # Errors
    /// As [`replace_filter`](Self::replace_filter); the socket is closed then.
    pub fn with_filter<G: Filter>(self, mut filter: G) -> Result<ListeningSocket<B, G>> {
        let Self { mut inner, buffer } = self;
        filter.prepare(inner.setup.mtu.into());
        inner.install(&filter)?;
        Ok(ListeningSocket { inner: inner.exchange_filter(filter), buffer })
    }

    /// The filter, to be changed.
    ///
    /// The kernel's program cannot follow such a change, so it is removed: from now on the filter runs in this process alone. To have
    /// both, give a changed filter to [`replace_filter`](Self::replace_filter).
    pub fn filter_mut(&mut self) -> &mut F {
        // It is ours, so nothing can keep it from being removed.
        let _ = self.inner.install(&Always);
        &mut self.inner.filter
    }
}

impl<B, F> ListeningSocket<B, F> {
    /// The program that the kernel runs for this listener, guard included; empty if there is none (`SO_GET_FILTER`, `socket(7)`).
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
    /// [`ErrorKind::InvalidInput`] if the program does not fit into the buffer. What the kernel reports.
    #[doc(alias = "SO_GET_FILTER")]
    pub fn kernel_program<'b>(&self, buffer: &'b mut [Instruction]) -> Result<Listing<'b>> {
        match self.inner.socket.attached(buffer) {
            Ok(Some(length)) => Ok(Listing(buffer.get(..length).unwrap_or(&[]))),
            Ok(None) => Err(Error::custom(
                ErrorKind::InvalidInput,
                "read the kernel's program: it is longer than the buffer: give one of 4,096 instructions",
            )),
            Err(errno) => Err(Error::system(Operation::Configure, Object::Named("SO_GET_FILTER"), errno)),
        }
    }
}

/// Gives guard and filter to the kernel, as far as it takes them, before the socket is bound. Returns whether it has taken the guard.
pub(super) fn attach<F: Filter>(socket: &Socket, filter: &F, family: Family, needs_guard: bool, setup: &mut Setup) -> bool {
    with_buffer::<INSTRUCTIONS, _>(setup.max_instructions.into(), |buffer| {
        let code = assemble(buffer, filter, family, setup);
        let (program, is_empty) = (code.instructions(), code.is_empty());
        let has_guard = needs_guard && socket.guard(family, program);
        let filters = !is_empty && (has_guard || socket.attach(program));
        setup.offloaded(has_guard, filters);
        has_guard
    })
}

/// The filter's program, as far as there is room for it.
#[inline]
fn assemble<'b, F: Filter>(buffer: &'b mut [Instruction], filter: &F, family: Family, setup: &Setup) -> Assembler<'b> {
    let room = buffer.len().min(setup.max_instructions.into());
    let mut code = Assembler::new(buffer.get_mut(..room).unwrap_or(&mut []), setup.mtu.into(), family);
    // The kernel would judge what it coalesced of several packets by the first of them.
    if !setup.coalesces {
        // Whatever the fit: what is let through is judged here again.
        let _ = filter.compile(&mut code);
    }
    code
}

impl Setup {
    /// What the kernel does from now on. It may have refused packets as soon as it ran anything.
    #[inline]
    const fn offloaded(&mut self, has_guard: bool, filters: bool) {
        self.kernel_filters = filters;
        self.kernel_refuses |= filters || has_guard;
    }
}

impl<F: Filter> Inner<F> {
    /// Puts the filter's program in place of the previous one.
    fn install<G: Filter>(&mut self, filter: &G) -> Result<()> {
        if self.setup.max_instructions == 0 {
            return Ok(());
        }
        let installed =
            with_buffer::<INSTRUCTIONS, _>(self.setup.max_instructions.into(), |buffer| self.install_in(buffer, filter));
        installed.map_err(|errno| Error::system(Operation::Configure, Object::Named("SO_DETACH_FILTER"), errno))
    }

    fn install_in<G: Filter>(&mut self, buffer: &mut [Instruction], filter: &G) -> core::result::Result<(), Errno> {
        let family = self.socket.family()?;
        let code = assemble(buffer, filter, family, &self.setup);
        let (program, is_empty) = (code.instructions(), code.is_empty());
        let mut filters = !is_empty;
        if self.gatekeeper.has_guard() {
            if self.socket.guard_with(family, program)? == Guard::Lost {
                self.gatekeeper.guard_lost(Self::recv_checked);
            }
        } else if is_empty || !self.socket.attach(program) {
            if self.setup.kernel_filters {
                self.socket.detach()?;
            }
            filters = false;
        }
        self.setup.offloaded(self.gatekeeper.has_guard(), filters);
        Ok(())
    }

    /// Uses a guard that the socket brings along: that of another listener, which shares the socket.
    pub(super) fn adopt_guard(&mut self, family: Family) {
        if self.gatekeeper.checks_here() && self.socket.is_guarded(family) {
            self.gatekeeper.guard_attached();
            // What is queued may have come before the guard.
            self.gatekeeper.membership_ended(Self::recv_checked);
            self.setup.offloaded(true, false);
        }
    }
}

/// How many instructions a filter's program may have, of what the user asked for.
pub(super) const fn within_limits(instructions: usize) -> u16 {
    if instructions < 2 {
        2
    } else if instructions > MAX_INSTRUCTIONS {
        MAX_INSTRUCTIONS as u16
    } else {
        instructions as u16
    }
}
