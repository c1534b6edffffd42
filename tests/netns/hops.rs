//! The filter on the remaining hop limit, on `lo`: for IPv4 and IPv6, each kind of listener, in the kernel and in this process.

use crate::common::{LO, on_lo, require_private_network, send_on_lo, unique_group, unique_v6_group};
use multicast::filter::{Always, And, Filter, Hops, Not, Or, Prefix};
use multicast::{
    Bind, COALESCING_BUFFER, CoalescingListener, ErrorKind, Group, ListenOptions, Listener, Membership, OwnedFd, Received,
    Receiver, Ttl,
};

/// A group of IPv4, and one of each IPv6 scope that is bound differently. Link-local ones also have a guard.
fn groups() -> [Group; 3] {
    [unique_group(), unique_v6_group(2), unique_v6_group(5)]
}

/// What arrives: each payload is sent with each of these hop limits.
const HOP_LIMITS: [u8; 4] = [1, 254, 255, 64];
const PAYLOADS: [&str; 2] = ["apple", "banana"];

fn send(group: Group) {
    for hop_limit in HOP_LIMITS {
        let mut caster = send_on_lo().ttl(Ttl::new(hop_limit)).packets(group, PAYLOADS).unwrap();
        while caster.step().unwrap() != multicast::Progress::Done {}
    }
}

/// The packets that a filter accepts, in their order: hop limit and payload.
fn accepted_by(is_accepted: impl Fn(u8, &str) -> bool) -> Vec<String> {
    let packets = HOP_LIMITS.iter().flat_map(|hop_limit| PAYLOADS.map(|payload| (*hop_limit, payload)));
    packets.filter(|(hop_limit, payload)| is_accepted(*hop_limit, payload)).map(|(_, payload)| payload.to_owned()).collect()
}

/// Adds a packet's payload; there must be no metadata, which nobody asked for.
fn add(received: Received<'_>, seen: &mut Vec<String>) -> bool {
    match received {
        Received::Packet(packet) => {
            assert_eq!(packet.metadata(), None);
            seen.push(String::from_utf8(packet.payload().to_vec()).unwrap());
            true
        }
        Received::Paused => true,
        Received::Empty => false,
    }
}

fn all_of<F: Filter>(listener: &mut Listener<64, F>) -> Vec<String> {
    let mut seen = Vec::new();
    while add(listener.recv().unwrap(), &mut seen) {}
    seen
}

fn all_coalesced<F: Filter>(listener: &mut CoalescingListener<'_, F>) -> Vec<String> {
    let mut seen = Vec::new();
    while add(listener.recv().unwrap(), &mut seen) {}
    seen
}

/// The payloads that a listener with this filter returns, and where the others are counted.
fn received_with<F: Filter>(filter: F, group: Group, in_kernel: bool) -> (Vec<String>, u64, u64) {
    let mut listener = ListenOptions::new().filter(filter).kernel_filter(in_kernel).bind::<64>(on_lo(group)).unwrap();
    send(group);
    let seen = all_of(&mut listener);
    let counters = listener.counters();
    (seen, counters.rejected, counters.dropped.unwrap())
}

#[test]
fn kernel_and_process_judge_the_hop_limit_alike_alone_and_in_combinations() {
    require_private_network();
    let is_local = |hop_limit: u8, _: &str| hop_limit == 255;
    type Expected<'e> = &'e dyn Fn(u8, &str) -> bool;
    for group in groups() {
        for in_kernel in [true, false] {
            let check = |filter: &mut dyn Filter, is_expected: Expected<'_>| {
                let expected = accepted_by(is_expected);
                let others = (HOP_LIMITS.len() * PAYLOADS.len() - expected.len()) as u64;
                let counted = if in_kernel { (0, others) } else { (others, 0) };
                let (seen, rejected, dropped) = received_with(filter, group, in_kernel);
                assert_eq!((seen, (rejected, dropped)), (expected, counted), "{group}, in the kernel: {in_kernel}");
            };
            check(&mut Hops(255..), &is_local);
            check(&mut Hops(..=1), &|hop_limit, _| hop_limit == 1);
            check(&mut Hops(64..255), &|hop_limit, _| hop_limit == 64 || hop_limit == 254);
            check(&mut Not(Hops(255..)), &|hop_limit, payload| !is_local(hop_limit, payload));
            check(&mut And(Prefix("b"), Hops(255..)), &|hop_limit, payload| hop_limit == 255 && payload == "banana");
            check(&mut Or(Hops(..2), Prefix("b")), &|hop_limit, payload| hop_limit < 2 || payload == "banana");
            check(&mut Not(Or(Hops(..2), Prefix("b"))), &|hop_limit, payload| hop_limit > 1 && payload != "banana");
            check(&mut Not(And(Prefix("b"), Hops(255..))), &|hop_limit, payload| hop_limit < 255 || payload != "banana");
        }
    }
}

#[test]
fn every_kind_of_listener_judges_the_hop_limit() {
    require_private_network();
    let expected = ["apple", "banana"];
    let mut buffer = Box::new([0; COALESCING_BUFFER]);
    for group in groups() {
        for in_kernel in [true, false] {
            let options = || ListenOptions::new().filter(Hops(255..)).kernel_filter(in_kernel);

            let mut receiver = options().bind_receiver(on_lo(group), 64).unwrap();
            send(group);
            let (mut seen, mut bytes) = (Vec::new(), [0; 64]);
            while add(receiver.recv_into(&mut bytes).unwrap(), &mut seen) {}
            assert_eq!(seen, expected, "{group}");
            drop(receiver);

            let mut coalescing = options().bind_coalescing(on_lo(group), 64, &mut buffer).unwrap();
            send(group);
            assert_eq!(all_coalesced(&mut coalescing), expected, "{group}");
            drop(coalescing);

            let mut by_port = options().bind::<64>(Bind::Port(group.port(), group.family())).unwrap();
            by_port.join(&on_lo(group)).unwrap();
            send(group);
            assert_eq!(all_of(&mut by_port), expected, "{group}");
            // Its queued packets are checked by the listener itself from now on.
            send(group);
            by_port.leave(&on_lo(group)).unwrap();
            assert_eq!(all_of(&mut by_port), [""; 0]);
            by_port.join(&on_lo(group)).unwrap();
            send(group);
            assert_eq!(all_of(&mut by_port), expected, "{group}");
        }
    }
}

#[test]
fn a_listener_of_one_interface_judges_the_hop_limit() {
    require_private_network();
    let group = unique_v6_group(5);
    let place = Bind::Interface(Membership::any(group).on(LO));
    let mut listener = ListenOptions::new().filter(Hops(255..)).kernel_filter(false).bind::<64>(place).unwrap();
    send(group);
    assert_eq!(all_of(&mut listener), ["apple", "banana"]);
}

#[test]
fn metadata_is_shown_to_those_who_asked_for_it_also_with_a_filter_that_needs_the_hop_limit() {
    require_private_network();
    for group in groups() {
        let options = ListenOptions::new().filter(Hops(2..)).metadata();
        let listener = options.bind::<64>(on_lo(group)).unwrap();
        let mut listener = listener.with_filter(Hops(255..)).unwrap();
        send(group);
        for payload in PAYLOADS {
            let Received::Packet(packet) = listener.recv().unwrap() else { panic!("{payload} is missing") };
            let metadata = packet.metadata().unwrap();
            assert_eq!((metadata.hop_limit, metadata.destination), (Some(255), Some(group.address())));
        }
        assert_eq!(listener.recv().unwrap(), Received::Empty);
    }
}

#[test]
fn a_later_filter_can_need_the_hop_limit_even_of_packets_that_are_queued() {
    require_private_network();
    for group in groups() {
        for in_kernel in [true, false] {
            let listener = ListenOptions::new().kernel_filter(in_kernel).bind::<64>(on_lo(group)).unwrap();
            send(group);
            let mut listener = listener.with_filter(Hops(255..)).unwrap();
            send(group);
            assert_eq!(all_of(&mut listener), ["apple", "banana", "apple", "banana"], "{group}");
            listener.replace_filter(Hops(254..)).unwrap();
            send(group);
            assert_eq!(all_of(&mut listener), ["apple", "banana", "apple", "banana"], "{group}");
            let mut listener = listener.with_filter(Always).unwrap();
            send(group);
            assert_eq!(all_of(&mut listener).len(), HOP_LIMITS.len() * PAYLOADS.len());
        }
    }
}

#[test]
fn an_adopted_socket_can_get_a_filter_that_needs_the_hop_limit() {
    require_private_network();
    for group in groups() {
        let fd = OwnedFd::from(ListenOptions::new().bind::<64>(on_lo(group)).unwrap());
        let mut listener = Listener::<64>::try_from(fd).unwrap().with_filter(Not(Hops(..255))).unwrap();
        send(group);
        assert_eq!(all_of(&mut listener), ["apple", "banana"], "{group}");
        let mut receiver = Receiver::try_from(OwnedFd::from(listener)).unwrap().with_filter(Hops(..=1)).unwrap();
        send(group);
        let (mut seen, mut bytes) = (Vec::new(), [0; 64]);
        while add(receiver.recv_into(&mut bytes).unwrap(), &mut seen) {}
        assert_eq!(seen, ["apple", "banana"], "{group}");
    }
}

#[test]
fn a_coalescing_listener_gets_such_a_filter_when_it_is_created_and_then_coalesces_nothing() {
    require_private_network();
    let mut buffer = Box::new([0; COALESCING_BUFFER]);
    for group in groups() {
        let batch = |hop_limit| {
            let options = send_on_lo().ttl(Ttl::new(hop_limit));
            let mut caster = options.batches::<8, _>(group, ["one", "two"]).unwrap();
            assert_eq!(caster.step().unwrap(), multicast::Progress::Sent(2));
        };
        let options = ListenOptions::new().filter(Hops(255..));
        let mut listener = options.bind_coalescing(on_lo(group), 64, &mut buffer).unwrap();
        batch(255);
        batch(254);
        assert_eq!(all_coalesced(&mut listener), ["one", "two"]);
        assert_eq!(listener.counters().dropped, Some(2), "the kernel judged each packet");
        listener.replace_filter(Hops(7..)).unwrap();
        batch(7);
        assert_eq!(all_coalesced(&mut listener), ["one", "two"]);
        drop(listener);

        let filter: Box<dyn Filter> = Box::new(Always);
        let options = ListenOptions::new().filter(filter).metadata();
        let mut listener = options.bind_coalescing(on_lo(group), 64, &mut buffer).unwrap();
        let error = listener.replace_filter(Box::new(Hops(255..))).map(drop).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        batch(255);
        let Received::Packet(packet) = listener.recv().unwrap() else { panic!("nothing was changed") };
        assert_eq!(packet.payload(), b"one");
        // Changed in place, the listener cannot refuse it. The hop limit counts as unknown.
        *listener.filter_mut().unwrap() = Box::new(Hops(255..));
        batch(255);
        assert_eq!(all_coalesced(&mut listener), [""; 0]);
        assert_eq!(listener.counters().rejected, 3);
    }
}

#[test]
fn a_filter_that_was_changed_in_place_and_needs_an_unreported_hop_limit_rejects() {
    require_private_network();
    let group = unique_group();
    let filter: Box<dyn Filter> = Box::new(Always);
    let mut listener = ListenOptions::new().filter(filter).bind::<64>(on_lo(group)).unwrap();
    for filter in [Box::new(Hops(..)) as Box<dyn Filter>, Box::new(Not(Hops(255..)))] {
        *listener.filter_mut().unwrap() = filter;
        send(group);
        assert_eq!(all_of(&mut listener), [""; 0]);
    }
    listener.replace_filter(Box::new(Hops(255..))).unwrap();
    send(group);
    assert_eq!(all_of(&mut listener), ["apple", "banana"]);
}
