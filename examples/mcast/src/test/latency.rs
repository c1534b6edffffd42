//! How long packets took, and how much that varied.

use hdrhistogram::Histogram;

/// The longest latency that is taken for one, in nanoseconds. Clocks that are farther apart do not agree.
const LONGEST: u64 = 10_000_000_000;
/// Figures of the histogram are right to two digits, from a microsecond on.
const SHORTEST: u64 = 1_000;
const DIGITS: u8 = 2;

/// The latencies of many packets.
pub(crate) struct Latency {
    count: u64,
    sum: u128,
    least: u64,
    most: u64,
    /// For the percentile. `None` if there is none with these bounds.
    histogram: Option<Histogram<u64>>,
    /// A packet came before it was sent, or much too late.
    disagree: bool,
}

/// What can be said of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Summary {
    /// There was no packet.
    Nothing,
    /// The clocks of the sender and of this machine do not agree, so nobody knows.
    ClocksDisagree,
    /// In nanoseconds.
    Known { min: u64, avg: u64, p99: u64, max: u64 },
}

impl Latency {
    pub(crate) fn new() -> Self {
        let histogram = Histogram::new_with_bounds(SHORTEST, LONGEST, DIGITS).ok();
        Self { count: 0, sum: 0, least: u64::MAX, most: 0, histogram, disagree: false }
    }

    /// Adds a packet that was sent and came at these times, in nanoseconds since 1970.
    pub(crate) fn add(&mut self, sent: u64, came: u64) {
        match came.checked_sub(sent) {
            Some(latency @ ..=LONGEST) => {
                self.count = self.count.saturating_add(1);
                self.sum = self.sum.saturating_add(latency.into());
                self.least = self.least.min(latency);
                self.most = self.most.max(latency);
                if let Some(histogram) = &mut self.histogram {
                    histogram.saturating_record(latency);
                }
            }
            _ => self.disagree = true,
        }
    }

    /// Moves all that the other one has to this one.
    pub(crate) fn take(&mut self, other: &mut Self) {
        self.count = self.count.saturating_add(core::mem::take(&mut other.count));
        self.sum = self.sum.saturating_add(core::mem::take(&mut other.sum));
        self.least = self.least.min(core::mem::replace(&mut other.least, u64::MAX));
        self.most = self.most.max(core::mem::take(&mut other.most));
        self.disagree |= core::mem::take(&mut other.disagree);
        if let (Some(to), Some(from)) = (&mut self.histogram, &mut other.histogram) {
            // Both have the same bounds, so this does not fail.
            let _ = to.add(&*from);
            from.reset();
        }
    }

    pub(crate) fn summary(&self) -> Summary {
        if self.disagree {
            return Summary::ClocksDisagree;
        }
        let Some(avg) = self.sum.checked_div(self.count.into()) else { return Summary::Nothing };
        // The histogram rounds, also beyond the largest one.
        let p99 = self.histogram.as_ref().map_or(self.most, |histogram| histogram.value_at_quantile(0.99));
        let p99 = p99.clamp(self.least, self.most);
        Summary::Known { min: self.least, avg: u64::try_from(avg).unwrap_or(self.most), p99, max: self.most }
    }
}

/// The variation of the time that packets take, as in RFC 3550, section 6.4.1. The clocks need not agree.
#[derive(Default)]
pub(crate) struct Jitter {
    /// The time that the last packet took, by clocks that may disagree.
    transit: Option<i128>,
    /// 16 times the jitter, so that it does not lose what the division cuts off.
    scaled: u64,
}

impl Jitter {
    /// Adds a packet that was sent and came at these times, in nanoseconds.
    pub(crate) fn add(&mut self, sent: u64, came: u64) {
        let transit = i128::from(came).saturating_sub(sent.into());
        if let Some(before) = self.transit.replace(transit) {
            let difference = u64::try_from(transit.saturating_sub(before).unsigned_abs()).unwrap_or(u64::MAX);
            self.scaled = self.scaled.saturating_sub(self.scaled.saturating_add(8) >> 4).saturating_add(difference);
        }
    }

    /// In nanoseconds.
    pub(crate) fn nanoseconds(&self) -> u64 {
        self.scaled >> 4
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_percentile_is_right_to_two_digits_and_the_rest_exact() {
        let mut latency = Latency::new();
        for microseconds in 1..=1000 {
            latency.add(5_000_000_000, 5_000_000_000 + microseconds * 1000);
        }
        let Summary::Known { min, avg, p99, max } = latency.summary() else { panic!("{:?}", latency.summary()) };
        assert_eq!((min, avg, max), (1_000, 500_500, 1_000_000));
        assert!((980_000..=1_000_000).contains(&p99), "{p99}");
    }

    #[test]
    fn times_that_cannot_be_are_clocks_that_do_not_agree() {
        for came in [999_999_999, 11_000_000_001, u64::MAX, 0] {
            let mut latency = Latency::new();
            latency.add(1_000_000_000, 1_000_000_500);
            latency.add(1_000_000_000, came);
            assert_eq!(latency.summary(), Summary::ClocksDisagree);
        }
        assert_eq!(Latency::new().summary(), Summary::Nothing);
    }

    #[test]
    fn a_second_is_moved_into_the_whole() {
        let (mut whole, mut second) = (Latency::new(), Latency::new());
        second.add(0, 2_000);
        whole.take(&mut second);
        second.add(0, 4_000);
        whole.take(&mut second);
        whole.take(&mut second);
        assert_eq!(second.summary(), Summary::Nothing);
        let Summary::Known { min, avg, p99, max } = whole.summary() else { panic!("{:?}", whole.summary()) };
        assert_eq!((min, avg, max), (2_000, 3_000, 4_000));
        assert!((3_900..=4_000).contains(&p99), "{p99}");
        second.add(5, 4);
        whole.take(&mut second);
        assert_eq!(whole.summary(), Summary::ClocksDisagree);
        assert_eq!(second.summary(), Summary::Nothing);
    }

    /// The formula of the RFC, in floating point: J = J + (|D(i-1, i)| - J) / 16.
    #[test]
    fn the_jitter_is_that_of_the_rfc() {
        let (mut jitter, mut expected) = (Jitter::default(), 0.0);
        // Clocks that are a year apart.
        let apart = 31_536_000_000_000_000_u64;
        let mut before = None;
        for i in 0..1000_u64 {
            let (sent, delay) = (i * 20_000_000, i * i * 7_919 % 5_000_000);
            jitter.add(sent + apart, sent + delay);
            if let Some(before) = before {
                expected += (delay.abs_diff(before) as f64 - expected) / 16.0;
            }
            before = Some(delay);
        }
        let found = jitter.nanoseconds() as f64;
        assert!((found - expected).abs() < 20.0, "{found} {expected}");
        assert!(expected > 100_000.0);
    }

    #[test]
    fn no_time_overflows() {
        let (mut jitter, mut latency) = (Jitter::default(), Latency::new());
        for (sent, came) in [(0, u64::MAX), (u64::MAX, 0), (0, 0), (u64::MAX, u64::MAX)].into_iter().cycle().take(100) {
            jitter.add(sent, came);
            latency.add(sent, came);
        }
        assert!(jitter.nanoseconds() > 0);
    }
}
