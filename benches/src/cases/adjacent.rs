//! Coalesced sending of packets that lie side by side in memory, as `buffer.chunks(1316)` gives them: ours finds that out, C knows it, or
//! names each packet's place.

use super::send::{Audience, send};
use super::{Bench, SMALL, c, rust};
use crate::Outcome;
use crate::measure::Series;
use crate::workshop::Program;

const SIZES: [usize; 2] = [SMALL, 1400];

pub(super) fn run(bench: &Bench) -> Outcome<Vec<Series>> {
    let peers = [
        rust(Program::Release, "ours-adjacent"),
        rust(Program::Release, "ours-coalesced"),
        c("c-segment", "segment"),
        c("c-gather", "gather"),
        c("c-sendto", "sendto"),
    ];
    let plan = bench.precise();
    let case = |size| send(bench, &plan, format!("send-adjacent/{size}"), "ours-adjacent", &peers, size, Audience::Nobody);
    SIZES.into_iter().map(case).collect()
}
