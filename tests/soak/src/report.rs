//! The result as text.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use crate::flat::{HEAD, Look};
use crate::ledger::{GOAL, Line};

/// What was counted at one look.
#[derive(Debug)]
pub struct Row {
    pub seconds: u64,
    /// Packets received until now, by all kinds.
    pub packets: u64,
    pub look: Look,
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>7} {:>14} {}", self.seconds, self.packets, self.look)
    }
}

#[derive(Debug)]
pub struct Report {
    pub time: Duration,
    pub workers: u8,
    pub lines: BTreeMap<&'static str, Line>,
    pub rows: Vec<Row>,
    pub faults: Vec<String>,
}

fn first_line(path: &str, word: &str) -> String {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with(word)).unwrap_or_default();
    line.split_once(": ").map_or(line, |(_, value)| value).trim().to_owned()
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kernel = first_line("/proc/sys/kernel/osrelease", "");
        let processor = first_line("/proc/cpuinfo", "model name");
        writeln!(f, "{} s on Linux {kernel}, {} threads on {processor}", self.time.as_secs(), self.workers)?;
        writeln!(
            f,
            "\n{:<30} {:>12} {:>12} {:>11} {:>8} {:>11} {:>8}",
            "kind", "sent", "received", "rejected", "refused", "dropped", "lost"
        )?;
        for (kind, line) in &self.lines {
            let Line { sent, received, rejected, refused, dropped, lost } = line;
            writeln!(f, "{kind:<30} {sent:>12} {received:>12} {rejected:>11} {refused:>8} {dropped:>11} {lost:>8}")?;
        }
        let reached = self.lines.values().filter(|line| line.sent >= GOAL).count();
        writeln!(f, "{reached} kinds have seen {GOAL} packets")?;
        writeln!(f, "\n{:>7} {:>14} {HEAD}", "seconds", "received")?;
        for row in &self.rows {
            writeln!(f, "{row}")?;
        }
        match self.faults.as_slice() {
            [] => writeln!(f, "\nEvery packet is accounted for; descriptors and memory are flat."),
            faults => faults.iter().try_for_each(|fault| writeln!(f, "\nFAULT {fault}")),
        }
    }
}
