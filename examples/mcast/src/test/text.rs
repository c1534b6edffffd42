//! How the statistics are printed: a line a stream, or a table on a terminal.

use std::fmt::Write;
use std::time::Duration;

use super::latency::Summary;
use super::stream::Counts;
use crate::figures::{milliseconds, percent};

/// What is printed of one stream.
#[derive(Clone, Copy)]
pub(super) struct Line<'l> {
    pub(super) group: &'l str,
    pub(super) interface: &'l str,
    pub(super) source: &'l str,
    /// Packets a second; `None` in a total.
    pub(super) rate: Option<u64>,
    pub(super) counts: Counts,
    /// In nanoseconds.
    pub(super) jitter: u64,
    pub(super) latency: Summary,
    pub(super) restarts: u64,
    /// It has ended, or was silent for this long.
    pub(super) silence: Option<Duration>,
}

impl Line<'_> {
    /// Which stream it is.
    pub(super) fn name(&self) -> String {
        format!("{}%{} {}", self.group, self.interface, self.source)
    }

    /// As a line of the report of each second.
    pub(super) fn write(&self, text: &mut String) {
        let Counts { lost, reordered, duplicates, .. } = self.counts;
        let rate = self.rate.unwrap_or(0);
        // Writing into a string does not fail.
        let _ = write!(text, "{} rate {rate}/s, lost {lost}, reordered {reordered}, duplicates {duplicates}, ", self.name());
        self.write_times(text);
        text.push('\n');
    }

    /// As a line of the totals.
    pub(super) fn write_total(&self, text: &mut String) {
        let Counts { received, lost, reordered, duplicates, late, skipped, total } = self.counts;
        let _ = write!(text, "total {} ", self.name());
        let _ = match total {
            Some(total) => write!(text, "sent {total}"),
            None => write!(text, "sent unknown (its end was not heard)"),
        };
        let percent = percent(lost, self.counts.expected());
        let _ = write!(text, ", received {received}, lost {lost} ({percent} %)");
        let _ = write!(text, ", reordered {reordered}, duplicates {duplicates}, ");
        for (count, what) in [(late, "late"), (skipped, "sent before the first that was heard"), (self.restarts, "restarts")]
        {
            if count > 0 {
                let _ = write!(text, "{what} {count}, ");
            }
        }
        self.write_times(text);
        text.push('\n');
    }

    fn write_times(&self, text: &mut String) {
        let _ = write!(text, "jitter {} ms, ", milliseconds(self.jitter));
        let _ = match self.latency {
            Summary::Nothing => write!(text, "latency unknown: nothing came"),
            Summary::ClocksDisagree => write!(text, "latency unknown: the clocks do not agree"),
            Summary::Known { .. } => write!(text, "latency min/avg/p99/max {} ms", self.latency()),
        };
    }

    fn latency(&self) -> String {
        match self.latency {
            Summary::Nothing => "-".to_owned(),
            Summary::ClocksDisagree => "clocks disagree".to_owned(),
            Summary::Known { min, avg, p99, max } => [min, avg, p99, max].map(milliseconds).join("/"),
        }
    }

    /// As a row of the table.
    fn cells(&self) -> [String; CELLS] {
        let Counts { lost, reordered, duplicates, .. } = self.counts;
        let rate = match self.silence {
            Some(silence) => format!("silent {} s", silence.as_secs()),
            None if self.counts.total.is_some() => "ended".to_owned(),
            None => self.rate.unwrap_or(0).to_string(),
        };
        let (jitter, latency) = (milliseconds(self.jitter), self.latency());
        let [lost, reordered, duplicates] = [lost, reordered, duplicates].map(|count| count.to_string());
        [
            format!("{}%{}", self.group, self.interface),
            self.source.to_owned(),
            rate,
            lost,
            reordered,
            duplicates,
            jitter,
            latency,
        ]
    }
}

const CELLS: usize = 8;
const HEAD: [&str; CELLS] =
    ["GROUP", "SOURCE", "PACKETS/S", "LOST", "REORDERED", "DUPLICATES", "JITTER MS", "LATENCY MIN/AVG/P99/MAX MS"];

/// The rows of the table, with its head.
pub(super) fn rows(lines: &[Line<'_>]) -> Vec<[String; CELLS]> {
    let head = HEAD.map(str::to_owned);
    [head].into_iter().chain(lines.iter().map(Line::cells)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line() -> Line<'static> {
        Line {
            group: "239.1.2.3:5000",
            interface: "lo",
            source: "10.0.0.1:4000",
            rate: Some(100),
            counts: Counts { received: 97, lost: 3, skipped: 5, total: Some(105), ..Counts::default() },
            jitter: 12_345,
            latency: Summary::Known { min: 999, avg: 1_500_000, p99: 2_000_000_000, max: 10_000_000_000 },
            restarts: 0,
            silence: None,
        }
    }

    #[test]
    fn lines_have_all_figures() {
        let mut text = String::new();
        line().write(&mut text);
        line().write_total(&mut text);
        let times = "jitter 0.012 ms, latency min/avg/p99/max 0.000/1.500/2000.000/10000.000 ms";
        assert_eq!(
            text,
            format!(
                "239.1.2.3:5000%lo 10.0.0.1:4000 rate 100/s, lost 3, reordered 0, duplicates 0, {times}\n\
                 total 239.1.2.3:5000%lo 10.0.0.1:4000 sent 105, received 97, lost 3 (3.000 %), reordered 0, duplicates 0, \
                 sent before the first that was heard 5, {times}\n"
            )
        );
    }
}
