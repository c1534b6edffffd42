//! The texts, kinds and errnos of the core's errors.

use std::io;
use std::net::{Ipv4Addr, UdpSocket};
use std::process::Command;

use crate::common::{Python, expect_packet, free_port, full_name, on_lo, send_all, send_on_lo, unique_group, wait_until};
use multicast::{
    Bind, Error, ErrorKind, Events, Family, Group, Interest, Interface, ListenOptions, Listener, Membership, Name, Poller,
    SendOptions, Token,
};

#[test]
fn a_port_of_a_socket_that_does_not_share_it_is_refused() {
    let group = unique_group();
    let holder = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, group.port())).unwrap();
    let bound = Listener::bind(on_lo(group)).unwrap_err();
    let said = "another socket holds the port (ss -ulnpe shows it): a socket shares with SO_REUSEADDR if both have it, with SO_REUSEPORT \
                if both have it and belong to one user";
    assert_eq!(bound.to_string(), format!("bind {group}: {said}"));
    let opened = ListenOptions::new().bind::<64>(Bind::Port(group.port(), Family::V4)).unwrap_err();
    assert_eq!(opened.to_string(), format!("bind port {}: {said}", group.port()));
    for error in [bound, opened] {
        assert_eq!(error.kind(), ErrorKind::AddressInUse);
        assert_eq!(io::Error::from(error).kind(), io::ErrorKind::AddrInUse);
    }
    drop(holder);
    // A process that another test is starting has a copy of the holder's descriptor until its `exec`.
    wait_until("the port is free", || Listener::bind(on_lo(group)).is_ok());
}

#[test]
fn a_port_with_so_reuseport_only_is_shared_unless_reuse_port_is_false() {
    const HOLDER: &str = r#"
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
s.bind((sys.argv[1], int(sys.argv[2])))
print("ready")
sys.stdin.readline()
"#;
    let group = unique_group();
    let mut holder = Python::start(HOLDER, &[&group.address().to_string(), &group.port().to_string()]);
    assert_eq!(holder.line(), "ready");
    let options = ListenOptions::new();
    assert_eq!(options.reuse_port(false).bind::<64>(on_lo(group)).unwrap_err().kind(), ErrorKind::AddressInUse);
    let mut listener = options.bind::<64>(on_lo(group)).unwrap();
    send_all(group, ["shared"]);
    assert_eq!(expect_packet(&mut listener), b"shared");
}

#[test]
fn the_error_for_a_packet_that_is_too_long_names_its_length() {
    let group = unique_group();
    for length in [65_508_usize, 65_535, 65_536, 100_000] {
        let mut caster = send_on_lo().packets(group, [vec![0; length]]).unwrap();
        let error = caster.step().unwrap_err();
        assert_eq!(error.to_string(), format!("send {length} bytes to {group}: too long for UDP: at most 65507 bytes"));
        assert_eq!(error.kind(), ErrorKind::TooLong);
    }
}

#[test]
fn a_name_has_an_index_only_while_the_interface_exists() {
    assert_eq!(Name::new("lo").unwrap().index().unwrap().to_string(), index_of_lo());
    let error = Name::new("nosuch\u{1b}").unwrap().index().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NoSuchInterface);
    assert_eq!(error.to_string(), "find nosuch\\u{1b}: no such interface");
}

/// The index, read from a file of the kernel.
fn index_of_lo() -> String {
    std::fs::read_to_string("/sys/class/net/lo/ifindex").unwrap().trim().into()
}

#[test]
fn sending_on_an_unknown_index_is_refused() {
    let group = unique_group();
    let unknown: Interface = "1999999999".parse().unwrap();
    let no_such = "no such interface (digits are an index, never a name: ip link shows the index of each)";
    let error = SendOptions::new().interface(unknown).packets(group, ["x"]).unwrap_err();
    assert_eq!(error.to_string(), format!("send {} on 1999999999: {no_such}", group.address()));
}

#[test]
fn an_io_error_keeps_kind_errno_and_sentence() {
    let group = Group::new(Ipv4Addr::new(239, 1, 2, 3), free_port()).unwrap();
    // An error of the kernel keeps its errno.
    let error = Listener::bind(Membership::any(group).on("1999999999".parse().unwrap())).unwrap_err();
    let (errno, said) = (error.raw_os_error().expect("the kernel refused it"), error.to_string());
    let converted = io::Error::from(error.clone());
    assert_eq!((converted.kind(), converted.to_string()), (io::ErrorKind::NotFound, said));
    let inside: &Error = converted.get_ref().unwrap().downcast_ref().unwrap();
    assert_eq!(inside.raw_os_error(), Some(errno));
    // The conversion back returns the same error.
    assert_eq!(Error::from(converted), error);
    // An error of this crate keeps its sentence.
    let mut listener = Listener::bind(on_lo(group)).unwrap();
    let elsewhere = Group::new(Ipv4Addr::new(239, 1, 2, 4), group.port()).unwrap();
    let error = listener.join(&on_lo(elsewhere)).unwrap_err();
    let said = error.to_string();
    let error = io::Error::from(error);
    assert_eq!((error.kind(), error.raw_os_error(), error.to_string()), (io::ErrorKind::InvalidInput, None, said));
    assert!(error.get_ref().unwrap().is::<Error>());
}

#[test]
fn debug_prints_kind_errno_and_text() {
    let group = Group::new(Ipv4Addr::new(239, 1, 2, 3), 4242).unwrap();
    let error = Listener::bind(Membership::any(group).on("nosuch0".parse().unwrap())).unwrap_err();
    let said = r#"Error { kind: NoSuchInterface, errno: Some(19), text: "join 239.1.2.3 on nosuch0: no such interface" }"#;
    assert_eq!(format!("{error:?}"), said);
}

#[test]
fn errors_of_a_poller_name_the_reason() {
    let poller = Poller::new().unwrap();
    let listener = Listener::bind(on_lo(unique_group())).unwrap();
    let said = |result: multicast::Result<()>| result.unwrap_err().to_string();
    poller.register(&listener, Token(1), Interest::READABLE).unwrap();
    assert_eq!(
        said(poller.register(&listener, Token(2), Interest::READABLE)),
        "register a file descriptor: already registered: use reregister"
    );
    poller.unregister(&listener).unwrap();
    assert_eq!(said(poller.unregister(&listener)), "unregister a file descriptor: not registered: register it first");
    assert_eq!(
        said(poller.reregister(&listener, Token(1), Interest::READABLE)),
        "reregister a file descriptor: not registered: register it first"
    );
    let file = std::fs::File::open("Cargo.toml").unwrap();
    assert_eq!(
        said(poller.register(&file, Token(1), Interest::READABLE)),
        "register a file descriptor: regular files and directories cannot be polled, since they are always ready: read \
         them without a poller"
    );
    assert_eq!(
        said(poller.register(&listener, Token(u64::MAX), Interest::READABLE)),
        "register a file descriptor: this token is reserved for the waker: choose another one"
    );
    assert_eq!(poller.poll(&mut Events::<1>::new(), std::time::Duration::ZERO).unwrap().count(), 0);
}

#[test]
fn too_few_descriptors_are_reported_at_every_step() {
    // The test runs itself again in a process with a low limit of open files.
    if std::env::var_os("MULTICAST_TEST_FEW_FILES").is_none() {
        let status = Command::new("sh")
            .args(["-c", r#"ulimit -n 12 && exec "$0" --exact "$1""#])
            .arg(std::env::current_exe().unwrap())
            .arg(full_name("too_few_descriptors_are_reported_at_every_step"))
            .env("MULTICAST_TEST_FEW_FILES", "1")
            .status()
            .unwrap();
        assert!(status.success());
        return;
    }
    let group = Group::new(Ipv4Addr::new(239, 1, 2, 3), free_port()).unwrap();
    let many = "too many open file descriptors (ulimit -n)";
    let mut files = Vec::new();
    while let Ok(file) = std::fs::File::open("/dev/null") {
        files.push(file);
        assert!(files.len() < 12, "the limit holds");
    }
    let check = |error: Error, tried: &str| {
        assert_eq!(error.to_string(), format!("{tried}: {many}"));
        assert_eq!((error.kind(), error.raw_os_error()), (ErrorKind::LimitReached, Some(24)));
    };
    check(Listener::bind(on_lo(group)).unwrap_err(), "open an IPv4 socket");
    check(ListenOptions::new().bind::<64>(Bind::Port(4242, Family::V6)).unwrap_err(), "open an IPv6 socket");
    check(send_on_lo().packets(group, [""]).unwrap_err(), "send 239.1.2.3 on lo");
    check(Poller::new().unwrap_err(), "open a poller");
    // With one descriptor the socket opens. Finding the interface of an address needs a second one.
    files.pop();
    let by_address = Membership::any(group).on(Interface::Address(Ipv4Addr::LOCALHOST.into()));
    check(Listener::bind(by_address).unwrap_err(), "join 239.1.2.3 on 127.0.0.1");
    check(Poller::new().unwrap_err(), "open a poller");
    // Failed calls left no descriptor open: with a second one it works.
    files.pop();
    drop(Listener::bind(by_address).unwrap());
    let poller = Poller::new().unwrap();
    check(poller.waker().unwrap_err(), "open a waker");
}

#[test]
fn each_errno_has_its_kind_and_its_text() {
    use rustix::io::Errno;

    let denied = "not permitted (a firewall, a security policy, or a missing privilege)";
    let unreachable = "unreachable: the interface is down, it or its address is gone, or there is no route";
    // errno(3), and a number that no kernel uses yet.
    for (errno, kind, io_kind, words) in [
        (Errno::PERM, ErrorKind::Denied, io::ErrorKind::PermissionDenied, denied),
        (Errno::ACCESS, ErrorKind::Denied, io::ErrorKind::PermissionDenied, denied),
        (Errno::IO, ErrorKind::System, io::ErrorKind::Other, "input or output error"),
        (Errno::BADF, ErrorKind::System, io::ErrorKind::Other, "not an open file descriptor"),
        (
            Errno::AGAIN,
            ErrorKind::Transient,
            io::ErrorKind::WouldBlock,
            "no memory or buffer space at the moment: try again later",
        ),
        (
            Errno::NOMEM,
            ErrorKind::Transient,
            io::ErrorKind::WouldBlock,
            "no memory or buffer space at the moment: try again later",
        ),
        (Errno::NODEV, ErrorKind::System, io::ErrorKind::Other, "no such device"),
        (Errno::INVAL, ErrorKind::System, io::ErrorKind::Other, "invalid argument"),
        (Errno::MFILE, ErrorKind::LimitReached, io::ErrorKind::QuotaExceeded, "too many open file descriptors (ulimit -n)"),
        (Errno::NOSPC, ErrorKind::LimitReached, io::ErrorKind::QuotaExceeded, "no space left"),
        (Errno::PROTO, ErrorKind::System, io::ErrorKind::Other, "cannot read the kernel's answer"),
        (Errno::NOTSOCK, ErrorKind::NotUdp, io::ErrorKind::InvalidInput, "not a UDP socket"),
        (Errno::NOPROTOOPT, ErrorKind::Unsupported, io::ErrorKind::Unsupported, "this kernel does not support it"),
        (Errno::ADDRNOTAVAIL, ErrorKind::System, io::ErrorKind::Other, "address not available"),
        (Errno::NETUNREACH, ErrorKind::Unreachable, io::ErrorKind::NetworkUnreachable, unreachable),
        (Errno::from_raw_os_error(4000), ErrorKind::System, io::ErrorKind::Other, "os error 4000"),
    ] {
        let errno = errno.raw_os_error();
        let error = Error::from(io::Error::from_raw_os_error(errno));
        assert_eq!((error.kind(), error.raw_os_error(), error.to_string().as_str()), (kind, Some(errno), words));
        assert_eq!(Error::from(Errno::from_raw_os_error(errno)), error);
        // An error that is only an errno converts back into that errno. Without an errno, the kind is kept.
        assert_eq!(io::Error::from(error).raw_os_error(), Some(errno));
        let without = io::Error::from(Error::custom(kind, words));
        assert_eq!((without.kind(), without.to_string().as_str()), (io_kind, words));
    }
}

#[test]
fn error_kinds_of_std_and_of_this_crate_convert_in_both_directions() {
    for (kind, io_kind) in [
        (ErrorKind::Denied, io::ErrorKind::PermissionDenied),
        (ErrorKind::InvalidInput, io::ErrorKind::InvalidInput),
        (ErrorKind::Transient, io::ErrorKind::WouldBlock),
        (ErrorKind::Unsupported, io::ErrorKind::Unsupported),
        (ErrorKind::System, io::ErrorKind::Other),
    ] {
        let error = Error::from(io::Error::new(io_kind, "the text of a driver"));
        assert_eq!((error.kind(), error.raw_os_error(), error.to_string().as_str()), (kind, None, "the text of a driver"));
        assert_eq!(io::Error::from(error).kind(), io_kind);
    }
    for (kind, io_kind) in [
        (ErrorKind::NoSuchInterface, io::ErrorKind::NotFound),
        (ErrorKind::NotRegistered, io::ErrorKind::NotFound),
        (ErrorKind::AlreadyRegistered, io::ErrorKind::AlreadyExists),
        (ErrorKind::NoAddress, io::ErrorKind::AddrNotAvailable),
        (ErrorKind::AddressInUse, io::ErrorKind::AddrInUse),
        (ErrorKind::SourceLimitReached, io::ErrorKind::QuotaExceeded),
        (ErrorKind::QueueRefused, io::ErrorKind::TimedOut),
        (ErrorKind::TooLong, io::ErrorKind::InvalidInput),
    ] {
        assert_eq!(io::Error::from(Error::custom(kind, "")).kind(), io_kind);
    }
}

#[test]
fn an_io_error_without_a_kind_of_this_crate_has_the_kind_of_std() {
    // A poller cannot wait for itself.
    let poller = Poller::new().unwrap();
    let error = poller.register(&poller, Token(1), Interest::READABLE).unwrap_err();
    assert_eq!((error.kind(), error.raw_os_error()), (ErrorKind::System, Some(22)));
    let said = error.to_string();
    let error = io::Error::from(error);
    assert_eq!((error.kind(), error.to_string()), (io::ErrorKind::InvalidInput, said));
}
