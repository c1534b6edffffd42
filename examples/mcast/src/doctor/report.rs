//! What the doctor prints: a check with its evidence and advice, and the verdict.

use std::fmt::{Display, Write};

use super::case::{Case, Direction};
use super::evidence::{Snapshot, Span};
use crate::host::counters::file_of;
use crate::host::links::Traffic;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
    Ok,
    Warn,
    Fail,
    /// It could not be looked at, or what was seen does not tell.
    Unknown,
}

impl Status {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "FAIL",
            Self::Unknown => "unknown",
        }
    }
}

/// What a check has seen: where, and what it was before and after the wait.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "json", derive(serde::Serialize))]
pub(super) struct Evidence {
    pub(super) file: String,
    pub(super) before: String,
    pub(super) after: String,
}

/// One check.
#[derive(Clone, Debug)]
pub(super) struct Check {
    pub(super) name: &'static str,
    pub(super) status: Status,
    pub(super) evidence: Vec<Evidence>,
    /// One sentence.
    pub(super) advice: String,
}

impl Check {
    pub(super) const fn new(name: &'static str) -> Self {
        Self { name, status: Status::Unknown, evidence: Vec::new(), advice: String::new() }
    }

    /// The result, and one sentence of advice. In it and in the names of evidence, `{if}`, `{group}` and `{port}` stand for those of the
    /// case: see [`fill`](Self::fill).
    pub(super) fn is(&mut self, status: Status, advice: &str) {
        self.status = status;
        advice.clone_into(&mut self.advice);
    }

    /// As [`is`](Self::is); `{}` stands for `what`.
    #[inline(never)]
    pub(super) fn is_of(&mut self, status: Status, advice: &str, what: &dyn Display) {
        self.status = status;
        self.advice = replaced(advice, "{}", &what.to_string());
    }

    /// Something that is the same before and after.
    #[inline(never)]
    pub(super) fn sees(&mut self, file: &str, value: &dyn Display) {
        let value = value.to_string();
        self.evidence.push(Evidence { file: file.to_owned(), before: value.clone(), after: value });
    }

    #[inline(never)]
    pub(super) fn saw(&mut self, file: &str, before: &dyn Display, after: &dyn Display) {
        self.evidence.push(Evidence { file: file.to_owned(), before: before.to_string(), after: after.to_string() });
    }

    /// As [`saw`](Self::saw), for numbers that may be unknown.
    #[inline(never)]
    pub(super) fn saw_number(&mut self, file: &str, before: Option<u64>, after: Option<u64>) {
        self.saw(file, &shown(before), &shown(after));
    }

    /// A setting in `/proc/sys`, and its value.
    #[inline(never)]
    pub(super) fn sees_setting(&mut self, name: &str, value: Option<&str>) {
        self.sees(&("/proc/sys/".to_owned() + name), &value.unwrap_or("unknown"));
    }

    /// A counter of the whole namespace.
    #[inline(never)]
    pub(super) fn counts(&mut self, span: Span<'_>, counter: &str) {
        let (before, after) = (span.before.counters.of(counter), span.after.counters.of(counter));
        self.saw_number(&[file_of(counter), " ", counter].concat(), before, after);
    }

    /// A counter of the interface.
    #[inline(never)]
    pub(super) fn counts_here(&mut self, span: Span<'_>, counter: &str) {
        let (before, after) = (span.before.counters.of_interface(counter), span.after.counters.of_interface(counter));
        self.saw_number(&["/proc/net/dev_snmp6/{if} ", counter].concat(), before, after);
    }

    /// A counter of IPv4 of the whole namespace, or of IPv6 of the interface.
    #[inline(never)]
    pub(super) fn counts_of(&mut self, case: &Case, ipv4: &str, ipv6: &str) {
        let span = match case.order.direction {
            Direction::From => case.listening(),
            Direction::To => case.whole(),
        };
        match case.is_ipv6() {
            true => self.counts_here(span, ipv6),
            false => self.counts(span, ipv4),
        }
    }

    /// A figure of the interface's traffic.
    #[inline(never)]
    pub(super) fn carries(&mut self, case: &Case, figure: &str, of: fn(&Traffic) -> u64) {
        let value = |snapshot: &Snapshot| snapshot.traffic(case.place.index).as_ref().map(of);
        self.saw_number(&["RTM_GETLINK {if} ", figure].concat(), value(&case.start), value(&case.end));
    }

    /// Writes the case's own words in the places that wait for them.
    #[inline(never)]
    pub(super) fn fill(&mut self, case: &Case) {
        let words = [
            ("{if}", case.place.name.clone()),
            ("{group}", case.address().to_string()),
            ("{port}", case.order.group.port().to_string()),
        ];
        for (place, word) in &words {
            for text in self.evidence.iter_mut().map(|seen| &mut seen.file).chain([&mut self.advice]) {
                *text = replaced(text, place, word);
            }
        }
    }

    /// The lines for a reader.
    pub(super) fn write(&self, text: &mut String) {
        // Writing into a string does not fail.
        let _ = writeln!(text, "{:<8}{}: {}", self.status.name(), self.name, self.advice);
        for Evidence { file, before, after } in &self.evidence {
            let _ = match before == after {
                true => writeln!(text, "        {file}: {after}"),
                false => writeln!(text, "        {file}: {before} -> {after}"),
            };
        }
    }
}

/// The text with each of these places replaced.
fn replaced(text: &str, place: &str, word: &str) -> String {
    let mut parts = text.split(place);
    let mut filled = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        filled.push_str(word);
        filled.push_str(part);
    }
    filled
}

pub(super) fn shown(value: Option<u64>) -> String {
    value.map_or_else(|| "unknown".to_owned(), |value| value.to_string())
}

/// The texts, with commas between them.
pub(super) fn listed(texts: &[String]) -> String {
    texts.join(", ")
}

/// What all of it means.
#[derive(Clone, Debug)]
pub(super) struct Verdict {
    pub(super) status: Status,
    /// The check that names the stage, or `sound`, `silence`, `unknown`.
    pub(super) stage: &'static str,
    /// One sentence.
    pub(super) reason: String,
}

impl Verdict {
    pub(super) fn write(&self, text: &mut String) {
        // Writing into a string does not fail.
        let _ = writeln!(text, "verdict: {}: {}", self.stage, self.reason);
    }
}

#[cfg(feature = "json")]
mod json {
    use serde::Serialize;

    use super::{Check, Evidence, Verdict};
    use crate::doctor::case::Case;
    use crate::json::VERSION;

    #[derive(Serialize)]
    pub(in crate::doctor) struct CheckObject<'c> {
        version: u8,
        kind: &'static str,
        check: &'static str,
        status: &'static str,
        evidence: &'c [Evidence],
        advice: &'c str,
    }

    impl<'c> CheckObject<'c> {
        pub(in crate::doctor) fn new(check: &'c Check) -> Self {
            let Check { name, status, evidence, advice } = check;
            Self { version: VERSION, kind: "check", check: name, status: status.name(), evidence, advice }
        }
    }

    #[derive(Serialize)]
    pub(in crate::doctor) struct VerdictObject<'v> {
        version: u8,
        kind: &'static str,
        verdict: String,
        stage: &'static str,
        status: &'static str,
        group: String,
        interface: &'v str,
        received_packets: u64,
    }

    impl<'v> VerdictObject<'v> {
        pub(in crate::doctor) fn new(verdict: &Verdict, case: &'v Case) -> Self {
            Self {
                version: VERSION,
                kind: "total",
                verdict: format!("{}: {}", verdict.stage, verdict.reason),
                stage: verdict.stage,
                status: verdict.status.name(),
                group: case.order.group.to_string(),
                interface: &case.place.name,
                received_packets: case.heard.packets,
            }
        }
    }
}

#[cfg(feature = "json")]
pub(super) use json::{CheckObject, VerdictObject};
