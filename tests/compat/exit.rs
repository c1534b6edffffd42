//! The handle-based API: what happens to handlers when their thread ends.

use std::cell::RefCell;
use std::ops::ControlFlow;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::Duration;

use crate::common;
use crate::common::unique_group;
use crate::compat_help;
use crate::compat_help::{from, noting, pipe, to};
use multicast::ErrorKind;
use multicast::compat::{
    Flags, Handler, ListenOptions, MulticastListener, Multicaster, Packets, Poller, default_poller, listen_with, poll,
    polling, register, run, sendto_with, stop, stopper,
};

/// A handler that runs a function when it is dropped.
struct AtEnd<F: FnMut() + 'static>(UnixStream, F);

impl<F: FnMut() + 'static> AsFd for AtEnd<F> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl<F: FnMut() + 'static> Handler for AtEnd<F> {
    fn interest(&self) -> Flags {
        Flags::READ
    }

    fn handle_read(&mut self) -> multicast::Result<ControlFlow<()>> {
        Ok(compat_help::GO_ON)
    }
}

impl<F: FnMut() + 'static> Drop for AtEnd<F> {
    fn drop(&mut self) {
        (self.1)();
    }
}

fn telling(sender: &Sender<&'static str>) -> AtEnd<impl FnMut() + use<>> {
    let sender = sender.clone();
    AtEnd(pipe().0, move || sender.send("dropped").unwrap())
}

#[test]
fn handlers_that_live_until_their_thread_ends_are_dropped() {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        let group = unique_group();
        MulticastListener::new(noting(&compat_help::Log::new()), from(group)).unwrap();
        Multicaster::new(std::iter::repeat("endless"), to(group)).unwrap();
        register(telling(&sender), Flags::NONE).unwrap();
        poll(Duration::ZERO).unwrap();
    })
    .join()
    .unwrap();
    assert_eq!(receiver.recv_timeout(common::PATIENCE), Ok("dropped"));
}

/// Each handler keeps the poller alive.
#[test]
fn handlers_that_hold_their_own_poller_are_dropped_too() {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        let (poller, inner) = (default_poller().unwrap(), telling(&sender));
        register(
            AtEnd(pipe().0, move || assert!(poller.poll(None).is_err() && inner.0.as_fd().try_clone_to_owned().is_ok())),
            Flags::NONE,
        )
        .unwrap();
    })
    .join()
    .unwrap();
    assert_eq!(receiver.recv_timeout(common::PATIENCE), Ok("dropped"));
}

#[test]
fn a_handler_that_uses_the_api_while_its_thread_ends_gets_errors() {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        let call_all = move || {
            let group = unique_group();
            let refused = [
                default_poller().map(drop),
                register(AtEnd(pipe().0, || ()), Flags::NONE).map(drop),
                poll(Duration::ZERO).map(drop),
                run(None, Duration::ZERO),
                stop(),
                stopper().map(drop),
                Packets::new(from(group)).map(drop),
                listen_with(|_, _| ControlFlow::Break(()), from(group)),
                Multicaster::new(["x"], to(group)).map(drop),
            ];
            for result in refused {
                let error = result.unwrap_err();
                sender.send((error.kind(), error.to_string())).unwrap();
            }
            assert!(!polling());
            // This one needs no poller.
            sendto_with("last words", to(group)).unwrap();
        };
        register(AtEnd(pipe().0, call_all), Flags::NONE).unwrap();
    })
    .join()
    .unwrap();
    let errors = receiver.iter().collect::<Vec<_>>();
    assert_eq!(errors.len(), 9);
    for (kind, text) in errors {
        assert_eq!(kind, ErrorKind::InvalidInput);
        assert_eq!(text, "use the default poller: it is gone, since its thread ends");
    }
}

#[test]
fn handles_in_thread_locals_may_be_dropped_after_the_poller() {
    thread_local! {
        static KEPT: RefCell<Vec<Box<dyn std::any::Any>>> = const { RefCell::new(Vec::new()) };
    }
    thread::spawn(|| {
        // On some systems the thread-local that was used first is dropped first, on others last: both orders are tested.
        let early = KEPT.with(|_| Packets::new(from(unique_group())).unwrap());
        let handle = register(AtEnd(pipe().0, || ()), Flags::NONE).unwrap();
        KEPT.with_borrow_mut(|kept| {
            kept.push(Box::new(early));
            kept.push(Box::new(handle));
            kept.push(Box::new(default_poller().unwrap()));
        });
    })
    .join()
    .unwrap();
    thread::spawn(|| {
        let late =
            Packets::new(ListenOptions::new().group(unique_group()).interface(multicast::Interface::LOOPBACK)).unwrap();
        KEPT.with_borrow_mut(|kept| kept.push(Box::new(late)));
    })
    .join()
    .unwrap();
}

#[test]
fn a_poller_drops_its_handlers_with_its_last_clone() {
    let (sender, receiver) = channel();
    let poller = Poller::new().unwrap();
    let handle = poller.register(telling(&sender), Flags::NONE).unwrap();
    let clone = poller.clone();
    drop(poller);
    assert!(receiver.try_recv().is_err());
    drop(clone);
    assert_eq!(receiver.try_recv(), Ok("dropped"));
    assert!(!handle.is_registered());
}

#[test]
fn packets_without_a_poller_return_an_error() {
    let poller = Poller::new().unwrap();
    let mut packets = Packets::new(from(unique_group()).poller(&poller)).unwrap();
    assert!(packets.next().unwrap().is_none());
    drop(poller);
    let error = packets.next().unwrap_err();
    assert_eq!((error.kind(), error.to_string().as_str()), (ErrorKind::NotRegistered, "take a packet: its poller is gone"));
}
