//! What an event costs when many listeners are registered and one is busy: each event brings one packet. And the memory that they take.

use std::time::Duration;

use super::{Bench, SMALL, c, rust};
use crate::Outcome;
use crate::measure::{Column, Series, interleave};
use crate::plan::Plan;
use crate::worker::Peer;
use crate::workshop::Program;

const REGISTERED: [usize; 5] = [1, 10, 100, 1000, MOST];
const MOST: usize = 10_000;

/// How often memory is measured. It hardly varies.
const MEASURES: usize = 3;
const FREED: Duration = Duration::from_millis(500);

/// Like ours, with a single listener.
const OURS_WITH_ONE: Peer = Peer { name: "ours-with-1", program: Program::Release, way: "ours" };

pub(super) fn run(bench: &Bench) -> Outcome<Vec<Series>> {
    let busy = REGISTERED.into_iter().map(|number| one_busy_of(bench, number));
    busy.chain([memory(bench)]).collect()
}

fn one_busy_of(bench: &Bench, number: usize) -> Outcome<Series> {
    let peers = [rust(Program::Release, "ours"), OURS_WITH_ONE, c("c-epoll", "epoll")];
    let packets = bench.packets(SMALL);
    // To open the most takes longer than to measure them.
    let repetitions = if number == MOST { bench.plan.repetitions.div_ceil(2) } else { bench.plan.repetitions };
    let plan = Plan { repetitions, ..bench.plan };
    let columns = interleave(
        &plan,
        &peers,
        |peer| {
            let number = if *peer == OURS_WITH_ONE { 1 } else { number };
            bench.receiver("registered", peer, SMALL, number)
        },
        |_, (worker, group)| {
            bench.fill(*group, SMALL, packets, false)?;
            let answer = worker.work(packets)?;
            bench.sample(worker, &answer, packets, SMALL)
        },
    )?;
    Ok(Series { case: format!("registered-{number}/{SMALL}"), unit: "ns an event", subject: "ours", columns })
}

/// The memory that a listener takes beside many others: in the process, where 2,048 bytes are its buffer, and in the kernel.
fn memory(bench: &Bench) -> Outcome<Series> {
    let mut columns = Vec::new();
    for peer in [rust(Program::Release, "process"), rust(Program::Release, "kernel")] {
        let mut samples = Vec::new();
        for _ in 0..bench.plan.repetitions.min(MEASURES) {
            let (mut worker, _) = bench.receiver("memory", &peer, SMALL, MOST)?;
            // The kernel frees what the worker before had a little after its end.
            std::thread::sleep(FREED);
            let answer = worker.work(MOST as u64)?;
            samples.push(bench.sample(&worker, &answer, MOST as u64, SMALL)?);
        }
        columns.push(Column { peer: peer.name, samples });
    }
    // No peer's sockets would differ, so there is nothing to compare with.
    Ok(Series { case: format!("memory-{MOST}/{SMALL}"), unit: "bytes a listener", subject: "ours", columns })
}
