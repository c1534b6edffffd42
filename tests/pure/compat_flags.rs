//! The handle-based API: what a handler waits for, and how: interest, flags and pauses.

use std::io::Write;
use std::ops::ControlFlow;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use crate::common::PATIENCE;
use crate::compat_help;
use crate::compat_help::{BREAK, GO_ON, Later, Log, On, drain, pipe, readable_pipe};
use multicast::Result;
use multicast::compat::{Flags, Handler, Poller, poll, rearm, register, unregister};

#[test]
fn handle_write_is_called_as_long_as_something_can_be_written() {
    let (here, _there) = pipe();
    let log = Log::new();
    let note = log.clone();
    register(
        On::write(here, move |_| {
            note.add(());
            Ok(if note.len() < 3 { GO_ON } else { BREAK })
        }),
        Flags::NONE,
    )
    .unwrap();
    for _ in 0..5 {
        poll(Duration::ZERO).unwrap();
    }
    assert_eq!(log.len(), 3);
}

#[test]
fn flags_add_to_the_interest() {
    let (here, _there) = readable_pipe();
    let log = Log::new();
    let note = log.clone();
    let handler = On {
        stream: here,
        interest: Flags::NONE,
        call: move |stream: &UnixStream| {
            note.add(drain(stream));
            Ok(GO_ON)
        },
    };
    let handle = register(handler, Flags::NONE).unwrap();
    assert_eq!(poll(Duration::ZERO).unwrap(), 0);
    let handler = unregister(&handle).unwrap().unwrap();
    register(handler, Flags::READ).unwrap();
    assert_eq!(poll(Duration::ZERO).unwrap(), 1);
    assert_eq!(log.take(), [1]);
}

#[test]
fn a_handler_without_interest_is_not_called_after_a_hang_up() {
    let (here, there) = pipe();
    let handler = On { stream: here, interest: Flags::NONE, call: |_: &UnixStream| panic!("called") };
    register(handler, Flags::NONE).unwrap();
    drop(there);
    assert_eq!(poll(Duration::ZERO).unwrap(), 0);
}

#[test]
fn a_hang_up_calls_handle_read() {
    let (here, there) = pipe();
    let log = Log::new();
    let note = log.clone();
    register(
        On::read(here, move |stream| {
            note.add(drain(stream));
            Ok(BREAK)
        }),
        Flags::NONE,
    )
    .unwrap();
    drop(there);
    assert_eq!(poll(PATIENCE).unwrap(), 1);
    assert_eq!(log.take(), [0]);
}

#[test]
fn an_error_is_reported_to_all_that_the_handler_waits_for_and_first_to_handle_read() {
    struct Noting(std::os::fd::OwnedFd, Flags, Log<&'static str>);
    impl AsFd for Noting {
        fn as_fd(&self) -> BorrowedFd<'_> {
            self.0.as_fd()
        }
    }
    impl Handler for Noting {
        fn interest(&self) -> Flags {
            self.1
        }
        fn handle_read(&mut self) -> Result<ControlFlow<()>> {
            self.2.add("read");
            Ok(GO_ON)
        }
        fn handle_write(&mut self) -> Result<ControlFlow<()>> {
            self.2.add("write");
            Ok(BREAK)
        }
    }
    for (flags, expected) in
        [(Flags::READ, &["read"][..]), (Flags::WRITE, &["write"]), (Flags::READ | Flags::WRITE, &["read", "write"])]
    {
        let (reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::NONBLOCK).unwrap();
        // Full, so that the kernel does not report it as writable.
        while rustix::io::write(&writer, &[0; 4096]).is_ok() {}
        let (poller, log) = (Poller::new().unwrap(), Log::new());
        poller.register(Noting(writer, flags, log.clone()), Flags::NONE).unwrap();
        assert_eq!(poller.poll(Duration::ZERO).unwrap(), 0);
        drop(reader);
        assert_eq!(poller.poll(PATIENCE).unwrap(), 1);
        assert_eq!(log.take(), expected);
    }
}

#[test]
fn oneshot_is_one_call_until_it_is_armed_again() {
    let (here, _there) = readable_pipe();
    let log = Log::new();
    let note = log.clone();
    let handle = register(
        On::read(here, move |_| {
            note.add(());
            Ok(GO_ON)
        }),
        Flags::ONESHOT,
    )
    .unwrap();
    for rounds in 1..=3 {
        for _ in 0..3 {
            poll(Duration::ZERO).unwrap();
        }
        assert_eq!(log.len(), rounds);
        rearm(&handle).unwrap();
    }
}

#[test]
fn a_handler_can_rearm_itself() {
    let (here, _there) = readable_pipe();
    let log = Log::new();
    let own = Later::new();
    let (note, arm) = (log.clone(), own.clone());
    let handle = register(
        On::read(here, move |_| {
            note.add(());
            arm.call();
            Ok(GO_ON)
        }),
        Flags::ONESHOT,
    )
    .unwrap();
    own.set(move || rearm(&handle).unwrap());
    for _ in 0..3 {
        poll(Duration::ZERO).unwrap();
    }
    assert_eq!(log.len(), 3);
}

#[test]
fn lending_a_oneshot_handler_does_not_arm_it() {
    let (here, _there) = readable_pipe();
    let handle = register(On::read(here, |_| Ok(GO_ON)), Flags::ONESHOT).unwrap();
    assert_eq!(poll(PATIENCE).unwrap(), 1);
    handle.with(|_| ()).unwrap();
    assert_eq!(poll(Duration::ZERO).unwrap(), 0);
}

#[test]
fn edge_is_one_call_for_each_arrival() {
    let (here, mut there) = readable_pipe();
    let log = Log::new();
    let note = log.clone();
    register(
        On::read(here, move |_| {
            note.add(());
            Ok(GO_ON)
        }),
        Flags::EDGE,
    )
    .unwrap();
    for _ in 0..3 {
        poll(Duration::ZERO).unwrap();
    }
    assert_eq!(log.len(), 1);
    there.write_all(b"x").unwrap();
    for _ in 0..3 {
        poll(Duration::ZERO).unwrap();
    }
    assert_eq!(log.len(), 2);
}

#[test]
fn a_paused_handler_is_called_after_its_pause() {
    struct Slow {
        stream: UnixStream,
        until: Option<Instant>,
        calls: Log<Instant>,
    }
    impl AsFd for Slow {
        fn as_fd(&self) -> BorrowedFd<'_> {
            self.stream.as_fd()
        }
    }
    impl Handler for Slow {
        fn interest(&self) -> Flags {
            Flags::READ
        }

        fn handle_read(&mut self) -> Result<ControlFlow<()>> {
            self.calls.add(Instant::now());
            self.until = Some(Instant::now() + Duration::from_millis(30));
            Ok(GO_ON)
        }

        fn paused_until(&self) -> Option<Instant> {
            self.until
        }
    }
    let (here, _there) = readable_pipe();
    let calls = Log::new();
    let handle = register(Slow { stream: here, until: None, calls: calls.clone() }, Flags::NONE).unwrap();
    let cpu = compat_help::cpu_time();
    for _ in 0..3 {
        assert_eq!(poll(None).unwrap(), 1);
    }
    assert_eq!(poll(Duration::from_millis(5)).unwrap(), 0, "it pauses longer than this poll");
    assert!(compat_help::cpu_time() - cpu < Duration::from_millis(30));
    let calls = calls.take();
    assert!(calls.windows(2).all(|pair| pair[1] - pair[0] >= Duration::from_millis(30)), "{calls:?}");
    assert!(unregister(&handle).unwrap().is_some());
}

#[test]
fn flags_can_be_combined_and_printed() {
    let flags = Flags::READ | Flags::EDGE;
    assert!(flags.contains(Flags::READ) && flags.contains(Flags::NONE) && !flags.contains(Flags::WRITE));
    assert_eq!(format!("{flags:?} {:?}", Flags::NONE), "Flags(READ | EDGE) Flags()");
    assert_eq!(Flags::default(), Flags::NONE);
}
