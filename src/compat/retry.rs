//! When something that failed is tried again, and whether its error is returned.

use core::time::Duration;
use std::time::Instant;

use crate::{Error, ErrorKind, Result};

/// The first pause after an error. Each further one is twice as long, up to [`LONGEST`].
const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(1);

/// Something that is tried again after an error, until it succeeds: then it begins again, as [`default`](Self::default).
#[derive(Clone, Copy, Default)]
pub(super) struct Retry {
    /// The kind of the last error.
    failing: Option<ErrorKind>,
    pause: Duration,
    /// When to try again.
    pub(super) until: Option<Instant>,
}

impl Retry {
    /// Begins a pause, unless one goes on. Returns the error, unless the attempt before failed in the same way: so it is returned once.
    pub(super) fn failed(&mut self, error: Error) -> Result<()> {
        let now = Instant::now();
        if self.until.is_none_or(|until| until <= now) {
            self.pause = self.pause.saturating_mul(2).clamp(FIRST, LONGEST);
            self.until = now.checked_add(self.pause);
        }
        let is_new = self.failing.replace(error.kind()) != Some(error.kind());
        if is_new { Err(error) } else { Ok(()) }
    }

    /// Whether it has failed in this way, and not succeeded since.
    pub(super) fn fails_with(&self, kind: ErrorKind) -> bool {
        self.failing == Some(kind)
    }
}
