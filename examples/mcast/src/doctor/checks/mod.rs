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
mod surroundings;

pub(super) use surroundings::takes_all;

use super::case::{Case, Direction};
use super::report::Check;
use super::tree::Stage;

/// Looks at one stage. The second argument is what the verdict blames.
type Look = fn(&Case, Stage) -> Check;

/// What matters for packets that should come in.
const RECEIVING: &[Look] = &[
    link::link,
    link::carrier,
    link::multicast_flag,
    link::ipv6,
    membership::join_without_route,
    membership::joined_here,
    membership::source_lists,
    membership::group_limit,
    link::mac_filter,
    membership::version,
    membership::reports,
    membership::querier,
    surroundings::bridge,
    surroundings::containers,
    surroundings::switch,
    link::device_drops,
    delivery::before_ip,
    delivery::group,
    delivery::reverse_path,
    firewall::input,
    firewall::conntrack,
    delivery::fragments,
    delivery::checksum,
    sockets::port,
    sockets::buffer,
    sockets::unicast,
    sending::route,
    sending::source_address,
    firewall::output,
    surroundings::ttl,
    surroundings::router,
    surroundings::gro,
];

/// What matters for packets that should leave.
const SENDING: &[Look] = &[
    link::link,
    link::carrier,
    link::multicast_flag,
    link::ipv6,
    sending::route,
    sending::source_address,
    firewall::output,
    firewall::conntrack,
    sending::queue,
    link::device_drops,
    surroundings::bridge,
    surroundings::containers,
    surroundings::ttl,
    surroundings::router,
    membership::querier,
];

pub(super) fn all(case: &Case, stage: Stage) -> Vec<Check> {
    let looks = match case.order.direction {
        Direction::From => RECEIVING,
        Direction::To => SENDING,
    };
    looks.iter().map(|look| look(case, stage)).collect()
}
