//! Memberships that the kernel loses without an error, and what `leave` and `block` do where an interface is down or the default route
//! has moved. In a private network: see `make test`.

use std::net::IpAddr;

use crate::common;
use crate::common::link::{Pair, flood, index_of, is_alone, named, run};
use crate::common::{assert_quiet, expect_packet, unique_group, unique_v6_group};
use multicast::{
    Bind, Change, ErrorKind, Group, Interface, Links, ListenOptions, Listener, Membership, Memberships, SendOptions,
};

/// A listener that is bound to the group, and one that is bound to its port.
const WAYS: [fn(Group) -> Listener<64>; 2] = [
    |group| ListenOptions::new().bind(Bind::Later(group)).unwrap(),
    |group| ListenOptions::new().bind(Bind::Port(group.port(), group.family())).unwrap(),
];

/// Without a copy for this host, which would also arrive on the sender's interface.
fn send(from: &str, group: Group, text: &str) {
    let options = SendOptions::new().interface(named(from)).loopback(false);
    common::send_with(options, group, [text]);
}

/// Gives an end addresses of its own again, as after an MTU that was too short for IPv6.
fn restore_ipv6(pair: &Pair) {
    for (end, address) in [&pair.a, &pair.b].into_iter().zip(pair.v6_addresses()) {
        run(&format!("ip -6 addr replace {address}/64 dev {end} nodad"));
    }
}

#[test]
fn ipv6_memberships_survive_an_mtu_that_is_too_short_for_a_while() {
    if !is_alone("ipv6_memberships_survive_an_mtu_that_is_too_short_for_a_while") {
        return;
    }
    for group in [unique_v6_group(2), unique_v6_group(5)] {
        for way in WAYS {
            let pair = Pair::new();
            for interface in [
                named(&pair.b),
                Interface::Index(index_of(&pair.b)),
                Interface::All,
                Interface::Address(pair.addresses[1].into()),
            ] {
                let (mut links, mut listener, mut book) = (Links::watch().unwrap(), way(group), Memberships::<1>::new());
                book.join(Membership::any(group).on(interface), &mut listener).unwrap();
                let _ = links.follow(&mut book.with(&mut listener)).unwrap();
                send(&pair.a, group, "before");
                assert_eq!(expect_packet(&mut listener), b"before", "{interface}");
                run(&format!("ip link set {} mtu 1200", pair.b));
                let followed = links.follow(&mut book.with(&mut listener)).unwrap();
                assert_eq!((followed.applied.left, followed.failed), (1, None), "{interface}");
                run(&format!("ip link set {} mtu 1500", pair.b));
                restore_ipv6(&pair);
                let followed = links.follow(&mut book.with(&mut listener)).unwrap();
                assert_eq!((followed.applied.joined, followed.failed), (1, None), "{interface}");
                send(&pair.a, group, "after");
                assert_eq!(expect_packet(&mut listener), b"after", "{interface}");
                assert_quiet(&mut listener);
            }
        }
    }
}

/// Both changes are read at once: also then the membership was lost in between.
#[test]
fn a_short_mtu_counts_also_if_it_has_passed_when_it_is_read() {
    if !is_alone("a_short_mtu_counts_also_if_it_has_passed_when_it_is_read") {
        return;
    }
    let (pair, group) = (Pair::new(), unique_v6_group(5));
    let (mut links, mut listener, mut book) = (Links::watch().unwrap(), WAYS[0](group), Memberships::<1>::new());
    book.join(Membership::any(group).on(named(&pair.b)), &mut listener).unwrap();
    run(&format!("ip link set {} mtu 1200", pair.b));
    run(&format!("ip link set {} mtu 1500", pair.b));
    restore_ipv6(&pair);
    assert_eq!(links.follow(&mut book.with(&mut listener)).unwrap().failed, None);
    send(&pair.a, group, "after");
    assert_eq!(expect_packet(&mut listener), b"after");
}

/// The interface is created again with its old index while changes are lost.
#[test]
fn after_an_overrun_an_interface_with_its_old_index_is_joined_anew() {
    if !is_alone("after_an_overrun_an_interface_with_its_old_index_is_joined_anew") {
        return;
    }
    let busy = Pair::new();
    for group in [unique_group(), unique_v6_group(5)] {
        for way in WAYS {
            let pair = Pair::new();
            let (a, b) = (index_of(&pair.a), index_of(&pair.b));
            let (mut links, mut listener, mut book) = (Links::watch().unwrap(), way(group), Memberships::<1>::new());
            book.join(Membership::any(group).on(named(&pair.b)), &mut listener).unwrap();
            while links.follow(&mut book.with(&mut listener)).unwrap().more {}
            // First the flood: what comes after it is lost.
            flood(&busy.a);
            pair.delete();
            run(&format!("ip link add {} index {a} type veth peer name {} index {b}", pair.a, pair.b));
            pair.set_up();
            pair.give_addresses();
            assert_eq!(index_of(&pair.b), b);
            let mut told = Vec::new();
            while let Some(change) = links.next().unwrap() {
                book.apply(&change, &mut listener).unwrap();
                told.push(change);
            }
            assert!(told.contains(&Change::Overrun));
            assert!(!told.iter().any(|change| matches!(change, Change::Gone { index, .. } if *index == b)));
            send(&pair.a, group, "after");
            assert_eq!(expect_packet(&mut listener), b"after", "{group}");
        }
    }
}

#[test]
fn leave_and_block_on_all_reach_interfaces_that_are_down() {
    if !is_alone("leave_and_block_on_all_reach_interfaces_that_are_down") {
        return;
    }
    for group in [unique_group(), unique_v6_group(5)] {
        for way in WAYS {
            let pair = Pair::new();
            let on_all = Membership::any(group).on(Interface::All);
            let own: IpAddr =
                if group.address().is_ipv4() { pair.addresses[0].into() } else { pair.v6_addresses()[0].into() };
            let mut listener = way(group);
            listener.join(&on_all).unwrap();
            let down_and_up = |what: &mut dyn FnMut()| {
                run(&format!("ip link set {} down", pair.b));
                what();
                run(&format!("ip link set {} up", pair.b));
                pair.wait_until_up();
                restore_ipv6(&pair);
            };
            down_and_up(&mut || listener.block(&on_all, own).unwrap());
            send(&pair.a, group, "blocked");
            assert_quiet(&mut listener);
            down_and_up(&mut || listener.unblock(&on_all, own).unwrap());
            send(&pair.a, group, "unblocked");
            assert_eq!(expect_packet(&mut listener), b"unblocked");
            down_and_up(&mut || listener.leave(&on_all).unwrap());
            send(&pair.a, group, "left");
            assert_quiet(&mut listener);
            let error = listener.block(&on_all, own).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::NotJoined);
        }
    }
}

#[test]
fn leave_and_block_on_the_default_interface_follow_the_membership_and_not_the_route() {
    if !is_alone("leave_and_block_on_the_default_interface_follow_the_membership_and_not_the_route") {
        return;
    }
    for group in [unique_group(), unique_v6_group(5)] {
        for way in WAYS {
            let (first, second) = (Pair::new(), Pair::new());
            let address = group.address();
            let lead_to = |interface: &str| {
                if address.is_ipv4() {
                    run(&format!("ip route replace {address} dev {interface}"));
                } else {
                    run(&format!("ip -6 route flush table local {address}"));
                    run(&format!("ip -6 route add multicast {address} dev {interface} table local metric 1"));
                }
            };
            let by_default = Membership::any(group);
            let own: IpAddr = if address.is_ipv4() { first.addresses[0].into() } else { first.v6_addresses()[0].into() };
            let mut listener = way(group);
            lead_to(&first.b);
            listener.join(&by_default).unwrap();
            send(&first.a, group, "joined");
            assert_eq!(expect_packet(&mut listener), b"joined", "{group}");
            lead_to(&second.b);
            listener.block(&by_default, own).unwrap();
            send(&first.a, group, "blocked");
            assert_quiet(&mut listener);
            listener.unblock(&by_default, own).unwrap();
            // On two others it is not clear which is meant.
            listener.join(&by_default.on(named(&first.a))).unwrap();
            let error = listener.leave(&by_default).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InterfaceNeeded);
            let said =
                "the route has moved, and the group is joined on several other interfaces: name an interface, such as eth0";
            assert_eq!(error.to_string(), format!("leave {address} on default: {said}"));
            listener.leave(&by_default.on(named(&first.a))).unwrap();
            listener.leave(&by_default).unwrap();
            send(&first.a, group, "left");
            assert_quiet(&mut listener);
            // It is no member any more.
            listener.leave(&by_default).unwrap();
            assert_eq!(listener.block(&by_default, own).unwrap_err().kind(), ErrorKind::NotJoined);
        }
    }
}

#[test]
fn one_ipv6_listener_refuses_sources_on_two_interfaces() {
    if !is_alone("one_ipv6_listener_refuses_sources_on_two_interfaces") {
        return;
    }
    let (first, second) = (Pair::new(), Pair::new());
    for kernel_filter in [true, false] {
        let group = unique_v6_group(5);
        let open = || {
            ListenOptions::new().kernel_filter(kernel_filter).bind::<64>(Bind::Port(group.port(), group.family())).unwrap()
        };
        let any = Membership::any(group).on(named(&first.b));
        let named_on =
            |pair: &Pair, host: usize| Membership::source(group, pair.v6_addresses()[host].into()).on(named(&pair.b));
        for (one, other) in
            [(any, named_on(&second, 0)), (named_on(&second, 0), any), (named_on(&first, 0), named_on(&second, 0))]
        {
            let mut listener = open();
            listener.join(&one).unwrap();
            let error = listener.join(&other).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::SourcesOnOneInterface);
            assert!(
                error.to_string().ends_with("use two listeners, each bound to its interface (Bind::Interface)"),
                "{error}"
            );
            // After the first is left, the other one can be joined.
            listener.leave(&one).unwrap();
            listener.join(&other).unwrap();
        }
        // Several sources on one interface, and any source on two, are no matter.
        let mut listener = open();
        listener.join(&named_on(&first, 0)).unwrap();
        listener.join(&Membership::source(group, "fd98::1".parse().unwrap()).on(named(&first.b))).unwrap();
        let mut listener = open();
        listener.join(&any).unwrap();
        listener.join(&any.on(named(&second.b))).unwrap();
    }
    // IPv4 has no such fault.
    let group = unique_group();
    let mut listener = WAYS[1](group);
    for pair in [&first, &second] {
        listener.join(&Membership::source(group, pair.addresses[0].into()).on(named(&pair.b))).unwrap();
    }
}

/// A socket has at most 20 memberships: those of a deleted interface are left, whatever sources they name.
#[test]
fn all_named_sources_on_deleted_interfaces_are_left() {
    let (pair, group) = (Pair::new(), unique_group());
    for way in WAYS {
        let (mut links, mut listener, mut book) = (Links::watch().unwrap(), way(group), Memberships::<3>::new());
        for host in 1..=3 {
            let source = IpAddr::from([10, 1, 1, host]);
            book.join(Membership::source(group, source).on(named(&pair.b)), &mut listener).unwrap();
        }
        for round in 0..25 {
            pair.replace();
            let mut joined = 0;
            while let Some(change) = links.next().unwrap() {
                joined += book.apply(&change, &mut listener).unwrap().joined;
            }
            assert_eq!(joined, 3, "round {round}");
        }
    }
}
