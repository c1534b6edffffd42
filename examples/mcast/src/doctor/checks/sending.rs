//! What a packet from this host to the group needs: a route, a source address, a device that takes it.

use std::net::IpAddr;

use super::super::case::{Case, Direction};
use super::super::report::{Check, Status, shown};
use super::super::tree::Stage;

/// FAIL if the verdict blames this, a warning if packets should only come in.
fn blamed(stage: Stage, own: Stage) -> Status {
    if stage == own { Status::Fail } else { Status::Warn }
}

pub(super) fn route(case: &Case, stage: Stage) -> Check {
    let name = &case.place.name;
    let check = Check::new("route");
    let question = format!("RTM_GETROUTE {} by {name}", case.address());
    match &case.ways.out {
        None => check.is(Status::Unknown, "The kernel was not asked, since there is no interface."),
        Some(Err(error)) => check.sees(question, error).is(
            blamed(stage, Stage::Route),
            format!("No route to the group leads over {name}: add one, or name another interface."),
        ),
        Some(Ok(way)) => {
            let check = check.sees(question, format!("{}, source {}", shown(way.interface), shown(way.source)));
            match stage {
                Stage::Route => {
                    check.is(Status::Fail, "The kernel refuses to send by this route: look at ip route and ip rule.")
                }
                _ => check.is(Status::Ok, format!("A packet to the group leaves by {name}.")),
            }
        }
    }
}

pub(super) fn source_address(case: &Case, stage: Stage) -> Check {
    let name = &case.place.name;
    let check = Check::new("source-address");
    let Ok(addresses) = &case.end.addresses else {
        return check.is(Status::Unknown, "The kernel does not list its addresses.");
    };
    let is_own = |address: IpAddr| addresses.iter().any(|own| own.index == case.place.index && own.address == address);
    let of_family: Vec<_> = addresses
        .iter()
        .filter(|own| own.index == case.place.index && own.address.is_ipv4() == case.address().is_ipv4())
        .map(|own| own.address.to_string())
        .collect();
    let list = if of_family.is_empty() { "none".to_owned() } else { of_family.join(", ") };
    let check = check.sees(format!("RTM_GETADDR {name}"), list);
    let source = case.ways.out.as_ref().and_then(|way| way.as_ref().ok()).and_then(|way| way.source);
    let check = check.sees(format!("RTM_GETROUTE {} source", case.address()), shown(source));
    match source {
        _ if of_family.is_empty() => check.is(
            blamed(stage, Stage::SourceAddress),
            format!("{name} has no address, so packets have none of it either: give it one."),
        ),
        _ if stage == Stage::SourceAddress => check
            .is(Status::Fail, format!("No address of {name} is ready to be a source: see the check ipv6, or give it one.")),
        Some(source) if !is_own(source) => check.is(
            Status::Warn,
            format!("Packets by {name} have the source {source}, which is another interface's: name the source."),
        ),
        Some(_) => check.is(Status::Ok, "Packets have an address of the interface."),
        None => check.is(Status::Unknown, "The kernel does not tell the source."),
    }
}

pub(super) fn queue(case: &Case, stage: Stage) -> Check {
    let (name, index) = (&case.place.name, case.place.index);
    let tx = |traffic: Option<crate::host::links::Traffic>| shown(traffic.map(|traffic| traffic.tx_packets));
    let mut check = Check::new("queue").counts_of(case, "IpExt:OutMcastPkts", "Ip6OutMcastPkts");
    check = check.saw(format!("RTM_GETLINK {name} tx_packets"), tx(case.start.traffic(index)), tx(case.end.traffic(index)));
    let Ok(queues) = &case.end.queues else { return check.is(Status::Unknown, "The queues cannot be read.") };
    let mut drops = 0_u64;
    for queue in queues.iter().filter(|queue| queue.index == index) {
        let before = case
            .start
            .queues
            .as_ref()
            .ok()
            .and_then(|queues| queues.iter().find(|before| before.index == index && before.kind == queue.kind)?.drops);
        check = check.saw(format!("RTM_GETQDISC {name} {} drops", queue.kind), shown(before), shown(queue.drops));
        let grown = queue.drops.unwrap_or(0).saturating_sub(before.unwrap_or(0));
        drops = drops.saturating_add(grown);
    }
    let sends = match case.is_ipv6() {
        true => case.whole().grown_here("Ip6OutMcastPkts"),
        false => case.whole().grown("IpExt:OutMcastPkts"),
    };
    match (stage, sends) {
        (Stage::Queue, _) => {
            check.is(Status::Fail, format!("IP sends, and {name} does not: look at tc qdisc, tc filter and netdev rules."))
        }
        _ if drops > 0 => check.is(Status::Warn, format!("The queue of {name} drops packets: send slower, or enlarge it.")),
        (_, Some(1..)) => check.is(Status::Ok, format!("What IP sends to groups, {name} sends.")),
        _ => check
            .is(Status::Unknown, "No program of this host sent to a group by IP in this time, so nothing could get stuck."),
    }
}

/// Whether the case is about sending.
pub(super) fn is_sending(case: &Case) -> bool {
    case.order.direction == Direction::To
}
