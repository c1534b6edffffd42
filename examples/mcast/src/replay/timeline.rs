//! When each packet of a capture is due.
//!
//! Times are absolute, from the first packet on: a packet that leaves a little late does not delay those after it.

use std::time::{Duration, Instant};

/// Between two rounds of a capture whose packets all have the same time.
const PAUSE: Duration = Duration::from_secs(1);
/// After an outage, or while the program was stopped: what is later than this is not caught up, which would be a flood.
const CAUGHT_UP: Duration = Duration::from_secs(1);

pub(super) struct Timeline {
    /// 2 is twice as fast.
    speed: f64,
    /// When this round begins; at its first packet if it is not known before.
    start: Option<Instant>,
    /// The time of that packet in the capture.
    first: Option<i128>,
    /// From the beginning of the round to its last packet.
    last: Duration,
    packets: u32,
}

impl Timeline {
    pub(super) fn new(speed: f64) -> Self {
        Self { speed, start: None, first: None, last: Duration::ZERO, packets: 0 }
    }

    /// When the packet with this time in the capture is due; `None` is never: the time is beyond the clock's range. A packet without a
    /// time is due with the one before it.
    pub(super) fn due(&mut self, time: Option<i128>) -> Option<Instant> {
        if let Some(time) = time {
            let first = *self.first.get_or_insert(time);
            // Packets of several processors, or after the clock was set, may be older than the one before them.
            let nanoseconds = u64::try_from(time.saturating_sub(first).max(0)).unwrap_or(u64::MAX);
            self.last = self.scaled(Duration::from_nanos(nanoseconds));
        }
        self.packets = self.packets.saturating_add(1);
        let now = Instant::now();
        let start = *self.start.get_or_insert(now);
        let due = start.checked_add(self.last)?;
        let late = now.saturating_duration_since(due);
        if late <= CAUGHT_UP {
            return Some(due);
        }
        self.start = start.checked_add(late);
        Some(now)
    }

    fn scaled(&self, time: Duration) -> Duration {
        if self.speed == 1.0 {
            time
        } else {
            Duration::try_from_secs_f64(time.as_secs_f64() / self.speed).unwrap_or(Duration::MAX)
        }
    }

    /// The next round begins after the average gap of this one.
    pub(super) fn begin_again(&mut self) {
        let gaps = self.packets.saturating_sub(1);
        let gap = match self.last.checked_div(gaps) {
            Some(gap) if !gap.is_zero() => gap,
            _ => PAUSE,
        };
        let next = self.start.and_then(|start| start.checked_add(self.last)?.checked_add(gap));
        *self = Self { start: next, ..Self::new(self.speed) };
    }
}

/// How long before a packet is due the program wakes up, and then looks at the clock until it is: as long as the machine mostly is late to
/// wake it up. A sleep alone ends late by 10 us and more, also on an idle machine; and to look at the clock all the time takes a whole
/// processor.
pub(super) struct Early {
    /// Nine of ten sleeps end late by less than this.
    late: Duration,
}

impl Default for Early {
    fn default() -> Self {
        Self { late: Duration::from_micros(50) }
    }
}

impl Early {
    /// A machine that is later than this has no free processor. A program that takes more of one is woken up even later there.
    const MOST: Duration = Duration::from_micros(200);
    /// So that it is forgotten soon.
    const LATEST: Duration = Duration::from_millis(1);

    pub(super) fn time(&self) -> Duration {
        if self.late > Self::MOST { Duration::ZERO } else { self.late }
    }

    /// The program woke up `now`; it wanted to at another time. A sleep that something else ended tells nothing.
    pub(super) fn learn(&mut self, wanted: Option<Instant>, now: Instant) {
        let Some(late) = wanted.and_then(|wanted| now.checked_duration_since(wanted)) else { return };
        // Up by eight times as much as down: so it rests where one of nine is later.
        self.late = match late > self.late {
            true => self.late.saturating_add(self.late / 4).saturating_add(Duration::from_micros(1)).min(Self::LATEST),
            false => self.late.saturating_sub(self.late / 32),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_wakes_up_as_early_as_the_machine_mostly_is_late() {
        let (mut early, now) = (Early::default(), Instant::now());
        // Microseconds.
        let mut learn = |late: &[u64]| {
            for late in (0..100).flat_map(|_| late) {
                early.learn(now.checked_sub(Duration::from_micros(*late)), now);
            }
            early.time().as_micros()
        };
        // Single ones that are very late do not count, and those of a machine without a free processor end it.
        let usual = learn(&[30, 40, 50, 60, 70, 30, 40, 50, 60, 70, 30, 40, 50, 60, 70, 30, 40, 50, 60, 9_000]);
        assert!((50..130).contains(&usual), "{usual}");
        assert_eq!(learn(&[30, 2_000, 40, 3_000]), 0);
        assert!((1..20).contains(&learn(&[10, 10, 10])));
        // A sleep that ended before its time.
        let before = early.time();
        early.learn(now.checked_add(Duration::from_secs(1)), now);
        assert_eq!(early.time(), before);
    }

    const SECOND: i128 = 1_000_000_000;

    /// The times from the first packet on, in milliseconds.
    fn due(timeline: &mut Timeline, times: &[Option<i128>]) -> Vec<u128> {
        let dues: Vec<_> = times.iter().map(|time| timeline.due(*time).unwrap()).collect();
        dues.iter().map(|due| due.duration_since(dues[0]).as_millis()).collect()
    }

    #[test]
    fn gaps_are_those_of_the_capture() {
        let times = [Some(5 * SECOND), None, Some(7 * SECOND), Some(6 * SECOND), Some(4 * SECOND), Some(8 * SECOND)];
        assert_eq!(due(&mut Timeline::new(1.0), &times), [0, 0, 2000, 1000, 0, 3000]);
        assert_eq!(due(&mut Timeline::new(2.0), &times), [0, 0, 1000, 500, 0, 1500]);
        assert_eq!(due(&mut Timeline::new(0.5), &times), [0, 0, 4000, 2000, 0, 6000]);
    }

    #[test]
    fn the_next_round_comes_after_the_average_gap() {
        let mut timeline = Timeline::new(1.0);
        let first = timeline.due(Some(0)).unwrap();
        timeline.due(Some(2 * SECOND));
        timeline.due(Some(4 * SECOND));
        timeline.begin_again();
        assert_eq!(timeline.due(Some(0)).unwrap().duration_since(first).as_secs(), 6);
        assert_eq!(timeline.due(Some(SECOND)).unwrap().duration_since(first).as_secs(), 7);
    }

    #[test]
    fn rounds_of_one_packet_do_not_become_a_flood() {
        let mut timeline = Timeline::new(1000.0);
        let first = timeline.due(Some(SECOND)).unwrap();
        timeline.begin_again();
        assert_eq!(timeline.due(Some(SECOND)).unwrap().duration_since(first).as_secs(), 1);
    }

    #[test]
    fn times_that_no_clock_has_are_never_due() {
        let mut timeline = Timeline::new(1e-300);
        assert!(timeline.due(Some(0)).is_some());
        assert_eq!(timeline.due(Some(SECOND)), None);
        let mut timeline = Timeline::new(1.0);
        assert!(timeline.due(Some(i128::MIN)).is_some());
        assert!(timeline.due(Some(i128::MAX)).is_some_and(|due| due > Instant::now()));
    }
}
