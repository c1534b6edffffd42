//! Sockets that other programs opened, made into listeners. In a private network: see `make test`.

use std::net::{Ipv4Addr, UdpSocket};
use std::process::Command;

use crate::common;
use crate::common::link::is_alone;
use crate::common::{OnePacket, assert_quiet, expect_packet, on_lo, send_all, unique_group};
use multicast::filter::kernel::Instruction;
use multicast::{AsFd, Bind, ErrorKind, Family, Group, ListenOptions, Listener, OwnedFd};

/// Runs a Python program that opens the socket `s`, and hands it over.
fn opened_by_python(program: &str, arguments: &[&str]) -> OwnedFd {
    let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
    let send = "\nsocket.send_fds(socket.socket(fileno=0), [b'x'], [s.fileno()])";
    let status = Command::new("python3")
        .args(["-c", &format!("import os, socket, struct, sys\n{program}{send}")])
        .args(arguments)
        .stdin(OwnedFd::from(theirs))
        .status()
        .expect("python3 is needed for this test: install it");
    assert!(status.success());
    let mut space = [std::mem::MaybeUninit::uninit(); 64];
    let mut control = rustix::net::RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    let bytes = &mut [std::io::IoSliceMut::new(&mut byte)];
    rustix::net::recvmsg(&ours, bytes, &mut control, rustix::net::RecvFlags::empty()).unwrap();
    let message = control.drain().next();
    let Some(rustix::net::RecvAncillaryMessage::ScmRights(mut fds)) = message else { panic!("no descriptor") };
    fds.next().unwrap()
}

#[test]
fn a_raw_socket_for_udp_is_refused() {
    common::require_private_network();
    let fd = opened_by_python("s = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_UDP)", &[]);
    assert_eq!(<Listener>::try_from(fd).unwrap_err().kind(), ErrorKind::NotUdp);
}

#[test]
fn a_socket_for_both_families_is_refused_and_the_message_says_what_to_set() {
    const BOTH: &str = "s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)\n\
                        s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(sys.argv[1]))\ns.bind((sys.argv[2], 0))";
    for bound in ["::", "::ffff:127.0.0.1"] {
        let error = <Listener>::try_from(opened_by_python(BOTH, &["0", bound])).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::FamilyMismatch);
        assert!(error.to_string().contains("set IPV6_V6ONLY before it is bound"), "{error}");
    }
    for arguments in [["1", "::"], ["0", "::1"], ["0", "ff05::4242"]] {
        assert!(<Listener>::try_from(opened_by_python(BOTH, &arguments)).is_ok(), "{arguments:?}");
    }
}

/// Bound to the group, with IP_MULTICAST_ALL as every socket has it, and the packets that are queued.
const BOUND_TO_GROUP: &str = "s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n\
    s.setsockopt(socket.SOL_SOCKET, getattr(socket, sys.argv[3]), 1)\ns.bind((sys.argv[1], int(sys.argv[2])))\n\
    if sys.argv[4] == 'joins':\n    \
    s.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, socket.inet_aton(sys.argv[1]) + socket.inet_aton('127.0.0.1'))";

#[test]
fn of_a_socket_that_never_joined_its_group_nothing_queued_is_returned() {
    for (joins, expected) in [("joins", Some(b"queued".to_vec())), ("does not join", None)] {
        let group = unique_group();
        let mut other = ListenOptions::new().bind::<64>(on_lo(group)).unwrap();
        let (address, port) = (group.address().to_string(), group.port().to_string());
        let fd = opened_by_python(BOUND_TO_GROUP, &[&address, &port, "SO_REUSEADDR", joins]);
        send_all(group, ["queued"]);
        assert_eq!(expect_packet(&mut other), b"queued");
        let mut adopted = Listener::<64>::try_from(fd).unwrap();
        assert_eq!(adopted.recv().unwrap().packet().map(|packet| packet.payload().to_vec()), expected, "{joins}");
        send_all(group, ["later"]);
        assert_eq!(expect_packet(&mut other), b"later");
        let later = expected.map(|_| b"later".to_vec());
        assert_eq!(adopted.recv().unwrap().packet().map(|packet| packet.payload().to_vec()), later, "{joins}");
    }
}

#[test]
fn an_adopted_socket_does_not_keep_the_second_instance_of_its_supervisor_out() {
    let group = unique_group();
    let (address, port) = (group.address().to_string(), group.port().to_string());
    let open = || opened_by_python(BOUND_TO_GROUP, &[&address, &port, "SO_REUSEPORT", "joins"]);
    let mut adopted = Listener::<64>::try_from(open()).unwrap();
    let mut second = Listener::<64>::try_from(open()).unwrap();
    send_all(group, ["to both"]);
    assert_eq!(expect_packet(&mut adopted), b"to both");
    assert_eq!(expect_packet(&mut second), b"to both");
}

#[test]
fn a_join_through_a_second_descriptor_never_takes_the_guard_off() {
    // The limit is one of the whole network namespace.
    if !is_alone("a_join_through_a_second_descriptor_never_takes_the_guard_off") {
        return;
    }
    let group = unique_group();
    let mut first = ListenOptions::new().bind::<64>(Bind::Port(group.port(), Family::V4)).unwrap();
    first.join(&on_lo(group)).unwrap();
    let mut second = Listener::<64>::try_from(first.as_fd().try_clone_to_owned().unwrap()).unwrap();
    let before = first.kernel_program(&mut [Instruction::ZERO; 256]).unwrap().to_string();
    let other = Group::new(unique_group().address(), group.port()).unwrap();
    // No room for a longer program.
    std::fs::write("/proc/sys/net/core/optmem_max", "200").unwrap();
    let error = second.join(&on_lo(other)).unwrap_err();
    std::fs::write("/proc/sys/net/core/optmem_max", "131072").unwrap();
    assert_eq!(error.raw_os_error(), Some(12), "{error}");
    assert_eq!(first.kernel_program(&mut [Instruction::ZERO; 256]).unwrap().to_string(), before);
    UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().send_to(b"unicast", (Ipv4Addr::LOCALHOST, group.port())).unwrap();
    assert_quiet(&mut first);
}

#[test]
fn a_program_of_somebody_else_is_no_guard() {
    // ldx #1; ret #65535
    const PROGRAM: &str = "import ctypes\ns = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n\
        code = ctypes.create_string_buffer(struct.pack('=HBBIHBBI', 1, 0, 0, 1, 6, 0, 0, 65535))\n\
        s.setsockopt(socket.SOL_SOCKET, 26, struct.pack('HxxxxxxP', 2, ctypes.addressof(code)))\ns.bind(('', int(sys.argv[1])))";
    let group = unique_group();
    let mut listener = Listener::<64>::try_from(opened_by_python(PROGRAM, &[&group.port().to_string()])).unwrap();
    assert!(!listener.counters().kernel_refuses);
    let program = listener.kernel_program(&mut [Instruction::ZERO; 8]).unwrap().to_string();
    listener.join(&on_lo(group)).unwrap();
    assert_eq!(listener.kernel_program(&mut [Instruction::ZERO; 8]).unwrap().to_string(), program);
    send_all(group, ["hello"]);
    assert_eq!(expect_packet(&mut listener), b"hello");
}
