//! Errors say what is known and not more: one errno has other causes for a route, for an interface that was named, and for a packet.

use std::process::{Command, Stdio};

use crate::common::link::{self, Pair, named};
use crate::common::{is_installed, require_private_network, unique_group, unique_v6_group};
use multicast::{Error, ErrorKind, Family, Group, Interface, Listener, Membership, Progress, SendOptions};

/// The errors of joining a group by its route, and of sending to it.
fn errors_by_route(group: Group) -> [(Error, &'static str); 2] {
    let joined = Listener::bind(Membership::any(group)).unwrap_err();
    let sent = SendOptions::new().packets(group, ["x"]).unwrap_err();
    [(joined, "join"), (sent, "send")]
}

#[test]
fn the_type_of_a_route_that_leads_nowhere_is_named() {
    if !link::is_alone("the_type_of_a_route_that_leads_nowhere_is_named") {
        return;
    }
    let pair = Pair::new();
    let remedy = "(ip route get): name an interface, or change the route";
    for group in [unique_group(), unique_v6_group(5)] {
        let (address, ip) = (group.address(), if group.family() == Family::V4 { "ip" } else { "ip -6" });
        // More specific than every other route. IPv6 looks into the table `local` first.
        let route = match group.family() {
            Family::V4 => format!("{address}/32"),
            Family::V6 => format!("{address}/128 table local"),
        };
        for (kind, error_kind, words) in [
            ("blackhole", ErrorKind::Unreachable, format!("its route is a blackhole {remedy}")),
            ("unreachable", ErrorKind::Unreachable, format!("its route is of the type unreachable {remedy}")),
            ("prohibit", ErrorKind::Denied, format!("its route is of the type prohibit {remedy}")),
        ] {
            link::run(&format!("{ip} route add {kind} {route}"));
            for (error, verb) in errors_by_route(group) {
                assert_eq!(error.to_string(), format!("{verb} {address} on default: {words}"));
                assert_eq!(error.kind(), error_kind);
            }
            // The remedy helps.
            Listener::bind(Membership::any(group).on(named(&pair.a))).unwrap();
            let mut caster = SendOptions::new().interface(named(&pair.a)).packets(group, ["x"]).unwrap();
            assert_eq!(caster.step().unwrap(), Progress::Sent(1), "{kind} {group}");
            link::run(&format!("{ip} route del {kind} {route}"));
        }
    }
    // IPv4 has no route at all now.
    let group = unique_group();
    for (error, verb) in errors_by_route(group) {
        let words = "unreachable: there is no route: name an interface, or add a route";
        assert_eq!(error.to_string(), format!("{verb} {} on default: {words}", group.address()));
        assert_eq!(error.kind(), ErrorKind::Unreachable);
    }
}

#[test]
fn nobody_is_told_to_name_an_interface_who_did() {
    let pair = Pair::new();
    let group = unique_group();
    link::run(&format!("ip link set {} down", pair.a));
    let error = SendOptions::new().interface(named(&pair.a)).packets(group, ["x"]).unwrap_err();
    let words = "unreachable: the interface is down, or there is no route over it";
    assert_eq!(error.to_string(), format!("send {} on {}: {words}", group.address(), pair.a));
    let error = SendOptions::new().interface(named(&pair.a)).open(Family::V4).unwrap_err();
    assert_eq!(error.to_string(), format!("send on {}: {words}", pair.a));
}

#[test]
fn a_packet_from_an_address_that_has_changed_is_not_said_to_need_an_interface() {
    let pair = Pair::new();
    let group = unique_group();
    let mut caster = SendOptions::new().interface(named(&pair.a)).packets(group, ["one", "two"]).unwrap();
    assert_eq!(caster.step().unwrap(), Progress::Sent(1));
    let [old, _] = pair.addresses;
    let [a, b, c, _] = old.octets();
    link::run(&format!("ip addr add {a}.{b}.{c}.99/24 dev {}", pair.a));
    link::run(&format!("ip addr del {old}/24 dev {}", pair.a));
    let error = caster.step().unwrap_err();
    let words = "unreachable: the interface is down, it or its address is gone, or there is no route";
    assert_eq!(error.to_string(), format!("send 3 bytes to {group}: {words}"));
}

#[test]
fn a_packet_that_a_route_prohibits_is_not_said_to_be_stopped_by_a_firewall_and_one_that_a_firewall_stops_is() {
    require_private_network();
    let pair = Pair::new();
    let [_, peer] = pair.addresses;
    let (mut sender, to) = (SendOptions::new().open(Family::V4).unwrap(), std::net::SocketAddr::from((peer, 5000)));
    // Unicast, for which the kernel asks the routing table at each packet. `peer` is an address of this host, so the table `local`.
    let own = format!("ip route replace local {peer} dev {} table local", pair.b);
    for (kind, words) in [
        ("prohibit", "not permitted (a prohibit route, a broadcast address, or a security policy)"),
        ("blackhole", "invalid argument, or a blackhole route (ip route get)"),
    ] {
        link::run(&format!("ip route del local {peer} table local"));
        link::run(&format!("ip route add {kind} {peer} table local"));
        assert_eq!(sender.send(b"x", to).unwrap_err().to_string(), format!("send 1 bytes to {to}: {words}"));
        link::run(&format!("ip route del {kind} {peer} table local"));
        link::run(&own);
    }
    if !is_installed("nft") {
        return;
    }
    let group = unique_group();
    let table = format!("mcast_words_{}", std::process::id());
    nft(&format!(
        "table ip {table} {{ chain out {{ type filter hook output priority 0; ip daddr {} drop; }}; }}",
        group.address()
    ));
    let mut caster = SendOptions::new().interface(Interface::LOOPBACK).packets(group, ["x"]).unwrap();
    let error = caster.step().unwrap_err();
    nft(&format!("delete table ip {table}"));
    assert_eq!(
        error.to_string(),
        format!("send 1 bytes to {group}: not permitted (a firewall on the way out, or a security policy)")
    );
    assert_eq!(error.kind(), ErrorKind::Denied);
}

/// Changes the firewall of this network.
fn nft(rules: &str) {
    let output = Command::new("nft").arg(rules).stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
