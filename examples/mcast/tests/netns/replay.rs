//! `mcast replay` of what tshark captured on a link: Ethernet, and Linux's "cooked" packets.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::common::link::{self, Pair};
use crate::common::{self, LO, expect_packet, is_installed, unique_group, unique_v6_group};
use crate::mcast::captures::{TemporaryFile, fields_before_the_cut};
use crate::mcast::mcast as command;
use crate::programs::{Running, run};
use multicast::{Group, ListenOptions, Listener, Membership, SendOptions};

fn send(link: &Pair, group: Group, payload: &[u8]) {
    common::send_with(SendOptions::new().interface(link::named(&link.a)), group, [payload]);
}

/// tshark writes what comes on this interface into the file, while `packets` are sent, until it has seen the last of them.
fn capture(interface: &str, file: &Path, link: &Pair, packets: &[(Group, &[u8])]) {
    let [name, path] = [interface, file.to_str().unwrap()];
    // Nothing but UDP from this link, with fragments, which have no ports.
    let filter = format!("udp and (src host {} or src host {})", link.addresses[0], link.v6_addresses()[0]);
    let mut tshark = Command::new("tshark");
    tshark.args(["-n", "-q", "-i", name, "-a", "duration:60", "-f", &filter, "-w", path]).stdin(Stdio::null());
    let tshark = Running::start_reading(&mut tshark);
    let has = |payload: &[u8]| {
        let digits: String = payload.iter().map(|byte| format!("{byte:02x}")).collect();
        file.exists() && fields_before_the_cut(file, "udp.payload").iter().any(|seen| seen[0] == digits)
    };
    common::wait_until("tshark captures", || {
        send(link, packets[0].0, b"is it there?");
        std::thread::sleep(common::QUIET);
        has(b"is it there?")
    });
    for (group, payload) in packets {
        send(link, *group, payload);
    }
    common::wait_until("tshark has captured all", || {
        std::thread::sleep(common::QUIET);
        has(packets.last().unwrap().1)
    });
    tshark.signal("INT");
    let _ = tshark.end();
}

/// The next payload that is no question of [`capture`].
fn next(listener: &mut Listener<9000>) -> Vec<u8> {
    loop {
        let payload = expect_packet(listener);
        if payload != b"is it there?" {
            return payload;
        }
    }
}

#[test]
fn captures_of_ethernet_and_of_any_interface_are_replayed() {
    if !is_installed("tshark") {
        return;
    }
    let link = Pair::new();
    let (v4, v6) = (unique_group(), unique_v6_group(5));
    for interface in [&link.b, "any"] {
        let file = TemporaryFile::named("wire.pcapng");
        capture(interface, file.path(), &link, &[(v4, b"one"), (v4, &[b'x'; 3000]), (v6, b"six"), (v4, b""), (v4, b"last")]);
        let mut listeners = [v4, v6].map(|group| ListenOptions::new().bind(Membership::any(group).on(LO)).unwrap());
        let ended = run(command(["replay", "--interface", "lo", "--speed", "10"]).arg(file.path())).expect(0);
        // Of the long packet, tshark's filter passes the first fragment, which has the header of UDP, or all.
        assert!(ended.errors.contains(" fragments"), "{interface}: {ended:?}");
        let [on_v4, on_v6] = &mut listeners;
        assert_eq!(next(on_v4), b"one", "{interface}");
        // `any` sees a packet twice, since both ends of the link are here: once as it leaves, and once as it comes.
        let mut seen = Vec::new();
        while seen.last().is_none_or(|payload| payload != b"last") {
            seen.push(next(on_v4));
        }
        seen.retain(|payload| payload != b"one");
        seen.dedup();
        assert_eq!(seen, [&b""[..], b"last"], "{interface}");
        assert_eq!(next(on_v6), b"six", "{interface}");
    }
}
