//! The output: lines for programs, a Markdown table for readers.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use crate::Outcome;
use crate::goals::{self, ALLOCATIONS, Aim, NANOSECONDS, goal};
use crate::machine::Machine;
use crate::measure::{Series, Spread};
use crate::plan::Mode;
use crate::workshop::here;

/// The folder for table and plots, in the crate's folder; created if needed. Figures of a test mean nothing, and replace no
/// others.
pub(crate) fn folder(mode: Mode) -> Outcome<PathBuf> {
    let name = if mode == Mode::Test { "target/bench/test" } else { "target/bench" };
    let folder = here().parent().ok_or("no folder above this crate")?.join(name);
    fs::create_dir_all(&folder)?;
    Ok(folder)
}

/// Prints the figures of a case.
pub(crate) fn print(series: &Series) {
    let case = &series.case;
    for column in &series.columns {
        let Spread { median, min, max, .. } = column.nanoseconds();
        let unit = series.unit.replace(' ', "-");
        println!("FIGURE {case} {} {median:.1} {min:.1} {max:.1} {unit}", column.peer);
    }
    for (peer, ratio) in ratios(series) {
        let goal = goal(case, peer).map_or_else(|| "goal<=-".to_owned(), |goal| goal.to_string());
        let Spread { median, low, high, min, max } = ratio;
        println!("RATIO {case} {peer} {median:.3} {min:.3} {max:.3} {goal} interval={low:.3}-{high:.3}");
    }
}

/// Prints the goals that were not measured, and how many of the others are met.
pub(crate) fn print_goals(all: &[Series]) {
    for (case, peer, goal) in goals::all() {
        if measured(all, case, peer).is_none() {
            println!("OPEN {case} {peer} {goal} (not measured)");
        }
    }
    let verdicts: Vec<bool> = verdicts(all).iter().map(|verdict| verdict.is_met).collect();
    let met = verdicts.iter().filter(|is_met| **is_met).count();
    println!("{met} goals met, {} missed", verdicts.len() - met);
}

/// Writes `results.md`.
pub(crate) fn write(folder: &Path, machine: &Machine, all: &[Series]) -> Outcome<()> {
    let mut text = String::from("# `multicast` against its peers\n\n");
    for (what, value) in machine.lines() {
        writeln!(text, "- {what}: {value}")?;
    }
    text.push_str("\n## Goals\n\n| case | peer | ours / peer | 95 % interval | min - max | goal | met |\n|---|---|---|---|---|---|---|\n");
    for Verdict { case, peer, goal, ratio: Spread { median, low, high, min, max }, is_met } in verdicts(all) {
        let met = if is_met { "yes" } else { "no" };
        writeln!(text, "| {case} | {peer} | {median:.3} | {low:.3} - {high:.3} | {min:.3} - {max:.3} | {goal} | {met} |")?;
    }
    for series in all {
        write_series(&mut text, series)?;
    }
    fs::write(folder.join("results.md"), text)?;
    Ok(())
}

fn write_series(text: &mut String, series: &Series) -> Outcome<()> {
    let Series { case, unit, subject, .. } = series;
    writeln!(text, "\n## {case}\n")?;
    writeln!(text, "| peer | {unit} | min - max | {subject} / peer | min - max | allocations a packet | arrived | CPU |")?;
    text.push_str("|---|---|---|---|---|---|---|---|\n");
    for column in &series.columns {
        let Spread { median, min, max, .. } = column.nanoseconds();
        write!(text, "| {} | {median:.0} | {min:.0} - {max:.0} |", column.peer)?;
        match series.ratio(column) {
            Some(Spread { median, min, max, .. }) => write!(text, " {median:.3} | {min:.3} - {max:.3} |")?,
            None => text.push_str(" | |"),
        }
        // Python and C do not count allocations.
        let counts = column.peer != "python" && !column.peer.starts_with("c-");
        let allocations = if counts { format!("{:.3}", column.allocations().median) } else { String::new() };
        let share = column.cpu_share().map_or_else(String::new, |share| format!("{:.1} %", share.median * 100.0));
        writeln!(text, " {allocations} | {:.1} % | {share} |", column.arrived().median * 100.0)?;
    }
    Ok(())
}

/// A goal and its result.
struct Verdict {
    case: &'static str,
    peer: &'static str,
    goal: Aim,
    ratio: Spread,
    is_met: bool,
}

fn verdicts(all: &[Series]) -> Vec<Verdict> {
    let verdict = |(case, peer, goal): (&'static str, &'static str, Aim)| {
        let ratio = measured(all, case, peer)?;
        Some(Verdict { case, peer, goal, ratio, is_met: goal.is_met(ratio) })
    };
    goals::all().filter_map(verdict).collect()
}

fn measured(all: &[Series], case: &str, peer: &str) -> Option<Spread> {
    let series = all.iter().find(|series| series.case == case)?;
    ratios(series).into_iter().find(|(a_peer, _)| *a_peer == peer).map(|(_, ratio)| ratio)
}

/// The ratios of the subject to each of its peers, and its allocations per packet.
fn ratios(series: &Series) -> Vec<(&'static str, Spread)> {
    let mut all: Vec<_> =
        series.columns.iter().filter_map(|column| series.ratio(column).map(|ratio| (column.peer, ratio))).collect();
    if let Some(subject) = series.column(series.subject) {
        all.push((ALLOCATIONS, subject.allocations()));
        if goal(&series.case, NANOSECONDS).is_some() {
            all.push((NANOSECONDS, subject.nanoseconds()));
        }
    }
    all
}
