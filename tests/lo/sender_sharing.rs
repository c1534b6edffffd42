//! A sender on a listener's socket: what one does to the other when it cannot be made, and when they are dropped.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::AsFd;

use crate::common;
use crate::common::refusing::refusing;
use crate::common::{LO, expect_packet, next_within, on_lo, send_all, send_on_lo, unique_group};
use multicast::{Bind, ErrorKind, Family, Group, Interface, ListenOptions, Listener, Outcome, OwnedFd, SendOptions, Ttl};
use rustix::net::{AddressFamily, SocketType};

/// Options that differ from the socket's in everything.
fn other_options() -> SendOptions {
    SendOptions::new().ttl(Ttl::new(42)).priority(3).traffic_class(0xb8).unicast_ttl(9).loopback(false)
}

/// Time to live, priority, and whether packets come back to this machine.
fn settings(socket: &impl AsFd) -> (u32, u32, bool, u8) {
    use rustix::net::sockopt;
    let ttl = sockopt::ip_multicast_ttl(socket).unwrap();
    (ttl, sockopt::ip_ttl(socket).unwrap(), sockopt::ip_multicast_loop(socket).unwrap(), sockopt::ip_tos(socket).unwrap())
}

#[test]
fn a_sender_whose_interface_does_not_exist_changes_nothing_on_the_socket() {
    let group = unique_group();
    let mut listener = ListenOptions::new().bind::<64>(on_lo(group)).unwrap();
    let before = settings(&listener);
    let nowhere = Interface::Address([10, 255, 255, 77].into());
    let error = listener.sender(other_options().interface(nowhere)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NoSuchInterface);
    assert_eq!(settings(&listener), before);
    send_all(group, ["still"]);
    assert_eq!(expect_packet(&mut listener), b"still");
}

#[test]
fn a_sender_that_may_not_have_its_priority_changes_nothing_on_the_socket() {
    // setsockopt of SO_PRIORITY at SOL_SOCKET: EPERM, as for 7 without privilege.
    if refusing("a_sender_that_may_not_have_its_priority_changes_nothing_on_the_socket", &["setsockopt:1:1=1:2=12"])
        .is_none()
    {
        return;
    }
    let group = unique_group();
    let mut listener = ListenOptions::new().bind::<64>(on_lo(group)).unwrap();
    let before = settings(&listener);
    let error = listener.sender(other_options().interface(LO)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Denied);
    assert!(error.to_string().starts_with("set SO_PRIORITY: "), "{error}");
    assert_eq!(settings(&listener), before);
    // It is no socket with a sender, so a second descriptor of it goes on receiving when the listener is dropped.
    let second = UdpSocket::from(listener.as_fd().try_clone_to_owned().unwrap());
    drop(listener);
    send_all(group, ["still"]);
    second.set_nonblocking(false).unwrap();
    second.set_read_timeout(Some(common::PATIENCE)).unwrap();
    assert_eq!(second.recv(&mut [0; 64]).unwrap(), 5);
}

/// A socket that a supervisor keeps and gives to each instance of a program, bound to the wildcard address.
fn supervised(family: Family) -> UdpSocket {
    let (domain, any) = match family {
        Family::V4 => (AddressFamily::INET, IpAddr::from(Ipv4Addr::UNSPECIFIED)),
        Family::V6 => (AddressFamily::INET6, Ipv6Addr::UNSPECIFIED.into()),
    };
    let socket = rustix::net::socket(domain, SocketType::DGRAM, None).unwrap();
    if family == Family::V6 {
        // A socket that takes IPv4 packets, too, is refused.
        rustix::net::sockopt::set_ipv6_v6only(&socket, true).unwrap();
    }
    rustix::net::bind(&socket, &SocketAddr::new(any, 0)).unwrap();
    UdpSocket::from(socket)
}

fn adopted(socket: &UdpSocket) -> Listener<64> {
    Listener::try_from(OwnedFd::from(socket.try_clone().unwrap())).unwrap()
}

/// Its group, on the port of this socket.
fn group_of(family: Family, socket: &UdpSocket) -> Group {
    let group = match family {
        Family::V4 => unique_group(),
        Family::V6 => common::unique_v6_group(5),
    };
    Group::new(group.address(), socket.local_addr().unwrap().port()).unwrap()
}

#[test]
fn an_adopted_socket_hears_its_next_instance_after_one_with_a_sender_ended() {
    for family in [Family::V4, Family::V6] {
        for sender_first in [false, true] {
            let socket = supervised(family);
            let group = group_of(family, &socket);
            for instance in 0..3 {
                let mut listener = adopted(&socket);
                listener.join(&on_lo(group)).unwrap();
                let mut sender = listener.sender(send_on_lo()).unwrap();
                assert_eq!(sender.send(&[instance], group).unwrap(), Outcome::Sent);
                assert_eq!(expect_packet(&mut listener), [instance], "{family:?}");
                if sender_first {
                    drop(sender);
                    drop(listener);
                } else {
                    drop(listener);
                    drop(sender);
                }
            }
        }
    }
}

#[test]
fn each_of_several_senders_of_a_listener_goes_on_when_the_others_are_dropped() {
    for group in [unique_group(), common::unique_v6_group(5)] {
        let by_group = ListenOptions::new().bind::<64>(on_lo(group)).unwrap();
        let mut by_port = ListenOptions::new().bind::<64>(Bind::Port(0, group.family())).unwrap();
        let beside = if group.family() == Family::V4 { unique_group() } else { common::unique_v6_group(5) };
        let other = Group::new(beside.address(), by_port.local_addr().unwrap().port()).unwrap();
        by_port.join(&on_lo(other)).unwrap();
        for (group, mut listener) in [(group, by_group), (other, by_port)] {
            let mut senders: Vec<_> = (0..3).map(|_| listener.sender(send_on_lo()).unwrap()).collect();
            for left in (0..3).rev() {
                for sender in &mut senders {
                    assert_eq!(sender.send(&[left], group).unwrap(), Outcome::Sent);
                    assert_eq!(sender.local_addr().unwrap().port(), group.port());
                    assert_eq!(expect_packet(&mut listener), [left]);
                }
                senders.remove(0);
            }
            // Without senders it still listens, and its next one is as good.
            let mut last = listener.sender(send_on_lo()).unwrap();
            assert_eq!(last.send(b"last", group).unwrap(), Outcome::Sent);
            assert_eq!(expect_packet(&mut listener), b"last");
            assert!(common::is_joined(group));
            drop(listener);
            assert!(!common::is_joined(group));
            assert_eq!(last.send(b"nobody", group).unwrap(), Outcome::Sent);
        }
    }
}

#[test]
fn a_sender_made_of_a_listeners_descriptor_sends_and_the_listener_made_again_hears() {
    for family in [Family::V4, Family::V6] {
        let (mut sender, replies) = send_on_lo().open_with_replies::<64>(family).unwrap();
        let group = group_of(family, &UdpSocket::from(replies.as_fd().try_clone_to_owned().unwrap()));
        let mut listener = Listener::<64>::try_from(OwnedFd::from(replies)).unwrap();
        listener.join(&on_lo(group)).unwrap();
        assert_eq!(sender.send(b"by the first", group).unwrap(), Outcome::Sent);
        assert_eq!(expect_packet(&mut listener), b"by the first");
        let mut second = multicast::Sender::try_from(OwnedFd::from(sender)).unwrap();
        let to = multicast::Destination::from(group).on(LO).unwrap();
        assert_eq!(second.send(b"by the second", to).unwrap(), Outcome::Sent);
        assert_eq!(expect_packet(&mut listener), b"by the second");
        drop(second);
        send_all(group, ["still"]);
        assert_eq!(next_within(&mut listener, common::PATIENCE).as_deref(), Some(&b"still"[..]));
    }
}
