//! A steady rate of 100,000 packets per second, for ten seconds in total: the share of a processor that it takes.

use super::{Bench, PYTHON, SMALL, c, rust};
use crate::Outcome;
use crate::measure::{Series, interleave};
use crate::plan::Plan;
use crate::workshop::Program;

const PACKETS_PER_SECOND: u64 = 100_000;

pub(super) fn run(bench: &Bench) -> Outcome<Vec<Series>> {
    let peers = [
        rust(Program::Release, "ours"),
        rust(Program::Release, "mio"),
        rust(Program::Release, "tokio"),
        c("c-epoll", "epoll"),
        PYTHON,
    ];
    let packets = bench.plan.steady_packets / bench.plan.repetitions as u64;
    // A turn is long, so one in each repetition is enough.
    let plan = Plan { rounds: 1, ..bench.plan };
    let columns = interleave(
        &plan,
        &peers,
        |peer| bench.receiver("rate", peer, SMALL, 1),
        |_, (worker, group)| {
            worker.tell(&packets.to_string())?;
            let mut filler = bench.filler.borrow_mut();
            let (answer, duration) = filler.pace(*group, SMALL, packets, PACKETS_PER_SECOND, || worker.answer())?;
            let mut sample = bench.sample(worker, &answer, packets, SMALL)?;
            sample.cpu_share = Some(answer.nanoseconds as f64 / duration as f64);
            Ok(sample)
        },
    )?;
    Ok(vec![Series { case: format!("rate-100k/{SMALL}"), unit: "ns a packet", subject: "ours", columns }])
}
