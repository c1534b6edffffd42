//! The membership: who has joined where, and does the network know?

use multicast::Interface;

use super::super::case::Case;
use super::super::evidence::{Snapshot, setting, setting_of};
use super::super::report::{Check, Status, listed, shown};
use super::super::tree::Stage;
use super::blamed;

/// The highest of two settings holds: that of all interfaces, and that of one.
pub(super) fn effective(case: &Case, name: &str) -> Option<u64> {
    let of = |interface: &str| setting_of(case.family(), interface, name).and_then(|value| value.parse().ok());
    of("all").into_iter().chain(of(&case.place.name)).max()
}

pub(super) fn join_without_route(case: &Case, _: Stage, check: &mut Check) {
    let is_named = case.order.interface != Interface::Default;
    match &case.ways.unnamed {
        None => check.is(Status::Unknown, "The kernel answers no questions about routes."),
        Some(Err(error)) => {
            check.sees("RTM_GETROUTE {group}", error);
            let advice = "No route leads to the group, so a program that joins without naming an interface fails: name it.";
            check.is(blamed(!is_named), advice);
        }
        Some(Ok(way)) => {
            let index = way.interface.unwrap_or(0);
            let other = case.interface_of(index);
            check.sees("RTM_GETROUTE {group}", &other);
            if index == case.place.index {
                return check.is(Status::Ok, "A program that names no interface joins on {if}.");
            }
            check.is_of(Status::Warn, "A program that names no interface joins on {}, not on {if}: name it.", &other);
        }
    }
}

pub(super) fn joined_here(case: &Case, stage: Stage, check: &mut Check) {
    let users = |snapshot: &Snapshot| {
        let joined = snapshot.joined.as_ref().ok()?;
        let here = joined.iter().find(|joined| joined.group == case.address() && joined.index == case.place.index);
        Some(here.map_or(0, |joined| joined.users))
    };
    let (here, there) = match case.is_ipv6() {
        true => ("/proc/net/igmp6 {if} users", "/proc/net/igmp6, other interfaces"),
        false => ("/proc/net/igmp {if} users", "/proc/net/igmp, other interfaces"),
    };
    check.saw_number(here, users(&case.start), users(&case.end));
    let others = match case.joined_by_others() {
        Ok(others) => others.into_iter().filter(|index| *index != case.place.index).map(|index| case.interface_of(index)),
        Err(error) => return check.is_of(Status::Unknown, "The groups cannot be read: {}.", &error),
    };
    let others = listed(&others.collect::<Vec<_>>());
    if !others.is_empty() {
        check.sees(there, &others);
    }
    let mut place = None;
    for (index, heard) in &case.elsewhere {
        let name = case.interface_of(*index);
        check.saw_number(&["packets heard on ", &name].concat(), Some(0), Some(heard.packets));
        if heard.packets > 0 {
            place = Some(name);
        }
    }
    match (&case.joined, place) {
        (Err(error), _) => {
            let status = if stage == Stage::Join { Status::Fail } else { Status::Unknown };
            check.is_of(status, "The doctor cannot listen: {}.", error);
        }
        (Ok(()), Some(place)) if stage == Stage::Interface => {
            check.is_of(Status::Fail, "The packets come in on {}, not on {if}: join on {}.", &place);
        }
        (Ok(()), _) if stage == Stage::Interface => {
            check.is_of(
                Status::Fail,
                "The packets come in on {if}, and the program has joined on {}: join on {if}.",
                &others,
            );
        }
        (Ok(()), _) if case.was_joined() == Some(true) => {
            check.is(Status::Ok, "A program of this host has joined the group on {if}.");
        }
        (Ok(()), _) if !others.is_empty() => {
            check.is_of(Status::Warn, "Programs of this host have joined on {} only: name {if} there.", &others);
        }
        (Ok(()), _) => {
            check.is(Status::Warn, "Only the doctor has joined on {if}: start the program, or look where it joins.");
        }
    }
}

pub(super) fn group_limit(case: &Case, stage: Stage, check: &mut Check) {
    let settings = match case.is_ipv6() {
        true => ["net/core/optmem_max", "net/ipv6/mld_max_msf"],
        false => ["net/ipv4/igmp_max_memberships", "net/ipv4/igmp_max_msf"],
    };
    let values = settings.map(setting);
    for (name, value) in settings.iter().zip(&values) {
        check.sees_setting(name, value.as_deref());
    }
    match &case.joined {
        // The second of IPv6 is shown in the first network namespace only.
        _ if values.first().is_none_or(Option::is_none) => check.is(Status::Unknown, "The limits cannot be read."),
        Err(error) if stage == Stage::GroupLimit => check.is_of(Status::Fail, "{}: raise the limit.", error),
        Err(_) => check.is(Status::Unknown, "The doctor could not join, so it is not known whether a limit is reached."),
        Ok(()) => {
            check.is(Status::Ok, "The doctor could join; one socket joins as many groups as the limit says, so use several.")
        }
    }
}

pub(super) fn version(case: &Case, _: Stage, check: &mut Check) {
    let (force, full) = match case.is_ipv6() {
        true => ("force_mld_version", 2),
        false => ("force_igmp_version", 3),
    };
    let forced = effective(case, force);
    check.sees(&["/proc/sys/net/", case.family(), "/conf/{if}/", force].concat(), &shown(forced));
    let spoken = spoken(case, &case.end);
    if !case.is_ipv6() {
        speaks(case, check);
    }
    let (Some(forced), true) = (forced, case.is_ipv6() || spoken.is_some()) else {
        return check.is(Status::Unknown, "Which version is spoken cannot be read.");
    };
    let low = if forced == 0 { spoken } else { Some(forced) }.filter(|low| *low < full);
    match (low, case.order.source.is_some()) {
        (None, _) => check.is(Status::Ok, "Reports can name sources."),
        (Some(low), true) if forced != 0 => {
            check.is_of(Status::Warn, "Version {} is forced, which names no sources: set the force to 0.", &low);
        }
        (Some(low), true) => {
            check.is_of(Status::Warn, "A querier of version {} was heard, so no sources are named: use a newer one.", &low);
        }
        (Some(low), false) => {
            check.is_of(Status::Ok, "Version {} is spoken, which is enough for groups without sources.", &low);
        }
    }
}

/// The version of IGMP that is spoken on the interface.
fn spoken(case: &Case, snapshot: &Snapshot) -> Option<u64> {
    let joined = snapshot.joined.as_ref().ok()?;
    joined.iter().find(|joined| joined.index == case.place.index && joined.group.is_ipv4())?.version.map(u64::from)
}

fn speaks(case: &Case, check: &mut Check) {
    check.saw_number("/proc/net/igmp {if} version", spoken(case, &case.start), spoken(case, &case.end));
}

pub(super) fn reports(case: &Case, stage: Stage, check: &mut Check) {
    let reporting = case.reporting();
    let blocked = blamed(stage == Stage::Reports);
    if case.is_ipv6() {
        check.counts_here(reporting, "Icmp6OutMLDv2Reports");
        check.counts_here(reporting, "Ip6OutDiscards");
    } else {
        check.counts(reporting, "Ip:OutRequests");
        check.counts(reporting, "Ip:OutTransmits");
        check.counts(reporting, "IpExt:OutMcastPkts");
    }
    match case.reports_leave() {
        Some(true) => {
            check.is(Status::Ok, "The report of the membership left IP; a tc rule on the way out would not show here.")
        }
        Some(false) if case.is_ipv6() => check.is(
            blocked,
            "The report does not leave this host: allow MLD (ICMPv6 types 131, 132 and 143) in the output chains.",
        ),
        Some(false) => {
            check.is(blocked, "The report does not leave this host: allow IGMP (IP protocol 2) in the output chains.")
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

pub(super) fn querier(case: &Case, _: Stage, check: &mut Check) {
    if let Some(bridge) = case.link().and_then(|link| link.bridge.as_ref()) {
        let hears = bridge.hears_querier.get(usize::from(case.is_ipv6())).copied().unwrap_or(false);
        check.sees("RTM_GETLINK {if} querier", &hears);
        return match hears {
            true => check.is(Status::Ok, "The bridge knows a querier."),
            false => check.is(Status::Warn, "The bridge knows no querier, so it forwards groups to all ports: enable one."),
        };
    }
    if case.is_ipv6() {
        check.counts_here(case.whole(), "Icmp6InGroupMembQueries");
        return match case.whole().grown_here("Icmp6InGroupMembQueries") {
            Some(1..) => check.is(Status::Ok, "A querier has asked."),
            _ => check.is(
                Status::Unknown,
                "None was heard; a querier asks every 125 s, so listen for that long, and enable one if there is none.",
            ),
        };
    }
    speaks(case, check);
    let is_forced = effective(case, "force_igmp_version").is_none_or(|forced| forced != 0);
    match spoken(case, &case.end) {
        Some(1..3) if !is_forced => check.is(Status::Ok, "A querier of an old version of IGMP was heard."),
        _ => check.is(
            Status::Unknown,
            "A querier of IGMPv3 leaves no mark: with CAP_NET_RAW, tcpdump igmp shows one every 125 s.",
        ),
    }
}
