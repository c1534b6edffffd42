//! What a command that lasts shows on a terminal, once a second: how much it did, and how fast. One line, drawn over itself.
//!
//! Nothing is shown in a pipe, with `--quiet`, while the program is in the background of the terminal, and while the terminal takes
//! nothing (Ctrl-S): the command goes on. A message clears the line first, see [`hide`].

use std::io::{IsTerminal, Write, stderr, stdout};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

const INTERVAL: Duration = Duration::from_secs(1);

/// How many columns of the terminal's line are in use. There is one standard error.
static COLUMNS: AtomicUsize = AtomicUsize::new(0);

/// Shown if standard error is a terminal. The line is cleared when this is dropped.
pub(crate) struct Progress {
    shown: Option<Shown>,
}

struct Shown {
    /// What is counted, for example `recorded`.
    verb: &'static str,
    at: Instant,
    packets: u64,
    bytes: u64,
}

impl Progress {
    /// For a command that prints nothing to standard output while it works.
    #[inline(never)]
    pub(crate) fn new(verb: &'static str, quiet: bool) -> Self {
        let is_shown = !quiet && stderr().is_terminal();
        Self { shown: is_shown.then(|| Shown { verb, at: Instant::now(), packets: 0, bytes: 0 }) }
    }

    /// For a command that prints lines to standard output: on a terminal, these show what it does.
    pub(crate) fn beside_output(verb: &'static str, quiet: bool) -> Self {
        Self::new(verb, quiet || stdout().is_terminal())
    }

    /// When it is to be shown again; never without a terminal.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.shown.as_ref()?.at.checked_add(INTERVAL)
    }

    /// Shows the sums of packets and of the bytes in them since the start, if it is time.
    #[inline(always)]
    pub(crate) fn show(&mut self, packets: u64, bytes: u64) {
        if let Some(shown) = &mut self.shown {
            shown.draw(packets, bytes);
        }
    }

    /// Ends it.
    pub(crate) fn clear(&mut self) {
        if self.shown.take().is_some() {
            hide();
        }
    }
}

impl Shown {
    #[inline(never)]
    fn draw(&mut self, packets: u64, bytes: u64) {
        let time = self.at.elapsed();
        if time < INTERVAL {
            return;
        }
        let a_second = |now: u64, before: u64| {
            let rate = u128::from(now.saturating_sub(before)).saturating_mul(1000) / time.as_millis().max(1);
            u64::try_from(rate).unwrap_or(u64::MAX)
        };
        let rates = (a_second(packets, self.packets), a_second(bytes, self.bytes));
        (self.at, self.packets, self.bytes) = (Instant::now(), packets, bytes);
        if !is_in_foreground() || !has_room(Duration::ZERO) {
            return;
        }
        let Self { verb, .. } = self;
        let line = format!("{verb} {packets} packets, {}/s, {}", rates.0, bytes_a_second(rates.1));
        let before = COLUMNS.swap(line.len(), Ordering::Relaxed);
        // Blanks over the rest of the last one. Errors of this are ignored, as those of all messages.
        let _ = write!(stderr(), "\r{line:before$}");
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.clear();
    }
}

/// So much fits into a pipe that has room: PIPE_BUF, see `pipe(7)`.
pub(crate) const PIECE: usize = 4096;

/// Whether standard error takes something within this time. Also true if writing fails: then it does not wait.
pub(crate) fn has_room(within: Duration) -> bool {
    let Ok(time) = Timespec::try_from(within) else { return false };
    let stream = stderr();
    poll(&mut [PollFd::new(&stream, PollFlags::OUT)], Some(&time)).is_ok_and(|ready| ready > 0)
}

/// Clears the line, so that something else can be written.
pub(crate) fn hide() {
    if let columns @ 1.. = COLUMNS.swap(0, Ordering::Relaxed)
        && has_room(Duration::ZERO)
    {
        let _ = write!(stderr(), "\r{:columns$}\r", "");
    }
}

/// A job in the background must not write over what is typed. True if it is not known.
pub(crate) fn is_in_foreground() -> bool {
    rustix::termios::tcgetpgrp(stderr()).map_or(true, |group| group == rustix::process::getpgrp())
}

/// Three digits or more, in a unit that fits.
fn bytes_a_second(rate: u64) -> String {
    match rate {
        0..10_000 => format!("{rate} B/s"),
        10_000..10_000_000 => format!("{} kB/s", rate / 1_000),
        _ => format!("{} MB/s", rate / 1_000_000),
    }
}

#[cfg(test)]
mod tests {
    use super::bytes_a_second;

    #[test]
    fn rates_have_a_unit_that_fits() {
        for (rate, text) in [
            (0, "0 B/s"),
            (9_999, "9999 B/s"),
            (10_000, "10 kB/s"),
            (9_999_999, "9999 kB/s"),
            (12_500_000, "12 MB/s"),
            (u64::MAX, "18446744073709 MB/s"),
        ] {
            assert_eq!(bytes_a_second(rate), text);
        }
    }
}
