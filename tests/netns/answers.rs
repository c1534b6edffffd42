//! Answers between two hosts with two links: on which link they leave, with which source address, and which unicast is received where. In a
//! private network: see `make test`.

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;

use crate::common;
use crate::common::hosts::{Arrival, Host, give};
use crate::common::link::{index_of, named, run};
use crate::common::{PATIENCE, assert_quiet, expect_packet, unique_group, unique_v6_group};
use multicast::{
    Bind, Destination, Events, Family, Group, Interest, ListenOptions, Listener, Membership, Outcome, Packet, Poller,
    Received, SendOptions, Sender, Token,
};

/// The addresses of a link's two ends.
fn ends(host: &Host, link: usize, family: Family) -> [IpAddr; 2] {
    match family {
        Family::V4 => host.links[link].addresses.map(IpAddr::from),
        Family::V6 => host.links[link].v6_addresses().map(IpAddr::from),
    }
}

/// A group of each family. That of IPv6 is not link-local.
fn groups() -> [Group; 2] {
    [unique_group(), unique_v6_group(5)]
}

/// A listener of the group on both links, and a sender on its socket.
fn device(host: &Host, group: Group) -> (Listener<64>, Sender) {
    let mut device = ListenOptions::new().answers().bind(Bind::Later(group)).unwrap();
    for link in &host.links {
        device.join(&Membership::any(group).on(named(&link.a))).unwrap();
    }
    let sender = device.sender(SendOptions::new().interface(named(&host.links[0].a))).unwrap();
    (device, sender)
}

fn next<const MTU: usize>(listener: &mut Listener<MTU>) -> Packet<'_> {
    let (poller, mut events) = (Poller::new().unwrap(), Events::<1>::new());
    poller.register(&*listener, Token(0), Interest::READABLE).unwrap();
    assert!(poller.poll(&mut events, PATIENCE).unwrap().next().is_some(), "no packet came");
    match listener.recv().unwrap() {
        Received::Packet(packet) => packet,
        other => panic!("{other:?}"),
    }
}

/// Waits for a question from this address, and replies.
fn reply<const MTU: usize>((device, sender): (&mut Listener<MTU>, &mut Sender), asker: SocketAddr) {
    let question = next(device);
    assert_eq!((question.source().ip(), question.source().port()), (asker.ip(), asker.port()));
    assert_eq!(sender.reply(&question, b"answer").unwrap(), Outcome::Sent);
}

fn arrival(payload: &str, host: &Host, link: usize, source: IpAddr, port: u16) -> Arrival {
    Arrival { payload: payload.to_owned(), link: host.links[link].b.clone(), source: SocketAddr::new(source, port) }
}

/// Makes packets to this address leave on a link that leads to the host, too.
fn route(host: &Host, address: IpAddr, link: usize) {
    let family = if address.is_ipv4() { Family::V4 } else { Family::V6 };
    run(&format!("ip route replace {address} via {} dev {}", ends(host, link, family)[1], host.links[link].a));
}

#[test]
fn a_reply_to_a_neighbour_leaves_on_the_link_of_the_question_where_the_routes_name_another_one() {
    let mut host = Host::new();
    for group in groups() {
        let (mut device, mut sender) = device(&host, group);
        for (link, other) in [(0, 1), (1, 0)] {
            let [ours, theirs] = ends(&host, link, group.family());
            let asker = host.ask(theirs, link, group, "question");
            reply((&mut device, &mut sender), asker);
            assert_eq!(host.answer(), arrival("answer", &host, link, ours, group.port()));
            route(&host, theirs, other);
            let asker = host.ask(theirs, link, group, "question");
            // A packet that is no reply goes as the routes say.
            assert_eq!(sender.send(b"news", asker).unwrap(), Outcome::Sent);
            let news = host.answer();
            assert_eq!((news.payload.as_str(), &news.link), ("news", &host.links[other].b));
            reply((&mut device, &mut sender), asker);
            assert_eq!(host.answer(), arrival("answer", &host, link, ours, group.port()));
            run(&format!("ip route del {theirs}"));
        }
    }
}

/// The address alone does not say where an IPv6 packet leaves.
#[test]
fn a_question_by_unicast_is_answered_on_its_link_from_the_asked_address_where_the_routes_name_another_link() {
    let mut host = Host::new();
    for group in groups() {
        let family = group.family();
        let mut device = ListenOptions::new().unicast().bind::<64>(Bind::Port(group.port(), family)).unwrap();
        for link in &host.links {
            device.join(&Membership::any(group).on(named(&link.a))).unwrap();
        }
        let mut sender = device.sender(SendOptions::new().interface(named(&host.links[0].a))).unwrap();
        for (link, other) in [(0, 1), (1, 0)] {
            let [ours, theirs] = ends(&host, link, family);
            for is_routed_elsewhere in [false, true] {
                if is_routed_elsewhere {
                    route(&host, theirs, other);
                }
                let asker = host.tell(theirs, link, SocketAddr::new(ours, group.port()), "question");
                reply((&mut device, &mut sender), asker);
                let said = format!("{family:?}, link {link}, routed elsewhere: {is_routed_elsewhere}");
                assert_eq!(host.answer(), arrival("answer", &host, link, ours, group.port()), "{said}");
            }
            run(&format!("ip route del {theirs}"));
        }
    }
}

#[test]
fn a_reply_to_a_source_behind_a_router_leaves_as_the_routes_say() {
    let mut host = Host::new();
    for (group, far) in groups().into_iter().zip(["172.31.7.7", "fd77::7"]) {
        let far: IpAddr = far.parse().unwrap();
        host.give(far, if far.is_ipv4() { 32 } else { 128 }, "lo");
        let (mut device, mut sender) = device(&host, group);
        for (asked_on, routed) in [(0, 1), (0, 0), (1, 0)] {
            route(&host, far, routed);
            let asker = host.ask(far, asked_on, group, "question");
            reply((&mut device, &mut sender), asker);
            let answer = host.answer();
            let ours = ends(&host, routed, group.family())[0];
            assert_eq!(answer, arrival("answer", &host, routed, ours, group.port()), "asked on {asked_on}");
        }
    }
}

#[test]
fn of_two_addresses_on_a_link_the_reply_has_the_one_that_was_asked_or_is_in_the_network_of_the_asker() {
    let mut host = Host::new();
    let (a, b) = (host.links[0].a.clone(), host.links[0].b.clone());
    for (group, ours, theirs, bits) in [
        (unique_group(), ["192.0.2.1", "198.51.100.1"], ["192.0.2.9", "198.51.100.9"], 24),
        (unique_v6_group(5), ["2001:db8:1::1", "2001:db8:2::1"], ["2001:db8:1::9", "2001:db8:2::9"], 64),
    ] {
        let [ours, theirs] = [ours, theirs].map(|two| two.map(|text| text.parse::<IpAddr>().unwrap()));
        for (ours, theirs) in ours.into_iter().zip(theirs) {
            give(run, ours, bits, &a);
            host.give(theirs, bits, &b);
        }
        let mut device = ListenOptions::new().unicast().bind::<64>(Bind::Port(group.port(), group.family())).unwrap();
        device.join(&Membership::any(group).on(named(&a))).unwrap();
        let mut sender = device.sender(SendOptions::new().interface(named(&a))).unwrap();
        for (ours, theirs) in ours.into_iter().zip(theirs) {
            let asker = host.ask(theirs, 0, group, "question");
            reply((&mut device, &mut sender), asker);
            assert_eq!(host.answer(), arrival("answer", &host, 0, ours, group.port()));
        }
        // By unicast, to each from each.
        for asked in ours {
            for from in theirs {
                let asker = host.tell(from, 0, SocketAddr::new(asked, group.port()), "question");
                reply((&mut device, &mut sender), asker);
                assert_eq!(host.answer(), arrival("answer", &host, 0, asked, group.port()), "from {from}");
            }
        }
    }
}

/// Both links have the same address at the other end, so only the interface tells them apart.
#[test]
fn a_reply_to_a_link_local_address_leaves_on_the_link_of_the_question() {
    let mut host = Host::new();
    for scope in [2, 5] {
        let group = unique_v6_group(scope);
        let (mut device, mut sender) = device(&host, group);
        for (link, ours) in [(0, "fe80::7:1"), (1, "fe80::8:1"), (0, "fe80::7:1")] {
            let asker = host.ask("fe80::2".parse().unwrap(), link, group, "question");
            reply((&mut device, &mut sender), asker);
            assert_eq!(host.answer(), arrival("answer", &host, link, ours.parse().unwrap(), group.port()));
        }
    }
}

#[test]
fn unicast_is_received_only_on_links_with_a_group_and_a_broadcast_on_none() {
    let mut host = Host::new();
    for group in groups() {
        let family = group.family();
        for kernel_filter in [true, false] {
            let options = ListenOptions::new().unicast().kernel_filter(kernel_filter);
            let mut listener = options.bind::<64>(Bind::Port(group.port(), family)).unwrap();
            // A link on which another socket alone has joined is none of ours.
            let there = Membership::any(group).on(named(&host.links[1].a));
            let mut neighbour = ListenOptions::new().bind::<64>(there).unwrap();
            listener.join(&Membership::any(group).on(named(&host.links[0].a))).unwrap();
            let [[ours, theirs], [our_other, their_other]] = [0, 1].map(|link| ends(&host, link, family));
            let at = |address| SocketAddr::new(address, group.port());
            host.tell(theirs, 0, at(ours), "here");
            assert_eq!(expect_packet(&mut listener), b"here");
            // Without a guard nobody has a list of the links.
            if kernel_filter {
                host.tell(their_other, 1, at(our_other), "elsewhere");
                host.run(&format!("ip route replace {ours} via {our_other} dev {}", host.links[1].b));
                host.tell(their_other, 1, at(ours), "to this address, elsewhere");
            }
            host.ask(their_other, 1, group, "the group elsewhere");
            assert_eq!(expect_packet(&mut neighbour), b"the group elsewhere");
            if let IpAddr::V4(address) = ours {
                let [a, b, c, _] = address.octets();
                for broadcast in [[a, b, c, 255], [255; 4]] {
                    host.tell(theirs, 0, at(broadcast.into()), "to all");
                }
            }
            assert_quiet(&mut listener);
            host.ask(theirs, 0, group, "the group");
            assert_eq!(expect_packet(&mut listener), b"the group");
        }
    }
}

#[test]
fn replies_are_received_on_every_link_and_neither_groups_nor_broadcasts_on_any() {
    let mut host = Host::new();
    for family in [Family::V4, Family::V6] {
        let options = SendOptions::new().interface(named(&host.links[0].a));
        let (sender, mut replies) = options.open_with_replies::<64>(family).unwrap();
        let port = sender.local_addr().unwrap().port();
        // Somebody else joins a group of the same port number, on both links.
        let address = if family == Family::V4 { unique_group().address() } else { unique_v6_group(5).address() };
        let group = Group::new(address, port).unwrap();
        let beside = Group::new(address, common::free_port()).unwrap();
        let (_neighbour, _) = device(&host, beside);
        for link in [0, 1] {
            let [ours, theirs] = ends(&host, link, family);
            host.ask(theirs, link, group, "to the group");
            if let IpAddr::V4(address) = ours {
                let [a, b, c, _] = address.octets();
                for broadcast in [[a, b, c, 255], [255; 4]] {
                    host.tell(theirs, link, SocketAddr::new(broadcast.into(), port), "to all");
                }
            }
            assert_quiet(&mut replies);
            host.tell(theirs, link, SocketAddr::new(ours, port), "an answer");
            let answer = next(&mut replies);
            let metadata = answer.metadata().unwrap();
            assert_eq!((answer.payload(), answer.source().ip()), (&b"an answer"[..], theirs));
            assert_eq!((metadata.destination, metadata.interface), (Some(ours), Some(index_of(&host.links[link].a))));
        }
        let counters = replies.counters();
        let broadcasts = if family == Family::V4 { 4 } else { 0 };
        assert_eq!((counters.received, counters.foreign, counters.dropped), (2, broadcasts, Some(0)), "{family:?}");
        assert!(!counters.kernel_refuses);
    }
}

#[test]
fn an_ipv6_destination_names_link_and_source_for_one_packet() {
    let host = Host::new();
    let index = |link: usize| NonZeroU32::get(index_of(&host.links[link].a));
    for scope in [2, 5, 0xe] {
        let group = unique_v6_group(scope);
        let mut device = ListenOptions::new().metadata().bind::<64>(Bind::Later(group)).unwrap();
        for link in &host.links {
            device.join(&Membership::any(group).on(named(&link.a))).unwrap();
        }
        let mut sender = SendOptions::new().interface(named(&host.links[0].a)).open(Family::V6).unwrap();
        let mut arrives = |to: Destination| {
            assert_eq!(sender.send(b"x", to).unwrap(), Outcome::Sent);
            let packet = next(&mut device);
            (packet.metadata().unwrap().interface.unwrap().get(), packet.source().ip())
        };
        for (link, link_local) in ["fe80::7:1", "fe80::8:1"].into_iter().enumerate() {
            let (ours, link_local) = (ends(&host, link, Family::V6)[0], link_local.parse().unwrap());
            let by_name = Destination::from(group).on(named(&host.links[link].a)).unwrap();
            let expected = if scope == 2 { link_local } else { ours };
            assert_eq!(arrives(by_name), (index(link), expected), "scope {scope}");
            assert_eq!(arrives(by_name.from_address(link_local)), (index(link), link_local), "scope {scope}");
            assert_eq!(arrives(by_name.from_address(ours)), (index(link), ours), "scope {scope}");
        }
        // The sender's own way is as before.
        assert_eq!(arrives(group.into()).0, index(0));
    }
}
