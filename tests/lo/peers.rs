//! Independent peers in both directions, on `lo`: Python's sockets, and socat. IPv6 is in `netns_peers.rs`.

use std::io::{Read, Seek, SeekFrom, Write};
use std::process::{Command, Stdio};

use crate::common::{
    LO, assert_quiet, expect_packet, is_bound, is_installed, lo_is_in, on_lo, peer, send_all, send_on_lo, unique_group,
    wait_until,
};
use multicast::{ListenOptions, Progress, Received, SendOptions, Ttl};

#[test]
fn python_receives_what_we_send() {
    let group = unique_group();
    let mut python = peer::Receiver::join(group, "lo");
    for payload in peer::payloads().into_iter().chain([Vec::new()]) {
        send_all(group, [&payload]);
        let seen = python.next();
        assert!(seen.payload == payload, "{} bytes, {} came", payload.len(), seen.payload.len());
        assert_eq!(seen.source, "127.0.0.1");
    }
}

#[test]
fn we_receive_what_python_sends() {
    let group = unique_group();
    let mut listener = Box::new(ListenOptions::new().bind::<65_535>(on_lo(group)).unwrap());
    let mut python = peer::Sender::start(group, "lo", "127.0.0.1");
    for payload in peer::payloads().into_iter().chain([Vec::new()]) {
        let port = python.send(&payload);
        let Received::Packet(packet) = listener.recv().unwrap() else { panic!("no packet") };
        assert!(packet.payload() == payload && !packet.is_truncated(), "{} bytes", payload.len());
        assert_eq!(packet.source(), ([127, 0, 0, 1], port).into());
    }
    assert_quiet(&mut listener);
}

#[test]
fn the_receiver_sees_the_ttl_of_each_scope() {
    let scopes = [Ttl::HOST, Ttl::SUBNET, Ttl::SITE, Ttl::REGION, Ttl::CONTINENT, Ttl::UNRESTRICTED];
    let group = unique_group();
    let mut python = peer::Receiver::join(group, "lo");
    for (ttl, hops) in scopes.into_iter().zip([0, 1, 32, 64, 128, 255]) {
        let mut caster = send_on_lo().ttl(ttl).packets(group, [ttl.to_string()]).unwrap();
        assert_eq!(caster.step().unwrap(), Progress::Sent(1));
        let seen = python.next();
        assert_eq!((seen.hops, seen.payload), (hops, ttl.to_string().into_bytes()));
    }
    // The default TTL is 1.
    let mut caster = SendOptions::new().interface(LO).packets(group, ["x"]).unwrap();
    assert_eq!(caster.step().unwrap(), Progress::Sent(1));
    assert_eq!(python.next().hops, 1);
}

#[test]
fn the_receiver_sees_the_traffic_class() {
    let group = unique_group();
    let mut python = peer::Receiver::join(group, "lo");
    // Expedited forwarding; all bits of DSCP; and none.
    for class in [0xb8, 0xfc, 0] {
        let mut caster = send_on_lo().traffic_class(class).packets(group, ["x"]).unwrap();
        assert_eq!(caster.step().unwrap(), Progress::Sent(1));
        assert_eq!(python.next().traffic_class, i32::from(class));
    }
}

#[test]
fn socat_receives_what_we_send() {
    if !is_installed("socat") {
        return;
    }
    for payload in peer::payloads() {
        let group = unique_group();
        let membership = format!("ip-add-membership={}:127.0.0.1", group.address());
        // It ends after one packet.
        let address = format!("UDP4-RECV:{},bind={},reuseaddr,reuseport,{membership}", group.port(), group.address());
        let mut socat = Command::new("socat")
            .args(["-u", "-b", "65535", "-T", "10", &address, "STDOUT"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        wait_until("socat has joined, and is bound", || lo_is_in(group) && is_bound(group.port()));
        send_all(group, [&payload]);
        let mut got = vec![0; payload.len()];
        let result = socat.stdout.as_mut().unwrap().read_exact(&mut got);
        socat.kill().unwrap();
        socat.wait().unwrap();
        result.unwrap();
        assert!(got == payload, "{} bytes", payload.len());
    }
}

#[test]
fn we_receive_what_socat_sends() {
    if !is_installed("socat") {
        return;
    }
    let group = unique_group();
    let mut listener = Box::new(ListenOptions::new().bind::<65_535>(on_lo(group)).unwrap());
    let to = format!("UDP4-DATAGRAM:{group},ip-multicast-if=127.0.0.1,ip-multicast-ttl=1");
    for payload in peer::payloads() {
        // From a file it reads everything at once, and sends it as one packet.
        let path = std::env::temp_dir().join(format!("multicast-peers-{}", std::process::id()));
        let mut file = std::fs::File::options().read(true).write(true).create(true).truncate(true).open(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        file.write_all(&payload).unwrap();
        file.seek(SeekFrom::Start(0)).unwrap();
        let socat = Command::new("socat").args(["-u", "-b", "65535", "STDIN", &to]).stdin(file).status();
        assert!(socat.unwrap().success());
        assert!(expect_packet(&mut listener) == payload, "{} bytes", payload.len());
    }
    assert_quiet(&mut listener);
}
