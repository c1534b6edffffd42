//! What a poller reports: which descriptors are ready, for what, and how often; and which registrations are errors.

use core::time::Duration;
use std::collections::BTreeSet;

use crate::common::{PATIENCE, QUIET, expect_packet, on_lo, send_all, send_on_lo, unique_group};
use multicast::{Error, ErrorKind, Event, Events, Interest, ListenOptions, OwnedFd, Poller, Progress, Token};
use rustix::event::EventfdFlags;
use rustix::io::{read, write};
use rustix::pipe::PipeFlags;
use rustix::time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec};

const READABLE: Interest = Interest::READABLE;
const WRITABLE: Interest = Interest::WRITABLE;

/// The reading end and the writing end of a pipe, which do not block.
fn pipe() -> (OwnedFd, OwnedFd) {
    rustix::pipe::pipe_with(PipeFlags::NONBLOCK | PipeFlags::CLOEXEC).unwrap()
}

/// A pipe with a byte in it.
fn readable_pipe() -> (OwnedFd, OwnedFd) {
    let (reader, writer) = pipe();
    write(&writer, b"!").unwrap();
    (reader, writer)
}

fn take_byte(reader: &OwnedFd) {
    assert_eq!(read(reader, &mut [0; 1]), Ok(1));
}

/// The descriptors that are ready now.
fn ready(poller: &Poller) -> Vec<Event> {
    poller.poll(&mut Events::<16>::new(), Duration::ZERO).unwrap().collect()
}

fn tokens(poller: &Poller) -> Vec<u64> {
    ready(poller).iter().map(|event| event.token().0).collect()
}

/// The only event, which must come.
#[track_caller]
fn expect_event(poller: &Poller, token: u64) -> Event {
    let events: Vec<_> = poller.poll(&mut Events::<16>::new(), PATIENCE).unwrap().collect();
    assert_eq!(events.len(), 1, "{events:?}");
    assert_eq!(events[0].token(), Token(token));
    events[0]
}

#[track_caller]
fn assert_error<T: core::fmt::Debug>(result: Result<T, Error>, kind: ErrorKind, errno: Option<i32>, text: &str) {
    let error = result.unwrap_err();
    assert_eq!(error.to_string(), text);
    assert_eq!((error.kind(), error.raw_os_error()), (kind, errno));
}

#[test]
fn level_triggered_events_come_at_each_poll_while_the_descriptor_is_ready() {
    let (poller, (reader, writer)) = (Poller::new().unwrap(), pipe());
    poller.register(&reader, Token(7), READABLE).unwrap();
    assert_eq!(tokens(&poller), []);
    write(&writer, b"!").unwrap();
    for _ in 0..3 {
        let event = expect_event(&poller, 7);
        assert!(event.is_readable() && !event.is_writable() && !event.is_error() && !event.is_hang_up(), "{event:?}");
    }
    take_byte(&reader);
    assert_eq!(tokens(&poller), []);
}

#[test]
fn edge_triggered_events_come_once_for_each_arrival() {
    let (poller, (reader, writer)) = (Poller::new().unwrap(), pipe());
    poller.register(&reader, Token(7), READABLE.edge()).unwrap();
    for _ in 0..3 {
        write(&writer, b"!").unwrap();
        assert_eq!(tokens(&poller), [7]);
        assert_eq!(tokens(&poller), [], "it was told, though nothing was read");
    }
}

#[test]
fn oneshot_events_come_once_until_reregister() {
    let (poller, (reader, writer)) = (Poller::new().unwrap(), readable_pipe());
    poller.register(&reader, Token(7), READABLE.oneshot()).unwrap();
    assert_eq!(tokens(&poller), [7]);
    write(&writer, b"!").unwrap();
    assert_eq!(tokens(&poller), []);
    poller.reregister(&reader, Token(8), READABLE.oneshot()).unwrap();
    assert_eq!(tokens(&poller), [8]);
    assert_eq!(tokens(&poller), []);
}

#[test]
fn edge_and_oneshot_can_be_combined() {
    let (poller, (reader, writer)) = (Poller::new().unwrap(), readable_pipe());
    poller.register(&reader, Token(7), READABLE.edge().oneshot()).unwrap();
    assert_eq!(tokens(&poller), [7]);
    write(&writer, b"!").unwrap();
    assert_eq!(tokens(&poller), []);
}

#[test]
fn reregister_changes_token_and_interest() {
    let poller = Poller::new().unwrap();
    let both = rustix::event::eventfd(1, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC).unwrap();
    poller.register(&both, Token(1), READABLE | WRITABLE).unwrap();
    let event = expect_event(&poller, 1);
    assert!(event.is_readable() && event.is_writable());
    poller.reregister(&both, Token(2), WRITABLE).unwrap();
    let event = expect_event(&poller, 2);
    assert!(!event.is_readable() && event.is_writable());
    poller.unregister(&both).unwrap();
    assert_eq!(tokens(&poller), []);
}

#[test]
fn writable_means_that_there_is_room() {
    let (poller, (reader, writer)) = (Poller::new().unwrap(), pipe());
    poller.register(&writer, Token(7), WRITABLE).unwrap();
    let event = expect_event(&poller, 7);
    assert!(event.is_writable() && !event.is_readable());
    while write(&writer, &[0; 4096]).is_ok() {}
    assert_eq!(tokens(&poller), []);
    while read(&reader, &mut [0; 4096]).is_ok() {}
    assert!(expect_event(&poller, 7).is_writable());
}

#[test]
fn a_pipe_without_a_writer_is_a_hang_up_and_can_be_read() {
    let (poller, (reader, writer)) = (Poller::new().unwrap(), readable_pipe());
    poller.register(&reader, Token(7), READABLE).unwrap();
    drop(writer);
    let event = expect_event(&poller, 7);
    assert!(event.is_hang_up() && event.is_readable() && !event.is_error(), "{event:?}");
    take_byte(&reader);
    let event = expect_event(&poller, 7);
    assert!(event.is_hang_up() && event.is_readable(), "a read returns the end: {event:?}");
}

#[test]
fn a_pipe_without_a_reader_is_an_error_event() {
    let (poller, (reader, writer)) = (Poller::new().unwrap(), pipe());
    // Errors are reported even if the interest is only in reading.
    poller.register(&writer, Token(7), READABLE).unwrap();
    drop(reader);
    let event = expect_event(&poller, 7);
    assert!(event.is_error() && !event.is_hang_up(), "{event:?}");
    assert!(event.is_readable() && event.is_writable(), "a loop that does one of both meets the error: {event:?}");
}

#[cfg(feature = "std")]
#[test]
fn a_loop_that_only_reads_meets_the_error_of_its_socket() {
    let poller = Poller::new().unwrap();
    // A datagram to a port that nobody is bound to: the kernel answers with an error, which has no packet.
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_nonblocking(true).unwrap();
    socket.connect(("127.0.0.1", crate::common::free_port())).unwrap();
    poller.register(&socket, Token(7), READABLE).unwrap();
    socket.send(b"").unwrap();
    let event = expect_event(&poller, 7);
    assert!(event.is_error() && event.is_readable(), "{event:?}");
    assert_eq!(socket.recv(&mut [0; 1]).unwrap_err().kind(), std::io::ErrorKind::ConnectionRefused);
    assert_eq!(tokens(&poller), []);
}

#[test]
fn a_timer_is_readable_when_it_is_due() {
    let poller = Poller::new().unwrap();
    let timer = rustix::time::timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::CLOEXEC).unwrap();
    let due = Itimerspec {
        it_interval: Timespec { tv_sec: 0, tv_nsec: 0 },
        it_value: Timespec { tv_sec: 0, tv_nsec: 20_000_000 },
    };
    poller.register(&timer, Token(7), READABLE).unwrap();
    assert_eq!(tokens(&poller), []);
    rustix::time::timerfd_settime(&timer, TimerfdTimerFlags::empty(), &due).unwrap();
    assert!(expect_event(&poller, 7).is_readable());
}

#[test]
fn a_nested_poller_is_readable_while_it_has_events() {
    let (outer, inner, (reader, _writer)) = (Poller::new().unwrap(), Poller::new().unwrap(), readable_pipe());
    outer.register(&inner, Token(1), READABLE).unwrap();
    assert_eq!(tokens(&outer), []);
    inner.register(&reader, Token(2), READABLE).unwrap();
    assert_eq!(tokens(&outer), [1]);
    assert_eq!(tokens(&inner), [2]);
    assert_eq!(tokens(&outer), [1], "asking the inner one does not change that it is so");
    take_byte(&reader);
    assert_eq!(tokens(&outer), []);
}

#[test]
fn a_wake_of_a_nested_poller_wakes_the_outer_one_once() {
    let (outer, inner) = (Poller::new().unwrap(), Poller::new().unwrap());
    outer.register(&inner, Token(1), READABLE).unwrap();
    inner.waker().unwrap().wake().unwrap();
    assert_eq!(tokens(&outer), [1]);
    let mut events = Events::<4>::new();
    assert_eq!(inner.poll(&mut events, Duration::ZERO).unwrap().count(), 0);
    assert!(events.woken());
    assert_eq!(tokens(&outer), []);
}

#[test]
fn a_listener_is_readable_while_packets_wait() {
    let (poller, group) = (Poller::new().unwrap(), unique_group());
    let mut listener = ListenOptions::new().bind::<64>(on_lo(group)).unwrap();
    poller.register(&listener, Token(7), READABLE).unwrap();
    assert_eq!(tokens(&poller), []);
    send_all(group, ["packet"]);
    assert!(expect_event(&poller, 7).is_readable());
    assert_eq!(expect_packet(&mut listener), b"packet");
    assert_eq!(tokens(&poller), []);
}

#[test]
fn a_multicaster_is_writable() {
    let poller = Poller::new().unwrap();
    let mut caster = send_on_lo().packets(unique_group(), ["packet"]).unwrap();
    poller.register(&caster, Token(7), WRITABLE).unwrap();
    assert!(expect_event(&poller, 7).is_writable());
    assert_eq!(caster.step(), Ok(Progress::Sent(1)));
    assert_eq!(caster.step(), Ok(Progress::Done));
}

#[cfg(feature = "std")]
#[test]
fn a_socket_of_std_is_a_descriptor_like_any_other() {
    let poller = Poller::new().unwrap();
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    poller.register(&socket, Token(7), READABLE).unwrap();
    assert_eq!(tokens(&poller), []);
    socket.send_to(b"", socket.local_addr().unwrap()).unwrap();
    assert!(expect_event(&poller, 7).is_readable());
}

#[cfg(feature = "std")]
#[test]
fn urgent_data_alone_is_readable() {
    use std::io::{ErrorKind, Read};

    let poller = Poller::new().unwrap();
    let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let client = std::net::TcpStream::connect(server.local_addr().unwrap()).unwrap();
    let (mut peer, _) = server.accept().unwrap();
    peer.set_nonblocking(true).unwrap();
    poller.register(&peer, Token(7), READABLE).unwrap();
    rustix::net::send(&client, b"!", rustix::net::SendFlags::OOB).unwrap();
    // EPOLLPRI without EPOLLIN: an ordinary read returns nothing.
    assert!(expect_event(&poller, 7).is_readable());
    assert_eq!(peer.read(&mut [0; 1]).unwrap_err().kind(), ErrorKind::WouldBlock);
}

/// Polls, and expects that any `within` polls in a row report each of ten ready pipes.
fn expect_nobody_starves<const N: usize>(timeout: Duration, within: usize, before_poll: impl Fn(&Poller)) {
    let poller = Poller::new().unwrap();
    let pipes: Vec<_> = (0..10).map(|_| readable_pipe()).collect();
    for ((reader, _), token) in pipes.iter().zip(0..) {
        poller.register(reader, Token(token), READABLE).unwrap();
    }
    let mut events = Events::<N>::new();
    for round in 0..20 {
        let mut seen = BTreeSet::new();
        for _ in 0..within {
            before_poll(&poller);
            let before = seen.len();
            seen.extend(poller.poll(&mut events, timeout).unwrap().map(|event| event.token().0));
            assert!(seen.len() - before <= N);
        }
        assert_eq!(seen, BTreeSet::from_iter(0..10), "round {round}, room for {N}");
    }
}

#[test]
fn events_that_do_not_fit_come_at_the_next_poll() {
    expect_nobody_starves::<1>(Duration::ZERO, 10, |_| {});
    expect_nobody_starves::<2>(Duration::ZERO, 5, |_| {});
    expect_nobody_starves::<3>(PATIENCE, 4, |_| {});
    expect_nobody_starves::<1>(Duration::from_micros(200), 10, |_| {});
}

#[test]
fn constant_wakes_do_not_starve_descriptors() {
    // The waker counts like a descriptor: eleven are served in turn, with room for one event.
    expect_nobody_starves::<1>(Duration::ZERO, 11, |poller| poller.waker().unwrap().wake().unwrap());
    expect_nobody_starves::<2>(Duration::ZERO, 6, |poller| poller.waker().unwrap().wake().unwrap());
}

#[test]
fn an_event_in_the_batch_is_delivered_even_after_unregister() {
    let poller = Poller::new().unwrap();
    let pipes = [readable_pipe(), readable_pipe()];
    poller.register(&pipes[0].0, Token(0), READABLE).unwrap();
    poller.register(&pipes[1].0, Token(1), READABLE).unwrap();
    let mut events = Events::<4>::new();
    let mut seen = Vec::new();
    // At the first event both are unregistered; the second event is already in the batch.
    for event in poller.poll(&mut events, PATIENCE).unwrap() {
        if seen.is_empty() {
            poller.unregister(&pipes[0].0).unwrap();
            poller.unregister(&pipes[1].0).unwrap();
        }
        seen.push(event.token());
    }
    seen.sort();
    assert_eq!(seen, [Token(0), Token(1)]);
    assert_eq!(tokens(&poller), []);
}

#[test]
fn the_body_of_the_loop_may_register_poll_and_unregister() {
    let (poller, (reader, _writer), (late, _late_writer)) = (Poller::new().unwrap(), readable_pipe(), readable_pipe());
    poller.register(&reader, Token(1), READABLE).unwrap();
    let mut events = Events::<4>::new();
    for event in poller.poll(&mut events, PATIENCE).unwrap() {
        assert_eq!(event.token(), Token(1));
        poller.register(&late, Token(2), READABLE).unwrap();
        poller.unregister(&reader).unwrap();
        assert_eq!(tokens(&poller), [2]);
    }
    // The events stay until the next poll.
    assert_eq!(events.iter().map(|event| event.token()).collect::<Vec<_>>(), [Token(1)]);
    assert_eq!((&events).into_iter().count(), 1);
    assert_eq!(poller.poll(&mut events, Duration::ZERO).unwrap().map(|event| event.token()).collect::<Vec<_>>(), [Token(2)]);
}

#[test]
fn a_second_descriptor_of_the_same_file_is_registered_separately() {
    let (poller, (reader, _writer)) = (Poller::new().unwrap(), readable_pipe());
    let second = rustix::io::dup(&reader).unwrap();
    poller.register(&reader, Token(1), READABLE).unwrap();
    poller.register(&second, Token(2), READABLE).unwrap();
    assert_eq!(BTreeSet::from_iter(tokens(&poller)), BTreeSet::from([1, 2]));
}

#[test]
fn a_closed_descriptor_is_no_longer_polled() {
    let (poller, (reader, _writer)) = (Poller::new().unwrap(), readable_pipe());
    poller.register(&reader, Token(1), READABLE).unwrap();
    drop(reader);
    assert_eq!(poller.poll(&mut Events::<4>::new(), QUIET).unwrap().count(), 0);
}

#[test]
fn only_the_token_of_the_waker_is_refused() {
    let (poller, (reader, _writer)) = (Poller::new().unwrap(), readable_pipe());
    let text = "a file descriptor: this token is reserved for the waker: choose another one";
    let reserved = Token(u64::MAX);
    assert_error(poller.register(&reader, reserved, READABLE), ErrorKind::ReservedToken, None, &format!("register {text}"));
    poller.register(&reader, Token(u64::MAX - 1), READABLE).unwrap();
    let result = poller.reregister(&reader, reserved, READABLE);
    assert_error(result, ErrorKind::ReservedToken, None, &format!("reregister {text}"));
    assert_eq!(tokens(&poller), [u64::MAX - 1]);
    poller.reregister(&reader, Token(0), READABLE).unwrap();
    assert_eq!(tokens(&poller), [0]);
}

#[test]
fn registering_twice_and_unregistering_an_unknown_descriptor_are_errors() {
    let (poller, (reader, _writer)) = (Poller::new().unwrap(), readable_pipe());
    let unknown = "a file descriptor: not registered: register it first";
    let (not_registered, enoent) = (ErrorKind::NotRegistered, Some(2));
    assert_error(poller.unregister(&reader), not_registered, enoent, &format!("unregister {unknown}"));
    let result = poller.reregister(&reader, Token(1), READABLE);
    assert_error(result, not_registered, enoent, &format!("reregister {unknown}"));
    poller.register(&reader, Token(1), READABLE).unwrap();
    let text = "register a file descriptor: already registered: use reregister";
    assert_error(poller.register(&reader, Token(2), READABLE), ErrorKind::AlreadyRegistered, Some(17), text);
    assert_eq!(tokens(&poller), [1], "the first one stays");
    poller.unregister(&reader).unwrap();
    assert_error(poller.unregister(&reader), not_registered, enoent, &format!("unregister {unknown}"));
}

#[cfg(feature = "std")]
#[test]
fn files_and_directories_are_refused() {
    let poller = Poller::new().unwrap();
    let text = "register a file descriptor: regular files and directories cannot be polled, since they are always ready: \
                read them without a poller";
    for path in ["Cargo.toml", "src"] {
        let file = std::fs::File::open(path).unwrap();
        assert_error(poller.register(&file, Token(1), READABLE), ErrorKind::NotPollable, Some(1), text);
    }
}

#[test]
fn pollers_that_would_wait_for_each_other_are_refused() {
    let (one, two) = (Poller::new().unwrap(), Poller::new().unwrap());
    let text = "register a file descriptor: a poller cannot wait for itself";
    assert_error(one.register(&one, Token(1), READABLE), ErrorKind::System, Some(22), text);
    one.register(&two, Token(1), READABLE).unwrap();
    let text = "register a file descriptor: pollers would wait for each other in a loop, or be nested too deeply";
    // The number is 40 except on MIPS.
    let circle = rustix::io::Errno::LOOP.raw_os_error();
    assert_error(two.register(&one, Token(1), READABLE), ErrorKind::System, Some(circle), text);
}
