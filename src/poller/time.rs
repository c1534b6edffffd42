//! Time in nanoseconds, of which 64 bits hold 584 years: to subtract one `Duration` from another has a panic path.

use core::time::Duration;

use crate::sys;

/// The time of the clock that cannot be set; `None` if it cannot be read.
pub(super) fn now() -> Option<u64> {
    let (seconds, nanoseconds) = sys::now().ok()?;
    Some(seconds.saturating_mul(1_000_000_000).saturating_add(nanoseconds.into()))
}

/// A time of more than 584 years is as good as endless.
pub(super) fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// What is left of a timeout after this time. Without a limit it stays so.
pub(super) fn rest(timeout: Option<Duration>, passed: u64) -> Option<Duration> {
    timeout.map(|timeout| Duration::from_nanos(nanoseconds(timeout).saturating_sub(passed)))
}
