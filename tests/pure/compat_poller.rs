//! The handle-based API: what a poller does with handlers.

use std::cell::RefCell;
use std::io::Write;
use std::net::UdpSocket;
use std::ops::ControlFlow;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::common::{PATIENCE, QUIET};
use crate::compat_help::{BREAK, Dropped, GO_ON, Later, Log, On, drain, pipe, readable_pipe};
use multicast::compat::{Flags, Handle, Handler, Poller, poll, register, unregister};
use multicast::{Error, ErrorKind, Result};

/// A handler that records its name, and reads.
fn noting(name: &'static str, stream: UnixStream, log: &Log<&'static str>) -> impl Handler + use<> {
    let log = log.clone();
    On::read(stream, move |stream| {
        log.add(name);
        drain(stream);
        Ok(GO_ON)
    })
}

#[test]
fn a_registered_handler_is_called_when_something_can_be_read() {
    let (here, mut there) = pipe();
    let log = Log::new();
    register(noting("read", here, &log), Flags::NONE).unwrap();
    assert_eq!(poll(Duration::ZERO).unwrap(), 0);
    there.write_all(b"x").unwrap();
    assert_eq!(poll(PATIENCE).unwrap(), 1);
    assert_eq!(poll(Duration::ZERO).unwrap(), 0);
    there.write_all(b"x").unwrap();
    assert_eq!(poll(PATIENCE).unwrap(), 1);
    assert_eq!(log.take(), ["read", "read"]);
}

#[test]
fn a_socket_of_std_can_be_registered() {
    struct Echo(UdpSocket);
    impl AsFd for Echo {
        fn as_fd(&self) -> BorrowedFd<'_> {
            self.0.as_fd()
        }
    }
    impl Handler for Echo {
        fn interest(&self) -> Flags {
            Flags::READ
        }

        fn handle_read(&mut self) -> Result<ControlFlow<()>> {
            let mut buffer = [0; 100];
            let (length, source) = self.0.recv_from(&mut buffer)?;
            self.0.send_to(&buffer[..length], source)?;
            Ok(GO_ON)
        }
    }
    let echo = UdpSocket::bind("127.0.0.1:0").unwrap();
    let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
    peer.send_to(b"hello", echo.local_addr().unwrap()).unwrap();
    register(Echo(echo), Flags::NONE).unwrap();
    assert_eq!(poll(PATIENCE).unwrap(), 1);
    let mut buffer = [0; 100];
    assert_eq!(peer.recv(&mut buffer).unwrap(), 5);
    assert_eq!(&buffer[..5], b"hello");
}

#[test]
fn unregister_returns_the_object_and_drops_its_events() {
    let (here, _there) = readable_pipe();
    let handle = register(On::read(here, |_| panic!("called")), Flags::NONE).unwrap();
    assert!(handle.is_registered());
    let object = unregister(&handle).unwrap().expect("the object");
    assert!(!handle.is_registered());
    assert_eq!(poll(Duration::ZERO).unwrap(), 0);
    assert_eq!(drain(&object.stream), 1);
    assert!(unregister(&handle).unwrap().is_none(), "it has left already");
}

#[test]
fn a_handler_that_unregisters_itself_is_dropped_when_its_call_returns() {
    let (here, _there) = readable_pipe();
    let (log, drops) = (Log::new(), Log::new());
    let own = Later::new();
    let (note, leave, last) = (log.clone(), own.clone(), Dropped(drops.clone()));
    let handle = register(
        On::read(here, move |_| {
            let _kept = &last;
            leave.call();
            note.add(());
            assert_eq!(last.0.len(), 0, "it still runs");
            Ok(GO_ON)
        }),
        Flags::NONE,
    )
    .unwrap();
    let mine = handle.clone();
    own.set(move || assert!(unregister(&mine).unwrap().is_none(), "it runs"));
    assert_eq!(poll(PATIENCE).unwrap(), 1);
    assert_eq!((log.len(), drops.len()), (1, 1));
    assert!(!handle.is_registered());
    assert_eq!(poll(Duration::ZERO).unwrap(), 0);
}

/// Two handlers are ready. The one that is called first unregisters the other one, and registers a third one with the same
/// descriptor.

#[test]
fn a_stale_event_never_reaches_a_new_handler() {
    let poller = Poller::new().unwrap();
    let log = Log::new();
    let others = [Later::new(), Later::new()];
    let quiet = Rc::new(RefCell::new(Vec::new()));
    let mut ends = Vec::new();
    for index in 0..2_usize {
        let (here, there) = readable_pipe();
        ends.push(there);
        let (note, other) = (log.clone(), others[1 - index].clone());
        let handle = poller
            .register(
                On::read(here, move |stream| {
                    drain(stream);
                    note.add(index);
                    other.call();
                    Ok(GO_ON)
                }),
                Flags::NONE,
            )
            .unwrap();
        let (poller, kept) = (poller.clone(), Rc::clone(&quiet));
        others[index].set(move || {
            assert!(poller.unregister(&handle).unwrap().is_some(), "the other one was not called yet");
            let (here, there) = pipe();
            kept.borrow_mut().push(there);
            poller.register(On::read(here, |_| panic!("an event of its predecessor")), Flags::NONE).unwrap();
        });
    }
    assert_eq!(poller.poll(PATIENCE).unwrap(), 1);
    assert_eq!(poller.poll(Duration::ZERO).unwrap(), 0);
    assert_eq!(log.len(), 1);
}

#[test]
fn a_handle_never_names_a_later_handler() {
    let poller = Poller::new().unwrap();
    let make = |end: UnixStream| On { stream: end, interest: Flags::READ, call: (|_| Ok(GO_ON)) as fn(&UnixStream) -> _ };
    let first = poller.register(make(pipe().0), Flags::NONE).unwrap();
    poller.unregister(&first).unwrap();
    let second = poller.register(make(pipe().0), Flags::NONE).unwrap();
    assert!(poller.unregister(&first).unwrap().is_none());
    assert!(!first.is_registered() && second.is_registered());
}

#[test]
fn a_handle_of_another_poller_is_refused() {
    let (one, other) = (Poller::new().unwrap(), Poller::new().unwrap());
    let handle = one.register(On::read(pipe().0, |_| Ok(GO_ON)), Flags::NONE).unwrap();
    let error = other.unregister(&handle).map(drop).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotRegistered);
    assert_eq!(error.to_string(), "use a handle: its handler is registered with another poller");
    assert_eq!(unregister(&handle).map(drop).unwrap_err().kind(), ErrorKind::NotRegistered);
    assert!(handle.is_registered());
}

#[test]
fn dropping_handles_changes_nothing() {
    let (here, _there) = readable_pipe();
    let log = Log::new();
    let handle = register(noting("read", here, &log), Flags::NONE).unwrap();
    drop(handle.clone());
    drop(handle);
    assert_eq!(poll(PATIENCE).unwrap(), 1);
}

#[test]
fn break_drops_the_handler() {
    let (here, _there) = readable_pipe();
    let drops = Log::new();
    let last = Dropped(drops.clone());
    let handle = register(
        On::read(here, move |_| {
            let _kept = &last;
            Ok(BREAK)
        }),
        Flags::NONE,
    )
    .unwrap();
    poll(PATIENCE).unwrap();
    assert!(!handle.is_registered());
    assert_eq!(drops.len(), 1);
}

/// Three handlers are ready. The one that is called first fails. The next poll calls the two others.

#[test]
fn an_error_ends_only_its_own_handler() {
    let poller = Poller::new().unwrap();
    let log = Log::new();
    let mut kept = Vec::new();
    for _ in 0..3 {
        let (here, there) = readable_pipe();
        let note = log.clone();
        let handle = poller
            .register(
                On::read(here, move |stream| {
                    note.add(());
                    if note.len() == 1 {
                        return Err(Error::custom(ErrorKind::InvalidInput, "it does not like this"));
                    }
                    drain(stream);
                    Ok(GO_ON)
                }),
                Flags::NONE,
            )
            .unwrap();
        kept.push((there, handle));
    }
    let error = poller.poll(PATIENCE).unwrap_err();
    assert_eq!(error.to_string(), "it does not like this");
    assert_eq!(log.len(), 1, "at once");
    assert_eq!(kept.iter().filter(|(_, handle)| handle.is_registered()).count(), 2);
    assert_eq!(poller.poll(PATIENCE).unwrap(), 2);
    assert_eq!(poller.poll(Duration::ZERO).unwrap(), 0);
}

/// Both are ready in one batch. The one that is called first fails. The bytes for the other one are gone before the next poll.

#[test]
fn events_left_over_after_an_error_are_checked_again() {
    let poller = Poller::new().unwrap();
    let log = Log::new();
    let mut kept = Vec::new();
    for _ in 0..2 {
        let (here, there) = readable_pipe();
        let (note, reader) = (log.clone(), here.try_clone().unwrap());
        let call = move |_: &UnixStream| {
            note.add(());
            Err(std::io::Error::other("too early").into())
        };
        kept.push((poller.register(On::read(here, call), Flags::NONE).unwrap(), reader, there));
    }
    poller.poll(PATIENCE).unwrap_err();
    for (_, reader, _) in &kept {
        drain(reader);
    }
    assert_eq!(poller.poll(Duration::ZERO).unwrap(), 0);
    assert_eq!(log.len(), 1);
    kept.retain(|(handle, ..)| handle.is_registered());
    kept[0].2.write_all(b"x").unwrap();
    poller.poll(PATIENCE).unwrap_err();
    assert_eq!(log.len(), 2);
}

#[test]
fn a_panic_in_a_handler_leaves_the_poller_usable() {
    let poller = Poller::new().unwrap();
    let log = Log::new();
    let (bad, _bad) = readable_pipe();
    let (good, _good) = readable_pipe();
    let handle = poller.register(On::read(bad, |_| panic!("on purpose")), Flags::NONE).unwrap();
    poller.register(noting("good", good, &log), Flags::NONE).unwrap();
    assert!(catch_unwind(AssertUnwindSafe(|| poller.poll(PATIENCE))).is_err());
    assert!(!handle.is_registered());
    if log.len() == 0 {
        assert_eq!(poller.poll(PATIENCE).unwrap(), 1);
    }
    assert_eq!(poller.poll(Duration::ZERO).unwrap(), 0);
    assert_eq!(log.take(), ["good"]);
}

#[test]
fn registering_an_unsuitable_descriptor_is_an_error() {
    struct File(std::fs::File);
    impl AsFd for File {
        fn as_fd(&self) -> BorrowedFd<'_> {
            self.0.as_fd()
        }
    }
    impl Handler for File {
        fn interest(&self) -> Flags {
            Flags::READ
        }
    }
    let file = std::fs::File::open("/proc/self/exe").unwrap();
    assert_eq!(register(File(file), Flags::NONE).unwrap_err().kind(), ErrorKind::NotPollable);

    struct Shared(Rc<UnixStream>);
    impl AsFd for Shared {
        fn as_fd(&self) -> BorrowedFd<'_> {
            self.0.as_fd()
        }
    }
    impl Handler for Shared {
        fn interest(&self) -> Flags {
            Flags::READ
        }

        fn handle_read(&mut self) -> Result<ControlFlow<()>> {
            Ok(GO_ON)
        }
    }
    let stream = Rc::new(pipe().0);
    register(Shared(Rc::clone(&stream)), Flags::NONE).unwrap();
    let error = register(Shared(stream), Flags::NONE).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyRegistered);
    assert_eq!(
        error.to_string(),
        "register: another handler of this poller has the same descriptor: unregister that one first"
    );
    assert_eq!(poll(Duration::ZERO).unwrap(), 1, "the first one is there: its other end is gone");
}

#[test]
fn a_registered_handler_can_be_read_and_changed() {
    let (here, _there) = readable_pipe();
    let handle =
        register(On { stream: here, interest: Flags::NONE, call: |_: &UnixStream| Ok(BREAK) }, Flags::NONE).unwrap();
    assert_eq!(poll(Duration::ZERO).unwrap(), 0);
    let before = handle.with(|on| std::mem::replace(&mut on.interest, Flags::READ)).unwrap();
    assert_eq!(before, Some(Flags::NONE));
    assert_eq!(poll(PATIENCE).unwrap(), 1);
    assert_eq!(handle.with(|_| ()).unwrap(), None, "it has left");
}

#[test]
fn a_handler_may_change_its_descriptor() {
    struct Reconnects {
        stream: UnixStream,
        next: Option<UnixStream>,
    }
    impl AsFd for Reconnects {
        fn as_fd(&self) -> BorrowedFd<'_> {
            self.stream.as_fd()
        }
    }
    impl Handler for Reconnects {
        fn interest(&self) -> Flags {
            Flags::READ
        }

        fn handle_read(&mut self) -> Result<ControlFlow<()>> {
            match self.next.take() {
                Some(next) => self.stream = next,
                None => return Ok(BREAK),
            }
            Ok(GO_ON)
        }
    }
    let ((first, there), (second, mut later)) = (pipe(), pipe());
    let handle = register(Reconnects { stream: first, next: Some(second) }, Flags::NONE).unwrap();
    drop(there);
    assert_eq!(poll(PATIENCE).unwrap(), 1);
    assert_eq!(poll(Duration::ZERO).unwrap(), 0);
    later.write_all(b"x").unwrap();
    assert_eq!(poll(PATIENCE).unwrap(), 1);
    assert!(!handle.is_registered());
}

#[test]
fn more_ready_handlers_than_a_batch_are_all_called() {
    let poller = Poller::new().unwrap();
    let log = Log::new();
    let mut ends = Vec::new();
    for _ in 0..150 {
        let (here, there) = readable_pipe();
        ends.push(there);
        poller.register(noting("read", here, &log), Flags::NONE).unwrap();
    }
    let mut called = Vec::new();
    for _ in 0..3 {
        called.push(poller.poll(PATIENCE).unwrap());
    }
    assert_eq!(called, [64, 64, 22]);
    assert_eq!(log.len(), 150);
}

#[test]
fn poll_keeps_to_its_timeout() {
    let poller = Poller::new().unwrap();
    let _quiet: Handle<_> = poller.register(On::read(pipe().0, |_| Ok(BREAK)), Flags::NONE).unwrap();
    poller.poll(PATIENCE).unwrap();
    for timeout in [Duration::from_micros(200), Duration::from_millis(20)] {
        let start = Instant::now();
        assert_eq!(poller.poll(timeout).unwrap(), 0);
        let took = start.elapsed();
        assert!(took >= timeout && took < timeout + QUIET, "{timeout:?}: {took:?}");
    }
    assert_eq!(poller.poll(Some(Duration::ZERO)).unwrap(), 0);
}
