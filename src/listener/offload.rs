//! Guard and filter as one program in the kernel.

use super::receiving::{Admits, Inner, Mode, Offload, State};
use super::socket::ListeningSocket;
use crate::error::{Errno, Error, ErrorKind, Object, Operation, Result};
use crate::filter::kernel::{Assembler, INSTRUCTIONS, Instruction, Listing, MAX_INSTRUCTIONS, with_buffer};
use crate::filter::{Always, Filter};
use crate::group::Family;
use crate::socket::{Guard, Socket, Unicast, family_of};

impl<B, F: Filter> ListeningSocket<B, F> {
    /// Replaces the filter, and returns the previous one. The kernel exchanges its program in one step, so no packet passes
    /// unfiltered.
    ///
    /// Queued packets have passed the previous filter; the new one checks them, too. The kernel runs no filter on a socket that
    /// was taken over with `TryFrom<OwnedFd>`, or if [`kernel_filter`](crate::ListenOptions::kernel_filter) is false.
    ///
    /// If the new filter needs the hop limit ([`Hops`](crate::filter::Hops)), the kernel is asked for it from now on.
    ///
    /// # Errors
    /// If the kernel does not remove the previous program, for example because another process locked it (`SO_LOCK_FILTER`): then
    /// nothing is changed. [`ErrorKind::InvalidInput`] if the new filter needs the hop limit, and the kernel coalesces packets for
    /// this listener, because its first filter did not need it. It is no error if the kernel does not accept the new program: then
    /// the filter runs in this process, which is slower.
    pub fn replace_filter(&mut self, mut filter: F) -> Result<F> {
        filter.prepare(self.inner.state.mtu.into());
        self.inner.follow_needs(&filter)?;
        self.inner.install(&filter)?;
        Ok(core::mem::replace(&mut self.inner.filter, filter))
    }

    /// Replaces the filter by one of another type.
    ///
    /// # Errors
    /// As [`replace_filter`](Self::replace_filter). On an error the socket is closed.
    pub fn with_filter<G: Filter>(self, mut filter: G) -> Result<ListeningSocket<B, G>> {
        let Self { mut inner, buffer } = self;
        filter.prepare(inner.state.mtu.into());
        inner.follow_needs(&filter)?;
        inner.install(&filter)?;
        Ok(ListeningSocket { inner: inner.exchange_filter(filter), buffer })
    }

    /// The filter, mutable.
    ///
    /// The kernel's program does not see such changes, so it is removed: from now on the filter runs only in this process. To
    /// keep filtering in the kernel, pass a changed filter to [`replace_filter`](Self::replace_filter). So do with one that needs
    /// the hop limit, where the previous one does not: else the kernel is not asked for it, and the filter rejects.
    ///
    /// # Errors
    /// If the kernel does not remove the program: see [`replace_filter`](Self::replace_filter).
    pub fn filter_mut(&mut self) -> Result<&mut F> {
        self.inner.install(&Always)?;
        Ok(&mut self.inner.filter)
    }
}

impl<B, F> ListeningSocket<B, F> {
    /// The program that the kernel runs for this listener, including the guard; empty if there is none (`SO_GET_FILTER`,
    /// `socket(7)`).
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
                "read the kernel's program: it is longer than the buffer: use a buffer of 4,096 instructions",
            )),
            Err(errno) => Err(Error::system(Operation::Configure, Object::Named("SO_GET_FILTER"), errno)),
        }
    }
}

/// Attaches guard and filter before the socket is bound, as far as the kernel accepts them. Returns whether it accepted the
/// guard, and what it runs beside it.
///
/// The state is taken and returned as a value: after a reference to it has been passed on, the compiler would no longer know what it
/// holds, and link code for all modes.
pub(super) fn attach<F: Filter>(
    socket: &Socket,
    filter: &F,
    family: Family,
    needs_guard: bool,
    mut state: State,
    mode: Mode,
) -> (bool, Offload) {
    with_buffer::<INSTRUCTIONS, _>(state.max_instructions.into(), |buffer| {
        let code = assemble(buffer, filter, family, state, mode);
        let (program, is_empty) = (code.instructions(), code.is_empty());
        let unicast = match state.admits {
            Admits::Joined | Admits::JoinedOnOne | Admits::JoinedPinned | Admits::JoinedAndQueued => Unicast::Refused,
            Admits::JoinedAndUnicast | Admits::Unicast => Unicast::Passed,
        };
        let has_guard = needs_guard && socket.guard(family, unicast, program);
        let filters = !is_empty && (has_guard || socket.attach(program));
        state.offloaded(has_guard, filters);
        (has_guard, state.offload)
    })
}

/// The filter's program, as far as it fits.
#[inline]
fn assemble<'b, F: Filter>(
    buffer: &'b mut [Instruction],
    filter: &F,
    family: Family,
    state: State,
    mode: Mode,
) -> Assembler<'b> {
    let room = buffer.len().min(state.max_instructions.into());
    let mut code = Assembler::new(buffer.get_mut(..room).unwrap_or(&mut []), state.mtu.into(), family);
    // The kernel would decide about a coalesced datagram by its first packet.
    if mode != Mode::Coalesces {
        // The fit does not matter: the filter checks again what the program passes.
        let _ = filter.compile(&mut code);
    }
    code
}

impl State {
    /// Records what the kernel does from now on. It may have refused packets since it ran any program.
    #[inline]
    const fn offloaded(&mut self, has_guard: bool, filters: bool) {
        if filters {
            self.offload = Offload::Filter;
        } else if has_guard || matches!(self.offload, Offload::Filter) {
            self.offload = Offload::NoFilter;
        }
    }
}

impl<F: Filter> Inner<F> {
    /// Asks the kernel for what the next filter needs.
    fn follow_needs<G: Filter>(&mut self, filter: &G) -> Result<()> {
        if !filter.needs_hop_limit() {
            return Ok(());
        }
        // It cannot be turned off later: the kernel would return queued datagrams without the size of the packets in them.
        if self.mode == Mode::Coalesces {
            return Err(Error::custom(
                ErrorKind::InvalidInput,
                "replace the filter: coalesced packets have no hop limit of their own: create the listener with this filter",
            ));
        }
        self.socket.want_hop_limit(family_of(&self.socket.local_addr()?))?;
        self.gatekeeper.hop_limit_wanted(Self::recv_checked);
        Ok(())
    }

    /// Replaces the filter's program in the kernel.
    fn install<G: Filter>(&mut self, filter: &G) -> Result<()> {
        if self.state.max_instructions == 0 {
            return Ok(());
        }
        let installed =
            with_buffer::<INSTRUCTIONS, _>(self.state.max_instructions.into(), |buffer| self.install_in(buffer, filter));
        installed.map_err(|errno| Error::system(Operation::Configure, Object::Named("SO_DETACH_FILTER"), errno))
    }

    fn install_in<G: Filter>(&mut self, buffer: &mut [Instruction], filter: &G) -> core::result::Result<(), Errno> {
        let family = self.socket.family()?;
        let code = assemble(buffer, filter, family, self.state, self.mode);
        let (program, is_empty) = (code.instructions(), code.is_empty());
        let mut filters = !is_empty;
        if self.gatekeeper.has_guard() {
            let guard = self.socket.guard_with(family, program)?;
            self.state.offloaded(true, filters);
            self.guard_changed(guard);
            return Ok(());
        }
        if is_empty || !self.socket.attach(program) {
            if self.state.offload == Offload::Filter {
                self.socket.detach()?;
            }
            filters = false;
        }
        self.state.offloaded(false, filters);
        Ok(())
    }

    /// Follows the result of a change of the guard.
    pub(super) fn guard_changed(&mut self, guard: Guard) {
        if let Guard::Lost { filters } = guard {
            self.gatekeeper.guard_lost(Self::recv_checked);
            self.state.offloaded(true, filters);
        }
    }

    /// Attaches a guard before a listener of answers, which needs none, joins its first group. From then on it is like a listener by
    /// port that wants unicast.
    pub(super) fn guard_replies(&mut self, family: Family) {
        self.gatekeeper = self.gatekeeper.with_path(Self::recv_checked);
        let has_guard = with_buffer::<INSTRUCTIONS, _>(self.state.max_instructions.into(), |buffer| {
            let code = assemble(buffer, &self.filter, family, self.state, self.mode);
            self.socket.guard(family, Unicast::Passed, code.instructions())
        });
        if has_guard {
            self.gatekeeper.guard_attached();
            self.gatekeeper.guard_passes_unicast(Self::recv_checked);
            self.state.offloaded(true, self.state.offload == Offload::Filter);
        }
    }

    /// Follows the guard that an adopted socket already has: another listener may hold a descriptor of the same socket, so the guard
    /// must pass what this listener joins. But that listener may also detach it, so this one checks each packet.
    pub(super) fn adopt_guard(&mut self, family: Family) {
        if self.socket.guarded(family).is_some() {
            self.gatekeeper.guard_found();
            self.state.offloaded(true, false);
        }
    }
}

/// Limits the number of instructions that the user asked for to what the kernel allows.
pub(super) const fn within_limits(instructions: usize) -> u16 {
    if instructions < 2 {
        2
    } else if instructions > MAX_INSTRUCTIONS {
        MAX_INSTRUCTIONS as u16
    } else {
        instructions as u16
    }
}
