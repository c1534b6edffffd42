//! From the device through IP to UDP: which counter grows, and which one does not.

use super::super::case::Case;
use super::super::ears::Looped;
use super::super::evidence::is_ingress;
use super::super::report::{Check, Status, shown};
use super::super::tree::{FEW, Stage};
use super::membership::effective;

/// What is wrong: FAIL if the verdict blames this, else a warning.
fn blamed(stage: Stage, own: Stage) -> Status {
    if stage == own { Status::Fail } else { Status::Warn }
}

fn frames(case: &Case, check: Check) -> Check {
    let rx = |traffic: Option<crate::host::links::Traffic>| shown(traffic.map(|traffic| traffic.rx_packets));
    let index = case.place.index;
    check.saw(
        format!("RTM_GETLINK {} rx_packets", case.place.name),
        rx(case.start.traffic(index)),
        rx(case.end.traffic(index)),
    )
}

pub(super) fn before_ip(case: &Case, stage: Stage) -> Check {
    let name = &case.place.name;
    let mut check = frames(case, Check::new("before-ip")).counts(case.whole(), "Ip:InReceives");
    if case.is_ipv6() {
        check = check.counts_here(case.whole(), "Ip6InReceives");
    }
    let queues = case.end.queues.as_ref().map_or(&[][..], Vec::as_slice);
    let mut has_queue = false;
    for queue in queues.iter().filter(|queue| queue.index == case.place.index && is_ingress(queue)) {
        has_queue = true;
        let before = case.start.ingress_drops(case.place.index);
        check = check.saw(format!("RTM_GETQDISC {name} {} drops", queue.kind), shown(before), shown(queue.drops));
    }
    let has_xdp = case.link().is_some_and(|link| link.has_xdp);
    if has_xdp {
        check = check.sees(format!("RTM_GETLINK {name} XDP"), "attached");
    }
    if let (Some(looped), Some(span)) = (case.looped(), case.loop_span()) {
        let words = match looped {
            Looped::Heard => "heard",
            Looped::Lost => "not heard",
            Looped::Refused(_) | Looped::NotTried(_) => "not sent",
        };
        check = check.sees("a looped packet", words).counts(span, "Ip:InReceives");
    }
    match (stage, case.looped()) {
        (Stage::BeforeIp, _) if has_queue => check.is(
            Status::Fail,
            format!("{name} receives packets, and a tc rule drops them before IP: tc filter show dev {name} ingress."),
        ),
        (Stage::BeforeIp, _) => check.is(
            Status::Fail,
            format!(
                "Packets are dropped between {name} and IP: look at nft list ruleset (netdev), tc filter and ip link (xdp)."
            ),
        ),
        _ if has_xdp => {
            check.is(Status::Warn, format!("An XDP program on {name} sees packets first: CAP_BPF shows what it does."))
        }
        _ if case.heard.packets > 0 => check.is(Status::Ok, "Packets get from the device to IP."),
        (_, Some(Looped::Heard)) if !has_queue => check.is(
            Status::Ok,
            "A packet of this host to itself gets to IP; rules on other senders need CAP_NET_ADMIN to be seen.",
        ),
        (_, Some(Looped::Heard)) => check.is(
            Status::Unknown,
            format!("A packet of this host gets to IP; for rules on other senders: tc filter show dev {name} ingress."),
        ),
        _ => {
            check.is(Status::Unknown, "Nothing came that could show it: with CAP_NET_ADMIN, list tc, XDP and netdev rules.")
        }
    }
}

pub(super) fn group(case: &Case, stage: Stage) -> Check {
    let mut check = Check::new("group").counts_of(case, "Ip:InReceives", "Ip6InReceives");
    check = check.counts_of(case, "IpExt:InMcastPkts", "Ip6InMcastPkts").counts_of(case, "Ip:InDelivers", "Ip6InDelivers");
    let address = case.address();
    let lost = shown(case.lost());
    match stage {
        Stage::Group => check.is(
            Status::Fail,
            format!("IP receives {lost} packets that nobody here has joined, and none for {address}: compare the sender's group and source address."),
        ),
        _ if case.heard.packets > 0 => check.is(Status::Ok, format!("Packets for {address} come in.")),
        _ => check.is(Status::Unknown, format!("No packet for {address} was seen: compare it with the sender's.")),
    }
}

pub(super) fn reverse_path(case: &Case, stage: Stage) -> Check {
    let check = Check::new("rp_filter");
    let name = &case.place.name;
    if case.is_ipv6() {
        return check.is(Status::Ok, "IPv6 has no reverse path filter.");
    }
    let setting = effective(case, "rp_filter");
    let check = check
        .counts(case.whole(), "TcpExt:IPReversePathFilter")
        .sees(format!("/proc/sys/net/ipv4/conf/{name}/rp_filter, the higher of it and all"), shown(setting));
    let asked = |check: Check, who: &str, way: &Option<Result<crate::host::routes::Way, rustix::io::Errno>>| match way {
        None => check,
        Some(way) => check.sees(
            format!("RTM_GETROUTE {} from {who} by {name}", case.address()),
            match way {
                Ok(_) => "taken".to_owned(),
                Err(error) => format!("refused: {error}"),
            },
        ),
    };
    let check = asked(asked(check, "the sender", &case.ways.sender), "a neighbour", &case.ways.neighbour);
    let grown = case.listening().grown("TcpExt:IPReversePathFilter");
    let remedy = format!("add a route back to the sender by {name}, or set net.ipv4.conf.{name}.rp_filter to 2");
    match (stage, grown, setting) {
        (Stage::ReversePath, _, _) => check.is(
            Status::Fail,
            format!(
                "The reverse path filter drops the packets, since no route to their sender leads over {name}: {remedy}."
            ),
        ),
        (_, None, _) => check.is(Status::Unknown, "The kernel does not count what the filter drops."),
        (_, Some(1..), _) => {
            check.is(Status::Warn, format!("The reverse path filter drops packets of some senders: {remedy}."))
        }
        _ if case.heard.packets > 0 => check.is(Status::Ok, "The filter takes the sender."),
        (_, _, Some(0)) => check.is(Status::Ok, "The filter is off."),
        _ if matches!(case.ways.sender, Some(Ok(_))) => check.is(Status::Ok, "The filter would take the named source."),
        (_, _, None) => check.is(Status::Unknown, "The setting cannot be read."),
        _ => check.is(
            Status::Unknown,
            "The filter is on, and no packet came: name the source (SOURCE@GROUP) to ask the kernel about it.",
        ),
    }
}

pub(super) fn fragments(case: &Case, stage: Stage) -> Check {
    let span = case.listening();
    let names = match case.is_ipv6() {
        true => ["Ip6ReasmReqds", "Ip6ReasmOKs", "Ip6ReasmFails", "FRAG6:inuse"],
        false => ["Ip:ReasmReqds", "Ip:ReasmOKs", "Ip:ReasmFails", "FRAG:inuse"],
    };
    let mut check = names.iter().fold(Check::new("fragments"), |check, name| check.counts(span, name));
    let mtu = case.link().and_then(|link| link.mtu);
    let headers = if case.is_ipv6() { 48 } else { 28 };
    let payload = mtu.map(|mtu| mtu.saturating_sub(headers));
    check = check.sees(format!("RTM_GETLINK {} mtu", case.place.name), shown(mtu));
    if case.heard.longest > 0 {
        check = check.sees("longest packet heard", case.heard.longest);
    }
    let missing = span.grown(names[0]).is_some_and(|asked| asked > 0) && span.grown(names[1]) == Some(0);
    let at_most = shown(payload);
    match stage {
        Stage::Fragments => check.is(
            Status::Fail,
            format!("Fragments are missing, so packets are not put together: send at most {at_most} bytes, or let fragments pass."),
        ),
        _ if span.grown(names[0]).is_none() => check.is(Status::Unknown, "The kernel does not count fragments."),
        _ if missing => check.is(Status::Warn, "Some packets could not be put together: let fragments pass."),
        _ if case.heard.packets == 0 => check.is(Status::Unknown, "No packet came that could have been in fragments."),
        _ if payload.is_some_and(|payload| case.heard.longest > payload as usize) => {
            check.is(Status::Warn, format!("The packets come in fragments, of which all must arrive: send at most {at_most} bytes."))
        }
        _ => check.is(Status::Ok, "No fragment is missing."),
    }
}

pub(super) fn checksum(case: &Case, stage: Stage) -> Check {
    let counter = case.counter("Udp:InCsumErrors", "Udp6InCsumErrors");
    let check = Check::new("checksum").counts(case.listening(), counter);
    match (case.listening().grown(counter), stage) {
        (_, Stage::Checksum) => check.is(
            Status::Fail,
            "The packets have a wrong UDP checksum: repair it at the sender, mostly by ethtool -K IF tx off there.",
        ),
        (None, _) => check.is(Status::Unknown, "The kernel does not count wrong checksums."),
        (Some(1..), _) => check
            .is(blamed(stage, Stage::Checksum), "Some UDP packets have a wrong checksum: look at their sender's offload."),
        (Some(0), _) if case.heard.packets == 0 => {
            check.is(Status::Unknown, "No packet came whose checksum could be wrong.")
        }
        (Some(0), _) => check.is(Status::Ok, "No checksum was wrong."),
    }
}

/// Whether packets come to this host at all.
pub(super) fn arrives(case: &Case, stage: Stage) -> bool {
    let is_late = matches!(
        stage,
        Stage::ReversePath | Stage::Buffer | Stage::Checksum | Stage::Fragments | Stage::Source | Stage::Port
    );
    is_late || case.heard.packets > 0 || case.lost().is_some_and(|lost| lost >= FEW) && stage == Stage::FirewallIn
}
