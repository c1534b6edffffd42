//! The membership: who has joined what where, and does the network know?

use multicast::Interface;

use super::super::case::Case;
use super::super::ears::Heard;
use super::super::evidence::{Snapshot, setting, setting_of};
use super::super::report::{Check, Status, shown};
use super::super::tree::Stage;
use crate::host::groups::Source;

/// The highest of two settings holds: that of all interfaces, and that of one.
pub(super) fn effective(case: &Case, name: &str) -> Option<u32> {
    let of = |interface: &str| setting_of(case.family(), interface, name).and_then(|value| value.parse().ok());
    of("all").into_iter().chain(of(&case.place.name)).max()
}

pub(super) fn join_without_route(case: &Case, _: Stage) -> Check {
    let check = Check::new("join-without-route");
    let name = &case.place.name;
    let is_named = case.order.interface != Interface::Default;
    match &case.ways.unnamed {
        None => check.is(Status::Unknown, "The kernel answers no questions about routes."),
        Some(Err(error)) => {
            let check = check.sees(format!("RTM_GETROUTE {}", case.address()), error);
            let status = if is_named { Status::Warn } else { Status::Fail };
            check.is(
                status,
                "No route leads to the group, so a program that joins without naming an interface fails: name it.",
            )
        }
        Some(Ok(way)) => {
            let index = way.interface.unwrap_or(0);
            let check = check.sees(format!("RTM_GETROUTE {}", case.address()), case.interface_of(index));
            if index == case.place.index {
                return check.is(Status::Ok, format!("A program that names no interface joins on {name}."));
            }
            let other = case.interface_of(index);
            check.is(Status::Warn, format!("A program that names no interface joins on {other}, not on {name}: name it."))
        }
    }
}

pub(super) fn joined_here(case: &Case, stage: Stage) -> Check {
    let name = &case.place.name;
    let file = case.counter("/proc/net/igmp", "/proc/net/igmp6");
    let users = |snapshot: &Snapshot| {
        let joined = snapshot.joined.as_ref().ok()?;
        let here = joined.iter().find(|joined| joined.group == case.address() && joined.index == case.place.index);
        Some(here.map_or(0, |joined| joined.users))
    };
    let mut check =
        Check::new("joined-here").saw(format!("{file} {name} users"), shown(users(&case.start)), shown(users(&case.end)));
    let others = match case.joined_by_others() {
        Ok(others) => others.into_iter().filter(|index| *index != case.place.index).map(|index| case.interface_of(index)),
        Err(error) => return check.is(Status::Unknown, format!("The groups cannot be read: {error}.")),
    };
    let others = others.collect::<Vec<_>>().join(", ");
    if !others.is_empty() {
        check = check.sees(format!("{file}, other interfaces"), &others);
    }
    for (index, Heard { packets, .. }) in &case.elsewhere {
        check = check.saw(format!("packets heard on {}", case.interface_of(*index)), 0, packets);
    }
    let place = case.elsewhere.iter().find(|(_, heard)| heard.packets > 0).map(|(index, _)| case.interface_of(*index));
    match (&case.joined, place) {
        (Err(error), _) if stage == Stage::Join => check.is(Status::Fail, format!("The doctor cannot listen: {error}.")),
        (Err(error), _) => check.is(Status::Unknown, format!("The doctor cannot listen: {error}.")),
        (Ok(()), Some(place)) if stage == Stage::Interface => {
            check.is(Status::Fail, format!("The packets come in on {place}, not on {name}: join on {place}."))
        }
        (Ok(()), _) if stage == Stage::Interface => check.is(
            Status::Fail,
            format!("The packets come in on {name}, and the program has joined on {others}: join on {name}."),
        ),
        (Ok(()), _) if case.was_joined() == Some(true) => {
            check.is(Status::Ok, format!("A program of this host has joined the group on {name}."))
        }
        (Ok(()), _) if !others.is_empty() => {
            check.is(Status::Warn, format!("Programs of this host have joined on {others} only: name {name} there."))
        }
        (Ok(()), _) => check
            .is(Status::Warn, format!("Only the doctor has joined on {name}: start the program, or look where it joins.")),
    }
}

pub(super) fn source_lists(case: &Case, stage: Stage) -> Check {
    let file = case.counter("/proc/net/mcfilter", "/proc/net/mcfilter6");
    let mut check = Check::new("source-lists");
    let of_group = |snapshot: &Snapshot| {
        let is_ours = |source: &&Source| source.group == case.address() && source.index == case.place.index;
        Some(snapshot.sources.as_ref().ok()?.iter().filter(is_ours).cloned().collect::<Vec<_>>())
    };
    let Some(sources) = of_group(&case.start) else { return check.is(Status::Unknown, format!("{file} cannot be read.")) };
    for source in &sources {
        let counts = format!("named by {}, blocked by {}", source.included, source.excluded);
        check = check.sees(format!("{file} {} {}", case.place.name, source.source), counts);
    }
    let addresses = |heard: &Heard| heard.senders.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    if let Some(others) = case.others.as_ref().filter(|others| others.packets > 0) {
        check = check.saw("packets heard from any source", 0, others.packets);
        let senders = addresses(others);
        let status = if stage == Stage::Source { Status::Fail } else { Status::Warn };
        return check.is(status, format!("The packets come from {senders}, not from the named source: ask for that one."));
    }
    if case.refused_by_others() == Some(true) {
        let status = if stage == Stage::Source { Status::Fail } else { Status::Warn };
        let senders = addresses(&case.heard);
        return check.is(
            status,
            format!("Programs of this host take the group from other sources than {senders}: name that one there."),
        );
    }
    let is_blocked = |source: &&Source| source.excluded > 0 && case.heard.senders.contains(&source.source);
    if let Some(blocked) = sources.iter().find(is_blocked) {
        return check
            .is(Status::Warn, format!("A program of this host blocks {}, which sends: unblock it there.", blocked.source));
    }
    match (sources.is_empty(), case.order.source, case.heard.packets) {
        (true, None, _) => check.is(Status::Ok, "No program of this host names or blocks sources of the group."),
        (_, _, 1..) => check.is(Status::Ok, "The packets come from sources that are taken."),
        (_, Some(_), 0) => check.is(Status::Unknown, "Nothing came from any source while the doctor listened to all."),
        (false, None, 0) => {
            check.is(Status::Unknown, "Programs name or block sources, and no packet came to compare them with.")
        }
    }
}

pub(super) fn group_limit(case: &Case, stage: Stage) -> Check {
    let check = Check::new("group-limit");
    let settings: &[&str] = match case.is_ipv6() {
        true => &["net/core/optmem_max", "net/ipv6/mld_max_msf"],
        false => &["net/ipv4/igmp_max_memberships", "net/ipv4/igmp_max_msf"],
    };
    let see = |check: Check, name: &&str| check.sees(format!("/proc/sys/{name}"), shown(setting(name)));
    let check = settings.iter().fold(check, see);
    match &case.joined {
        _ if settings.iter().any(|name| setting(name).is_none()) => check.is(Status::Unknown, "The limits cannot be read."),
        Err(error) if stage == Stage::GroupLimit => check.is(Status::Fail, format!("{error}: raise the limit.")),
        Err(_) => check.is(Status::Unknown, "The doctor could not join, so it is not known whether a limit is reached."),
        Ok(()) => {
            check.is(Status::Ok, "The doctor could join; one socket joins as many groups as the limit says, so use several.")
        }
    }
}

pub(super) fn version(case: &Case, _: Stage) -> Check {
    let name = &case.place.name;
    let force = case.counter("force_igmp_version", "force_mld_version");
    let full = if case.is_ipv6() { 2 } else { 3 };
    let Some(forced) = effective(case, force) else {
        return Check::new("igmp-version").is(Status::Unknown, format!("{force} cannot be read."));
    };
    let mut check = Check::new("igmp-version").sees(format!("/proc/sys/net/{}/conf/{name}/{force}", case.family()), forced);
    let spoken = spoken(case, &case.end);
    if !case.is_ipv6() {
        check = check.saw(format!("/proc/net/igmp {name} version"), shown(spoken_before(case)), shown(spoken));
    }
    let low =
        if forced == 0 { spoken.filter(|spoken| *spoken < full) } else { Some(forced as u8).filter(|low| *low < full) };
    let has_sources = case.order.source.is_some();
    match (low, has_sources) {
        (None, _) if forced == 0 && spoken.is_none() && !case.is_ipv6() => {
            check.is(Status::Unknown, format!("/proc/net/igmp does not list {name}."))
        }
        (None, _) => check.is(Status::Ok, "Reports can name sources."),
        (Some(low), true) if forced != 0 => {
            check.is(Status::Warn, format!("Version {low} is forced, which names no sources: set {force} to 0."))
        }
        (Some(low), true) => check
            .is(Status::Warn, format!("A querier of version {low} was heard, so no sources are named: use one of {full}.")),
        (Some(low), false) => {
            check.is(Status::Ok, format!("Version {low} is spoken, which is enough for groups without sources."))
        }
    }
}

fn spoken(case: &Case, snapshot: &Snapshot) -> Option<u8> {
    let joined = snapshot.joined.as_ref().ok()?;
    joined.iter().find(|joined| joined.index == case.place.index && joined.group.is_ipv4())?.version
}

fn spoken_before(case: &Case) -> Option<u8> {
    spoken(case, &case.start)
}

pub(super) fn reports(case: &Case, stage: Stage) -> Check {
    let listening = case.listening();
    let check = match case.is_ipv6() {
        true => ["Icmp6OutMLDv2Reports", "Ip6OutDiscards"]
            .iter()
            .fold(Check::new("reports"), |check, counter| check.counts_here(listening, counter)),
        false => {
            let check = Check::new("reports").counts(listening, "Ip:OutRequests").counts(listening, "Ip:OutTransmits");
            check.counts(listening, "IpExt:OutMcastPkts")
        }
    };
    let protocol = case.counter("IGMP (IP protocol 2)", "MLD (ICMPv6 types 131, 132 and 143)");
    let blocked = if stage == Stage::Reports { Status::Fail } else { Status::Warn };
    match case.reports_leave() {
        Some(true) => {
            check.is(Status::Ok, "The report of the membership left IP; a tc rule on the way out would not show here.")
        }
        Some(false) => {
            check.is(blocked, format!("The report does not leave this host: allow {protocol} in the output chains."))
        }
        None if case.was_joined() == Some(true) => {
            check.is(Status::Unknown, "The group was joined before, so no report was due.")
        }
        None => check.is(
            Status::Unknown,
            "Whether a report left cannot be told from the counters: other programs send to groups, too.",
        ),
    }
}

pub(super) fn querier(case: &Case, _: Stage) -> Check {
    let check = Check::new("querier");
    if let Some(bridge) = case.link().and_then(|link| link.bridge.as_ref()) {
        let hears = bridge.hears_querier.get(usize::from(case.is_ipv6())).copied().unwrap_or(false);
        let check = check.sees(format!("RTM_GETLINK {} querier", case.place.name), hears);
        return match hears {
            true => check.is(Status::Ok, "The bridge knows a querier."),
            false => check.is(Status::Warn, "The bridge knows no querier, so it forwards groups to all ports: enable one."),
        };
    }
    let advice = "None was heard; a querier asks every 125 s, so listen for that long, and enable one if there is none.";
    if case.is_ipv6() {
        let check = check.counts_here(case.whole(), "Icmp6InGroupMembQueries");
        return match case.whole().grown_here("Icmp6InGroupMembQueries") {
            Some(1..) => check.is(Status::Ok, "A querier has asked."),
            _ => check.is(Status::Unknown, advice),
        };
    }
    let version = spoken(case, &case.end);
    let check = check.saw(format!("/proc/net/igmp {} version", case.place.name), shown(spoken_before(case)), shown(version));
    let is_forced = effective(case, "force_igmp_version").is_none_or(|forced| forced != 0);
    match version {
        Some(low @ 1..3) if !is_forced => check.is(Status::Ok, format!("A querier of IGMPv{low} was heard.")),
        _ => check.is(
            Status::Unknown,
            "A querier of IGMPv3 leaves no mark: with CAP_NET_RAW, tcpdump igmp shows one every 125 s.",
        ),
    }
}
