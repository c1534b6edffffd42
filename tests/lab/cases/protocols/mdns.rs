//! mDNS: asking and answering, with avahi and with Python's zeroconf.

use std::time::Duration;

use multicast::{Bind, Family, ListenOptions, Listener, Membership};

use super::{AWAY, ours};
use crate::cases::hosts::two_hosts;
use crate::network::{Host, cable, named};
use crate::peers::peer::{Receiver, hex};
use crate::programs::{Program, example, python, script};
use crate::trial::{Case, Trial};

pub fn cases() -> Vec<Case> {
    let case = |name, run| Case { name, off: AWAY, run };
    vec![
        case("protocols/mdns-we-ask-avahi-ipv4", |trial| we_ask_avahi(trial, "4", "10.0.0.1")),
        case("protocols/mdns-we-ask-avahi-ipv6", |trial| we_ask_avahi(trial, "6", "fd00::1")),
        case("protocols/mdns-we-ask-zeroconf", we_ask_zeroconf),
        case("protocols/mdns-zeroconf-asks-us-ipv4", |trial| zeroconf_asks_us(trial, "4", "10.0.0.2", "10.0.0.1")),
        case("protocols/mdns-zeroconf-asks-us-ipv6", |trial| zeroconf_asks_us(trial, "6", "fe80::2%eth0", "f")),
        case("protocols/mdns-we-answer-on-two-interfaces", on_two_interfaces),
        case("protocols/mdns-simple-questions", simple_questions),
        Case {
            name: "protocols/mdns-only-what-came-with-255-hops",
            off: "the question that came through a router did not",
            run: only_with_255_hops,
        },
        Case {
            name: "protocols/mdns-avahi-keeps-its-unicast",
            off: "we listen on the port and want unicast, too",
            run: avahi_keeps_its_unicast,
        },
    ]
}

const GROUP_V4: &str = "224.0.0.251:5353";

fn avahi(host: &Host) -> Program {
    let mut avahi = script(host, "avahi.sh", &[]);
    avahi.says("Server startup complete");
    avahi
}

fn our_responder(host: &Host, family: &str, interfaces: &[&str]) -> Program {
    let mut responder = example(host, "mdns", &[&["serve", family, "lamp.local"], interfaces].concat());
    responder.says("listening");
    responder
}

/// A question for the address of a name, as bytes in hexadecimal digits.
fn question(name: &str) -> String {
    let labels = name.split('.').flat_map(|label| [&[label.len() as u8], label.as_bytes()].concat());
    let name: Vec<u8> = labels.collect();
    hex(&[&[0x77, 0x77, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0][..], &name, &[0, 0, 1, 0, 1]].concat())
}

/// The question from port 5353 asks for an answer by unicast, and later ones for more hear the group as well.
fn we_ask_avahi(trial: &Trial, family: &str, address: &str) {
    let (a, b) = two_hosts();
    let _avahi = avahi(&a);
    let mut asking = example(&b, "mdns", &["query", family, ours(trial), "avahi.local"]);
    asking.says("Sent");
    let answer = asking.says(&format!("by unicast, id 0: avahi.local is {address}"));
    assert!(answer.contains(address) && answer.contains("5353 by"), "{answer}");
}

fn we_ask_zeroconf(trial: &Trial) {
    let (a, b) = two_hosts();
    let mut zeroconf = python(&a, "mdns_peer.py", &["serve", "10.0.0.1"]);
    zeroconf.says("ready");
    let mut asking = example(&b, "mdns", &["query", "4", ours(trial), "python.local"]);
    let answer = asking.says("python.local is 10.0.0.1");
    assert!(answer.starts_with("10.0.0.1:5353 by "), "{answer}");
}

fn zeroconf_asks_us(trial: &Trial, family: &str, own: &str, address: &str) {
    let (a, b) = two_hosts();
    let _responder = our_responder(&a, family, &[ours(trial)]);
    let mut zeroconf = python(&b, "mdns_peer.py", &["resolve", own, "lamp.local"]);
    zeroconf.says(&format!("found True {address}"));
}

/// To the group, on the interface that the question came in on, from the address there, and about the address there.
fn on_two_interfaces(trial: &Trial) {
    let (ours_host, a, b) = (Host::new("ours"), Host::new("a"), Host::new("b"));
    cable(0, (&ours_host, "eth0"), (&a, "eth0"));
    cable(1, (&ours_host, "eth1"), (&b, "eth0"));
    let mut responder = our_responder(&ours_host, "4", &[ours(trial), "eth1"]);
    for (host, own, address) in [(&b, "10.0.1.2", [10, 0, 1, 1]), (&a, "10.0.0.2", [10, 0, 0, 1])] {
        host.ip(&["route add 224.0.0.0/4 dev eth0"]);
        let mut hearing = host.within(|| Receiver::join(GROUP_V4.parse().unwrap(), "eth0"));
        let _asking = python(host, "datagram.py", &["5353", "224.0.0.251", "5353", "255", &question("lamp.local")]);
        responder.says("answer Sent");
        let answer = [(); 2].map(|()| hearing.next()).into_iter().find(|seen| seen.source != own).unwrap();
        assert_eq!((answer.source, answer.hops), (address.map(|byte| byte.to_string()).join("."), 255));
        assert!(answer.payload.ends_with(&address), "{:?}", answer.payload);
    }
}

/// From any port, as by programs that know nothing of groups: the answer comes there, with the question's number.
fn simple_questions(trial: &Trial) {
    let (a, b) = two_hosts();
    let _avahi = avahi(&a);
    let mut asking = example(&b, "mdns", &["legacy", "4", ours(trial), "avahi.local"]);
    asking.says("10.0.0.1:5353 by unicast, id 4660: avahi.local is 10.0.0.1");
    let _responder = our_responder(&a, "4", &[ours(trial)]);
    let mut asking = python(&b, "datagram.py", &["0", "224.0.0.251", "5353", "255", &question("lamp.local")]);
    let answer = asking.says("answer from 10.0.0.1 5353 7777");
    assert!(answer.ends_with("0a000001"), "{answer}");
}

fn only_with_255_hops(trial: &Trial) {
    let (a, b) = two_hosts();
    let _responder = our_responder(&a, "4", &["eth0"]);
    let ask = |hops| python(&b, "datagram.py", &["0", "224.0.0.251", "5353", hops, &question("lamp.local")]);
    let mut routed = ask(trial.pick("254", "255"));
    routed.says("sent");
    assert_eq!(routed.says_within("answer", Duration::from_millis(300)), None);
    ask("255").says("answer from 10.0.0.1 5353");
}

/// Both are on port 5353 of one host. The kernel gives a unicast packet to one of the sockets on its port: here to avahi's, since our
/// responder is bound to the group.
fn avahi_keeps_its_unicast(trial: &Trial) {
    let (a, b) = two_hosts();
    let _avahi = avahi(&a);
    let _responder = our_responder(&a, "4", &["eth0"]);
    let _rival = (!trial.works()).then(|| a.within(rival));
    for _ in 0..3 {
        let to_avahi = ["0", "10.0.0.1", "5353", "255", &question("avahi.local")];
        python(&b, "datagram.py", &to_avahi).says("answer from 10.0.0.1 5353 7777");
        let to_all = ["0", "224.0.0.251", "5353", "255", &question("lamp.local")];
        python(&b, "datagram.py", &to_all).says("answer from 10.0.0.1 5353 7777");
    }
}

/// What a proof adds: it takes unicast away from avahi.
fn rival() -> Listener<1500> {
    let mut rival = ListenOptions::new().unicast().bind(Bind::Port(5353, Family::V4)).unwrap();
    rival.join(&Membership::any(GROUP_V4.parse().unwrap()).on(named("eth0"))).unwrap();
    rival
}
