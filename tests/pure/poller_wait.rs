//! How long a poll waits, and what ends it: the timeout, and a waker.

use core::time::Duration;
use std::sync::mpsc;
use std::thread;
use std::time::Instant;

use multicast::{Events, Interest, Poller, Token};
use rustix::event::EventfdFlags;

const PATIENCE: Duration = Duration::from_secs(10);

/// A descriptor that is readable and stays so.
fn readable() -> multicast::OwnedFd {
    rustix::event::eventfd(1, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC).unwrap()
}

/// How long a poll without any event took.
fn quiet_poll(poller: &Poller, timeout: Duration) -> Duration {
    let mut events = Events::<4>::new();
    let start = Instant::now();
    assert_eq!(poller.poll(&mut events, timeout).unwrap().count(), 0);
    let elapsed = start.elapsed();
    assert!(!events.woken());
    elapsed
}

fn median_of_polls(poller: &Poller, timeout: Duration) -> Duration {
    let mut elapsed: Vec<_> = (0..51).map(|_| quiet_poll(poller, timeout)).collect();
    elapsed.sort();
    elapsed[elapsed.len() / 2]
}

#[test]
fn no_timeout_is_cut_short() {
    let poller = Poller::new().unwrap();
    for micros in [1, 50, 200, 999, 1_000, 1_001, 1_500, 7_000, 20_000, 20_001] {
        let timeout = Duration::from_micros(micros);
        for _ in 0..5 {
            let elapsed = quiet_poll(&poller, timeout);
            assert!(elapsed >= timeout, "{elapsed:?} instead of {timeout:?}");
        }
    }
    assert!(quiet_poll(&poller, Duration::from_nanos(1)) >= Duration::from_nanos(1));
}

#[test]
fn a_timeout_shorter_than_a_millisecond_is_kept() {
    let poller = Poller::new().unwrap();
    // On a busy machine other processes may delay a poll: one fast poll of several is enough.
    let median = (0..20)
        .map(|_| median_of_polls(&poller, Duration::from_micros(200)))
        .find(|median| *median < Duration::from_millis(1));
    let median = median.expect("never less than a millisecond");
    assert!(median >= Duration::from_micros(200), "{median:?}");
}

#[test]
fn a_timeout_of_zero_returns_at_once() {
    let poller = Poller::new().unwrap();
    let fastest = (0..100).map(|_| quiet_poll(&poller, Duration::ZERO)).min().unwrap();
    assert!(fastest < Duration::from_millis(1), "{fastest:?}");
}

#[test]
fn ready_descriptors_are_reported_at_once_with_any_timeout() {
    let (poller, source) = (Poller::new().unwrap(), readable());
    poller.register(&source, Token(7), Interest::READABLE).unwrap();
    let mut events = Events::<4>::new();
    let half = Duration::from_micros(500);
    for timeout in [None, Some(Duration::ZERO), Some(half), Some(PATIENCE), Some(PATIENCE + half), Some(Duration::MAX)] {
        let start = Instant::now();
        let tokens: Vec<_> = poller.poll(&mut events, timeout).unwrap().map(|event| event.token()).collect();
        assert_eq!(tokens, [Token(7)], "{timeout:?}");
        assert!(start.elapsed() < PATIENCE / 2);
    }
}

#[test]
fn very_long_timeouts_wait_and_do_not_fail() {
    let poller = Poller::new().unwrap();
    let waker = poller.waker().unwrap();
    let mut events = Events::<4>::new();
    let pause = Duration::from_millis(20);
    let int = Duration::from_millis(i32::MAX as u64);
    let long = Duration::from_secs(i64::MAX as u64);
    let nanosecond = Duration::from_nanos(1);
    for timeout in [
        None,
        Some(Duration::MAX),
        Some(Duration::from_secs(u64::MAX)),
        Some(long),
        Some(long + nanosecond),
        Some(int),
        Some(int + nanosecond),
        // These two would be short if their milliseconds were cut to 32 bits.
        Some(Duration::from_millis(1 << 32)),
        Some(Duration::from_millis(1 << 31)),
        // These two would be short if their seconds were cut.
        Some(Duration::from_secs(1 << 32)),
        Some(Duration::from_secs(1 << 32) + nanosecond),
    ] {
        let start = Instant::now();
        thread::scope(|threads| {
            threads.spawn(|| {
                thread::sleep(pause);
                waker.wake().unwrap();
            });
            assert_eq!(poller.poll(&mut events, timeout).unwrap().count(), 0);
        });
        assert!(events.woken(), "{timeout:?}");
        assert!(start.elapsed() >= pause, "{timeout:?} ended after {:?}", start.elapsed());
    }
}

#[test]
fn several_wakes_before_a_poll_end_one_poll_at_once() {
    let poller = Poller::new().unwrap();
    let (waker, other) = (poller.waker().unwrap(), poller.waker().unwrap());
    let clone = waker.try_clone().unwrap();
    for waker in [&waker, &other, &clone] {
        waker.wake().unwrap();
        waker.wake().unwrap();
    }
    let mut events = Events::<4>::new();
    assert_eq!(poller.poll(&mut events, None).unwrap().count(), 0);
    assert!(events.woken());
    // All wakes are used up, and the next polls wait again, in each way of waiting.
    for timeout in [Duration::ZERO, Duration::from_micros(200), Duration::from_millis(2)] {
        assert!(quiet_poll(&poller, timeout) >= timeout);
    }
    for waker in [waker, other, clone] {
        waker.wake().unwrap();
        assert_eq!(poller.poll(&mut events, Duration::from_micros(10_500)).unwrap().count(), 0);
        assert!(events.woken());
    }
}

#[test]
fn a_wake_is_never_an_event_and_hides_none() {
    let (poller, source) = (Poller::new().unwrap(), readable());
    let waker = poller.waker().unwrap();
    poller.register(&source, Token(7), Interest::READABLE).unwrap();
    waker.wake().unwrap();
    let mut events = Events::<4>::new();
    let tokens: Vec<_> = poller.poll(&mut events, PATIENCE).unwrap().map(|event| event.token()).collect();
    assert_eq!(tokens, [Token(7)]);
    assert!(events.woken());
    assert_eq!(format!("{events:?}").matches("Event {").count(), 1);

    // With room for one event, they come one after the other.
    waker.wake().unwrap();
    let mut events = Events::<1>::new();
    let (mut woken, mut seen) = (0, 0);
    for _ in 0..2 {
        seen += poller.poll(&mut events, PATIENCE).unwrap().inspect(|event| assert_eq!(event.token(), Token(7))).count();
        woken += usize::from(events.woken());
    }
    assert_eq!((woken, seen), (1, 1));
}

#[test]
fn a_waker_may_outlive_its_poller() {
    let poller = Poller::new().unwrap();
    let waker = poller.waker().unwrap();
    drop(poller);
    waker.wake().unwrap();
    let clone = waker.try_clone().unwrap();
    drop(waker);
    clone.wake().unwrap();
    // Another poller is not woken.
    let other = Poller::new().unwrap();
    clone.wake().unwrap();
    assert!(quiet_poll(&other, Duration::from_micros(500)) >= Duration::from_micros(500));
}

#[test]
fn a_wake_ends_one_of_several_waiting_polls() {
    let poller = Poller::new().unwrap();
    let waker = poller.waker().unwrap();
    let (report, reports) = mpsc::channel();
    thread::scope(|threads| {
        for _ in 0..2 {
            let (poller, report) = (&poller, report.clone());
            threads.spawn(move || {
                let mut events = Events::<4>::new();
                assert_eq!(poller.poll(&mut events, None).unwrap().count(), 0);
                report.send(events.woken()).unwrap();
            });
        }
        for _ in 0..2 {
            waker.wake().unwrap();
            assert_eq!(reports.recv_timeout(PATIENCE), Ok(true));
        }
    });
}

#[test]
fn many_wakes_from_many_threads_are_never_lost() {
    let poller = Poller::new().unwrap();
    let waker = poller.waker().unwrap();
    let (order, orders) = mpsc::channel();
    thread::scope(|threads| {
        for number in 0..4 {
            let (waker, order) = (waker.try_clone().unwrap(), order.clone());
            threads.spawn(move || {
                for _ in 0..250 {
                    order.send(number).unwrap();
                    waker.wake().unwrap();
                }
            });
        }
        // If a thread first sends and then wakes, the message is received, however the threads overlap.
        let (mut heard, mut events) = (0, Events::<1>::new());
        while heard < 1000 {
            poller.poll(&mut events, PATIENCE).unwrap();
            assert!(events.woken(), "no wake, and {heard} orders heard");
            heard += orders.try_iter().count();
        }
    });
}
