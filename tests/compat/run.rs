//! The handle-based API: `run`, and what ends it.

use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::{Duration, Instant};

use crate::common::{PATIENCE, QUIET, unique_group};
use crate::compat_help::{BREAK, GO_ON, Log, On, drain, from, pipe, readable_pipe, to};
use multicast::compat::{
    Flags, Handle, Handler, MulticastListener, Poller, Stopper, poll, polling, register, run, sendto_with, stop, stopper,
    unregister,
};

/// A handler that is never called. It keeps the loop running as long as the other end of its pipe is kept.
fn register_something() -> (Handle<impl Handler>, UnixStream) {
    let (here, there) = pipe();
    (register(On::read(here, |_| panic!("called")), Flags::NONE).unwrap(), there)
}

#[test]
fn run_ends_at_once_if_nothing_is_registered() {
    run(None, Duration::ZERO).unwrap();
    assert!(!polling());
}

#[test]
fn run_ends_when_the_last_handler_has_left() {
    let (here, _there) = readable_pipe();
    register(On::read(here, |_| Ok(BREAK)), Flags::NONE).unwrap();
    run(None, Duration::ZERO).unwrap();
}

#[test]
fn a_handler_stops_run_and_polling_is_false() {
    let (_handle, _end) = register_something();
    let (here, _there) = readable_pipe();
    register(
        On::read(here, |stream| {
            drain(stream);
            assert!(polling());
            stop()?;
            assert!(!polling());
            Ok(GO_ON)
        }),
        Flags::NONE,
    )
    .unwrap();
    assert!(!polling());
    run(None, Duration::ZERO).unwrap();
    assert!(!polling());
}

#[test]
fn a_stop_before_run_ends_it_at_once_but_only_once() {
    let (handle, _end) = register_something();
    stop().unwrap();
    stop().unwrap();
    run(None, Duration::ZERO).unwrap();
    // Only once: the next loop ends after another stop.
    let later = stopper().unwrap();
    let thread = thread::spawn(move || {
        thread::sleep(QUIET);
        later.stop().unwrap();
    });
    let start = Instant::now();
    run(None, Duration::ZERO).unwrap();
    assert!(start.elapsed() >= QUIET);
    thread.join().unwrap();
    assert!(handle.is_registered());
}

#[test]
fn a_stopper_ends_run_from_another_thread() {
    fn is_send_sync_clone<T: Send + Sync + Clone + 'static>(_: &T) {}
    let stopper: Stopper = stopper().unwrap();
    is_send_sync_clone(&stopper);
    let (_handle, _end) = register_something();
    let copy = stopper.clone();
    let thread = thread::spawn(move || {
        thread::sleep(Duration::from_millis(30));
        copy.stop().unwrap();
    });
    let start = Instant::now();
    run(None, Duration::ZERO).unwrap();
    assert!(start.elapsed() < PATIENCE);
    thread.join().unwrap();
}

#[test]
fn a_stopper_before_run_ends_it_at_once() {
    let (_handle, _end) = register_something();
    let stopper = stopper().unwrap();
    thread::spawn(move || stopper.stop().unwrap()).join().unwrap();
    run(None, Duration::ZERO).unwrap();
    // Its wake must not end a later poll early.
    let start = Instant::now();
    assert_eq!(poll(Duration::from_millis(30)).unwrap(), 0);
    assert!(start.elapsed() >= Duration::from_millis(30));
}

#[test]
fn a_stopper_wakes_a_poll_that_waits() {
    let (_handle, _end) = register_something();
    let stopper = stopper().unwrap();
    let thread = thread::spawn(move || {
        thread::sleep(Duration::from_millis(30));
        stopper.stop().unwrap();
    });
    assert_eq!(poll(None).unwrap(), 0);
    thread.join().unwrap();
}

#[test]
fn a_stopper_outlives_its_poller() {
    let poller = Poller::new().unwrap();
    let stopper = poller.stopper().unwrap();
    drop(poller);
    stopper.stop().unwrap();
}

#[test]
fn a_stopper_ends_the_sleep_between_polls() {
    let (_handle, _end) = register_something();
    let stopper = stopper().unwrap();
    let thread = thread::spawn(move || {
        thread::sleep(Duration::from_millis(30));
        stopper.stop().unwrap();
    });
    let start = Instant::now();
    run(Duration::ZERO, Duration::from_secs(60)).unwrap();
    assert!(start.elapsed() < PATIENCE);
    thread.join().unwrap();
}

#[test]
fn run_sleeps_for_the_interval_between_polls() {
    let (here, _there) = readable_pipe();
    let log = Log::new();
    let note = log.clone();
    register(
        On::read(here, move |_| {
            note.add(Instant::now());
            Ok(if note.len() < 3 { GO_ON } else { BREAK })
        }),
        Flags::NONE,
    )
    .unwrap();
    let interval = Duration::from_millis(20);
    run(Duration::ZERO, interval).unwrap();
    let times = log.take();
    assert!(times.windows(2).all(|pair| pair[1] - pair[0] >= interval), "{times:?}");
}

#[test]
fn an_error_ends_run_which_may_be_called_again() {
    let (bad, _bad) = readable_pipe();
    let (good, _good) = pipe();
    register(On::read(bad, |_| Err(std::io::Error::other("a bad day").into())), Flags::NONE).unwrap();
    let handle = register(On::read(good, |_| Ok(GO_ON)), Flags::NONE).unwrap();
    assert_eq!(run(None, Duration::ZERO).unwrap_err().to_string(), "a bad day");
    assert!(!polling());
    assert!(handle.is_registered());
    stop().unwrap();
    run(None, Duration::ZERO).unwrap();
}

#[test]
fn a_stop_with_an_error_is_kept_for_the_next_run() {
    let (_handle, _end) = register_something();
    let (bad, _bad) = readable_pipe();
    let fail = |_: &UnixStream| {
        stop()?;
        Err(std::io::Error::other("a last word").into())
    };
    register(On::read(bad, fail), Flags::NONE).unwrap();
    run(None, Duration::ZERO).unwrap_err();
    run(None, Duration::ZERO).unwrap();
}

#[test]
fn stop_ends_nested_loops_too() {
    let (handle, _end) = register_something();
    let (outer, _outer) = readable_pipe();
    let (inner, _inner) = readable_pipe();
    let log = Log::new();
    let (note, last) = (log.clone(), log.clone());
    register(
        On::read(inner, move |stream| {
            drain(stream);
            note.add("inner");
            if note.len() == 2 {
                stop()?;
            }
            Ok(GO_ON)
        }),
        Flags::NONE,
    )
    .unwrap();
    register(
        On::read(outer, move |stream| {
            drain(stream);
            last.add("outer");
            if last.len() == 2 {
                stop()?;
            } else {
                run(None, Duration::ZERO)?;
            }
            Ok(GO_ON)
        }),
        Flags::NONE,
    )
    .unwrap();
    run(None, Duration::ZERO).unwrap();
    assert_eq!(log.len(), 2);
    assert!(unregister(&handle).unwrap().is_some());
}

#[test]
fn a_nested_run_ends_if_only_running_handlers_are_left() {
    let (here, _there) = readable_pipe();
    register(
        On::read(here, |_| {
            run(None, Duration::ZERO)?;
            Ok(BREAK)
        }),
        Flags::NONE,
    )
    .unwrap();
    run(None, Duration::ZERO).unwrap();
}

#[test]
fn a_listener_that_stops_the_loop_gets_no_further_packet_in_it() {
    let group = unique_group();
    let log = Log::new();
    let note = log.clone();
    let handler = move |packet: &[u8], _: SocketAddr| {
        note.add(packet.to_vec());
        if note.len() == 2 {
            stop().unwrap();
        }
        GO_ON
    };
    MulticastListener::new(handler, from(group)).unwrap();
    sendto_with(["one", "two", "three", "four"], to(group)).unwrap();
    run(None, Duration::ZERO).unwrap();
    assert_eq!(log.take(), [b"one", b"two"]);
    poll(PATIENCE).unwrap();
    assert_eq!(log.take()[0], b"three", "the rest is in the kernel's buffer");
}
