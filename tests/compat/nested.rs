//! The handle-based API: what a handler may do while it runs.

use std::cell::RefCell;
use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use crate::common::{PATIENCE, unique_group};
use crate::compat_help::{BREAK, GO_ON, Later, Log, On, cpu_time, drain, from, noting, pipe, readable_pipe, to};
use multicast::compat::{
    Flags, ListenOptions, MulticastListener, Packets, Poller, listen_with, poll, register, run, sendto_with, unregister,
};

const NAP: Duration = Duration::from_millis(50);

/// A nested poll of 50 ms in a handler whose descriptor stays readable.
#[track_caller]
fn expect_a_nap(nested: impl FnOnce()) {
    let (start, cpu) = (Instant::now(), cpu_time());
    nested();
    let (took, worked) = (start.elapsed(), cpu_time() - cpu);
    assert!(took >= NAP && took < NAP * 4, "took {took:?}");
    assert!(worked < NAP / 5, "worked {worked:?}");
}

#[test]
fn a_nested_poll_waits_and_uses_no_processor() {
    let (here, _there) = readable_pipe();
    let log = Log::new();
    let note = log.clone();
    let handle = register(
        On::read(here, move |_| {
            expect_a_nap(|| note.add(poll(NAP).unwrap()));
            Ok(GO_ON)
        }),
        Flags::NONE,
    )
    .unwrap();
    // It has read nothing, so it is called again: it is armed.
    assert_eq!(poll(PATIENCE).unwrap(), 1);
    assert_eq!(poll(PATIENCE).unwrap(), 1);
    assert_eq!(log.take(), [0, 0]);
    assert!(handle.is_registered());
}

#[test]
fn a_nested_poll_of_an_edge_triggered_handler_waits_too() {
    let (here, mut there) = readable_pipe();
    let log = Log::new();
    let note = log.clone();
    register(
        On::read(here, move |stream| {
            drain(stream);
            note.add(());
            if note.len() == 1 {
                there.write_all(b"x").unwrap();
                expect_a_nap(|| assert_eq!(poll(NAP).unwrap(), 0));
            }
            Ok(GO_ON)
        }),
        Flags::EDGE,
    )
    .unwrap();
    assert_eq!(poll(PATIENCE).unwrap(), 1);
    assert_eq!(poll(PATIENCE).unwrap(), 1, "what came while it ran is told afterwards");
    assert_eq!(poll(Duration::ZERO).unwrap(), 0);
}

#[test]
fn a_nested_poll_after_unregistering_oneself_waits_too() {
    let (here, _there) = readable_pipe();
    let own = Later::new();
    let leave = own.clone();
    let handle = register(
        On::read(here, move |_| {
            leave.call();
            expect_a_nap(|| assert_eq!(poll(NAP).unwrap(), 0));
            Ok(GO_ON)
        }),
        Flags::NONE,
    )
    .unwrap();
    own.set(move || drop(unregister(&handle).unwrap()));
    assert_eq!(poll(PATIENCE).unwrap(), 1);
    assert_eq!(poll(Duration::ZERO).unwrap(), 0);
}

#[test]
fn a_nested_poll_in_a_oneshot_handler_leaves_it_disarmed() {
    let (here, _there) = readable_pipe();
    register(
        On::read(here, |_| {
            expect_a_nap(|| assert_eq!(poll(NAP).unwrap(), 0));
            Ok(GO_ON)
        }),
        Flags::ONESHOT,
    )
    .unwrap();
    assert_eq!(poll(PATIENCE).unwrap(), 1);
    assert_eq!(poll(Duration::ZERO).unwrap(), 0);
}

/// Both are ready in one batch: the nested poll calls the handler that the outer poll has not called yet, and the outer poll does
/// not call it again.
#[test]
fn a_nested_poll_serves_the_others_once() {
    let poller = Poller::new().unwrap();
    let log = Log::new();
    let mut ends = Vec::new();
    for name in ["a", "b"] {
        let (here, there) = readable_pipe();
        ends.push(there);
        let (note, nested) = (log.clone(), poller.clone());
        poller
            .register(
                On::read(here, move |stream| {
                    note.add(format!("{name} begins"));
                    if note.len() == 1 {
                        assert_eq!(nested.poll(PATIENCE).unwrap(), 1);
                    }
                    drain(stream);
                    note.add(format!("{name} ends"));
                    Ok(GO_ON)
                }),
                Flags::NONE,
            )
            .unwrap();
    }
    assert_eq!(poller.poll(PATIENCE).unwrap(), 1);
    let mut order = log.take();
    assert_eq!(order.len(), 4);
    assert_eq!(order[0][..1], order[3][..1], "{order:?}");
    order.sort();
    assert_eq!(order, ["a begins", "a ends", "b begins", "b ends"]);
    assert_eq!(poller.poll(Duration::ZERO).unwrap(), 0);
}

#[test]
fn a_nested_poll_returns_the_error_of_its_handler() {
    let poller = Poller::new().unwrap();
    let log = Log::new();
    let mut ends = Vec::new();
    for _ in 0..2 {
        let (here, there) = readable_pipe();
        ends.push(there);
        let (note, nested) = (log.clone(), poller.clone());
        poller
            .register(
                On::read(here, move |stream| {
                    note.add(());
                    if note.len() == 2 {
                        return Err(std::io::Error::other("the inner one").into());
                    }
                    drain(stream);
                    assert_eq!(nested.poll(PATIENCE).unwrap_err().to_string(), "the inner one");
                    Ok(BREAK)
                }),
                Flags::NONE,
            )
            .unwrap();
    }
    assert_eq!(poller.poll(PATIENCE).unwrap(), 1);
    poller.run(None, Duration::ZERO).unwrap();
    assert_eq!(log.len(), 2);
}

#[test]
fn a_handler_may_register_and_unregister_others() {
    let (here, _there) = readable_pipe();
    let (inner, _inner) = readable_pipe();
    let log = Log::new();
    let note = log.clone();
    let inner = RefCell::new(Some(inner));
    register(
        On::read(here, move |_| {
            let note = note.clone();
            let call = move |stream: &UnixStream| {
                note.add(drain(stream));
                Ok(GO_ON)
            };
            let handle = register(On::read(inner.take().unwrap(), call), Flags::NONE).unwrap();
            assert_eq!(poll(PATIENCE).unwrap(), 1);
            assert!(unregister(&handle).unwrap().is_some());
            Ok(BREAK)
        }),
        Flags::NONE,
    )
    .unwrap();
    assert_eq!(poll(PATIENCE).unwrap(), 1);
    assert_eq!(log.take(), [1]);
    run(None, Duration::ZERO).unwrap();
}

#[test]
fn a_packet_handler_may_send_to_its_own_group() {
    let group = unique_group();
    let log = Log::new();
    let note = log.clone();
    let answer = move |packet: &[u8], _: SocketAddr| {
        note.add(packet.to_vec());
        if packet == b"question" {
            sendto_with("answer", to(group)).unwrap();
            return GO_ON;
        }
        BREAK
    };
    MulticastListener::new(answer, from(group)).unwrap();
    sendto_with("question", to(group)).unwrap();
    run(None, Duration::ZERO).unwrap();
    assert_eq!(log.take(), [b"question".to_vec(), b"answer".to_vec()]);
}

#[test]
fn a_filter_may_call_the_api() {
    let group = unique_group();
    let log = Log::new();
    let kept = RefCell::new(Vec::new());
    let filter = move |packet: &[u8], _: SocketAddr| {
        let (here, there) = pipe();
        kept.borrow_mut().push(there);
        register(On::read(here, |_| Ok(GO_ON)), Flags::NONE).unwrap();
        poll(Duration::ZERO).unwrap();
        packet == b"good"
    };
    let handle = MulticastListener::new(noting(&log), from(group).filter_fn(filter)).unwrap();
    sendto_with(["bad", "good"], to(group)).unwrap();
    while log.len() == 0 {
        assert!(poll(PATIENCE).unwrap() > 0);
    }
    assert_eq!(log.take(), [b"good"]);
    assert_eq!(handle.with(|listener| listener.receiver().counters().rejected).unwrap(), Some(1));
}

#[test]
fn a_listener_that_unregisters_itself_gets_no_further_packet() {
    let group = unique_group();
    let log = Log::new();
    let own = Later::new();
    let (note, leave) = (log.clone(), own.clone());
    let handler = move |packet: &[u8], _: SocketAddr| {
        note.add(packet.to_vec());
        leave.call();
        GO_ON
    };
    let handle = MulticastListener::new(handler, from(group)).unwrap();
    own.set(move || assert!(unregister(&handle).unwrap().is_none()));
    sendto_with(["one", "two", "three"], to(group)).unwrap();
    run(None, Duration::ZERO).unwrap();
    assert_eq!(log.take(), [b"one"]);
}

#[test]
fn a_handler_may_use_packets_and_listen_with() {
    let (outer, inner) = (unique_group(), unique_group());
    let log = Log::new();
    let note = log.clone();
    let handler = move |packet: &[u8], _: SocketAddr| {
        note.add(packet.to_vec());
        let mut packets = Packets::new(from(inner)).unwrap();
        sendto_with("for next", to(inner)).unwrap();
        while packets.next().unwrap().map(|packet| note.add(packet.payload().to_vec())).is_none() {
            poll(PATIENCE).unwrap();
        }
        let (here, mut there) = pipe();
        register(
            On::read(here, move |_| {
                sendto_with("for the function", to(inner))?;
                Ok(BREAK)
            }),
            Flags::NONE,
        )
        .unwrap();
        there.write_all(b"x").unwrap();
        let note = |packet: &[u8], _: SocketAddr| {
            note.add(packet.to_vec());
            BREAK
        };
        let options: ListenOptions = from(inner);
        listen_with(note, options).unwrap();
        BREAK
    };
    MulticastListener::new(handler, from(outer)).unwrap();
    sendto_with("begin", to(outer)).unwrap();
    run(None, Duration::ZERO).unwrap();
    assert_eq!(log.take(), [&b"begin"[..], b"for next", b"for the function"]);
}
