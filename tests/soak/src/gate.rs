//! Lets all threads stand still between two turns, so that what is counted then is no moment's.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

#[derive(Debug, Default)]
pub struct Gate {
    is_closed: AtomicBool,
    inside: AtomicUsize,
    is_over: AtomicBool,
}

impl Gate {
    /// Runs one turn, unless all is over; returns what it returned.
    pub fn turn<T>(&self, work: impl FnOnce() -> T) -> Option<T> {
        loop {
            if self.is_over.load(Ordering::SeqCst) {
                return None;
            }
            self.inside.fetch_add(1, Ordering::SeqCst);
            if !self.is_closed.load(Ordering::SeqCst) {
                break;
            }
            self.inside.fetch_sub(1, Ordering::SeqCst);
            std::thread::sleep(Duration::from_millis(1));
        }
        let result = work();
        self.inside.fetch_sub(1, Ordering::SeqCst);
        Some(result)
    }

    /// Runs `look` while no turn runs. `None` if the turns do not end in this time.
    pub fn closed<T>(&self, patience: Duration, look: impl FnOnce() -> T) -> Option<T> {
        let end = Instant::now() + patience;
        self.is_closed.store(true, Ordering::SeqCst);
        while self.inside.load(Ordering::SeqCst) > 0 {
            if Instant::now() > end {
                return None;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        let result = look();
        self.is_closed.store(false, Ordering::SeqCst);
        Some(result)
    }

    pub fn end(&self) {
        self.is_over.store(true, Ordering::SeqCst);
    }

    pub fn is_over(&self) -> bool {
        self.is_over.load(Ordering::SeqCst)
    }
}
