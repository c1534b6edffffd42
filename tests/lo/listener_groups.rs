//! Joining and leaving on `lo`: what works, and which errors are returned.

use std::net::Ipv4Addr;

use crate::common::{LO, assert_quiet, expect_packet, free_port, lo_is_in, on_lo, send_all, unique_group, unique_v6_group};
use multicast::{Bind, ErrorKind, Family, Group, Interface, ListenOptions, Listener, Membership};

/// A listener that is bound to a port, and groups with that port.
fn opened<const N: usize>() -> (Listener<64>, [Group; N]) {
    let port = free_port();
    let listener = ListenOptions::new().bind::<64>(Bind::Port(port, Family::V4)).unwrap();
    (listener, std::array::from_fn(|_| Group::new(unique_group().address(), port).unwrap()))
}

fn interface(text: &str) -> Interface {
    text.parse().unwrap()
}

#[test]
fn a_listener_by_port_receives_each_group_that_it_joined() {
    let (mut listener, [first, second, never]) = opened();
    send_all(first, ["before any join"]);
    listener.join(&on_lo(first)).unwrap();
    listener.join(&on_lo(second)).unwrap();
    send_all(never, ["to a third group"]);
    send_all(first, ["to the first"]);
    send_all(second, ["to the second"]);
    assert_eq!(expect_packet(&mut listener), b"to the first");
    assert_eq!(expect_packet(&mut listener), b"to the second");
    assert_quiet(&mut listener);
}

#[test]
fn leaving_a_group_stops_only_its_packets() {
    let (mut listener, [left, kept]) = opened();
    listener.join(&on_lo(left)).unwrap();
    listener.join(&on_lo(kept)).unwrap();
    send_all(left, ["one"]);
    assert_eq!(expect_packet(&mut listener), b"one");
    // This packet is queued when the group is left, and must be refused.
    send_all(left, ["queued"]);
    listener.leave(&on_lo(left)).unwrap();
    assert!(!lo_is_in(left));
    send_all(left, ["after"]);
    send_all(kept, ["kept"]);
    assert_eq!(expect_packet(&mut listener), b"kept");
    assert_quiet(&mut listener);
    assert_eq!(listener.counters().foreign, 1);
    listener.join(&on_lo(left)).unwrap();
    send_all(left, ["joined again"]);
    assert_eq!(expect_packet(&mut listener), b"joined again");
}

#[test]
fn a_bound_listener_leaves_its_group_and_joins_it_again() {
    let group = unique_group();
    let mut listener = ListenOptions::new().bind::<64>(on_lo(group)).unwrap();
    listener.leave(&on_lo(group)).unwrap();
    send_all(group, ["nobody is there"]);
    assert_quiet(&mut listener);
    listener.join(&on_lo(group)).unwrap();
    send_all(group, ["back"]);
    assert_eq!(expect_packet(&mut listener), b"back");
}

#[test]
fn joining_and_leaving_twice_is_the_same_as_once() {
    let (mut listener, [group]) = opened();
    listener.leave(&on_lo(group)).unwrap();
    listener.join(&on_lo(group)).unwrap();
    listener.join(&on_lo(group)).unwrap();
    send_all(group, ["once"]);
    assert_eq!(expect_packet(&mut listener), b"once");
    assert_quiet(&mut listener);
    listener.leave(&on_lo(group)).unwrap();
    assert!(!lo_is_in(group));
    listener.leave(&on_lo(group)).unwrap();
}

#[test]
fn one_interface_has_many_names() {
    for its_name in ["lo", "1", "127.0.0.1"] {
        let group = unique_group();
        let membership = Membership::any(group).on(interface(its_name));
        let mut listener = ListenOptions::new().bind::<64>(membership).unwrap();
        assert!(lo_is_in(group), "{its_name}");
        send_all(group, [its_name]);
        assert_eq!(expect_packet(&mut listener), its_name.as_bytes());
        // They name the same interface, so leaving by one ends the membership of the other.
        listener.leave(&on_lo(group)).unwrap();
        assert!(!lo_is_in(group), "{its_name}");
    }
}

#[test]
fn an_unknown_interface_is_named_in_the_error() {
    let group = Group::new(Ipv4Addr::new(239, 1, 2, 3), free_port()).unwrap();
    let of_index = "no such interface (digits are an index, never a name: ip link shows the index of each)";
    let unknown = "no such interface";
    for (unknown, words) in
        [("nosuch0", unknown), ("1999999999", of_index), ("192.0.2.77", unknown), ("2001:db8::77", unknown)]
    {
        let membership = Membership::any(group).on(interface(unknown));
        let error = Listener::bind(membership).unwrap_err();
        assert_eq!(error.to_string(), format!("join 239.1.2.3 on {unknown}: {words}"));
        assert_eq!(error.kind(), ErrorKind::NoSuchInterface);
        let mut listener = Listener::bind(on_lo(group)).unwrap();
        match membership.interface() {
            // A deleted interface has no name any more, but a membership may still exist on its index.
            Interface::Index(_) => listener.leave(&membership).unwrap(),
            _ => {
                let error = listener.leave(&membership).unwrap_err();
                assert_eq!(error.to_string(), format!("leave 239.1.2.3 on {unknown}: no such interface"));
            }
        }
        let error = multicast::SendOptions::new().interface(interface(unknown)).packets(group, [""]).unwrap_err();
        assert_eq!(error.to_string(), format!("send 239.1.2.3 on {unknown}: {words}"));
        assert_eq!(error.kind(), ErrorKind::NoSuchInterface);
    }
}

#[test]
fn a_bound_listener_refuses_another_group() {
    let group = Group::new(Ipv4Addr::new(239, 1, 2, 3), free_port()).unwrap();
    let mut listener = ListenOptions::new().bind::<64>(on_lo(group)).unwrap();
    let other = Group::new(Ipv4Addr::new(239, 1, 2, 4), group.port()).unwrap();
    let said = "239.1.2.4 on lo: this listener is bound to one group: to receive several groups, use Bind::Port";
    let error = listener.join(&on_lo(other)).unwrap_err();
    assert_eq!((error.kind(), error.to_string()), (ErrorKind::BoundToGroup, format!("join {said}")));
    assert_eq!(error.raw_os_error(), None);
    assert_eq!(listener.leave(&on_lo(other)).unwrap_err().to_string(), format!("leave {said}"));
    // The listener still works.
    send_all(group, ["still here"]);
    assert_eq!(expect_packet(&mut listener), b"still here");
}

#[test]
fn another_port_or_family_is_refused() {
    let (mut listener, [group]) = opened();
    let elsewhere = Group::new(group.address(), group.port() ^ 1).unwrap();
    let error = listener.join(&on_lo(elsewhere)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PortMismatch);
    let said = format!("join {elsewhere}: this listener is bound to port {}: use one listener per port", group.port());
    assert_eq!(error.to_string(), said);

    let v6 = Group::new(unique_v6_group(5).address(), group.port()).unwrap();
    let error = listener.join(&on_lo(v6)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::FamilyMismatch);
    let said = format!("join {} on lo: IPv4 and IPv6 cannot be mixed: use one listener or sender per family", v6.address());
    assert_eq!(error.to_string(), said);

    let mut v6_listener = ListenOptions::new().bind::<64>(Bind::Port(group.port(), Family::V6)).unwrap();
    assert_eq!(v6_listener.join(&on_lo(group)).unwrap_err().kind(), ErrorKind::FamilyMismatch);
}

#[test]
fn a_link_local_group_needs_an_interface() {
    let group: Group = "[ff02::4242]:4242".parse().unwrap();
    let said = "ff02::4242 on default: a link-local group exists on every link: name an interface, such as eth0";
    let error = Listener::bind(Membership::any(group)).unwrap_err();
    assert_eq!((error.kind(), error.to_string()), (ErrorKind::InterfaceNeeded, format!("join {said}")));
    let error = multicast::SendOptions::new().packets(group, [""]).unwrap_err();
    assert_eq!((error.kind(), error.to_string()), (ErrorKind::InterfaceNeeded, format!("send {said}")));
}

#[test]
fn the_limit_of_groups_is_an_error_that_names_the_setting() {
    let limit: usize = std::fs::read_to_string("/proc/sys/net/ipv4/igmp_max_memberships").unwrap().trim().parse().unwrap();
    assert!((1..250).contains(&limit), "this test counts up in the last byte of a group");
    let port = free_port();
    let mut listener = ListenOptions::new().bind::<64>(Bind::Port(port, Family::V4)).unwrap();
    let group = |count: usize| Group::new(Ipv4Addr::new(239, 255, 77, count as u8), port).unwrap();
    for count in 1..=limit {
        listener.join(&on_lo(group(count))).unwrap();
    }
    let one_too_many = group(limit + 1);
    let error = listener.join(&on_lo(one_too_many)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::LimitReached);
    let said = format!("join {} on lo: group limit reached (net.ipv4.igmp_max_memberships)", one_too_many.address());
    assert_eq!(error.to_string(), format!("{said}, set to {limit}"));
    // Joining again does not count, and leaving one makes room.
    listener.join(&on_lo(group(1))).unwrap();
    listener.leave(&on_lo(group(1))).unwrap();
    listener.join(&Membership::any(one_too_many).on(LO)).unwrap();
    send_all(one_too_many, ["room"]);
    assert_eq!(expect_packet(&mut listener), b"room");
}
