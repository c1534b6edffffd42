//! Coalesced: many packets in one call, at the sender, at the receiver, and at both. Compared with peers that make one call per
//! packet, and whose queue is filled with one call per packet.

use super::drain::{Fill, drain};
use super::send::{Audience, send};
use super::{Bench, PYTHON, SMALL, c, rust};
use crate::Outcome;
use crate::measure::Series;
use crate::workshop::Program;

const SIZES: [usize; 2] = [SMALL, 1400];

pub(super) fn run(bench: &Bench) -> Outcome<Vec<Series>> {
    let mut all = Vec::new();
    for size in SIZES {
        let peers = [
            rust(Program::Release, "ours-coalesced"),
            rust(Program::Release, "ours"),
            c("c-gro", "gro"),
            c("c-recvmmsg", "recvmmsg"),
            c("c-recvfrom", "recvfrom"),
            rust(Program::Release, "std"),
            rust(Program::Release, "mio"),
            rust(Program::Release, "tokio"),
            rust(Program::Release, "mcrx-core"),
            PYTHON,
        ];
        let case = format!("drain-coalesced/{size}");
        let fill = Fill { size, packets: bench.many_packets(size), coalesced_for: &["ours-coalesced", "c-gro"] };
        all.push(drain(bench, &bench.plan, case, "ours-coalesced", &peers, fill)?);
    }
    for audience in [Audience::Nobody, Audience::OneThatDrains] {
        for size in SIZES {
            let peers = [
                rust(Program::Release, "ours-coalesced"),
                rust(Program::Release, "ours"),
                c("c-segment", "segment"),
                c("c-sendmmsg", "sendmmsg"),
                c("c-sendto", "sendto"),
                rust(Program::Release, "mio"),
                rust(Program::Release, "mctx-core"),
                PYTHON,
            ];
            let case = format!("send-coalesced{}/{size}", audience.suffix());
            all.push(send(bench, &bench.plan, case, "ours-coalesced", &peers, size, audience)?);
        }
    }
    Ok(all)
}
