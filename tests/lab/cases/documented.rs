//! The handle-based API while interfaces come and go: its listeners keep their memberships without help.

use std::ops::ControlFlow;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use multicast::compat::{ListenOptions, MulticastListener, Packets, Poller, listen_with};
use multicast::{Group, Interface};

use crate::network::{Host, cable, interface};
use crate::peers::{Kind, PATIENCE, wait_for_member};
use crate::trial::{Case, Trial, helper};

pub fn cases() -> Vec<Case> {
    let case = |name, off, run| Case { name, off, run };
    let dead = "the interface is given by its index, which a new one does not have";
    let early = "the interface is given by an index that it might get";
    vec![
        case("changes/documented-listener-ipv4", dead, |trial| recreated(trial, Kind::V4, listener)),
        case("changes/documented-listener-ipv6-link-local", dead, |trial| recreated(trial, Kind::LinkLocal, listener)),
        case("changes/documented-listener-ipv6", dead, |trial| recreated(trial, Kind::SiteLocal, listener)),
        case("changes/documented-packets-ipv4", dead, |trial| recreated(trial, Kind::V4, packets)),
        case("changes/documented-packets-ipv6-link-local", dead, |trial| recreated(trial, Kind::LinkLocal, packets)),
        case("changes/documented-function-ipv4", dead, |trial| recreated(trial, Kind::V4, function)),
        case("changes/documented-listener-before-its-interface", early, |trial| before_its_interface(trial, listener)),
        case("changes/documented-packets-before-their-interface", early, |trial| before_its_interface(trial, packets)),
        case("changes/documented-listener-before-the-network", "the route never comes", before_the_network),
    ]
}

/// A program that listens with the handle-based API until the channel is closed, and sends each packet to it.
type Program = fn(ListenOptions, &Poller, Sender<Vec<u8>>);

fn listener(options: ListenOptions, poller: &Poller, heard: Sender<Vec<u8>>) {
    let tell = move |packet: &[u8], _source| match heard.send(packet.to_vec()) {
        Ok(()) => ControlFlow::Continue(()),
        Err(_) => ControlFlow::Break(()),
    };
    MulticastListener::new(tell, options).unwrap();
    poller.run(None, Duration::ZERO).unwrap();
}

fn packets(options: ListenOptions, poller: &Poller, heard: Sender<Vec<u8>>) {
    let mut packets = Packets::new(options).unwrap();
    loop {
        poller.poll(None).unwrap();
        while let Some(packet) = packets.next().unwrap() {
            if heard.send(packet.payload().to_vec()).is_err() {
                return;
            }
        }
    }
}

fn function(options: ListenOptions, _poller: &Poller, heard: Sender<Vec<u8>>) {
    let tell = |packet: &[u8], _source| match heard.send(packet.to_vec()) {
        Ok(()) => ControlFlow::Continue(()),
        Err(_) => ControlFlow::Break(()),
    };
    listen_with(tell, options).unwrap();
}

/// Runs the program on a host, in a thread that runs until the lab ends.
fn start(host: &'static Host, program: Program, group: Group, interface: Interface) -> Receiver<Vec<u8>> {
    let (heard, ear) = channel();
    let listening = move || {
        host.within(move || {
            let poller = Poller::new().unwrap();
            program(ListenOptions::new().group(group).interface(interface).poller(&poller), &poller, heard);
        });
    };
    helper().spawn(listening).unwrap();
    ear
}

fn hear(ear: &Receiver<Vec<u8>>, expected: &str) {
    let heard = ear.recv_timeout(PATIENCE).expect("no packet came");
    assert_eq!(String::from_utf8(heard).unwrap(), expected);
}

/// Two hosts that are never dropped, since a thread stays on one of them. Their namespaces end with the lab.
fn hosts() -> (&'static Host, &'static Host) {
    (Box::leak(Box::new(Host::new("sender"))), Box::leak(Box::new(Host::new("host"))))
}

fn recreated(trial: &Trial, kind: Kind, program: Program) {
    let (sender, host) = hosts();
    cable(0, (sender, "eth0"), (host, "eth0"));
    let index = host.within(|| crate::common::link::index_of("eth0"));
    let ear = start(host, program, kind.group(), trial.pick(interface(0), Interface::Index(index)));
    for round in 0..=25 {
        if round > 0 {
            host.ip(&["link delete eth0"]);
            cable(0, (sender, "eth0"), (host, "eth0"));
        }
        wait_for_member(host, "eth0", kind.group());
        let text = format!("round {round}");
        sender.send(kind.group(), &[&text]);
        hear(&ear, &text);
    }
}

fn before_its_interface(trial: &Trial, program: Program) {
    for kind in Kind::ALL {
        let (sender, host) = hosts();
        let index = Interface::Index(2.try_into().unwrap());
        let ear = start(host, program, kind.group(), trial.pick(interface(0), index));
        assert_eq!(ear.recv_timeout(Duration::from_millis(100)).ok(), None);
        cable(0, (sender, "eth0"), (host, "eth0"));
        wait_for_member(host, "eth0", kind.group());
        sender.send(kind.group(), &["at last"]);
        hear(&ear, "at last");
    }
}

/// No interface is named, and there is no route yet, as on a device that boots.
fn before_the_network(trial: &Trial) {
    let (sender, host) = hosts();
    let ear = start(host, listener, Kind::V4.group(), Interface::Default);
    cable(0, (sender, "eth0"), (host, "eth0"));
    if trial.works() {
        host.ip(&["route add default via 10.0.0.1"]);
    }
    wait_for_member(host, "eth0", Kind::V4.group());
    sender.send(Kind::V4.group(), &["at last"]);
    hear(&ear, "at last");
}
