//! How fast packets may leave: a token bucket. The caller passes the time in.

use core::num::NonZeroU32;
use core::time::Duration;

/// A token bucket: a number of packets per second, and a burst of packets at once after a pause.
///
/// It stores one instant, at which the bucket will be full again; the number of tokens follows from it (virtual scheduling, ITU-T
/// I.371).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rate {
    /// The time of one packet, in nanoseconds. Rounded up, so that the rate is never higher than asked for.
    interval: NonZeroU32,
    /// How many packets a full bucket holds.
    burst: NonZeroU32,
    /// When the bucket will be full again, in nanoseconds; 64 bits are enough for 584 years.
    full_at: u64,
}

impl Rate {
    pub(crate) fn new(packets_per_second: NonZeroU32, burst: NonZeroU32) -> Self {
        let interval = NonZeroU32::MIN.saturating_add(999_999_999 / packets_per_second);
        Self { interval, burst, full_at: 0 }
    }

    /// How many packets may leave now, at most `wanted`; if none, how long to wait for the first one.
    pub(crate) fn allowed(&mut self, now: Duration, wanted: usize) -> Result<usize, Duration> {
        let depth = u64::from(self.interval.get()).saturating_mul(self.burst.get().into());
        // An empty bucket lacks this much. Only a clock that went back says more: then the bucket is empty now, and fills from now on.
        self.full_at = self.full_at.min(nanoseconds(now).saturating_add(depth));
        let mut missing = self.full_at.saturating_sub(nanoseconds(now));
        let mut allowed = 0_usize;
        while allowed < wanted {
            missing = missing.saturating_add(self.interval.get().into());
            if missing > depth {
                break;
            }
            allowed = allowed.saturating_add(1);
        }
        if allowed > 0 { Ok(allowed) } else { Err(Duration::from_nanos(missing.saturating_sub(depth))) }
    }

    /// Records that this many packets have left.
    pub(crate) fn sent(&mut self, now: Duration, packets: usize) {
        let time = u64::from(self.interval.get()).saturating_mul(packets as u64);
        self.full_at = self.full_at.max(nanoseconds(now)).saturating_add(time);
    }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn rate(packets_per_second: u32, burst: u32) -> (NonZeroU32, NonZeroU32) {
        (NonZeroU32::new(packets_per_second).unwrap(), NonZeroU32::new(burst).unwrap())
    }

    /// Sends as often and as much as is allowed, and counts the packets that left within this time.
    fn sent_within(mut rate: Rate, begin: Duration, time: Duration, wanted: usize) -> usize {
        let (mut now, mut sent) = (begin, 0);
        while now < begin + time {
            match rate.allowed(now, wanted) {
                Ok(packets) => {
                    rate.sent(now, packets);
                    sent += packets;
                }
                Err(wait) => {
                    assert!(!wait.is_zero(), "a wait of no time would spin");
                    now += wait;
                }
            }
        }
        sent
    }

    #[test]
    fn a_full_bucket_leaves_at_once_and_the_rest_at_the_rate() {
        let (packets, burst) = rate(1000, 10);
        let sent = sent_within(Rate::new(packets, burst), Duration::from_secs(5), Duration::from_secs(1), 64);
        assert!((1009..=1010).contains(&sent), "{sent}");
    }

    #[test]
    fn it_is_never_faster_than_asked_for_at_any_rate() {
        for packets_per_second in [1, 3, 7, 999, 100_000, 999_999_999, u32::MAX] {
            let (packets, burst) = rate(packets_per_second, 1);
            let time = Duration::from_nanos(2_000_000_000_000 / u64::from(packets_per_second).max(2_000));
            let sent = sent_within(Rate::new(packets, burst), Duration::ZERO, time, 64);
            let most = time.as_secs_f64() * f64::from(packets_per_second) + 1.0;
            assert!(sent as f64 <= most, "{packets_per_second}: {sent} of {most}");
        }
    }

    #[test]
    fn a_pause_fills_the_bucket_and_no_more() {
        let (packets, burst) = rate(10, 3);
        let mut rate = Rate::new(packets, burst);
        let later = Duration::from_secs(1000);
        rate.sent(Duration::ZERO, 3);
        assert_eq!(rate.allowed(later, 64), Ok(3));
        rate.sent(later, 3);
        assert_eq!(rate.allowed(later, 64), Err(Duration::from_millis(100)));
    }

    #[test]
    fn after_a_clock_went_back_or_jumped_the_wait_is_that_of_one_packet() {
        let (packets, burst) = rate(1, 3);
        let second = Duration::from_secs(1);
        for wrong in [Duration::from_secs(10), Duration::from_secs(u64::MAX), Duration::MAX] {
            let mut rate = Rate::new(packets, burst);
            rate.sent(wrong, 1);
            let mut now = Duration::from_secs(5);
            assert_eq!(rate.allowed(now, 1), Err(second), "{wrong:?}");
            // The rate holds from then on.
            for _ in 0..4 {
                now += second;
                assert_eq!(rate.allowed(now, 64), Ok(1), "{wrong:?}");
                rate.sent(now, 1);
                assert_eq!(rate.allowed(now, 64), Err(second), "{wrong:?}");
            }
        }
    }
}
