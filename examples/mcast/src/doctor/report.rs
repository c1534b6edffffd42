//! What the doctor prints: a check with its evidence and advice, and the verdict.

use std::fmt::{Display, Write};

use super::case::Case;
use super::evidence::Span;
use crate::host::counters::file_of;

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

    /// The result, and one sentence of advice.
    pub(super) fn is(mut self, status: Status, advice: impl Into<String>) -> Self {
        self.status = status;
        self.advice = advice.into();
        self
    }

    /// Something that is the same before and after.
    pub(super) fn sees(self, file: impl Into<String>, value: impl Display) -> Self {
        let value = value.to_string();
        self.saw(file, value.clone(), value)
    }

    pub(super) fn saw(mut self, file: impl Into<String>, before: impl Display, after: impl Display) -> Self {
        self.evidence.push(Evidence { file: file.into(), before: before.to_string(), after: after.to_string() });
        self
    }

    /// A counter of the whole namespace.
    pub(super) fn counts(self, span: Span<'_>, counter: &str) -> Self {
        let (before, after) = (span.before.counters.of(counter), span.after.counters.of(counter));
        self.saw(format!("{} {counter}", file_of(counter)), shown(before), shown(after))
    }

    /// A counter of the interface.
    pub(super) fn counts_here(self, span: Span<'_>, counter: &str) -> Self {
        let (before, after) = (span.before.counters.of_interface(counter), span.after.counters.of_interface(counter));
        self.saw(format!("{} {counter}", span.after.counters.interface_file()), shown(before), shown(after))
    }

    /// A counter of IPv4 of the whole namespace, or of IPv6 of the interface.
    pub(super) fn counts_of(self, case: &Case, ipv4: &str, ipv6: &str) -> Self {
        if case.is_ipv6() { self.counts_here(case.whole(), ipv6) } else { self.counts(case.whole(), ipv4) }
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

pub(super) fn shown(value: Option<impl Display>) -> String {
    value.map_or_else(|| "unknown".to_owned(), |value| value.to_string())
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
            Self { version: 1, kind: "check", check: name, status: status.name(), evidence, advice }
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
        heard_packets: u64,
    }

    impl<'v> VerdictObject<'v> {
        pub(in crate::doctor) fn new(verdict: &Verdict, case: &'v Case) -> Self {
            Self {
                version: 1,
                kind: "total",
                verdict: format!("{}: {}", verdict.stage, verdict.reason),
                stage: verdict.stage,
                status: verdict.status.name(),
                group: case.order.group.to_string(),
                interface: &case.place.name,
                heard_packets: case.heard.packets,
            }
        }
    }
}

#[cfg(feature = "json")]
pub(super) use json::{CheckObject, VerdictObject};
