//! Firewalls: their rules cannot be read without privilege, but a packet of this host to itself passes them.

use super::super::case::{Case, Direction};
use super::super::ears::Looped;
use super::super::evidence::setting;
use super::super::report::{Check, Status, shown};
use super::super::tree::Stage;
use crate::host::rules::Hook;

/// How the packet to itself fared.
fn looped(case: &Case, check: &mut Check) {
    const WHAT: &str = "a looped packet to the group, TTL 0";
    match case.looped() {
        None => {}
        Some(Looped::Heard) => check.sees(WHAT, &"heard"),
        Some(Looped::Lost) => check.sees(WHAT, &"not heard"),
        Some(Looped::Refused(error)) => check.sees(WHAT, &format_args!("not sent: {error}")),
        Some(Looped::NotTried(reason)) => check.sees(WHAT, &format_args!("not tried: {reason}")),
    }
}

/// The chains of nftables at these hooks, if they can be read; returns whether they can.
#[inline(never)]
pub(super) fn chains(case: &Case, check: &mut Check, hooks: &[Hook]) -> bool {
    for chain in case.chains.iter().flatten().filter(|chain| hooks.contains(&chain.hook)) {
        let policy = if chain.drops { "drop" } else { "accept" };
        check.sees(
            &["nft chain ", &chain.table, " ", &chain.name].concat(),
            &format_args!("policy {policy}, {} rules", chain.rules),
        );
    }
    case.chains.is_ok()
}

/// Whether the packet to itself was tracked as a connection.
fn is_tracked(case: &Case) -> Option<bool> {
    let span = case.loop_span()?;
    Some(span.after.connections? > span.before.connections?)
}

pub(super) fn input(case: &Case, stage: Stage, check: &mut Check) {
    looped(case, check);
    check.counts_of(case, "IpExt:InMcastPkts", "Ip6InMcastPkts");
    check.counts_of(case, "Ip:InDelivers", "Ip6InDelivers");
    let is_readable = chains(case, check, &[Hook::Prerouting, Hook::Input]);
    match (stage, case.looped()) {
        (Stage::FirewallIn, Some(Looped::Heard)) => check.is(
            Status::Fail,
            "A firewall rule drops the packets by their sender, since one of this host passes: allow UDP to port {port}.",
        ),
        (Stage::FirewallIn, _) if is_tracked(case) == Some(true) => check.is(
            Status::Fail,
            "A firewall drops the packets; conntrack is in use, so it may pass established connections only, as no group is: allow UDP to port {port} as new.",
        ),
        (Stage::FirewallIn, _) => check.is(
            Status::Fail,
            "A firewall (input or prerouting) drops the packets: allow UDP to port {port} (nft list ruleset).",
        ),
        _ if case.heard.packets > 0 => check.is(Status::Ok, "The packets pass."),
        (_, Some(Looped::Heard)) if is_readable => {
            check.is(Status::Ok, "A packet of this host passes; rules on the sender's address were not tested: nft list ruleset shows them.");
        }
        (_, Some(Looped::Heard)) => check.is(
            Status::Ok,
            "A packet of this host passes; rules on the sender's address were not tested, and need CAP_NET_ADMIN to be read.",
        ),
        (_, Some(Looped::Lost)) if case.is_overloaded() => check.is(
            Status::Unknown,
            "The packet of this host was lost while a processor dropped packets, so it tells nothing: look again when there is less load.",
        ),
        (_, Some(Looped::Lost)) => check.is(Status::Warn, "A packet of this host does not pass either: allow UDP to port {port}."),
        _ => check.is(Status::Unknown, "It was not tested, and the rules need CAP_NET_ADMIN to be read (nft list ruleset)."),
    }
}

pub(super) fn conntrack(case: &Case, stage: Stage, check: &mut Check) {
    const COUNT: &str = "/proc/sys/net/netfilter/nf_conntrack_count";
    let most = setting("net/netfilter/nf_conntrack_max");
    check.saw_number(COUNT, case.start.connections, case.end.connections);
    check.sees_setting("net/netfilter/nf_conntrack_max", most.as_deref());
    if let Some(span) = case.loop_span() {
        check.saw(
            &[COUNT, ", by the looped packet"].concat(),
            &shown(span.before.connections),
            &shown(span.after.connections),
        );
    }
    let most: Option<u64> = most.and_then(|most| most.parse().ok());
    let (Some(now), Some(most)) = (case.end.connections, most) else {
        return match std::fs::exists("/proc/sys/net/netfilter") {
            Ok(false) => check.is(Status::Ok, "This kernel tracks no connections."),
            _ => check.is(Status::Unknown, "The tracker cannot be read: with CAP_NET_ADMIN, conntrack -L lists its table."),
        };
    };
    let is_full = now >= most && most > 0;
    let is_blamed = matches!(stage, Stage::FirewallIn | Stage::FirewallOut);
    match is_tracked(case) {
        _ if is_full => check.is(super::blamed(is_blamed), "The table of connections is full: raise nf_conntrack_max."),
        Some(true) if stage == Stage::FirewallIn => check.is(
            Status::Fail,
            "A packet to a group is never of an established connection, so a policy of that kind drops it: allow the group as new.",
        ),
        _ if case.heard.packets > 0 => check.is(Status::Ok, "The packets pass it."),
        Some(false) => check.is(Status::Ok, "Packets to the group are not tracked."),
        Some(true) if matches!(case.looped(), Some(Looped::Heard)) => check.is(Status::Ok, "A tracked packet passes."),
        _ => check.is(Status::Unknown, "Whether packets are tracked is not known: with CAP_NET_ADMIN, conntrack -L lists the table."),
    }
}

pub(super) fn output(case: &Case, stage: Stage, check: &mut Check) {
    looped(case, check);
    if case.order.direction == Direction::To {
        check.counts_of(case, "Ip:OutRequests", "Ip6OutMcastPkts");
        check.counts_of(case, "Ip:OutTransmits", "Ip6OutDiscards");
    }
    chains(case, check, &[Hook::Output, Hook::Postrouting]);
    match case.looped() {
        _ if stage == Stage::FirewallOut => {
            check.is(Status::Fail, "A firewall (output) forbids it: allow UDP to the group there (nft list ruleset).");
        }
        Some(Looped::Heard | Looped::Lost) => check.is(Status::Ok, "The kernel took a packet to the group."),
        Some(Looped::Refused(error)) if error.kind() == multicast::ErrorKind::Denied => {
            check.is(Status::Warn, "This host may not send to the group; that does not keep packets from coming in.");
        }
        Some(Looped::Refused(_) | Looped::NotTried(_)) => {
            check.is(Status::Unknown, "No packet could be sent for another reason.")
        }
        None => check.is(Status::Unknown, "No packet was sent, since the group was heard."),
    }
}
