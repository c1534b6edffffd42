//! `mcast` against programs of others that do the same work.

use std::time::Duration;

use super::hosts::two_hosts;
use super::protocols::joined;
use crate::network::Host;
use crate::programs::{Program, installed, mcast};
use crate::trial::{Case, Trial};

pub fn cases() -> Vec<Case> {
    vec![
        Case {
            name: "tool/iperf-sends-and-mcast-counts-the-same",
            off: "iperf sends to another group",
            run: iperf_sends_and_mcast_counts_the_same,
        },
        Case {
            name: "tool/multicat-writes-the-file-that-mcast-sends",
            off: "mcast sends another file",
            run: multicat_writes_the_file_that_mcast_sends,
        },
        Case {
            name: "tool/tcpreplay-plays-and-mcast-prints",
            off: "the capture has another group",
            run: tcpreplay_plays_and_mcast_prints,
        },
        Case {
            name: "tool/who-names-ssmping-and-its-source",
            off: "ssmping joins another source",
            run: who_names_ssmping_and_its_source,
        },
    ]
}

const GROUP: &str = "239.1.1.1:5000";

/// `mcast listen` on eth0, which has joined.
fn listening(host: &Host, from: &str, group: &str, more: &[&str]) -> Program {
    let listening = mcast(host, &[&["listen", "--from", from, "--interface", "eth0"], more].concat());
    joined(host, group);
    listening
}

fn iperf_sends_and_mcast_counts_the_same(trial: &Trial) {
    let (a, b) = two_hosts();
    let mut counting = listening(&b, GROUP, GROUP, &["--format", "raw", "--json", "--timeout", "4"]);
    let to = trial.pick("239.1.1.1", "239.1.1.2");
    let mut iperf = installed(&a, "iperf", &["-u", "-c", to, "-p", "5000", "-B", "10.0.0.1", "-b", "1m", "-t", "1"]);
    iperf.says("Sent ");
    let total = counting.says("\"kind\":\"total\"");
    let received = total.split("\"received_packets\":").nth(1).and_then(|rest| rest.split(',').next()).unwrap();
    // What the kernel counts: iperf counts the packet with which it ends, or not.
    let sent = a.within(|| {
        let snmp = std::fs::read_to_string("/proc/thread-self/net/snmp").unwrap();
        let udp = snmp.lines().filter(|line| line.starts_with("Udp: ")).nth(1).unwrap();
        udp.split(' ').nth(4).unwrap().to_owned()
    });
    assert!(sent.parse::<u32>().unwrap() > 50, "{sent}");
    assert_eq!(received, sent);
}

fn multicat_writes_the_file_that_mcast_sends(trial: &Trial) {
    let (a, b) = two_hosts();
    let (film, other, copy) = ("/run/film.ts", "/run/other.ts", "/run/copy.ts");
    let bytes = |seed: u32| (0..94_u32 * 1316).map(|at| (at.wrapping_mul(seed) >> 7) as u8).collect::<Vec<_>>();
    std::fs::write(film, bytes(2_654_435_761)).unwrap();
    std::fs::write(other, bytes(40_503)).unwrap();
    let _multicat = installed(&b, "multicat", &["-u", "-U", "@239.1.1.1:5000/ifaddr=10.0.0.2", copy]);
    joined(&b, GROUP);
    let file = trial.pick(film, other);
    // multicat takes packets of this size, and fills shorter ones up.
    let mut sending = mcast(
        &a,
        &["send", "--to", GROUP, "--interface", "eth0", "--file", file, "--size", "1316", "--rate", "500", "--json"],
    );
    sending.says("\"sent_packets\":94");
    let end = std::time::Instant::now() + Duration::from_secs(5);
    while std::fs::metadata(copy).map_or(0, |data| data.len()) < 94 * 1316 && std::time::Instant::now() < end {
        std::thread::sleep(Duration::from_millis(20));
    }
    let (copied, sent) = (std::fs::read(copy).unwrap(), bytes(2_654_435_761));
    let differs = copied.iter().zip(&sent).position(|(copied, sent)| copied != sent);
    assert!(copied == sent, "{} bytes of {}, and byte {differs:?} differs", copied.len(), sent.len());
}

/// A capture of Ethernet (pcap, link type 1) with UDP packets from 10.0.0.1.
fn capture(group: [u8; 4], payloads: &[&[u8]]) -> Vec<u8> {
    let mut file =
        [&0xa1b2_c3d4_u32.to_le_bytes()[..], &[2, 0, 4, 0], &[0; 8], &65_535_u32.to_le_bytes(), &1_u32.to_le_bytes()]
            .concat();
    for (number, payload) in payloads.iter().enumerate() {
        let udp_length = (payload.len() + 8) as u16;
        let mut ip = vec![0x45, 0];
        ip.extend((udp_length + 20).to_be_bytes());
        ip.extend([0, 1, 0, 0, 1, 17, 0, 0, 10, 0, 0, 1]);
        ip.extend(group);
        let sum: u32 = ip.chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
        let checksum = !((sum & 0xffff) + (sum >> 16)) as u16;
        ip[10..12].copy_from_slice(&checksum.to_be_bytes());
        let frame = [
            &[1, 0, 0x5e, group[1] & 0x7f, group[2], group[3], 2, 0, 0, 0, 0, 1, 8, 0],
            ip.as_slice(),
            &9999_u16.to_be_bytes(),
            &5000_u16.to_be_bytes(),
            &udp_length.to_be_bytes(),
            // Without a checksum.
            &[0, 0],
            payload,
        ]
        .concat();
        file.extend(
            [0, (number * 1000) as u32, frame.len() as u32, frame.len() as u32].iter().flat_map(|word| word.to_le_bytes()),
        );
        file.extend(frame);
    }
    file
}

fn tcpreplay_plays_and_mcast_prints(trial: &Trial) {
    let (a, b) = two_hosts();
    let mut printing = listening(&b, GROUP, GROUP, &["--limit", "3"]);
    let file = "/run/capture.pcap";
    std::fs::write(file, capture(trial.pick([239, 1, 1, 1], [239, 1, 1, 2]), &[b"one", b"two", b"three"])).unwrap();
    let mut playing = installed(&a, "tcpreplay", &["-i", "eth0", file]);
    playing.says("Successful packets:        3");
    for payload in ["one", "two", "three"] {
        assert_eq!(printing.says("10.0.0.1:9999"), format!("10.0.0.1:9999 {payload}"));
    }
}

fn who_names_ssmping_and_its_source(trial: &Trial) {
    let (a, b) = two_hosts();
    let _server = installed::<&str>(&a, "ssmpingd", &[]);
    let mut ssmping = installed(&b, "ssmping", &["-4", "-I", "eth0", "-c", "20", trial.pick("10.0.0.1", "10.0.0.9")]);
    ssmping.says(trial.pick("multicast from 10.0.0.1", "pinging S from"));
    let mut who = mcast(&b, &["who", "--interface", "eth0", "--from", "232.43.211.234"]);
    who.says("232.43.211.234 on eth0 from 10.0.0.1");
    who.says("ssmping");
}
