//! The handle-based API: multicasters that stay registered and are given packets.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::common::{PATIENCE, assert_quiet, expect_packet, on_lo, unique_group};
use crate::compat_help::{BREAK, Later, Log, On, cpu_time, from, readable_pipe, to};
use multicast::compat::{Flags, Live, MulticastListener, Multicaster, Poller, poll, register, run, unregister};
use multicast::{ErrorKind, Listener};

/// Polls until nothing is queued and nothing is done any more.
fn send_all<T: AsRef<[u8]> + 'static>(live: &Live<T>) {
    while live.queued() > 0 || poll(Duration::ZERO).unwrap() > 0 {
        poll(Duration::ZERO).unwrap();
    }
}

#[test]
fn packets_pushed_from_outside_follow_the_first_ones() {
    let group = unique_group();
    let mut listener = <Listener>::bind(on_lo(group)).unwrap();
    let live = Multicaster::live(["one", "two"], to(group)).unwrap();
    live.push("three").unwrap();
    send_all(&live);
    live.clone().push("four").unwrap();
    send_all(&live);
    for expected in ["one", "two", "three", "four"] {
        assert_eq!(expect_packet(&mut listener), expected.as_bytes());
    }
    assert_quiet(&mut listener);
}

#[test]
fn an_idle_one_causes_no_events_and_uses_no_processor() {
    let live = Multicaster::live([], to(unique_group())).unwrap();
    for _ in 0..3 {
        let (start, cpu) = (Instant::now(), cpu_time());
        assert_eq!(poll(Duration::from_millis(100)).unwrap(), 0);
        assert!(start.elapsed() >= Duration::from_millis(100));
        assert!(cpu_time() - cpu < Duration::from_millis(20));
        live.push("x").unwrap();
        assert_eq!(poll(PATIENCE).unwrap(), 1, "one call sends it");
    }
}

#[test]
fn ten_thousand_pushes_with_pauses_arrive_once_and_in_their_order() {
    let group = unique_group();
    let mut listener = <Listener>::bind(on_lo(group)).unwrap();
    let live = Multicaster::live([], to(group)).unwrap();
    let (mut next, mut arrived, mut length) = (0_u32, 0_u32, 1);
    while next < 10_000 {
        // Other lengths each time, also longer than a turn.
        length = length * 7 % 101;
        for _ in 0..length.min(10_000 - next) {
            live.push(next.to_be_bytes()).unwrap();
            next += 1;
        }
        // With and without a time in which it is idle.
        if length % 2 == 0 {
            send_all(&live);
            assert_eq!(poll(Duration::from_micros(100)).unwrap(), 0);
        } else {
            assert_eq!(poll(PATIENCE).unwrap(), 1);
        }
        while arrived + live.queued() as u32 + 1 < next {
            assert_eq!(expect_packet(&mut listener), arrived.to_be_bytes());
            arrived += 1;
        }
    }
    send_all(&live);
    for number in arrived..10_000 {
        assert_eq!(expect_packet(&mut listener), number.to_be_bytes());
    }
    assert_quiet(&mut listener);
}

#[test]
fn one_turn_sends_64_packets() {
    let live = Multicaster::live([], to(unique_group())).unwrap();
    (0..150).for_each(|_| live.push("x").unwrap());
    let left = [(); 4].map(|()| {
        poll(Duration::ZERO).unwrap();
        live.queued()
    });
    assert_eq!(left, [86, 22, 0, 0]);
}

#[test]
fn a_listener_forwards_from_its_handler_and_run_ends_after_unregister() {
    let (here, there) = (unique_group(), unique_group());
    let mut listener = <Listener>::bind(on_lo(there)).unwrap();
    let live = Multicaster::live([], to(there)).unwrap();
    let ask = Multicaster::live([&b"ask"[..]], to(here)).unwrap();
    let forward = live.clone();
    MulticastListener::new(
        move |packet: &[u8], _| {
            forward.push(packet.to_vec()).unwrap();
            BREAK
        },
        from(here),
    )
    .unwrap();
    while live.queued() == 0 {
        assert!(poll(PATIENCE).unwrap() > 0);
    }
    assert!(unregister(ask.handle()).unwrap().is_some());
    let (stream, _end) = readable_pipe();
    let both = live.clone();
    register(
        On::read(stream, move |_| {
            // Its turn may be over or not.
            send_all(&both);
            assert!(unregister(both.handle()).unwrap().is_some());
            Ok(BREAK)
        }),
        Flags::NONE,
    )
    .unwrap();
    run(None, Duration::ZERO).unwrap();
    assert_eq!(expect_packet(&mut listener), b"ask");
    assert_quiet(&mut listener);
}

#[test]
fn run_goes_on_while_it_is_idle_until_stop() {
    let live = Multicaster::live(["x"], to(unique_group())).unwrap();
    let poller = multicast::compat::stopper().unwrap();
    let thread = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(100));
        poller.stop().unwrap();
    });
    let start = Instant::now();
    run(None, Duration::ZERO).unwrap();
    assert!(start.elapsed() >= Duration::from_millis(90));
    thread.join().unwrap();
    assert!(live.handle().is_registered());
}

/// A packet whose bytes are asked for while its multicaster runs.
struct Calling(&'static str, Option<Later>, RefCell<bool>);

impl AsRef<[u8]> for Calling {
    fn as_ref(&self) -> &[u8] {
        if let Some(call) = self.1.as_ref().filter(|_| !self.2.replace(true)) {
            call.call();
        }
        self.0.as_bytes()
    }
}

#[test]
fn a_push_while_it_runs_itself_is_sent() {
    let group = unique_group();
    let mut listener = <Listener>::bind(on_lo(group)).unwrap();
    let live = Multicaster::live([], to(group)).unwrap();
    let (call, log) = (Later::new(), Log::new());
    let (inner, note) = (live.clone(), log.clone());
    call.set(move || note.add(inner.push(Calling("inner", None, RefCell::default())).is_ok()));
    live.push(Calling("outer", Some(call), RefCell::default())).unwrap_or_else(|_| panic!("refused"));
    send_all(&live);
    assert_eq!(log.take(), [true]);
    assert_eq!(expect_packet(&mut listener), b"outer");
    assert_eq!(expect_packet(&mut listener), b"inner");
}

#[test]
fn a_poll_after_a_push_while_it_runs_waits_without_using_the_processor() {
    let live = Multicaster::live([], to(unique_group())).unwrap();
    let (call, log) = (Later::new(), Log::new());
    let (inner, note) = (live.clone(), log.clone());
    call.set(move || {
        assert!(inner.push(Calling("inner", None, RefCell::default())).is_ok());
        let (start, cpu) = (Instant::now(), cpu_time());
        note.add(poll(Duration::from_millis(100)).unwrap());
        assert!(start.elapsed() >= Duration::from_millis(100));
        assert!(cpu_time() - cpu < Duration::from_millis(20));
    });
    assert!(live.push(Calling("outer", Some(call.clone()), RefCell::default())).is_ok());
    send_all(&live);
    assert_eq!(log.take(), [0]);
    call.set(|| ());
}

#[test]
fn a_full_queue_and_a_multicaster_that_left_return_the_packet() {
    let poller = Poller::new().unwrap();
    let live = Multicaster::live([], to(unique_group()).queue(2).poller(&poller)).unwrap();
    live.push("one").unwrap();
    live.push("two").unwrap();
    assert_eq!(live.push("three"), Err("three"));
    let caster = poller.unregister(live.handle()).unwrap().unwrap();
    assert_eq!(live.push("four"), Err("four"));
    assert_eq!(caster.into_unsent().collect::<Vec<_>>(), ["one", "two"]);
    assert_eq!(live.push("five"), Err("five"));
}

#[test]
fn packets_are_dropped_with_their_poller() {
    let alive = Rc::new(());
    struct Item(#[allow(dead_code)] Rc<()>);
    impl AsRef<[u8]> for Item {
        fn as_ref(&self) -> &[u8] {
            b"x"
        }
    }
    let poller = Poller::new().unwrap();
    let live = Multicaster::live([Item(alive.clone())], to(unique_group()).poller(&poller)).unwrap();
    drop(poller);
    assert_eq!(Rc::strong_count(&alive), 1);
    assert!(live.push(Item(alive.clone())).is_err());
}

#[test]
fn a_packet_that_is_too_long_is_an_error_and_the_next_ones_are_sent() {
    let group = unique_group();
    let mut listener = <Listener>::bind(on_lo(group)).unwrap();
    let live = Multicaster::live([b"one".to_vec(), vec![0; 70_000], b"two".to_vec()], to(group)).unwrap();
    assert_eq!(poll(PATIENCE).unwrap_err().kind(), ErrorKind::TooLong);
    assert!(live.handle().is_registered());
    send_all(&live);
    assert_eq!(expect_packet(&mut listener), b"one");
    assert_eq!(expect_packet(&mut listener), b"two");
    assert_quiet(&mut listener);
}
