//! Short bursts through the poller: many listeners have a few packets each, and each call to the poller names one of them.
//!
//! No peer sleeps, so that the figures are the cost of poller and receive, without that of waking up, which round trips and
//! steady rates measure.

use super::{Bench, PYTHON, SMALL, c, rust};
use crate::Outcome;
use crate::measure::{Series, interleave};
use crate::plan::Plan;
use crate::workshop::Program;

const LISTENERS: usize = 64;
const BURSTS: [u64; 3] = [1, 4, 32];

pub(super) fn run(bench: &Bench) -> Outcome<Vec<Series>> {
    BURSTS.into_iter().map(|burst| through_the_poller(bench, &bench.plan, "burst", burst)).collect()
}

pub(super) fn through_the_poller(bench: &Bench, plan: &Plan, name: &str, burst: u64) -> Outcome<Series> {
    let peers = [rust(Program::Release, "ours"), rust(Program::Release, "mio"), c("c-epoll", "epoll"), PYTHON];
    let expected = burst * LISTENERS as u64;
    let columns = interleave(
        plan,
        &peers,
        |peer| bench.receiver("burst", peer, SMALL, LISTENERS),
        |_, (worker, group)| {
            bench.fill(*group, SMALL, burst, false)?;
            let answer = worker.work(expected)?;
            bench.sample(worker, &answer, expected, SMALL)
        },
    )?;
    Ok(Series { case: format!("{name}-{burst}/{SMALL}"), unit: "ns a packet", subject: "ours", columns })
}
