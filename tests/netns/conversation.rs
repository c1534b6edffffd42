//! Senders, answers and forged reports of the network, on several interfaces. In a private network: see `make test`.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use crate::common;
use crate::common::forger::{Forger, reports};
use crate::common::link::{Pair, is_alone, named, run};
use crate::common::{
    LO, OnePacket, PATIENCE, assert_quiet, expect_packet, require_private_network, send_on_lo, unique_group, unique_v6_group,
};
use multicast::{
    Bind, Destination, ErrorKind, Events, Family, Group, Interest, Interface, ListenOptions, Listener, Membership, Outcome,
    Poller, Progress, Received, SendOptions, Sender, Token,
};

const fn lo_of(family: Family) -> &'static str {
    match family {
        Family::V4 => "127.0.0.1",
        Family::V6 => "::1",
    }
}

fn port_of(sender: &Sender) -> u16 {
    sender.local_addr().unwrap().port()
}

fn peer_on(address: impl Into<IpAddr>) -> UdpSocket {
    let peer = UdpSocket::bind((address.into(), 0)).unwrap();
    peer.set_read_timeout(Some(PATIENCE)).unwrap();
    peer
}

/// A sender, its replies, and somebody to send to, with its address: all on `lo`.
fn conversation(family: Family) -> (Sender, Listener<64>, UdpSocket, SocketAddr) {
    let (sender, replies) = send_on_lo().open_with_replies(family).unwrap();
    let peer = peer_on(lo_of(family).parse::<IpAddr>().unwrap());
    let to = peer.local_addr().unwrap();
    (sender, replies, peer, to)
}

fn received(peer: &UdpSocket) -> (Vec<u8>, SocketAddr) {
    let mut buffer = [0; 100];
    let (length, source) = peer.recv_from(&mut buffer).unwrap();
    (buffer[..length].to_vec(), source)
}

fn next<const MTU: usize>(listener: &mut Listener<MTU>) -> Received<'_> {
    let (poller, mut events) = (Poller::new().unwrap(), Events::<1>::new());
    poller.register(&*listener, Token(0), Interest::READABLE).unwrap();
    assert!(poller.poll(&mut events, PATIENCE).unwrap().next().is_some(), "no packet");
    listener.recv().unwrap()
}

#[test]
fn no_forged_report_is_the_result_of_a_send_of_a_sender_without_answers() {
    require_private_network();
    let mut forger = Forger::start();
    for family in [Family::V4, Family::V6] {
        let mut sender = send_on_lo().open(family).unwrap();
        let peer = peer_on(lo_of(family).parse::<IpAddr>().unwrap());
        let to = peer.local_addr().unwrap();
        // The second one is the address that it is bound to, which no packet comes from.
        for from in [lo_of(family), if family == Family::V4 { "224.0.0.0" } else { "ff00::" }] {
            for kind in reports(family) {
                for count in [1, 500] {
                    forger.send(*kind, from, port_of(&sender), count);
                    assert_eq!(sender.send(b"x", to).unwrap(), Outcome::Sent, "{from} {kind:?} {count}");
                    assert_eq!(received(&peer).0, b"x");
                }
            }
        }
        // A multicaster has its own path to the system call.
        let (group, bound) = match family {
            Family::V4 => (unique_group(), "224.0.0.0"),
            Family::V6 => (unique_v6_group(5), "ff00::"),
        };
        let mut caster = send_on_lo().batches::<2, _>(group, ["x"; 64]).unwrap();
        let port = caster.local_addr().unwrap().port();
        for kind in reports(family) {
            for count in [1, 500] {
                forger.send(*kind, bound, port, count);
                assert!(matches!(caster.step().unwrap(), Progress::Sent(_)), "{kind:?} {count}");
            }
        }
    }
}

#[test]
fn no_forged_report_is_the_result_of_a_send_or_a_receive() {
    require_private_network();
    let mut forger = Forger::start();
    for family in [Family::V4, Family::V6] {
        let (mut sender, mut replies, peer, to) = conversation(family);
        let (poller, mut events) = (Poller::new().unwrap(), Events::<1>::new());
        poller.register(&replies, Token(0), Interest::READABLE).unwrap();
        for kind in reports(family) {
            for count in [1, 500] {
                forger.send(*kind, lo_of(family), port_of(&sender), count);
                assert_eq!(sender.send(b"x", to).unwrap(), Outcome::Sent, "{kind:?} {count}");
                assert_eq!(received(&peer).0, b"x");
                forger.send(*kind, lo_of(family), port_of(&sender), count);
                assert!(matches!(replies.recv().unwrap(), Received::Empty | Received::Paused), "{kind:?} {count}");
                assert_eq!(replies.recv().unwrap(), Received::Empty);
                assert_eq!(poller.poll(&mut events, Duration::ZERO).unwrap().count(), 0, "{kind:?} {count}");
            }
        }
    }
}

#[test]
fn a_report_for_which_the_kernel_has_no_room_is_no_result_either() {
    require_private_network();
    let mut forger = Forger::start();
    for family in [Family::V4, Family::V6] {
        let (mut sender, mut replies, peer, to) = conversation(family);
        // Answers that nobody reads fill the receive buffer, in which reports would be queued.
        for _ in 0..2000 {
            peer.send_to(&[0; 100], (lo_of(family), port_of(&sender))).unwrap();
        }
        for kind in reports(family) {
            forger.send(*kind, lo_of(family), port_of(&sender), 1);
            assert_eq!(sender.send(b"x", to).unwrap(), Outcome::Sent, "{kind:?}");
            assert_eq!(received(&peer).0, b"x");
        }
        for kind in reports(family) {
            forger.send(*kind, lo_of(family), port_of(&sender), 1);
            assert!(replies.recv().unwrap().packet().is_some(), "{kind:?}");
            for _ in 0..4 {
                peer.send_to(&[0; 100], (lo_of(family), port_of(&sender))).unwrap();
            }
        }
    }
}

#[test]
fn each_report_is_counted_also_if_the_listener_wants_all_metadata() {
    require_private_network();
    let mut forger = Forger::start();
    for family in [Family::V4, Family::V6] {
        let place = Bind::Port(common::free_port(), family);
        let mut listener = ListenOptions::new().metadata().unicast().bind::<64>(place).unwrap();
        let mut sender = listener.sender(send_on_lo()).unwrap();
        let mut count = 0;
        for kind in reports(family) {
            forger.send(*kind, lo_of(family), port_of(&sender), 1);
            sender.forget_errors();
            // The kernel itself ignores "packet too big" here (IPV6_PMTUDISC_OMIT).
            count += u16::from(*kind != (2, 0));
            assert_eq!(sender.network_reports(), count, "{kind:?}");
        }
        forger.send(reports(family)[1], lo_of(family), port_of(&sender), 3);
        assert_eq!(listener.recv().unwrap(), Received::Empty);
        assert_eq!(listener.counters().foreign, 3, "{family:?}");
    }
}

#[test]
fn a_report_does_not_keep_packets_queued_when_the_listener_is_dropped_first() {
    require_private_network();
    let mut forger = Forger::start();
    for family in [Family::V4, Family::V6] {
        let (mut sender, replies) = send_on_lo().open_with_replies::<64>(family).unwrap();
        let peer = peer_on(lo_of(family).parse::<IpAddr>().unwrap());
        for _ in 0..3 {
            peer.send_to(b"queued", (lo_of(family), port_of(&sender))).unwrap();
        }
        forger.send(reports(family)[3], lo_of(family), port_of(&sender), 3);
        drop(replies);
        sender.forget_errors();
        let (poller, mut events) = (Poller::new().unwrap(), Events::<1>::new());
        poller.register(&sender, Token(0), Interest::READABLE).unwrap();
        assert_eq!(poller.poll(&mut events, Duration::ZERO).unwrap().count(), 0, "{family:?}");
    }
}

#[test]
fn a_listener_that_is_dropped_first_leaves_its_groups_without_a_route_to_them() {
    if !is_alone("a_listener_that_is_dropped_first_leaves_its_groups_without_a_route_to_them") {
        return;
    }
    let (one, two) = (Pair::new(), Pair::new());
    let interfaces = [LO, named(&one.a), named(&two.b)];
    let groups: [[IpAddr; 3]; 2] = [
        [[239, 1, 2, 3].into(), [239, 1, 2, 4].into(), [224, 9, 9, 9].into()],
        ["ff05::1:2:3", "ff02::1:2:4", "ff05::9:9:9"].map(|group| group.parse().unwrap()),
    ];
    // Without the groups that the kernel joins for each IPv6 address of its own, some time after it was added.
    let memberships = || {
        let list = run("ip maddr show");
        list.lines().filter(|line| !line.contains(":ff00:") && !line.contains("33:33:ff:")).collect::<Vec<_>>().join("\n")
    };
    for groups in groups {
        let of = |group: IpAddr| Group::new(group, 7001).unwrap();
        let before = memberships();
        // By port.
        let mut by_port = ListenOptions::new().bind::<64>(Bind::Port(7001, of(groups[0]).family())).unwrap();
        for group in groups {
            for interface in interfaces {
                by_port.join(&Membership::any(of(group)).on(interface)).unwrap();
            }
        }
        // By group.
        let mut by_group = ListenOptions::new().bind::<64>(Membership::any(of(groups[0])).on(interfaces[0])).unwrap();
        for interface in interfaces {
            by_group.join(&Membership::any(of(groups[0])).on(interface)).unwrap();
        }
        assert_ne!(memberships(), before);
        let senders = [by_port.sender(send_on_lo()).unwrap(), by_group.sender(send_on_lo()).unwrap()];
        drop((by_port, by_group));
        assert_eq!(memberships(), before);
        drop(senders);
    }
}

#[test]
fn a_destination_on_an_address_names_its_interface() {
    let (one, two) = (Pair::new(), Pair::new());
    let group = unique_group();
    let on = |end: &str| ListenOptions::new().bind::<64>(Membership::any(group).on(named(end))).unwrap();
    let (mut at_one, mut at_two) = (on(&one.b), on(&two.b));
    let mut sender = SendOptions::new().interface(named(&one.a)).open(Family::V4).unwrap();
    let to = Destination::from(group).on(Interface::Address(two.addresses[0].into())).unwrap();
    assert_eq!(sender.send(b"on two", to).unwrap(), Outcome::Sent);
    let packet = next(&mut at_two).packet().unwrap();
    assert_eq!((packet.payload(), packet.source().ip()), (&b"on two"[..], IpAddr::from(two.addresses[0])));
    assert_quiet(&mut at_one);
    let nobody = Interface::Address([10, 255, 255, 77].into());
    assert_eq!(Destination::from(group).on(nobody).unwrap_err().kind(), ErrorKind::NoSuchInterface);
    // A socket that is bound to an interface sends on no other.
    let bound = Bind::Interface(Membership::any(group).on(named(&one.b)));
    let mut listener = ListenOptions::new().bind::<64>(bound).unwrap();
    let mut sender = listener.sender(SendOptions::new()).unwrap();
    for interface in [named(&two.a), Interface::Address(two.addresses[0].into())] {
        let elsewhere = Destination::from(group).on(interface).unwrap();
        assert_eq!(sender.send(b"x", elsewhere).unwrap_err().kind(), ErrorKind::OneInterface);
    }
}

#[test]
fn a_sender_that_waits_for_its_interface_sends_to_groups_on_no_other() {
    require_private_network();
    let group = unique_group();
    let mut listener = ListenOptions::new().bind::<64>(common::on_lo(group)).unwrap();
    let mut sender = SendOptions::new().interface(named("nosuch0")).later().open(Family::V4).unwrap();
    let from = Destination::from(group).from_address(Ipv4Addr::LOCALHOST.into());
    for to in [Destination::from(group), from] {
        assert_eq!(sender.send(b"x", to).unwrap_err().kind(), ErrorKind::NoSuchInterface);
    }
    assert_quiet(&mut listener);
    assert_eq!(sender.send(b"named", from.on(LO).unwrap()).unwrap(), Outcome::Sent);
    assert_eq!(expect_packet(&mut listener), b"named");
}

/// A listener that takes two kinds of groups on both links, a sender for each link, and one for wherever the routing table says.
#[test]
fn each_sender_of_a_listener_leaves_on_its_own_interface_from_its_address() {
    require_private_network();
    let (one, two) = (Pair::new(), Pair::new());
    for group in [unique_group(), unique_v6_group(5), unique_v6_group(2)] {
        let far = [&one, &two]
            .map(|pair| ListenOptions::new().answers().bind::<64>(Membership::any(group).on(named(&pair.b))).unwrap());
        let [mut at_one, mut at_two] = far;
        let addresses = [&one, &two].map(|pair| match group.family() {
            Family::V4 => IpAddr::V4(pair.addresses[0]),
            Family::V6 => pair.v6_addresses()[0].into(),
        });
        let index = |pair: &Pair| Interface::Index(common::link::index_of(&pair.a));
        let names = [
            [named(&one.a), named(&two.a)],
            [index(&one), index(&two)],
            [Interface::Address(addresses[0]), Interface::Address(addresses[1])],
        ];
        for [here, there] in names {
            let by_port = ListenOptions::new().bind::<64>(Bind::Port(group.port(), group.family())).unwrap();
            let by_group = ListenOptions::new().bind::<64>(Bind::Later(group)).unwrap();
            for mut listener in [by_port, by_group] {
                let said = format!("{group} on {here} and {there}, of {:?}", listener.local_addr());
                let mut first = listener.sender(SendOptions::new().interface(here)).unwrap();
                let mut second = listener.sender(SendOptions::new().interface(there)).unwrap();
                for (sender, listener, source, other) in [
                    (&mut first, &mut at_one, addresses[0], addresses[1]),
                    (&mut second, &mut at_two, addresses[1], addresses[0]),
                ] {
                    common::send_one(sender, b"x", group);
                    let packet = next(listener).packet().expect(&said);
                    // With link-local addresses switched off, the kernel has only those that the test gave.
                    assert_eq!((packet.source().ip(), packet.source().port()), (source, group.port()), "{said}");
                    // A source alone changes nothing about the interface.
                    let from = Destination::from(group).from_address(other);
                    common::send_one(sender, b"y", from);
                    assert_eq!(next(listener).packet().expect(&said).source().ip(), other, "{said}");
                }
                // One that names no interface does not get that of the others.
                if group.address().is_ipv4() && listener.local_addr().unwrap().ip().is_unspecified() {
                    let mut on_lo = ListenOptions::new().bind::<64>(Membership::any(group).on(LO)).unwrap();
                    let mut routed = listener.sender(SendOptions::new()).unwrap();
                    common::send_one(&mut routed, b"routed", group);
                    assert_eq!(expect_packet(&mut on_lo), b"routed", "{said}");
                }
            }
        }
        assert_quiet(&mut at_one);
        assert_quiet(&mut at_two);
    }
}

/// As far as the two senders of one listener go: one does not carry the other along.
#[test]
fn each_sender_of_a_listener_follows_its_own_interface() {
    let (one, two) = (Pair::new(), Pair::new());
    for group in [unique_group(), unique_v6_group(5)] {
        let mut links = multicast::Links::watch().unwrap();
        let mut listener = ListenOptions::new().bind::<64>(Bind::Port(group.port(), group.family())).unwrap();
        let mut first = listener.sender(SendOptions::new().interface(named(&one.a))).unwrap();
        let mut second = listener.sender(SendOptions::new().interface(named(&two.a))).unwrap();
        while links.follow(&mut (&mut first, &mut second)).unwrap().more {}
        one.replace();
        let mut renewed = 0;
        loop {
            let followed = links.follow(&mut (&mut first, &mut second)).unwrap();
            renewed += followed.renewed;
            assert_eq!(followed.failed, None);
            if !followed.more {
                break;
            }
        }
        assert!(renewed >= 1);
        let mut far =
            [&one, &two].map(|pair| ListenOptions::new().bind::<64>(Membership::any(group).on(named(&pair.b))).unwrap());
        for _ in 0..2 {
            common::send_one(&mut first, b"first", group);
            common::send_one(&mut second, b"second", group);
            assert_eq!(far.each_mut().map(expect_packet), [b"first".to_vec(), b"second".to_vec()]);
        }
        // While the interface of one is gone, the other sends.
        one.delete();
        while links.follow(&mut (&mut first, &mut second)).unwrap().more {}
        assert_eq!(first.send(b"first", group).unwrap_err().kind(), ErrorKind::NoSuchInterface);
        common::send_one(&mut second, b"second", group);
        assert_eq!(expect_packet(&mut far[1]), b"second");
        one.create();
    }
}

/// Its interface is then an option of the socket again.
#[cfg(feature = "std")]
#[test]
fn a_sender_of_a_listener_that_becomes_a_descriptor_leaves_on_its_interface() {
    let (one, two) = (Pair::new(), Pair::new());
    for group in [unique_group(), unique_v6_group(5)] {
        let mut listener = ListenOptions::new().bind::<64>(Bind::Port(group.port(), group.family())).unwrap();
        let mut senders = [&one, &two].map(|pair| listener.sender(SendOptions::new().interface(named(&pair.a))).unwrap());
        let mut far =
            [&one, &two].map(|pair| ListenOptions::new().bind::<64>(Membership::any(group).on(named(&pair.b))).unwrap());
        for (sender, far) in senders.iter_mut().zip(&mut far) {
            common::send_one(sender, b"sender", group);
            assert_eq!(expect_packet(far), b"sender");
        }
        for (sender, far) in senders.into_iter().zip(&mut far) {
            let socket = UdpSocket::from(multicast::OwnedFd::from(sender));
            common::wait_until("it is sent", || socket.send_to(b"socket", SocketAddr::from(group)).is_ok());
            assert_eq!(expect_packet(far), b"socket", "{group}");
        }
    }
}

#[test]
fn a_group_with_a_scope_leaves_there_whatever_the_interface_of_the_listeners_sender() {
    let (one, two) = (Pair::new(), Pair::new());
    let group = unique_v6_group(2);
    let mut listener = ListenOptions::new().bind::<64>(Bind::Port(group.port(), Family::V6)).unwrap();
    let mut sender = listener.sender(SendOptions::new().interface(named(&one.a))).unwrap();
    for (pair, said) in [(&two, b"two"), (&one, b"one")] {
        let mut far = ListenOptions::new().bind::<64>(Membership::any(group).on(named(&pair.b))).unwrap();
        let IpAddr::V6(address) = group.address() else { unreachable!() };
        let scope = common::link::index_of(&pair.a).get();
        common::send_one(&mut sender, said, SocketAddr::from(std::net::SocketAddrV6::new(address, group.port(), 0, scope)));
        assert_eq!(expect_packet(&mut far), said);
    }
}
