//! The cost of the handle-based API over the core.

use super::drain::{Fill, drain};
use super::send::{Audience, send};
use super::{Bench, SMALL, rust};
use crate::Outcome;
use crate::measure::Series;
use crate::workshop::Program;

pub(super) fn run(bench: &Bench) -> Outcome<Vec<Series>> {
    let peers = [rust(Program::Release, "compat"), rust(Program::Release, "ours")];
    let fill = Fill { size: SMALL, packets: bench.packets(SMALL), coalesced_for: &[] };
    Ok(vec![
        drain(bench, &bench.plan, format!("compat-drain/{SMALL}"), "compat", &peers, fill)?,
        send(bench, &bench.plan, format!("compat-send/{SMALL}"), "compat", &peers, SMALL, Audience::Nobody)?,
    ])
}
