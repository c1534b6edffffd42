//! What is around this host: bridges, containers, the switch, routers.

use std::net::IpAddr;

use super::super::case::Case;
use super::super::report::{Check, Status, shown};
use super::super::tree::Stage;
use super::delivery::arrives;
use super::sending::is_sending;
use crate::host::links::Link;

pub(super) fn bridge(case: &Case, stage: Stage) -> Check {
    let check = Check::new("bridge");
    let Some(link) = case.link() else { return check.is(Status::Unknown, "There is no such interface.") };
    let master = link.master.and_then(|index| case.end.link(index));
    let Some(owner) = [Some(link), master].into_iter().flatten().find(|link| link.bridge.is_some()) else {
        return check.sees(format!("RTM_GETLINK {} master", link.name), shown(link.master)).is(
            Status::Ok,
            format!("{} is neither a bridge nor a port of one, as far as this network namespace knows.", link.name),
        );
    };
    let settings = owner.bridge.clone().unwrap_or_default();
    let check = check
        .sees(format!("RTM_GETLINK {} mcast_snooping", owner.name), shown(settings.snoops))
        .sees(format!("RTM_GETLINK {} mcast_querier", owner.name), shown(settings.is_querier));
    let Ok(forwarded) = &case.end.forwarded else {
        return check.is(Status::Unknown, "The groups of the bridge cannot be read.");
    };
    let ports = forwarded.iter().filter(|entry| entry.bridge == owner.index && entry.group == case.address());
    let ports = ports.map(|entry| case.interface_of(entry.port)).collect::<Vec<_>>().join(", ");
    let check = check
        .sees(format!("RTM_GETMDB {} {}", owner.name, case.address()), if ports.is_empty() { "no port" } else { &ports });
    let name = &owner.name;
    match settings.snoops {
        None => check.is(Status::Unknown, "The kernel does not tell whether the bridge snoops."),
        Some(false) => check.is(Status::Ok, format!("{name} forwards all groups to all ports.")),
        Some(true) if stage == Stage::Bridge && owner.index == link.index => check.is(
            Status::Fail,
            format!("{name} snoops, has a querier, and knows no member of the group: let the reports pass."),
        ),
        Some(true) if ports.is_empty() => check
            .is(Status::Warn, format!("{name} snoops and knows no member: with a querier it forwards the group to nobody.")),
        Some(true) => check.is(Status::Ok, format!("{name} knows members of the group.")),
    }
}

pub(super) fn containers(case: &Case, stage: Stage) -> Check {
    let check = Check::new("containers");
    let Some(link) = case.link() else { return check.is(Status::Unknown, "There is no such interface.") };
    let name = &link.name;
    let kind = if link.kind.is_empty() { "hardware" } else { &link.kind };
    let port_of = if link.port_of.is_empty() { "none" } else { &link.port_of };
    let check = check.sees(format!("RTM_GETLINK {name} kind"), kind).sees(format!("RTM_GETLINK {name} port of"), port_of);
    let master = link.master.map_or_else(|| "its master".to_owned(), |index| case.interface_of(index));
    let links = case.end.links.as_ref().map_or(&[][..], Vec::as_slice);
    let is_sublink = |other: &&Link| matches!(other.kind.as_str(), "macvlan" | "macvtap" | "ipvlan" | "ipvtap");
    let above = links.iter().filter(is_sublink).find(|other| other.below == Some(link.index));
    match (above, kind) {
        _ if stage == Stage::Bridge && takes_all(link) => {
            check.is(Status::Fail, format!("{name} is a port of {master}, which takes all its packets: join on {master}."))
        }
        _ if takes_all(link) => {
            check.is(Status::Warn, format!("{name} is a port of {master}, which takes all its packets: use {master}."))
        }
        (Some(above), _) => check.is(
            Status::Warn,
            format!(
                "{name} and the {} {} on it do not hear each other: give the host one of its own, or use a bridge.",
                above.kind, above.name
            ),
        ),
        (None, "macvlan" | "macvtap" | "ipvlan" | "ipvtap") => {
            check.is(Status::Warn, format!("A {kind} does not hear the host below it: if that sends, use a bridge."))
        }
        (None, _) => check.is(Status::Ok, format!("{name} hears its own link, and nothing takes its packets away.")),
    }
}

/// Whether it is a port of something that takes all its packets.
pub(in super::super) fn takes_all(link: &Link) -> bool {
    matches!(link.port_of.as_str(), "bridge" | "bond" | "team" | "openvswitch")
}

pub(super) fn switch(case: &Case, stage: Stage) -> Check {
    let index = case.place.index;
    let rx = |traffic: Option<crate::host::links::Traffic>| shown(traffic.map(|traffic| traffic.rx_packets));
    let check = Check::new("switch").saw(
        format!("RTM_GETLINK {} rx_packets", case.place.name),
        rx(case.start.traffic(index)),
        rx(case.end.traffic(index)),
    );
    match arrives(case, stage) {
        true => check.is(Status::Ok, "The packets reach this host."),
        false => check.is(
            Status::Unknown,
            "No packet of the group was seen: look at the sender, its TTL, and the switch (snooping without a querier, blocked reports).",
        ),
    }
}

pub(super) fn ttl(case: &Case, _: Stage) -> Check {
    let check = Check::new("ttl");
    if is_sending(case) {
        return check
            .sees("IP_MULTICAST_TTL, default", 1)
            .is(Status::Unknown, "What TTL the program sets cannot be seen; the default, 1, does not pass a router.");
    }
    match case.heard.least_ttl {
        None => check.is(Status::Unknown, "No packet came that has a TTL: beyond a router the sender needs more than 1."),
        Some(ttl) => {
            let check = check.sees("TTL of packets heard, the least", ttl);
            match ttl {
                0 | 1 => check.is(
                    Status::Warn,
                    "The packets would not pass one more router: raise the TTL at the sender if they must.",
                ),
                _ => check.is(Status::Ok, "The packets could go further."),
            }
        }
    }
}

/// A line of `ip_mr_cache`: the group, and the packets that came in by the wrong interface.
struct Entry {
    group: IpAddr,
    wrong: u64,
}

fn entries(table: &str, is_ipv6: bool) -> Vec<Entry> {
    let parse = |line: &str| {
        let fields: Vec<_> = line.split_whitespace().collect();
        let group = fields.first()?;
        let group = match is_ipv6 {
            true => IpAddr::V6(group.parse().ok()?),
            // In the byte order of this host.
            false => IpAddr::V4(u32::from_str_radix(group, 16).ok()?.to_ne_bytes().into()),
        };
        Some(Entry { group, wrong: fields.get(5)?.parse().ok()? })
    };
    table.lines().skip(1).filter_map(parse).collect()
}

pub(super) fn router(case: &Case, _: Stage) -> Check {
    let (vifs, cache) = match case.is_ipv6() {
        true => ("/proc/net/ip6_mr_vif", "/proc/net/ip6_mr_cache"),
        false => ("/proc/net/ip_mr_vif", "/proc/net/ip_mr_cache"),
    };
    let check = Check::new("multicast-router");
    let interfaces = match std::fs::read_to_string(vifs) {
        Ok(table) => table.lines().skip(1).count(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return check.is(Status::Ok, "This kernel routes no multicast, so it is no router between sender and receiver.");
        }
        Err(error) => return check.is(Status::Unknown, format!("{vifs} cannot be read: {error}.")),
    };
    let check = check.sees(vifs, format!("{interfaces} interfaces"));
    if interfaces == 0 {
        return check.is(Status::Ok, "This host routes no multicast.");
    }
    let Some(table) = &case.end.routed else { return check.is(Status::Unknown, format!("{cache} cannot be read.")) };
    let wrong = |table: &str| {
        let of_group = entries(table, case.is_ipv6()).into_iter().filter(|entry| entry.group == case.address());
        of_group.map(|entry| entry.wrong).reduce(u64::saturating_add)
    };
    let before = case.start.routed.as_deref().and_then(wrong);
    let after = wrong(table);
    let check = check.saw(format!("{cache} {} wrong", case.address()), shown(before), shown(after));
    match after {
        None => {
            check.is(Status::Warn, "This host routes multicast, and has no entry for the group: look at smcrouted or pimd.")
        }
        Some(after) if after > before.unwrap_or(0) => check.is(
            Status::Warn,
            "The group comes in by another interface than its entry says: look at the routes to its source.",
        ),
        Some(_) => check.is(Status::Ok, "This host routes the group."),
    }
}

pub(super) fn gro(case: &Case, _: Stage) -> Check {
    /// From this rate on, coalescing saves most of the work.
    const FAST: u64 = 10_000;
    let seconds = (case.order.time / 2).as_millis().max(1);
    let rate = u128::from(case.heard.packets).saturating_mul(1000).checked_div(seconds).unwrap_or(0);
    let rate = u64::try_from(rate).unwrap_or(u64::MAX);
    let check = Check::new("gro").sees("packets heard a second", rate);
    let name = &case.place.name;
    let check = match &case.coalesces {
        Ok(is_on) => check.sees(format!("ETHTOOL_MSG_FEATURES_GET {name} rx-gro"), is_on),
        Err(_) => check,
    };
    match &case.coalesces {
        _ if case.heard.packets == 0 => check.is(Status::Unknown, "No stream came that could gain by it."),
        _ if rate < FAST => check.is(Status::Ok, "The stream is too slow to gain by it."),
        Ok(true) => check.is(Status::Ok, format!("{name} coalesces packets.")),
        Ok(false) => check.is(Status::Warn, format!("GRO is off, which costs this stream CPU: ethtool -K {name} gro on.")),
        Err(error) => check.is(Status::Unknown, format!("Whether {name} coalesces packets cannot be read: {error}.")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_a_router_has_groups_and_wrong_packets() {
        let group = u32::from_ne_bytes([239, 1, 2, 3]);
        let table = format!(
            "Group    Origin   Iif     Pkts    Bytes    Wrong Oifs\n{group:08X} 0200000A 1    10  1000     4  2:1\nx\n"
        );
        let read = entries(&table, false);
        assert_eq!(read.len(), 1);
        let entry = read.first().unwrap();
        assert_eq!((entry.group, entry.wrong), ("239.1.2.3".parse().unwrap(), 4));
        let table = "heading\nff05:0000:0000:0000:0000:0000:0000:0001 fd00::1 1 10 1000 7 2:1\n";
        assert_eq!(entries(table, true).first().unwrap().wrong, 7);
    }
}
