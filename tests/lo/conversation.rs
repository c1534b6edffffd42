//! Questions and answers on one machine: senders with and without answers, listeners that answer, and what strangers send. On `lo` only.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use crate::common;
use crate::common::{LO, PATIENCE, assert_quiet, expect_packet, next_within, on_lo, send_on_lo, unique_group};
use multicast::filter::{Always, Filter};
use multicast::{
    Bind, Destination, ErrorKind, Events, Family, Group, Interest, ListenOptions, Listener, Membership, Outcome, OwnedFd,
    Poller, Received, SendOptions, Sender, Token,
};

const V4: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const V6: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);

/// A socket of the standard library on this address of `lo`.
fn stranger(address: IpAddr) -> UdpSocket {
    let socket = UdpSocket::bind((address, 0)).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

fn received(socket: &UdpSocket) -> (Vec<u8>, SocketAddr) {
    let mut buffer = [0; 100];
    let (length, source) = socket.recv_from(&mut buffer).unwrap();
    (buffer[..length].to_vec(), source)
}

fn port_of(sender: &Sender) -> u16 {
    sender.local_addr().unwrap().port()
}

/// Replies to each of this many packets with the same bytes.
fn echo<F: Filter>(listener: &mut Listener<1500, F>, sender: &mut Sender, count: usize) {
    for _ in 0..count {
        assert!(wait_readable(listener), "no question came");
        let Received::Packet(packet) = listener.recv().unwrap() else { panic!("no packet") };
        let payload = packet.payload().to_vec();
        assert_eq!(sender.reply(&packet, &payload).unwrap(), Outcome::Sent);
    }
}

fn wait_readable<F: Filter>(listener: &Listener<1500, F>) -> bool {
    let (poller, mut events) = (Poller::new().unwrap(), Events::<1>::new());
    poller.register(listener, Token(0), Interest::READABLE).unwrap();
    poller.poll(&mut events, PATIENCE).unwrap().next().is_some()
}

#[test]
fn a_sender_knows_its_port_before_the_first_packet_and_keeps_it() {
    let group = unique_group();
    let mut listener = ListenOptions::new().bind::<1500>(on_lo(group)).unwrap();
    let mut sender = send_on_lo().open(Family::V4).unwrap();
    let port = port_of(&sender);
    assert_ne!(port, 0);
    for packet in [b"one", b"two"] {
        assert_eq!(sender.send(packet, group).unwrap(), Outcome::Sent);
        assert!(wait_readable(&listener));
        let Received::Packet(heard) = listener.recv().unwrap() else { panic!() };
        assert_eq!((heard.payload(), heard.source()), (&packet[..], SocketAddr::from((V4, port))));
    }
}

#[test]
fn a_sender_sends_to_any_unicast_address_too() {
    for (family, address) in [(Family::V4, V4), (Family::V6, V6)] {
        let peer = stranger(address);
        let mut sender = SendOptions::new().open(family).unwrap();
        assert_eq!(sender.send(b"to you", peer.local_addr().unwrap()).unwrap(), Outcome::Sent);
        assert_eq!(received(&peer), (b"to you".to_vec(), SocketAddr::from((address, port_of(&sender)))));
    }
}

#[test]
fn a_sender_without_answers_takes_no_unicast_and_no_packet_wakes_it() {
    let sender = send_on_lo().open(Family::V4).unwrap();
    let (poller, mut events) = (Poller::new().unwrap(), Events::<1>::new());
    poller.register(&sender, Token(0), Interest::READABLE).unwrap();
    let peer = stranger(V4);
    for _ in 0..100 {
        peer.send_to(b"unasked", (V4, port_of(&sender))).unwrap();
    }
    assert_eq!(poller.poll(&mut events, Duration::from_millis(100)).unwrap().count(), 0);
}

#[test]
fn a_sender_on_a_shared_port_takes_nothing_from_its_neighbour() {
    let neighbour = ListenOptions::new().unicast();
    let port = common::free_port();
    let mut neighbour = neighbour.bind::<1500>(Bind::Port(port, Family::V4)).unwrap();
    // Bound last: the kernel prefers it among equals.
    let _sender = send_on_lo().source_port(port).open(Family::V4).unwrap();
    let peer = stranger(V4);
    for number in 0..12_u8 {
        peer.send_to(&[number], (V4, port)).unwrap();
    }
    for number in 0..12 {
        assert_eq!(expect_packet(&mut neighbour), [number]);
    }
}

#[test]
fn answers_come_to_the_replies_and_nothing_else_does() {
    for (family, address) in [(Family::V4, V4), (Family::V6, V6)] {
        let (sender, mut replies) = send_on_lo().open_with_replies::<1500>(family).unwrap();
        let peer = stranger(address);
        peer.send_to(b"an answer", (address, port_of(&sender))).unwrap();
        assert!(wait_readable(&replies));
        let Received::Packet(answer) = replies.recv().unwrap() else { panic!() };
        assert_eq!((answer.payload(), answer.source()), (&b"an answer"[..], peer.local_addr().unwrap()));
        assert!(answer.metadata().unwrap().is_unicast());
        assert_quiet(&mut replies);
    }
    // Another socket joins a group on the same port.
    let (sender, mut replies) = send_on_lo().open_with_replies::<1500>(Family::V4).unwrap();
    let group = Group::new(unique_group().address(), port_of(&sender)).unwrap();
    let other = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
    let IpAddr::V4(address) = group.address() else { panic!() };
    other.join_multicast_v4(&address, &Ipv4Addr::LOCALHOST).unwrap();
    common::send_all(group, ["to a group that somebody joined"]);
    assert_quiet(&mut replies);
}

#[test]
fn the_replies_join_groups_of_their_port_as_any_listener_does() {
    let port_on = |address: IpAddr, port| Group::new(address, port).unwrap();
    for (family, address, groups) in [
        (Family::V4, V4, [unique_group().address(), unique_group().address()]),
        (Family::V6, V6, [common::unique_v6_group(5).address(), common::unique_v6_group(5).address()]),
    ] {
        let (mut sender, mut replies) = send_on_lo().open_with_replies::<1500>(family).unwrap();
        let [ours, theirs] = groups.map(|group| port_on(group, port_of(&sender)));
        let answer = |replies: &mut Listener<1500>| {
            stranger(address).send_to(b"an answer", (address, ours.port())).unwrap();
            assert_eq!(expect_packet(replies), b"an answer");
        };
        answer(&mut replies);
        replies.join(&on_lo(ours)).unwrap();
        let _neighbour =
            ListenOptions::new().bind::<64>(on_lo(Group::new(theirs.address(), common::free_port()).unwrap())).unwrap();
        assert_eq!(sender.send(b"to their group", theirs).unwrap(), Outcome::Sent);
        assert_eq!(sender.send(b"to our group", ours).unwrap(), Outcome::Sent);
        assert_eq!(expect_packet(&mut replies), b"to our group");
        answer(&mut replies);
        replies.leave(&on_lo(ours)).unwrap();
        assert_eq!(sender.send(b"to a group that was left", ours).unwrap(), Outcome::Sent);
        answer(&mut replies);
        let mut replies = replies.with_filter(multicast::filter::Prefix(b"to")).unwrap();
        replies.join(&on_lo(ours)).unwrap();
        stranger(address).send_to(b"an answer", (address, ours.port())).unwrap();
        assert_eq!(sender.send(b"to our group again", ours).unwrap(), Outcome::Sent);
        assert_eq!(expect_packet(&mut replies), b"to our group again");
        assert!(common::is_joined(ours));
        drop(replies);
        assert!(!common::is_joined(ours), "the group is left, although the sender stays");
        assert_eq!(sender.send(b"still", stranger(address).local_addr().unwrap()).unwrap(), Outcome::Sent);
    }
}

#[test]
fn a_device_answers_a_search_from_its_own_port() {
    let group = unique_group();
    let mut device = ListenOptions::new().answers().bind::<1500>(on_lo(group)).unwrap();
    let mut answers = device.sender(send_on_lo()).unwrap();
    let (mut asker, mut replies) = send_on_lo().open_with_replies::<1500>(Family::V4).unwrap();
    assert_eq!(asker.send(b"who is there?", group).unwrap(), Outcome::Sent);
    echo(&mut device, &mut answers, 1);
    assert!(wait_readable(&replies));
    let Received::Packet(answer) = replies.recv().unwrap() else { panic!() };
    assert_eq!((answer.payload(), answer.source()), (&b"who is there?"[..], SocketAddr::from((V4, group.port()))));
}

#[test]
fn ten_thousand_questions_to_five_responders_get_fifty_thousand_answers() {
    const RESPONDERS: usize = 5;
    const QUESTIONS: u32 = 10_000;
    let group = unique_group();
    let open = || ListenOptions::new().answers().bind::<1500>(on_lo(group)).unwrap();
    let mut devices: Vec<_> = (0..RESPONDERS)
        .map(|_| {
            let mut device = open();
            let sender = device.sender(send_on_lo()).unwrap();
            (device, sender)
        })
        .collect();
    let (mut asker, mut replies) = send_on_lo().open_with_replies::<1500>(Family::V4).unwrap();
    let mut answers = 0;
    for question in 0..QUESTIONS {
        assert_eq!(asker.send(&question.to_be_bytes(), group).unwrap(), Outcome::Sent);
        for (device, sender) in &mut devices {
            echo(device, sender, 1);
        }
        for _ in 0..RESPONDERS {
            assert_eq!(expect_packet(&mut replies), question.to_be_bytes());
            answers += 1;
        }
    }
    assert_eq!(answers, RESPONDERS * QUESTIONS as usize);
    let counters = replies.counters();
    assert_eq!((counters.received, counters.dropped), (50_000, Some(0)));
}

#[test]
fn a_listener_that_only_replies_needs_no_interface_for_its_sender() {
    // For a link-local group the routing table has no answer.
    for group in [unique_group(), common::unique_v6_group(2)] {
        let mut device = ListenOptions::new().answers().bind::<1500>(on_lo(group)).unwrap();
        let mut sender = device.sender(SendOptions::new()).unwrap();
        let (mut asker, mut replies) = send_on_lo().open_with_replies::<1500>(group.family()).unwrap();
        assert_eq!(asker.send(b"a question", group).unwrap(), Outcome::Sent);
        echo(&mut device, &mut sender, 1);
        assert_eq!(expect_packet(&mut replies), b"a question");
    }
    let group = common::unique_v6_group(2);
    let mut device = ListenOptions::new().bind::<1500>(on_lo(group)).unwrap();
    let error = device.sender(SendOptions::new()).unwrap().send(b"to the group", group).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InterfaceNeeded);
}

#[test]
fn without_answers_a_reply_is_an_error_that_names_the_option() {
    let group = unique_group();
    let mut device = ListenOptions::new().bind::<1500>(on_lo(group)).unwrap();
    let mut sender = device.sender(send_on_lo()).unwrap();
    common::send_all(group, ["a question"]);
    assert!(wait_readable(&device));
    let Received::Packet(packet) = device.recv().unwrap() else { panic!() };
    let error = sender.reply(&packet, b"an answer").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.to_string().contains("ListenOptions::answers"), "{error}");
}

#[test]
fn unicast_comes_to_a_listener_by_port_only_if_it_asks_for_it() {
    for (family, address, group) in
        [(Family::V4, V4, [239, 7, 7, 7].into()), (Family::V6, V6, IpAddr::from([0xff05, 0, 0, 0, 0, 0, 7, 7]))]
    {
        let port = common::free_port();
        for (options, is_asked) in [(ListenOptions::new(), false), (ListenOptions::new().unicast(), true)] {
            for kernel_filter in [true, false] {
                let options = options.kernel_filter(kernel_filter);
                let mut listener = options.bind::<1500>(Bind::Port(port, family)).unwrap();
                listener.join(&Membership::any(Group::new(group, port).unwrap()).on(LO)).unwrap();
                let peer = stranger(address);
                peer.send_to(b"to you", (address, port)).unwrap();
                let heard = next_within(&mut listener, common::QUIET.max(Duration::from_millis(300)));
                assert_eq!(heard.is_some(), is_asked, "{family:?}, kernel_filter({kernel_filter})");
            }
        }
    }
}

#[test]
fn a_broadcast_is_no_unicast() {
    let port = common::free_port();
    let mut listener = ListenOptions::new().unicast().bind::<1500>(Bind::Port(port, Family::V4)).unwrap();
    let peer = stranger(V4);
    peer.set_broadcast(true).unwrap();
    peer.send_to(b"to all", ("127.255.255.255", port)).unwrap();
    assert_quiet(&mut listener);
    assert_eq!(listener.counters().foreign, 1);
}

#[test]
fn unicast_and_one_group_is_an_error_that_names_both() {
    let error = ListenOptions::new().unicast().bind::<1500>(on_lo(unique_group())).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert_eq!(error.to_string(), "bind: unicast() and one group do not go together: use Bind::Port, and join the group");
}

#[test]
fn the_filter_of_a_unicast_listener_can_be_replaced_and_it_still_refuses_what_it_did_not_join() {
    let port = common::free_port();
    let listener = ListenOptions::new().unicast().bind::<1500>(Bind::Port(port, Family::V4)).unwrap();
    let mut listener = listener.with_filter(multicast::filter::Prefix(b"yes")).unwrap();
    let peer = stranger(V4);
    for payload in ["no", "yes"] {
        peer.send_to(payload.as_bytes(), (V4, port)).unwrap();
    }
    assert_eq!(expect_packet(&mut listener), b"yes");
    let stranger_group = Group::new([239, 9, 9, 9], port).unwrap();
    let other = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
    other.join_multicast_v4(&[239, 9, 9, 9].into(), &Ipv4Addr::LOCALHOST).unwrap();
    common::send_all(stranger_group, ["yes, but to a group that it did not join"]);
    assert_quiet(&mut listener);
}

#[test]
fn a_report_of_the_network_is_no_result_of_a_send_or_a_receive() {
    let (mut sender, mut replies) = send_on_lo().open_with_replies::<1500>(Family::V4).unwrap();
    let gone = stranger(V4).local_addr().unwrap();
    let peer = stranger(V4);
    let (poller, mut events) = (Poller::new().unwrap(), Events::<1>::new());
    poller.register(&replies, Token(0), Interest::READABLE).unwrap();
    for round in 1..=10 {
        // Nobody listens there, so an ICMP message comes back.
        assert_eq!(sender.send(b"nobody", gone).unwrap(), Outcome::Sent);
        assert_eq!(sender.send(b"somebody", peer.local_addr().unwrap()).unwrap(), Outcome::Sent);
        assert_eq!(received(&peer).0, b"somebody");
        assert_eq!(sender.network_reports(), round);
    }
    // The other half meets one.
    assert_eq!(sender.send(b"nobody", gone).unwrap(), Outcome::Sent);
    let event = poller.poll(&mut events, PATIENCE).unwrap().next().unwrap();
    assert!(event.is_error() && event.is_readable());
    assert_eq!(replies.recv().unwrap(), Received::Empty);
    assert_eq!(poller.poll(&mut events, Duration::from_millis(20)).unwrap().count(), 0, "it is read");
    assert_eq!(replies.counters().foreign, 1);
}

#[test]
fn when_the_listener_is_dropped_first_it_leaves_its_groups_and_receives_no_more() {
    let group = unique_group();
    let mut by_group = ListenOptions::new().bind::<1500>(on_lo(group)).unwrap();
    let mut by_port = ListenOptions::new().bind::<1500>(Bind::Port(group.port(), Family::V4)).unwrap();
    let other = Group::new(unique_group().address(), group.port()).unwrap();
    by_port.join(&on_lo(other)).unwrap();
    let mut senders = [by_group.sender(send_on_lo()).unwrap(), by_port.sender(send_on_lo()).unwrap()];
    assert!(common::lo_is_in(group) && common::lo_is_in(other));
    let (poller, mut events) = (Poller::new().unwrap(), Events::<2>::new());
    for (token, sender) in senders.iter().enumerate() {
        poller.register(sender, Token(token as u64), Interest::READABLE).unwrap();
    }
    common::send_all(group, ["queued"]);
    drop((by_group, by_port));
    assert!(!common::lo_is_in(group) && !common::lo_is_in(other));
    common::send_all(group, ["later"]);
    stranger(V4).send_to(b"later", (V4, group.port())).unwrap();
    assert_eq!(poller.poll(&mut events, Duration::from_millis(50)).unwrap().count(), 0);
    let peer = stranger(V4);
    for sender in &mut senders {
        assert_eq!(sender.send(b"still", peer.local_addr().unwrap()).unwrap(), Outcome::Sent);
        assert_eq!(received(&peer).1.port(), group.port());
    }
}

#[test]
fn when_the_sender_is_dropped_first_the_listener_goes_on() {
    let group = unique_group();
    let mut listener = ListenOptions::new().bind::<1500>(on_lo(group)).unwrap();
    drop(listener.sender(send_on_lo()).unwrap());
    common::send_all(group, ["still"]);
    assert_eq!(expect_packet(&mut listener), b"still");
    let (sender, mut replies) = send_on_lo().open_with_replies::<1500>(Family::V4).unwrap();
    let port = port_of(&sender);
    drop(sender);
    stranger(V4).send_to(b"late", (V4, port)).unwrap();
    assert_eq!(expect_packet(&mut replies), b"late");
}

#[test]
fn a_listener_that_becomes_a_descriptor_leaves_its_sender_and_groups_alone() {
    let group = unique_group();
    let mut listener = ListenOptions::new().bind::<1500>(on_lo(group)).unwrap();
    let mut sender = listener.sender(send_on_lo()).unwrap();
    let mut listener = Listener::<1500>::try_from(OwnedFd::from(listener)).unwrap();
    assert_eq!(sender.send(b"to ourselves", group).unwrap(), Outcome::Sent);
    assert_eq!(expect_packet(&mut listener), b"to ourselves");
    let mut listener = listener.with_filter(Always).unwrap();
    assert_eq!(sender.send(b"and again", group).unwrap(), Outcome::Sent);
    assert_eq!(expect_packet(&mut listener), b"and again");
}

#[test]
fn what_cannot_be_sent_is_an_error_that_says_why() {
    let mut sender = SendOptions::new().open(Family::V4).unwrap();
    let mut sent_to = |to: &str| sender.send(b"x", to.parse::<SocketAddr>().unwrap()).unwrap_err();
    assert_eq!(sent_to("[::1]:5").kind(), ErrorKind::FamilyMismatch);
    assert_eq!(sent_to("127.0.0.1:0").kind(), ErrorKind::PortZero);
    let mut sender = SendOptions::new().open(Family::V6).unwrap();
    let error = sender.send(b"x", "[ff02::1]:5".parse::<SocketAddr>().unwrap()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InterfaceNeeded);
    let nowhere = SendOptions::new().interface("nosuch0".parse().unwrap()).open(Family::V4).unwrap_err();
    assert_eq!(nowhere.to_string(), "send on nosuch0: no such interface");
    assert_eq!(SendOptions::new().unicast_ttl(0).open(Family::V4).unwrap_err().kind(), ErrorKind::Zero);
}

#[test]
fn a_destination_names_the_way_for_one_packet() {
    let group = unique_group();
    let mut listener = ListenOptions::new().bind::<1500>(on_lo(group)).unwrap();
    // Without an interface, and without a route in a private namespace.
    let mut sender = SendOptions::new().open(Family::V4).unwrap();
    let to = Destination::from(group).on(LO).unwrap();
    assert_eq!(sender.send(b"on lo", to).unwrap(), Outcome::Sent);
    assert_eq!(expect_packet(&mut listener), b"on lo");
    let from = to.from_address([127, 0, 0, 9].into());
    assert_eq!(sender.send(b"from another", from).unwrap(), Outcome::Sent);
    assert!(wait_readable(&listener));
    let Received::Packet(packet) = listener.recv().unwrap() else { panic!() };
    assert_eq!(packet.source().ip(), IpAddr::from([127, 0, 0, 9]));
    assert_eq!(sender.send(b"x", to.from_address([10, 1, 1, 1].into())).unwrap_err().kind(), ErrorKind::Unreachable);
}
