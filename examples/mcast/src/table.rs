//! A live table on a terminal: on standard error, so that standard output stays for the reports.
//!
//! After each drawing the cursor stands on an empty line above the table. So whatever else is printed to the terminal, as an alarm or the
//! loss of a link, stays there, and the next table is drawn below it.

use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use multicast::{Events, Interest, Poller, Token};
use rustix::termios::tcgetwinsize;

use crate::progress::is_in_foreground;

/// The size of a terminal that does not tell it.
const USUAL: (usize, usize) = (24, 80);

/// A terminal for a table.
pub(crate) struct Table {
    /// Says whether the terminal takes the table at once.
    poller: Poller,
}

impl Table {
    /// On standard error, if it is a terminal.
    pub(crate) fn new() -> Option<Self> {
        if !io::stderr().is_terminal() {
            return None;
        }
        let poller = Poller::new().ok()?;
        poller.register(&io::stderr(), Token(0), Interest::WRITABLE).ok()?;
        Some(Self { poller })
    }

    /// Draws a table, unless the terminal takes nothing (Ctrl-S) or the program is in its background. The first row is its head. The
    /// last table stays.
    pub(crate) fn draw<const COLUMNS: usize>(&self, rows: &[[String; COLUMNS]], is_last: bool) {
        self.draw_cells(rows.as_flattened(), COLUMNS, is_last);
    }

    // One function for tables of all widths.
    #[inline(never)]
    fn draw_cells(&self, cells: &[String], columns: usize, is_last: bool) {
        let mut events = Events::<1>::new();
        let has_room = self.poller.poll(&mut events, Duration::ZERO).is_ok_and(|mut events| events.next().is_some());
        if !has_room || !is_in_foreground() {
            return;
        }
        let (height, width) = match tcgetwinsize(io::stderr()) {
            Ok(size) if size.ws_row > 2 && size.ws_col > 0 => (size.ws_row.into(), size.ws_col.into()),
            _ => USUAL,
        };
        // One line is empty, and the cursor needs one at the end.
        let text =
            drawn(&aligned(cells, columns), if is_last { usize::MAX } else { height.saturating_sub(2) }, width, is_last);
        // As for other messages: an error of the terminal is no reason to end.
        let _ = io::stderr().write_all(text.as_bytes());
    }
}

/// The table as bytes for a terminal, of so many lines and columns at most.
fn drawn(lines: &[String], height: usize, width: usize, is_last: bool) -> String {
    let mut lines = lines.to_vec();
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

/// The rows of so many cells each, with each column as wide as its widest cell.
fn aligned(cells: &[String], columns: usize) -> Vec<String> {
    let rows = || cells.chunks(columns.max(1));
    let mut widths = vec![0; columns];
    for row in rows() {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.len().max(*width);
        }
    }
    let line = |row: &[String]| {
        let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        cells.join("  ").trim_end().to_owned()
    };
    rows().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn three_rows() -> Vec<[String; 12]> {
        ["GROUP", "239.1.2.3:5000", "239.1.2.4:5000"].map(|first| std::array::from_fn(|_| first.to_owned())).to_vec()
    }

    #[test]
    fn columns_are_aligned() {
        let lines = aligned(three_rows().as_flattened(), 12);
        assert!(lines[0].starts_with("GROUP           GROUP           GROUP"), "{}", lines[0]);
        assert!(lines[1].starts_with("239.1.2.3:5000  239.1.2.3:5000  "), "{}", lines[1]);
    }

    #[test]
    fn the_cursor_returns_to_the_empty_line_above() {
        let text = drawn(&aligned(three_rows().as_flattened(), 12), 20, 14, false);
        assert_eq!(text, "\r\x1b[J\nGROUP         \n239.1.2.3:5000\n239.1.2.4:5000\r\x1b[3A");
        let last = drawn(&aligned(three_rows().as_flattened(), 12), 20, 14, true);
        assert!(last.ends_with("\n239.1.2.4:5000\n"));
    }

    #[test]
    fn what_does_not_fit_is_counted() {
        let text = drawn(&aligned(three_rows().as_flattened(), 12), 2, 30, false);
        assert!(text.contains("GROUP") && text.ends_with("\n.. and 2 more lines\r\x1b[2A"), "{text}");
    }
}
