//! What is around this host: bridges, containers, routers.

use std::net::IpAddr;

use super::super::case::{Case, Direction};
use super::super::report::{Check, Status, listed};
use super::super::tree::Stage;
use super::blamed;
use crate::host::links::Link;

fn known(flag: Option<bool>) -> &'static str {
    match flag {
        Some(true) => "on",
        Some(false) => "off",
        None => "unknown",
    }
}

pub(super) fn bridge(case: &Case, stage: Stage, check: &mut Check) {
    let Some(link) = case.link() else { return check.is(Status::Unknown, "Nothing is known of {if}.") };
    let master = link.master.and_then(|index| case.end.link(index));
    check.sees("RTM_GETLINK {if} master", &master.map_or("none", |master| &master.name));
    let owner = [Some(link), master].into_iter().flatten().find_map(|link| Some((link, link.bridge.as_ref()?)));
    let Some((owner, settings)) = owner else {
        return check.is(Status::Ok, "{if} is neither a bridge nor a port of one, as far as this network namespace knows.");
    };
    let name = &owner.name;
    check.sees(&["RTM_GETLINK ", name, " mcast_snooping"].concat(), &known(settings.snoops));
    check.sees(&["RTM_GETLINK ", name, " mcast_querier"].concat(), &known(settings.is_querier));
    let Ok(forwarded) = &case.end.forwarded else {
        return check.is(Status::Unknown, "The groups of the bridge cannot be read.");
    };
    let ports = forwarded.iter().filter(|entry| entry.bridge == owner.index && entry.group == case.address());
    let ports = listed(&ports.map(|entry| case.interface_of(entry.port)).collect::<Vec<_>>());
    check.sees(&["RTM_GETMDB ", name, " {group}"].concat(), if ports.is_empty() { &"no port" } else { &ports });
    match settings.snoops {
        None => check.is(Status::Unknown, "The kernel does not tell whether the bridge snoops."),
        Some(false) => check.is_of(Status::Ok, "{} forwards all groups to all ports.", name),
        Some(true) if !ports.is_empty() => check.is_of(Status::Ok, "{} knows members of the group.", name),
        Some(true) => check.is_of(
            blamed(stage == Stage::Bridge && owner.index == link.index),
            "{} snoops and knows no member, so with a querier it forwards the group to nobody: let the reports pass.",
            name,
        ),
    }
}

pub(super) fn containers(case: &Case, stage: Stage, check: &mut Check) {
    let Some(link) = case.link() else { return check.is(Status::Unknown, "Nothing is known of {if}.") };
    let or = |text: &str, none: &str| if text.is_empty() { none.to_owned() } else { text.to_owned() };
    check.sees("RTM_GETLINK {if} kind", &or(&link.kind, "none"));
    check.sees("RTM_GETLINK {if} port of", &or(&link.port_of, "none"));
    let is_sublink = |kind: &str| matches!(kind, "macvlan" | "macvtap" | "ipvlan" | "ipvtap");
    let links = case.end.links.as_ref().map_or(&[][..], Vec::as_slice);
    let above = links.iter().find(|other| is_sublink(&other.kind) && other.below == Some(link.index));
    match above {
        _ if takes_all(link) => check.is_of(
            blamed(stage == Stage::Bridge),
            "{if} is a port of {}, which takes all its packets: join on {}.",
            &case.interface_of(link.master.unwrap_or(0)),
        ),
        _ if link.port_of == "vrf" => check.is_of(
            Status::Warn,
            "{if} belongs to the routing domain {}: a program hears it only if it is bound to one of them, or by net.ipv4.udp_l3mdev_accept=1.",
            &case.interface_of(link.master.unwrap_or(0)),
        ),
        _ if !link.port_of.is_empty() => check.is_of(
            Status::Unknown,
            "{if} is a port of a device of kind {}, and whether that takes its packets is not known here.",
            &link.port_of,
        ),
        Some(above) => check.is_of(
            Status::Warn,
            "{if} and the container's interface {} on it do not hear each other: give the host one of its own, or use a bridge.",
            &above.name,
        ),
        None if is_sublink(&link.kind) => {
            check.is_of(Status::Warn, "A {} does not hear the host below it: if that sends, use a bridge.", &link.kind);
        }
        None => check.is(Status::Ok, "{if} hears its own link, and nothing takes its packets away."),
    }
}

/// Whether it is a port of something that takes all its packets: no socket on the port hears them.
pub(in super::super) fn takes_all(link: &Link) -> bool {
    matches!(link.port_of.as_str(), "bridge" | "bond" | "team" | "openvswitch")
}

pub(super) fn ttl(case: &Case, _: Stage, check: &mut Check) {
    if case.order.direction == Direction::To {
        return check
            .is(Status::Unknown, "What TTL the program sets cannot be seen; the default, 1, does not pass a router.");
    }
    let Some(ttl) = case.heard.least_ttl else {
        return check.is(Status::Unknown, "No packet came that has a TTL: beyond a router the sender needs more than 1.");
    };
    check.sees("TTL of packets heard, the least", &ttl);
    match ttl {
        0 | 1 => {
            check.is(Status::Warn, "The packets would not pass one more router: raise the TTL at the sender if they must.")
        }
        _ => check.is(Status::Ok, "The packets could go further."),
    }
}

/// A line of `ip_mr_cache`: the group, and the packets that came in by the wrong interface. Packets that no entry fits have a line, too,
/// for some seconds, without an interface that they may come in by: it is none of these.
struct Entry {
    group: IpAddr,
    wrong: u64,
    /// Whether there is an interface that they go out by: without one the router drops them.
    goes_out: bool,
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
        let comes_by: i32 = fields.get(2)?.parse().ok()?;
        let (wrong, goes_out) = (fields.get(5)?.parse().ok()?, fields.get(6).is_some());
        (comes_by >= 0).then_some(Entry { group, wrong, goes_out })
    };
    table.lines().skip(1).filter_map(parse).collect()
}

pub(super) fn router(case: &Case, _: Stage, check: &mut Check) {
    let (vifs, cache) = match case.is_ipv6() {
        true => ("/proc/net/ip6_mr_vif", "/proc/net/ip6_mr_cache {group} wrong"),
        false => ("/proc/net/ip_mr_vif", "/proc/net/ip_mr_cache {group} wrong"),
    };
    let interfaces = match std::fs::read_to_string(vifs) {
        Ok(table) => table.lines().skip(1).count(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return check.is(Status::Ok, "This kernel routes no multicast, so it is no router between sender and receiver.");
        }
        Err(error) => return check.is_of(Status::Unknown, "Whether this host routes multicast cannot be read: {}.", &error),
    };
    check.sees(&[vifs, " interfaces"].concat(), &interfaces);
    if interfaces == 0 {
        return check.is(Status::Ok, "This host routes no multicast.");
    }
    let wrong = |table: &Option<String>| {
        let entries = entries(table.as_deref()?, case.is_ipv6());
        entries.iter().filter(|entry| entry.group == case.address()).map(|entry| entry.wrong).reduce(u64::saturating_add)
    };
    let (before, after) = (wrong(&case.start.routed), wrong(&case.end.routed));
    let entries = entries(case.end.routed.as_deref().unwrap_or_default(), case.is_ipv6());
    let goes_out = entries.iter().any(|entry| entry.group == case.address() && entry.goes_out);
    check.saw_number(cache, before, after);
    match after {
        _ if case.end.routed.is_none() => check.is(Status::Unknown, "The groups that this host routes cannot be read."),
        None => {
            check.is(Status::Warn, "This host routes multicast, and has no entry for the group: look at smcrouted or pimd.")
        }
        Some(after) if after > before.unwrap_or(0) => {
            check.is(
                Status::Warn,
                "The group comes in by another interface than its entry says: look at the routes to its source.",
            );
        }
        Some(_) if !goes_out => check.is(
            Status::Warn,
            "This host takes the group in and sends it out by no interface: look at what smcrouted or pimd knows of its members.",
        ),
        Some(_) => check.is(Status::Ok, "This host routes the group."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_a_router_has_groups_and_wrong_packets() {
        let group = u32::from_ne_bytes([239, 1, 2, 3]);
        let table = format!(
            "Group    Origin   In      Pkts    Bytes    Wrong Outs\n{group:08X} 0200000A 1    10  1000     4  2:1\n\
             {group:08X} 0300000A -1   0   0   0\nx\n"
        );
        let read = entries(&table, false);
        assert_eq!(read.len(), 1);
        let entry = read.first().unwrap();
        assert_eq!((entry.group, entry.wrong, entry.goes_out), ("239.1.2.3".parse().unwrap(), 4, true));
        let table = "heading\nff05:0000:0000:0000:0000:0000:0000:0001 fd00::1 1 10 1000 7\n";
        let read = entries(table, true);
        assert_eq!((read.first().unwrap().wrong, read.first().unwrap().goes_out), (7, false));
    }
}
