//! The ledger adds up: every packet that was sent is received, rejected or dropped. A flood of unwanted packets does not block
//! other sources.

// Files and errors of `std` need the feature `std`.
#![cfg(feature = "std")]

mod common;

use std::io::Write;
use std::time::{Duration, Instant};

use common::{OnePacket, free_port, on_lo, send_all, unique_group};
use multicast::filter::{Prefix, by};
use multicast::{Bind, Events, Family, Group, Interest, ListenOptions, Poller, Received, Token};

/// Receives all queued packets, and returns how many.
fn drain<const MTU: usize, F: multicast::filter::Filter>(listener: &mut multicast::Listener<MTU, F>) -> u64 {
    let mut packets = 0;
    loop {
        match listener.recv().unwrap() {
            Received::Packet(_) => packets += 1,
            Received::Paused => {}
            Received::Empty => return packets,
        }
    }
}

#[test]
fn sent_packets_are_received_or_dropped() {
    let group = unique_group();
    let options = ListenOptions::new().receive_buffer(4096);
    let mut bound = options.bind::<64>(on_lo(group)).unwrap();
    let mut opened = options.bind::<64>(Bind::Port(group.port(), Family::V4)).unwrap();
    opened.join(&on_lo(group)).unwrap();
    send_all(group, (0..200_u8).map(|count| [count; 64]));
    for listener in [&mut bound, &mut opened] {
        // The count is exact before anything is read.
        let dropped = listener.counters().dropped.unwrap();
        assert!((100..200).contains(&dropped), "{dropped}");
        let received = drain(listener);
        let counters = listener.counters();
        assert_eq!((counters.received, counters.dropped), (received, Some(dropped)));
        assert_eq!(received + dropped, 200);
        assert_eq!((counters.rejected, counters.truncated, counters.foreign), (0, 0, 0));
    }
}

#[test]
fn sent_packets_are_received_rejected_or_dropped() {
    let group = unique_group();
    let options = ListenOptions::new().filter(Prefix(b"yes")).kernel_filter(false).receive_buffer(8192);
    let mut listener = options.bind::<4>(on_lo(group)).unwrap();
    let mut sent = 0;
    for _ in 0..3 {
        send_all(group, (0..200).map(|count| if count % 3 == 0 { "yes, take it" } else { "no" }));
        sent += 200;
        drain(&mut listener);
        let counters = listener.counters();
        assert!(counters.rejected > 0 && counters.received > 0);
        assert_eq!(counters.received + counters.rejected + counters.dropped.unwrap(), sent);
        // Every accepted packet is longer than the buffer; the others are not.
        assert_eq!(counters.truncated, counters.received);
        assert!(!counters.kernel_refuses);
    }
}

#[test]
fn packets_that_the_kernel_refuses_count_as_dropped() {
    let group = unique_group();
    let options = ListenOptions::new().filter(Prefix(b"yes")).receive_buffer(1 << 20);
    let mut listener = options.bind::<4>(on_lo(group)).unwrap();
    send_all(group, (0..300).map(|count| if count % 3 == 0 { "yes, take it" } else { "no" }));
    assert_eq!(drain(&mut listener), 100);
    let counters = listener.counters();
    assert_eq!((counters.received, counters.rejected, counters.dropped), (100, 0, Some(200)));
    assert!(counters.kernel_refuses);
}

#[test]
fn recv_pauses_after_64_rejected_packets() {
    let group = unique_group();
    let mut asked = 0;
    let options = ListenOptions::new().filter(by(|payload, _| {
        asked += 1;
        payload == b"wanted"
    }));
    let mut listener = options.bind::<16>(on_lo(group)).unwrap();
    send_all(group, [b"unwanted"; 100]);
    send_all(group, [b"wanted"]);
    assert_eq!(listener.recv().unwrap(), Received::Paused);
    assert_eq!(listener.counters().rejected, 64);
    assert_eq!(listener.recv().unwrap().packet().unwrap().payload(), b"wanted");
    assert_eq!(listener.counters().rejected, 100);
    assert_eq!(listener.recv().unwrap(), Received::Empty);
    drop(listener);
    assert_eq!(asked, 101);
}

#[test]
fn another_source_is_served_during_a_flood() {
    let port = free_port();
    let group = Group::new(unique_group().address(), port).unwrap();
    let options = ListenOptions::new().filter(Prefix(b"wanted")).kernel_filter(false);
    let mut listener = options.bind::<16>(on_lo(group)).unwrap();
    let (pipe, mut writer) = std::io::pipe().unwrap();
    let poller = Poller::new().unwrap();
    poller.register(&listener, Token(1), Interest::READABLE).unwrap();
    poller.register(&pipe, Token(2), Interest::READABLE).unwrap();

    // The flood is limited in count and time, and only on `lo`.
    let flood = std::thread::spawn(move || {
        let end = Instant::now() + Duration::from_secs(2);
        let mut sent = 0;
        let packets = std::iter::repeat_n(b"unwanted", 20_000).take_while(|_| Instant::now() < end).inspect(|_| {
            sent += 1;
            if sent == 200 {
                writer.write_all(b"x").unwrap();
            }
        });
        send_all(group, packets);
        sent
    });
    let mut events = Events::<4>::new();
    let (mut served_after, mut turns) = (None, 0_u32);
    while served_after.is_none() {
        for event in poller.poll(&mut events, common::PATIENCE).unwrap() {
            match event.token() {
                Token(1) => assert!(listener.recv().unwrap().packet().is_none()),
                _ => served_after = Some(listener.counters().rejected),
            }
        }
        turns += 1;
    }
    let sent = flood.join().unwrap();
    drain(&mut listener);
    let counters = listener.counters();
    assert_eq!(counters.rejected + counters.dropped.unwrap(), sent);
    // A few hundred packets were queued before the pipe was written to. Each turn rejects at most 64.
    assert!(served_after.unwrap() <= u64::from(turns) * 64, "{served_after:?} in {turns} turns");
    assert!(sent >= 200, "{sent}");
}
