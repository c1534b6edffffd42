//! Protocols that are built on multicast, in both directions: our examples, and programs of others.

mod coap;
mod discovery;
mod mdns;
mod ssdp;
mod streams;
mod watch;

use multicast::Group;

use crate::network::Host;
use crate::peers::wait_for_member;
use crate::trial::{Case, Trial};

/// What a proof switches off: our example listens or sends on `lo`.
const AWAY: &str = "our example is on lo instead of eth0";

pub fn cases() -> Vec<Case> {
    [ssdp::cases, mdns::cases, coap::cases, discovery::cases, streams::cases, watch::cases]
        .into_iter()
        .flat_map(|cases| cases())
        .collect()
}

/// The interface that an example is started with.
fn ours(trial: &Trial) -> &'static str {
    trial.pick("eth0", "lo")
}

/// Waits until a program on this host has joined the group.
pub(super) fn joined(host: &Host, group: &str) {
    wait_for_member(host, "eth0", group.parse::<Group>().unwrap());
}
