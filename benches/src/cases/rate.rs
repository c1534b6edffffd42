//! A steady rate of packets: the share of a processor that it takes.
//!
//! 100,000 packets a second, for ten seconds in total; and 10,000 a second, where each packet wakes the process, except for those that
//! gather packets: these wake up at most once in an interval.

use super::{Bench, PYTHON, SMALL, c, rust};
use crate::Outcome;
use crate::measure::{Series, interleave};
use crate::plan::Plan;
use crate::worker::Peer;
use crate::workshop::Program;

pub(super) fn run(bench: &Bench) -> Outcome<Vec<Series>> {
    let all = [
        rust(Program::Release, "ours"),
        rust(Program::Release, "mio"),
        rust(Program::Release, "tokio"),
        c("c-epoll", "epoll"),
        PYTHON,
    ];
    let ours = rust(Program::Release, "ours");
    let each_ms = [rust(Program::Release, "ours-1ms"), ours, c("c-1ms", "gather-1ms")];
    let each_5_ms = [rust(Program::Release, "ours-5ms"), ours, c("c-5ms", "gather-5ms")];
    let packets = bench.plan.steady_packets / bench.plan.repetitions as u64;
    // A slow rate takes long, so there are fewer packets.
    let few = bench.plan.packets;
    Ok(vec![
        at_a_rate(bench, "rate-100k", 100_000, packets, "ours", &all)?,
        at_a_rate(bench, "rate-10k-1ms", 10_000, few, "ours-1ms", &each_ms)?,
        at_a_rate(bench, "rate-10k-5ms", 10_000, few, "ours-5ms", &each_5_ms)?,
    ])
}

fn at_a_rate(
    bench: &Bench,
    case: &str,
    packets_per_second: u64,
    packets: u64,
    subject: &'static str,
    peers: &[Peer],
) -> Outcome<Series> {
    // A turn is long, so one in each repetition is enough.
    let plan = Plan { rounds: 1, ..bench.plan };
    let columns = interleave(
        &plan,
        peers,
        |peer| bench.receiver("rate", peer, SMALL, 1),
        |_, (worker, group)| {
            worker.tell(&packets.to_string())?;
            let mut filler = bench.filler.borrow_mut();
            let (answer, duration) = filler.pace(*group, SMALL, packets, packets_per_second, || worker.answer())?;
            let mut sample = bench.sample(worker, &answer, packets, SMALL)?;
            sample.cpu_share = Some(answer.nanoseconds as f64 / duration as f64);
            Ok(sample)
        },
    )?;
    Ok(Series { case: format!("{case}/{SMALL}"), unit: "ns a packet", subject, columns })
}
