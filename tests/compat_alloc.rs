//! The handle-based API: nothing is allocated per packet.
#![cfg(feature = "std")]

mod common;
mod compat_help;

use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use common::{PATIENCE, unique_group};
use compat_help::{GO_ON, from, to};
use multicast::compat::{ListenOptions, MulticastListener, Multicaster, Packets, poll, sendto_with};
use multicast::filter::{Filter, Prefix};

fn allocations(work: impl FnOnce()) -> u64 {
    allocation_counter::measure(work).count_total
}

#[test]
fn the_allocator_counts() {
    assert_eq!(allocations(|| drop(Box::new(std::hint::black_box(7)))), 1);
}

/// A multicaster and a listener in one poller, with 1,000 packets: after the first poll nothing is allocated.
fn expect_none_a_packet<F: Filter + 'static>(with_filter: impl FnOnce(ListenOptions) -> ListenOptions<F>) {
    let group = unique_group();
    let received = Rc::new(Cell::new(0));
    let count = Rc::clone(&received);
    let handler = move |packet: &[u8], _: SocketAddr| {
        assert_eq!(packet, b"good");
        count.set(count.get() + 1);
        GO_ON
    };
    MulticastListener::new(handler, with_filter(from(group))).unwrap();
    Multicaster::new(std::iter::repeat_n(["good", "bad"], usize::MAX).flatten(), to(group)).unwrap();
    poll(PATIENCE).unwrap();
    let made = allocations(|| {
        while received.get() < 1_000 {
            poll(PATIENCE).unwrap();
        }
    });
    assert_eq!(made, 0);
}

#[test]
fn a_listener_and_a_multicaster_allocate_nothing_per_packet() {
    expect_none_a_packet(|options| options.filter(Prefix("good")));
}

#[test]
fn a_closure_as_filter_allocates_nothing_per_packet() {
    expect_none_a_packet(|options| options.filter_fn(|packet, _| packet == b"good"));
}

#[cfg(feature = "regex")]
#[test]
fn a_regular_expression_allocates_nothing_per_packet() {
    expect_none_a_packet(|options| options.pattern("go+d$").unwrap());
}

#[test]
fn receiving_packets_one_by_one_allocates_nothing() {
    let group = unique_group();
    let mut packets = Packets::new(from(group)).unwrap();
    let send = || sendto_with((0..50).map(|_| "x"), to(group)).unwrap();
    send();
    let made = allocations(|| {
        for _ in 0..50 {
            assert_eq!(poll(PATIENCE).unwrap(), 1);
            assert!(packets.next().unwrap().is_some());
        }
        assert_eq!(poll(Duration::ZERO).unwrap(), 0);
    });
    assert_eq!(made, 0);
}

#[test]
fn sending_allocates_nothing() {
    let options = to(unique_group());
    assert_eq!(allocations(|| sendto_with(["a", "b"], options).unwrap()), 0);
}
