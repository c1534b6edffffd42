//! The checks, in the order of the way. Each looks at one stage, and shows what it has seen.
//!
//! A check says FAIL only if it is the one that the verdict blames. What else is not as it should be is a warning. `ok` is said of what
//! was looked at, and of nothing else.

mod delivery;
mod firewall;
mod link;
mod membership;
mod sending;
mod sockets;
mod sources;
mod surroundings;

pub(super) use surroundings::takes_all;

use super::case::{Case, Direction};
use super::report::{Check, Status};
use super::tree::Stage;

/// Looks at one stage. The second argument is what the verdict blames.
type Look = fn(&Case, Stage, &mut Check);

/// What matters for packets that should come in.
const RECEIVING: &[(&str, Look)] = &[
    ("link", link::link),
    ("carrier", link::carrier),
    ("multicast-flag", link::multicast_flag),
    ("ipv6", link::ipv6),
    ("join-without-route", membership::join_without_route),
    ("joined-here", membership::joined_here),
    ("source-lists", sources::source_lists),
    ("group-limit", membership::group_limit),
    ("mac-filter", link::mac_filter),
    ("igmp-version", membership::version),
    ("reports", membership::reports),
    ("querier", membership::querier),
    ("bridge", surroundings::bridge),
    ("containers", surroundings::containers),
    ("switch", delivery::switch),
    ("device-drops", link::device_drops),
    ("before-ip", delivery::before_ip),
    ("group", delivery::group),
    ("rp_filter", delivery::reverse_path),
    ("firewall-in", firewall::input),
    ("conntrack", firewall::conntrack),
    ("fragments", delivery::fragments),
    ("checksum", delivery::checksum),
    ("port", sockets::port),
    ("receive-buffer", sockets::buffer),
    ("unicast", sockets::unicast),
    ("route", sending::route),
    ("source-address", sending::source_address),
    ("firewall-out", firewall::output),
    ("ttl", surroundings::ttl),
    ("multicast-router", surroundings::router),
    ("gro", delivery::gro),
];

/// What matters for packets that should leave.
const SENDING: &[(&str, Look)] = &[
    ("link", link::link),
    ("carrier", link::carrier),
    ("multicast-flag", link::multicast_flag),
    ("ipv6", link::ipv6),
    ("route", sending::route),
    ("source-address", sending::source_address),
    ("firewall-out", firewall::output),
    ("conntrack", firewall::conntrack),
    ("queue", sending::queue),
    ("device-drops", link::device_drops),
    ("bridge", surroundings::bridge),
    ("containers", surroundings::containers),
    ("ttl", surroundings::ttl),
    ("multicast-router", surroundings::router),
    ("querier", membership::querier),
];

#[inline(never)]
pub(super) fn all(case: &Case, stage: Stage) -> Vec<Check> {
    let looks = match case.order.direction {
        Direction::From => RECEIVING,
        Direction::To => SENDING,
    };
    let look = |(name, look): &(&'static str, Look)| {
        let mut check = Check::new(name);
        look(case, stage, &mut check);
        check.fill(case);
        check
    };
    looks.iter().map(look).collect()
}

/// What is wrong: FAIL if the verdict blames this, else a warning.
fn blamed(is_blamed: bool) -> Status {
    if is_blamed { Status::Fail } else { Status::Warn }
}
