//! How long a handler of this module goes on before others are called.
//!
//! Listeners and multicasters serve up to [`LENGTH`] packets in one turn, and call the user's code for each. When that code
//! unregisters a handler that is running, which may be they themselves, or stops the loop, the turn ends: what is left stays in
//! the kernel's buffer, or with the iterator.

use core::cell::Cell;
use std::thread_local;

/// How many packets a handler serves in one turn.
pub(super) const LENGTH: usize = 64;

thread_local! {
    /// How many times turns were ended in this thread.
    static ENDED: Cell<u64> = const { Cell::new(0) };
}

/// Ends the turns of all handlers that run in this thread.
pub(super) fn end() {
    ENDED.set(ENDED.get().wrapping_add(1));
}

/// A turn.
pub(super) struct Turn {
    ended_before: u64,
}

impl Turn {
    pub(super) fn begin() -> Self {
        Self { ended_before: ENDED.get() }
    }

    pub(super) fn has_ended(&self) -> bool {
        self.ended_before != ENDED.get()
    }
}
