//! Verdicts from two looks at the counters, with the figures that Linux 6.18 shows for five packets.

use std::net::IpAddr;
use std::time::Duration;

use multicast::Interface;

use super::case::{Case, Direction, Order, Place, Ways};
use super::ears::{Heard, Looped};
use super::evidence::Snapshot;
use super::report::Status;
use super::tree::Stage;
use super::verdict;
use crate::host::counters::Counters;
use crate::host::groups::{Joined, Source};
use crate::host::links::{Address, Hardware, Link, MULTICAST, Queue, Traffic, UP};
use crate::host::sockets::{Kind, Socket};

const INDEX: u32 = 4;
/// No interface has this name, so no setting of this machine is read.
const NAME: &str = "doctor-test0";
const ALL_IPV4: &[&str] = &[
    "Ip:InReceives",
    "Ip:InDelivers",
    "Ip:ReasmReqds",
    "Ip:ReasmOKs",
    "Ip:ReasmFails",
    "Ip:OutRequests",
    "Ip:OutTransmits",
    "IpExt:InMcastPkts",
    "IpExt:OutMcastPkts",
    "TcpExt:IPReversePathFilter",
    "Udp:InCsumErrors",
    "Udp:IgnoredMulti",
    "Udp:RcvbufErrors",
    "FRAG:inuse",
    "softnet:dropped",
];
const ALL_IPV6: &[&str] = &[
    "Ip6InReceives",
    "Ip6InDelivers",
    "Ip6InMcastPkts",
    "Ip6OutMcastPkts",
    "Ip6OutDiscards",
    "Ip6InDiscards",
    "Ip6ReasmReqds",
    "Ip6ReasmOKs",
    "Icmp6OutMLDv2Reports",
    "Icmp6OutGroupMembResponses",
    "Udp6InCsumErrors",
    "Udp6IgnoredMulti",
    "Udp6RcvbufErrors",
    "FRAG6:inuse",
];

/// A host at a moment: these counters, and 0 for all others.
fn snapshot(rx: u64, counters: &[(&str, u64)]) -> Snapshot {
    let value =
        |name: &&'static str| (*name, counters.iter().find(|(known, _)| known == name).map_or(0, |(_, value)| *value));
    let all: Vec<_> = ALL_IPV4.iter().chain(ALL_IPV6).map(value).collect();
    let link = Link {
        index: INDEX,
        name: NAME.to_owned(),
        hardware: Hardware::Ethernet,
        flags: UP | MULTICAST,
        mtu: Some(1500),
        carrier: Some(true),
        state: Some(6),
        traffic: Some(Traffic { rx_packets: rx, ..Traffic::default() }),
        ..Link::default()
    };
    let address = Address { index: INDEX, address: "10.0.0.1".parse().unwrap(), prefix: 24, flags: 0 };
    Snapshot {
        counters: Counters::made_up(&all, &all),
        links: Ok(vec![link]),
        addresses: Ok(vec![address]),
        queues: Ok(Vec::new()),
        forwarded: Ok(Vec::new()),
        joined: Ok(Vec::new()),
        hardware: Ok(Vec::new()),
        sockets: Ok(Vec::new()),
        connections: Some(0),
        routed: None,
    }
}

/// Nobody had joined before the doctor, which heard nothing, and whose packet to itself came back.
fn case(group: &str, end: Snapshot) -> Case {
    let received = [("Ip:InReceives", 101), ("Ip6InReceives", 101)];
    Case {
        order: Order {
            direction: Direction::From,
            group: group.parse().unwrap(),
            source: None,
            interface: Interface::Default,
            time: Duration::from_secs(2),
        },
        place: Place { index: INDEX, name: NAME.to_owned() },
        start: snapshot(0, &[]),
        join: snapshot(0, &[]),
        listen: snapshot(0, &[]),
        end,
        joined: Ok(()),
        deaf: None,
        heard: Heard::default(),
        own: vec![1],
        looped: Some((
            snapshot(0, &[("Ip:InReceives", 100), ("Ip6InReceives", 100)]),
            Looped::Heard,
            snapshot(0, &received),
        )),
        others: None,
        elsewhere: Vec::new(),
        sources: Ok(Vec::new()),
        ways: Ways::default(),
        owners: Err("not looked at".to_owned()),
        chains: Err(rustix::io::Errno::PERM),
        coalesces: Err("not looked at".to_owned()),
    }
}

fn v4(rx: u64, counters: &[(&str, u64)]) -> Case {
    case("239.1.2.3:5000", snapshot(rx, counters))
}

fn v6(rx: u64, counters: &[(&str, u64)]) -> Case {
    case("[ff05::77]:5000", snapshot(rx, counters))
}

fn stage(case: &Case) -> Stage {
    case.signs().verdict()
}

/// The packet to itself was lost, and IP saw this many more.
fn lost(mut case: Case, seen: u64) -> Case {
    let counters = [("Ip:InReceives", 100 + seen), ("Ip6InReceives", 100 + seen)];
    case.looped =
        Some((snapshot(0, &[("Ip:InReceives", 100), ("Ip6InReceives", 100)]), Looped::Lost, snapshot(0, &counters)));
    case
}

fn heard(mut case: Case, sender: &str) -> Case {
    let senders: Vec<IpAddr> = vec![sender.parse().unwrap()];
    case.heard = Heard { packets: 5, senders, least_ttl: Some(1), longest: 8 };
    case.looped = None;
    case
}

fn socket(inode: u64, drops: u64) -> Socket {
    let (local, remote) = ("0.0.0.0:5000".parse().unwrap(), "0.0.0.0:0".parse().unwrap());
    Socket { local, remote, uid: 1000, inode, drops, queued: 0, details: None, kind: Kind::Udp }
}

const WRONG_GROUP: &[(&str, u64)] = &[("Ip:InReceives", 5)];
const FIREWALL: &[(&str, u64)] = &[("Ip:InReceives", 5), ("IpExt:InMcastPkts", 5)];
const UNDELIVERED_IPV6: &[(&str, u64)] = &[("Ip6InReceives", 5), ("Ip6InMcastPkts", 5)];

#[test]
fn ipv4_by_its_figures() {
    let received = ("Ip:InReceives", 5);
    let multicast = ("IpExt:InMcastPkts", 5);
    let delivered = ("Ip:InDelivers", 5);
    for (figures, expected) in [
        (&[received, ("TcpExt:IPReversePathFilter", 5)][..], Stage::ReversePath),
        (&[received, multicast, delivered, ("Udp:InCsumErrors", 5)], Stage::Checksum),
        (&[received, multicast, ("Ip:ReasmReqds", 5), ("FRAG:inuse", 5)], Stage::Fragments),
        (&[received, multicast, delivered, ("Udp:IgnoredMulti", 5)], Stage::Port),
        (WRONG_GROUP, Stage::Group),
        (FIREWALL, Stage::FirewallIn),
    ] {
        assert_eq!(stage(&v4(5, figures)), expected, "{figures:?}");
    }
    assert_eq!(stage(&v4(0, &[])), Stage::Silence);
    assert_eq!(stage(&heard(v4(5, FIREWALL), "10.0.0.2")), Stage::Sound);
}

#[test]
fn ipv6_by_its_figures() {
    let delivered = ("Ip6InDelivers", 5);
    let with = |more: &[(&'static str, u64)]| [UNDELIVERED_IPV6, more].concat();
    for (figures, expected) in [
        (with(&[delivered, ("Udp6InCsumErrors", 5)]), Stage::Checksum),
        (with(&[("Ip6ReasmReqds", 5), ("FRAG6:inuse", 5)]), Stage::Fragments),
        (with(&[delivered, ("Udp6IgnoredMulti", 5)]), Stage::Port),
        // The packet to itself passes, so it is no firewall.
        (with(&[]), Stage::Group),
    ] {
        assert_eq!(stage(&v6(5, &figures)), expected, "{figures:?}");
    }
    assert_eq!(stage(&lost(v6(5, UNDELIVERED_IPV6), 1)), Stage::FirewallIn);
    assert_eq!(stage(&v6(0, &[])), Stage::Silence);
    // Without that packet the two cannot be told apart.
    let mut untold = v6(5, UNDELIVERED_IPV6);
    untold.looped = Some((snapshot(0, &[]), Looped::NotTried("a reason".to_owned()), snapshot(0, &[])));
    assert_eq!(stage(&untold), Stage::Undecided);
}

#[test]
fn a_lost_packet_to_itself_tells_a_firewall_from_what_is_before_ip() {
    assert_eq!(stage(&lost(v4(0, &[]), 1)), Stage::FirewallIn);
    assert_eq!(stage(&lost(v4(0, &[]), 0)), Stage::BeforeIp);
    // Something else moved the counter meanwhile; what the device received and IP did not see decides.
    assert_eq!(stage(&lost(v4(5, &[]), 3)), Stage::BeforeIp);
    assert_eq!(stage(&lost(v4(9, FIREWALL), 3)), Stage::FirewallIn);
    // A processor dropped packets: then it may have been that.
    let mut busy = lost(v4(0, &[]), 0);
    let dropped = [("Ip:InReceives", 100), ("softnet:dropped", 7)];
    busy.looped = Some((snapshot(0, &[("Ip:InReceives", 100)]), Looped::Lost, snapshot(0, &dropped)));
    assert_eq!(stage(&busy), Stage::Silence);
}

#[test]
fn frames_that_ip_does_not_count_are_no_proof() {
    // ARP, LLDP: rx_packets 5, InReceives 0.
    assert_eq!(stage(&v4(5, &[])), Stage::Undecided);
    let mut dropped = v4(5, &[]);
    let queue = |drops| Ok(vec![Queue { index: INDEX, kind: "clsact".to_owned(), drops: Some(drops) }]);
    (dropped.listen.queues, dropped.end.queues) = (queue(2), queue(7));
    assert_eq!(stage(&dropped), Stage::BeforeIp);
    // A few packets for other groups are on every network.
    assert_eq!(stage(&v4(2, &[("Ip:InReceives", 2)])), Stage::Silence);
    // Packets that were delivered are not lost.
    assert_eq!(stage(&v4(50, &[("Ip:InReceives", 50), ("Ip:InDelivers", 50)])), Stage::Silence);
}

#[test]
fn an_xdp_program_is_blamed_for_nearly_all_of_many_frames() {
    let with = |rx, ip| {
        let mut case = v4(rx, &[("Ip:InReceives", ip), ("Ip:InDelivers", ip)]);
        case.end.links.iter_mut().flatten().for_each(|link| link.has_xdp = true);
        stage(&case)
    };
    assert_eq!([with(20, 1), with(4, 0), with(20, 10)], [Stage::BeforeIp, Stage::Undecided, Stage::Undecided]);
}

#[test]
fn what_grew_before_the_join_is_not_due_to_the_group() {
    let mut case = v4(9, &[("Ip:InReceives", 9), ("Ip:InDelivers", 9), ("Udp:InCsumErrors", 8)]);
    let earlier = || snapshot(5, &[("Ip:InReceives", 5), ("Ip:InDelivers", 5), ("Udp:InCsumErrors", 4)]);
    (case.join, case.listen) = (earlier(), earlier());
    assert_eq!(stage(&case), Stage::Silence);
    // Unless somebody had joined it before.
    let joined = Joined { index: INDEX, interface: NAME.to_owned(), group: case.address(), users: 1, version: Some(3) };
    case.start.joined = Ok(vec![joined]);
    assert_eq!(stage(&case), Stage::Checksum);
}

#[test]
fn sources_and_interfaces() {
    let senders = vec!["10.0.0.2".parse().unwrap()];
    let mut other = v4(5, WRONG_GROUP);
    other.order.source = Some("10.0.0.9".parse().unwrap());
    other.others = Some(Heard { packets: 3, senders: senders.clone(), ..Heard::default() });
    assert_eq!(stage(&other), Stage::Source);
    let mut elsewhere = v4(0, WRONG_GROUP);
    elsewhere.elsewhere = vec![(7, Heard { packets: 3, senders, ..Heard::default() })];
    assert_eq!(stage(&elsewhere), Stage::Interface);

    let joined =
        |index| Joined { index, interface: String::new(), group: "239.1.2.3".parse().unwrap(), users: 1, version: Some(3) };
    let mut named = heard(v4(5, &[]), "10.0.0.2");
    named.start.joined = Ok(vec![joined(INDEX)]);
    let source = |source: &str| Source {
        index: INDEX,
        group: "239.1.2.3".parse().unwrap(),
        source: source.parse().unwrap(),
        included: 1,
        excluded: 0,
    };
    named.sources = Ok(vec![source("10.0.0.9")]);
    assert_eq!(stage(&named), Stage::Source);
    named.sources = Ok(vec![source("10.0.0.9"), source("10.0.0.2")]);
    assert_eq!(stage(&named), Stage::Sound);

    let mut joined_elsewhere = heard(v4(5, &[]), "10.0.0.2");
    joined_elsewhere.start.joined = Ok(vec![joined(7)]);
    assert_eq!(stage(&joined_elsewhere), Stage::Sound);
    joined_elsewhere.end.sockets = Ok(vec![socket(9, 0)]);
    assert_eq!(stage(&joined_elsewhere), Stage::Interface);
}

/// Beside a program that does not share the port the counters alone decide, and they never say that all is well.
#[test]
fn a_doctor_that_cannot_hear_judges_by_counters() {
    let deaf = |figures: &[(&'static str, u64)]| {
        let mut case = v4(5, figures);
        case.deaf = Some(rustix::io::Errno::ADDRINUSE.into());
        case.looped = None;
        stage(&case)
    };
    let delivered = [FIREWALL, &[("Ip:InDelivers", 5)]].concat();
    assert_eq!(deaf(&delivered), Stage::Undecided);
    assert_eq!(deaf(FIREWALL), Stage::FirewallIn);
    assert_eq!(deaf(WRONG_GROUP), Stage::Group);
    assert_eq!(deaf(&[("Ip:InReceives", 5), ("TcpExt:IPReversePathFilter", 5)]), Stage::ReversePath);
    assert_eq!(deaf(&[&delivered[..], &[("Udp:IgnoredMulti", 5)]].concat()), Stage::Port);
}

#[test]
fn a_full_buffer_of_another_program_is_a_fault_and_a_filter_is_none() {
    let mut case = heard(v4(200, &[("Udp:RcvbufErrors", 198)]), "10.0.0.2");
    case.start.sockets = Ok(vec![socket(9, 2), socket(1, 0)]);
    case.end.sockets = Ok(vec![socket(9, 200), socket(1, 0)]);
    assert_eq!(stage(&case), Stage::Buffer);
    // The doctor's own.
    case.end.sockets = Ok(vec![socket(9, 2), socket(1, 198)]);
    assert_eq!(stage(&case), Stage::Sound);
    // Rejected by the program's filter: counted as drops, but the buffer was not full.
    let mut filtered = heard(v4(200, &[]), "10.0.0.2");
    filtered.end.sockets = Ok(vec![socket(9, 200)]);
    assert_eq!(stage(&filtered), Stage::Sound);
}

#[test]
fn links_come_first() {
    let with = |change: fn(&mut Link)| {
        let mut case = heard(v4(5, &[]), "10.0.0.2");
        case.end.links.iter_mut().flatten().for_each(change);
        stage(&case)
    };
    assert_eq!(with(|link| link.flags = MULTICAST), Stage::Link);
    assert_eq!(with(|link| link.carrier = Some(false)), Stage::Carrier);
    assert_eq!(with(|link| link.state = Some(5)), Stage::Carrier);
    assert_eq!(with(|link| link.index = 9), Stage::Link);
    assert_eq!(with(|_| {}), Stage::Sound);
}

/// A processor without room drops reports on their way out as well: they are no proof then.
#[test]
fn a_device_that_drops_may_have_dropped_the_group() {
    let mut case = v6(0, &[("Ip6OutDiscards", 2)]);
    let traffic = Traffic { rx_dropped: 33, ..Traffic::default() };
    case.end.links.iter_mut().flatten().for_each(|link| link.traffic = Some(traffic));
    assert_eq!(stage(&case), Stage::Undecided);
}

#[test]
fn reports_that_do_not_leave() {
    assert_eq!(stage(&v4(0, &[("Ip:OutRequests", 3)])), Stage::Reports);
    assert_eq!(stage(&v4(0, &[("Ip:OutRequests", 3), ("Ip:OutTransmits", 3), ("IpExt:OutMcastPkts", 3)])), Stage::Silence);
    assert_eq!(stage(&v6(0, &[("Ip6OutDiscards", 2)])), Stage::Reports);
    assert_eq!(stage(&v6(0, &[("Icmp6OutMLDv2Reports", 2)])), Stage::Silence);
}

#[test]
fn counters_that_are_not_there_are_not_zero() {
    let mut case = v4(5, &[]);
    case.end.counters = Counters::made_up(&[], &[]);
    case.end.links = Err("no netlink here".to_owned());
    assert_eq!(stage(&case), Stage::Undecided);
    let (checks, verdict) = verdict::of(&case);
    assert_eq!((verdict.status, verdict.stage), (Status::Unknown, "unknown"));
    for name in ["link", "carrier", "device-drops", "checksum", "fragments", "rp_filter", "group", "switch"] {
        let check = checks.iter().find(|check| check.name == name).unwrap();
        assert_eq!(check.status, Status::Unknown, "{name}: {}", check.advice);
    }
}

#[test]
fn every_check_has_evidence_or_a_reason_and_one_sentence() {
    for case in [v4(5, WRONG_GROUP), v6(5, UNDELIVERED_IPV6), heard(v4(5, &[]), "10.0.0.2"), lost(v4(5, FIREWALL), 1)] {
        let (checks, verdict) = verdict::of(&case);
        assert_eq!(
            checks.iter().filter(|check| check.name == verdict.stage).count(),
            usize::from(verdict.status == Status::Fail)
        );
        for check in &checks {
            assert!(
                check.advice.ends_with('.') && !check.advice.trim_end_matches('.').contains(". "),
                "{}: {}",
                check.name,
                check.advice
            );
        }
        let mut names: Vec<_> = checks.iter().map(|check| check.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), checks.len());
    }
}

#[test]
fn sending() {
    let to = |looped: Looped, counters: &[(&str, u64)]| {
        let mut case = v4(0, counters);
        case.order.direction = Direction::To;
        case.looped = Some((snapshot(0, &[]), looped, snapshot(0, &[])));
        case.send_signs().verdict()
    };
    assert_eq!(to(Looped::Heard, &[]), Stage::Sound);
    // That it is not heard here does not keep it from leaving.
    assert_eq!(to(Looped::Lost, &[]), Stage::Sound);
    assert_eq!(to(Looped::NotTried("a reason".to_owned()), &[]), Stage::Undecided);
    assert_eq!(to(Looped::Refused(rustix::io::Errno::PERM.into()), &[]), Stage::FirewallOut);
    assert_eq!(to(Looped::Refused(rustix::io::Errno::NETUNREACH.into()), &[]), Stage::Route);
    // What programs of this host sent meanwhile.
    assert_eq!(to(Looped::Heard, &[("Ip:OutRequests", 5)]), Stage::FirewallOut);
    assert_eq!(to(Looped::Heard, &[("Ip:OutRequests", 5), ("Ip:OutTransmits", 5), ("IpExt:OutMcastPkts", 5)]), Stage::Queue);
}
