//! What a packet from this host to the group needs: a route, a source address, a device that takes it.

use super::super::case::Case;
use super::super::report::{Check, Status};
use super::super::tree::Stage;
use super::blamed;

pub(super) fn route(case: &Case, stage: Stage, check: &mut Check) {
    const QUESTION: &str = "RTM_GETROUTE {group} by {if}";
    match &case.ways.out {
        None => check.is(Status::Unknown, "The kernel was not asked, since there is no interface."),
        Some(Err(error)) => {
            check.sees(QUESTION, error);
            check.is(
                blamed(stage == Stage::Route),
                "No route to the group leads over {if}: add one, or name another interface.",
            );
        }
        Some(Ok(way)) => {
            check.sees(QUESTION, &case.interface_of(way.interface.unwrap_or(0)));
            match stage {
                Stage::Route => {
                    check.is(Status::Fail, "The kernel refuses to send by this route: look at ip route and ip rule.")
                }
                _ => check.is(Status::Ok, "A packet to the group leaves by {if}."),
            }
        }
    }
}

pub(super) fn source_address(case: &Case, stage: Stage, check: &mut Check) {
    let Ok(addresses) = &case.end.addresses else {
        return check.is(Status::Unknown, "The kernel does not list its addresses.");
    };
    let own: Vec<_> = addresses
        .iter()
        .filter(|own| own.index == case.place.index && own.address.is_ipv4() == case.address().is_ipv4())
        .map(|own| own.address)
        .collect();
    for address in &own {
        check.sees("RTM_GETADDR {if}", address);
    }
    let source = case.ways.out.as_ref().and_then(|way| way.as_ref().ok()).and_then(|way| way.source);
    if let Some(source) = &source {
        check.sees("RTM_GETROUTE {group} source", source);
    }
    match source {
        _ if own.is_empty() => {
            check.is(
                blamed(stage == Stage::SourceAddress),
                "{if} has no address, so packets have none of it either: give it one.",
            );
        }
        _ if stage == Stage::SourceAddress => {
            check.is(Status::Fail, "No address of {if} is ready to be a source: see the check ipv6, or give it one.");
        }
        Some(source) if !own.contains(&source) => {
            check.is_of(
                Status::Warn,
                "Packets by {if} have the source {}, which is another interface's: name the source.",
                &source,
            );
        }
        Some(_) => check.is(Status::Ok, "Packets have an address of the interface."),
        None => check.is(Status::Unknown, "The kernel does not tell the source."),
    }
}

pub(super) fn queue(case: &Case, stage: Stage, check: &mut Check) {
    check.counts_of(case, "IpExt:OutMcastPkts", "Ip6OutMcastPkts");
    check.carries(case, "tx_packets", |traffic| traffic.tx_packets);
    let (Ok(before), Ok(after)) = (&case.start.queues, &case.end.queues) else {
        return check.is(Status::Unknown, "The queues cannot be read.");
    };
    let mut grows = false;
    for queue in after.iter().filter(|queue| queue.index == case.place.index) {
        let before = before.iter().find(|before| before.index == queue.index && before.kind == queue.kind);
        let drops = before.and_then(|before| before.drops);
        check.saw_number(&["RTM_GETQDISC {if} ", &queue.kind, " drops"].concat(), drops, queue.drops);
        grows |= queue.drops > drops && drops.is_some();
    }
    let sends = match case.is_ipv6() {
        true => case.whole().grown_here("Ip6OutMcastPkts"),
        false => case.whole().grown("IpExt:OutMcastPkts"),
    };
    match sends {
        _ if stage == Stage::Queue => {
            check.is(Status::Fail, "IP sends, and {if} does not: look at tc qdisc, tc filter and netdev rules.");
        }
        _ if grows => check.is(Status::Warn, "The queue of {if} drops packets: send slower, or enlarge it."),
        Some(sent @ 1..) if case.sent_by(|index| index == case.place.index) >= Some(sent) => {
            check.is(Status::Ok, "What IP sends to groups, {if} sends.")
        }
        Some(1..) => check.is(
            Status::Unknown,
            "IP sent more packets to groups than {if} sent of all: by other interfaces, or they were dropped (tc filter show dev {if} egress).",
        ),
        _ => check.is(Status::Unknown, "No program of this host sent to a group in this time, so nothing could get stuck."),
    }
}
