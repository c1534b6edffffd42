//! Listeners refuse packets that they did not join: IPv4, on `lo`. IPv6 and several interfaces are in `netns_isolation.rs`.

use std::io::{BufRead, BufReader, Lines};
use std::net::{Ipv4Addr, UdpSocket};
use std::process::{Child, ChildStdout, Command, Stdio};

use crate::common::{assert_quiet, expect_packet, full_name, on_lo, peer, send_all, unique_group};
use multicast::{Bind, Family, Group, ListenOptions, Listener, Received};

/// A listener that is bound to the group.
fn bound(group: Group) -> Listener<64> {
    ListenOptions::new().bind(on_lo(group)).unwrap()
}

/// A listener that is bound to the group's port, and has joined the group.
fn opened(group: Group) -> Listener<64> {
    let mut listener = ListenOptions::new().bind(Bind::Port(group.port(), Family::V4)).unwrap();
    listener.join(&on_lo(group)).unwrap();
    listener
}

/// The same without a guard in the kernel: the listener checks destinations itself.
fn opened_in_user_space(group: Group) -> Listener<64> {
    let mut listener = ListenOptions::new().kernel_filter(false).bind(Bind::Port(group.port(), Family::V4)).unwrap();
    listener.join(&on_lo(group)).unwrap();
    listener
}

const KINDS: [fn(Group) -> Listener<64>; 3] = [bound, opened, opened_in_user_space];

/// Another group on the port of this one.
fn neighbour(group: Group) -> Group {
    Group::new(unique_group().address(), group.port()).unwrap()
}

#[test]
fn packets_of_a_group_that_another_process_joined_are_refused() {
    for listen in KINDS {
        let ours = unique_group();
        let theirs = neighbour(ours);
        let mut listener = listen(ours);
        let mut peer = peer::Receiver::join(theirs, "lo");
        send_all(theirs, ["theirs"]);
        assert_eq!(peer.next().payload, b"theirs");
        assert_quiet(&mut listener);
        send_all(ours, ["ours"]);
        assert_eq!(expect_packet(&mut listener), b"ours");
        // The kernel refused it, so the process did not wake up.
        assert_eq!(listener.counters().foreign, 0);
    }
}

#[test]
fn a_listener_by_port_that_joined_nothing_receives_nothing() {
    let group = unique_group();
    let mut listener = ListenOptions::new().bind::<64>(Bind::Port(group.port(), Family::V4)).unwrap();
    let mut peer = peer::Receiver::join(group, "lo");
    send_all(group, ["theirs"]);
    assert_eq!(peer.next().payload, b"theirs");
    assert_quiet(&mut listener);
}

#[test]
fn unicast_to_the_port_is_refused() {
    for listen in KINDS {
        let group = unique_group();
        let mut listener = listen(group);
        let sender = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        // If no socket receives it, the next call returns an error (ECONNREFUSED).
        for _ in 0..3 {
            let _ = sender.send_to(b"unicast", (Ipv4Addr::LOCALHOST, group.port()));
        }
        assert_quiet(&mut listener);
        send_all(group, ["multicast"]);
        assert_eq!(expect_packet(&mut listener), b"multicast");
        let counters = listener.counters();
        assert_eq!((counters.received, counters.rejected), (1, 0));
        let is_wildcard = listener.local_addr().unwrap().ip().is_unspecified();
        let foreign = if is_wildcard { 3 } else { 0 };
        let expected = if counters.kernel_refuses { (0, Some(foreign)) } else { (foreign, Some(0)) };
        assert_eq!((counters.foreign, counters.dropped), expected);
    }
}

#[test]
fn broadcast_to_the_port_is_refused() {
    for listen in KINDS {
        let group = unique_group();
        let mut listener = listen(group);
        let sender = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        sender.set_broadcast(true).unwrap();
        // The broadcast address of 127.0.0.0/8 is on `lo`.
        sender.send_to(b"broadcast", ("127.255.255.255", group.port())).unwrap();
        assert_quiet(&mut listener);
    }
}

#[test]
fn recv_returns_during_a_flood_of_unicast() {
    let group = unique_group();
    let mut listener = opened_in_user_space(group);
    let sender = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    for _ in 0..100 {
        sender.send_to(b"unicast", (Ipv4Addr::LOCALHOST, group.port())).unwrap();
    }
    assert_eq!(listener.recv().unwrap(), Received::Paused);
    assert_eq!(listener.counters().foreign, 64);
    assert_eq!(listener.recv().unwrap(), Received::Empty);
    assert_eq!(listener.counters().foreign, 100);
}

/// This test program in another process, which listens to a group and prints its packets.
struct Other {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Other {
    const GROUP: &str = "MULTICAST_TEST_LISTENS_TO";

    fn listen(test: &str, group: Group) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", &full_name(test), "--nocapture"])
            .env(Self::GROUP, group.to_string())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut other = Self { child, lines };
        while !other.line().ends_with("listening") {}
        other
    }

    fn line(&mut self) -> String {
        self.lines.next().expect("the other process lives").unwrap()
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn listeners_of_one_group_in_two_processes_both_receive_every_packet() {
    if let Ok(group) = std::env::var(Other::GROUP) {
        let mut listener = bound(group.parse().unwrap());
        println!("listening");
        loop {
            println!("{}", String::from_utf8(expect_packet(&mut listener)).unwrap());
        }
    }
    let group = unique_group();
    let mut other = Other::listen("listeners_of_one_group_in_two_processes_both_receive_every_packet", group);
    let mut ours = opened(group);
    let payloads: Vec<String> = (0..50).map(|count| format!("packet {count}")).collect();
    send_all(group, &payloads);
    for payload in &payloads {
        assert_eq!(expect_packet(&mut ours), payload.as_bytes());
        assert_eq!(&other.line(), payload);
    }
    assert_quiet(&mut ours);
}
