//! `Interface::All`: each packet is received once for each interface that it arrives on, and later interfaces are joined. In a
//! private network: see `make test`.

use crate::common;
use crate::common::link::{Pair, is_alone, named, run};
use crate::common::{assert_quiet, expect_packet, require_private_network, unique_group, unique_v6_group};
use multicast::{Bind, ErrorKind, Group, Interface, Links, ListenOptions, Listener, Membership, Memberships, SendOptions};

fn groups() -> [Group; 3] {
    [unique_group(), unique_v6_group(2), unique_v6_group(5)]
}

/// Without a copy for this host, which would also arrive on the sender's interface.
fn send(from: &str, group: Group, text: &str) {
    common::send_with(SendOptions::new().interface(named(from)).loopback(false), group, [text]);
}

fn on_all(group: Group) -> Membership {
    Membership::any(group).on(Interface::All)
}

#[test]
fn each_packet_is_received_once_for_each_interface() {
    if !is_alone("each_packet_is_received_once_for_each_interface") {
        return;
    }
    let (first, second) = (Pair::new(), Pair::new());
    for group in groups() {
        let mut listener = ListenOptions::new().bind::<64>(on_all(group)).unwrap();
        send(&first.a, group, "by the first");
        send(&second.a, group, "by the second");
        send(&second.b, group, "by its other end");
        for expected in ["by the first", "by the second", "by its other end"] {
            assert_eq!(expect_packet(&mut listener), expected.as_bytes(), "{group}");
        }
        assert_quiet(&mut listener);
        // With copies for this host it arrives at both ends: two interfaces, two packets.
        common::send_with(SendOptions::new().interface(named(&first.a)), group, ["both"]);
        for _ in 0..2 {
            assert_eq!(expect_packet(&mut listener), b"both");
        }
        assert_quiet(&mut listener);
        listener.leave(&on_all(group)).unwrap();
        send(&first.a, group, "left");
        assert_quiet(&mut listener);
    }
}

#[test]
fn a_source_is_blocked_and_unblocked_on_every_interface() {
    if !is_alone("a_source_is_blocked_and_unblocked_on_every_interface") {
        return;
    }
    let pairs = [Pair::new(), Pair::new()];
    let group = unique_group();
    let mut listener = ListenOptions::new().bind::<64>(on_all(group)).unwrap();
    let blocked = pairs[0].addresses[0].into();
    listener.block(&on_all(group), blocked).unwrap();
    // The kernel gives each packet to the last bound socket at the end: what arrives here was refused before the source is unblocked.
    let mut witness = ListenOptions::new().bind::<64>(Membership::any(group).on(named(&pairs[0].b))).unwrap();
    // On the second link the source has another address.
    send(&pairs[0].a, group, "blocked");
    assert_eq!(expect_packet(&mut witness), b"blocked");
    send(&pairs[1].a, group, "by the second");
    assert_eq!(expect_packet(&mut listener), b"by the second");
    assert_quiet(&mut listener);
    listener.unblock(&on_all(group), blocked).unwrap();
    send(&pairs[0].a, group, "unblocked");
    assert_eq!(expect_packet(&mut listener), b"unblocked");
    // A group that is joined on one interface only cannot be blocked on all.
    let mut listener = ListenOptions::new().bind::<64>(Membership::any(group).on(named(&pairs[0].b))).unwrap();
    assert_eq!(listener.block(&on_all(group), blocked).unwrap_err().kind(), ErrorKind::NotJoined);
}

#[test]
fn an_interface_that_appears_or_is_switched_on_is_joined() {
    if !is_alone("an_interface_that_appears_or_is_switched_on_is_joined") {
        return;
    }
    for group in groups() {
        let (pair, off) = (Pair::new(), Pair::new());
        run(&format!("ip link set {} down", off.b));
        let (mut links, mut book) = (Links::watch().unwrap(), Memberships::<1>::new());
        let mut listener = ListenOptions::new().bind::<64>(Bind::Later(group)).unwrap();
        book.join(on_all(group), &mut listener).unwrap();
        let mut follow = |listener: &mut Listener<64>| {
            while let Some(change) = links.next().unwrap() {
                book.apply(&change, listener).unwrap();
            }
        };
        run(&format!("ip link set {} up", off.b));
        off.wait_until_up();
        let new = Pair::new();
        follow(&mut listener);
        for (from, text) in [(&pair.a, "there before"), (&off.a, "switched on"), (&new.a, "new")] {
            send(from, group, text);
            assert_eq!(expect_packet(&mut listener), text.as_bytes(), "{group}");
        }
        assert_quiet(&mut listener);
        // An interface that was set down and up keeps its membership, and is not joined twice.
        run(&format!("ip link set {} down", new.b));
        follow(&mut listener);
        run(&format!("ip link set {} up", new.b));
        new.wait_until_up();
        follow(&mut listener);
        new.replace();
        follow(&mut listener);
        send(&new.a, group, "made again");
        assert_eq!(expect_packet(&mut listener), b"made again");
        assert_quiet(&mut listener);
    }
}

/// The same book has an entry for all interfaces, and one for the name of one of them.
#[test]
fn leaving_by_name_does_not_end_a_membership_on_all() {
    if !is_alone("leaving_by_name_does_not_end_a_membership_on_all") {
        return;
    }
    let pair = Pair::new();
    for group in groups() {
        let (mut links, mut book) = (Links::watch().unwrap(), Memberships::<2>::new());
        let mut listener = ListenOptions::new().bind::<64>(Bind::Later(group)).unwrap();
        let by_name = Membership::any(group).on(named(&pair.b));
        book.join(by_name, &mut listener).unwrap();
        book.join(on_all(group), &mut listener).unwrap();
        book.leave(&by_name, &mut listener).unwrap();
        while let Some(change) = links.next().unwrap() {
            book.apply(&change, &mut listener).unwrap();
        }
        send(&pair.a, group, "still here");
        assert_eq!(expect_packet(&mut listener), b"still here", "{group}");
        assert_quiet(&mut listener);
    }
}

#[test]
fn an_interface_without_ipv6_is_skipped() {
    if !is_alone("an_interface_without_ipv6_is_skipped") {
        return;
    }
    let (pair, narrow) = (Pair::new(), Pair::new());
    // Less than the minimum of IPv6 (RFC 8200, section 5).
    run(&format!("ip link set {} mtu 1000", narrow.b));
    for group in [unique_v6_group(2), unique_v6_group(5)] {
        let mut listener = ListenOptions::new().bind::<64>(on_all(group)).unwrap();
        send(&pair.a, group, "by the wide one");
        assert_eq!(expect_packet(&mut listener), b"by the wide one");
        let by_name = Membership::any(group).on(named(&narrow.b));
        let error = ListenOptions::new().bind::<64>(by_name).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NoAddress);
        let said = format!(
            "{} on {}: the interface has no address of this family: add one, or try again later",
            group.address(),
            narrow.b
        );
        assert_eq!(error.to_string(), format!("join {said}"));
        // The interface may get IPv6 later: a book waits.
        let mut links = Links::watch().unwrap();
        let (mut book, mut listener) =
            (Memberships::<1>::new(), ListenOptions::new().bind::<64>(Bind::Later(group)).unwrap());
        assert_eq!(book.join(by_name, &mut listener).unwrap().pending, 1);
        for end in [&narrow.a, &narrow.b] {
            run(&format!("ip link set {end} mtu 1500"));
        }
        while let Some(change) = links.next().unwrap() {
            book.apply(&change, &mut listener).unwrap();
        }
        assert_eq!(book.pending().count(), 0);
        run(&format!("ip link set {} mtu 1000", narrow.b));
    }
}

#[test]
fn sending_ipv6_on_an_interface_without_addresses_is_an_error() {
    let pair = Pair::bare();
    for group in [unique_v6_group(2), unique_v6_group(5)] {
        let sent = SendOptions::new().interface(named(&pair.a)).packets(group, ["x"]).and_then(|mut caster| caster.step());
        let error = sent.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NoAddress, "{error:?}");
    }
}

#[test]
fn sending_on_all_interfaces_is_an_error_with_the_remedy() {
    require_private_network();
    for group in groups() {
        let error = SendOptions::new().interface(Interface::All).packets(group, ["x"]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::OneInterface);
        let said = "packets leave on one interface, and this is none or another one: use one sender per interface";
        assert_eq!(error.to_string(), format!("send {} on all: {said}", group.address()));
    }
}

#[test]
fn no_interface_is_an_error_and_past_a_limit_the_listener_receives_on_the_first_ones() {
    if !is_alone("no_interface_is_an_error_and_past_a_limit_the_listener_receives_on_the_first_ones") {
        return;
    }
    let group = unique_v6_group(5);
    let on_all = Membership::any(group).on(Interface::All);
    let error = ListenOptions::new().bind::<64>(on_all).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NoSuchInterface);
    // A book waits for an interface.
    let mut listener = ListenOptions::new().bind::<64>(Bind::Later(group)).unwrap();
    let mut book = Memberships::<1>::new();
    assert_eq!(book.join(on_all, &mut listener).unwrap().pending, 1);

    let pairs: Vec<Pair> = (0..11).map(|_| Pair::new()).collect();
    // IPv6 has no limit here.
    let applied = Memberships::<1>::new().join(on_all, &mut listener).unwrap();
    assert_eq!((applied.joined, applied.over_limit), (22, 0));
    send(&pairs[10].a, group, "by the last");
    assert_eq!(expect_packet(&mut listener), b"by the last");

    // IPv4 reaches the kernel's limit. Bound to the group, bound to the port, and with a book.
    let v4 = unique_group();
    let on_all = Membership::any(v4).on(Interface::All);
    let mut bound = ListenOptions::new().bind::<64>(on_all).unwrap();
    let mut opened = ListenOptions::new().bind::<64>(Bind::Port(v4.port(), v4.family())).unwrap();
    for listener in [&mut bound, &mut opened] {
        let error = listener.join(&on_all).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::LimitReached);
        assert!(error.to_string().contains("group limit reached (net.ipv4.igmp_max_memberships), set to 20"), "{error}");
        send(&pairs[0].a, v4, "by the first");
        assert_eq!(expect_packet(listener), b"by the first");
        listener.leave(&on_all).unwrap();
        send(&pairs[0].a, v4, "left");
        assert_quiet(listener);
        let (mut links, mut book) = (Links::watch().unwrap(), Memberships::<1>::new());
        let applied = book.join(on_all, listener).unwrap();
        assert_eq!((applied.joined, applied.over_limit, applied.pending), (20, 2, 0));
        send(&pairs[0].a, v4, "by the first");
        assert_eq!(expect_packet(listener), b"by the first");
        // Nothing new is joined, and nothing new is reported.
        let followed = links.follow(&mut book.with(listener)).unwrap();
        assert_eq!((followed.applied.joined, followed.applied.over_limit, followed.failed), (0, 2, None));
        // Two more interfaces: that is reported, once.
        let more = Pair::new();
        let followed = links.follow(&mut book.with(listener)).unwrap();
        assert_eq!((followed.applied.joined, followed.applied.over_limit), (0, 4));
        assert_eq!(followed.failed.map(|error| error.kind()), Some(ErrorKind::LimitReached));
        // An interface that is gone makes room for another one.
        drop(more);
        assert_eq!(links.follow(&mut book.with(listener)).unwrap().applied.over_limit, 2);
        // What is left is left everywhere.
        assert_eq!(book.leave(&on_all, listener).unwrap().left, 20);
        send(&pairs[0].a, v4, "left");
        assert_quiet(listener);
    }
}

#[test]
fn a_book_on_all_interfaces_of_a_container_host_does_not_join_the_ports_of_its_bridge() {
    if !is_alone("a_book_on_all_interfaces_of_a_container_host_does_not_join_the_ports_of_its_bridge") {
        return;
    }
    run("ip link add br0 type bridge mcast_snooping 0");
    run("ip link set br0 up");
    let containers: Vec<Pair> = (0..11).map(|_| Pair::bare()).collect();
    for pair in &containers {
        for end in [&pair.a, &pair.b] {
            run(&format!("ip link set {end} master br0"));
        }
    }
    let cable = Pair::new();
    let group = unique_group();
    let mut links = Links::watch().unwrap();
    let mut listener = ListenOptions::new().bind::<64>(Bind::Later(group)).unwrap();
    let mut book = Memberships::<1>::new();
    let applied = book.join(on_all(group), &mut listener).unwrap();
    assert_eq!((applied.joined, applied.over_limit), (3, 0), "the bridge and both ends of the cable");
    send(&cable.a, group, "by the cable");
    assert_eq!(expect_packet(&mut listener), b"by the cable");
    // So does a listener without a book.
    let mut bound = ListenOptions::new().bind::<64>(on_all(group)).unwrap();
    bound.join(&on_all(group)).unwrap();

    // A port that leaves the bridge is joined, one that becomes a port is left.
    let _ = links.follow(&mut book.with(&mut listener)).unwrap();
    run(&format!("ip link set {} nomaster", containers[0].a));
    let followed = links.follow(&mut book.with(&mut listener)).unwrap();
    assert_eq!((followed.applied.joined, followed.applied.left), (1, 0));
    run(&format!("ip link set {} master br0", containers[0].a));
    let followed = links.follow(&mut book.with(&mut listener)).unwrap();
    assert_eq!((followed.applied.joined, followed.applied.left), (0, 1));
}
