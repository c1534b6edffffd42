//! Conversions from and into file descriptors.

use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::process::{Command, Stdio};

use crate::common;
use crate::common::{
    OnePacket, assert_quiet, expect_packet, full_name, lo_is_in, on_lo, send_all, unique_group, unique_v6_group,
};
use multicast::{AsFd, Bind, ErrorKind, Family, Group, ListenOptions, Listener, OwnedFd, Received, Receiver};

/// A socket of the standard library: bound to the wildcard address, blocking, and a member of the group on `lo`.
fn joined_by_std(group: Group) -> UdpSocket {
    let std::net::IpAddr::V4(address) = group.address() else { panic!("{group} is not of IPv4") };
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, group.port())).unwrap();
    socket.join_multicast_v4(&address, &Ipv4Addr::LOCALHOST).unwrap();
    socket
}

#[test]
fn an_adopted_socket_receives_its_memberships_and_nothing_else() {
    let group = unique_group();
    let socket = joined_by_std(group);
    let mut listener = Listener::<64>::try_from(OwnedFd::from(socket)).unwrap();
    // It was blocking, and must be non-blocking now.
    assert_eq!(listener.recv().unwrap(), Received::Empty);
    send_all(group, ["joined before it was ours"]);
    assert_eq!(expect_packet(&mut listener), b"joined before it was ours");
    // The socket received unicast before; the listener does not.
    UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().send_to(b"unicast", (Ipv4Addr::LOCALHOST, group.port())).unwrap();
    assert_quiet(&mut listener);
    assert_eq!(listener.counters().foreign, 1);
}

#[test]
fn an_adopted_socket_can_join_and_leave() {
    let group = unique_group();
    let mut listener = Listener::<64>::try_from(OwnedFd::from(joined_by_std(group))).unwrap();
    let second = Group::new(unique_group().address(), group.port()).unwrap();
    listener.join(&on_lo(second)).unwrap();
    send_all(second, ["second"]);
    assert_eq!(expect_packet(&mut listener), b"second");
    assert_eq!(listener.join(&on_lo(unique_group())).unwrap_err().kind(), ErrorKind::PortMismatch);
    listener.leave(&on_lo(group)).unwrap();
    assert!(!lo_is_in(group));
    send_all(group, ["left"]);
    assert_quiet(&mut listener);
}

#[test]
fn a_socket_that_was_bound_to_a_group_is_a_listener_of_that_group() {
    let group = unique_group();
    let std::net::IpAddr::V4(address) = group.address() else { unreachable!() };
    let socket = UdpSocket::bind(SocketAddr::from(group)).unwrap();
    socket.join_multicast_v4(&address, &Ipv4Addr::LOCALHOST).unwrap();
    let mut receiver = Receiver::try_from(OwnedFd::from(socket)).unwrap();
    let other = Group::new(unique_group().address(), group.port()).unwrap();
    assert_eq!(receiver.join(&on_lo(other)).unwrap_err().kind(), ErrorKind::BoundToGroup);
    receiver.join(&on_lo(group)).unwrap();
    send_all(group, ["heard"]);
    let mut buffer = [0; 16];
    assert_eq!(receiver.recv_into(&mut buffer).unwrap().packet().unwrap().payload(), b"heard");
}

/// A supervisor: it opens a socket, sets some options, makes the socket its standard input, and executes the program.
const SUPERVISOR: &str = r#"
import os, socket, struct, sys
group, port = sys.argv[1], int(sys.argv[2])
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("", port))
s.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, socket.inet_aton(group) + socket.inet_aton("127.0.0.1"))
s.setsockopt(socket.SOL_SOCKET, 29, 1)  # SO_TIMESTAMP
s.setsockopt(socket.SOL_SOCKET, 37, 24)  # SO_TIMESTAMPING
s.setsockopt(socket.SOL_SOCKET, 40, 1)  # SO_RXQ_OVFL
s.setsockopt(socket.IPPROTO_UDP, 104, 1)  # UDP_GRO
if os.geteuid() == 0:
    s.setsockopt(socket.SOL_SOCKET, 75, 1)  # SO_RCVMARK
assert s.getsockopt(socket.IPPROTO_IP, 49) == 1  # IP_MULTICAST_ALL
os.dup2(s.fileno(), 0)
os.execv(sys.argv[3], sys.argv[3:])
"#;

#[test]
fn options_of_the_previous_owner_neither_hide_nor_coalesce_packets() {
    // The test starts the supervisor, and is also the program that the supervisor executes.
    if std::env::var_os("MULTICAST_TEST_ADOPTS").is_some() {
        let fd = std::io::stdin().as_fd().try_clone_to_owned().unwrap();
        let mut listener = Listener::<64>::try_from(fd).unwrap();
        // SO_TIMESTAMP, SO_TIMESTAMPING, SO_RXQ_OVFL, SO_RCVMARK, UDP_GRO, IP_MULTICAST_ALL.
        let options = [(1, 29), (1, 37), (1, 40), (1, 75), (17, 104), (0, 49)];
        assert_eq!(options.map(|(level, option)| option_of(&listener, level, option)), ["0"; 6]);
        println!("adopted");
        println!("got {}", String::from_utf8(expect_packet(&mut listener)).unwrap());
        println!("got {}", String::from_utf8(expect_packet(&mut listener)).unwrap());
        return;
    }
    let group = unique_group();
    let mut child = Command::new("python3")
        .args(["-c", SUPERVISOR, &group.address().to_string(), &group.port().to_string()])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", &full_name("options_of_the_previous_owner_neither_hide_nor_coalesce_packets"), "--nocapture"])
        .env("MULTICAST_TEST_ADOPTS", "1")
        .stdout(Stdio::piped())
        .spawn()
        .expect("python3 is needed for this test: install it");
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.any(|line| line.ends_with("adopted")));
    send_all(group, ["one", "two"]);
    assert_eq!(lines.next().unwrap(), "got one");
    assert_eq!(lines.next().unwrap(), "got two");
    assert!(child.wait().unwrap().success());
}

/// The listener would refuse packets of other groups all the same, after the kernel has woken it.
#[test]
fn the_kernel_gives_an_adopted_ipv6_socket_no_group_that_only_others_joined() {
    let socket = UdpSocket::bind(SocketAddr::from(unique_v6_group(5))).unwrap();
    // IPV6_MULTICAST_ALL
    assert_eq!(option_of(&socket, 41, 29), "1");
    let listener = Listener::<64>::try_from(OwnedFd::from(socket)).unwrap();
    assert_eq!(option_of(&listener, 41, 29), "0");
}

/// The value of a socket option, as Python reads it.
fn option_of(socket: &impl AsFd, level: u32, option: u32) -> String {
    let program = format!("import socket; print(socket.socket(fileno=0).getsockopt({level}, {option}))");
    let fd = socket.as_fd().try_clone_to_owned().unwrap();
    let output = Command::new("python3").args(["-c", &program]).stdin(fd).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[test]
fn a_second_descriptor_neither_takes_the_guard_off_nor_relies_on_it() {
    let group = unique_group();
    let unicast = || {
        let sender = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        sender.send_to(b"unicast", (Ipv4Addr::LOCALHOST, group.port())).unwrap();
    };
    let open = || {
        let mut listener = ListenOptions::new().bind::<64>(Bind::Port(group.port(), Family::V4)).unwrap();
        listener.join(&on_lo(group)).unwrap();
        let second = Listener::<64>::try_from(listener.as_fd().try_clone_to_owned().unwrap()).unwrap();
        (listener, second)
    };
    // The second one is converted back, or dropped.
    for is_converted in [true, false] {
        let (mut first, second) = open();
        let kept = is_converted.then(|| OwnedFd::from(second));
        unicast();
        send_all(group, ["group"]);
        assert_eq!(expect_packet(&mut first), b"group");
        assert_quiet(&mut first);
        drop(kept);
    }
    // The first one is converted back, or dropped.
    for is_converted in [true, false] {
        let (first, mut second) = open();
        let kept = is_converted.then(|| OwnedFd::from(first));
        unicast();
        send_all(group, ["group"]);
        assert_eq!(expect_packet(&mut second), b"group");
        assert_quiet(&mut second);
        // It can still join, now without a guard.
        let other = Group::new(unique_group().address(), group.port()).unwrap();
        second.join(&on_lo(other)).unwrap();
        send_all(other, ["other"]);
        assert_eq!(expect_packet(&mut second), b"other");
        drop(kept);
    }
}

#[test]
fn other_descriptors_than_udp_sockets_are_refused() {
    let said = "open a received descriptor: not a UDP socket";
    let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let (pipe, _writer) = std::io::pipe().unwrap();
    let unix = std::os::unix::net::UnixDatagram::unbound().unwrap();
    let file = std::fs::File::open("/dev/null").unwrap();
    let all: [OwnedFd; 4] = [tcp.into(), pipe.into(), unix.into(), file.into()];
    for fd in all {
        let error = <Listener>::try_from(fd).unwrap_err();
        assert_eq!((error.kind(), error.to_string().as_str()), (ErrorKind::NotUdp, said));
    }
}

#[test]
fn a_converted_listener_returns_an_open_and_joined_socket() {
    let group = unique_group();
    let listener = ListenOptions::new().bind::<64>(on_lo(group)).unwrap();
    let socket = UdpSocket::from(OwnedFd::from(listener));
    assert!(lo_is_in(group));
    assert_eq!(socket.local_addr().unwrap(), SocketAddr::from(group));
    let mut buffer = [0; 64];
    assert_eq!(socket.recv(&mut buffer).unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    send_all(group, ["to its new owner"]);
    let length = socket.recv(&mut buffer).unwrap();
    assert_eq!(&buffer[..length], b"to its new owner");
    let mut back = Listener::<64>::try_from(OwnedFd::from(socket)).unwrap();
    send_all(group, ["and back"]);
    assert_eq!(expect_packet(&mut back), b"and back");
    drop(back);
    assert!(!lo_is_in(group));
}

#[test]
fn a_converted_multicaster_returns_a_socket_with_its_options() {
    let group = unique_group();
    let mut listener = ListenOptions::new().bind::<64>(on_lo(group)).unwrap();
    let caster = common::send_on_lo().packets(group, ["never sent"]).unwrap();
    let socket = UdpSocket::from(OwnedFd::from(caster));
    socket.send_to(b"by its new owner", SocketAddr::from(group)).unwrap();
    assert_eq!(expect_packet(&mut listener), b"by its new owner");
    assert_quiet(&mut listener);
}
