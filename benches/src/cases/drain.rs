//! Drains a full queue.

use super::{Bench, PYTHON, SIZES, c, rust, suffix};
use crate::Outcome;
use crate::measure::{Series, interleave};
use crate::plan::Plan;
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
            let fill = Fill { size, packets: bench.packets(size), coalesced_for: &[] };
            all.push(drain(bench, &bench.plan, case, "ours", &peers, fill)?);
        }
    }
    Ok(all)
}

/// How the queues are filled.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fill {
    pub(super) size: usize,
    pub(super) packets: u64,
    /// The peers for which the sender coalesces.
    pub(super) coalesced_for: &'static [&'static str],
}

/// Fills the queue of each peer in turn, and lets the peer drain it.
pub(super) fn drain(
    bench: &Bench,
    plan: &Plan,
    case: String,
    subject: &'static str,
    peers: &[Peer],
    Fill { size, packets, coalesced_for }: Fill,
) -> Outcome<Series> {
    let columns = interleave(
        plan,
        &bench.present("drain", peers),
        |peer| bench.receiver("drain", peer, size, 1),
        |peer, (worker, group)| {
            bench.fill(*group, size, packets, coalesced_for.contains(&peer.name))?;
            let answer = worker.work(packets)?;
            bench.sample(worker, &answer, packets, size)
        },
    )?;
    Ok(Series { case, unit: "ns a packet", subject, columns })
}
