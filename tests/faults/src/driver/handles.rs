//! The handle-based API. Its own poller: the default one stays open to the end of the thread.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::rc::Rc;
use std::time::{Duration, Instant};

use multicast::compat::{ListenOptions, MulticastListener, Multicaster, Packets, Poller, SendOptions};
use multicast::{Group, Interface};

use super::Scenario;
use crate::run::Run;

pub const ALL: &[Scenario] = &[("compat-handlers", handlers), ("compat-generator", generator), ("compat-live", live)];

const PACKETS: [&str; 3] = ["one", "two", "three"];

fn to(group: Group, poller: &Poller) -> SendOptions {
    SendOptions::new().group(group).interface(Interface::LOOPBACK).poller(poller)
}

fn from(group: Group, poller: &Poller) -> ListenOptions {
    ListenOptions::new().group(group).interface(Interface::LOOPBACK).poller(poller)
}

/// Polls until this is so.
fn poll_until(run: &mut Run, poller: &Poller, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + run.patience();
    while !is_so() && Instant::now() < end {
        if let Err(error) = poller.poll(Duration::from_millis(5)) {
            run.note(&error);
        }
    }
}

type Log = Rc<RefCell<Vec<String>>>;

/// A listener whose handler writes into this log, and leaves after so many packets.
fn listen(run: &mut Run, poller: &Poller, log: &Log, count: usize) -> bool {
    let group = run.group(1);
    run.retry(|| {
        let log = Rc::clone(log);
        let handler = move |packet: &[u8], _: SocketAddr| {
            let mut log = log.borrow_mut();
            log.push(String::from_utf8_lossy(packet).into_owned());
            if log.len() >= count { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        MulticastListener::new(handler, from(group, poller)).map(drop)
    })
    .is_some()
}

fn handlers(run: &mut Run) {
    let (group, Some(poller)) = (run.group(1), run.retry(Poller::new)) else { return };
    let log = Log::default();
    if !listen(run, &poller, &log, 6) {
        return;
    }
    for round in 1..=2 {
        if run.retry(|| Multicaster::new(PACKETS, to(group, &poller)).map(drop)).is_none() {
            return;
        }
        poll_until(run, &poller, || log.borrow().len() >= 3 * round);
    }
    let log = log.take();
    run.judge(&log, &["one", "two", "three", "one", "two", "three"]);
}

fn generator(run: &mut Run) {
    let (group, Some(poller)) = (run.group(1), run.retry(Poller::new)) else { return };
    let Some(mut packets) = run.retry(|| Packets::new(from(group, &poller))) else { return };
    for packet in PACKETS {
        run.retry(|| multicast::compat::sendto_with([packet], to(group, &poller)).map(drop));
    }
    let mut got = Vec::new();
    let end = Instant::now() + run.patience();
    while got.len() < 3 && Instant::now() < end {
        if let Err(error) = poller.poll(Duration::from_millis(5)) {
            run.note(&error);
        }
        loop {
            match packets.next() {
                Ok(Some(packet)) => got.push(String::from_utf8_lossy(packet.payload()).into_owned()),
                Ok(None) => break,
                Err(error) => {
                    run.note(&error);
                    break;
                }
            }
        }
    }
    run.judge(&got, &PACKETS);
}

fn live(run: &mut Run) {
    let (group, Some(poller)) = (run.group(1), run.retry(Poller::new)) else { return };
    let log = Log::default();
    if !listen(run, &poller, &log, 6) {
        return;
    }
    let Some(live) = run.retry(|| Multicaster::live([], to(group, &poller))) else { return };
    for round in 1..=2 {
        for packet in PACKETS {
            if live.push(packet).is_err() {
                run.failed("it takes no packet");
            }
        }
        poll_until(run, &poller, || log.borrow().len() >= 3 * round);
    }
    let got = log.take();
    run.judge(&got, &["one", "two", "three", "one", "two", "three"]);
    if let Err(error) = poller.unregister(live.handle()) {
        run.note(&error);
    }
}
