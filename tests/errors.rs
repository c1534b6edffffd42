//! The words of the errors that the core's operations give, and what programs see of them.

// Files and errors of `std` are the feature's.
#![cfg(feature = "std")]

mod common;

use std::io;
use std::net::{Ipv4Addr, UdpSocket};
use std::process::Command;

use common::{free_port, on_lo, send_on_lo, unique_group};
use multicast::{
    Error, ErrorKind, Events, Family, Group, Interest, Interface, ListenOptions, Listener, Membership, Poller, SendOptions,
    Token,
};

#[test]
fn a_port_that_another_socket_keeps_for_itself_is_refused() {
    let group = unique_group();
    let holder = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, group.port())).unwrap();
    let bound = <Listener>::bind(on_lo(group)).unwrap_err();
    let said = "another socket holds the port without SO_REUSEADDR and SO_REUSEPORT";
    assert_eq!(bound.to_string(), format!("bind {group}: {said}"));
    let opened = ListenOptions::new().open::<64>(group.port(), Family::V4).unwrap_err();
    assert_eq!(opened.to_string(), format!("bind port {}: {said}", group.port()));
    for error in [bound, opened] {
        assert_eq!(error.kind(), ErrorKind::AddressInUse);
        assert_eq!(io::Error::from(error).kind(), io::ErrorKind::AddrInUse);
    }
    drop(holder);
    <Listener>::bind(on_lo(group)).unwrap();
}

#[test]
fn a_packet_that_is_too_long_is_named_by_its_length() {
    let group = unique_group();
    for length in [65_508_usize, 65_535, 65_536, 100_000] {
        let mut caster = send_on_lo().packets(group, [vec![0; length]]).unwrap();
        let error = caster.step().unwrap_err();
        assert_eq!(error.to_string(), format!("send {length} bytes to {group}: too long for UDP: at most 65507 bytes"));
        assert_eq!(error.kind(), ErrorKind::TooLong);
    }
}

#[test]
fn sending_by_an_interface_of_an_unknown_index_is_refused() {
    let group = unique_group();
    let unknown: Interface = "1999999999".parse().unwrap();
    let error = SendOptions::new().interface(unknown).packets(group, ["x"]).unwrap_err();
    assert_eq!(error.to_string(), format!("send {} on 1999999999: no such interface", group.address()));
}

#[test]
fn an_io_error_keeps_kind_and_errno_or_else_the_sentence() {
    let group = Group::new(Ipv4Addr::new(239, 1, 2, 3), free_port()).unwrap();
    // From the kernel: its number goes along.
    let error = <Listener>::bind(Membership::any(group).on("1999999999".parse().unwrap())).unwrap_err();
    let errno = error.raw_os_error().expect("the kernel refused it");
    assert_eq!(io::Error::from(error).raw_os_error(), Some(errno));
    // From the crate: the sentence goes along.
    let mut listener = <Listener>::bind(on_lo(group)).unwrap();
    let elsewhere = Group::new(Ipv4Addr::new(239, 1, 2, 4), group.port()).unwrap();
    let error = listener.join(&on_lo(elsewhere)).unwrap_err();
    let said = error.to_string();
    let error = io::Error::from(error);
    assert_eq!((error.kind(), error.raw_os_error(), error.to_string()), (io::ErrorKind::InvalidInput, None, said));
    assert!(error.get_ref().unwrap().is::<Error>());
}

#[test]
fn debug_tells_kind_errno_and_text() {
    let group = Group::new(Ipv4Addr::new(239, 1, 2, 3), 4242).unwrap();
    let error = <Listener>::bind(Membership::any(group).on("nosuch0".parse().unwrap())).unwrap_err();
    let said = r#"Error { kind: NoSuchInterface, errno: Some(19), text: "join 239.1.2.3 on nosuch0: no such interface" }"#;
    assert_eq!(format!("{error:?}"), said);
}

#[test]
fn what_a_poller_refuses_is_said() {
    let poller = Poller::new().unwrap();
    let listener = <Listener>::bind(on_lo(unique_group())).unwrap();
    let said = |result: multicast::Result<()>| result.unwrap_err().to_string();
    poller.register(&listener, Token(1), Interest::READABLE).unwrap();
    assert_eq!(
        said(poller.register(&listener, Token(2), Interest::READABLE)),
        "register a file descriptor: registered already: use reregister"
    );
    poller.unregister(&listener).unwrap();
    assert_eq!(said(poller.unregister(&listener)), "unregister a file descriptor: not registered");
    assert_eq!(
        said(poller.reregister(&listener, Token(1), Interest::READABLE)),
        "reregister a file descriptor: not registered"
    );
    let file = std::fs::File::open("Cargo.toml").unwrap();
    assert_eq!(
        said(poller.register(&file, Token(1), Interest::READABLE)),
        "register a file descriptor: regular files and folders cannot be waited for: they are always ready"
    );
    assert_eq!(
        said(poller.register(&listener, Token(u64::MAX), Interest::READABLE)),
        "register a file descriptor: this token is the waker's: choose another one"
    );
    assert_eq!(poller.poll(&mut Events::<1>::new(), std::time::Duration::ZERO).unwrap().count(), 0);
}

#[test]
fn too_few_descriptors_are_said_at_every_step() {
    // The test runs itself again, in a process that may open few files.
    if std::env::var_os("MULTICAST_TEST_FEW_FILES").is_none() {
        let status = Command::new("sh")
            .args(["-c", r#"ulimit -n 12 && exec "$0" --exact too_few_descriptors_are_said_at_every_step"#])
            .arg(std::env::current_exe().unwrap())
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
    check(<Listener>::bind(on_lo(group)).unwrap_err(), "open an IPv4 socket");
    check(ListenOptions::new().open::<64>(4242, Family::V6).unwrap_err(), "open an IPv6 socket");
    check(send_on_lo().packets(group, [""]).unwrap_err(), "send 239.1.2.3 on lo");
    check(Poller::new().unwrap_err(), "open a poller");
    // One descriptor: the socket opens. To find the interface of an address takes a second one.
    files.pop();
    let by_address = Membership::any(group).on(Interface::Address(Ipv4Addr::LOCALHOST.into()));
    check(<Listener>::bind(by_address).unwrap_err(), "join 239.1.2.3 on 127.0.0.1");
    check(Poller::new().unwrap_err(), "open a poller");
    // Nothing of what failed is left open: with a second one it goes.
    files.pop();
    drop(<Listener>::bind(by_address).unwrap());
    let poller = Poller::new().unwrap();
    check(poller.waker().unwrap_err(), "open a waker");
}
