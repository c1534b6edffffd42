//! The ledger adds up: every packet that was sent is received, rejected or dropped. A flood of unwanted packets does not block
//! other sources.

use std::io::Write;
use std::time::{Duration, Instant};

use crate::common::{OnePacket, PATIENCE, free_port, on_lo, send_all, unique_group, unique_v6_group};
use multicast::filter::{Prefix, by};
use multicast::{
    Bind, COALESCING_BUFFER, Events, Family, Group, Interest, ListenOptions, ListeningSocket, Poller, Received, Token,
};

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

/// Sends runs of more than 64 unwanted packets to a listener on an edge-triggered poller, more than its buffer holds in all.
fn check_ledger<B>(
    group: Group,
    said: &str,
    mut listener: ListeningSocket<B, Prefix<&'static [u8]>>,
    mut recv: impl FnMut(&mut ListeningSocket<B, Prefix<&'static [u8]>>) -> Option<bool>,
) {
    listener.join(&on_lo(group)).unwrap();
    let (poller, mut events, mut taken) = (Poller::new().unwrap(), Events::<1>::new(), 0);
    poller.register(&listener, Token(0), Interest::READABLE.edge()).unwrap();
    for _ in 0..3 {
        let payload = |count: usize| if count % 99 == 98 { vec![b'y'; count] } else { vec![b'n'; count % 3] };
        send_all(group, (0..198).map(payload));
        assert_eq!(poller.poll(&mut events, PATIENCE).unwrap().count(), 1, "{said}");
        while let Some(is_packet) = recv(&mut listener) {
            taken += u64::from(is_packet);
        }
    }
    let counters = listener.counters();
    assert_eq!((counters.received, counters.foreign), (taken, 0), "{said}");
    assert_eq!(counters.received + counters.rejected + counters.dropped.unwrap(), 3 * 198, "{said}: {counters:?}");
    assert!(taken > 0 && counters.dropped > Some(0), "{said}: {counters:?}");
}

#[test]
fn the_ledger_of_each_kind_at_each_place_adds_up_on_an_edge() {
    fn took(received: Received<'_>) -> Option<bool> {
        match received {
            Received::Packet(_) => Some(true),
            Received::Paused => Some(false),
            Received::Empty => None,
        }
    }
    for group in [unique_group(), unique_v6_group(2), unique_v6_group(5)] {
        let by_port = Bind::Port(group.port(), group.family());
        for place in [Bind::Group(on_lo(group)), Bind::Later(group), Bind::Interface(on_lo(group)), by_port] {
            for runs_in_kernel in [true, false] {
                let options = ListenOptions::new().filter(Prefix(&b"y"[..])).kernel_filter(runs_in_kernel);
                // Room for some 130 packets.
                let options = options.receive_buffer(50_000);
                let said = format!("{place:?}, in the kernel: {runs_in_kernel}");
                check_ledger(group, &said, options.bind::<64>(place).unwrap(), |listener| took(listener.recv().unwrap()));
                let receiver = options.metadata().bind_receiver(place, 64).unwrap();
                check_ledger(group, &said, receiver, |receiver| took(receiver.recv_into(&mut [0; 64]).unwrap()));
                let mut buffer = Box::new([0; COALESCING_BUFFER]);
                let coalescing = options.bind_coalescing(place, 64, &mut buffer).unwrap();
                check_ledger(group, &said, coalescing, |listener| took(listener.recv().unwrap()));
            }
        }
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
        for event in poller.poll(&mut events, PATIENCE).unwrap() {
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

#[test]
fn a_packet_whose_filter_panics_is_counted_as_rejected() {
    let group = unique_group();
    let filter = by(|payload: &[u8], _| {
        assert_ne!(payload, b"panic", "as a filter of a user may");
        true
    });
    for place in [Bind::Group(on_lo(group)), Bind::Port(group.port(), Family::V4)] {
        let mut listener = ListenOptions::new().filter(filter).bind::<64>(place).unwrap();
        listener.join(&on_lo(group)).unwrap();
        send_all(group, ["one", "panic", "two"]);
        let mut received = Vec::new();
        for _ in 0..3 {
            let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                listener.recv().unwrap().packet().map(|packet| packet.payload().to_vec())
            }));
            received.push(caught.ok().flatten());
        }
        assert_eq!(received, [Some(b"one".to_vec()), None, Some(b"two".to_vec())]);
        let counters = listener.counters();
        assert_eq!((counters.received, counters.rejected), (2, 1), "{place:?}");
    }
}

#[test]
fn what_was_queued_before_leaving_is_refused_where_the_listener_checks_each_packet() {
    for group in [unique_group(), unique_v6_group(2), unique_v6_group(5)] {
        let by_port = Bind::Port(group.port(), group.family());
        let mut listener = ListenOptions::new().kernel_filter(false).bind::<64>(by_port).unwrap();
        listener.join(&on_lo(group)).unwrap();
        send_all(group, ["one", "two"]);
        assert_eq!(listener.recv().unwrap().packet().unwrap().payload(), b"one");
        listener.leave(&on_lo(group)).unwrap();
        assert_eq!(listener.recv().unwrap(), Received::Empty, "{group}");
        assert_eq!(listener.counters().foreign, 1, "{group}");
    }
}
