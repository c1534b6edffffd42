//! Round trips between two processors, with the same kind of peer at both ends. Wall-clock time, the median of many.
//!
//! Those that spin ask without sleeping for up to 200 microseconds.

use super::{Bench, PYTHON, SMALL, c, rust};
use crate::Outcome;
use crate::measure::{Series, interleave};
use crate::worker::{Job, Peer, Worker};
use crate::workshop::Program;

pub(super) fn run(bench: &Bench) -> Outcome<Vec<Series>> {
    let asleep = [
        rust(Program::Release, "ours"),
        rust(Program::Release, "mio"),
        rust(Program::Release, "tokio"),
        c("c-epoll", "epoll"),
        PYTHON,
    ];
    let spinning = [rust(Program::Release, "ours-spin"), c("c-spin", "spin"), c("c-epoll", "epoll")];
    Ok(vec![
        round_trips(bench, "round-trip", "ours", &asleep)?,
        round_trips(bench, "round-trip-spin", "ours-spin", &spinning)?,
    ])
}

fn round_trips(bench: &Bench, case: &str, subject: &'static str, peers: &[Peer]) -> Outcome<Series> {
    let trips = bench.plan.round_trips;
    let columns = interleave(
        &bench.plan,
        peers,
        |peer| {
            let (pong, group) = bench.receiver("pong", peer, SMALL, 1)?;
            let ping = Worker::start(peer, &Job { task: "ping", cpu: bench.sender_cpu, group, size: SMALL, number: 1 })?;
            Ok((ping, pong))
        },
        |_, (ping, pong)| {
            pong.tell(&trips.to_string())?;
            let answer = ping.work(trips)?;
            pong.answer()?;
            bench.sample(ping, &answer, trips, SMALL)
        },
    )?;
    Ok(Series { case: format!("{case}/{SMALL}"), unit: "ns a trip", subject, columns })
}
