//! Turns: how many packets a listener or a multicaster handles before the other handlers are called.
//!
//! They serve up to [`LENGTH`] packets in one turn, and call the user's code for each. When that code stops the loop, or
//! unregisters a handler that is running, which may be the one that called it, the turn ends: the other packets stay in the
//! kernel's buffer, or with the iterator.

use core::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;

/// How many packets a handler serves in one turn.
pub(super) const LENGTH: usize = 64;

/// The turns of a poller's handlers: each poller has its own, so that stopping one does not interrupt the handlers of another.
/// It is atomic so that a handler that was unregistered may go to another thread.
#[derive(Clone, Default)]
pub(super) struct Turns {
    ended: Arc<AtomicUsize>,
}

impl Turns {
    /// Ends the turns of all handlers that are running.
    pub(super) fn end(&self) {
        self.ended.fetch_add(1, Ordering::Relaxed);
    }

    /// How often turns were ended. A turn has ended if this number has changed since its beginning.
    // Inlined: it is asked after each packet, and on processors that guard returns, a return after a system call is slow.
    #[inline]
    pub(super) fn ended(&self) -> usize {
        self.ended.load(Ordering::Relaxed)
    }
}
