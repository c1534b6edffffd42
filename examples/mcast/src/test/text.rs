//! How the statistics are printed: a line a stream, or a table on a terminal.

use std::fmt::Write;
use std::time::Duration;

use super::latency::Summary;
use super::stream::Counts;
use crate::figures::{milliseconds, percent};

/// What is printed of one stream.
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
        let Counts { lost, reordered, doubled, .. } = self.counts;
        let rate = self.rate.unwrap_or(0);
        // Writing into a string does not fail.
        let _ = write!(text, "{} rate {rate}/s, lost {lost}, reordered {reordered}, doubled {doubled}, ", self.name());
        self.write_times(text);
        text.push('\n');
    }

    /// As a line of the totals.
    pub(super) fn write_total(&self, text: &mut String) {
        let Counts { received, lost, reordered, doubled, too_late, skipped, total } = self.counts;
        let _ = write!(text, "total {} ", self.name());
        let _ = match total {
            Some(total) => write!(text, "sent {total}"),
            None => write!(text, "sent unknown (its end was not heard)"),
        };
        let percent = percent(lost, self.counts.expected());
        let _ = write!(text, ", received {received}, lost {lost} ({percent} %)");
        let _ = write!(text, ", reordered {reordered}, doubled {doubled}, ");
        for (count, what) in
            [(too_late, "too late to tell"), (skipped, "sent before the first that was heard"), (self.restarts, "restarts")]
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
        let Counts { lost, reordered, doubled, .. } = self.counts;
        let rate = match self.silence {
            Some(silence) => format!("silent {} s", silence.as_secs()),
            None if self.counts.total.is_some() => "ended".to_owned(),
            None => self.rate.unwrap_or(0).to_string(),
        };
        let (jitter, latency) = (milliseconds(self.jitter), self.latency());
        let [lost, reordered, doubled] = [lost, reordered, doubled].map(|count| count.to_string());
        [
            format!("{}%{}", self.group, self.interface),
            self.source.to_owned(),
            rate,
            lost,
            reordered,
            doubled,
            jitter,
            latency,
        ]
    }
}

const CELLS: usize = 8;
const HEAD: [&str; CELLS] =
    ["group", "source", "packets/s", "lost", "reordered", "doubled", "jitter ms", "min/avg/p99/max ms"];

/// A table that replaces the one before on a terminal of this size.
pub(super) struct Table {
    pub(super) columns: usize,
    pub(super) rows: usize,
    /// How many lines the last one had.
    pub(super) shown: usize,
}

impl Table {
    pub(super) fn draw(&mut self, lines: &[Line<'_>], text: &mut String) {
        if self.shown > 0 {
            // Up, and clear to the end of the screen.
            let _ = write!(text, "\x1b[{}A\x1b[J", self.shown);
        }
        // The head, the last line, and the one with the cursor.
        let fitting = self.rows.saturating_sub(3).max(1);
        let rows: Vec<_> = lines.iter().take(fitting).map(Line::cells).collect();
        let mut widths = HEAD.map(str::len);
        for row in &rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = cell.len().max(*width);
            }
        }
        self.shown = 0;
        self.row(&HEAD.map(str::to_owned), &widths, text);
        for row in &rows {
            self.row(row, &widths, text);
        }
        if let more @ 1.. = lines.len().saturating_sub(fitting) {
            let _ = writeln!(text, "and {more} more");
            self.shown = self.shown.saturating_add(1);
        }
    }

    /// One line, cut where the terminal ends: what it would wrap cannot be replaced.
    fn row(&mut self, cells: &[String; CELLS], widths: &[usize; CELLS], text: &mut String) {
        let mut line = String::new();
        for (cell, width) in cells.iter().zip(widths) {
            let _ = write!(line, "{cell:<width$}  ");
        }
        text.extend(line.trim_end().chars().take(self.columns.saturating_sub(1)));
        text.push('\n');
        self.shown = self.shown.saturating_add(1);
    }
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
                "239.1.2.3:5000%lo 10.0.0.1:4000 rate 100/s, lost 3, reordered 0, doubled 0, {times}\n\
                 total 239.1.2.3:5000%lo 10.0.0.1:4000 sent 105, received 97, lost 3 (3.000 %), reordered 0, doubled 0, \
                 sent before the first that was heard 5, {times}\n"
            )
        );
    }

    #[test]
    fn a_table_replaces_the_one_before_and_fits() {
        let mut table = Table { columns: 40, rows: 6, shown: 0 };
        let lines: Vec<_> = (0..10).map(|_| line()).collect();
        for turn in 0..2 {
            let mut text = String::new();
            table.draw(&lines, &mut text);
            let up = text.strip_prefix("\x1b[5A\x1b[J");
            assert_eq!(up.is_some(), turn == 1, "{text:?}");
            let shown: Vec<_> = up.unwrap_or(&text).lines().collect();
            assert_eq!(shown.len(), 5);
            assert!(shown[0].starts_with("group ") && shown[4] == "and 7 more", "{shown:?}");
            assert!(shown.iter().all(|line| line.len() < 40), "{shown:?}");
        }
    }
}
