//! Coalesced packets over IPv6 and over a link: in both directions, with Python peers.

use crate::common;
use crate::common::link::{Pair, index_of, named};
use crate::common::segments::{self, How, Sender, assert_same, numbered};
use crate::common::{LO, peer, require_private_network, unique_group, unique_v6_group};
use multicast::filter::Filter;
use multicast::{
    Bind, COALESCING_BUFFER, CoalescingListener, Family, Group, ListenOptions, Membership, Progress, Received, SendOptions,
};

/// Receives until this many packets have arrived. No more may be queued then.
fn take<F: Filter>(listener: &mut CoalescingListener<'_, F>, count: usize) -> Vec<Vec<u8>> {
    let mut packets = Vec::new();
    common::wait_until_mut("all packets are there", || {
        while let Received::Packet(packet) = listener.recv().unwrap() {
            packets.push(packet.payload().to_vec());
        }
        packets.len() >= count
    });
    assert_eq!(packets.len(), count);
    packets
}

/// A group of IPv4, and one of each IPv6 scope that is bound differently.
fn groups() -> [Group; 3] {
    [unique_group(), unique_v6_group(2), unique_v6_group(5)]
}

#[test]
fn batches_of_python_are_split_over_ipv6_on_lo() {
    require_private_network();
    let mut buffer = Box::new([0; COALESCING_BUFFER]);
    for scope in [1, 2, 5, 0xe] {
        let group = unique_v6_group(scope);
        let mut listener =
            ListenOptions::new().bind_coalescing(Membership::any(group).on(LO), COALESCING_BUFFER, &mut buffer).unwrap();
        let mut sender = Sender::to(&group.address().to_string(), group.port(), "lo", "");
        for (count, size, last) in [(5, 100, 37), (64, 1000, 0), (1, 32_000, 31_999)] {
            let packets = numbered(count, size, last);
            for how in [How::Option, How::Message] {
                sender.send_segments(how, size, &packets.concat());
                assert_same(&take(&mut listener, packets.len()), &packets);
            }
        }
        assert_eq!(listener.counters().foreign, 0);
    }
}

#[test]
fn batches_of_python_are_split_over_a_link() {
    let pair = Pair::new();
    let mut buffer = Box::new([0; COALESCING_BUFFER]);
    for group in groups() {
        let on_b = Membership::any(group).on(named(&pair.b));
        let mut listener = ListenOptions::new().metadata().bind_coalescing(on_b, COALESCING_BUFFER, &mut buffer).unwrap();
        let address = pair.addresses[0].to_string();
        let mut sender = Sender::to(&group.address().to_string(), group.port(), &pair.a, &address);
        sender.mark(9, 0x2a);
        let packets = numbered(20, 1400, 11);
        sender.send_segments(How::Option, 1400, &packets.concat());
        let mut seen = Vec::new();
        common::wait_until_mut("all packets are there", || {
            while let Received::Packet(packet) = listener.recv().unwrap() {
                let metadata = packet.metadata().unwrap();
                assert_eq!(metadata.destination, Some(group.address()));
                assert_eq!(metadata.interface, Some(index_of(&pair.b)));
                assert_eq!((metadata.hop_limit, metadata.traffic_class), (Some(9), Some(0x2a)), "{group}");
                seen.push(packet.payload().to_vec());
            }
            seen.len() >= packets.len()
        });
        assert_same(&seen, &packets);
    }
}

#[test]
fn python_receives_our_batches_over_a_link_with_and_without_udp_gro() {
    let pair = Pair::new();
    for group in groups() {
        let mut plain = peer::Receiver::join(group, &pair.b);
        let mut coalescing = segments::Receiver::join(group, &pair.b);
        let packets: Vec<_> = [100, 100, 100, 0, 7, 7, 1400, 1400, 3].map(|size| vec![size as u8; size]).into();
        let options = SendOptions::new().interface(named(&pair.a));
        let mut caster = options.batches::<64, _>(group, packets.clone()).unwrap();
        let steps: Vec<_> = core::iter::from_fn(|| match caster.step().unwrap() {
            Progress::Sent(count) => Some(count),
            _ => None,
        })
        .collect();
        assert_eq!(steps, [3, 1, 2, 3], "{group}");
        let seen: Vec<_> = packets.iter().map(|_| plain.next().payload).collect();
        assert_same(&seen, &packets);
        let mut seen = Vec::new();
        while seen.len() < packets.len() {
            seen.extend(coalescing.next_packets());
        }
        assert_same(&seen, &packets);
    }
}

#[test]
fn a_coalescing_listener_receives_only_on_interfaces_that_it_joined() {
    let pair = Pair::new();
    let ours = unique_v6_group(5);
    let second = Group::new(unique_v6_group(2).address(), ours.port()).unwrap();
    let mut buffer = Box::new([0; COALESCING_BUFFER]);
    let options = ListenOptions::new().kernel_filter(false);
    let mut listener = options.bind_coalescing(Bind::Port(ours.port(), Family::V6), COALESCING_BUFFER, &mut buffer).unwrap();
    for group in [ours, second] {
        listener.join(&Membership::any(group).on(named(&pair.b))).unwrap();
    }
    // Another process joined the same group on the other end of the pair; our listener did not.
    let mut witness = segments::Receiver::join(ours, &pair.a);
    let packets = numbered(6, 300, 2);
    let mut back = Sender::to(&ours.address().to_string(), ours.port(), &pair.b, "");
    for group in [ours, second] {
        let mut sender = Sender::to(&group.address().to_string(), group.port(), &pair.a, "");
        sender.send_segments(How::Option, 300, &packets.concat());
        assert_same(&take(&mut listener, packets.len()), &packets);
    }
    // The copies of these packets for this machine arrived on `a`. The next packets are sent to `a`, and their copies arrive on
    // `b`.
    let before = listener.counters();
    assert_eq!((before.received, before.rejected), (14, 0));
    back.send_segments(How::Message, 300, &packets.concat());
    assert_same(&take(&mut listener, packets.len()), &packets);
    let after = listener.counters();
    assert_eq!((after.received, after.rejected), (21, 0));
    assert_eq!(after.foreign % 7, 0, "each packet counts: {after:?}");
    assert!(after.foreign > 0, "no other packet arrived and was refused");
    drop(witness.next());
}
