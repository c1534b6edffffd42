//! `mcast watch` on links of its own: links that are created again, all interfaces, and what tshark sees on the wire.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use multicast::{Group, SendOptions};
use serde_json::{Value, json};

use crate::common::link::{self, Pair};
use crate::common::{is_installed, require_private_network, send_with, unique_group, wait_until};
use crate::mcast::mcast as command;
use crate::programs::{Running, wait_for_member};
use crate::streams::{Ffmpeg, Relay, next_object, only_source, pick, rtp, total, wait_until_read, watch};

/// Sends packets of RTP with these numbers from the other end of a link.
fn send(link: &Pair, group: Group, port: u16, numbers: impl IntoIterator<Item = u16>) {
    let options = SendOptions::new().interface(link::named(&link.b)).source_port(port).loopback(false);
    send_with(options, group, numbers.into_iter().map(|number| rtp(1, number)));
}

fn watch_on(interface: &str, group: Group, arguments: &[&str]) -> Running {
    let mut watch = command(["watch", "--json", "--interface", interface, "--from", &group.to_string()]);
    let running = Running::start(watch.args(arguments));
    wait_for_member(group);
    running
}

#[test]
fn a_stream_goes_on_after_its_link_was_created_again() {
    let link = Pair::new();
    let group = unique_group();
    let port = crate::common::free_port();
    let watching = watch_on(&link.a, group, &["--alarm-silence", "0.5"]);
    send(&link, group, port, 0..10);
    assert_eq!(next_object(&watching, "source")["event"], "came");
    link.delete();
    assert_eq!(pick(&next_object(&watching, "alarm"), ["alarm", "state"]), json!(["silence", "raised"]));
    watching.wait_until_it_says("waiting for it");
    link.create();
    watching.wait_until_it_says("listening again");
    send(&link, group, port, 15..25);
    assert_eq!(pick(&next_object(&watching, "alarm"), ["alarm", "state"]), json!(["silence", "over"]));
    wait_until_read(group);
    watching.signal("TERM");
    let ended = watching.end().expect(4);
    let source = only_source(&ended);
    // It is the same source, and what was sent meanwhile is missing.
    assert_eq!(pick(&source["rtp"], ["received_packets", "lost_packets", "gaps"]), json!([20, 5, 1]), "{source}");
}

#[test]
fn on_all_interfaces_a_source_is_one_for_each_of_them() {
    if !link::is_alone("watch::on_all_interfaces_a_source_is_one_for_each_of_them") {
        return;
    }
    let links = [Pair::new(), Pair::new()];
    let group = unique_group();
    let port = crate::common::free_port();
    let watching = watch_on("all", group, &[]);
    for (link, count) in links.iter().zip([10, 20]) {
        wait_until("the link is joined", || {
            link::run(&format!("ip maddr show dev {}", link.a)).contains(&group.address().to_string())
        });
        send(link, group, port, 0..count);
        let came = next_object(&watching, "source");
        assert_eq!(pick(&came, ["event", "interface", "source_interface"]), json!(["came", "all", link.a]), "{came}");
    }
    // Created again, it is another interface to the kernel, and the same one to us.
    links[0].replace();
    wait_until("the link is joined", || {
        link::run(&format!("ip maddr show dev {}", links[0].a)).contains(&group.address().to_string())
    });
    send(&links[0], group, port, 10..15);
    assert_eq!(next_object(&watching, "source")["event"], "came");
    wait_until_read(group);
    watching.signal("TERM");
    let total = total(&watching.end().expect(143));
    let of_group = &total["groups"][0];
    let sources: Vec<Value> = of_group["sources"]
        .as_array()
        .unwrap()
        .iter()
        .map(|source| pick(source, ["source_interface", "received_packets"]))
        .collect();
    assert_eq!(sources, [json!([links[1].a, 20]), json!([links[0].a, 5])], "{total}");
    assert_eq!(pick(of_group, ["received_packets", "replaced_sources"]), json!([35, 1]));
}

/// tshark, which writes what it sees into a file. It is ended when this is dropped.
struct Capture {
    tshark: Child,
    file: PathBuf,
}

impl Capture {
    fn of(group: Group) -> Self {
        let file = std::env::temp_dir().join(format!("mcast-watch-{}.pcap", group.port()));
        let filter = format!("udp and dst host {}", group.address());
        let mut tshark = Command::new("tshark");
        tshark.args(["-n", "-i", "lo", "-a", "duration:60", "-f", &filter, "-w"]).arg(&file);
        let child = tshark.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let capture = Self { tshark: child.expect("tshark is needed for the tests against the wire: install it"), file };
        capture.sees(group, b"the stream begins here");
        capture
    }

    /// Sends this packet, which is not RTP, until it is in the file, and with it all that was sent before.
    fn sees(&self, group: Group, packet: &[u8]) {
        wait_until("tshark captures", || {
            crate::common::send_all(group, [packet]);
            std::fs::read(&self.file).is_ok_and(|file| file.windows(packet.len()).any(|window| window == packet))
        });
    }

    /// The packets of RTP, those that are lost, and the highest jitter in milliseconds, as tshark counts them.
    fn end(mut self, group: Group) -> (u64, u64, f64) {
        self.sees(group, b"and it ends here");
        let ended = Command::new("sh").args(["-c", &format!("kill -s INT {}", self.tshark.id())]).status().unwrap();
        assert!(ended.success());
        self.tshark.wait().unwrap();
        let mut tshark = Command::new("tshark");
        let as_rtp = format!("udp.port=={},rtp", group.port());
        tshark.args(["-n", "-q", "-z", "rtp,streams", "-d", &as_rtp, "-r"]).arg(&self.file);
        let text = String::from_utf8(tshark.output().unwrap().stdout).unwrap();
        let line = text.lines().find(|line| line.contains(" 0x")).unwrap_or_else(|| panic!("no stream: {text}"));
        let words: Vec<&str> = line.split_whitespace().collect();
        let lost = words.iter().position(|word| word.starts_with('(')).unwrap() - 1;
        (words[lost - 1].parse().unwrap(), words[lost].parse().unwrap(), words[lost + 7].parse().unwrap())
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        let _ = self.tshark.kill();
        let _ = self.tshark.wait();
        let _ = std::fs::remove_file(&self.file);
    }
}

#[test]
fn packets_losses_and_jitter_are_those_that_tshark_finds_on_the_wire() {
    if !is_installed("tshark") || !is_installed("ffmpeg") {
        return;
    }
    require_private_network();
    let group = unique_group();
    let capture = Capture::of(group);
    let watching = watch(group, &["--json"]);
    let mut relay = Relay::losing(group, 20, 5);
    Ffmpeg::sending(3, "rtp_mpegts", &format!("rtp://127.0.0.1:{}", relay.port)).end();
    let (sent, lost) = relay.end();
    wait_until_read(group);
    watching.signal("TERM");
    let source = only_source(&watching.end().expect(143));
    let rtp = &source["rtp"];
    let (packets, missing, jitter) = capture.end(group);
    assert_eq!((packets, missing), (sent, lost), "tshark and the relay");
    assert_eq!(pick(rtp, ["received_packets", "lost_packets"]), json!([packets, missing]));
    let ours = rtp["jitter_max_us"].as_f64().unwrap() / 1_000.0;
    // Both take the kernel's times: the device's, and the socket's a moment later.
    assert!((ours - jitter).abs() < 0.5 + jitter * 0.02, "{ours} ms, tshark {jitter} ms");
}
