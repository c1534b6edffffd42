//! Sending on links that are slow, down or deleted. In a private network: see `make test`.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::common;
use crate::common::link::{Pair, index_of, named, run};
use crate::common::{OnePacket, assert_quiet, expect_packet, next_within, unique_group, unique_v6_group};
use multicast::{
    ErrorKind, Events, Group, Interest, Interface, ListenOptions, Listener, Membership, Multicaster, Poller, Progress,
    SendOptions, Token,
};

const COUNT: u32 = 60;

/// Packets of 1,000 bytes that begin with their number.
fn numbered() -> impl Iterator<Item = Vec<u8>> {
    (0..COUNT).map(|count| {
        let mut item = vec![0; 1000];
        item[..4].copy_from_slice(&count.to_be_bytes());
        item
    })
}

#[derive(Debug, Default, PartialEq)]
struct Story {
    sent: usize,
    blocked: u32,
    waits: u32,
}

/// Sends everything, and waits as `step` requires.
fn pump<I: Iterator<Item: AsRef<[u8]>>, const BATCH: usize>(caster: &mut Multicaster<I, BATCH>) -> Story {
    let poller = Poller::new().unwrap();
    poller.register(caster, Token(1), Interest::WRITABLE).unwrap();
    let mut events = Events::<1>::new();
    let mut story = Story::default();
    let end = Instant::now() + common::PATIENCE;
    loop {
        assert!(Instant::now() < end, "{story:?}");
        match caster.step().unwrap() {
            Progress::Sent(count) => story.sent += count,
            Progress::Blocked => {
                story.blocked += 1;
                // A poll may return early without an event; then the next step is `Blocked` again.
                poller.poll(&mut events, common::PATIENCE).unwrap();
            }
            Progress::Wait(time) => {
                story.waits += 1;
                std::thread::sleep(time);
            }
            Progress::Done => return story,
        }
    }
}

/// Asserts that `listener` receives each number once and in order.
fn assert_each_once_in_order(listener: &mut Listener<2000>) {
    for count in 0..COUNT {
        assert_eq!(expect_packet(listener)[..4], count.to_be_bytes());
    }
    assert_quiet(listener);
    assert_eq!(listener.counters().dropped, Some(0));
}

/// A listener behind a link of 2 Mbit per second, whose queue holds this many bytes.
fn behind_a_slow_link(queue: u32) -> (Pair, Group, Listener<2000>, SendOptions) {
    let pair = Pair::new();
    // Packets of neighbour discovery would be counted, too.
    std::fs::write(format!("/proc/sys/net/ipv6/conf/{}/disable_ipv6", pair.a), "1").unwrap();
    pair.throttle(2_000_000, queue);
    let group = unique_group();
    let listener = ListenOptions::new().bind(Membership::any(group).on(named(&pair.b))).unwrap();
    let options = SendOptions::new().interface(named(&pair.a));
    (pair, group, listener, options)
}

#[test]
fn with_a_tiny_send_buffer_every_item_arrives_once_and_in_order() {
    // Queued packets count against the socket's send buffer: three packets fill it.
    let (_pair, group, mut listener, options) = behind_a_slow_link(1_000_000);
    let mut caster = options.send_buffer(0).packets(group, numbered()).unwrap();
    let story = pump(&mut caster);
    assert!(story.sent == COUNT as usize && story.blocked > 5 && story.waits == 0, "{story:?}");
    assert_each_once_in_order(&mut listener);
}

#[test]
fn a_blocked_batch_continues_where_it_stopped() {
    let (_pair, group, mut listener, options) = behind_a_slow_link(1_000_000);
    let mut caster = options.send_buffer(0).batches::<16, _>(group, numbered()).unwrap();
    let story = pump(&mut caster);
    assert!(story.sent == COUNT as usize && story.blocked > 0, "{story:?}");
    assert_each_once_in_order(&mut listener);
}

#[test]
fn a_blocked_multicaster_returns_its_unsent_items() {
    let (_pair, group, mut listener, options) = behind_a_slow_link(1_000_000);
    let mut caster = options.send_buffer(0).batches::<16, _>(group, numbered()).unwrap();
    let mut sent = 0;
    while let Progress::Sent(count) = caster.step().unwrap() {
        sent += count as u32;
    }
    let (rest, staged) = caster.into_parts();
    let numbers: Vec<u32> = staged.chain(rest).map(|item| u32::from_be_bytes(item[..4].try_into().unwrap())).collect();
    assert_eq!(numbers, (sent..COUNT).collect::<Vec<_>>());
    for count in 0..sent {
        assert_eq!(expect_packet(&mut listener)[..4], count.to_be_bytes());
    }
    assert_quiet(&mut listener);
}

#[test]
fn with_a_full_device_queue_every_item_arrives_once() {
    let (pair, group, mut listener, options) = behind_a_slow_link(4000);
    let mut caster = options.packets(group, numbered()).unwrap();
    let story = pump(&mut caster);
    assert!(story.sent == COUNT as usize && story.waits > 5, "{story:?}");
    assert_each_once_in_order(&mut listener);
    // The queue's own counters equal ours.
    assert_eq!(pair.queue_counters(), (u64::from(COUNT), u64::from(story.waits)));
}

#[test]
fn a_link_that_is_down_is_an_error_until_it_is_up_again() {
    let pair = Pair::new();
    let group = unique_group();
    let mut listener = ListenOptions::new().bind::<16>(Membership::any(group).on(named(&pair.b))).unwrap();
    let mut caster = SendOptions::new().interface(named(&pair.a)).packets(group, ["one", "two"]).unwrap();
    common::step_one(&mut caster);
    assert_eq!(expect_packet(&mut listener), b"one");
    run(&format!("ip link set {} down", pair.a));
    let error = caster.step().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unreachable);
    let said = "unreachable: the interface is down, it or its address is gone, or there is no route";
    assert_eq!(error.to_string(), format!("send 3 bytes to {group}: {said}"));
    run(&format!("ip link set {} up", pair.a));
    let end = Instant::now() + common::PATIENCE;
    // The link drops packets without an error until its carrier is back.
    common::wait_until("the link is up", || run(&format!("ip -o link show dev {}", pair.a)).contains("state UP"));
    while caster.step().is_err() {
        assert!(Instant::now() < end);
    }
    assert_eq!(expect_packet(&mut listener), b"two");
}

#[test]
fn a_deleted_link_is_an_error_and_the_packet_stays() {
    for group in [unique_group(), unique_v6_group(2), unique_v6_group(5)] {
        let pair = Pair::new();
        let mut caster = SendOptions::new().interface(named(&pair.a)).packets(group, ["one", "two"]).unwrap();
        common::step_one(&mut caster);
        // A link-local group is meant on one link only, so the error names it.
        let to = match SocketAddr::from(group) {
            SocketAddr::V6(mut to) if to.ip().segments()[0] == 0xff02 => {
                to.set_scope_id(index_of(&pair.a).get());
                SocketAddr::V6(to)
            }
            to => to,
        };
        drop(pair);
        let error = caster.step().unwrap_err();
        let said = "unreachable: the interface is down, it or its address is gone, or there is no route";
        assert_eq!(error.to_string(), format!("send 3 bytes to {to}: {said}"));
        assert_eq!(error.kind(), ErrorKind::Unreachable);
        assert_eq!(caster.pending(), Some(&"two"));
    }
}

#[test]
fn the_source_is_the_address_of_the_interface_in_whichever_way_it_is_named() {
    let pair = Pair::new();
    let group = unique_group();
    let mut listener = ListenOptions::new().bind::<16>(Membership::any(group).on(named(&pair.b))).unwrap();
    let by_address = Interface::Address(pair.addresses[0].into());
    for interface in [named(&pair.a), Interface::Index(index_of(&pair.a)), by_address] {
        let mut caster = SendOptions::new().interface(interface).packets(group, ["x"]).unwrap();
        common::step_one(&mut caster);
        assert_eq!(listener.recv().unwrap().packet().unwrap().source().ip(), pair.addresses[0], "{interface}");
    }
}

#[test]
fn without_loopback_this_machine_gets_no_copy_of_its_own() {
    for group in [unique_group(), unique_v6_group(5)] {
        let pair = Pair::new();
        let own = Membership::any(group).on(named(&pair.a));
        let mut copy = ListenOptions::new().bind::<16>(own).unwrap();
        let mut there = ListenOptions::new().bind::<16>(Membership::any(group).on(named(&pair.b))).unwrap();
        for (loopback, payload) in [(true, "with"), (false, "without")] {
            let options = SendOptions::new().interface(named(&pair.a)).loopback(loopback);
            let mut caster = options.packets(group, [payload]).unwrap();
            common::step_one(&mut caster);
            assert_eq!(expect_packet(&mut there), payload.as_bytes());
            let got = next_within(&mut copy, Duration::from_millis(100));
            assert_eq!(got.is_some(), loopback, "{group} {payload}");
        }
        assert_quiet(&mut there);
    }
}
