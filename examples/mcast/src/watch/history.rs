//! What a plot shows: rate, losses and jitter of each source over the time. It keeps a fixed number of points, so that a year needs no more
//! memory than an hour: when there are too many, two become one.

use std::time::Duration;

use super::feed::Feed;
use super::stream::Stream;
use super::text::{feed_name, origin_name};

/// How many points a line has at most.
const MAX_POINTS: usize = 1_024;
/// How many sources have a line.
const MAX_LINES: usize = 12;

/// What happened within the time of one point.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Point {
    /// The time that the point is about; 0 if nothing is known of it.
    pub(super) milliseconds: u64,
    pub(super) bits: u64,
    /// Packets of RTP, and continuity errors that losses of RTP do not explain.
    pub(super) lost: u64,
    /// The highest, in nanoseconds; `None` if there was none.
    pub(super) jitter: Option<u64>,
}

impl Point {
    fn and(self, other: Self) -> Self {
        Self {
            milliseconds: self.milliseconds.saturating_add(other.milliseconds),
            bits: self.bits.saturating_add(other.bits),
            lost: self.lost.saturating_add(other.lost),
            jitter: self.jitter.max(other.jitter),
        }
    }
}

/// The line of a source.
pub(super) struct Line {
    pub(super) name: String,
    /// One for each width of a point, from the start on.
    pub(super) points: Vec<Point>,
    /// Its counters when they were last looked at.
    bytes: u64,
    lost: u64,
}

pub(super) struct History {
    pub(super) lines: Vec<Line>,
    /// The time of a point, in seconds.
    pub(super) width: u64,
    /// Whether there are sources without a line.
    pub(super) is_full: bool,
    /// When the counters were last looked at.
    last: Duration,
}

impl History {
    pub(super) fn new() -> Self {
        Self { lines: Vec::new(), width: 1, is_full: false, last: Duration::ZERO }
    }

    /// To be called once a second, and at the end.
    pub(super) fn add(&mut self, feeds: &[Feed], now: Duration, clock_rate: Option<u32>) {
        let last = std::mem::replace(&mut self.last, now);
        // What is counted now happened since the last time.
        let seconds = (last.saturating_add(now) / 2).as_secs();
        let milliseconds = u64::try_from(now.saturating_sub(last).as_millis()).unwrap_or(u64::MAX);
        let place = loop {
            match usize::try_from(seconds / self.width) {
                Ok(place) if place < MAX_POINTS => break place,
                _ => self.halve(),
            }
        };
        for feed in feeds {
            for stream in &feed.streams {
                let jitter = stream.rtp.jitter(clock_rate).or_else(|| stream.transport.pcr_jitter());
                let jitter = jitter.filter(|_| !stream.is_gone).map(|(now, _)| now);
                self.add_stream(feed, stream, place, Point { milliseconds, jitter, ..Point::default() });
            }
        }
    }

    fn add_stream(&mut self, feed: &Feed, stream: &Stream, place: usize, point: Point) {
        let name = format!("{} from {}", feed_name(feed), origin_name(feed, stream.origin));
        let known = self.lines.iter().position(|line| line.name == name);
        let number = known.unwrap_or_else(|| {
            if self.lines.len() < MAX_LINES {
                self.lines.push(Line { name, points: Vec::new(), bytes: 0, lost: 0 });
            } else {
                self.is_full = true;
            }
            self.lines.len().saturating_sub(1)
        });
        if known.is_none() && self.is_full {
            return;
        }
        let Some(line) = self.lines.get_mut(number) else { return };
        let cells = &stream.transport.counts;
        let errors =
            if stream.transport.is_known() { cells.continuity_errors.saturating_sub(cells.explained_errors) } else { 0 };
        let lost = stream.rtp.counts.lost.saturating_add(errors);
        let point = Point { bits: step(line.bytes, stream.bytes).saturating_mul(8), lost: step(line.lost, lost), ..point };
        (line.bytes, line.lost) = (stream.bytes, lost);
        if line.points.len() <= place {
            line.points.resize(place.saturating_add(1), Point::default());
        }
        if let Some(last) = line.points.get_mut(place) {
            *last = last.and(point);
        }
    }

    /// Two points become one.
    fn halve(&mut self) {
        self.width = self.width.saturating_mul(2);
        for line in &mut self.lines {
            line.points =
                line.points.chunks(2).map(|two| two.iter().fold(Point::default(), |sum, point| sum.and(*point))).collect();
        }
    }
}

/// How much a counter grew. A source that made room for others and came again counts from 0 on.
fn step(before: u64, now: u64) -> u64 {
    now.checked_sub(before).unwrap_or(now)
}

#[cfg(test)]
mod tests {
    use super::super::feed::Rules;
    use super::super::stream::{Arrival, Origin};
    use super::*;

    const RULES: Rules = Rules { gone: Duration::from_secs(600), silence: None, loss: None, clock_rate: None };

    /// A packet of RTP from this port, at the end of this second.
    fn read(feed: &mut Feed, port: u16, number: u16, second: u64) {
        let [high, low] = number.to_be_bytes();
        let packet = [&[0x80, 0, high, low, 0, 0, 0, 0, 0, 0, 0, 1][..], &[0; 113]].concat();
        let origin = Origin { source: ([192, 0, 2, 1], port).into(), interface: None };
        let arrival = Arrival { now: Duration::from_secs(second), kernel: second * 1_000_000_000 };
        feed.read(origin, &packet, arrival, &RULES, &mut Vec::new());
    }

    #[test]
    fn each_second_is_a_point() {
        let (mut history, mut feeds) = (History::new(), [Feed::new("239.1.2.3:5000".to_owned(), "lo".to_owned())]);
        for second in 1..=10_u16 {
            read(&mut feeds[0], 1, second + second / 6, second.into());
            feeds[0].judge(Duration::from_secs(second.into()), &RULES, &mut Vec::new());
            history.add(&feeds, Duration::from_secs(second.into()), None);
        }
        let line = &history.lines[0];
        assert_eq!(line.name, "239.1.2.3:5000 on lo from 192.0.2.1:1");
        assert_eq!(line.points.iter().map(|point| point.bits).collect::<Vec<_>>(), [1_000; 10]);
        // It was missing from the sixth second on, and lost in the seventh.
        assert_eq!(line.points.iter().map(|point| point.lost).collect::<Vec<_>>(), [0, 0, 0, 0, 0, 0, 1, 0, 0, 0]);
        assert!(line.points[9].jitter > Some(0) && line.points[0].jitter.is_none());
    }

    #[test]
    fn a_year_needs_no_more_memory_than_an_hour_and_loses_nothing() {
        let (mut history, mut feeds) = (History::new(), [Feed::new("239.1.2.3:5000".to_owned(), "lo".to_owned())]);
        for second in 1..=10_000 {
            if second % 10 == 0 {
                read(&mut feeds[0], 1, 0, second);
            }
            history.add(&feeds, Duration::from_secs(second), None);
        }
        let line = &history.lines[0];
        assert_eq!((history.width, line.points.len()), (16, 625));
        assert_eq!(line.points.iter().map(|point| point.bits).sum::<u64>(), 1_000_000);
        history.add(&feeds, Duration::from_secs(365 * 86_400), None);
        assert!(history.lines[0].points.len() <= MAX_POINTS);
    }

    #[test]
    fn only_the_first_sources_have_a_line() {
        let (mut history, mut feeds) = (History::new(), [Feed::new("239.1.2.3:5000".to_owned(), "lo".to_owned())]);
        for port in 1..=20 {
            read(&mut feeds[0], port, 0, 1);
        }
        history.add(&feeds, Duration::from_secs(1), None);
        assert_eq!((history.lines.len(), history.is_full), (MAX_LINES, true));
        read(&mut feeds[0], 12, 1, 2);
        history.add(&feeds, Duration::from_secs(2), None);
        assert_eq!(history.lines[11].points.iter().map(|point| point.bits).collect::<Vec<_>>(), [1_000, 1_000]);
    }
}
