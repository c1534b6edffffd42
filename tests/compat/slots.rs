//! The handle-based API: who owns a handler, when it is dropped, and what the poller counts meanwhile.

use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::common::{PATIENCE, QUIET, send_all, unique_group};
use crate::compat_help;
use crate::compat_help::{BREAK, Dropped, GO_ON, Later, Log, On, from, pipe, readable_pipe, to};
use multicast::compat::{Flags, Handle, Handler, MulticastListener, Multicaster, Packets, Poller, sendto_with};
use multicast::{ErrorKind, Result};

/// A handler with a closure for each method, and one for its drop.
struct Scripted<R: FnMut() -> Result<ControlFlow<()>> + 'static, D: FnMut() + 'static> {
    stream: UnixStream,
    read: R,
    pause: Option<Instant>,
    at_drop: D,
}

impl<R: FnMut() -> Result<ControlFlow<()>>, D: FnMut()> AsFd for Scripted<R, D> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

impl<R: FnMut() -> Result<ControlFlow<()>>, D: FnMut()> Handler for Scripted<R, D> {
    fn interest(&self) -> Flags {
        Flags::READ
    }

    fn handle_read(&mut self) -> Result<ControlFlow<()>> {
        (self.read)()
    }

    fn paused_until(&self) -> Option<Instant> {
        self.pause
    }
}

impl<R: FnMut() -> Result<ControlFlow<()>> + 'static, D: FnMut() + 'static> Drop for Scripted<R, D> {
    fn drop(&mut self) {
        (self.at_drop)();
    }
}

fn failed() -> multicast::Error {
    std::io::Error::other("on purpose").into()
}

type Leave = fn() -> Result<ControlFlow<()>>;

/// All ways for a handler to leave during a call.
const WAYS_OUT: [(&str, Leave); 3] =
    [("break", || Ok(BREAK)), ("an error", || Err(failed())), ("a panic", || panic!("on purpose"))];

/// Whether the poll succeeded, without an error or a panic.
fn poll(poller: &Poller) -> bool {
    catch_unwind(AssertUnwindSafe(|| poller.poll(PATIENCE))).is_ok_and(|called| called.is_ok())
}

#[test]
fn a_handler_is_dropped_once_after_break_error_or_panic() {
    for (way, leave) in WAYS_OUT {
        let (poller, drops, (here, _there)) = (Poller::new().unwrap(), Log::new(), readable_pipe());
        let last = Dropped(drops.clone());
        let call = move |_: &UnixStream| {
            let _kept = &last;
            leave()
        };
        let handle = poller.register(On::read(here, call), Flags::NONE).unwrap();
        let clone = handle.clone();
        assert_eq!(poll(&poller), way == "break");
        // A handle does not keep its handler alive.
        assert_eq!(drops.len(), 1, "{way}");
        assert!(!handle.is_registered() && !clone.is_registered(), "{way}");
        assert!(handle.with(|_| ()).unwrap().is_none() && poller.unregister(&clone).unwrap().is_none(), "{way}");
        // Nothing is left: a loop ends at once, and the poller accepts new handlers.
        poller.run(None, Duration::ZERO).unwrap();
        let (here, _there) = readable_pipe();
        poller.register(On::read(here, |_| Ok(BREAK)), Flags::NONE).unwrap();
        poller.run(None, Duration::ZERO).unwrap();
    }
}

/// Its `drop` registers another handler, lends one, polls, and unregisters a third one.
#[test]
fn a_handler_may_call_its_poller_when_it_is_dropped() {
    for (way, leave) in WAYS_OUT.into_iter().chain([("unregister", (|| Ok(GO_ON)) as Leave)]) {
        let (poller, seen) = (Poller::new().unwrap(), Log::new());
        let (here, _there) = readable_pipe();
        let (quiet, _quiet) = pipe();
        let other = poller.register(On::read(quiet, |_| Ok(GO_ON)), Flags::NONE).unwrap();
        let own = Rc::new(std::cell::OnceCell::<Box<dyn Fn() -> bool>>::new());
        let (inner, log, is_registered) = (poller.clone(), seen.clone(), Rc::clone(&own));
        let at_drop = move || {
            assert!(!is_registered.get().unwrap()(), "it has left before it is dropped");
            let (new, _new) = readable_pipe();
            inner.register(On::read(new, |_| Ok(BREAK)), Flags::NONE).unwrap();
            assert_eq!(other.with(|_| 7).unwrap(), Some(7));
            assert_eq!(inner.poll(PATIENCE).unwrap(), 1);
            log.add(inner.unregister(&other).unwrap().is_some());
        };
        let handle = poller.register(Scripted { stream: here, read: leave, pause: None, at_drop }, Flags::NONE).unwrap();
        let same = handle.clone();
        assert!(own.set(Box::new(move || same.is_registered())).is_ok());
        match way {
            "unregister" => drop(poller.unregister(&handle).unwrap()),
            _ => assert_eq!(poll(&poller), way == "break"),
        }
        assert_eq!(seen.take(), [true], "{way}");
        poller.run(None, Duration::ZERO).unwrap();
    }
}

#[test]
fn a_panic_while_a_handler_is_lent_or_asked_removes_it() {
    struct Asked {
        stream: Rc<UnixStream>,
        panics: bool,
        _dropped: Dropped,
    }
    impl AsFd for Asked {
        fn as_fd(&self) -> BorrowedFd<'_> {
            self.stream.as_fd()
        }
    }
    impl Handler for Asked {
        fn interest(&self) -> Flags {
            assert!(!self.panics, "on purpose");
            Flags::READ
        }
    }
    let (poller, drops) = (Poller::new().unwrap(), Log::new());
    let stream = Rc::new(pipe().0);
    let asked = |panics| Asked { stream: Rc::clone(&stream), panics, _dropped: Dropped(drops.clone()) };
    assert!(catch_unwind(AssertUnwindSafe(|| poller.register(asked(true), Flags::NONE))).is_err());
    assert_eq!(drops.len(), 1, "when it is registered");
    for panics_outside in [true, false] {
        // Its descriptor can be registered again.
        let handle = poller.register(asked(false), Flags::NONE).unwrap();
        let look = |asked: &mut Asked| {
            assert!(!panics_outside, "on purpose");
            asked.panics = true;
        };
        assert!(catch_unwind(AssertUnwindSafe(|| handle.with(look))).is_err());
        assert!(!handle.is_registered());
    }
    assert_eq!(drops.len(), 3);
    poller.run(None, Duration::ZERO).unwrap();
}

#[test]
fn a_running_handler_is_registered_and_cannot_be_lent() {
    let (poller, seen, own) = (Poller::new().unwrap(), Log::new(), Later::new());
    let (here, _there) = readable_pipe();
    let look = own.clone();
    let call = move |_: &UnixStream| {
        look.call();
        Ok(GO_ON)
    };
    let handle = poller.register(On::read(here, call), Flags::NONE).unwrap();
    let (log, inner, mine) = (seen.clone(), poller.clone(), handle.clone());
    own.set(move || {
        log.add((mine.is_registered(), mine.with(|_| ()).unwrap().is_some()));
        log.add((inner.unregister(&mine).unwrap().is_some(), mine.is_registered()));
        log.add((mine.with(|_| ()).unwrap().is_some(), inner.rearm(&mine).is_err()));
    });
    assert_eq!(poller.poll(PATIENCE).unwrap(), 1);
    assert_eq!(seen.take(), [(true, false), (false, false), (false, false)]);
    // The same while it is lent.
    let (here, _there) = readable_pipe();
    let handle = poller.register(On::read(here, |_| panic!("called while it was lent")), Flags::NONE).unwrap();
    let nested = handle.with(|_| (poller.poll(QUIET).unwrap(), handle.is_registered(), poller.unregister(&handle).unwrap()));
    assert!(matches!(nested, Ok(Some((0, true, None)))));
    assert!(!handle.is_registered());
    own.set(|| ());
}

/// Lent by another handler of the same poll, it is in the queue with its event: that is the one it waits for.
#[test]
fn a_one_shot_handler_that_is_lent_between_its_event_and_its_call_is_called_once() {
    let (poller, calls, lent) = (Poller::new().unwrap(), Log::new(), Later::new());
    let (first, _first) = readable_pipe();
    let (second, _second) = readable_pipe();
    let lends = lent.clone();
    let lend = move |_: &UnixStream| {
        lends.call();
        Ok(BREAK)
    };
    poller.register(On::read(first, lend), Flags::NONE).unwrap();
    let log = calls.clone();
    let call = move |_: &UnixStream| {
        log.add(());
        Ok(GO_ON)
    };
    let handle = poller.register(On::read(second, call), Flags::ONESHOT).unwrap();
    let same = handle.clone();
    lent.set(move || assert_eq!(same.with(|_| ()).unwrap(), Some(())));
    while poller.poll(Duration::ZERO).unwrap() > 0 {}
    assert_eq!(calls.len(), 1);
    poller.rearm(&handle).unwrap();
    while poller.poll(Duration::ZERO).unwrap() > 0 {}
    assert_eq!(calls.len(), 2);
}

/// The pause of a handler that has left must neither keep the loop running nor shorten a wait.
#[test]
fn a_pause_ends_when_its_handler_leaves() {
    let poller = Poller::new().unwrap();
    let pausing = |time| {
        let pause = Some(Instant::now() + time);
        let handler = Scripted { stream: pipe().0, read: || Ok(BREAK), pause, at_drop: || () };
        poller.register(handler, Flags::NONE).unwrap()
    };
    let (short, long) = (pausing(Duration::from_millis(20)), pausing(PATIENCE));
    assert_eq!(poller.poll(Duration::ZERO).unwrap(), 0);
    // Lending does not end a pause.
    assert_eq!(long.with(|handler| handler.pause.is_some()).unwrap(), Some(true));
    // A pause that ends while the handler is lent is noticed afterwards.
    let nested = short.with(|_| poller.poll(Duration::from_millis(40)).unwrap());
    assert_eq!(nested.unwrap(), Some(0));
    assert!(poller.unregister(&long).unwrap().is_some());
    assert!(poller.unregister(&short).unwrap().is_some());
    let (start, cpu) = (Instant::now(), compat_help::cpu_time());
    assert_eq!(poller.poll(Duration::from_millis(60)).unwrap(), 0);
    assert!(start.elapsed() >= Duration::from_millis(60));
    assert!(compat_help::cpu_time() - cpu < Duration::from_millis(20));
    // A paused handler is still registered: the loop runs until its pause is over.
    let start = Instant::now();
    let last = pausing(Duration::from_millis(40));
    poller.run(None, Duration::ZERO).unwrap();
    assert!(start.elapsed() >= Duration::from_millis(40) && !last.is_registered());
}

/// A loop in a handler runs as long as there are handlers that are not running.
#[test]
fn a_loop_ends_when_only_running_handlers_are_left() {
    let (poller, log) = (Poller::new().unwrap(), Log::new());
    let mut ends = Vec::new();
    for name in ["one", "two", "three"] {
        let (here, there) = readable_pipe();
        ends.push(there);
        let (inner, note) = (poller.clone(), log.clone());
        let call = move |_: &UnixStream| {
            note.add(format!("{name} begins"));
            inner.run(None, Duration::ZERO)?;
            note.add(format!("{name} ends"));
            Ok(BREAK)
        };
        poller.register(On::read(here, call), Flags::NONE).unwrap();
    }
    poller.run(None, Duration::ZERO).unwrap();
    let log = log.take();
    assert!(log[..3].iter().all(|line| line.ends_with("begins")) && log[3..].iter().all(|line| line.ends_with("ends")));
    assert_eq!(log.len(), 6, "{log:?}");
}

/// The memberships of a listener are kept as long as it is registered. After that they must not keep the loop running.
#[test]
fn a_loop_ends_after_a_listener_with_a_kept_membership_failed() {
    let (poller, group) = (Poller::new().unwrap(), unique_group());
    let lo = "lo".parse().unwrap();
    let handler = |_: &[u8], _: SocketAddr| -> ControlFlow<()> { panic!("on purpose") };
    let handle = MulticastListener::new(handler, from(group).interface(lo).poller(&poller)).unwrap();
    let packets = Packets::new(from(group).interface(lo).poller(&poller)).unwrap();
    sendto_with("x", to(group)).unwrap();
    while handle.is_registered() {
        poll(&poller);
    }
    drop(packets);
    poller.run(None, Duration::ZERO).unwrap();
}

#[test]
fn stopping_a_poller_ends_only_turns_of_its_own_handlers() {
    let [one, other] = [(); 2].map(|()| Poller::new().unwrap());
    for (stopped, expected) in [(&other, 3), (&one, 1)] {
        let (group, log) = (unique_group(), Log::new());
        let (note, stop) = (log.clone(), stopped.clone());
        let handler = move |packet: &[u8], _: SocketAddr| {
            note.add(packet.to_vec());
            stop.stop();
            GO_ON
        };
        let handle = MulticastListener::new(handler, from(group).poller(&one)).unwrap();
        send_all(group, ["one", "two", "three"]);
        assert_eq!(one.poll(PATIENCE).unwrap(), 1);
        assert_eq!(log.len(), expected, "packets in one turn");
        one.unregister(&handle).unwrap();
    }
    // The same for a multicaster: its iterator is user code, too.
    for (stopped, expected) in [(&other, 64), (&one, 1)] {
        let (count, stop) = (Rc::new(std::cell::Cell::new(0)), stopped.clone());
        let counted = Rc::clone(&count);
        let packets = std::iter::repeat_with(move || {
            counted.set(counted.get() + 1);
            stop.stop();
            "x"
        });
        let handle = Multicaster::new(packets, to(unique_group()).poller(&one)).unwrap();
        assert_eq!(one.poll(PATIENCE).unwrap(), 1);
        assert_eq!(count.get(), expected, "packets in one turn");
        one.unregister(&handle).unwrap();
    }
}

/// Unregistering ends the turns of all running handlers of this poller, not only of the one that is unregistered.
#[test]
fn unregistering_a_running_handler_ends_no_turn_of_another_poller() {
    let [one, other] = [(); 2].map(|()| Poller::new().unwrap());
    let (group, log, leave) = (unique_group(), Log::new(), Later::new());
    let (note, later) = (log.clone(), leave.clone());
    let handler = move |packet: &[u8], _: SocketAddr| {
        note.add(packet.to_vec());
        if packet == b"one" {
            later.call();
        }
        GO_ON
    };
    MulticastListener::new(handler, from(group).poller(&one)).unwrap();
    let (here, _there) = readable_pipe();
    let (poller, own) = (other.clone(), Later::new());
    let call = own.clone();
    let read = move |_: &UnixStream| {
        call.call();
        Ok(GO_ON)
    };
    let handle = other.register(On::read(here, read), Flags::NONE).unwrap();
    own.set(move || assert!(poller.unregister(&handle).unwrap().is_none()));
    leave.set(move || assert_eq!(other.poll(PATIENCE).unwrap(), 1));
    send_all(group, ["one", "two", "three"]);
    assert_eq!(one.poll(PATIENCE).unwrap(), 1);
    assert_eq!(log.len(), 3);
    own.set(|| ());
    leave.set(|| ());
}

#[test]
fn an_unregistered_object_may_move_to_another_thread() {
    let (poller, group) = (Poller::new().unwrap(), unique_group());
    let handler = |packet: &[u8], _: SocketAddr| if packet == b"last" { BREAK } else { GO_ON };
    let handle: Handle<_> = MulticastListener::new(handler, from(group).poller(&poller)).unwrap();
    let listener = poller.unregister(&handle).unwrap().unwrap();
    send_all(group, ["first", "last"]);
    std::thread::spawn(move || {
        let poller = Poller::new().unwrap();
        poller.register(listener, Flags::NONE).unwrap();
        poller.run(None, Duration::ZERO).unwrap();
    })
    .join()
    .unwrap();
}

#[test]
fn a_missing_handle_method_is_an_error_that_names_it() {
    struct Lacking(UnixStream, Flags);
    impl AsFd for Lacking {
        fn as_fd(&self) -> BorrowedFd<'_> {
            self.0.as_fd()
        }
    }
    impl Handler for Lacking {
        fn interest(&self) -> Flags {
            self.1
        }
    }
    let poller = Poller::new().unwrap();
    for (interest, flags, method) in [
        (Flags::READ, Flags::NONE, "handle_read"),
        (Flags::WRITE, Flags::NONE, "handle_write"),
        (Flags::NONE, Flags::READ, "handle_read"),
        (Flags::NONE, Flags::WRITE, "handle_write"),
    ] {
        let (here, _there) = readable_pipe();
        let handle = poller.register(Lacking(here, interest), flags).unwrap();
        let error = poller.poll(PATIENCE).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains(&format!("has no {method}: write one, or take")), "{error}");
        assert!(!handle.is_registered());
    }
    // A handler that waits for nothing needs no method.
    let (here, _there) = readable_pipe();
    let handle = poller.register(Lacking(here, Flags::NONE), Flags::NONE).unwrap();
    assert_eq!(poller.poll(Duration::ZERO).unwrap(), 0);
    assert!(handle.is_registered());
}

/// `follow` is user code, too.
#[test]
fn a_handler_of_ones_own_follows_changes_and_leaves_when_it_panics() {
    struct Follower(UnixStream, Log<multicast::Change>, bool);
    impl AsFd for Follower {
        fn as_fd(&self) -> BorrowedFd<'_> {
            self.0.as_fd()
        }
    }
    impl Handler for Follower {
        fn interest(&self) -> Flags {
            Flags::NONE
        }

        fn follows(&self) -> bool {
            true
        }

        fn follow(&mut self, change: &multicast::Change) -> Result<()> {
            assert!(!self.2, "on purpose");
            self.1.add(*change);
            Err(failed())
        }
    }
    let (poller, log) = (Poller::new().unwrap(), Log::new());
    let follower = |panics| Follower(pipe().0, log.clone(), panics);
    poller.register(follower(false), Flags::NONE).unwrap();
    assert_eq!(poller.poll(Duration::ZERO).unwrap_err().to_string(), "on purpose", "it is returned");
    assert_eq!(poller.poll(Duration::ZERO), Ok(0), "once");
    let lists_lo = |change: &multicast::Change| matches!(change, multicast::Change::Link(link) if link.name.is_some_and(|name| name.as_str() == "lo"));
    let seen = log.take();
    assert!(seen.iter().any(lists_lo), "{seen:?}");
    // The first change is tried again.
    assert_eq!(poller.poll(Duration::from_millis(150)), Ok(0));
    assert_eq!(log.take(), [seen[0]]);

    let poller = Poller::new().unwrap();
    let handle = poller.register(follower(true), Flags::NONE).unwrap();
    assert!(catch_unwind(AssertUnwindSafe(|| poller.poll(Duration::ZERO))).is_err());
    assert!(!handle.is_registered());
}
