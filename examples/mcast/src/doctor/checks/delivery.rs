//! From the device through IP to UDP: which counter grows, and which one does not.

use rustix::io::Errno;

use super::super::case::Case;
use super::super::ears::Looped;
use super::super::evidence::{Snapshot, is_ingress};
use super::super::report::{Check, Status, shown};
use super::super::tree::{FEW, Stage};
use super::membership::effective;
use super::{blamed, firewall};
use crate::host::routes::Way;
use crate::host::rules::Hook;

fn frames(case: &Case, check: &mut Check) {
    check.carries(case, "rx_packets", |traffic| traffic.rx_packets);
}

pub(super) fn before_ip(case: &Case, stage: Stage, check: &mut Check) {
    frames(case, check);
    check.counts(case.listening(), "Ip:InReceives");
    if case.is_ipv6() {
        check.counts_here(case.listening(), "Ip6InReceives");
    }
    let for_others = |snapshot: &Snapshot| snapshot.traffic(case.place.index).and_then(|traffic| traffic.rx_other_host);
    check.saw_number("RTM_GETLINK {if} rx_otherhost_dropped", for_others(&case.listen), for_others(&case.end));
    let queues = case.end.queues.as_ref().map_or(&[][..], Vec::as_slice);
    let has_queue = queues.iter().any(|queue| queue.index == case.place.index && is_ingress(queue));
    if has_queue {
        let [before, after] = [&case.start, &case.end].map(|snapshot| snapshot.ingress_drops(case.place.index));
        check.saw_number("RTM_GETQDISC {if} clsact, ingress: drops", before, after);
    }
    let has_xdp = case.link().is_some_and(|link| link.has_xdp);
    if has_xdp {
        check.sees("RTM_GETLINK {if} XDP", &"attached");
    }
    if let Some(span) = case.loop_span() {
        let counter = case.counter("Ip:InReceives", "Ip6InReceives");
        let grown = if case.is_ipv6() { span.grown_here(counter) } else { span.grown(counter) };
        check.saw_number(&[counter, " by the looped packet"].concat(), Some(0), grown);
    }
    firewall::chains(case, check, &[Hook::Ingress]);
    let is_heard = matches!(case.looped(), Some(Looped::Heard));
    match stage {
        Stage::BeforeIp if has_queue => {
            check.is(
                Status::Fail,
                "{if} receives packets, and a tc rule drops them before IP: tc filter show dev {if} ingress.",
            );
        }
        Stage::BeforeIp if has_xdp => check.is(
            Status::Fail,
            "{if} receives packets, and an XDP program drops them before IP: ip link show {if}, and with CAP_BPF bpftool net.",
        ),
        Stage::BeforeIp => check.is(
            Status::Fail,
            "Packets are dropped between {if} and IP: look at nft list ruleset (netdev), tc filter and ip link (xdp).",
        ),
        _ if has_xdp => {
            check.is(Status::Warn, "An XDP program on {if} sees packets first: with CAP_BPF, bpftool net shows it.")
        }
        _ if case.heard.packets > 0 => check.is(Status::Ok, "Packets get from the device to IP."),
        _ if case.for_others() >= Some(FEW) => check.is(
            Status::Unknown,
            "Frames come in that are for another VLAN or another host, so IP does not take them: compare the VLANs (tcpdump -e vlan).",
        ),
        _ if is_heard && !has_queue => {
            check.is(
                Status::Ok,
                "A packet of this host to itself gets to IP; rules on other senders need CAP_NET_ADMIN to be seen.",
            );
        }
        _ if is_heard => check.is(
            Status::Unknown,
            "A packet of this host gets to IP; for rules on other senders: tc filter show dev {if} ingress.",
        ),
        _ => {
            check.is(Status::Unknown, "Nothing came that could show it: with CAP_NET_ADMIN, list tc, XDP and netdev rules.")
        }
    }
}

pub(super) fn group(case: &Case, stage: Stage, check: &mut Check) {
    check.counts_of(case, "Ip:InReceives", "Ip6InReceives");
    check.counts_of(case, "IpExt:InMcastPkts", "Ip6InMcastPkts");
    check.counts_of(case, "Ip:InDelivers", "Ip6InDelivers");
    match stage {
        Stage::Group => check.is_of(
            Status::Fail,
            "IP receives {} packets that nobody here has joined, and none for {group}: compare the sender's group and source address.",
            &shown(case.lost()),
        ),
        _ if case.heard.packets > 0 => check.is(Status::Ok, "Packets for {group} come in."),
        Stage::Silence | Stage::Undecided => {
            check.is(Status::Unknown, "No packet for {group} was seen: compare it with the sender's.")
        }
        _ => check.is(Status::Unknown, "No packet for {group} got as far as the doctor: see the verdict."),
    }
}

pub(super) fn reverse_path(case: &Case, stage: Stage, check: &mut Check) {
    if case.is_ipv6() {
        return check.is(Status::Ok, "IPv6 has no reverse path filter.");
    }
    let setting = effective(case, "rp_filter");
    check.counts(case.whole(), "TcpExt:IPReversePathFilter");
    check.sees("/proc/sys/net/ipv4/conf/{if}/rp_filter, the higher of it and all", &shown(setting));
    asked(check, "RTM_GETROUTE {group} by {if} from its sender", case.ways.sender.as_ref());
    asked(check, "RTM_GETROUTE {group} by {if} from a neighbour", case.ways.neighbour.as_ref());
    match (stage, case.listening().grown("TcpExt:IPReversePathFilter"), setting) {
        (Stage::ReversePath, _, _) => check.is(
            Status::Fail,
            "The reverse path filter drops the packets, since no route to their sender leads over {if}: add one, or set net.ipv4.conf.{if}.rp_filter to 2.",
        ),
        (_, None, _) => check.is(Status::Unknown, "The kernel does not count what the filter drops."),
        (_, Some(1..), _) => check.is(
            Status::Warn,
            "The reverse path filter drops packets of some senders: add a route to them by {if}, or set net.ipv4.conf.{if}.rp_filter to 2.",
        ),
        _ if case.heard.packets > 0 => check.is(Status::Ok, "The filter takes the sender."),
        (_, _, Some(0)) => check.is(Status::Ok, "The filter is off."),
        _ if matches!(case.ways.sender, Some(Ok(_))) => check.is(Status::Ok, "The filter would take the named source."),
        (_, _, None) => check.is(Status::Unknown, "The setting cannot be read."),
        _ => check.is(Status::Unknown, "The filter is on, and no packet came: name the source (SOURCE@GROUP) to ask the kernel about it."),
    }
}

fn asked(check: &mut Check, question: &str, answer: Option<&Result<Way, Errno>>) {
    match answer {
        None => {}
        Some(Ok(_)) => check.sees(question, &"taken"),
        Some(Err(error)) => check.sees(question, &format_args!("refused: {error}")),
    }
}

pub(super) fn fragments(case: &Case, stage: Stage, check: &mut Check) {
    let span = case.listening();
    let [asked, done, failed, waiting] = match case.is_ipv6() {
        true => ["Ip6ReasmReqds", "Ip6ReasmOKs", "Ip6ReasmFails", "FRAG6:inuse"],
        false => ["Ip:ReasmReqds", "Ip:ReasmOKs", "Ip:ReasmFails", "FRAG:inuse"],
    };
    for counter in [asked, done, failed, waiting] {
        check.counts(span, counter);
    }
    let mtu = case.link().and_then(|link| link.mtu).map(u64::from);
    check.sees("RTM_GETLINK {if} mtu", &shown(mtu));
    let longest = case.heard.longest as u64;
    if longest > 0 {
        check.sees("longest packet heard", &longest);
    }
    let headers = if case.is_ipv6() { 48 } else { 28 };
    let at_most = mtu.map(|mtu| mtu.saturating_sub(headers));
    let missing = span.grown(asked).is_some_and(|asked| asked > 0) && span.grown(done) == Some(0);
    match stage {
        Stage::Fragments => check.is_of(
            Status::Fail,
            "Fragments are missing, so packets are not put together: send at most {} bytes, or let fragments pass.",
            &shown(at_most),
        ),
        _ if span.grown(asked).is_none() => check.is(Status::Unknown, "The kernel does not count fragments."),
        _ if missing => check.is(Status::Warn, "Some packets could not be put together: let fragments pass."),
        _ if case.heard.packets == 0 => check.is(Status::Unknown, "No packet came that could have been in fragments."),
        _ if at_most.is_some_and(|at_most| longest > at_most) => check.is_of(
            Status::Warn,
            "The packets come in fragments, of which all must arrive: send at most {} bytes.",
            &shown(at_most),
        ),
        _ => check.is(Status::Ok, "No fragment is missing."),
    }
}

pub(super) fn checksum(case: &Case, stage: Stage, check: &mut Check) {
    let counter = case.counter("Udp:InCsumErrors", "Udp6InCsumErrors");
    check.counts(case.listening(), counter);
    match case.listening().grown(counter) {
        _ if stage == Stage::Checksum => check.is(
            Status::Fail,
            "The packets have a wrong UDP checksum: repair it at the sender, mostly by ethtool -K IF tx off there.",
        ),
        None => check.is(Status::Unknown, "The kernel does not count wrong checksums."),
        Some(1..) => check.is(blamed(false), "Some UDP packets have a wrong checksum: look at their sender's offload."),
        Some(0) if case.heard.packets == 0 => check.is(Status::Unknown, "No packet came whose checksum could be wrong."),
        Some(0) => check.is(Status::Ok, "No checksum was wrong."),
    }
}

pub(super) fn switch(case: &Case, stage: Stage, check: &mut Check) {
    frames(case, check);
    // Stages that only packets of the group can reach.
    let is_late = matches!(
        stage,
        Stage::ReversePath | Stage::Buffer | Stage::Checksum | Stage::Fragments | Stage::Source | Stage::Port
    );
    let is_dropped = stage == Stage::FirewallIn && case.lost().is_some_and(|lost| lost >= FEW);
    match is_late || is_dropped || case.heard.packets > 0 {
        true => check.is(Status::Ok, "The packets reach this host."),
        false => check.is(
            Status::Unknown,
            "No packet of the group was seen: look at the sender, its TTL, and the switch (snooping without a querier, blocked reports).",
        ),
    }
}

pub(super) fn gro(case: &Case, _: Stage, check: &mut Check) {
    /// From this rate on, coalescing saves most of the work.
    const FAST: u64 = 10_000;
    let milliseconds = u64::try_from((case.order.time / 2).as_millis()).unwrap_or(u64::MAX).max(1);
    let rate = case.heard.packets.saturating_mul(1000).checked_div(milliseconds).unwrap_or(0);
    check.sees("packets heard a second", &rate);
    if let Ok(is_on) = &case.coalesces {
        check.sees("ETHTOOL_MSG_FEATURES_GET {if} rx-gro", is_on);
    }
    match &case.coalesces {
        _ if case.heard.packets == 0 => check.is(Status::Unknown, "No stream came that could gain by it."),
        _ if rate < FAST => check.is(Status::Ok, "The stream is too slow to gain by it."),
        Ok(true) => check.is(Status::Ok, "{if} coalesces packets."),
        Ok(false) => check.is(Status::Warn, "GRO is off, which costs this stream CPU: ethtool -K {if} gro on."),
        Err(error) => check.is_of(Status::Unknown, "Whether {if} coalesces packets cannot be read: {}.", error),
    }
}
