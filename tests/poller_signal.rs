//! A signal while a poller waits. The test is alone in its file, and so in its process: the signal does not interrupt other
//! tests.

use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use multicast::{Events, Poller};
use rustix::process::{Signal, kill_process};

const PATIENCE: Duration = Duration::from_secs(10);

#[test]
fn a_signal_is_a_wake_without_events() {
    let caught = Arc::new(AtomicBool::new(false));
    signal_hook::flag::register(signal_hook::consts::SIGUSR1, Arc::clone(&caught)).unwrap();
    let poller = Poller::new().unwrap();
    let mut events = Events::<4>::new();
    // Each way of waiting: without limit, in whole milliseconds, and in nanoseconds.
    for timeout in [None, Some(PATIENCE), Some(PATIENCE + Duration::from_micros(1))] {
        interrupt(&caught, || poller.poll(&mut events, timeout).unwrap().count());
        assert!(!events.woken());
        // After the budget it sleeps.
        interrupt(&caught, || poller.spin(Duration::from_millis(1)).poll(&mut events, timeout).unwrap().count());
        assert!(!events.woken());
        // The first poll reports a wake, and the second sleeps until the interval is over.
        let mut gathering = poller.gather(PATIENCE);
        poller.waker().unwrap().wake().unwrap();
        assert_eq!(gathering.poll(&mut events, timeout).unwrap().count(), 0);
        assert!(events.woken());
        interrupt(&caught, || gathering.poll(&mut events, timeout).unwrap().count());
        assert!(!events.woken());
    }
}

/// Sends signals to this thread while it polls: one of them must end the poll, without events.
fn interrupt(caught: &AtomicBool, poll: impl FnOnce() -> usize) {
    // A signal to a thread's number is for the whole process, but the kernel tries that thread first.
    let this_thread = rustix::thread::gettid();
    caught.store(false, Ordering::SeqCst);
    let over = AtomicBool::new(false);
    let start = Instant::now();
    thread::scope(|threads| {
        threads.spawn(|| {
            // It is sent repeatedly, since the first signal could come before the poll.
            while !over.load(Ordering::SeqCst) {
                thread::sleep(Duration::from_millis(20));
                kill_process(this_thread, Signal::USR1).unwrap();
            }
        });
        let count = poll();
        over.store(true, Ordering::SeqCst);
        assert_eq!(count, 0);
    });
    assert!(caught.load(Ordering::SeqCst));
    assert!(start.elapsed() < PATIENCE, "the signal did not end the poll");
}
