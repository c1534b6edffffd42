//! Which questions a pong answers: each once, and no more of a source, and of all, than does no harm.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::packet::Question;

/// The most questions a second that are answered: of one source, and of all. A burst may be as many.
const OF_ONE: u32 = 50;
const OF_ALL: u32 = 1_000;
/// How many sources and pings are remembered. If there are more, the one that was silent longest is forgotten: so a flood of forged ones
/// ends for the others when it ends.
const MOST: usize = 1_024;

pub(crate) struct Manners {
    all: Bucket,
    /// The one that was heard last at the end.
    sources: Vec<(IpAddr, Bucket)>,
    pings: Vec<Ping>,
}

/// Why a question is not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Declined {
    /// It was answered before: the network has duplicated it.
    Duplicate,
    /// There are too many questions.
    TooMany,
}

/// One who asks.
struct Ping {
    /// Everybody in the group sees it, so a stranger may use it, too.
    id: u64,
    source: IpAddr,
    heard: u64,
    highest: u64,
    /// Which of the last 64 numbers were heard, the highest one lowest.
    seen: u64,
}

impl Manners {
    pub(crate) fn new(now: Instant) -> Self {
        Self { all: Bucket::full(OF_ALL, now), sources: Vec::new(), pings: Vec::new() }
    }

    /// How many questions of this ping were heard, with this one, if it is to be answered.
    pub(crate) fn consider(&mut self, question: Question, source: IpAddr, now: Instant) -> Result<u64, Declined> {
        // The source first: one that asks too often takes nothing from the others.
        if !self.may_ask(source, now) || !self.all.take(now) {
            return Err(Declined::TooMany);
        }
        let found = recall(
            &mut self.pings,
            |ping| ping.id == question.ping && ping.source == source,
            || Ping::new(question, source),
        );
        let ping = found.ok_or(Declined::TooMany)?;
        if ping.hear(question.number) { Ok(ping.heard) } else { Err(Declined::Duplicate) }
    }

    fn may_ask(&mut self, source: IpAddr, now: Instant) -> bool {
        let found = recall(&mut self.sources, |(known, _)| *known == source, || (source, Bucket::full(OF_ONE, now)));
        found.is_some_and(|(_, bucket)| bucket.take(now))
    }
}

/// Finds one, or makes it, and moves it to the end of those that were heard last. The first one is forgotten if there are too many.
fn recall<T>(list: &mut Vec<T>, is_it: impl FnMut(&T) -> bool, new: impl FnOnce() -> T) -> Option<&mut T> {
    let place = list.iter().position(is_it);
    if place.is_none() && list.len() >= MOST {
        list.remove(0);
    }
    let item = place.map_or_else(new, |place| list.remove(place));
    list.push(item);
    list.last_mut()
}

impl Ping {
    /// Nothing was heard of it yet.
    fn new(question: Question, source: IpAddr) -> Self {
        Self { id: question.ping, source, heard: 0, highest: question.number, seen: 0 }
    }

    /// Whether the number is heard for the first time. One far below the highest is taken for a duplicate.
    fn hear(&mut self, number: u64) -> bool {
        let (ahead, behind) = (number.saturating_sub(self.highest), self.highest.saturating_sub(number));
        if ahead > 0 {
            let shift = u32::try_from(ahead).unwrap_or(u32::MAX);
            self.seen = self.seen.checked_shl(shift).unwrap_or(0);
            self.highest = number;
        }
        let bit = u32::try_from(behind).ok().and_then(|behind| 1_u64.checked_shl(behind)).unwrap_or(0);
        let is_new = bit != 0 && self.seen & bit == 0;
        self.seen |= bit;
        self.heard = self.heard.saturating_add(is_new.into());
        is_new
    }
}

/// Fills at a rate, and holds as much as comes in a second.
struct Bucket {
    rate: u32,
    left: Duration,
    at: Instant,
}

impl Bucket {
    /// It is kept as time: a question costs its part of a second.
    fn full(rate: u32, now: Instant) -> Self {
        Self { rate, left: Duration::from_secs(1), at: now }
    }

    fn take(&mut self, now: Instant) -> bool {
        let cost = Duration::from_secs(1).checked_div(self.rate).unwrap_or(Duration::MAX);
        let filled = self.left.saturating_add(now.saturating_duration_since(self.at)).min(Duration::from_secs(1));
        self.at = now;
        let rest = filled.checked_sub(cost);
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
    fn each_question_is_answered_once_and_counted() {
        let now = Instant::now();
        let mut manners = Manners::new(now);
        let mut ask = |ping, number| manners.consider(Question { ping, number }, source(1), now);
        assert_eq!(
            [5, 6, 6, 8, 7, 5].map(|number| ask(1, number)),
            [Ok(1), Ok(2), Err(Declined::Duplicate), Ok(3), Ok(4), Err(Declined::Duplicate)]
        );
        assert_eq!(ask(2, 6), Ok(1));
        assert_eq!(ask(1, u64::MAX), Ok(5));
        assert_eq!(ask(1, u64::MAX), Err(Declined::Duplicate));
        assert_eq!(ask(1, 9), Err(Declined::Duplicate));
        assert_eq!(ask(1, u64::MAX - 63), Ok(6));
    }

    #[test]
    fn a_source_that_asks_too_often_is_limited_and_the_others_are_not() {
        let start = Instant::now();
        let mut manners = Manners::new(start);
        let flood = (0..10_000).filter(|number| {
            let now = start + Duration::from_micros(100) * *number as u32;
            manners.consider(Question { ping: 1, number: *number }, source(1), now).is_ok()
        });
        // What the bucket held, and a second's worth.
        assert!((99..=101).contains(&flood.count()));
        let now = start + Duration::from_secs(1);
        assert_eq!(manners.consider(Question { ping: 2, number: 0 }, source(2), now), Ok(1));
    }

    #[test]
    fn forged_sources_get_no_more_than_the_limit_of_all_and_take_bounded_memory() {
        let start = Instant::now();
        let mut manners = Manners::new(start);
        let flood = (0..100_000).filter(|number| {
            let now = start + Duration::from_micros(10) * *number;
            manners.consider(Question { ping: u64::from(*number), number: 0 }, source(*number), now).is_ok()
        });
        assert!(flood.count() <= 2 * OF_ALL as usize + 1);
        assert!(manners.sources.len() <= MOST && manners.pings.len() <= MOST);
        // After it, everybody gets answers again.
        let later = start + Duration::from_millis(1_100);
        assert_eq!(manners.consider(Question { ping: u64::MAX, number: 7 }, source(7_000_000), later), Ok(1));
    }

    #[test]
    fn a_stranger_with_the_number_of_a_ping_does_not_silence_it() {
        let now = Instant::now();
        let (mut manners, [asks, stranger]) = (Manners::new(now), [[10, 0, 0, 1], [10, 0, 0, 2]].map(IpAddr::from));
        assert_eq!(manners.consider(Question { ping: 7, number: 0 }, asks, now), Ok(1));
        assert_eq!(manners.consider(Question { ping: 7, number: u64::MAX }, stranger, now), Ok(1));
        assert_eq!(manners.consider(Question { ping: 7, number: 1 }, asks, now), Ok(2));
    }
}
