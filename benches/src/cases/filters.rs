//! Only filters: the cost of rejecting a packet in user space, and of compiling and attaching a program.

use super::{Bench, SMALL, rust};
use crate::Outcome;
use crate::measure::{Series, interleave};
use crate::workshop::Program;

const SIZES: [usize; 2] = [SMALL, 1400];

pub(super) fn run(bench: &Bench) -> Outcome<Vec<Series>> {
    let mut all = Vec::new();
    for size in SIZES {
        for (case, names) in [
            ("refuse-prefix", &["prefix", "regex-lite"][..]),
            ("refuse-regex", &["regex", "regex-lite"]),
            ("refuse-regex-anywhere", &["regex-anywhere", "regex-lite-anywhere"]),
        ] {
            // Filters that search take microseconds.
            let count = if case == "refuse-regex-anywhere" { bench.plan.packets } else { 64 * bench.plan.packets };
            all.push(measure(bench, "refuse", format!("{case}/{size}"), names, size, count)?);
        }
    }
    all.push(measure(bench, "attach", "attach".to_owned(), &["ours"], 0, bench.plan.round_trips)?);
    Ok(all)
}

fn measure(
    bench: &Bench,
    task: &'static str,
    case: String,
    names: &'static [&'static str],
    size: usize,
    count: u64,
) -> Outcome<Series> {
    let peers: Vec<_> = names.iter().map(|name| rust(Program::Release, name)).collect();
    let columns = interleave(
        &bench.plan,
        &peers,
        |peer| bench.receiver(task, peer, size, 0),
        |_, (worker, _)| {
            let answer = worker.work(count)?;
            bench.sample(worker, &answer, count, size)
        },
    )?;
    Ok(Series { case, unit: if task == "attach" { "ns a program" } else { "ns a packet" }, subject: names[0], columns })
}
