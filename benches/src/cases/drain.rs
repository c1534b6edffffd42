//! Drains a full queue.

use super::{Bench, PYTHON, SIZES, c, rust, suffix};
use crate::Outcome;
use crate::measure::{Series, interleave};
use crate::worker::Peer;
use crate::workshop::Program;

pub(super) fn run(bench: &Bench) -> Outcome<Vec<Series>> {
    let mut all = Vec::new();
    for program in [Program::Release, Program::Z] {
        for size in SIZES {
            let peers = [
                rust(program, "ours"),
                rust(program, "rustix"),
                rust(program, "std"),
                rust(program, "mio"),
                rust(program, "tokio"),
                rust(program, "mcrx-core"),
                c("c-recvfrom", "recvfrom"),
                c("c-recvmmsg", "recvmmsg"),
                c("c-epoll", "epoll"),
                PYTHON,
            ];
            let case = format!("drain{}/{size}", suffix(program));
            all.push(drain(bench, case, "ours", &peers, size, |_| false)?);
        }
    }
    Ok(all)
}

/// Fills the queue of each in turn and lets it drain it; `coalesced` says for whom the sender coalesces.
pub(super) fn drain(
    bench: &Bench,
    case: String,
    subject: &'static str,
    peers: &[Peer],
    size: usize,
    coalesced: fn(&Peer) -> bool,
) -> Outcome<Series> {
    let packets = bench.packets(size);
    let columns = interleave(
        &bench.plan,
        &bench.present("drain", peers),
        |peer| bench.receiver("drain", peer, size, 1),
        |peer, (worker, group)| {
            bench.fill(*group, size, packets, coalesced(peer))?;
            let answer = worker.work(packets)?;
            bench.sample(worker, &answer, packets, size)
        },
    )?;
    Ok(Series { case, unit: "ns a packet", subject, columns })
}
