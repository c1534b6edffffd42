//! How a user names a handler that a poller owns.

use core::fmt;
use std::rc::{Rc, Weak};

use super::dispatch::Shared;
use super::handler::Handler;
use super::registry::Rearm;
use super::slot::Slot;
use crate::{ErrorKind, Result, Token};

/// Names a handler that a poller owns. Clones name the same one; dropping them changes nothing.
///
/// It keeps neither the handler nor the poller alive, and never names a later handler.
pub struct Handle<T> {
    poller: Weak<Shared>,
    /// It keeps the slot's memory alive, but not the handler in it.
    slot: Weak<Slot<T>>,
    token: Token,
}

impl<T: Handler> Handle<T> {
    pub(super) fn new(poller: &Rc<Shared>, slot: &Rc<Slot<T>>) -> Self {
        Self { poller: Rc::downgrade(poller), slot: Rc::downgrade(slot), token: slot.state().token }
    }

    /// Poller and slot, if both still exist.
    fn upgrade(&self) -> Option<(Rc<Shared>, Rc<Slot<T>>)> {
        Some((self.poller.upgrade()?, self.slot.upgrade()?))
    }

    /// The slot, if it still exists.
    pub(super) fn slot(&self) -> Option<Rc<Slot<T>>> {
        self.slot.upgrade()
    }

    /// Whether its poller still exists.
    pub(super) fn has_poller(&self) -> bool {
        self.poller.strong_count() > 0
    }

    pub(super) fn is_of(&self, poller: &Rc<Shared>) -> bool {
        core::ptr::eq(self.poller.as_ptr(), Rc::as_ptr(poller))
    }

    /// Whether its poller still has it. This is false after it was unregistered, after it broke or panicked, and after it returned an
    /// error, unless it [stays](Handler::stays_after_error).
    #[must_use]
    pub fn is_registered(&self) -> bool {
        self.upgrade().is_some_and(|(_, slot)| slot.state().is_registered.get())
    }

    /// Lends the handler to `look`, to be read or changed, and then asks it again what it waits for. `None` if it is no longer
    /// registered, or if it is running right now.
    ///
    /// It gets no events while it is lent, and `look` may call everything in this module.
    ///
    /// # Errors
    /// If the kernel does not watch the handler's descriptor any more. At a limit ([`ErrorKind::LimitReached`]) the handler stays, and
    /// its poller tries again; otherwise it was removed and dropped.
    pub fn with<R>(&self, look: impl FnOnce(&mut T) -> R) -> Result<Option<R>> {
        self.upgrade().map_or(Ok(None), |(poller, slot)| poller.registry.with(&slot, look))
    }

    /// As [`with`](Self::with), for a `look` that changes neither descriptor nor interest.
    pub(super) fn lend<R>(&self, rearm: Rearm, look: impl FnOnce(&mut T) -> R) -> Result<Option<R>> {
        self.upgrade().map_or(Ok(None), |(poller, slot)| poller.registry.lend(&slot, rearm, look))
    }

    /// Arms it in the next poll, after its interest has changed.
    pub(super) fn arm_soon(&self) {
        if let Some((poller, slot)) = self.upgrade() {
            poller.registry.arm_soon(&*slot);
        }
    }

    /// Whether it fails to follow changes of interfaces with an error of this kind.
    pub(super) fn fails_to_follow(&self, kind: ErrorKind) -> bool {
        self.slot().is_some_and(|slot| slot.state().following.get().fails_with(kind))
    }

    /// Removes it from its poller and drops it, if it is still there.
    pub(super) fn remove(&self) {
        if let Some((poller, slot)) = self.upgrade() {
            poller.registry.remove(&*slot);
        }
    }
}

// Written by hand, since a derived one would require the handler to be `Clone`.
impl<T> Clone for Handle<T> {
    fn clone(&self) -> Self {
        Self { poller: self.poller.clone(), slot: self.slot.clone(), token: self.token }
    }
}

impl<T> fmt::Debug for Handle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Handle").field(&self.token.0).finish()
    }
}
