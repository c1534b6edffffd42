//! Sends as fast as possible: to a group without members, and to one with a receiver that drains.

use std::net::Ipv4Addr;

use super::{Bench, PYTHON, SIZES, c, rust, suffix};
use crate::Outcome;
use crate::measure::{Series, interleave};
use crate::plan::Plan;
use crate::worker::{Job, Peer, Worker};
use crate::workshop::Program;

/// Who receives the packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Audience {
    Nobody,
    OneThatDrains,
}

impl Audience {
    /// The suffix that distinguishes the two cases.
    pub(super) fn suffix(self) -> &'static str {
        match self {
            Self::Nobody => "",
            Self::OneThatDrains => "-drained",
        }
    }
}

pub(super) fn run(bench: &Bench) -> Outcome<Vec<Series>> {
    let mut all = Vec::new();
    let variants =
        [(Program::Release, Audience::Nobody), (Program::Release, Audience::OneThatDrains), (Program::Z, Audience::Nobody)];
    for (program, audience) in variants {
        for size in SIZES {
            let peers = [
                rust(program, "ours"),
                rust(program, "rustix"),
                rust(program, "std"),
                rust(program, "mio"),
                rust(program, "tokio"),
                rust(program, "mctx-core"),
                c("c-sendto", "sendto"),
                c("c-sendmmsg", "sendmmsg"),
                PYTHON,
            ];
            let case = format!("send{}{}/{size}", suffix(program), audience.suffix());
            all.push(send(bench, &bench.plan, case, "ours", &peers, size, audience)?);
        }
    }
    Ok(all)
}

pub(super) fn send(
    bench: &Bench,
    plan: &Plan,
    case: String,
    subject: &'static str,
    peers: &[Peer],
    size: usize,
    audience: Audience,
) -> Outcome<Series> {
    let group = crate::network::new_group();
    let packets = bench.packets(size);
    let mut sink = match audience {
        Audience::Nobody => None,
        Audience::OneThatDrains => Some(sink(bench, group, size)?),
    };
    let columns = interleave(
        plan,
        &bench.present("send", peers),
        |peer| Worker::start(peer, &Job { task: "send", cpu: bench.sender_cpu, group, size, number: 1 }),
        |_, worker| {
            if let Some(sink) = &mut sink {
                sink.tell(&packets.to_string())?;
            }
            let answer = worker.work(packets)?;
            let mut sample = bench.sample(worker, &answer, packets, size)?;
            if let Some(sink) = &mut sink {
                let heard = sink.answer()?;
                sample.arrived = bench.sample(sink, &heard, packets, size)?.arrived;
            }
            Ok(sample)
        },
    )?;
    Ok(Series { case, unit: "ns a packet", subject, columns })
}

/// The receiver that drains. It measures nothing.
pub(super) fn sink(bench: &Bench, group: Ipv4Addr, size: usize) -> Outcome<Worker> {
    let job = Job { task: "sink", cpu: bench.receiver_cpu, group, size, number: 1 };
    Worker::start(&c("the draining receiver", "poll"), &job)
}
