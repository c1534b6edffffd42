//! `Membership::is_held_by`: asking about sockets that are not ours, without changing them.

use std::net::{Ipv4Addr, UdpSocket};
use std::os::fd::OwnedFd;

use crate::common::{Python, on_lo, unique_group, unique_v6_group};
use multicast::{ErrorKind, Interface, Listener, Membership};
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};

/// A descriptor of a child's socket.
fn of_child(peer: &Python, descriptor: &str) -> OwnedFd {
    let process = pidfd_open(Pid::from_raw(peer.id() as i32).unwrap(), PidfdFlags::empty()).unwrap();
    pidfd_getfd(process, descriptor.parse().unwrap(), PidfdGetfdFlags::empty()).unwrap()
}

#[test]
fn a_python_program_holds_what_it_joined_until_it_leaves() {
    let (joined, other) = (unique_group(), unique_group());
    let mut peer = Python::start(
        "import socket, struct, sys\n\
         s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n\
         s.bind(('', 0))\n\
         wish = struct.pack('@4s4si', socket.inet_aton(sys.argv[1]), bytes(4), socket.if_nametoindex('lo'))\n\
         s.setsockopt(0, socket.IP_ADD_MEMBERSHIP, wish)\n\
         print(s.fileno())\n\
         input()\n\
         s.setsockopt(0, socket.IP_DROP_MEMBERSHIP, wish)\n\
         print('left')\n\
         input()",
        &[&joined.address().to_string()],
    );
    let descriptor = peer.line();
    let socket = of_child(&peer, &descriptor);
    assert!(on_lo(joined).is_held_by(&socket).unwrap());
    assert!(Membership::any(joined).on("all".parse().unwrap()).is_held_by(&socket).unwrap());
    assert!(!on_lo(other).is_held_by(&socket).unwrap());
    // The port and the source are not compared.
    assert!(
        Membership::source(joined, Ipv4Addr::LOCALHOST.into()).on(on_lo(joined).interface()).is_held_by(&socket).unwrap()
    );
    // It was only asked: it is still a member, and leaves without an error.
    peer.say("");
    assert_eq!(peer.line(), "left");
    assert!(!on_lo(joined).is_held_by(&socket).unwrap());
}

#[test]
fn a_python_program_holds_an_ipv6_group_and_one_of_named_sources() {
    let (plain, named) = (unique_v6_group(2), unique_group());
    let mut peer = Python::start(
        "import socket, struct, sys\n\
         lo = socket.if_nametoindex('lo')\n\
         s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)\n\
         s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, socket.inet_pton(socket.AF_INET6, sys.argv[1]) + struct.pack('@I', lo))\n\
         def address(ip): return struct.pack('@HH4s120x', socket.AF_INET, 0, socket.inet_aton(ip))\n\
         # MCAST_JOIN_SOURCE_GROUP.\n\
         four = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n\
         four.setsockopt(0, 46, struct.pack('@Q' if struct.calcsize('@P') == 8 else '@I', lo) + address(sys.argv[2]) + address('127.0.0.1'))\n\
         print(s.fileno())\n\
         print(four.fileno())\n\
         input()",
        &[&plain.address().to_string(), &named.address().to_string()],
    );
    let (six, four) = (peer.line(), peer.line());
    let (six, four) = (of_child(&peer, &six), of_child(&peer, &four));
    assert!(on_lo(plain).is_held_by(&six).unwrap());
    assert!(on_lo(named).is_held_by(&four).unwrap());
    // Also of an IPv6 socket that has not joined groups of IPv4.
    assert!(!on_lo(named).is_held_by(&six).unwrap());
    // An IPv4 socket has no answer about IPv6.
    on_lo(plain).is_held_by(&four).unwrap_err();
}

#[test]
fn what_is_no_socket_and_an_interface_that_is_not_there_are_errors() {
    let group = unique_group();
    let file = std::fs::File::open("/dev/null").unwrap();
    let error = on_lo(group).is_held_by(&file).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(rustix::io::Errno::NOTSOCK.raw_os_error()));
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let nowhere = Membership::any(group).on("no-such-link".parse().unwrap());
    let error = nowhere.is_held_by(&socket).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NoSuchInterface);
    assert!(error.to_string().starts_with(&format!("find {} on no-such-link: ", group.address())), "{error}");
}

#[test]
fn a_listener_of_this_crate_holds_its_membership() {
    let group = unique_group();
    let listener = Listener::bind(on_lo(group)).unwrap();
    assert!(on_lo(group).is_held_by(&listener).unwrap());
    assert!(Membership::any(group).on(Interface::All).is_held_by(&listener).unwrap());
    let elsewhere = Interface::from(std::num::NonZeroU32::new(2_000_000_000).unwrap());
    assert!(!Membership::any(group).on(elsewhere).is_held_by(&listener).unwrap());
}
