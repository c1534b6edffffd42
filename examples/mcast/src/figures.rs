//! Figures that several commands print, and bounds for them.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use lexopt::Parser;

use crate::decimal;
use crate::options::text;
use crate::stop::Stop;

/// The most that is allowed.
pub(crate) struct Bound {
    pub(crate) most: f64,
    /// As it was written.
    pub(crate) written: String,
}

impl Bound {
    pub(crate) fn percent(parser: &mut Parser, option: &str) -> Result<Self, Stop> {
        Self::parse(parser, option, "percent, 0 to 100", 100.0)
    }

    pub(crate) fn milliseconds(parser: &mut Parser, option: &str) -> Result<Self, Stop> {
        Self::parse(parser, option, "milliseconds, 0 or more", f64::MAX)
    }

    fn parse(parser: &mut Parser, option: &str, what: &str, largest: f64) -> Result<Self, Stop> {
        let written = text(parser, option)?;
        match decimal::parse(&written).filter(|number| *number <= largest) {
            Some(most) => Ok(Self { most, written }),
            None => Err(Stop::misused(format!("{option} {written}: give {what}"))),
        }
    }

    /// Whether a part is more percent of the whole than is allowed.
    pub(crate) fn is_exceeded(&self, part: u64, whole: u64) -> bool {
        part as f64 * 100.0 > self.most * whole as f64
    }
}

/// A number that nobody else has: the standard library asks the kernel for the seed of its hash tables.
pub(crate) fn random() -> u64 {
    RandomState::new().hash_one(std::process::id())
}

/// So many in this time, a second.
pub(crate) fn per_second(count: u64, time: Duration) -> u64 {
    let count = u128::from(count).saturating_mul(1_000_000_000);
    u64::try_from(count.checked_div(time.as_nanos()).unwrap_or(0)).unwrap_or(u64::MAX)
}

pub(crate) fn seconds(time: Duration) -> String {
    format!("{}.{:03}", time.as_secs(), time.subsec_millis())
}

/// Of nanoseconds.
pub(crate) fn milliseconds(nanoseconds: u64) -> String {
    let microseconds = nanoseconds / 1_000;
    format!("{}.{:03}", microseconds / 1_000, microseconds % 1_000)
}

/// Rounded up, so that only 0 is 0.000.
pub(crate) fn percent(part: u64, whole: u64) -> String {
    let thousandths = u128::from(part).saturating_mul(100_000).div_ceil(u128::from(whole.max(1)));
    // Part and whole belong together: it is far below the largest number.
    let thousandths = u64::try_from(thousandths).unwrap_or(u64::MAX);
    format!("{}.{:03}", thousandths / 1_000, thousandths % 1_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loss_is_never_printed_as_none() {
        assert_eq!(percent(0, 0), "0.000");
        assert_eq!(percent(0, u64::MAX), "0.000");
        assert_eq!(percent(1, u64::MAX), "0.001");
        assert_eq!(percent(1, 3), "33.334");
        assert_eq!(percent(u64::MAX, u64::MAX), "100.000");
    }
}
