//! Destinations, sources and ports that the kernel would take for others. In private networks: see `make test`.

mod common;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use common::link::is_alone;
use common::{LO, assert_quiet, on_lo, send_on_lo, unique_group, unique_v6_group};
use multicast::{Destination, Error, ErrorKind, Family, ListenOptions, SendOptions};

fn fails(kind: ErrorKind, error: &Error, word: &str) {
    assert_eq!(error.kind(), kind, "{error}");
    assert!(error.to_string().contains(word), "{error}");
}

/// The kernel takes them for addresses of this machine.
#[test]
fn a_packet_to_the_unspecified_address_is_an_error() {
    for any in [IpAddr::from(Ipv4Addr::UNSPECIFIED), Ipv6Addr::UNSPECIFIED.into()] {
        let here = UdpSocket::bind((any, 0)).unwrap();
        here.set_nonblocking(true).unwrap();
        let to = SocketAddr::new(any, here.local_addr().unwrap().port());
        let family = if any.is_ipv4() { Family::V4 } else { Family::V6 };
        let (mut with_replies, _replies) = send_on_lo().open_with_replies::<64>(family).unwrap();
        for sender in [&mut send_on_lo().open(family).unwrap(), &mut with_replies] {
            fails(ErrorKind::Unreachable, &sender.send(b"x", to).unwrap_err(), "names no host");
        }
        assert_eq!(here.recv(&mut [0]).unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    }
}

#[test]
fn a_link_local_address_without_an_interface_is_not_called_a_group() {
    let mut sender = SendOptions::new().open(Family::V6).unwrap();
    for (to, word) in [("[fe80::1]:9", "a link-local address"), ("[ff02::1]:9", "a link-local group")] {
        let error = sender.send(b"x", to.parse::<SocketAddr>().unwrap()).unwrap_err();
        fails(ErrorKind::InterfaceNeeded, &error, word);
    }
}

#[test]
fn a_source_of_the_other_family_is_an_error() {
    let [v4, v6] = [IpAddr::from([127, 0, 0, 1]), Ipv6Addr::LOCALHOST.into()];
    for (group, other) in [(unique_group(), v6), (unique_v6_group(5), v4)] {
        let mut listener = ListenOptions::new().bind::<64>(on_lo(group)).unwrap();
        let mut sender = send_on_lo().open(group.family()).unwrap();
        let from_other = Destination::from(group).from_address(other);
        fails(ErrorKind::FamilyMismatch, &sender.send(b"x", from_other).unwrap_err(), "cannot be mixed");
        let on = Destination::from(group).from_address(other).on(LO).unwrap();
        fails(ErrorKind::FamilyMismatch, &sender.send(b"x", on).unwrap_err(), "cannot be mixed");
        assert_quiet(&mut listener);
    }
}

#[test]
fn a_source_that_no_interface_has_is_named() {
    let [v4, v6] = [IpAddr::from([192, 0, 2, 7]), "2001:db8::7".parse().unwrap()];
    for (group, source) in [(unique_group(), v4), (unique_v6_group(5), v6)] {
        let mut sender = send_on_lo().open(group.family()).unwrap();
        for to in [Destination::from(group), Destination::from(group).on(LO).unwrap()] {
            let error = sender.send(b"x", to.from_address(source)).unwrap_err();
            fails(ErrorKind::Unreachable, &error, &format!("send from {source}: no interface has this source address"));
        }
    }
}

#[test]
fn when_no_port_is_free_the_limit_is_named() {
    if !is_alone("when_no_port_is_free_the_limit_is_named") {
        return;
    }
    std::fs::write("/proc/sys/net/ipv4/ip_local_port_range", "40000 40001").unwrap();
    for family in [Family::V4, Family::V6] {
        let any = if family == Family::V4 { IpAddr::from(Ipv4Addr::UNSPECIFIED) } else { Ipv6Addr::UNSPECIFIED.into() };
        let taken: Vec<_> = (40000..=40001).map(|port| UdpSocket::bind((any, port)).unwrap()).collect();
        let options = SendOptions::new();
        for error in [options.open(family).unwrap_err(), options.open_with_replies::<64>(family).unwrap_err()] {
            fails(ErrorKind::LimitReached, &error, "net.ipv4.ip_local_port_range");
        }
        drop(taken);
    }
}
