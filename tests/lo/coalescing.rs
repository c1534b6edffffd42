//! Packets that the kernel coalesced, on `lo`: a coalescing listener with a Python sender that uses `UDP_SEGMENT`.

use core::time::Duration;
use std::sync::Mutex;

use crate::common;
use crate::common::segments::{self, How, Sender, assert_same, numbered};
use crate::common::{OnePacket, on_lo, send_all, send_on_lo, unique_group, unique_v6_group};
use multicast::filter::{Filter, by};
use multicast::{
    Bind, COALESCING_BUFFER, CoalescingListener, Events, Family, Group, Interest, ListenOptions, Poller, Progress, Received,
    Token,
};

/// All packets that are queued. None of them may be cut.
fn drain<F: Filter>(listener: &mut CoalescingListener<'_, F>) -> Vec<Vec<u8>> {
    let mut packets = Vec::new();
    loop {
        match listener.recv().unwrap() {
            Received::Packet(packet) => {
                assert!(!packet.is_truncated());
                packets.push(packet.payload().to_vec());
            }
            Received::Paused => {}
            Received::Empty => return packets,
        }
    }
}

fn buffer() -> Box<[u8; COALESCING_BUFFER]> {
    Box::new([0; COALESCING_BUFFER])
}

#[test]
fn packets_are_returned_as_they_were_sent_even_a_shorter_last_one() {
    let group = unique_group();
    let mut buffer = buffer();
    let mut listener = ListenOptions::new().bind_coalescing(on_lo(group), COALESCING_BUFFER, &mut buffer).unwrap();
    let mut witness = segments::Receiver::join(group, "lo");
    let mut sender = Sender::on_lo(group);
    // Every kernel supports batches of up to 64 packets.
    for (count, size, last) in [(5, 100, 37), (2, 1, 0), (64, 64, 0), (64, 1000, 0), (1, 32_000, 31_999), (3, 1472, 1)] {
        let packets = numbered(count, size, last);
        for how in [How::Option, How::Message] {
            let port = sender.send_segments(how, size, &packets.concat());
            assert!(witness.next() == (size, packets.concat()), "the kernel did not coalesce them");
            let Received::Packet(first) = listener.recv().unwrap() else { panic!("no packet") };
            assert_eq!((first.source().port(), first.is_truncated(), first.metadata()), (port, false, None));
            assert_eq!(first.payload(), packets[0]);
            assert_same(&drain(&mut listener), &packets[1..]);
        }
    }
}

#[test]
fn the_longest_coalesced_datagram_is_received_whole() {
    let group = unique_group();
    let mut buffer = buffer();
    let mut listener = ListenOptions::new().bind_coalescing(on_lo(group), COALESCING_BUFFER, &mut buffer).unwrap();
    let mut sender = Sender::on_lo(group);
    // 65,507 bytes in each case. With its headers that is more than `lo` accepts in one piece, so the kernel splits it.
    for (count, size, last) in [(63, 1024, 995), (1, 32_754, 32_753), (0, 0, 65_507)] {
        let packets = numbered(count, size, last);
        sender.send_segments(How::Option, size, &packets.concat());
        assert_same(&drain(&mut listener), &packets);
    }
}

#[test]
fn single_and_coalesced_packets_keep_their_order() {
    let group = unique_group();
    let mut buffer = buffer();
    let mut listener = ListenOptions::new().bind_coalescing(on_lo(group), COALESCING_BUFFER, &mut buffer).unwrap();
    let mut sender = Sender::on_lo(group);
    let mut expected = Vec::new();
    for round in 0..3 {
        let packets = numbered(4 + round, 50 * (round + 1), 7);
        sender.send(b"");
        sender.send_segments(How::Message, packets[0].len(), &packets.concat());
        sender.send(b"single");
        expected.push(Vec::new());
        expected.extend(packets);
        expected.push(b"single".to_vec());
    }
    assert_same(&drain(&mut listener), &expected);
}

#[test]
fn packets_of_two_senders_do_not_mix() {
    let group = unique_group();
    let mut buffer = buffer();
    let mut listener = ListenOptions::new().bind_coalescing(on_lo(group), COALESCING_BUFFER, &mut buffer).unwrap();
    let mut senders = [Sender::on_lo(group), Sender::on_lo(group)];
    let packets = numbered(6, 20, 5);
    let ports = [0, 1, 0].map(|which: usize| senders[which].send_segments(How::Option, 20, &packets.concat()));
    let mut seen = Vec::new();
    while let Received::Packet(packet) = listener.recv().unwrap() {
        seen.push((packet.source().port(), packet.payload().to_vec()));
    }
    let expected = ports.iter().flat_map(|port| packets.iter().map(move |packet| (*port, packet.clone())));
    assert!(seen.into_iter().eq(expected));
}

#[test]
fn filter_mtu_and_counters_apply_to_each_packet() {
    let group = unique_group();
    let mut buffer = buffer();
    let even = |payload: &[u8], _| payload.first().is_some_and(|number| number % 2 == 0);
    let mut listener = ListenOptions::new().filter(by(even)).bind_coalescing(on_lo(group), 60, &mut buffer).unwrap();
    // Packets 0 to 9 have 100 bytes and are cut at 60. Packet 10 has 60 bytes and is not cut.
    let packets = numbered(10, 100, 60);
    Sender::on_lo(group).send_segments(How::Option, 100, &packets.concat());
    let mut seen = Vec::new();
    while let Received::Packet(packet) = listener.recv().unwrap() {
        seen.push((packet.payload().to_vec(), packet.wire_length(), packet.is_truncated()));
    }
    let expected = packets.iter().step_by(2).map(|packet| (packet[..60].to_vec(), packet.len(), packet.len() > 60));
    assert!(seen.into_iter().eq(expected));
    let counters = listener.counters();
    assert_eq!((counters.received, counters.rejected, counters.truncated, counters.foreign), (6, 5, 10, 0));
    assert_eq!(counters.dropped, Some(0));
}

#[test]
fn the_filter_gets_each_payload_cut_at_the_mtu_and_its_sender() {
    let group = unique_group();
    let (mut buffer, mut seen) = (buffer(), Vec::new());
    let note = by(|payload: &[u8], source: core::net::SocketAddr| {
        seen.push((payload.len(), source.port()));
        false
    });
    let mut listener = ListenOptions::new().filter(note).bind_coalescing(on_lo(group), 8, &mut buffer).unwrap();
    let port = Sender::on_lo(group).send_segments(How::Option, 10, &numbered(2, 10, 3).concat());
    assert_eq!(listener.recv().unwrap(), Received::Empty);
    assert_eq!(listener.counters().rejected, 3);
    drop(listener);
    assert_eq!(seen, [(8, port), (8, port), (3, port)]);
}

/// Whether a poller reports the listener as readable now.
fn is_readable<F>(listener: &CoalescingListener<'_, F>) -> bool {
    let (poller, mut events) = (Poller::new().unwrap(), Events::<1>::new());
    poller.register(listener, Token(0), Interest::READABLE).unwrap();
    poller.poll(&mut events, Duration::ZERO).unwrap().count() > 0
}

#[test]
fn recv_pauses_between_coalesced_datagrams_and_never_inside_one() {
    let group = unique_group();
    let mut buffer = buffer();
    let wanted = |payload: &[u8], _| payload == b"wanted";
    let mut listener =
        ListenOptions::new().filter(by(wanted)).bind_coalescing(on_lo(group), COALESCING_BUFFER, &mut buffer).unwrap();
    let mut sender = Sender::on_lo(group);

    // 1 + 64 packets are rejected. The budget of 64 is used up at the last but one. The call still handles the last one, since a
    // poller does not see packets in our own buffer.
    sender.send(b"single");
    sender.send_segments(How::Option, 6, &b"filler".repeat(64));
    sender.send(b"wanted");
    assert_eq!(listener.recv().unwrap(), Received::Paused);
    assert_eq!(listener.counters().rejected, 65);
    assert!(is_readable(&listener), "a level-triggered poller must report it again");
    assert_same(&drain(&mut listener), &[b"wanted".to_vec()]);

    // The wanted packet is the 65th, inside the datagram: the same call returns it.
    sender.send(b"single");
    sender.send_segments(How::Option, 6, &[b"filler".repeat(63), b"wanted".to_vec()].concat());
    let received = listener.recv().unwrap();
    assert_eq!(received.packet().map(|packet| packet.payload()), Some(&b"wanted"[..]));
    assert_eq!(listener.recv().unwrap(), Received::Empty);
    assert_eq!((listener.counters().received, listener.counters().rejected), (2, 65 + 64));
}

#[test]
fn a_listener_by_port_counts_each_packet_of_a_foreign_coalesced_datagram() {
    let [ours, second] = [unique_group(), unique_group()];
    let port = ours.port();
    let [second, theirs] = [second, unique_group()].map(|group| Group::new(group.address(), port).unwrap());
    let mut buffer = buffer();
    let options = ListenOptions::new().kernel_filter(false);
    let mut listener = options.bind_coalescing(Bind::Port(port, Family::V4), COALESCING_BUFFER, &mut buffer).unwrap();
    for group in [ours, second] {
        listener.join(&on_lo(group)).unwrap();
    }
    let mut witness = segments::Receiver::join(theirs, "lo");
    let packets = numbered(4, 80, 11);
    for group in [ours, theirs, second] {
        Sender::on_lo(group).send_segments(How::Option, 80, &packets.concat());
    }
    assert_eq!(witness.next(), (80, packets.concat()));
    // Unicast to the port can be coalesced, too. It goes to one socket only: to ours, after the witness is dropped.
    drop(witness);
    Sender::to("127.0.0.1", port, "lo", "127.0.0.1").send_segments(How::Option, 80, &packets.concat());
    assert_same(&drain(&mut listener), &[packets.clone(), packets].concat());
    let counters = listener.counters();
    assert_eq!((counters.received, counters.rejected, counters.foreign), (10, 0, 5));

    listener.leave(&on_lo(second)).unwrap();
    send_all(second, ["left"]);
    send_all(ours, ["still"]);
    assert_same(&drain(&mut listener), &[b"still".to_vec()]);
}

#[test]
fn metadata_comes_with_each_packet_of_a_coalesced_datagram() {
    let group = unique_group();
    let mut buffer = buffer();
    let mut listener =
        ListenOptions::new().metadata().bind_coalescing(on_lo(group), COALESCING_BUFFER, &mut buffer).unwrap();
    let mut sender = Sender::on_lo(group);
    sender.mark(7, 0xb9);
    sender.send_segments(How::Message, 30, &numbered(3, 30, 2).concat());
    let mut packets = 0;
    while let Received::Packet(packet) = listener.recv().unwrap() {
        let metadata = packet.metadata().expect("metadata was asked for");
        assert_eq!(metadata.destination, Some(group.address()));
        assert_eq!((metadata.hop_limit, metadata.traffic_class), (Some(7), Some(0xb9)));
        assert!(metadata.received_at().is_some());
        packets += 1;
    }
    assert_eq!(packets, 4);
}

#[test]
fn the_buffer_may_be_local_static_boxed_or_leaked() {
    static KEPT: Mutex<[u8; COALESCING_BUFFER]> = Mutex::new([0; COALESCING_BUFFER]);
    let mut local = [0; COALESCING_BUFFER];
    let mut kept = KEPT.lock().unwrap();
    let mut boxed = buffer();
    let leaked: &'static mut _ = Box::leak(buffer());
    for buffer in [&mut local, &mut *kept, &mut boxed, leaked] {
        let group = unique_group();
        let mut listener = ListenOptions::new().bind_coalescing(on_lo(group), COALESCING_BUFFER, buffer).unwrap();
        let packets = numbered(2, 500, 3);
        Sender::on_lo(group).send_segments(How::Option, 500, &packets.concat());
        assert_same(&drain(&mut listener), &packets);
    }
}

#[test]
fn our_own_batches_arrive_coalesced() {
    let group = unique_group();
    let mut buffer = buffer();
    let mut listener = ListenOptions::new().bind_coalescing(on_lo(group), COALESCING_BUFFER, &mut buffer).unwrap();
    let packets = numbered(64, 1000, 0);
    let mut caster = send_on_lo().batches::<64, _>(group, &packets).unwrap();
    assert_eq!(caster.step().unwrap(), Progress::Sent(64));
    let Received::Packet(first) = listener.recv().unwrap() else { panic!("no packet") };
    assert_eq!(first.payload(), packets[0]);
    assert!(!is_readable(&listener), "one call received them all");
    assert_same(&drain(&mut listener), &packets[1..]);
}

#[test]
fn after_leaving_no_packet_of_the_group_comes_out_of_the_buffer() {
    for group in [unique_group(), unique_v6_group(2), unique_v6_group(5)] {
        for is_by_port in [true, false] {
            let mut buffer = buffer();
            let place = if is_by_port { Bind::Port(group.port(), group.family()) } else { Bind::Later(group) };
            let mut listener = ListenOptions::new().bind_coalescing(place, COALESCING_BUFFER, &mut buffer).unwrap();
            listener.join(&on_lo(group)).unwrap();
            let packets = numbered(10, 100, 0);
            let mut caster = send_on_lo().batches::<10, _>(group, &packets).unwrap();
            assert_eq!(caster.step().unwrap(), Progress::Sent(10));
            assert_eq!(listener.recv().unwrap().packet().unwrap().payload(), packets[0]);
            listener.leave(&on_lo(group)).unwrap();
            assert_eq!(listener.recv().unwrap().packet().map(|packet| packet.payload().to_vec()), None, "{group}");
            assert_eq!((listener.counters().received, listener.counters().foreign), (1, 9), "{group}");
            // What comes after joining again is returned.
            listener.join(&on_lo(group)).unwrap();
            send_all(group, ["joined again"]);
            assert_eq!(listener.recv().unwrap().packet().unwrap().payload(), b"joined again");
        }
    }
}

#[test]
fn leaving_one_group_keeps_the_packets_of_another_in_the_buffer() {
    let (group, left) = (unique_group(), unique_group());
    let left = Group::new(left.address(), group.port()).unwrap();
    let mut buffer = buffer();
    let by_port = Bind::Port(group.port(), Family::V4);
    let mut listener = ListenOptions::new().bind_coalescing(by_port, COALESCING_BUFFER, &mut buffer).unwrap();
    listener.join(&on_lo(group)).unwrap();
    listener.join(&on_lo(left)).unwrap();
    let packets = numbered(10, 100, 0);
    Sender::on_lo(group).send_segments(How::Option, 100, &packets.concat());
    assert_eq!(listener.recv().unwrap().packet().unwrap().payload(), packets[0]);
    listener.leave(&on_lo(left)).unwrap();
    assert_same(&drain(&mut listener), &packets[1..]);
}

#[test]
fn an_adopted_socket_returns_single_packets() {
    // The previous owner of the socket turned coalescing on.
    let group = unique_group();
    let mut buffer = buffer();
    let coalescing = ListenOptions::new().bind_coalescing(on_lo(group), COALESCING_BUFFER, &mut buffer).unwrap();
    let mut plain = multicast::Listener::<100>::try_from(multicast::OwnedFd::from(coalescing)).unwrap();
    let packets = numbered(3, 10, 4);
    Sender::on_lo(group).send_segments(How::Option, 10, &packets.concat());
    for packet in packets {
        assert_eq!(common::expect_packet(&mut plain), packet);
    }
}

#[test]
fn a_dropped_coalesced_datagram_counts_as_one() {
    let group = unique_group();
    let mut buffer = buffer();
    let options = ListenOptions::new().receive_buffer(4096);
    let mut listener = options.bind_coalescing(on_lo(group), COALESCING_BUFFER, &mut buffer).unwrap();
    let mut sender = Sender::on_lo(group);
    let packets = numbered(10, 100, 0);
    for _ in 0..20 {
        sender.send_segments(How::Option, 100, &packets.concat());
    }
    let received = drain(&mut listener).len();
    let counters = listener.counters();
    assert_eq!(counters.received, received as u64);
    assert_eq!(received % 10, 0, "a coalesced datagram arrives whole or not at all");
    // Ten packets are one datagram here, and so one drop.
    assert_eq!(counters.dropped, Some(20 - counters.received / 10));
}
