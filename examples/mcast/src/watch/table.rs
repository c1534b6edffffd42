//! A live table on a terminal.
//!
//! After each drawing the cursor stands on an empty line above the table. So whatever else is printed to the terminal, as an alarm or the
//! loss of a link, stays there, and the next table is drawn below it.

use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};

use rustix::termios::tcgetwinsize;

use super::feed::Feed;
use super::stream::Stream;
use super::text::{micros, origin_name, seconds};
use super::watcher::Clock;
use crate::decimal::fixed;

const HEAD: [&str; COLUMNS] = [
    "GROUP",
    "INTERFACE",
    "SOURCE",
    "STATE",
    "FORMAT",
    "PACKETS/S",
    "BIT/S",
    "LOST",
    "REORDERED",
    "JITTER",
    "CONTINUITY",
    "PCR JITTER",
];
const COLUMNS: usize = 12;
/// The size of a terminal that does not tell it.
const USUAL: (usize, usize) = (24, 80);

/// Whether a table can be shown: on standard error, so that standard output stays for the reports.
pub(super) fn is_possible() -> bool {
    io::stderr().is_terminal()
}

/// Draws the table. The last one stays.
#[inline(never)]
pub(super) fn draw(feeds: &[Feed], clock: &Clock, is_last: bool) {
    let (height, width) = match tcgetwinsize(io::stderr()) {
        Ok(size) if size.ws_row > 2 && size.ws_col > 0 => (size.ws_row.into(), size.ws_col.into()),
        _ => USUAL,
    };
    let rows = rows(feeds, clock);
    // One line is empty, and the cursor needs one at the end.
    let text = drawn(&rows, if is_last { usize::MAX } else { height.saturating_sub(2) }, width, is_last);
    // As for other messages: an error of the terminal is no reason to end.
    let _ = io::stderr().write_all(text.as_bytes());
}

/// The table as bytes for a terminal, of so many lines and columns at most.
fn drawn(rows: &[[String; COLUMNS]], height: usize, width: usize, is_last: bool) -> String {
    let mut lines: Vec<String> = aligned(rows);
    if lines.len() > height {
        let hidden = lines.len().saturating_sub(height).saturating_add(1);
        lines.truncate(height.saturating_sub(1));
        lines.push(format!(".. and {hidden} more lines"));
    }
    let mut text = "\r\x1b[J".to_owned();
    for line in &lines {
        text.push('\n');
        text.extend(line.chars().take(width));
    }
    // Writing into a string does not fail.
    let _ = if is_last { writeln!(text) } else { write!(text, "\r\x1b[{}A", lines.len()) };
    text
}

fn rows(feeds: &[Feed], clock: &Clock) -> Vec<[String; COLUMNS]> {
    let mut rows = vec![HEAD.map(str::to_owned)];
    for feed in feeds {
        rows.extend(feed.streams.iter().map(|stream| row(feed, stream, clock)));
        if feed.streams.is_empty() {
            let mut row = [const { String::new() }; COLUMNS];
            let [group, interface, _, state, ..] = &mut row;
            feed.group.clone_into(group);
            feed.interface.clone_into(interface);
            *state = format!("silent {} s", seconds(feed.silence(clock.now())));
            rows.push(row);
        }
    }
    rows
}

fn row(feed: &Feed, stream: &Stream, clock: &Clock) -> [String; COLUMNS] {
    let silence = clock.now().saturating_sub(stream.heard);
    let state = match (stream.is_gone, stream.alarmed) {
        (true, _) => format!("gone {} s", seconds(silence)),
        (false, Some(_)) => "losing".to_owned(),
        (false, None) => "heard".to_owned(),
    };
    let (is_rtp, is_transport) = (stream.rtp.is_known(), stream.transport.is_known());
    let number = |is_known: bool, number: u64| if is_known { number.to_string() } else { "-".to_owned() };
    let time = |jitter: Option<(u64, u64)>| jitter.map_or("-".to_owned(), |(now, _)| format!("{} us", micros(now)));
    let errors = stream.transport.counts.continuity_errors;
    [
        feed.group.clone(),
        feed.interface.clone(),
        origin_name(feed, stream.origin),
        state,
        stream.format().to_owned(),
        fixed(stream.rate.packets, 1),
        bits(stream.rate.bits),
        number(is_rtp, stream.rtp.counts.lost),
        number(is_rtp, stream.rtp.counts.reordered),
        time(stream.rtp.jitter(clock.clock_rate)),
        number(is_transport, errors),
        time(stream.transport.pcr_jitter().filter(|_| is_transport)),
    ]
}

/// Bits a second, with three or more digits.
fn bits(rate: f64) -> String {
    match rate {
        1e10.. => fixed(rate / 1e9, 1) + " G",
        1e7.. => fixed(rate / 1e6, 1) + " M",
        1e4.. => fixed(rate / 1e3, 1) + " k",
        _ => fixed(rate, 0),
    }
}

/// Each column as wide as its widest cell.
fn aligned(rows: &[[String; COLUMNS]]) -> Vec<String> {
    let mut widths = [0; COLUMNS];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.len().max(*width);
        }
    }
    let line = |row: &[String; COLUMNS]| {
        let cells: Vec<String> = row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        cells.join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn three_rows() -> Vec<[String; COLUMNS]> {
        ["GROUP", "239.1.2.3:5000", "239.1.2.4:5000"].map(|first| std::array::from_fn(|_| first.to_owned())).to_vec()
    }

    #[test]
    fn columns_are_aligned() {
        let lines = aligned(&three_rows());
        assert!(lines[0].starts_with("GROUP           GROUP           GROUP"), "{}", lines[0]);
        assert!(lines[1].starts_with("239.1.2.3:5000  239.1.2.3:5000  "), "{}", lines[1]);
    }

    #[test]
    fn the_cursor_returns_to_the_empty_line_above() {
        let text = drawn(&three_rows(), 20, 14, false);
        assert_eq!(text, "\r\x1b[J\nGROUP         \n239.1.2.3:5000\n239.1.2.4:5000\r\x1b[3A");
        let last = drawn(&three_rows(), 20, 14, true);
        assert!(last.ends_with("\n239.1.2.4:5000\n"));
    }

    #[test]
    fn what_does_not_fit_is_counted() {
        let text = drawn(&three_rows(), 2, 30, false);
        assert!(text.contains("GROUP") && text.ends_with("\n.. and 2 more lines\r\x1b[2A"), "{text}");
    }

    #[test]
    fn rates_are_short() {
        assert_eq!([0.0, 9_999.0, 10_528_000.0, 5e10].map(bits), ["0", "9999", "10.5 M", "50.0 G"]);
    }
}
