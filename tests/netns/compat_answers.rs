//! The handle-based API: listeners that answer, and that receive unicast. In a private network: see `make test`.

use std::net::{SocketAddr, UdpSocket};
use std::ops::ControlFlow;
use std::time::Duration;

use crate::common;
use crate::common::link::{Pair, named};
use crate::common::{PATIENCE, unique_group, unique_v6_group};
use crate::compat_help::{GO_ON, Log, from, noting};
use multicast::compat::{Answer, ListenOptions, MulticastListener, PacketHandler, Packets, Poller, poll};
use multicast::{ErrorKind, Family, Group, Outcome, Packet, Received, SendOptions};

/// Answers each packet with its own bytes, and notes how that went.
struct Echo(Log<multicast::Result<Outcome>>);

impl PacketHandler for Echo {
    fn handle(&mut self, packet: &Packet<'_>, answer: &mut Answer<'_>) -> ControlFlow<()> {
        self.0.add(answer.send(packet.payload()));
        GO_ON
    }

    fn handle_packet(&mut self, _packet: &[u8], _source: SocketAddr) -> ControlFlow<()> {
        panic!("`handle` is written, so this is not called")
    }
}

fn groups() -> [Group; 3] {
    [unique_group(), unique_v6_group(2), unique_v6_group(5)]
}

/// Asks the group from `interface`, polls, and returns the answer with its source.
#[track_caller]
fn ask(poller: &Poller, interface: &str, group: Group, question: &[u8]) -> Option<(Vec<u8>, SocketAddr)> {
    let options = SendOptions::new().interface(named(interface)).loopback(interface == "lo");
    let (mut sender, mut replies) = options.open_with_replies::<1500>(group.family()).unwrap();
    assert_eq!(sender.send(question, group), Ok(Outcome::Sent));
    assert_eq!(poller.poll(PATIENCE), Ok(1));
    let core = multicast::Poller::new().unwrap();
    core.register(&replies, multicast::Token(0), multicast::Interest::READABLE).unwrap();
    core.poll(&mut multicast::Events::<1>::new(), Duration::from_millis(500)).unwrap();
    match replies.recv().unwrap() {
        Received::Packet(packet) => Some((packet.payload().to_vec(), packet.source())),
        Received::Empty | Received::Paused => None,
    }
}

#[test]
fn a_listener_answers_from_its_own_port_and_interface() {
    for group in groups() {
        let (pair, poller, log) = (Pair::new(), Poller::new().unwrap(), Log::new());
        let options = ListenOptions::new().group(group).interface(named(&pair.b)).poller(&poller);
        MulticastListener::new(Echo(log.clone()), options.answers(SendOptions::new())).unwrap();
        assert_eq!(poller.poll(Duration::ZERO).unwrap(), 0);
        // Both ends are on this machine, so only the outcome can be seen over a link: see the next test for the answer itself.
        let options = SendOptions::new().interface(named(&pair.a)).loopback(false);
        let mut sender = options.open(group.family()).unwrap();
        assert_eq!(sender.send(b"who is there?", group), Ok(Outcome::Sent));
        assert_eq!(poller.poll(PATIENCE).unwrap(), 1);
        assert_eq!(log.take(), [Ok(Outcome::Sent)], "{group}");
    }
}

#[test]
fn an_answer_comes_back_with_and_without_unicast() {
    for group in [unique_group(), unique_v6_group(5)] {
        for unicast in [false, true] {
            let (poller, log) = (Poller::new().unwrap(), Log::new());
            let options = from(group).poller(&poller).answers(SendOptions::new().interface(named("lo")));
            let options = if unicast { options.unicast() } else { options };
            MulticastListener::new(Echo(log.clone()), options).unwrap();
            let (answer, source) = ask(&poller, "lo", group, b"who is there?").expect("an answer");
            assert_eq!((answer, source.port()), (b"who is there?".to_vec(), group.port()), "{group}, unicast: {unicast}");
            assert_eq!(log.take(), [Ok(Outcome::Sent)]);
        }
    }
}

#[test]
fn without_answers_in_its_options_answering_is_an_error_that_names_them() {
    let (group, log) = (unique_group(), Log::new());
    let listener = MulticastListener::new(Echo(log.clone()), from(group)).unwrap();
    common::send_all(group, ["x"]);
    assert_eq!(poll(PATIENCE).unwrap(), 1);
    let error = log.take().remove(0).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.to_string().contains("ListenOptions::answers"), "{error}");
    assert!(listener.is_registered());
}

/// A handler that answers to the group, with the sender itself.
#[test]
fn the_sender_of_an_answer_sends_to_the_group_from_the_listeners_port() {
    struct ToAll(Group);
    impl PacketHandler for ToAll {
        fn handle(&mut self, packet: &Packet<'_>, answer: &mut Answer<'_>) -> ControlFlow<()> {
            if packet.payload() == b"question" {
                assert_eq!(answer.sender().unwrap().send(b"to all", self.0), Ok(Outcome::Sent));
            }
            GO_ON
        }

        fn handle_packet(&mut self, _packet: &[u8], _source: SocketAddr) -> ControlFlow<()> {
            GO_ON
        }
    }
    let group = unique_group();
    let mut listener = multicast::Listener::bind(common::on_lo(group)).unwrap();
    MulticastListener::new(ToAll(group), from(group).answers(SendOptions::new().interface(named("lo")))).unwrap();
    common::send_all(group, ["question"]);
    assert_eq!(poll(PATIENCE).unwrap(), 1);
    assert_eq!(common::expect_packet(&mut listener), b"question");
    assert_eq!(common::expect_packet(&mut listener), b"to all");
}

#[test]
fn unicast_comes_through_only_if_asked_for() {
    for unicast in [false, true] {
        let (group, log) = (unique_group(), Log::new());
        let options = if unicast { from(group).unicast() } else { from(group) };
        assert_eq!(group.family(), Family::V4);
        MulticastListener::new(noting(&log), options).unwrap();
        let stranger = UdpSocket::bind("127.0.0.1:0").unwrap();
        stranger.send_to(b"unicast", ("127.0.0.1", group.port())).unwrap();
        common::send_all(group, ["to the group"]);
        while poll(Duration::from_millis(50)).unwrap() > 0 {}
        let expected: &[&[u8]] = if unicast { &[b"unicast", b"to the group"] } else { &[b"to the group"] };
        assert_eq!(log.take(), expected);
    }
}

#[test]
fn packets_receive_unicast_too_and_a_sender_can_be_made_of_them() {
    let group = unique_group();
    let mut packets = Packets::new(from(group).unicast()).unwrap();
    let mut sender =
        packets.with(|receiver| receiver.sender(SendOptions::new().interface(named("lo")))).unwrap().unwrap().unwrap();
    let stranger = UdpSocket::bind("127.0.0.1:0").unwrap();
    stranger.set_read_timeout(Some(PATIENCE)).unwrap();
    stranger.send_to(b"question", ("127.0.0.1", group.port())).unwrap();
    poll(PATIENCE).unwrap();
    let packet = packets.next().unwrap().unwrap();
    assert_eq!(packet.payload(), b"question");
    assert_eq!(sender.reply(&packet, b"answer"), Ok(Outcome::Sent));
    let mut buffer = [0; 10];
    let (length, source) = stranger.recv_from(&mut buffer).unwrap();
    assert_eq!((&buffer[..length], source.port()), (&b"answer"[..], group.port()));
}

/// The sender of the answers follows its interface as the listener does.
#[test]
fn answers_leave_again_after_the_interface_was_created_again() {
    let (pair, group, poller, log) = (Pair::new(), unique_v6_group(2), Poller::new().unwrap(), Log::new());
    let options = ListenOptions::new().group(group).interface(named(&pair.b)).poller(&poller);
    let answers = SendOptions::new().interface(named(&pair.b));
    MulticastListener::new(Echo(log.clone()), options.answers(answers)).unwrap();
    for _ in 0..2 {
        pair.replace();
        assert_eq!(poller.poll(Duration::ZERO).unwrap(), 0);
        let options = SendOptions::new().interface(named(&pair.a)).loopback(false);
        assert_eq!(options.open(group.family()).unwrap().send(b"x", group), Ok(Outcome::Sent));
        assert_eq!(poller.poll(PATIENCE).unwrap(), 1);
        assert_eq!(log.take(), [Ok(Outcome::Sent)]);
    }
}
