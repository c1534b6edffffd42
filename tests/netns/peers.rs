//! IPv6 with independent peers, in both directions. In a private network: see `make test`.

use std::io::Read;
use std::process::{Command, Stdio};

use crate::common;
use crate::common::link::{Pair, named};
use crate::common::{
    assert_quiet, expect_packet, is_installed, on_lo, peer, require_private_network, send_all, send_on_lo, unique_v6_group,
};
use multicast::{ErrorKind, ListenOptions, Membership, Received, SendOptions, Ttl};

#[test]
fn python_receives_what_we_send() {
    require_private_network();
    for scope in [2, 5] {
        let group = unique_v6_group(scope);
        let mut python = peer::Receiver::join(group, "lo");
        for payload in peer::payloads().into_iter().chain([Vec::new(), vec![9; 65_527]]) {
            send_all(group, [&payload]);
            let seen = python.next();
            assert!(seen.payload == payload, "{} bytes, {} came", payload.len(), seen.payload.len());
            assert_eq!(seen.source, "::1");
        }
    }
}

#[test]
fn we_receive_what_python_sends() {
    require_private_network();
    for scope in [2, 5] {
        let group = unique_v6_group(scope);
        let mut listener = Box::new(ListenOptions::new().bind::<65_535>(on_lo(group)).unwrap());
        let mut python = peer::Sender::start(group, "lo", "-");
        for payload in peer::payloads().into_iter().chain([Vec::new(), vec![9; 65_527]]) {
            let port = python.send(&payload);
            let Received::Packet(packet) = listener.recv().unwrap() else { panic!("no packet") };
            assert!(packet.payload() == payload && !packet.is_truncated(), "{} bytes", payload.len());
            assert_eq!(packet.source(), (std::net::Ipv6Addr::LOCALHOST, port).into());
        }
        assert_quiet(&mut listener);
    }
}

#[test]
fn the_receiver_sees_the_hop_limit_of_each_scope() {
    require_private_network();
    let scopes = [Ttl::HOST, Ttl::SUBNET, Ttl::SITE, Ttl::REGION, Ttl::CONTINENT, Ttl::UNRESTRICTED];
    let group = unique_v6_group(5);
    let mut python = peer::Receiver::join(group, "lo");
    for (ttl, hops) in scopes.into_iter().zip([0, 1, 32, 64, 128, 255]) {
        let mut caster = send_on_lo().ttl(ttl).packets(group, [ttl.to_string()]).unwrap();
        common::step_one(&mut caster);
        let seen = python.next();
        assert_eq!((seen.hops, seen.payload), (hops, ttl.to_string().into_bytes()));
    }
}

#[test]
fn the_receiver_sees_the_traffic_class() {
    require_private_network();
    let group = unique_v6_group(5);
    let mut python = peer::Receiver::join(group, "lo");
    for class in [0xb8, 0xfc, 0] {
        let mut caster = send_on_lo().traffic_class(class).packets(group, ["x"]).unwrap();
        common::step_one(&mut caster);
        assert_eq!(python.next().traffic_class, i32::from(class));
    }
}

#[test]
fn the_error_for_a_packet_too_long_for_ipv6_names_its_length() {
    require_private_network();
    let group = unique_v6_group(5);
    for length in [65_528_usize, 65_536, 100_000] {
        let mut caster = send_on_lo().packets(group, [vec![0; length]]).unwrap();
        let error = caster.step().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TooLong);
        assert_eq!(error.to_string(), format!("send {length} bytes to {group}: too long for UDP: at most 65527 bytes"));
    }
}

#[test]
fn the_hop_limit_is_kept_over_a_link_and_0_stays_on_this_host() {
    let pair = Pair::new();
    for group in [common::unique_group(), unique_v6_group(2), unique_v6_group(5)] {
        let mut python = peer::Receiver::join(group, &pair.b);
        let send = |ttl: Ttl| {
            let mut caster = SendOptions::new().interface(named(&pair.a)).ttl(ttl).packets(group, ["x"]).unwrap();
            common::step_one(&mut caster);
        };
        for (ttl, hops) in [(Ttl::SUBNET, 1), (Ttl::SITE, 32), (Ttl::UNRESTRICTED, 255)] {
            send(ttl);
            assert_eq!(python.next().hops, hops, "{group}");
        }
    }
    for group in [common::unique_group(), unique_v6_group(2), unique_v6_group(5)] {
        // The kernel keeps packets with hop limit 0 on this host only if a process of this host has joined: see `Ttl::HOST`.
        let mut here = ListenOptions::new().bind::<64>(Membership::any(group).on(named(&pair.a))).unwrap();
        let mut there = ListenOptions::new().bind::<64>(Membership::any(group).on(named(&pair.b))).unwrap();
        let options = SendOptions::new().interface(named(&pair.a)).ttl(Ttl::HOST);
        let mut caster = options.packets(group, ["for this host"]).unwrap();
        common::step_one(&mut caster);
        assert_eq!(expect_packet(&mut here), b"for this host");
        assert_quiet(&mut there);
    }
}

#[test]
fn fragmented_packets_are_received_whole_over_a_link() {
    let pair = Pair::new();
    for group in [common::unique_group(), unique_v6_group(5)] {
        let membership = Membership::any(group).on(named(&pair.b));
        let mut listener = Box::new(ListenOptions::new().bind::<65_535>(membership).unwrap());
        for payload in peer::payloads() {
            let mut caster = SendOptions::new().interface(named(&pair.a)).packets(group, [&payload]).unwrap();
            common::step_one(&mut caster);
            assert!(expect_packet(&mut listener) == payload, "{} bytes to {group}", payload.len());
        }
    }
}

#[test]
fn we_exchange_packets_with_socat() {
    if !is_installed("socat") {
        return;
    }
    require_private_network();
    let group = unique_v6_group(5);
    let (address, port) = (group.address(), group.port());
    let from = format!("UDP6-RECV:{port},reuseaddr,ipv6-join-group=[{address}]:lo");
    let mut socat = Command::new("socat")
        .args(["-u", "-b", "65535", "-T", "10", &from, "STDOUT"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let std::net::IpAddr::V6(v6) = address else { unreachable!() };
    let listed: String = v6.octets().iter().map(|byte| format!("{byte:02x}")).collect();
    let has_joined = || std::fs::read_to_string("/proc/net/igmp6").unwrap().contains(&listed);
    common::wait_until("socat has joined, and is bound", || has_joined() && common::is_bound(port));
    let payload: Vec<u8> = (0..=255).collect();
    send_all(group, [&payload]);
    let mut got = vec![0; payload.len()];
    let result = socat.stdout.as_mut().unwrap().read_exact(&mut got);
    socat.kill().unwrap();
    socat.wait().unwrap();
    result.unwrap();
    assert_eq!(got, payload);

    let mut listener = ListenOptions::new().bind::<64>(on_lo(group)).unwrap();
    // The numbers mean IPV6_MULTICAST_IF, for which socat has no name, and `lo`, which is always the first interface.
    let to = format!("UDP6-DATAGRAM:[{address}]:{port},setsockopt-int=41:17:1");
    let mut socat = Command::new("socat").args(["-u", "STDIN", &to]).stdin(Stdio::piped()).spawn().unwrap();
    std::io::Write::write_all(&mut socat.stdin.take().unwrap(), b"from socat").unwrap();
    assert!(socat.wait().unwrap().success());
    assert_eq!(expect_packet(&mut listener), b"from socat");
}
