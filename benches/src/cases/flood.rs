//! A flood of unwanted packets: the listener's CPU time, and how often it wakes up. The filter runs in user space, as a
//! comparison of bytes and as a pattern, or in the kernel.

use std::net::{Ipv4Addr, UdpSocket};
use std::time::Duration;

use super::{Bench, SMALL, rust};
use crate::Outcome;
use crate::measure::{Series, interleave};
use crate::plan::Plan;
use crate::worker::PORT;
use crate::workshop::Program;

/// At full rate, and at a rate that leaves the listener time to sleep between packets.
const PACKETS_PER_SECOND: u64 = 10_000;

pub(super) fn run(bench: &Bench) -> Outcome<Vec<Series>> {
    let peers = [rust(Program::Release, "kernel"), rust(Program::Release, "user"), rust(Program::Release, "regex")];
    let full = bench.plan.flood_packets;
    // A turn is long, so one is enough, after one to warm up. The number of wakes is the same in each tenth of it.
    let plan = Plan { repetitions: 1, rounds: 1, ..bench.plan };
    let mut all = Vec::new();
    for (task, unit, packets) in [("flood", "ns a packet", full), ("flood-wakes", "wakes a packet", full / 10)] {
        for (rate, name, packets) in [(0, "", packets), (PACKETS_PER_SECOND, "-10k", packets / 10)] {
            let columns = interleave(
                &plan,
                &peers,
                |peer| bench.receiver(task, peer, SMALL, 1),
                |_, (worker, group)| {
                    worker.tell(&packets.to_string())?;
                    let mut filler = bench.filler.borrow_mut();
                    if rate == 0 {
                        filler.fill(*group, SMALL, packets, false)?;
                    } else {
                        filler.pace(*group, SMALL, packets, rate, || Ok(()))?;
                    }
                    // The queue is drained before the order that ends the flood is read: a poller reports both.
                    std::thread::sleep(Duration::from_millis(20));
                    UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?.send_to(b"over", (*group, PORT + 1))?;
                    let answer = worker.answer()?;
                    bench.sample(worker, &answer, packets, SMALL)
                },
            )?;
            all.push(Series { case: format!("{task}{name}/{SMALL}"), unit, subject: "kernel", columns });
        }
    }
    Ok(all)
}
