//! Ends a loop from a handler or from another thread.

use core::fmt;
use core::time::Duration;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crate::{Result, Waker};

/// A request to stop, and a way to sleep until it comes.
#[derive(Debug, Default)]
pub(super) struct Stop {
    requested: Mutex<bool>,
    changed: Condvar,
}

impl Stop {
    fn lock(&self) -> MutexGuard<'_, bool> {
        // A bool cannot be left half-written by a thread that panicked.
        self.requested.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn request(&self) {
        *self.lock() = true;
        self.changed.notify_all();
    }

    pub(super) fn is_requested(&self) -> bool {
        *self.lock()
    }

    pub(super) fn clear(&self) {
        *self.lock() = false;
    }

    /// Sleeps for this time, or until the request comes.
    pub(super) fn sleep(&self, time: Duration) {
        let slept = self.changed.wait_timeout_while(self.lock(), time, |requested| !*requested);
        drop(slept.unwrap_or_else(PoisonError::into_inner));
    }
}

/// Stops the loop of a [`Poller`](super::Poller) from any thread. Clones stop the same one.
///
/// After the poller is gone it has no effect.
#[derive(Clone)]
pub struct Stopper {
    stop: Arc<Stop>,
    waker: Arc<Waker>,
}

impl Stopper {
    pub(super) fn new(stop: Arc<Stop>, waker: Waker) -> Self {
        Self { stop, waker: Arc::new(waker) }
    }

    /// Ends [`run`](super::Poller::run), also while it waits or sleeps. If none is running, the next one ends at once, and a
    /// waiting [`poll`](super::Poller::poll) returns.
    ///
    /// # Errors
    /// What the kernel reports; no case is known.
    pub fn stop(&self) -> Result<()> {
        self.stop.request();
        self.waker.wake()
    }
}

impl fmt::Debug for Stopper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stopper").field("requested", &self.stop.is_requested()).finish_non_exhaustive()
    }
}
