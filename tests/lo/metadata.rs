//! Metadata on `lo`: it equals what a Python sender set, and is absent unless it was asked for.

use core::time::Duration;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::common;
use crate::common::segments::Sender;
use crate::common::{on_lo, send_all, send_on_lo, unique_group};
use multicast::{Bind, Family, Group, ListenOptions, Listener, Metadata, Progress, Received, Ttl};

fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap()
}

/// The metadata of the next packet, which must be queued.
fn next(listener: &mut Listener<64>) -> Metadata {
    let Received::Packet(packet) = listener.recv().unwrap() else { panic!("no packet") };
    *packet.metadata().expect("metadata was asked for")
}

/// A listener that is bound to the group, and one that is bound to its port.
fn both_kinds(group: Group) -> [Listener<64>; 2] {
    let options = ListenOptions::new().metadata();
    let mut opened = options.bind(Bind::Port(group.port(), Family::V4)).unwrap();
    opened.join(&on_lo(group)).unwrap();
    [options.bind(on_lo(group)).unwrap(), opened]
}

#[test]
fn metadata_is_what_a_python_sender_set() {
    let group = unique_group();
    let mut listeners = both_kinds(group);
    let mut sender = Sender::on_lo(group);
    for (hops, class) in [(1, 0), (255, 0xfc), (33, 0xb9), (0, 0x03), (128, 0x01)] {
        sender.mark(hops, class);
        let before = now();
        sender.send(b"x");
        let after = now();
        for listener in &mut listeners {
            let metadata = next(listener);
            assert_eq!(metadata.destination, Some(group.address()));
            assert_eq!(metadata.interface, Some(common::link::index_of("lo")));
            assert_eq!((metadata.hop_limit, metadata.traffic_class), (Some(hops), Some(class)));
            assert_eq!(metadata.ecn(), Some(class & 3));
            let time = metadata.received_at().unwrap();
            assert!(before <= time && time <= after, "{before:?} {time:?} {after:?}");
        }
    }
}

#[test]
fn metadata_is_what_we_sent() {
    let group = unique_group();
    let mut listeners = both_kinds(group);
    let options = send_on_lo().ttl(Ttl::SITE).traffic_class(0x2e << 2 | 2);
    // The same for single packets and for a batch.
    let mut caster = options.batches::<64, _>(group, ["one", "two", "3"]).unwrap();
    assert_eq!(caster.step().unwrap(), Progress::Sent(3));
    let mut caster = options.packets(group, ["four"]).unwrap();
    assert_eq!(caster.step().unwrap(), Progress::Sent(1));
    for listener in &mut listeners {
        for _ in 0..4 {
            let metadata = next(listener);
            assert_eq!((metadata.hop_limit, metadata.traffic_class), (Some(32), Some(0xba)));
            assert_eq!(metadata.ecn(), Some(2));
        }
    }
}

#[test]
fn times_of_receipt_never_go_back_and_have_nanoseconds() {
    let group = unique_group();
    let [mut listener, _] = both_kinds(group);
    let mut times = Vec::new();
    for _ in 0..50 {
        send_all(group, ["x"]);
        times.push(next(&mut listener).received_at().unwrap());
    }
    assert!(times.is_sorted(), "{times:?}");
    // With a resolution of microseconds all would be multiples of 1,000.
    assert!(times.iter().any(|time| time.subsec_nanos() % 1000 != 0), "{times:?}");
}

#[test]
fn each_packet_has_its_own_destination() {
    let first = unique_group();
    let second = Group::new(unique_group().address(), first.port()).unwrap();
    let [_, mut listener] = both_kinds(first);
    listener.join(&on_lo(second)).unwrap();
    for group in [first, second, second, first] {
        send_all(group, ["x"]);
    }
    for group in [first, second, second, first] {
        assert_eq!(next(&mut listener).destination, Some(group.address()));
    }
}

#[test]
fn metadata_is_absent_unless_it_was_asked_for() {
    let group = unique_group();
    let mut opened = ListenOptions::new().bind::<64>(Bind::Port(group.port(), Family::V4)).unwrap();
    opened.join(&on_lo(group)).unwrap();
    let mut bound = ListenOptions::new().bind::<64>(on_lo(group)).unwrap();
    send_all(group, ["x"]);
    for listener in [&mut bound, &mut opened] {
        let Received::Packet(packet) = listener.recv().unwrap() else { panic!("no packet") };
        assert_eq!(packet.metadata(), None);
    }
}

#[test]
fn metadata_stays_with_a_packet_that_was_cut_or_is_empty() {
    let group = unique_group();
    let mut listener = ListenOptions::new().metadata().bind::<2>(on_lo(group)).unwrap();
    send_all(group, ["", "longer than the buffer"]);
    for length in [0, 22] {
        let Received::Packet(packet) = listener.recv().unwrap() else { panic!("no packet") };
        assert_eq!((packet.wire_length(), packet.is_truncated()), (length, length > 2));
        let metadata = packet.metadata().unwrap();
        assert_eq!((metadata.destination, metadata.hop_limit), (Some(group.address()), Some(1)));
    }
}
