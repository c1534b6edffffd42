//! One call a packet, against the lower limit: the bare system call in a loop, inlined; and many packets a call, against C. The kernel takes nearly all of the time, so these
//! cases have more repetitions than others. And against those that leave something out: `mctx-core` and a socket in C that is connected to
//! the group, so that the kernel looks up no route for each packet.

use super::drain::{Fill, drain};
use super::send::{Audience, send};
use super::{Bench, SMALL, burst, c, rust};
use crate::Outcome;
use crate::measure::Series;
use crate::workshop::Program;

pub(super) fn run(bench: &Bench) -> Outcome<Vec<Series>> {
    let plan = bench.precise();
    let receivers = ["ours", "rustix", "std", "mio"].map(|way| rust(Program::Release, way));
    let receivers = [&receivers[..], &[c("c-recvfrom", "recvfrom")]].concat();
    let senders = ["ours", "rustix", "std", "mio", "mctx-core"].map(|way| rust(Program::Release, way));
    let senders = [&senders[..], &[c("c-sendto", "sendto"), c("c-connected", "connected")]].concat();
    let fill = Fill { size: SMALL, packets: bench.packets(SMALL), coalesced_for: &[] };
    let mut all = vec![
        drain(bench, &plan, format!("floor-receive/{SMALL}"), "ours", &receivers, fill)?,
        send(bench, &plan, format!("floor-send/{SMALL}"), "ours", &senders, SMALL, Audience::Nobody)?,
        burst::through_the_poller(bench, &plan, "floor-burst", 4)?,
    ];
    for size in [SMALL, 1400] {
        let peers = [rust(Program::Release, "ours-coalesced"), c("c-gro", "gro")];
        let fill = Fill { size, packets: bench.many_packets(size), coalesced_for: &["ours-coalesced", "c-gro"] };
        all.push(drain(bench, &plan, format!("floor-coalesced/{size}"), "ours-coalesced", &peers, fill)?);
    }
    Ok(all)
}
