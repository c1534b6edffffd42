//! An ordinary sender, which knows nothing of coalescing: packets of 1,316 bytes, as those of a television stream, come over a link at a
//! steady rate. Its device coalesces them (GRO) or does not. The CPU time of the receiver.

use std::net::Ipv4Addr;

use super::{Bench, c, rust};
use crate::Outcome;
use crate::link::Neighbour;
use crate::measure::{Series, interleave};
use crate::plan::Plan;
use crate::worker::{Peer, Worker};
use crate::workshop::Program;

const SIZE: usize = 1316;
const PACKETS_PER_SECOND: u64 = 100_000;

/// On the link whose device does not coalesce.
const OURS_GRO_OFF: Peer = Peer { name: "ours-gro-off", program: Program::Release, way: "ours" };
const C_GRO_OFF: Peer = Peer { name: "c-epoll-gro-off", program: Program::C, way: "epoll" };

pub(super) fn run(bench: &Bench) -> Outcome<Vec<Series>> {
    let neighbour = Neighbour::create()?;
    let (coalescing, plain) = (neighbour.link(101, true)?, neighbour.link(102, false)?);
    let mut senders = [neighbour.sender(bench.sender_cpu, coalescing)?, neighbour.sender(bench.sender_cpu, plain)?];
    let peers = [
        rust(Program::Release, "ours-coalesced"),
        rust(Program::Release, "ours"),
        OURS_GRO_OFF,
        c("c-gro", "gro"),
        c("c-epoll", "epoll"),
        C_GRO_OFF,
    ];
    let packets = bench.plan.steady_packets / bench.plan.repetitions as u64 / 4;
    // A turn is long, so one in each repetition is enough.
    let plan = Plan { rounds: 1, ..bench.plan };
    let is_off = |peer: &Peer| [OURS_GRO_OFF, C_GRO_OFF].contains(peer);
    let columns = interleave(
        &plan,
        &peers,
        |peer| bench.receiver("link", peer, SIZE, if is_off(peer) { plain.index } else { coalescing.index }),
        |peer, (worker, group): &mut (Worker, Ipv4Addr)| {
            worker.tell(&packets.to_string())?;
            let sender = &mut senders[usize::from(is_off(peer))];
            let (answer, duration) = sender.pace(*group, SIZE, packets, PACKETS_PER_SECOND, || worker.answer())?;
            let mut sample = bench.sample(worker, &answer, packets, SIZE)?;
            sample.cpu_share = Some(answer.nanoseconds as f64 / duration as f64);
            Ok(sample)
        },
    )?;
    Ok(vec![Series { case: format!("ordinary-sender/{SIZE}"), unit: "ns a packet", subject: "ours-coalesced", columns }])
}
