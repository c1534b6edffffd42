//! Destinations, sources and ports that the kernel would take for others. In private networks: see `make test`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use crate::common;
use crate::common::link::is_alone;
use crate::common::{LO, Python, assert_quiet, expect_packet, on_lo, send_on_lo, unique_group, unique_v6_group};
use multicast::{Bind, Destination, Error, ErrorKind, Family, Group, ListenOptions, Membership, SendOptions};

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

/// Binds to the wildcard address and these ports, each time by the options of these names: a line is `family options port ..`.
const HOLDER: &str = r#"
import socket, sys
held = []
print("ready")
for line in sys.stdin:
    family, options, *ports = line.split()
    held = []
    for port in ports:
        s = socket.socket(socket.AF_INET if family == "4" else socket.AF_INET6, socket.SOCK_DGRAM)
        for option in filter(None, options.strip("-").split("+")):
            s.setsockopt(socket.SOL_SOCKET, getattr(socket, "SO_" + option), 1)
        s.bind(("", int(port)))
        held.append(s)
    print("held")
"#;

/// At a bind with `SO_REUSEADDR` or `SO_REUSEPORT`, the kernel also chooses ports that others share.
#[test]
fn a_listener_that_lets_the_kernel_choose_its_port_shares_it_with_nobody_who_was_there_before() {
    if !is_alone("a_listener_that_lets_the_kernel_choose_its_port_shares_it_with_nobody_who_was_there_before") {
        return;
    }
    common::link::run("ip route add 224.0.0.0/4 dev lo src 127.0.0.1");
    common::link::run("ip -6 route add local ff00::/8 dev lo table local metric 1");
    let mut holder = Python::start(HOLDER, &[]);
    assert_eq!(holder.line(), "ready");
    for (family, number, group) in [(Family::V4, 4, unique_group()), (Family::V6, 6, unique_v6_group(5))] {
        for options in ["-", "REUSEADDR", "REUSEPORT", "REUSEADDR+REUSEPORT"] {
            let said = format!("{family:?}, held with {options}");
            let choose_among = |ports| std::fs::write("/proc/sys/net/ipv4/ip_local_port_range", ports).unwrap();
            choose_among("40000 40001");
            holder.say(&format!("{number} {options} 40000 40001"));
            assert_eq!(holder.line(), "held");
            for reuse_port in [true, false] {
                let bound = ListenOptions::new().reuse_port(reuse_port).bind::<64>(Bind::Port(0, family));
                let Err(error) = bound else { panic!("{:?}, {said}", bound.unwrap().local_addr()) };
                fails(ErrorKind::LimitReached, &error, "bind a free port: no port is free (net.ipv4.ip_local_port_range)");
            }
            holder.say(&format!("{number} {options} 40000"));
            assert_eq!(holder.line(), "held");
            let mut listener = ListenOptions::new().bind::<64>(Bind::Port(0, family)).unwrap();
            assert_eq!(listener.local_addr().unwrap().port(), 40001, "{said}");
            // Whoever comes later can share it.
            choose_among("50000 60000");
            let group = Group::new(group.address(), 40001).unwrap();
            let mut later = ListenOptions::new().bind::<64>(Membership::any(group).on(LO)).unwrap();
            listener.join(&Membership::any(group).on(LO)).unwrap();
            common::send_all(group, ["both"]);
            assert_eq!(
                (expect_packet(&mut listener), expect_packet(&mut later)),
                (b"both".to_vec(), b"both".to_vec()),
                "{said}"
            );
        }
    }
}
