//! Questions that strangers forge, and links and addresses that make it hard to answer. In a private network: see `make test`.

use std::net::{IpAddr, Ipv6Addr, SocketAddr, UdpSocket};

use crate::common::forger::WIRE_FORGER;
use crate::common::link::{Pair, index_of, is_alone, named, run};
use crate::common::{
    OnePacket, PATIENCE, Python, on_lo, require_private_network, send_on_lo, unique_group, unique_v6_group,
};
use multicast::{
    ErrorKind, Events, Family, Group, Interest, ListenOptions, Listener, Membership, Outcome, Packet, Poller, SendOptions,
    Sender, Token,
};

/// Prints the source of each IPv6 packet on the wire that goes to UDP port 99.
const WATCHER: &str = r#"
import socket, struct, sys
s = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(0x86dd))
s.bind((sys.argv[1], 0x86dd))
print("ready")
while True:
    packet = s.recv(2000)
    if packet[6] == 17 and packet[42:44] == struct.pack("!H", 99): print(socket.inet_ntop(socket.AF_INET6, packet[8:24]))
"#;

struct Forger(Python);

impl Forger {
    fn on(interface: &str) -> Self {
        let mut python = Python::start(WIRE_FORGER, &[interface]);
        assert_eq!(python.line(), "ready");
        Self(python)
    }

    fn ask(&mut self, from: SocketAddr, group: Group) {
        self.0.say(&format!("{} {} {} {} question", from.ip(), from.port(), group.address(), group.port()));
        assert_eq!(self.0.line(), "sent");
    }
}

/// The next packet.
fn next<const MTU: usize>(listener: &mut Listener<MTU>) -> Packet<'_> {
    let (poller, mut events) = (Poller::new().unwrap(), Events::<1>::new());
    poller.register(&*listener, Token(0), Interest::READABLE).unwrap();
    assert!(poller.poll(&mut events, PATIENCE).unwrap().next().is_some(), "no packet");
    listener.recv().unwrap().packet().expect("a packet")
}

/// A listener for the group on these interfaces, and a sender that answers from its port.
fn device(group: Group, interfaces: &[&str]) -> (Listener<1500>, Sender) {
    let mut listener = ListenOptions::new().answers().bind::<1500>(Membership::any(group).on(named(interfaces[0]))).unwrap();
    for interface in &interfaces[1..] {
        listener.join(&Membership::any(group).on(named(interface))).unwrap();
    }
    let sender = listener.sender(SendOptions::new()).unwrap();
    (listener, sender)
}

fn packets_sent(interface: &str) -> u64 {
    let list = std::fs::read_to_string("/proc/thread-self/net/dev").unwrap();
    let line = list.lines().find_map(|line| line.trim().strip_prefix(interface)?.strip_prefix(':')).unwrap();
    line.split_whitespace().nth(9).unwrap().parse().unwrap()
}

/// The kernel takes 0.0.0.0 and `::` as the destination for this machine itself: a stranger could make a device talk to any port of it.
#[test]
fn a_packet_from_nobody_gets_no_answer_and_no_port_of_this_machine_does() {
    let pair = Pair::new();
    let mut forger = Forger::on(&pair.b);
    // From 0.0.0.0, only groups of the local network are received.
    let of_the_link = Group::new([224, 0, 0, 77], unique_group().port()).unwrap();
    for (group, nobody, lo) in [(of_the_link, "0.0.0.0", "127.0.0.1"), (unique_v6_group(5), "::", "::1")] {
        let (mut listener, mut sender) = device(group, &[&pair.a]);
        let victim = UdpSocket::bind((lo, 0)).unwrap();
        forger.ask(SocketAddr::new(nobody.parse().unwrap(), victim.local_addr().unwrap().port()), group);
        let packet = next(&mut listener);
        let error = sender.reply(&packet, b"answer").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unreachable, "{error}");
        victim.set_nonblocking(true).unwrap();
        assert_eq!(victim.recv(&mut [0; 10]).unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    }
}

#[test]
fn a_packet_from_port_0_or_a_broadcast_address_gets_no_answer_and_the_next_one_does() {
    let pair = Pair::new();
    let mut forger = Forger::on(&pair.b);
    let [own, peer] = pair.addresses;
    let broadcast = IpAddr::from([own.octets()[0], own.octets()[1], own.octets()[2], 255]);
    let (v4, v6) = (unique_group(), unique_v6_group(5));
    let ours: IpAddr = pair.v6_addresses()[1].into();
    for (group, from, peer, kind) in [
        (v4, SocketAddr::new(peer.into(), 0), SocketAddr::new(peer.into(), 99), ErrorKind::PortZero),
        (v4, SocketAddr::new(broadcast, 99), SocketAddr::new(peer.into(), 99), ErrorKind::Denied),
        (v6, SocketAddr::new(ours, 0), SocketAddr::new(ours, 99), ErrorKind::PortZero),
    ] {
        let (mut listener, mut sender) = device(group, &[&pair.a]);
        forger.ask(from, group);
        assert_eq!(sender.reply(&next(&mut listener), b"answer").unwrap_err().kind(), kind);
        forger.ask(peer, group);
        assert_eq!(sender.reply(&next(&mut listener), b"answer").unwrap(), Outcome::Sent);
    }
}

/// While an address is tentative (and for ever if it is a duplicate), no packet may have it as its source (RFC 4862).
#[test]
fn an_address_that_is_not_usable_yet_is_not_the_source_of_an_answer() {
    let pair = Pair::new();
    let [own, peer] = pair.v6_addresses();
    // The interface would find out about it in an hour or so.
    std::fs::write(format!("/proc/sys/net/ipv6/conf/{}/dad_transmits", pair.a), "4000").unwrap();
    let tentative = Ipv6Addr::from_bits(own.to_bits() | 0x9900);
    run(&format!("ip -6 addr add {tentative}/64 dev {}", pair.a));
    let peer = Ipv6Addr::from_bits(peer.to_bits() | 0x7700);
    run(&format!("ip neigh replace {peer} lladdr 02:00:00:00:00:01 dev {} nud permanent", pair.a));
    let group = unique_v6_group(5);
    let (mut listener, mut sender) = device(group, &[&pair.a]);
    let mut watcher = Python::start(WATCHER, &[&pair.b]);
    assert_eq!(watcher.line(), "ready");
    Forger::on(&pair.b).ask(SocketAddr::new(peer.into(), 99), group);
    assert_eq!(sender.reply(&next(&mut listener), b"answer").unwrap(), Outcome::Sent);
    assert_eq!(watcher.line(), own.to_string());
}

#[test]
fn of_two_interfaces_with_one_network_and_even_one_address_the_answer_leaves_where_the_question_came_in() {
    require_private_network();
    let (one, two) = (Pair::bare(), Pair::bare());
    let group = unique_group();
    for second in ["10.50.0.2", "10.50.0.1"] {
        for (pair, own) in [(&one, "10.50.0.1"), (&two, second)] {
            run(&format!("ip addr flush dev {}", pair.a));
            run(&format!("ip addr add {own}/24 dev {}", pair.a));
            run(&format!("ip neigh replace 10.50.0.77 lladdr 02:00:00:00:00:01 dev {} nud permanent", pair.a));
        }
        let (mut listener, mut sender) = device(group, &[&one.a, &two.a]);
        for (asked, other) in [(&one, &two), (&two, &one)] {
            Forger::on(&asked.b).ask("10.50.0.77:99".parse().unwrap(), group);
            let packet = next(&mut listener);
            assert_eq!(packet.metadata().unwrap().interface, Some(index_of(&asked.a)));
            let before = [packets_sent(&asked.a), packets_sent(&other.a)];
            assert_eq!(sender.reply(&packet, b"answer").unwrap(), Outcome::Sent);
            assert_eq!([packets_sent(&asked.a), packets_sent(&other.a)], [before[0] + 1, before[1]], "{second}");
        }
    }
}

/// Its interface is all that is needed, and the packet has that.
#[test]
fn a_link_local_neighbour_is_answered_although_no_descriptor_is_left() {
    if !is_alone("a_link_local_neighbour_is_answered_although_no_descriptor_is_left") {
        return;
    }
    let pair = Pair::new();
    run(&format!("ip -6 addr add fe80::1/64 dev {} nodad", pair.a));
    let group = unique_v6_group(2);
    let (mut listener, mut sender) = device(group, &[&pair.a]);
    let mut forger = Forger::on(&pair.b);
    forger.ask("[fe80::77]:99".parse().unwrap(), group);
    let packet = next(&mut listener);
    let mut taken = Vec::new();
    while let Ok(file) = std::fs::File::open("/dev/null") {
        taken.push(file);
    }
    let outcome = sender.reply(&packet, b"answer");
    drop(taken);
    assert_eq!(outcome.unwrap(), Outcome::Sent);
}

#[test]
fn a_question_whose_link_is_gone_is_answered_as_soon_as_a_link_leads_to_the_asker_again() {
    if !is_alone("a_question_whose_link_is_gone_is_answered_as_soon_as_a_link_leads_to_the_asker_again") {
        return;
    }
    let pair = Pair::new();
    let askers: [IpAddr; 2] = [pair.addresses[1].into(), pair.v6_addresses()[1].into()];
    for (group, asker) in [unique_group(), unique_v6_group(5)].into_iter().zip(askers) {
        let (mut listener, mut sender) = device(group, &[&pair.a]);
        Forger::on(&pair.b).ask(SocketAddr::new(asker, 99), group);
        let question = next(&mut listener);
        pair.delete();
        assert_eq!(sender.reply(&question, b"answer").unwrap_err().kind(), ErrorKind::Unreachable, "{group}");
        pair.create();
        assert_eq!(sender.reply(&question, b"answer").unwrap(), Outcome::Sent, "{group}");
    }
}

#[test]
fn ten_senders_of_one_listener_answer_and_go_on_when_it_is_dropped() {
    require_private_network();
    for (group, family) in [(unique_group(), Family::V4), (unique_v6_group(5), Family::V6)] {
        let mut listener = ListenOptions::new().answers().bind::<1500>(on_lo(group)).unwrap();
        let mut senders: Vec<_> = (0..10).map(|_| listener.sender(send_on_lo()).unwrap()).collect();
        let (mut asker, mut replies) = send_on_lo().open_with_replies::<64>(family).unwrap();
        assert_eq!(asker.send(b"question", group).unwrap(), Outcome::Sent);
        let question = next(&mut listener);
        for (number, sender) in (0..).zip(&mut senders) {
            assert_eq!(sender.reply(&question, &[number]).unwrap(), Outcome::Sent);
            let answer = next(&mut replies);
            assert_eq!((answer.payload(), answer.source().port()), (&[number][..], group.port()));
        }
        let to = question.source();
        drop(listener);
        // In any order.
        for number in [5, 0, 7, 0, 1, 3, 0, 2, 0, 0] {
            assert_eq!(senders.remove(number).send(b"still there", to).unwrap(), Outcome::Sent);
            assert_eq!(next(&mut replies).source().port(), group.port());
        }
    }
}
