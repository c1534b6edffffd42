//! Which interface and which source address a named address means, for listeners and senders. In a private network: see `make test`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::common;
use crate::common::link::{Pair, named, run};
use crate::common::{OnePacket, assert_quiet, expect_packet, require_private_network, unique_group, unique_v6_group};
use multicast::{
    Destination, ErrorKind, Family, Group, Interface, ListenOptions, Listener, Membership, Outbox, Outcome, SendOptions,
};

/// A listener on an interface, without copies of packets from this host on it.
fn on(group: Group, interface: &str) -> Listener<64> {
    ListenOptions::new().bind(Membership::any(group).on(named(interface))).unwrap()
}

fn source_of_next(listener: &mut Listener<64>) -> IpAddr {
    let mut source = None;
    common::wait_until_mut("a packet comes", || {
        source = listener.recv().unwrap().packet().map(|packet| packet.source().ip());
        source.is_some()
    });
    source.unwrap()
}

#[test]
fn an_unspecified_address_names_no_interface() {
    require_private_network();
    let pair = Pair::new();
    for (group, address) in
        [(unique_group(), IpAddr::V4(Ipv4Addr::UNSPECIFIED)), (unique_v6_group(5), IpAddr::V6(Ipv6Addr::UNSPECIFIED))]
    {
        let interface = Interface::Address(address);
        let said = format!("{} on {address}: no interface has this address: write default, all, or a name", group.address());
        let options = SendOptions::new().interface(interface);
        let refusals = [
            (Listener::bind(Membership::any(group).on(interface)).unwrap_err(), "join"),
            (options.packets(group, ["x"]).unwrap_err(), "send"),
            (Destination::from(group).on(interface).unwrap_err(), "send"),
        ];
        for (error, verb) in refusals {
            assert_eq!((error.kind(), error.to_string()), (ErrorKind::NoSuchInterface, format!("{verb} {said}")));
        }
        let error = options.open(group.family()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NoSuchInterface, "{error}");
    }
    drop(pair);
}

/// Whichever interface got the address first.
#[test]
fn a_listener_and_a_sender_mean_the_same_interface_if_two_have_the_address() {
    let (first, second) = (Pair::new(), Pair::new());
    for (number, order) in [[&first, &second], [&second, &first]].into_iter().enumerate() {
        for (address, group) in
            [(format!("10.199.0.{number}"), unique_group()), (format!("fd99::{number}"), unique_v6_group(5))]
        {
            let bits = if group.family() == Family::V4 { "32" } else { "64" };
            for pair in order {
                run(&format!("ip addr add {address}/{bits} dev {}", pair.a));
            }
            let interface = address.parse().unwrap();
            let mut at_ends = [on(group, &first.b), on(group, &second.b)];
            // One that hears copies for this host, on the interface that it means.
            let mut same = ListenOptions::new().bind::<64>(Membership::any(group).on(interface)).unwrap();
            let mut caster = SendOptions::new().interface(interface).packets(group, ["x"]).unwrap();
            common::wait_until_mut("the address can be used", || caster.step().is_ok());
            assert_eq!(expect_packet(&mut same), b"x", "{address}");
            let heard = at_ends.iter_mut().filter_map(|end| end.recv().unwrap().packet());
            assert_eq!(heard.count(), 1);
            let mut sender = SendOptions::new().interface(named(&first.a)).open(group.family()).unwrap();
            let there = Destination::from(group).on(interface).unwrap();
            assert_eq!(sender.send(b"also here", there).unwrap(), Outcome::Sent);
            assert_eq!(expect_packet(&mut same), b"also here", "{address}");
        }
    }
}

#[test]
fn an_ipv6_address_that_names_the_interface_is_the_source() {
    let pair = Pair::bare();
    let group = unique_v6_group(5);
    let sources = ["fd77::1", "fd77::2", "fd77::3"];
    for source in sources {
        run(&format!("ip -6 addr add {source}/64 dev {} nodad", pair.a));
    }
    let mut listener = on(group, &pair.b);
    for source in sources {
        let expected: IpAddr = source.parse().unwrap();
        let options = SendOptions::new().interface(Interface::Address(expected));
        for options in [options, options.source_port(common::free_port())] {
            let mut batches = options.batches::<8, _>(group, Outbox::<_, 8>::new()).unwrap();
            for packet in ["a", "b", "c"] {
                batches.items_mut().push(packet).unwrap();
            }
            batches.step().unwrap();
            for _ in 0..3 {
                assert_eq!(source_of_next(&mut listener), expected);
            }
            let mut sender = options.open(Family::V6).unwrap();
            assert_eq!(sender.send(b"x", group).unwrap(), Outcome::Sent);
            assert_eq!(source_of_next(&mut listener), expected);
            // Nobody can answer it.
            let port = sender.local_addr().unwrap().port();
            std::net::UdpSocket::bind("[::1]:0").unwrap().send_to(b"?", (expected, port)).unwrap();
            assert_eq!(sender.network_reports(), 0);
            let (mut sender, _replies) = options.open_with_replies::<64>(Family::V6).unwrap();
            assert_eq!(sender.send(b"x", group).unwrap(), Outcome::Sent);
            assert_eq!(source_of_next(&mut listener), expected);
        }
    }
    assert_quiet(&mut listener);
}

/// An address that is missing when the sender is created.
#[test]
fn an_ipv6_address_that_comes_later_is_the_source() {
    let pair = Pair::bare();
    let group = unique_v6_group(5);
    let source: IpAddr = "fd78::1".parse().unwrap();
    run(&format!("ip -6 addr add fd78::2/64 dev {} nodad", pair.a));
    let options = SendOptions::new().interface(Interface::Address(source)).later();
    let mut links = multicast::Links::watch().unwrap();
    let mut sender = options.open(Family::V6).unwrap();
    assert!(sender.send(b"too early", group).is_err());
    run(&format!("ip -6 addr add {source}/64 dev {} nodad", pair.a));
    run(&format!("ip -6 addr add fd78::3/64 dev {} nodad", pair.a));
    assert_eq!(links.follow(&mut sender).unwrap().failed, None);
    let mut listener = on(group, &pair.b);
    assert_eq!(sender.send(b"x", group).unwrap(), Outcome::Sent);
    assert_eq!(source_of_next(&mut listener), source);
}

/// A link without a number: the address is that of another interface, which the route names.
#[test]
fn an_interface_without_an_address_sends_with_the_source_that_the_route_names() {
    let (bare, other) = (Pair::bare(), Pair::new());
    let group: Group = "238.191.1.1:4242".parse().unwrap();
    let options = SendOptions::new().interface(named(&bare.a));
    run(&format!("ip route add 238.191.0.0/16 dev {}", bare.a));
    // The kernel would choose an address of some other interface. Nobody wrote that.
    assert_eq!(options.packets(group, ["x"]).unwrap_err().kind(), ErrorKind::NoAddress);
    run(&format!("ip route replace 238.191.0.0/16 dev {} src {}", bare.a, other.addresses[0]));
    let mut listener = on(group, &bare.b);
    common::send_with(options, group, ["x"]);
    assert_eq!(source_of_next(&mut listener), IpAddr::V4(other.addresses[0]));
    // An address whose label is not the interface's name is its own all the same.
    run(&format!("ip addr add 10.192.0.1/24 dev {} label {}:x", bare.a, bare.a));
    common::send_with(options, group, ["x"]);
    assert_eq!(source_of_next(&mut listener), "10.192.0.1".parse::<IpAddr>().unwrap());
}
