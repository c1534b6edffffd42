//! The handle-based API: `MulticastListener`, `Multicaster`, and other pollers than the default one.

use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use crate::common;
use crate::common::{PATIENCE, QUIET, assert_quiet, expect_packet, on_lo, send_all, unique_group};
use crate::compat_help::{BREAK, GO_ON, Log, cpu_time, from, noting, to};
use multicast::compat::{
    Flags, Handle, MulticastListener, Multicaster, PacketHandler, Poller, default_poller, poll, register, run, sendto_with,
    unregister,
};
use multicast::{ErrorKind, Listener, Result};

#[test]
fn the_example_of_the_python_api() -> Result<()> {
    struct Printer(Log<Vec<u8>>);
    impl PacketHandler for Printer {
        fn handle_packet(&mut self, packet: &[u8], _addr: SocketAddr) -> ControlFlow<()> {
            self.0.add(packet.to_vec());
            ControlFlow::Break(()) // Stop listening
        }
    }
    let (group, printed) = (unique_group(), Log::new());
    let printer = MulticastListener::new(Printer(printed.clone()), from(group).filter_fn(|_packet, _addr| true))?;
    sendto_with("test", to(group))?;
    poll(PATIENCE)?;
    assert_eq!(printed.take(), [b"test"]);
    assert!(!printer.is_registered());
    Ok(())
}

#[test]
fn a_listener_gets_each_packet_with_its_sender() {
    let (group, log) = (unique_group(), Log::new());
    let mut caster = common::send_on_lo().packets(group, ["x"]).unwrap();
    let note = log.clone();
    let handler = move |packet: &[u8], source: SocketAddr| {
        note.add((packet.to_vec(), source.port()));
        BREAK
    };
    MulticastListener::new(handler, from(group)).unwrap();
    caster.step().unwrap();
    run(None, Duration::ZERO).unwrap();
    assert_eq!(log.take(), [(b"x".to_vec(), caster.local_addr().unwrap().port())]);
}

#[test]
fn a_listener_filters_and_counts() {
    let (group, log) = (unique_group(), Log::new());
    let handle = MulticastListener::new(noting(&log), from(group).filter_fn(|packet, _| packet.len() > 3)).unwrap();
    send_all(group, ["long", "odd", "longer"]);
    while log.len() < 2 {
        poll(PATIENCE).unwrap();
    }
    assert_eq!(log.take(), [&b"long"[..], b"longer"]);
    let counters = handle.with(|listener| listener.receiver().counters()).unwrap().unwrap();
    assert_eq!((counters.received, counters.rejected), (2, 1));
}

#[test]
fn a_listener_ends_after_its_limit() {
    let (group, log) = (unique_group(), Log::new());
    MulticastListener::new(noting(&log), from(group).limit(2)).unwrap();
    send_all(group, ["one", "two", "three"]);
    run(None, Duration::ZERO).unwrap();
    assert_eq!(log.take(), [b"one", b"two"]);
}

#[test]
fn a_multicaster_sends_all_and_leaves_its_poller() {
    let group = unique_group();
    let mut listener = Listener::bind(on_lo(group)).unwrap();
    let handle = Multicaster::new((0..150).map(|i| i.to_string()), to(group)).unwrap();
    // 64 per turn; the third turn reaches the end.
    assert_eq!(poll(PATIENCE).unwrap(), 1);
    assert!(handle.is_registered());
    run(None, Duration::ZERO).unwrap();
    assert!(!handle.is_registered());
    for i in 0..150 {
        assert_eq!(expect_packet(&mut listener), i.to_string().as_bytes());
    }
}

#[test]
fn unregistering_a_multicaster_returns_the_unsent_packets() {
    let group = unique_group();
    let handle = Multicaster::new((0..100).map(|i| vec![i]), to(group)).unwrap();
    poll(PATIENCE).unwrap();
    let caster = unregister(&handle).unwrap().unwrap();
    assert_eq!(caster.core().group(), group);
    assert!(caster.into_unsent().map(|packet| packet[0]).eq(64..100));
}

#[test]
fn packets_that_are_too_long_are_errors_and_all_others_are_sent() {
    let group = unique_group();
    let mut listener = Listener::bind(on_lo(group)).unwrap();
    let long = || vec![0; 65_508];
    let handle = Multicaster::new([long(), b"one".to_vec(), long(), long(), b"two".to_vec(), long()], to(group)).unwrap();
    for _ in 0..4 {
        assert_eq!(run(None, Duration::ZERO).unwrap_err().kind(), ErrorKind::TooLong);
        assert!(handle.is_registered());
    }
    run(None, Duration::ZERO).unwrap();
    assert!(!handle.is_registered());
    assert_eq!(expect_packet(&mut listener), b"one");
    assert_eq!(expect_packet(&mut listener), b"two");
    assert_quiet(&mut listener);
}

#[test]
fn a_rate_is_kept_without_using_the_processor() {
    let group = unique_group();
    let mut listener = Listener::bind(on_lo(group)).unwrap();
    Multicaster::new((0..11).map(|i| i.to_string()), to(group).core(|core| core.rate(100, 1))).unwrap();
    let (start, cpu) = (Instant::now(), cpu_time());
    run(None, Duration::ZERO).unwrap();
    assert!(start.elapsed() >= Duration::from_millis(95), "{:?}", start.elapsed());
    assert!(cpu_time() - cpu < Duration::from_millis(30), "{:?}", cpu_time() - cpu);
    for i in 0..11 {
        assert_eq!(expect_packet(&mut listener), i.to_string().as_bytes());
    }
}

#[test]
fn an_endless_multicaster_does_not_starve_a_listener() {
    let group = unique_group();
    let log = Log::new();
    let handle = MulticastListener::new(noting(&log), from(group).limit(5)).unwrap();
    let endless = Multicaster::new(std::iter::repeat("again"), to(unique_group())).unwrap();
    let also = Multicaster::new(std::iter::repeat("and again"), to(group)).unwrap();
    let mut polls = 0;
    while handle.is_registered() {
        poll(PATIENCE).unwrap();
        polls += 1;
    }
    assert!(polls <= 10, "{polls}");
    assert!(endless.is_registered() && also.is_registered());
    assert_eq!(log.len(), 5);
}

#[test]
fn a_flooded_listener_does_not_starve_a_multicaster() {
    let (flooded, group) = (unique_group(), unique_group());
    let mut listener = Listener::bind(on_lo(group)).unwrap();
    let source = Multicaster::new(std::iter::repeat("flood"), to(flooded)).unwrap();
    let reader: Handle<_> = MulticastListener::new(noting(&Log::new()), from(flooded)).unwrap();
    let handle = Multicaster::new(["served"], to(group)).unwrap();
    for _ in 0..5 {
        poll(PATIENCE).unwrap();
    }
    assert!(!handle.is_registered());
    assert_eq!(expect_packet(&mut listener), b"served");
    assert!(source.is_registered() && reader.is_registered());
}

#[test]
fn two_pollers_in_one_thread_do_not_mix() {
    let (group, log, other_log) = (unique_group(), Log::new(), Log::new());
    let (one, other) = (Poller::new().unwrap(), Poller::new().unwrap());
    MulticastListener::new(noting(&log), from(group).poller(&one)).unwrap();
    MulticastListener::new(noting(&other_log), from(group).poller(&other)).unwrap();
    send_all(group, ["test"]);
    assert_eq!(one.poll(PATIENCE).unwrap(), 1);
    assert_eq!((log.len(), other_log.len()), (1, 0));
    assert_eq!(poll(Duration::ZERO).unwrap(), 0, "the default poller has no handlers");
    assert_eq!(other.poll(PATIENCE).unwrap(), 1);
    assert_eq!((log.len(), other_log.len()), (1, 1));
}

#[test]
fn a_multicaster_registers_with_the_poller_of_its_options() {
    let group = unique_group();
    let poller = Poller::new().unwrap();
    let handle = Multicaster::new(["x"], to(group).poller(&poller)).unwrap();
    run(None, Duration::ZERO).unwrap();
    assert!(handle.is_registered());
    poller.run(None, Duration::ZERO).unwrap();
    assert!(!handle.is_registered());
}

#[test]
fn an_object_can_move_to_another_poller() {
    let (group, log) = (unique_group(), Log::new());
    let poller = Poller::new().unwrap();
    let handle = MulticastListener::new(noting(&log), from(group)).unwrap();
    let listener = default_poller().unwrap().unregister(&handle).unwrap().unwrap();
    send_all(group, ["kept"]);
    poller.register(listener, Flags::NONE).unwrap();
    assert_eq!(poller.poll(PATIENCE).unwrap(), 1);
    assert_eq!(log.take(), [b"kept"]);
}

#[test]
fn closures_continue_and_break() {
    let (group, log) = (unique_group(), Log::new());
    let note = log.clone();
    let handler = move |packet: &[u8], _: SocketAddr| {
        note.add(packet.to_vec());
        if packet == b"end" { BREAK } else { GO_ON }
    };
    MulticastListener::new(handler, from(group)).unwrap();
    send_all(group, ["one", "end", "after"]);
    run(None, Duration::ZERO).unwrap();
    assert_eq!(log.take(), [b"one", b"end"]);
}

#[test]
fn an_edge_triggered_listener_gets_the_packets_of_several_turns() {
    let (group, log) = (unique_group(), Log::new());
    let listener = MulticastListener::new(noting(&log), from(group)).unwrap();
    register(unregister(&listener).unwrap().unwrap(), Flags::EDGE).unwrap();
    send_all(group, (0..200).map(|number: u8| [number]));
    while poll(QUIET).unwrap() > 0 {}
    assert!(log.take().concat().into_iter().eq(0..200));
}

#[test]
fn an_edge_triggered_listener_gets_the_packet_after_many_rejected_ones() {
    let (group, log) = (unique_group(), Log::new());
    let options = from(group).filter_fn(|packet, _| packet == [199]);
    let listener = MulticastListener::new(noting(&log), options).unwrap();
    register(unregister(&listener).unwrap().unwrap(), Flags::EDGE).unwrap();
    send_all(group, (0..200).map(|number: u8| [number]));
    while poll(QUIET).unwrap() > 0 {}
    assert_eq!(log.take(), [[199]]);
}

#[test]
fn an_edge_triggered_multicaster_sends_the_packets_of_several_turns() {
    let (group, log) = (unique_group(), Log::new());
    MulticastListener::new(noting(&log), from(group)).unwrap();
    let caster = Multicaster::new((0..200).map(|number: u8| [number]), to(group)).unwrap();
    let caster = register(unregister(&caster).unwrap().unwrap(), Flags::EDGE).unwrap();
    while poll(QUIET).unwrap() > 0 {}
    assert!(!caster.is_registered(), "it has sent everything");
    assert!(log.take().concat().into_iter().eq(0..200));
}
