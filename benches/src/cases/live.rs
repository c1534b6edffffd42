//! A live sender: packets come in bursts, from an encoder for example, and leave at once. A receiver drains. Only the sending is
//! measured, not the waits between the bursts.

use super::send::sink;
use super::{Bench, SMALL, c, rust};
use crate::Outcome;
use crate::measure::{Series, interleave};
use crate::worker::{Job, Worker};
use crate::workshop::Program;

const SIZES: [usize; 2] = [SMALL, 1316];
const BURST: usize = 16;

pub(super) fn run(bench: &Bench) -> Outcome<Vec<Series>> {
    SIZES.into_iter().map(|size| bursts(bench, size)).collect()
}

fn bursts(bench: &Bench, size: usize) -> Outcome<Series> {
    let peers = [rust(Program::Release, "ours"), c("c-segment", "segment"), c("c-sendto", "sendto")];
    let group = crate::network::new_group();
    let packets = bench.packets(size);
    let mut sink = sink(bench, group, size)?;
    let columns = interleave(
        &bench.plan,
        &peers,
        |peer| Worker::start(peer, &Job { task: "live", cpu: bench.sender_cpu, group, size, number: BURST }),
        |_, worker| {
            sink.tell(&packets.to_string())?;
            let answer = worker.work(packets)?;
            let mut sample = bench.sample(worker, &answer, packets, size)?;
            let heard = sink.answer()?;
            sample.arrived = bench.sample(&sink, &heard, packets, size)?.arrived;
            Ok(sample)
        },
    )?;
    Ok(Series { case: format!("live-{BURST}/{size}"), unit: "ns a packet", subject: "ours", columns })
}
