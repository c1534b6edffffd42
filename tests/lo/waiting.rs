//! A poller that spins before it sleeps, and one that gathers packets: what they report, and when they sleep.

use core::time::Duration;
use std::thread;
use std::time::Instant;

use crate::common::refusing::refusing;
use crate::common::{PATIENCE, on_lo, send_all, unique_group};
use multicast::{Events, Gathering, Interest, ListenOptions, OwnedFd, Poller, Received, Spinning, Token};
use rustix::io::{read, write};
use rustix::pipe::PipeFlags;

/// Longer than any test: what waits for it fails.
const ENDLESS: Duration = Duration::from_secs(3600);
const SHORT: Duration = Duration::from_millis(20);

/// A registered pipe, which is readable if it has a byte.
struct Pipe {
    reader: OwnedFd,
    writer: OwnedFd,
}

impl Pipe {
    fn registered(poller: &Poller, token: u64) -> Self {
        let (reader, writer) = rustix::pipe::pipe_with(PipeFlags::NONBLOCK | PipeFlags::CLOEXEC).unwrap();
        poller.register(&reader, Token(token), Interest::READABLE).unwrap();
        Self { reader, writer }
    }

    fn fill(&self) {
        write(&self.writer, b"!").unwrap();
    }

    fn empty(&self) {
        assert_eq!(read(&self.reader, &mut [0; 16]), Ok(1));
    }
}

/// The tokens that a poll reports; 0 for a wake.
trait Tokens {
    fn tokens(&mut self, timeout: impl Into<Option<Duration>>) -> Vec<u64>;
}

fn listed(events: &Events<8>) -> Vec<u64> {
    events.iter().map(|event| event.token().0).chain(events.woken().then_some(0)).collect()
}

impl Tokens for Spinning<'_> {
    fn tokens(&mut self, timeout: impl Into<Option<Duration>>) -> Vec<u64> {
        let mut events = Events::<8>::new();
        self.poll(&mut events, timeout).unwrap();
        listed(&events)
    }
}

impl Tokens for Gathering<'_> {
    fn tokens(&mut self, timeout: impl Into<Option<Duration>>) -> Vec<u64> {
        let mut events = Events::<8>::new();
        self.poll(&mut events, timeout).unwrap();
        listed(&events)
    }
}

/// How often this thread has slept.
fn sleeps() -> u64 {
    let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:")).unwrap();
    line.trim().parse().unwrap()
}

/// How often this thread sleeps in the call; the least of some trials, since a page that must be read is a sleep, too.
fn least_sleeps(mut call: impl FnMut()) -> u64 {
    let trial = |_| {
        let before = sleeps();
        call();
        sleeps() - before
    };
    (0..10).map(trial).min().unwrap()
}

/// The time that the call takes.
fn time(call: impl FnOnce()) -> Duration {
    let start = Instant::now();
    call();
    start.elapsed()
}

#[test]
fn a_poll_that_spins_does_not_sleep_within_its_budget_and_a_plain_one_does() {
    let poller = Poller::new().unwrap();
    let mut events = Events::<8>::new();
    assert_eq!(least_sleeps(|| assert_eq!(poller.spin(ENDLESS).tokens(SHORT), [])), 0);
    assert!(least_sleeps(|| assert_eq!(poller.poll(&mut events, SHORT).unwrap().count(), 0)) > 0);
}

#[test]
fn a_poll_that_spins_sleeps_after_its_budget_for_the_rest_of_the_timeout() {
    let poller = Poller::new().unwrap();
    let mut spinning = poller.spin(Duration::from_millis(1));
    assert!(least_sleeps(|| assert_eq!(spinning.tokens(SHORT), [])) > 0);
    assert!(time(|| assert_eq!(spinning.tokens(SHORT), [])) >= SHORT);
    // Something that comes while it sleeps.
    let pipe = Pipe::registered(&poller, 7);
    thread::scope(|threads| {
        threads.spawn(|| {
            thread::sleep(SHORT);
            pipe.fill();
        });
        assert_eq!(spinning.tokens(None), [7]);
    });
}

#[test]
fn a_poll_that_spins_returns_what_is_ready_and_what_becomes_ready() {
    let poller = Poller::new().unwrap();
    let mut spinning = poller.spin(ENDLESS);
    let pipe = Pipe::registered(&poller, 7);
    pipe.fill();
    for timeout in [Some(Duration::ZERO), Some(ENDLESS), None] {
        assert_eq!(spinning.tokens(timeout), [7], "{timeout:?}");
    }
    pipe.empty();
    thread::scope(|threads| {
        threads.spawn(|| {
            thread::sleep(SHORT);
            pipe.fill();
        });
        assert_eq!(spinning.tokens(None), [7]);
    });
}

#[test]
fn a_poll_that_spins_ends_at_a_timeout_shorter_than_its_budget() {
    let poller = Poller::new().unwrap();
    let mut spinning = poller.spin(ENDLESS);
    for timeout in [Duration::ZERO, Duration::from_nanos(1), Duration::from_micros(1500), SHORT] {
        let taken = time(|| assert_eq!(spinning.tokens(timeout), []));
        assert!(taken >= timeout, "{taken:?} instead of {timeout:?}");
    }
    // Without a budget it is a plain poll.
    let taken = time(|| assert_eq!(poller.spin(Duration::ZERO).tokens(SHORT), []));
    assert!(taken >= SHORT, "{taken:?}");
}

#[test]
fn a_waker_ends_the_spinning_and_the_sleep_after_it() {
    let poller = Poller::new().unwrap();
    let waker = poller.waker().unwrap();
    for budget in [ENDLESS, Duration::from_millis(1)] {
        thread::scope(|threads| {
            threads.spawn(|| {
                thread::sleep(SHORT);
                waker.wake().unwrap();
            });
            assert_eq!(poller.spin(budget).tokens(None), [0], "{budget:?}");
        });
        assert_eq!(poller.spin(budget).tokens(Duration::ZERO), [], "one wake is reported once");
    }
}

#[test]
fn a_poller_that_spins_or_gathers_sees_what_is_ready_in_a_nested_one() {
    let (outer, inner) = (Poller::new().unwrap(), Poller::new().unwrap());
    outer.register(&inner, Token(1), Interest::READABLE).unwrap();
    let pipe = Pipe::registered(&inner, 2);
    let (mut spinning, mut gathering) = (outer.spin(ENDLESS), outer.gather(Duration::from_millis(1)));
    assert_eq!(spinning.tokens(SHORT), []);
    assert_eq!(gathering.tokens(SHORT), []);
    pipe.fill();
    assert_eq!(spinning.tokens(None), [1]);
    assert_eq!(gathering.tokens(None), [1]);
    // The setting is of the outer one alone, and each may have its own.
    assert_eq!(inner.spin(ENDLESS).tokens(None), [2]);
    assert_eq!(inner.gather(ENDLESS).tokens(None), [2]);
}

#[test]
fn packets_gather_and_wake_once_in_an_interval() {
    const PACKETS: usize = 300;
    let interval = Duration::from_millis(10);
    let (poller, group) = (Poller::new().unwrap(), unique_group());
    let mut listener = ListenOptions::new().bind::<64>(on_lo(group)).unwrap();
    poller.register(&listener, Token(7), Interest::READABLE).unwrap();
    let mut gathering = poller.gather(interval);
    let (mut packets, mut wakes) = (0, 0);
    let taken = time(|| {
        thread::scope(|threads| {
            threads.spawn(|| {
                for _ in 0..PACKETS {
                    send_all(group, ["one"]);
                    thread::sleep(Duration::from_micros(100));
                }
            });
            while packets < PACKETS {
                assert_eq!(gathering.tokens(PATIENCE), [7], "{packets} packets came");
                wakes += 1;
                loop {
                    match listener.recv().unwrap() {
                        Received::Packet(_) => packets += 1,
                        Received::Paused => {}
                        Received::Empty => break,
                    }
                }
            }
        });
    });
    let most = taken.as_nanos() / interval.as_nanos() + 1;
    assert!(wakes <= most, "{wakes} wakes in {taken:?}, instead of {most}");
}

#[test]
fn the_first_event_is_reported_at_once_and_the_next_after_the_interval() {
    let poller = Poller::new().unwrap();
    let pipe = Pipe::registered(&poller, 7);
    pipe.fill();
    // An hour is not over.
    let mut gathering = poller.gather(ENDLESS);
    assert_eq!(gathering.tokens(None), [7]);
    let mut gathering = poller.gather(SHORT);
    let taken = time(|| {
        assert_eq!(gathering.tokens(None), [7]);
        assert_eq!(gathering.tokens(None), [7]);
        assert_eq!(gathering.tokens(None), [7]);
    });
    assert!(taken >= 2 * SHORT, "{taken:?}");
}

#[test]
fn a_timeout_ends_the_gathering_and_reports_what_is_ready_then() {
    let poller = Poller::new().unwrap();
    let pipe = Pipe::registered(&poller, 7);
    pipe.fill();
    let mut gathering = poller.gather(ENDLESS);
    assert_eq!(gathering.tokens(None), [7]);
    for timeout in [Duration::ZERO, Duration::from_nanos(1), Duration::from_micros(1500), SHORT] {
        let taken = time(|| assert_eq!(gathering.tokens(timeout), [7]));
        assert!(taken >= timeout, "{taken:?} instead of {timeout:?}");
    }
    pipe.empty();
    let taken = time(|| assert_eq!(gathering.tokens(SHORT), []));
    assert!(taken >= SHORT, "{taken:?}");
}

#[test]
fn after_the_interval_it_sleeps_for_the_rest_of_the_timeout() {
    let poller = Poller::new().unwrap();
    let pipe = Pipe::registered(&poller, 7);
    pipe.fill();
    let mut gathering = poller.gather(SHORT);
    assert_eq!(gathering.tokens(None), [7]);
    pipe.empty();
    let taken = time(|| assert_eq!(gathering.tokens(5 * SHORT), []));
    assert!(taken >= 5 * SHORT, "{taken:?}");
    assert!(least_sleeps(|| assert_eq!(gathering.tokens(SHORT), [])) > 0, "it does not spin");
}

#[test]
fn a_wake_within_the_interval_is_reported_after_it() {
    let poller = Poller::new().unwrap();
    let waker = poller.waker().unwrap();
    let mut gathering = poller.gather(SHORT);
    waker.wake().unwrap();
    let taken = time(|| {
        assert_eq!(gathering.tokens(None), [0], "the first is reported at once");
        waker.wake().unwrap();
        assert_eq!(gathering.tokens(None), [0]);
    });
    assert!(taken >= SHORT, "{taken:?}");
    // While it sleeps for the interval, and while it waits after that.
    for delay in [SHORT / 4, 2 * SHORT] {
        thread::scope(|threads| {
            threads.spawn(|| {
                thread::sleep(delay);
                waker.wake().unwrap();
            });
            assert_eq!(gathering.tokens(None), [0], "{delay:?}");
        });
    }
    assert_eq!(gathering.tokens(Duration::ZERO), [], "each wake is reported once");
}

#[test]
fn without_a_clock_both_are_plain_polls() {
    let name = "without_a_clock_both_are_plain_polls";
    // EPERM, as a filter for system calls returns; and a time that stands still, since a call that does nothing succeeds.
    if refusing(name, &["clock_gettime:1", "clock_gettime:0"]).is_none() {
        return;
    }
    let poller = Poller::new().unwrap();
    let mut spinning = poller.spin(Duration::from_millis(1));
    assert!(least_sleeps(|| assert_eq!(spinning.tokens(SHORT), [])) > 0, "it must sleep");
    let pipe = Pipe::registered(&poller, 7);
    pipe.fill();
    let (mut spinning, mut gathering) = (poller.spin(ENDLESS), poller.gather(SHORT));
    for _ in 0..3 {
        assert_eq!(spinning.tokens(None), [7]);
        assert_eq!(gathering.tokens(None), [7]);
    }
}
