//! `mcast record` on links, beside tshark, which sees the same packets on the wire.

use std::process::{Child, Command, Stdio};
use std::sync::mpsc::Receiver;

use crate::common::link::{self, Pair};
use crate::common::{self, PATIENCE, is_installed, unique_group, unique_v6_group};
use crate::mcast::captures::{TemporaryFile, fields, fields_before_the_cut};
use crate::mcast::mcast as command;
use crate::programs::{Running, wait_for_member};
use multicast::{Group, SendOptions};

/// tshark on an interface, which prints time and payload of packets to these ports. It ends when this is dropped, or after a minute.
struct Wire {
    child: Child,
    lines: Receiver<String>,
}

impl Wire {
    fn on(interface: &str, groups: &[Group]) -> Self {
        let filter: Vec<_> = groups.iter().map(|group| format!("udp dst port {}", group.port())).collect();
        let mut child = Command::new("tshark")
            .args(["-n", "-l", "-i", interface, "-a", "duration:60", "-f", &filter.join(" or "), "-T", "fields"])
            .args(["-e", "frame.interface_name", "-e", "frame.time_epoch", "-e", "udp.payload"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("tshark is needed for the tests against the wire: install it");
        let lines = common::lines_of(child.stdout.take().unwrap());
        Self { child, lines }
    }

    fn next(&self) -> String {
        self.lines.recv_timeout(PATIENCE).expect("tshark sees the packet")
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn send(link: &Pair, group: Group, payload: &str) {
    common::send_with(SendOptions::new().interface(link::named(&link.a)), group, [payload]);
}

#[test]
fn times_and_interfaces_are_those_that_tshark_sees_on_the_wire() {
    if !is_installed("tshark") {
        return;
    }
    let link = Pair::new();
    let groups = [unique_group(), unique_v6_group(5), unique_v6_group(2)];
    let wire = Wire::on(&link.b, &groups);
    common::wait_until("tshark captures", || {
        send(&link, groups[0], "is it there?");
        wire.lines.try_recv().is_ok()
    });

    let file = TemporaryFile::named("wire.pcapng");
    let mut recorder = command(["record", "--interface", &link.b, "--limit", "30", file.text()]);
    recorder.args(groups.iter().flat_map(|group| ["--from".to_owned(), group.to_string()]));
    let recorder = Running::start(&mut recorder);
    groups.iter().for_each(|group| wait_for_member(*group));
    for round in 0..10 {
        groups.iter().for_each(|group| send(&link, *group, &format!("{round} to {group}")));
    }
    recorder.end().expect(0).saying("recorded 30 packets").saying("dropped 0");

    let recorded = fields(file.path(), "frame.interface_name frame.time_epoch udp.payload");
    assert_eq!(recorded.len(), 30);
    // What tshark saw; at the beginning our questions. Packets of several sockets may stand in the file in another order.
    let mut seen = Vec::new();
    for packet in recorded {
        // To the nanosecond: the kernel has one time for both.
        let packet = packet.join("\t");
        while !seen.contains(&packet) {
            assert!(seen.len() < 200, "{packet} was not on the wire: {seen:?}");
            seen.push(wire.next());
        }
    }
}

#[test]
fn each_packet_has_the_name_of_its_interface_also_of_one_that_was_created_again() {
    if !is_installed("tshark") {
        return;
    }
    let (one, other) = (Pair::new(), Pair::new());
    let group = unique_group();
    let file = TemporaryFile::named("interfaces.pcapng");
    let mut recorder = command(["record", "--from", &group.to_string(), "--interface", &one.b, "--interface", &other.b]);
    let recorder = Running::start(recorder.arg(file.text()));
    wait_for_member(group);
    let deliver = |link: &Pair, payload: &'static str| {
        let digits: String = payload.bytes().map(|byte| format!("{byte:02x}")).collect();
        common::wait_until("it is recorded", || {
            send(link, group, payload);
            std::thread::sleep(common::QUIET);
            fields_before_the_cut(file.path(), "udp.payload").iter().any(|seen| seen[0] == digits)
        });
    };
    deliver(&one, "one");
    deliver(&other, "other");
    one.replace();
    deliver(&one, "again");
    recorder.signal("TERM");
    recorder.end().expect(143);
    // Each payload may have been sent more than once.
    let mut seen = fields(file.path(), "frame.interface_name frame.interface_id");
    seen.dedup();
    assert_eq!(seen, [[&one.b, "0"], [&other.b, "1"], [&one.b, "2"]]);
}
