//! Firewalls: their rules cannot be read without privilege, but a packet of this host to itself passes them.

use super::super::case::{Case, Direction};
use super::super::ears::Looped;
use super::super::evidence::setting;
use super::super::report::{Check, Status, shown};
use super::super::tree::Stage;

/// How the packet to itself fared.
fn looped(case: &Case, check: Check) -> Check {
    let words = match case.looped() {
        None => return check,
        Some(Looped::Heard) => "heard".to_owned(),
        Some(Looped::Lost) => "not heard".to_owned(),
        Some(Looped::Refused(error)) => format!("not sent: {error}"),
        Some(Looped::NotTried(reason)) => format!("not tried: {reason}"),
    };
    check.sees("a looped packet to the group, TTL 0", words)
}

/// Whether the packet to itself was tracked as a connection.
fn is_tracked(case: &Case) -> Option<bool> {
    let span = case.loop_span()?;
    Some(span.after.connections? > span.before.connections?)
}

pub(super) fn input(case: &Case, stage: Stage) -> Check {
    let port = case.order.group.port();
    let check = looped(case, Check::new("firewall-in"));
    let check =
        check.counts_of(case, "IpExt:InMcastPkts", "Ip6InMcastPkts").counts_of(case, "Ip:InDelivers", "Ip6InDelivers");
    match (stage, case.looped()) {
        (Stage::FirewallIn, Some(Looped::Heard)) => check.is(
            Status::Fail,
            format!("A firewall rule drops the packets by their sender, since one of this host passes: allow UDP to port {port}."),
        ),
        (Stage::FirewallIn, _) if is_tracked(case) == Some(true) => check.is(
            Status::Fail,
            format!("A firewall drops the packets; conntrack is in use, so it may pass established connections only, as no group is: allow UDP to port {port} as new."),
        ),
        (Stage::FirewallIn, _) => {
            check.is(Status::Fail, format!("A firewall (input or prerouting) drops the packets: allow UDP to port {port} (nft list ruleset)."))
        }
        _ if case.heard.packets > 0 => check.is(Status::Ok, "The packets pass."),
        (_, Some(Looped::Heard)) => check.is(
            Status::Ok,
            "A packet of this host passes; rules on the sender's address were not tested, and need CAP_NET_ADMIN to be read.",
        ),
        (_, Some(Looped::Lost)) => check.is(Status::Warn, format!("A packet of this host does not pass either: allow UDP to port {port}.")),
        _ => check.is(Status::Unknown, "It was not tested, and the rules need CAP_NET_ADMIN to be read (nft list ruleset)."),
    }
}

pub(super) fn conntrack(case: &Case, stage: Stage) -> Check {
    let [count, most] = ["nf_conntrack_count", "nf_conntrack_max"].map(|name| format!("net/netfilter/{name}"));
    let most_allowed: Option<u64> = setting(&most).and_then(|value| value.parse().ok());
    let mut check = Check::new("conntrack")
        .saw(format!("/proc/sys/{count}"), shown(case.start.connections), shown(case.end.connections))
        .sees(format!("/proc/sys/{most}"), shown(most_allowed));
    if let Some(span) = case.loop_span() {
        check = check.saw(
            format!("/proc/sys/{count}, by the looped packet"),
            shown(span.before.connections),
            shown(span.after.connections),
        );
    }
    let (Some(now), Some(most_allowed)) = (case.end.connections, most_allowed) else {
        return match std::fs::exists("/proc/sys/net/netfilter") {
            Ok(false) => check.is(Status::Ok, "This kernel tracks no connections."),
            _ => check.is(Status::Unknown, "The tracker cannot be read: with CAP_NET_ADMIN, conntrack -L lists its table."),
        };
    };
    let is_full = now >= most_allowed && most_allowed > 0;
    match (stage, is_tracked(case)) {
        (Stage::FirewallIn | Stage::FirewallOut, _) if is_full => {
            check.is(Status::Fail, "The table of connections is full, so new ones are dropped: raise nf_conntrack_max.")
        }
        (Stage::FirewallIn, Some(true)) => check.is(
            Status::Fail,
            "A packet to a group is never of an established connection, so a policy of that kind drops it: allow the group as new.",
        ),
        _ if is_full => check.is(Status::Warn, "The table of connections is full: raise nf_conntrack_max."),
        _ if case.heard.packets > 0 => check.is(Status::Ok, "The packets pass it."),
        (_, Some(false)) => check.is(Status::Ok, "Packets to the group are not tracked."),
        (_, Some(true)) if matches!(case.looped(), Some(Looped::Heard)) => check.is(Status::Ok, "A tracked packet passes."),
        _ => check.is(Status::Unknown, "Whether packets are tracked is not known: with CAP_NET_ADMIN, conntrack -L lists the table."),
    }
}

pub(super) fn output(case: &Case, stage: Stage) -> Check {
    let check = looped(case, Check::new("firewall-out"));
    let is_to = case.order.direction == Direction::To;
    let check = match (is_to, case.is_ipv6()) {
        (false, _) => check,
        (true, true) => check.counts_here(case.whole(), "Ip6OutMcastPkts").counts_here(case.whole(), "Ip6OutDiscards"),
        (true, false) => check.counts(case.whole(), "Ip:OutRequests").counts(case.whole(), "Ip:OutTransmits"),
    };
    match (stage, case.looped()) {
        (Stage::FirewallOut, _) => {
            check.is(Status::Fail, "A firewall (output) forbids it: allow UDP to the group there (nft list ruleset).")
        }
        (_, Some(Looped::Heard | Looped::Lost)) => check.is(Status::Ok, "The kernel took a packet to the group."),
        (_, Some(Looped::Refused(error))) if error.kind() == multicast::ErrorKind::Denied => {
            check.is(Status::Warn, "This host may not send to the group; that does not keep packets from coming in.")
        }
        (_, Some(Looped::Refused(_) | Looped::NotTried(_))) => {
            check.is(Status::Unknown, "No packet could be sent for another reason.")
        }
        (_, None) => check.is(Status::Unknown, "No packet was sent, since the group was heard."),
    }
}
