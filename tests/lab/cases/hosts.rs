//! Two hosts on one cable: both directions, both families, this crate with itself, with Python and with socat.

use std::ops::ControlFlow;
use std::time::Duration;

use multicast::{Interface, SendOptions, compat};

use crate::network::{Host, cable, interface};
use crate::peers::{Kind, PATIENCE, ear, hear, hear_exactly, hear_nothing, listen, peer, socat_hears, socat_sends};
use crate::trial::{Case, Trial, helper};

const DEAF: &str = "we listen on lo instead of eth0";
const MUTE: &str = "we send on lo instead of eth0";

pub fn cases() -> Vec<Case> {
    vec![
        Case { name: "hosts/ours-to-ours-ipv4", off: DEAF, run: |trial| ours_to_ours(trial, Kind::V4) },
        Case { name: "hosts/ours-to-ours-ipv6-link-local", off: DEAF, run: |trial| ours_to_ours(trial, Kind::LinkLocal) },
        Case { name: "hosts/ours-to-ours-ipv6", off: DEAF, run: |trial| ours_to_ours(trial, Kind::SiteLocal) },
        Case { name: "hosts/batches-to-coalesced", off: DEAF, run: batches_to_coalesced },
        Case { name: "hosts/compat-to-compat", off: DEAF, run: compat_to_compat },
        Case { name: "hosts/we-hear-python-ipv4", off: DEAF, run: |trial| we_hear_python(trial, Kind::V4) },
        Case {
            name: "hosts/we-hear-python-ipv6-link-local",
            off: DEAF,
            run: |trial| we_hear_python(trial, Kind::LinkLocal),
        },
        Case { name: "hosts/we-hear-python-ipv6", off: DEAF, run: |trial| we_hear_python(trial, Kind::SiteLocal) },
        Case { name: "hosts/python-hears-us-ipv4", off: MUTE, run: |trial| python_hears_us(trial, Kind::V4) },
        Case {
            name: "hosts/python-hears-us-ipv6-link-local",
            off: MUTE,
            run: |trial| python_hears_us(trial, Kind::LinkLocal),
        },
        Case { name: "hosts/python-hears-us-ipv6", off: MUTE, run: |trial| python_hears_us(trial, Kind::SiteLocal) },
        Case { name: "hosts/we-hear-socat", off: DEAF, run: we_hear_socat },
        Case { name: "hosts/socat-hears-us", off: MUTE, run: socat_hears_us },
    ]
}

/// Two hosts with a cable between their `eth0`, and the default route of IPv4 multicast there.
pub fn two_hosts() -> (Host, Host) {
    let (a, b) = (Host::new("a"), Host::new("b"));
    cable(0, (&a, "eth0"), (&b, "eth0"));
    for host in [&a, &b] {
        host.ip(&["route add 224.0.0.0/4 dev eth0"]);
    }
    (a, b)
}

/// The interface that a case sends on: the right one, or one that leads nowhere.
fn mouth(trial: &Trial) -> Interface {
    trial.pick(interface(0), Interface::LOOPBACK)
}

fn ours_to_ours(trial: &Trial, kind: Kind) {
    let (a, b) = two_hosts();
    for (sender, receiver) in [(&a, &b), (&b, &a)] {
        let group = kind.group();
        let mut listener = listen(receiver, group, ear(trial));
        for payload in peer::payloads() {
            sender.send(group, &[&payload]);
            assert!(hear(&mut listener) == payload, "{} bytes arrived changed", payload.len());
        }
        hear_nothing(&mut listener);
    }
}

/// What leaves as one buffer arrives as the single packets.
fn batches_to_coalesced(trial: &Trial) {
    let (a, b) = two_hosts();
    let packets: Vec<Vec<u8>> = (0..200_u16).map(|number| [&number.to_be_bytes()[..], &[7; 500]].concat()).collect();
    for kind in Kind::ALL {
        let group = kind.group();
        let membership = multicast::Membership::any(group).on(ear(trial));
        let mut buffer = Box::new([0; multicast::COALESCING_BUFFER]);
        let options = multicast::ListenOptions::new().receive_buffer(1 << 20);
        let mut listener =
            b.within(|| options.bind_coalescing(membership, multicast::COALESCING_BUFFER, &mut buffer).unwrap());
        a.within(|| {
            let mut caster = SendOptions::new().interface(interface(0)).batches::<16, _>(group, &packets).unwrap();
            while caster.step().unwrap() != multicast::Progress::Done {}
        });
        let mut heard = Vec::new();
        let end = std::time::Instant::now() + PATIENCE;
        while heard.len() < packets.len() {
            assert!(std::time::Instant::now() < end, "{} of {} came", heard.len(), packets.len());
            match listener.recv().unwrap() {
                multicast::Received::Packet(packet) => heard.push(packet.payload().to_vec()),
                _ => std::thread::sleep(Duration::from_millis(1)),
            }
        }
        assert!(heard == packets, "they arrived changed or in another order");
    }
}

/// The handle-based API without an interface: the routing table leads to the cable.
fn compat_to_compat(trial: &Trial) {
    let (a, b) = two_hosts();
    let interface = trial.pick(Interface::Default, Interface::LOOPBACK);
    let (ready, is_ready) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        let listening = || {
            b.within(move || {
                let poller = compat::Poller::new().unwrap();
                let mut heard = Vec::new();
                let (log, done) = std::sync::mpsc::channel();
                let handler = move |packet: &[u8], _source| {
                    log.send(packet.to_vec()).unwrap();
                    ControlFlow::Continue(())
                };
                let options = compat::ListenOptions::new().interface(interface).limit(3).poller(&poller);
                compat::MulticastListener::new(handler, options).unwrap();
                ready.send(()).unwrap();
                while heard.len() < 3 && poller.poll(PATIENCE).unwrap() > 0 {
                    heard.extend(done.try_iter());
                }
                heard
            })
        };
        let listening = helper().spawn_scoped(scope, listening).unwrap();
        is_ready.recv().unwrap();
        a.within(|| compat::sendto(["one", "two", "three"]).unwrap());
        assert_eq!(listening.join().unwrap(), [b"one".to_vec(), b"two".to_vec(), b"three".to_vec()]);
    });
}

fn we_hear_python(trial: &Trial, kind: Kind) {
    let (a, b) = two_hosts();
    let group = kind.group();
    let mut listener = listen(&b, group, ear(trial));
    let source = kind.address(0, 1).to_string();
    let mut python = a.within(|| peer::Sender::start(group, "eth0", &source));
    for payload in peer::payloads() {
        python.send(&payload);
        assert!(hear(&mut listener) == payload, "{} bytes arrived changed", payload.len());
    }
    hear_nothing(&mut listener);
}

fn python_hears_us(trial: &Trial, kind: Kind) {
    let (a, b) = two_hosts();
    let group = kind.group();
    let mut python = b.within(|| peer::Receiver::join(group, "eth0"));
    for payload in peer::payloads() {
        a.within(|| {
            let options = SendOptions::new().interface(mouth(trial)).traffic_class(0x28);
            options.packets(group, [&payload]).unwrap().step().unwrap();
        });
        let seen = python.next();
        assert!(seen.payload == payload, "{} bytes arrived changed", payload.len());
        // An address of the interface that it left on, the default hop limit, and the class that was set.
        let expected_source = match kind {
            Kind::V4 => "10.0.0.1",
            Kind::LinkLocal => "fe80::1",
            Kind::SiteLocal => "fd00::1",
        };
        assert_eq!((seen.source.as_str(), seen.hops, seen.traffic_class), (expected_source, 1, 0x28));
    }
}

fn we_hear_socat(trial: &Trial) {
    let (a, b) = two_hosts();
    for kind in Kind::ALL {
        let mut listener = listen(&b, kind.group(), ear(trial));
        socat_sends(&a, kind.group(), "10.0.0.1", b"from socat");
        hear_exactly(&mut listener, &["from socat"]);
    }
}

fn socat_hears_us(trial: &Trial) {
    let (a, b) = two_hosts();
    let payload: Vec<u8> = (0..=255).collect();
    for kind in Kind::ALL {
        let send = || a.send_with(SendOptions::new().interface(mouth(trial)), kind.group(), &[&payload]);
        assert!(socat_hears(&b, kind.group(), send, payload.len()) == payload, "socat heard something else");
    }
}
