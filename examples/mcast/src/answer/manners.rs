//! How many questions are answered: of one address, and of all, no more than do no harm if their sources are forged.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// How much more seldom one address is answered than all of them.
const SHARE: u32 = 10;
/// How many addresses are remembered. Of more, the one that was silent longest is forgotten.
const MOST: usize = 1_024;

pub(super) struct Manners {
    /// The time between two answers, on average.
    interval: Duration,
    all: Bucket,
    /// The one that was heard last at the end.
    sources: VecDeque<(IpAddr, Bucket)>,
}

impl Manners {
    pub(super) fn new(interval: Duration, now: Instant) -> Self {
        Self { interval, all: Bucket::full(interval, now), sources: VecDeque::new() }
    }

    /// Whether a question of this address is to be answered.
    pub(super) fn may_ask(&mut self, source: IpAddr, now: Instant) -> bool {
        let known = self.sources.iter().position(|(known, _)| *known == source);
        let found = known.and_then(|place| self.sources.remove(place));
        let one = || Bucket::full(self.interval.saturating_mul(SHARE), now);
        let (_, mut bucket) = found.unwrap_or_else(|| (source, one()));
        // The address first: one that asks too often takes nothing from the others.
        let may_ask = bucket.take(now) && self.all.take(now);
        if self.sources.len() >= MOST {
            self.sources.pop_front();
        }
        self.sources.push_back((source, bucket));
        may_ask
    }
}

/// Fills with time, and holds a second of it, or one answer.
struct Bucket {
    cost: Duration,
    left: Duration,
    at: Instant,
}

impl Bucket {
    fn full(cost: Duration, now: Instant) -> Self {
        Self { cost, left: Self::size(cost), at: now }
    }

    fn size(cost: Duration) -> Duration {
        cost.max(Duration::from_secs(1))
    }

    fn take(&mut self, now: Instant) -> bool {
        let filled = self.left.saturating_add(now.saturating_duration_since(self.at)).min(Self::size(self.cost));
        self.at = now;
        let rest = filled.checked_sub(self.cost);
        self.left = rest.unwrap_or(filled);
        rest.is_some()
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn source(number: u32) -> IpAddr {
        Ipv4Addr::from_bits(0x0a00_0000 + number).into()
    }

    #[test]
    fn one_address_gets_a_tenth_and_the_others_their_part() {
        let start = Instant::now();
        let mut manners = Manners::new(Duration::from_millis(10), start);
        let at = |number: u32| start + Duration::from_millis(1) * number;
        // In the first second a burst of ten, and ten more while it fills again.
        let answered = (0..1_000).filter(|number| manners.may_ask(source(1), at(*number))).count();
        assert!((19..=20).contains(&answered), "{answered}");
        assert!(manners.may_ask(source(2), at(1_000)));
    }

    #[test]
    fn forged_sources_get_no_more_than_all_may_and_take_bounded_memory() {
        let start = Instant::now();
        let mut manners = Manners::new(Duration::from_millis(10), start);
        let at = |number: u32| start + Duration::from_micros(10) * number;
        let answered = (0..100_000).filter(|number| manners.may_ask(source(*number), at(*number))).count();
        assert!((199..=200).contains(&answered), "{answered}");
        assert!(manners.sources.len() <= MOST);
        assert!(manners.may_ask(source(1_000_000), at(200_000)));
    }

    #[test]
    fn less_than_one_a_second_is_possible() {
        let start = Instant::now();
        let mut manners = Manners::new(Duration::from_secs(3), start);
        let at = |seconds| start + Duration::from_secs(seconds);
        let answered: Vec<_> = (0..40).filter(|second| manners.may_ask(source(1), at(*second))).collect();
        assert_eq!(answered, [0, 30]);
    }
}
