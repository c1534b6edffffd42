//! A slot owns one handler of a poller, and holds what the poller knows of it.
//!
//! A handler that is being called or lent is borrowed from its slot, so a failed borrow always means that it is running. It is
//! moved out of its slot before it is dropped, since its `drop` may call the poller.

use core::cell::{Cell, RefCell, RefMut};
use std::time::Instant;

use super::handler::{Flags, Handler};
use crate::{Change, Result, Token};

/// What a poller knows of a handler.
pub(super) struct State {
    /// Names it in the table and in events. No other handler of this poller ever has the same.
    pub(super) token: Token,
    /// What the caller of `register` added to its interest.
    pub(super) requested_flags: Flags,
    /// Whether it has memberships that its poller keeps.
    pub(super) is_kept: bool,
    pub(super) is_registered: Cell<bool>,
    /// Its descriptor is in the epoll set.
    pub(super) is_in_set: Cell<bool>,
    /// What it waits for there; nothing after an event, until it is armed again.
    pub(super) armed: Cell<Flags>,
    /// It is not armed before this time.
    pub(super) paused_until: Cell<Option<Instant>>,
    /// What happened, and was not reported to the handler yet.
    pub(super) ready: Cell<Flags>,
    pub(super) is_queued: Cell<bool>,
    /// `rearm` was called while it ran.
    pub(super) rearm_requested: Cell<bool>,
    /// An interface changed while it ran.
    pub(super) pending_change: Cell<bool>,
}

/// How the memberships of a handler are kept when interfaces change. It must not call user code.
pub(super) type Keep<T> = fn(&mut T, &Change) -> Result<()>;

pub(super) struct Slot<T> {
    state: State,
    /// `None` once it has left its poller.
    handler: RefCell<Option<T>>,
    keep: Option<Keep<T>>,
}

impl<T> Slot<T> {
    pub(super) const fn new(token: Token, handler: T, requested_flags: Flags, keep: Option<Keep<T>>) -> Self {
        let state = State {
            token,
            requested_flags,
            is_kept: keep.is_some(),
            is_registered: Cell::new(true),
            is_in_set: Cell::new(false),
            armed: Cell::new(Flags::NONE),
            paused_until: Cell::new(None),
            ready: Cell::new(Flags::NONE),
            is_queued: Cell::new(false),
            rearm_requested: Cell::new(false),
            pending_change: Cell::new(false),
        };
        Self { state, handler: RefCell::new(Some(handler)), keep }
    }

    pub(super) const fn state(&self) -> &State {
        &self.state
    }

    /// Lends the handler; `None` if it is running or has left.
    pub(super) fn lend(&self) -> Option<RefMut<'_, T>> {
        RefMut::filter_map(self.handler.try_borrow_mut().ok()?, Option::as_mut).ok()
    }

    /// Moves the handler out; `None` if it is running or has left.
    pub(super) fn take(&self) -> Option<T> {
        self.handler.try_borrow_mut().ok()?.take()
    }
}

/// A slot with a handler of any type.
pub(super) trait Entry {
    fn state(&self) -> &State;

    /// Lends the handler; `None` if it is running or has left.
    fn lend(&self) -> Option<RefMut<'_, dyn Handler>>;

    /// Drops the handler, unless it is running.
    fn drop_handler(&self);

    /// Applies a change of interfaces to its memberships; if it is running, later.
    fn keep(&self, change: &Change) -> Result<()>;
}

impl<T: Handler> Entry for Slot<T> {
    fn state(&self) -> &State {
        &self.state
    }

    fn lend(&self) -> Option<RefMut<'_, dyn Handler>> {
        Self::lend(self).map(|handler| RefMut::map(handler, |handler| handler as &mut dyn Handler))
    }

    fn drop_handler(&self) {
        // `take` ends the borrow before the handler is dropped.
        drop(self.take());
    }

    fn keep(&self, change: &Change) -> Result<()> {
        match (self.keep, Self::lend(self)) {
            (Some(keep), Some(mut handler)) => keep(&mut handler, change),
            _ => {
                self.state.pending_change.set(true);
                Ok(())
            }
        }
    }
}
