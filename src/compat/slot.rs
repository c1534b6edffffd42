//! A slot owns one handler of a poller, and holds what the poller knows of it.
//!
//! A handler that is being called or lent is borrowed from its slot, so a failed borrow always means that it is running. It is
//! moved out of its slot before it is dropped, since its `drop` may call the poller.

use core::cell::{Cell, RefCell, RefMut};
use std::time::Instant;

use super::handler::{Flags, Handler};
use super::retry::Retry;
use crate::{Change, Token};

/// What a poller knows of a handler.
pub(super) struct State {
    /// Names it in the table and in events. No other handler of this poller ever has the same.
    pub(super) token: Token,
    /// What the caller of `register` added to its interest.
    pub(super) requested_flags: Flags,
    /// Whether it wants to know what changes about interfaces.
    pub(super) follows: bool,
    pub(super) is_registered: Cell<bool>,
    /// Its descriptor is in the epoll set.
    pub(super) is_in_set: Cell<bool>,
    /// What it waits for there; nothing after an event, until it is armed again.
    pub(super) armed: Cell<Flags>,
    /// It is not armed before this time.
    pub(super) paused_until: Cell<Option<Instant>>,
    /// How its calls, and arming it, failed.
    pub(super) calls: Cell<Retry>,
    /// What happened, and was not reported to the handler yet.
    pub(super) ready: Cell<Flags>,
    pub(super) is_queued: Cell<bool>,
    /// `rearm` was called while it ran.
    pub(super) rearm_requested: Cell<bool>,
    /// A change of interfaces that it has not followed: because it was running, or because it failed.
    pub(super) missed: Cell<Option<Change>>,
    /// When it is to follow that change. Meanwhile it is called as always.
    pub(super) follows_at: Cell<Option<Instant>>,
    /// How following failed.
    pub(super) following: Cell<Retry>,
}

impl State {
    /// When the next of its timers ends.
    pub(super) fn due(&self) -> Option<Instant> {
        [self.paused_until.get(), self.follows_at.get()].into_iter().flatten().min()
    }
}

pub(super) struct Slot<T> {
    state: State,
    /// `None` once it has left its poller.
    handler: RefCell<Option<T>>,
}

impl<T: Handler> Slot<T> {
    pub(super) fn new(token: Token, handler: T, requested_flags: Flags) -> Self {
        let state = State {
            token,
            requested_flags,
            follows: handler.follows(),
            is_registered: Cell::new(true),
            is_in_set: Cell::default(),
            armed: Cell::default(),
            paused_until: Cell::default(),
            calls: Cell::default(),
            ready: Cell::default(),
            is_queued: Cell::default(),
            rearm_requested: Cell::default(),
            missed: Cell::default(),
            follows_at: Cell::default(),
            following: Cell::default(),
        };
        Self { state, handler: RefCell::new(Some(handler)) }
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

impl<T> Slot<T> {
    pub(super) const fn state(&self) -> &State {
        &self.state
    }
}

/// A slot with a handler of any type.
pub(super) trait Entry {
    fn state(&self) -> &State;

    /// Lends the handler; `None` if it is running or has left.
    fn lend(&self) -> Option<RefMut<'_, dyn Handler>>;

    /// Drops the handler, unless it is running.
    fn drop_handler(&self);
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
}
