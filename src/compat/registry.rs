//! The handlers of a poller: registers, removes, lends, calls and arms them.
//!
//! A handler is borrowed from its slot while it is called. Nothing else is borrowed then, so it may call everything that its
//! caller may.
//!
//! Each handler is registered one-shot, and armed again when its call is over. So the kernel reports no running handler to a
//! nested poll, which neither calls it nor spins; and a handler in the batch of an outer poll is never in the batch of an inner
//! one as well. This costs one system call per turn of up to 64 packets.
//!
//! Edge-triggered handlers stay armed, since arming one would make a new edge: what happens while they run is reported to them
//! afterwards. One that wants a new edge, since its turn was over before all was read or sent, returns a time from `paused_until`.

use core::cell::RefCell;
use core::ops::ControlFlow;
use std::rc::Rc;
use std::time::Instant;

use super::handler::{Flags, Handler};
use super::retry::Retry;
use super::slot::{Entry, Slot, State};
use super::table::Table;
use super::turn::Turns;
use crate::{Change, Error, ErrorKind, Group, Poller, Result};

/// The handlers of a poller, and the core's poller that waits for them.
pub(super) struct Registry {
    pub(super) core: Poller,
    pub(super) table: RefCell<Table>,
    pub(super) turns: Turns,
}

impl Registry {
    pub(super) fn new() -> Result<Self> {
        Ok(Self { core: Poller::new()?, table: RefCell::default(), turns: Turns::default() })
    }

    pub(super) fn register<T: Handler>(&self, handler: T, flags: Flags) -> Result<Rc<Slot<T>>> {
        let token = self.table.borrow_mut().next_token();
        let slot = Rc::new(Slot::new(token, handler, flags));
        self.table.borrow_mut().insert(Rc::<Slot<T>>::clone(&slot));
        Call { registry: self, entry: &*slot, is_new: true, is_finished: false }.finish(Rearm::Always)?;
        Ok(slot)
    }

    pub(super) fn unregister<T: Handler>(&self, slot: &Slot<T>) -> Option<T> {
        if !slot.state().is_registered.get() {
            return None;
        }
        self.table.borrow_mut().remove(slot.state());
        let handler = slot.take();
        match &handler {
            Some(handler) => self.forget(slot.state(), handler),
            // It is running. Its caller will see that it is no longer registered.
            None => self.turns.end(),
        }
        handler
    }

    /// Removes a handler, and drops it unless it is running.
    pub(super) fn remove(&self, entry: &dyn Entry) {
        self.table.borrow_mut().remove(entry.state());
        if let Some(handler) = entry.lend() {
            self.forget(entry.state(), &*handler);
        }
        entry.drop_handler();
    }

    /// Takes the descriptor out of the epoll set.
    fn forget(&self, state: &State, handler: &dyn Handler) {
        if state.is_in_set.replace(false) {
            // An error does not matter: the handler may have closed its descriptor, or have another one now.
            let _ = self.core.unregister(&handler.as_fd());
        }
    }

    pub(super) fn rearm<T: Handler>(&self, slot: &Slot<T>) -> Result<()> {
        let armed = self.lend(slot, Rearm::Always, |_| slot.state().armed.set(Flags::NONE))?;
        slot.state().rearm_requested.set(armed.is_none());
        Ok(())
    }

    /// Lends a handler whose descriptor and interest may change; `None` if it is running or has left.
    pub(super) fn with<T: Handler, R>(&self, slot: &Slot<T>, look: impl FnOnce(&mut T) -> R) -> Result<Option<R>> {
        let state = slot.state();
        // One that is queued has had its event: armed now, it would get a second one.
        let is_armed = !state.armed.get().is_none() && state.ready.get().is_none();
        let is_waiting = is_armed || state.paused_until.get().is_some();
        self.lend(slot, if is_waiting { Rearm::Always } else { Rearm::UnlessOneshot }, |handler| {
            let looked = look(handler);
            state.armed.set(Flags::NONE);
            looked
        })
    }

    /// Lends a handler whose descriptor and interest do not change; `None` if it is running or has left.
    pub(super) fn lend<T: Handler, R>(
        &self,
        slot: &Slot<T>,
        rearm: Rearm,
        look: impl FnOnce(&mut T) -> R,
    ) -> Result<Option<R>> {
        let Some(call) = self.call(slot) else { return Ok(None) };
        // A separate statement, so that the borrow ends here.
        let looked = slot.lend().map(|mut handler| look(&mut handler));
        call.finish(rearm)?;
        Ok(looked)
    }

    /// Begins a call of a handler; `None` if it is running or has left.
    pub(super) fn call<'c>(&'c self, entry: &'c dyn Entry) -> Option<Call<'c>> {
        let can_be_called = entry.state().is_registered.get() && entry.lend().is_some();
        can_be_called.then(|| {
            self.table.borrow_mut().set(&entry.state().paused_until, None);
            Call { registry: self, entry, is_new: false, is_finished: false }
        })
    }

    /// Arms a handler in the next poll, which returns the error if the kernel refuses. It has no effect on one that is armed, paused or
    /// running: that one is armed when its call is over.
    pub(super) fn arm_soon(&self, entry: &dyn Entry) {
        let state = entry.state();
        let waits = !state.armed.get().is_none() || state.paused_until.get().is_some();
        if state.is_registered.get() && !waits && entry.lend().is_some() {
            self.table.borrow_mut().set(&state.paused_until, Some(Instant::now()));
        }
    }

    /// Lets a handler follow a change. `for_group` says what it means for a group whose route the handler follows. After an error it
    /// follows the same change again later, and the error is returned once.
    pub(super) fn follow(
        &self,
        entry: &dyn Entry,
        change: Change,
        for_group: &mut dyn FnMut(Group) -> Change,
    ) -> Result<()> {
        let state = entry.state();
        let mut call = Call { registry: self, entry, is_new: false, is_finished: false };
        let followed = entry.lend().map(|mut handler| {
            let group = if change == Change::Route { handler.route_to() } else { None };
            handler.follow(&group.map_or(change, &mut *for_group))
        });
        // It has not panicked.
        call.is_finished = true;
        let Some(followed) = followed else {
            // It is running, and follows at the end of its call: this change, or everything.
            state.missed.set(Some(if state.missed.get().is_none() { change } else { Change::Overrun }));
            return Ok(());
        };
        let Err(error) = followed else { return Ok(()) };
        let mut following = state.following.get();
        let reported = following.failed(error);
        state.following.set(following);
        // An earlier change that it has to follow stays: with that, it looks at the same things.
        state.missed.set(state.missed.get().or(Some(change)));
        if state.is_registered.get() {
            self.table.borrow_mut().set(&state.follows_at, following.until);
        }
        reported
    }

    /// Lets a handler follow what it has missed.
    pub(super) fn follow_missed(&self, entry: &dyn Entry) -> Result<()> {
        let state = entry.state();
        self.table.borrow_mut().set(&state.follows_at, None);
        let Some(change) = state.missed.take() else { return Ok(()) };
        self.follow(entry, change, &mut |group| change.for_group(group))?;
        if state.missed.get().is_none() {
            state.following.set(Retry::default());
        }
        Ok(())
    }

    /// Tells the kernel what a handler waits for.
    fn arm(&self, state: &State, handler: &dyn Handler, wanted: Flags, is_paused: bool) -> Result<()> {
        let before = state.armed.replace(Flags::NONE);
        let Some(interest) = wanted.as_interest().filter(|_| !is_paused) else {
            // In the set, it would still get errors and hang-ups.
            self.forget(state, handler);
            return Ok(());
        };
        if before != wanted {
            let (descriptor, token) = (handler.as_fd(), state.token);
            let modified = state.is_in_set.get().then(|| self.core.reregister(&descriptor, token, interest));
            match modified {
                Some(Err(error)) if error.kind() != ErrorKind::NotRegistered => return Err(error),
                Some(Ok(())) => {}
                // The handler is new, or has another descriptor now.
                _ => self.core.register(&descriptor, token, interest).map_err(in_words)?,
            }
            state.is_in_set.set(true);
        }
        state.armed.set(wanted);
        Ok(())
    }
}

/// Whether a handler is armed at the end of a call.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Rearm {
    Always,
    /// One-shot handlers are not armed, unless [`rearm`](Registry::rearm) was called meanwhile.
    UnlessOneshot,
}

/// A handler that is being called. If this is dropped before it is finished, for example by a panic, it removes the handler from
/// its poller.
pub(super) struct Call<'c> {
    registry: &'c Registry,
    entry: &'c dyn Entry,
    /// It is being registered.
    is_new: bool,
    is_finished: bool,
}

impl Call<'_> {
    /// Reports to the handler what has happened, and ends the call.
    pub(super) fn report(self) -> Result<()> {
        let reported = self.hand_over();
        match reported {
            Ok(ControlFlow::Break(())) => Ok(()),
            Ok(ControlFlow::Continue(())) => {
                self.entry.state().calls.set(Retry::default());
                self.finish(Rearm::UnlessOneshot)
            }
            Err(error) if self.entry.lend().is_some_and(|handler| handler.stays_after_error()) => {
                self.end(Rearm::UnlessOneshot, Some(error))
            }
            Err(error) => Err(error),
        }
    }

    fn hand_over(&self) -> Result<ControlFlow<()>> {
        let state = self.entry.state();
        let ready = state.ready.replace(Flags::NONE);
        if !state.armed.get().stays_armed() {
            state.armed.set(Flags::NONE);
        }
        let Some(mut handler) = self.entry.lend() else { return Ok(ControlFlow::Break(())) };
        if ready.contains(Flags::READ) && handler.handle_read()?.is_break() {
            return Ok(ControlFlow::Break(()));
        }
        if ready.contains(Flags::WRITE) && state.is_registered.get() {
            return handler.handle_write();
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Discards the recorded events, and asks the kernel again.
    pub(super) fn ask_again(self) -> Result<()> {
        self.entry.state().ready.set(Flags::NONE);
        self.entry.state().armed.set(Flags::NONE);
        self.finish(Rearm::Always)
    }

    /// Ends the call: arms the handler, and does what was postponed while it ran.
    pub(super) fn finish(self, rearm: Rearm) -> Result<()> {
        self.end(rearm, None)
    }

    /// Ends a call that failed or not. Returns this error, or one of arming, or one of what was postponed, if it is to be returned.
    fn end(mut self, rearm: Rearm, failed: Option<Error>) -> Result<()> {
        let (state, mut result, mut pause) = (self.entry.state(), Ok(()), None);
        if let Some(handler) = self.entry.lend() {
            let wanted = handler.interest() | state.requested_flags;
            let own_pause = handler.paused_until();
            let mut calls = state.calls.get();
            match failed {
                // It says itself when to go on.
                Some(error) if own_pause.is_some() => result = Err(error),
                Some(error) => result = calls.failed(error),
                None => {}
            }
            let rearm_requested = state.rearm_requested.take();
            let is_rearmed = rearm == Rearm::Always || rearm_requested || !wanted.contains(Flags::ONESHOT);
            if is_rearmed && state.is_registered.get() {
                let until = own_pause.max(calls.until);
                pause = until.filter(|until| *until > Instant::now());
                if until.is_some() {
                    // Armed once more, also if it is edge-triggered and still armed: that makes a new edge.
                    state.armed.set(Flags::NONE);
                }
                match self.registry.arm(state, &*handler, wanted, pause.is_some()) {
                    Err(error) if !self.is_new && passes(error.kind()) => {
                        result = result.and(calls.failed(error));
                        pause = calls.until;
                    }
                    armed => armed?,
                }
            }
            state.calls.set(calls);
        }
        // It may have left during the call, or while `interest` ran.
        if !state.is_registered.get() {
            return result;
        }
        {
            let mut table = self.registry.table.borrow_mut();
            table.set(&state.paused_until, pause);
            table.enqueue_ready(state.token);
        }
        if state.follows_at.get().is_none() {
            result = result.and(self.registry.follow_missed(self.entry));
        }
        self.is_finished = true;
        result
    }
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        if !self.is_finished {
            self.registry.remove(self.entry);
        }
    }
}

/// Whether the kernel refuses to watch a descriptor only for now.
const fn passes(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::LimitReached | ErrorKind::Transient)
}

/// The error of registering, with a remedy that this module has.
fn in_words(error: Error) -> Error {
    match error.kind() {
        kind @ ErrorKind::AlreadyRegistered => Error::custom(
            kind,
            "register: another handler of this poller has the same descriptor: unregister that one first",
        ),
        _ => error,
    }
}
