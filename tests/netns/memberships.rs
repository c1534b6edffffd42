//! `Memberships` by name, address and route, while interfaces change. In a private network: see `make test`.

use std::net::UdpSocket;

use crate::common;
use crate::common::link::{Pair, index_of, named, run};
use crate::common::{assert_quiet, expect_packet, free_port, peer, require_private_network, unique_group, unique_v6_group};
use multicast::{
    Applied, Bind, Change, ErrorKind, Group, Interface, Links, ListenOptions, Listener, Membership, Memberships, SendOptions,
};

/// A listener of one group, with its book.
struct Member {
    listener: Listener<64>,
    book: Memberships<2>,
    links: Links,
}

/// A listener that is bound to the group, and one that is bound to its port.
const WAYS: [fn(Group) -> Listener<64>; 2] = [
    |group| ListenOptions::new().bind(Bind::Later(group)).unwrap(),
    |group| ListenOptions::new().bind(Bind::Port(group.port(), group.family())).unwrap(),
];

impl Member {
    fn new(way: fn(Group) -> Listener<64>, group: Group, interface: Interface) -> Self {
        Self::of(way(group), Membership::any(group).on(interface))
    }

    fn of(mut listener: Listener<64>, membership: Membership) -> Self {
        let links = Links::watch().unwrap();
        let mut book = Memberships::new();
        book.join(membership, &mut listener).unwrap();
        Self { listener, book, links }
    }

    /// Applies the changes. Returns how many interfaces were joined and left.
    fn follow(&mut self) -> (usize, usize) {
        let (mut joined, mut left) = (0, 0);
        while let Some(change) = self.links.next().unwrap() {
            let applied = self.book.apply(&change, &mut self.listener).unwrap();
            assert_eq!(applied.pending, self.book.pending().count());
            (joined, left) = (joined + applied.joined, left + applied.left);
        }
        (joined, left)
    }
}

fn groups() -> [Group; 3] {
    [unique_group(), unique_v6_group(2), unique_v6_group(5)]
}

fn send(from: &str, group: Group, text: &str) {
    common::send_with(SendOptions::new().interface(named(from)), group, [text]);
}

/// A socket has at most 20 memberships. If those on deleted interfaces were not left, the limit would be reached.
#[test]
fn a_membership_by_name_survives_25_deletions() {
    for way in WAYS {
        let (pair, group) = (Pair::new(), unique_group());
        let mut member = Member::new(way, group, named(&pair.b));
        for round in 0..25 {
            pair.replace();
            assert_eq!(member.follow(), (1, 1), "round {round}");
            send(&pair.a, group, "still here");
            assert_eq!(expect_packet(&mut member.listener), b"still here", "round {round}");
        }
        assert_quiet(&mut member.listener);
        // All other memberships are still free.
        let limit = std::fs::read_to_string("/proc/sys/net/ipv4/igmp_max_memberships").unwrap();
        if member.listener.local_addr().unwrap().ip().is_unspecified() {
            for number in 1..limit.trim().parse::<u8>().unwrap() {
                let another = Group::new([239, 254, 1, number], group.port()).unwrap();
                member.listener.join(&Membership::any(another).on(named(&pair.b))).unwrap();
            }
        }
    }
}

#[test]
fn ipv6_memberships_survive_deletions() {
    for group in [unique_v6_group(2), unique_v6_group(5)] {
        for way in WAYS {
            let pair = Pair::new();
            let mut member = Member::new(way, group, named(&pair.b));
            for _ in 0..3 {
                pair.replace();
                assert_eq!(member.follow(), (1, 1));
                send(&pair.a, group, "still here");
                assert_eq!(expect_packet(&mut member.listener), b"still here", "{group}");
            }
        }
    }
}

#[test]
fn without_a_book_the_membership_is_lost() {
    for group in groups() {
        let pair = Pair::new();
        let mut listener = ListenOptions::new().bind::<64>(Membership::any(group).on(named(&pair.b))).unwrap();
        pair.replace();
        send(&pair.a, group, "unheard");
        assert_quiet(&mut listener);
    }
}

#[test]
fn a_missing_interface_is_joined_when_it_appears() {
    for group in groups() {
        for way in WAYS {
            let pair = Pair::planned();
            let mut member = Member::new(way, group, named(&pair.b));
            assert_eq!(member.book.pending().count(), 1);
            member.follow();
            assert_eq!(member.book.pending().count(), 1);
            pair.create();
            assert_eq!(member.follow(), (1, 0), "{group}");
            assert_eq!(member.book.pending().count(), 0);
            send(&pair.a, group, "at last");
            assert_eq!(expect_packet(&mut member.listener), b"at last");
        }
    }
}

#[test]
fn a_membership_by_address_follows_the_address() {
    let pair = Pair::bare();
    let [first, second] = [&pair.a, &pair.b];
    for (group, address, length) in
        [(unique_group(), pair.addresses[1].into(), 24), (unique_v6_group(5), pair.v6_addresses()[1].into(), 64)]
    {
        let address: std::net::IpAddr = address;
        let nodad = if address.is_ipv6() { " nodad" } else { "" };
        let mut member = Member::new(WAYS[0], group, Interface::Address(address));
        member.follow();
        assert_eq!(member.book.pending().count(), 1);
        run(&format!("ip addr add {address}/{length} dev {second}{nodad}"));
        // The kernel reports an IPv6 address a short time later.
        let mut done = (0, 0);
        common::wait_until_mut("the address is told", || {
            done = member.follow();
            done != (0, 0)
        });
        assert_eq!(done, (1, 0), "{group}");
        let is_joined = |end: &str| run(&format!("ip maddr show dev {end}")).contains(&format!(" {}\n", group.address()));
        assert!(is_joined(second) && !is_joined(first), "{group}");
        run(&format!("ip addr delete {address}/{length} dev {second}"));
        run(&format!("ip addr add {address}/{length} dev {first}{nodad}"));
        common::wait_until_mut("the address is told", || {
            member.follow();
            is_joined(first) && !is_joined(second)
        });
        run(&format!("ip addr delete {address}/{length} dev {first}"));
    }
}

#[test]
fn a_membership_by_name_follows_the_name() {
    let (pair, other) = (Pair::new(), Pair::new());
    for group in groups() {
        let mut member = Member::new(WAYS[1], group, named(&pair.b));
        let rename = |from: &str, to: &str| {
            run(&format!("ip link set {from} down"));
            run(&format!("ip link set {from} name {to}"));
            run(&format!("ip link set {to} up"));
        };
        // Another interface gets the name.
        rename(&pair.b, "spare0");
        assert_eq!(member.follow(), (0, 1));
        rename(&other.b, &pair.b);
        assert_eq!(member.follow(), (1, 0));
        for end in [&pair.a, &other.a] {
            common::wait_until("the link is up", || run(&format!("ip -o link show dev {end}")).contains("state UP"));
        }
        // Another process receives on the first interface.
        let mut peer = peer::Receiver::join(group, "spare0");
        send(&pair.a, group, "by what had the name");
        assert_eq!(peer.next().payload, b"by what had the name");
        send(&other.a, group, "by what has it");
        assert_eq!(expect_packet(&mut member.listener), b"by what has it");
        assert_quiet(&mut member.listener);
        rename(&pair.b, &other.b);
        rename("spare0", &pair.b);
        run(&format!("ip -6 addr add {}/64 dev {} nodad", pair.v6_addresses()[1], pair.b));
        run(&format!("ip -6 addr add {}/64 dev {} nodad", other.v6_addresses()[1], other.b));
        for pair in [&pair, &other] {
            pair.wait_until_up();
        }
    }
}

#[test]
fn memberships_of_named_sources_survive_and_can_be_left_one_by_one() {
    let pair = Pair::new();
    let [source, there] = pair.addresses;
    let group = unique_group();
    let from = |source: std::net::Ipv4Addr| Membership::source(group, source.into()).on(named(&pair.b));
    let mut listener = ListenOptions::new().bind::<64>(Bind::Later(group)).unwrap();
    let (mut links, mut book) = (Links::watch().unwrap(), Memberships::<2>::new());
    for source in [there, source] {
        book.join(from(source), &mut listener).unwrap();
    }
    for _ in 0..22 {
        pair.replace();
        while let Some(change) = links.next().unwrap() {
            book.apply(&change, &mut listener).unwrap();
        }
        send(&pair.a, group, "from the source");
        assert_eq!(expect_packet(&mut listener), b"from the source");
    }
    book.leave(&from(there), &mut listener).unwrap();
    send(&pair.a, group, "the other one stays");
    assert_eq!(expect_packet(&mut listener), b"the other one stays");
    book.leave(&from(source), &mut listener).unwrap();
    send(&pair.a, group, "unheard");
    assert_quiet(&mut listener);
}

/// Two entries can name one interface. Ending one keeps the other.
#[test]
fn two_entries_for_one_interface_do_not_end_each_other() {
    for group in groups() {
        let pair = Pair::new();
        let by_index = Interface::Index(index_of(&pair.b));
        let [named, indexed] = [named(&pair.b), by_index].map(|interface| Membership::any(group).on(interface));
        let mut listener = ListenOptions::new().bind::<64>(Bind::Port(group.port(), group.family())).unwrap();
        let (mut links, mut book) = (Links::watch().unwrap(), Memberships::<2>::new());
        book.join(named, &mut listener).unwrap();
        book.join(indexed, &mut listener).unwrap();
        book.leave(&named, &mut listener).unwrap();
        send(&pair.a, group, "one");
        assert_eq!(expect_packet(&mut listener), b"one", "{group}");
        book.join(named, &mut listener).unwrap();
        run(&format!("ip link set {} down", pair.b));
        run(&format!("ip link set {} name other0", pair.b));
        run("ip link set other0 up");
        while let Some(change) = links.next().unwrap() {
            book.apply(&change, &mut listener).unwrap();
        }
        assert_eq!(book.pending().collect::<Vec<_>>(), [&named]);
        common::wait_until("the link is up", || run(&format!("ip -o link show dev {}", pair.a)).contains("state UP"));
        send(&pair.a, group, "two");
        assert_eq!(expect_packet(&mut listener), b"two", "{group}");
    }
}

#[test]
fn an_overrun_alone_is_enough_to_join_again() {
    let (pair, group) = (Pair::new(), unique_group());
    let mut member = Member::new(WAYS[0], group, named(&pair.b));
    pair.replace();
    let applied = member.book.apply(&Change::Overrun, &mut member.listener).unwrap();
    assert_eq!((applied.joined, applied.left, applied.pending), (1, 1, 0));
    // The changes that are reported afterwards need no more joins.
    assert_eq!(member.follow(), (0, 0));
    send(&pair.a, group, "still here");
    assert_eq!(expect_packet(&mut member.listener), b"still here");
}

#[test]
fn after_an_interface_was_created_again_all_else_is_still_refused() {
    let (pair, other) = (Pair::new(), Pair::new());
    for group in groups() {
        for way in WAYS {
            let mut member = Member::new(way, group, named(&pair.b));
            send(&pair.a, group, "before");
            assert_eq!(expect_packet(&mut member.listener), b"before");
            pair.replace();
            member.follow();
            let neighbour = match group.address().is_ipv4() {
                true => Group::new(unique_group().address(), group.port()).unwrap(),
                false => Group::new(unique_v6_group(5).address(), group.port()).unwrap(),
            };
            let mut peers = [peer::Receiver::join(neighbour, &pair.b), peer::Receiver::join(group, &other.b)];
            send(&pair.a, neighbour, "another group");
            send(&other.a, group, "another interface");
            // A plain IPv6 socket also receives groups that other sockets joined, so each peer may receive both.
            while peers[0].next().payload != b"another group" {}
            while peers[1].next().payload != b"another interface" {}
            let (any, here) = match group.address().is_ipv4() {
                true => ("0.0.0.0", pair.addresses[1].into()),
                false => ("::", std::net::IpAddr::from(pair.v6_addresses()[1])),
            };
            // If no socket receives it, the kernel returns an error, which does not matter.
            let _ = UdpSocket::bind((any, 0)).unwrap().send_to(b"unicast", (here, group.port()));
            assert_quiet(&mut member.listener);
            send(&pair.a, group, "ours");
            assert_eq!(expect_packet(&mut member.listener), b"ours", "{group}");
        }
    }
}

/// The kernel knows interfaces by their index, and keeps the memberships of a socket after an interface is gone.
#[test]
fn what_comes_in_on_a_new_interface_with_the_index_of_a_deleted_one_is_refused() {
    for group in groups() {
        let own = Pair::new();
        let index = index_of(&own.b);
        let membership = Membership::any(group).on(named(&own.b));
        let places = [
            Bind::Group(membership),
            Bind::Interface(membership),
            Bind::Later(group),
            Bind::Port(group.port(), group.family()),
        ];
        let mut members = places.map(|place| Member::of(ListenOptions::new().bind(place).unwrap(), membership));
        own.delete();
        let other = Pair::planned();
        run(&format!("ip link add {} index {index} type veth peer name {}", other.b, other.a));
        other.set_up();
        other.give_addresses();
        assert_eq!(index_of(&other.b), index);
        for member in &mut members {
            member.follow();
        }
        // Not earlier: when a socket leaves on a deleted interface, or is closed, the kernel ends a membership on the new one.
        let mut peer = peer::Receiver::join(group, &other.b);
        send(&other.a, group, "theirs");
        assert_eq!(peer.next().payload, b"theirs");
        for member in &mut members {
            assert_quiet(&mut member.listener);
        }
        // They wait for an interface of their name.
        own.create();
        for member in &mut members {
            assert_eq!(member.follow(), (1, 0), "{group}");
        }
        send(&own.a, group, "ours");
        send(&other.a, group, "theirs");
        for member in &mut members {
            assert_eq!(expect_packet(&mut member.listener), b"ours", "{group}");
            assert_quiet(&mut member.listener);
        }
    }
}

#[test]
fn a_book_accepts_what_may_appear_and_refuses_what_cannot() {
    require_private_network();
    let port = free_port();
    let mut listener = ListenOptions::new().bind::<64>(Bind::Port(port, multicast::Family::V4)).unwrap();
    let group = |number: u8| Group::new([239, 253, 1, number], port).unwrap();
    let on = |number: u8| Membership::any(group(number)).on(named("later0"));
    let mut book = Memberships::<2>::new();
    for number in [1, 2, 2] {
        assert_eq!(book.join(on(number), &mut listener).unwrap().joined, 0);
    }
    assert_eq!(book.iter().count(), 2);
    let error = book.join(on(3), &mut listener).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::LimitReached);
    assert_eq!(error.to_string(), "join: the book of memberships is full: create it with a larger N");
    book.leave(&on(1), &mut listener).unwrap();
    // Leaving twice is the same as once.
    assert_eq!(book.leave(&on(1), &mut listener).unwrap().pending, 1);
    // These memberships are never possible, so the book does not keep them.
    for (membership, kind) in [
        (Membership::any(Group::new([239, 253, 1, 9], port ^ 1).unwrap()).on(Interface::LOOPBACK), ErrorKind::PortMismatch),
        (Membership::any(unique_v6_group(5)).on(Interface::LOOPBACK), ErrorKind::FamilyMismatch),
        (Membership::source(group(4), "fd00::1".parse().unwrap()).on(Interface::LOOPBACK), ErrorKind::FamilyMismatch),
    ] {
        assert_eq!(book.join(membership, &mut listener).unwrap_err().kind(), kind);
        assert_eq!(book.iter().count(), 1);
    }
    let link_local = unique_v6_group(2);
    let mut v6 = ListenOptions::new().bind::<64>(Bind::Later(link_local)).unwrap();
    let error = Memberships::<1>::new().join(Membership::any(link_local), &mut v6).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InterfaceNeeded);
    let mut book = Memberships::<1>::new();
    assert_eq!(book.apply(&Change::Overrun, &mut v6).unwrap(), Applied::default());
}
