//! Strangers and senders: forged ICMP errors, queues that are full or dead, interfaces without an address.

use std::io::Write;
use std::time::{Duration, Instant};

use multicast::{Outcome, Progress, SendOptions, Sender};

use crate::common::next_within;
use crate::network::{Host, cable, interface};
use crate::peers::{Kind, hear, hear_exactly, listen};
use crate::programs::{Program, stranger};
use crate::trial::{Case, Trial};

pub fn cases() -> Vec<Case> {
    let case = |name, off, run| Case { name, off, run };
    let plain = "a plain socket with IP_RECVERR sends";
    vec![
        case("strangers/port-unreachable-ends-no-sender", plain, |trial| icmp(trial, Kind::V4, "3 3 0")),
        case("strangers/host-unreachable-ends-no-sender", plain, |trial| icmp(trial, Kind::V4, "3 1 0")),
        case("strangers/fragmentation-needed-ends-no-sender", plain, |trial| icmp(trial, Kind::V4, "3 4 600")),
        case("strangers/parameter-problem-ends-no-sender", plain, |trial| icmp(trial, Kind::V4, "12 0 0")),
        case("strangers/icmpv6-prohibited-ends-no-sender", plain, |trial| icmp(trial, Kind::SiteLocal, "1 1 0")),
        case("strangers/packet-too-big-ends-no-sender", plain, |trial| icmp(trial, Kind::SiteLocal, "2 0 1280")),
        case("strangers/a-poisoned-route-cuts-no-packet", plain, poisoned_route),
        case("strangers/a-slow-queue-loses-nothing", "a plain socket sends", slow_queue),
        case("strangers/an-interface-without-address-sends-as-the-route-says", "the route names no source", unnumbered),
    ]
}

/// A host, and another one that answers packets with ICMP errors, connected by their `eth0`.
fn two_hosts() -> (Host, Host) {
    let (host, stranger) = (Host::new("host"), Host::new("stranger"));
    cable(0, (&host, "eth0"), (&stranger, "eth0"));
    (host, stranger)
}

/// Sends words: one of ours that can get reports of the network, or a plain one.
enum Speaker {
    Ours(Sender),
    Plain(Box<Program>),
}

impl Speaker {
    fn new(trial: &Trial, host: &Host, kind: Kind) -> Self {
        if trial.works() {
            let options = SendOptions::new().interface(interface(0));
            // The listener may be dropped: reports still find the socket.
            Self::Ours(host.within(|| options.open_with_replies::<64>(kind.group().family()).unwrap().0))
        } else {
            Self::Plain(Box::new(plain(host, kind)))
        }
    }

    fn say(&mut self, kind: Kind, word: &str) {
        match self {
            Self::Ours(sender) => assert_eq!(sender.send(word.as_bytes(), kind.group()).unwrap(), Outcome::Sent),
            Self::Plain(program) => speak(program, word),
        }
    }
}

fn plain(host: &Host, kind: Kind) -> Program {
    let (group, port) = (kind.group().address().to_string(), kind.group().port().to_string());
    let mut program = stranger(host, &["sender", &group, &port]);
    program.says("begins");
    program
}

fn speak(program: &mut Program, word: &str) {
    writeln!(program.input(), "{word}").unwrap();
    // Sent or refused.
    program.says("");
}

/// A stranger that answers the next packet of the kind's group with this error: type, code, and the rest of the header.
fn forger(host: &Host, kind: Kind, error: &str) -> Program {
    let group = kind.group().address().to_string();
    let words: Vec<&str> = ["forge", &group].into_iter().chain(error.split(' ')).collect();
    let mut forger = stranger(host, &words);
    forger.says("listening");
    forger
}

/// A counter of a host's kernel, of a protocol in /proc/net/snmp. Of this thread: the process itself is on no host.
fn counter(host: &Host, protocol: &str, name: &str) -> u64 {
    let text = host.within(|| std::fs::read_to_string("/proc/thread-self/net/snmp").unwrap());
    let mut lines = text.lines().filter_map(|line| line.strip_prefix(protocol)?.strip_prefix(": "));
    let (names, values) = (lines.next().unwrap().split(' '), lines.next().unwrap().split(' '));
    names.zip(values).find(|(its, _)| *its == name).unwrap().1.parse().unwrap()
}

/// How many ICMP errors have come in on a host.
fn icmp_errors(host: &Host) -> u64 {
    let v6 = host.within(|| std::fs::read_to_string("/proc/thread-self/net/snmp6").unwrap());
    let of_v6 = |name| {
        let line = v6.lines().find(|line| line.split_whitespace().next() == Some(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap()
    };
    counter(host, "Icmp", "InMsgs") + of_v6("Icmp6InDestUnreachs") + of_v6("Icmp6InPktTooBigs")
}

/// Lets the speaker say a word, and waits until the stranger's error about it has come in.
fn provoke(host: &Host, forger: &mut Program, say: impl FnOnce()) {
    let before = icmp_errors(host);
    say();
    forger.says("forged");
    crate::common::wait_until("the error has come in", || icmp_errors(host) > before);
}

fn icmp(trial: &Trial, kind: Kind, error: &str) {
    let (host, other) = two_hosts();
    let mut listener = listen(&other, kind.group(), interface(0));
    let mut speaker = Speaker::new(trial, &host, kind);
    provoke(&host, &mut forger(&other, kind, error), || speaker.say(kind, "one"));
    for word in ["two", "three", "four", "five"] {
        speaker.say(kind, word);
    }
    hear_exactly(&mut listener, &["one", "two", "three", "four", "five"]);
}

/// A forged "fragmentation needed" makes the kernel believe for ten minutes that a route carries 600 bytes. The victim is another
/// program; the packets of ours take the same route.
fn poisoned_route(trial: &Trial) {
    let (host, other) = two_hosts();
    host.ip(&["route add 224.0.0.0/4 dev eth0"]);
    let mut listener = listen(&other, Kind::V4.group(), interface(0));
    let mut victim = plain(&host, Kind::V4);
    provoke(&host, &mut forger(&other, Kind::V4, "3 4 600"), || speak(&mut victim, "short"));
    assert_eq!(hear(&mut listener), b"short");

    let long = "x".repeat(1400);
    Speaker::new(trial, &host, Kind::V4).say(Kind::V4, &long);
    assert_eq!(hear(&mut listener).len(), long.len());
    assert_eq!(counter(&other, "Ip", "ReasmReqds"), 0, "it came in pieces");
}

/// A shaper of one megabit a second with room for few packets: 300 packets of ours take more than two seconds, and all arrive, here
/// and there, once each.
fn slow_queue(trial: &Trial) {
    const COUNT: usize = 300;
    let (host, other) = two_hosts();
    host.run("tc qdisc add dev eth0 root tbf rate 1mbit burst 3000 limit 6000");
    let group = Kind::V4.group();
    let packets: Vec<String> = (0..COUNT).map(|number| format!("{number:01000}")).collect();
    let mut ears = [listen(&other, group, interface(0)), listen(&host, group, interface(0))];
    let mut heard = [Vec::new(), Vec::new()];
    let end = Instant::now() + Duration::from_secs(20);
    host.within(|| {
        let mut take = || {
            for (ear, heard) in ears.iter_mut().zip(&mut heard) {
                while let Some(packet) = next_within(ear, Duration::ZERO) {
                    heard.push(String::from_utf8(packet).unwrap());
                }
            }
            assert!(Instant::now() < end, "it does not end: {} there, {} here", heard[0].len(), heard[1].len());
            heard.iter().all(|heard| heard.len() >= COUNT)
        };
        if trial.works() {
            let mut caster = SendOptions::new().interface(interface(0)).packets(group, &packets).unwrap();
            while caster.step().unwrap() != Progress::Done {
                take();
                std::thread::sleep(Duration::from_millis(1));
            }
        } else {
            let plain = crate::peers::plain_sender("eth0");
            for packet in &packets {
                let _ = plain.send_to(packet.as_bytes(), (group.address(), group.port()));
            }
        }
        while !take() {
            std::thread::sleep(Duration::from_millis(1));
        }
    });
    // Their numbers, since the packets are long.
    let [there, here] =
        heard.map(|heard| heard.iter().map(|packet| packet.trim_start_matches('0').to_owned()).collect::<Vec<_>>());
    let sent: Vec<_> = packets.iter().map(|packet| packet.trim_start_matches('0').to_owned()).collect();
    assert_eq!(there, sent, "on the other host");
    assert_eq!(here, sent, "copies on this host");
}

/// An interface without an IPv4 address of its own ("unnumbered") sends from the address that the route names.
fn unnumbered(trial: &Trial) {
    let (host, other) = (Host::new("host"), Host::new("other"));
    cable(0, (&host, "eth0"), (&other, "eth0"));
    host.ip(&["addr del 10.0.0.1/24 dev eth0", "addr add 10.9.9.9/32 dev lo"]);
    let source = trial.pick(" src 10.9.9.9", "");
    host.ip(&[&format!("route add 224.0.0.0/4 dev eth0{source}")]);
    if !trial.works() {
        host.ip(&["addr del 10.9.9.9/32 dev lo"]);
    }
    let group = Kind::V4.group();
    let mut ear = stranger(&other, &["member", &group.address().to_string(), &group.port().to_string(), "eth0"]);
    ear.says("begins");
    host.send(group, &["hello"]);
    assert_eq!(ear.says("got"), "got 1. from 10.9.9.9");
}
