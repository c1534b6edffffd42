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
    // A signal to a thread's number is for the whole process, but the kernel tries that thread first.
    let this_thread = rustix::thread::gettid();
    // Each way of waiting: without limit, in whole milliseconds, and in nanoseconds.
    for timeout in [None, Some(PATIENCE), Some(PATIENCE + Duration::from_micros(1))] {
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
            let outcome = poller.poll(&mut events, timeout).map(Iterator::count);
            over.store(true, Ordering::SeqCst);
            assert_eq!(outcome, Ok(0), "{timeout:?}");
        });
        assert!(!events.woken());
        assert!(caught.load(Ordering::SeqCst));
        assert!(start.elapsed() < PATIENCE, "the signal did not end the poll");
    }
}
