//! What a command that lasts shows on a terminal, once a second: how much it did, and how fast.

use std::io::{IsTerminal, Write, stderr};
use std::time::{Duration, Instant};

const INTERVAL: Duration = Duration::from_secs(1);
const CLEAR: &str = "\r\x1b[K";

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
    pub(crate) fn new(verb: &'static str, quiet: bool) -> Self {
        let is_shown = !quiet && stderr().is_terminal();
        Self { shown: is_shown.then(|| Shown { verb, at: Instant::now(), packets: 0, bytes: 0 }) }
    }

    /// When it is to be shown again; never without a terminal.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.shown.as_ref()?.at.checked_add(INTERVAL)
    }

    /// Shows the sums of packets and bytes since the start, if it is time.
    #[inline(never)]
    pub(crate) fn show(&mut self, packets: u64, bytes: u64) {
        let Some(shown) = &mut self.shown else { return };
        let time = shown.at.elapsed();
        if time < INTERVAL {
            return;
        }
        let seconds = time.as_secs_f64();
        let rate = packets.saturating_sub(shown.packets) as f64 / seconds;
        let bits = bytes.saturating_sub(shown.bytes) as f64 * 8.0 / seconds;
        // Errors of this are ignored, as those of all messages.
        let _ = write!(stderr(), "{CLEAR}{} {packets} packets, {rate:.0}/s, {:.3} Mbit/s ", shown.verb, bits / 1e6);
        *shown = Shown { verb: shown.verb, at: Instant::now(), packets, bytes };
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.shown.is_some() {
            let _ = write!(stderr(), "{CLEAR}");
        }
    }
}
