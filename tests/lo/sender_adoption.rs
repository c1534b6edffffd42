//! A UDP socket that somebody else opened becomes a sender.

use std::net::{TcpListener, UdpSocket};
use std::os::unix::net::UnixDatagram;

use crate::common;
use crate::common::{LO, OnePacket, expect_packet, on_lo, send_on_lo, unique_group, unique_v6_group};
use multicast::{ErrorKind, Family, Links, ListenOptions, Listener, Outcome, OwnedFd, Progress, SendOptions, Sender};

fn hears(group: multicast::Group) -> Listener<64> {
    ListenOptions::new().bind(on_lo(group)).unwrap()
}

#[test]
fn a_bound_socket_keeps_its_port_and_options() {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_multicast_ttl_v4(0).unwrap();
    let (address, same) = (socket.local_addr().unwrap(), socket.try_clone().unwrap());
    let group = unique_group();
    let mut listener = ListenOptions::new().metadata().bind::<64>(on_lo(group)).unwrap();
    let mut sender = Sender::try_from(OwnedFd::from(socket)).unwrap();
    assert_eq!((sender.local_addr().unwrap(), sender.family()), (address, Family::V4));
    // It does not block any more.
    assert_eq!(same.recv(&mut [0; 1]).unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    let to = multicast::Destination::from(group).on(LO).unwrap();
    assert_eq!(sender.send(b"adopted", to).unwrap(), Outcome::Sent);
    let packet = listener.recv().unwrap().packet().unwrap();
    assert_eq!((packet.payload(), packet.source()), (&b"adopted"[..], address));
    assert_eq!(packet.metadata().unwrap().hop_limit, Some(0));
}

/// It is bound where no answer comes, as a sender that we opened.
#[test]
fn an_unbound_socket_is_bound_without_answers() {
    for (family, domain) in [(Family::V4, rustix::net::AddressFamily::INET), (Family::V6, rustix::net::AddressFamily::INET6)]
    {
        let socket = rustix::net::socket(domain, rustix::net::SocketType::DGRAM, None).unwrap();
        let sender = Sender::try_from(socket).unwrap();
        let ours = SendOptions::new().open(family).unwrap().local_addr().unwrap();
        let address = sender.local_addr().unwrap();
        assert_eq!(address.ip(), ours.ip());
        assert_ne!(address.port(), 0);
    }
}

/// The interface of a sender of ours stays set on its socket. The kernel tells it for IPv6, so link-local groups need no name.
#[test]
fn a_sender_survives_as_a_descriptor() {
    for group in [unique_group(), unique_v6_group(5), unique_v6_group(2)] {
        let mut listener = hears(group);
        let mut caster = send_on_lo().packets(group, ["before"]).unwrap();
        assert_eq!(caster.step().unwrap(), Progress::Sent(1));
        let mut sender = Sender::try_from(OwnedFd::from(caster)).unwrap();
        assert_eq!(sender.send(b"after", group).unwrap(), Outcome::Sent);
        assert_eq!(expect_packet(&mut listener), b"before");
        assert_eq!(expect_packet(&mut listener), b"after");
        // Nothing has changed, so nothing is set again.
        let followed = Links::watch().unwrap().follow(&mut sender).unwrap();
        assert_eq!((followed.renewed, followed.applied.pending, followed.failed), (0, 0, None));
    }
}

/// With `UDP_CORK` nothing would leave, and with `UDP_SEGMENT` one packet would leave as several (`udp(7)`).
#[test]
fn options_that_change_what_a_packet_is_are_turned_off() {
    use std::process::Command;
    for (option, value) in [(1, 1), (103, 2)] {
        let group = unique_group();
        let mut listener = hears(group);
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let program = format!("import socket; socket.socket(fileno=0).setsockopt(17, {option}, {value})");
        let same = OwnedFd::from(socket.try_clone().unwrap());
        assert!(Command::new("python3").args(["-c", &program]).stdin(same).status().unwrap().success());
        let mut sender = Sender::try_from(OwnedFd::from(socket)).unwrap();
        let to = multicast::Destination::from(group).on(LO).unwrap();
        assert_eq!(sender.send(b"one packet", to).unwrap(), Outcome::Sent);
        assert_eq!(expect_packet(&mut listener), b"one packet", "option {option}");
        common::assert_quiet(&mut listener);
    }
}

#[test]
fn other_sockets_are_refused() {
    let other: [OwnedFd; 4] = [
        TcpListener::bind("127.0.0.1:0").unwrap().into(),
        UnixDatagram::unbound().unwrap().into(),
        Links::watch().unwrap().into(),
        std::fs::File::open("/dev/null").unwrap().into(),
    ];
    for fd in other {
        let error = Sender::try_from(fd).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotUdp);
        assert!(error.to_string().starts_with("open a received descriptor: "), "{error}");
    }
}
