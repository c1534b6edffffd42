//! `mcast relay` between links: TTL, loops, both directions, another host, and a link that goes.

use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use crate::common::hosts::Host;
use crate::common::link::{self, Pair};
use crate::common::{self, PATIENCE, QUIET, next_within, unique_group, unique_v6_group};
use crate::mcast::captures::TemporaryFile;
use crate::mcast::mcast as command;
use crate::programs::Running;
use multicast::{Events, Group, Interest, ListenOptions, Listener, Membership, Poller, Received, SendOptions, Token, Ttl};

fn listener(group: Group, interface: &str) -> Listener<1500> {
    ListenOptions::new().metadata().bind(Membership::any(group).on(link::named(interface))).unwrap()
}

fn send(group: Group, interface: &str, hops: u8, payload: &str) {
    common::send_with(SendOptions::new().interface(link::named(interface)).ttl(Ttl::new(hops)), group, [payload]);
}

/// Payload and TTL of the next packet, if one comes in this time.
fn next(listener: &mut Listener<1500>, time: Duration) -> Option<(String, u8)> {
    let (poller, mut events) = (Poller::new().unwrap(), Events::<1>::new());
    poller.register(&*listener, Token(0), Interest::READABLE).unwrap();
    loop {
        match listener.recv().unwrap() {
            Received::Packet(packet) => {
                let payload = String::from_utf8(packet.payload().to_vec()).unwrap();
                return Some((payload, packet.metadata().unwrap().hop_limit.unwrap()));
            }
            Received::Paused => {}
            Received::Empty if poller.poll(&mut events, time).unwrap().count() == 0 => return None,
            Received::Empty => {}
        }
    }
}

#[track_caller]
fn expect(listener: &mut Listener<1500>, payload: &str, hops: u8) {
    assert_eq!(next(listener, PATIENCE), Some((payload.to_owned(), hops)));
}

#[track_caller]
fn assert_quiet(listener: &mut Listener<1500>) {
    assert_eq!(next(listener, QUIET), None);
}

/// A relay that has joined the groups on the interfaces.
fn relay(from: &[(Group, &str)], more: &[&str]) -> Running {
    let mut relay = command(["relay"]);
    for (group, interface) in from {
        relay.args(["--from", &format!("{group}%{interface}")]);
    }
    let running = Running::start(relay.args(more));
    for (group, interface) in from {
        wait_for_member_on(*group, interface);
    }
    running
}

fn wait_for_member_on(group: Group, interface: &str) {
    common::wait_until("the relay has joined", || {
        let family = if group.address().is_ipv4() { "inet " } else { "inet6" };
        let text = link::run(&format!("ip maddress show dev {interface}"));
        text.contains(&format!("{family} {}", group.address()))
    });
}

fn end(relay: Running, words: &str) {
    relay.signal("TERM");
    relay.end().expect(143).saying(words);
}

#[test]
fn packets_go_on_to_the_same_group_on_another_interface_with_a_lower_ttl() {
    let (left, right) = (Pair::new(), Pair::new());
    for group in [unique_group(), unique_v6_group(5), unique_v6_group(2)] {
        let mut beyond = listener(group, &right.b);
        let relay = relay(&[(group, &left.a)], &["--to-interface", &right.a, "--ttl", "32"]);
        for (came, left_with) in [(2, 1), (20, 19), (255, 32)] {
            send(group, &left.b, came, "a packet");
            expect(&mut beyond, "a packet", left_with);
        }
        send(group, &left.b, 1, "stays");
        assert_quiet(&mut beyond);
        relay.wait_until_it_says("a packet came with TTL 1, which stays");
        end(relay, "relayed 3 of 4 packets; dropped 0, stayed (TTL 1) 1");
    }
}

#[test]
fn by_default_no_other_relay_passes_a_packet_on_again() {
    let (left, right) = (Pair::new(), Pair::new());
    let group = unique_group();
    let mut beyond = listener(group, &right.b);
    let _relay = relay(&[(group, &left.a)], &["--to-interface", &right.a]);
    send(group, &left.b, 255, "far");
    expect(&mut beyond, "far", 1);
}

#[test]
fn a_ring_of_two_relays_ends_with_the_ttl() {
    let (one, other) = (Pair::new(), Pair::new());
    let group = unique_group();
    // What leaves on `a` of a link comes to its `b`, where the other relay takes it.
    let most = ["--ttl", "255"];
    let there = relay(&[(group, &one.b)], &[&["--to-interface", &other.a][..], &most].concat());
    let back = relay(&[(group, &other.b)], &[&["--to-interface", &one.a][..], &most].concat());
    // After the relays: these memberships look like theirs.
    let mut listeners = [&one.b, &other.b].map(|interface| listener(group, interface));
    send(group, &one.a, 6, "round");
    let [on_one, on_other] = &mut listeners;
    for hops in [6, 4, 2] {
        expect(on_one, "round", hops);
    }
    for hops in [5, 3, 1] {
        expect(on_other, "round", hops);
    }
    listeners.iter_mut().for_each(assert_quiet);
    end(there, "relayed 3 of 3 packets");
    end(back, "relayed 2 of 3 packets; dropped 0, stayed (TTL 1) 1");
}

#[test]
fn a_ring_of_two_relays_with_the_usual_ttl_does_not_turn_at_all() {
    let (one, other) = (Pair::new(), Pair::new());
    let group = unique_group();
    let there = relay(&[(group, &one.b)], &["--to-interface", &other.a]);
    let back = relay(&[(group, &other.b)], &["--to-interface", &one.a]);
    // After the relays: this membership looks like theirs.
    let mut on_one = listener(group, &one.b);
    send(group, &one.a, 64, "once");
    expect(&mut on_one, "once", 64);
    assert_quiet(&mut on_one);
    end(there, "relayed 1 of 1 packets");
    end(back, "relayed 0 of 1 packets");
}

#[test]
fn both_directions_in_one_relay_or_in_two_do_not_loop() {
    let (left, right) = (Pair::new(), Pair::new());
    let group = unique_group();
    let mut listeners = [&left.b, &right.b].map(|interface| listener(group, interface));
    let both = [(group, left.a.as_str()), (group, right.a.as_str())];
    let one = || vec![relay(&both, &["--to-interface", &left.a, "--to-interface", &right.a, "--ttl", "99"])];
    let two = || {
        let from_left = relay(&both[..1], &["--to-interface", &right.a, "--ttl", "99"]);
        vec![from_left, relay(&both[1..], &["--to-interface", &left.a, "--ttl", "99"])]
    };
    let relays: [&dyn Fn() -> Vec<Running>; 2] = [&one, &two];
    for relays in relays {
        let running = relays();
        let [on_left, on_right] = &mut listeners;
        send(group, &left.b, 9, "to the right");
        // The listener at the end that sends has the copy that the kernel makes for this machine.
        expect(on_left, "to the right", 9);
        expect(on_right, "to the right", 8);
        send(group, &right.b, 9, "to the left");
        expect(on_right, "to the left", 9);
        expect(on_left, "to the left", 8);
        listeners.iter_mut().for_each(assert_quiet);
        running.into_iter().for_each(|relay| end(relay, "relayed "));
    }
}

#[test]
fn the_relay_does_not_pass_on_what_it_sent_itself() {
    let (one, other) = (Pair::new(), Pair::new());
    let group = unique_group();
    let mut on_other = listener(group, &other.b);
    // It hears at `b` of the second link what it sends at `a`, as on a switch that connects two interfaces of one host.
    let from = [(group, one.b.as_str()), (group, other.b.as_str())];
    let relay = relay(&from, &["--to-interface", &other.a, "--to-interface", &one.a, "--ttl", "9"]);
    send(group, &one.a, 9, "once");
    expect(&mut on_other, "once", 8);
    assert_quiet(&mut on_other);
    // On the first link, the original and one copy of it.
    end(relay, "relayed 1 of 3 packets; dropped 0, of the relay itself 2");
}

#[test]
fn listeners_on_the_relay_get_copies_only_if_it_is_said() {
    let (left, right) = (Pair::new(), Pair::new());
    let group = unique_group();
    let mut here = listener(group, &right.a);
    let without = relay(&[(group, &left.a)], &["--to-interface", &right.a]);
    send(group, &left.b, 9, "elsewhere");
    assert_quiet(&mut here);
    end(without, "relayed 1 of 1");
    let _with = relay(&[(group, &left.a)], &["--to-interface", &right.a, "--loopback"]);
    send(group, &left.b, 9, "here");
    expect(&mut here, "here", 1);
}

#[test]
fn one_group_becomes_another_and_one_source_alone_is_passed_on() {
    let (left, right) = (Pair::new(), Pair::new());
    let (from, to, also) = (unique_group(), unique_v6_group(5), unique_group());
    let mut listeners = [to, also].map(|group| listener(group, &right.b));
    let to = [format!("{to}%{}", right.a), format!("{also}%{}", right.a)];
    let source = format!("{}@{from}%{}", left.addresses[1], left.a);
    let relay = Running::start(&mut command(["relay", "--from", &source, "--to", &to[0], "--to", &to[1]]));
    wait_for_member_on(from, &left.a);
    send(from, &left.b, 9, "wanted");
    listeners.iter_mut().for_each(|listener| expect(listener, "wanted", 1));
    link::run(&format!("ip addr add 10.99.99.99/24 dev {}", left.b));
    let stranger = SendOptions::new().interface("10.99.99.99".parse().unwrap()).ttl(Ttl::new(9));
    common::send_with(stranger, from, ["unwanted"]);
    listeners.iter_mut().for_each(assert_quiet);
    end(relay, "relayed 1 of 1 packets");
}

#[test]
fn a_link_that_goes_does_not_stop_the_relay_and_is_used_again() {
    let (left, gone, there) = (Pair::new(), Pair::new(), Pair::new());
    let group = unique_group();
    let mut beyond = listener(group, &there.b);
    let relay = relay(&[(group, &left.a)], &["--to-interface", &gone.a, "--to-interface", &there.a]);
    send(group, &left.b, 9, "one");
    expect(&mut beyond, "one", 1);
    gone.delete();
    send(group, &left.b, 9, "two");
    expect(&mut beyond, "two", 1);
    relay.wait_until_it_says("waiting for it");
    gone.create();
    let mut again = listener(group, &gone.b);
    common::wait_until_mut("it relays again", || {
        send(group, &left.b, 9, "again");
        next_within(&mut again, QUIET).is_some()
    });
    relay.wait_until_it_says("relaying again");
    end(relay, "lost in outages ");
}

/// Answers each question with the question, from an address of its own.
const ANSWERING: &str = "
import socket, struct, sys
group, port, name = sys.argv[1], int(sys.argv[2]), sys.argv[3]
v6 = ':' in group
s = socket.socket(socket.AF_INET6 if v6 else socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
index = socket.if_nametoindex(name)
s.bind((group, port, 0, index) if v6 else (group, port))
if v6:
    s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, socket.inet_pton(socket.AF_INET6, group) + struct.pack('=I', index))
else:
    s.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, socket.inet_aton(group) + struct.pack('=4si', bytes(4), index))
print('ready', flush=True)
while True:
    data, source = s.recvfrom(9000)
    s.sendto(b'answer to ' + data, source)
";

/// Asks from three sockets, one of them twice, and prints the answers to each.
const ASKING: &str = "
import socket, struct, sys
group, port, name = sys.argv[1], int(sys.argv[2]), sys.argv[3]
v6, index = ':' in group, socket.if_nametoindex(name)
sockets = []
for number in range(3):
    s = socket.socket(socket.AF_INET6 if v6 else socket.AF_INET, socket.SOCK_DGRAM)
    s.settimeout(5)
    if v6:
        s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index)
        s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 4)
    else:
        s.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, struct.pack('=4s4si', bytes(4), bytes(4), index))
        s.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 4)
    s.sendto(b'question %d' % number, (group, port, 0, index) if v6 else (group, port))
    sockets.append(s)
sockets[1].sendto(b'another', (group, port, 0, index) if v6 else (group, port))
for s in sockets + [sockets[1]]:
    print(s.recvfrom(9000)[0].decode())
";

#[test]
fn answers_come_back_to_a_host_from_another_one_behind_the_relay() {
    let (host, other) = (Host::new(), Host::new());
    let right = &other.links[0];
    let asking = TemporaryFile::with("ask.py", ASKING.as_bytes());
    for group in [unique_group(), unique_v6_group(5), unique_v6_group(2)] {
        let (address, port) = (group.address().to_string(), group.port().to_string());
        let answering = Running::start(other.command("python3").args(["-c", ANSWERING, &address, &port, &right.b]));
        assert_eq!(answering.line(), "ready");
        let relay = relay(&[(group, &host.links[0].a)], &["--to-interface", &right.a, "--pair"]);
        let answers = host.run(&format!("python3 {} {address} {port} {}", asking.text(), host.links[0].b));
        let expected = ["answer to question 0", "answer to question 1", "answer to question 2", "answer to another"];
        assert_eq!(answers.lines().collect::<Vec<_>>(), expected, "{group}");
        end(relay, "relayed 4 of 4 packets; dropped 0; askers 3, forgotten 0, answers 4, refused 0");
    }
}

/// Asks twice from one socket: the second time when it is told to.
const ASKING_TWICE: &str = "
import socket, struct, sys
group, port, name = sys.argv[1], int(sys.argv[2]), sys.argv[3]
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, struct.pack('=4s4si', bytes(4), bytes(4), socket.if_nametoindex(name)))
s.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 4)
s.sendto(b'one', (group, port))
print(s.recvfrom(9000)[0].decode(), flush=True)
input()
s.sendto(b'many', (group, port))
input()
";

/// The next question that came over the relay, and who asked.
fn question(listener: &mut Listener<1500>) -> (String, SocketAddr) {
    let (poller, mut events) = (Poller::new().unwrap(), Events::<1>::new());
    poller.register(&*listener, Token(0), Interest::READABLE).unwrap();
    assert_eq!(poller.poll(&mut events, PATIENCE).unwrap().count(), 1);
    let Received::Packet(packet) = listener.recv().unwrap() else { panic!("no question") };
    (String::from_utf8(packet.payload().to_vec()).unwrap(), packet.source())
}

/// Each answer that finds no room takes a tenth of a second, and many may wait.
#[test]
fn a_signal_ends_a_relay_whose_answers_find_no_room() {
    let (host, right) = (Host::new(), Pair::new());
    let left = &host.links[0];
    let group = unique_group();
    let (mut questions, answers) = (listener(group, &right.b), UdpSocket::bind((right.addresses[1], 50_000)).unwrap());
    let relay = relay(&[(group, &left.a)], &["--to-interface", &right.a, "--pair"]);
    let (address, port) = (group.address().to_string(), group.port().to_string());
    let mut asking = Running::start(host.command("python3").args(["-c", ASKING_TWICE, &address, &port, &left.b]));
    let (_, asker) = question(&mut questions);
    answers.send_to(b"an answer", asker).unwrap();
    assert_eq!(asking.line(), "an answer");

    // From now on the kernel refuses each packet to the host that asks.
    link::run(&format!("tc qdisc replace dev {} root pfifo limit 0", left.a));
    asking.say(b"\n");
    assert_eq!(question(&mut questions), ("many".to_owned(), asker));
    for _ in 0..100 {
        answers.send_to(b"an answer", asker).unwrap();
    }
    std::thread::sleep(QUIET);
    relay.signal("TERM");
    let ended = relay.end().expect(143).saying("askers 1, forgotten 0, answers 1, refused ");
    let refused: u32 = ended.errors.trim().rsplit(' ').next().unwrap().parse().unwrap();
    // A turn for one asker is 64 answers. It began before the signal, and must not go on after it.
    assert!((1..60).contains(&refused), "{ended:?}");
}

/// Somebody asks as if from the very port to which the answer will come: what the relay sends there comes to itself.
#[test]
fn an_answer_that_the_relay_sent_itself_is_not_passed_on_again() {
    if !link::is_alone("relay::an_answer_that_the_relay_sent_itself_is_not_passed_on_again") {
        return;
    }
    let (left, right) = (Pair::new(), Pair::new());
    let group = unique_group();
    let (mut questions, answers) = (listener(group, &right.b), UdpSocket::bind((right.addresses[1], 50_000)).unwrap());
    let relay = relay(&[(group, &left.a)], &["--to-interface", &right.a, "--pair"]);
    let setting = |name: &str, value: &str| std::fs::write(format!("/proc/sys/net/ipv4/{name}"), value).unwrap();
    // The next socket of the relay, which is that for the question, gets this port.
    setting("ip_local_port_range", "40000 40001");
    setting("ip_local_reserved_ports", "40001");
    relay.signal("STOP");
    let forged = SendOptions::new().interface(link::named(&left.a)).ttl(Ttl::new(9)).source_port(40_000);
    common::send_with(forged, group, ["a question"]);
    relay.signal("CONT");
    let (text, asker) = question(&mut questions);
    assert_eq!((text.as_str(), asker.port()), ("a question", 40_000));
    // The one for the answers gets the other.
    setting("ip_local_reserved_ports", "40000");
    answers.send_to(b"an answer", asker).unwrap();
    std::thread::sleep(QUIET);
    end(relay, "relayed 1 of 1 packets; dropped 0; askers 1, forgotten 0, answers 1, refused 0");
}
