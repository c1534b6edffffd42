//! What an event costs when many listeners are registered and one is busy: each event brings one packet.

use super::{Bench, SMALL, c, rust};
use crate::Outcome;
use crate::measure::{Series, interleave};
use crate::worker::Peer;
use crate::workshop::Program;

const REGISTERED: [usize; 4] = [1, 10, 100, 1000];

/// Like ours, with a single listener.
const OURS_WITH_ONE: Peer = Peer { name: "ours-with-1", program: Program::Release, way: "ours" };

pub(super) fn run(bench: &Bench) -> Outcome<Vec<Series>> {
    REGISTERED.into_iter().map(|number| one_busy_of(bench, number)).collect()
}

fn one_busy_of(bench: &Bench, number: usize) -> Outcome<Series> {
    let peers = [rust(Program::Release, "ours"), OURS_WITH_ONE, c("c-epoll", "epoll")];
    let packets = bench.packets(SMALL);
    let columns = interleave(
        &bench.plan,
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
