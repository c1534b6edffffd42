//! `mcast demo`: a listener, a sender and one poller in one process. Packets do not leave `lo`.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use lexopt::Parser;
use multicast::filter::{Filter, Prefix};
use multicast::{
    Bind, Change, ErrorKind, Events, Family, Group, Interest, Interface, Links, ListenOptions, Membership, Outcome, Poller,
    Received, SendOptions, Token,
};

use crate::options;
use crate::output::{escape, print};
use crate::receivers::bind;
use crate::stop::Stop;

pub(crate) const HELP: &str = "\
Sends a few packets to a group on lo, receives them, and counts. Nothing leaves the machine.

Usage: mcast demo

Example:
  mcast demo
";

const LISTENER: Token = Token(1);
const SENDER: Token = Token(2);

const PACKETS: [&str; 7] =
    ["sensor 1: 20.9", "sensor 2: 21.4", "noise", "sensor 3: 19.8", "sensor 1: 21.0", "more noise", "sensor 2: 21.5"];

/// The length of the listener's buffer.
const MTU: usize = 1500;

const LO_IS_DOWN: &str =
    "lo is down, and the demo sends on it: switch it on (as root: ip link set lo up), and start the demo again";

/// How long to wait for packets on `lo`.
const PATIENCE: Duration = Duration::from_secs(3);

#[inline(never)]
pub(crate) fn run(mut parser: Parser) -> Result<(), Stop> {
    match options::next(&mut parser)? {
        None => demonstrate().map_err(|stop| match stop {
            Stop::Refused(error) if error.kind() == ErrorKind::Unreachable && lo_is_down() => {
                Stop::failed(LO_IS_DOWN.to_owned())
            }
            stop => stop,
        }),
        Some(argument) if argument.name() == "help" => Err(Stop::Help),
        Some(argument) => Err(options::unexpected(argument)),
    }
}

/// Whether `lo` is switched off, as in a new network namespace; false if the kernel does not answer.
fn lo_is_down() -> bool {
    let (Ok(lo), Ok(mut links)) = (Interface::LOOPBACK.index(), Links::watch()) else { return false };
    while let Ok(Some(change)) = links.next() {
        if let Change::Link(link) = change
            && link.index == lo
        {
            return !link.is_up;
        }
    }
    false
}

fn demonstrate() -> Result<(), Stop> {
    // The kernel chooses a free port, and the process id makes a group that no other demo uses.
    // The filter does not run in the kernel, which counts rejected packets as dropped: the counters must show both.
    let filter = Box::new(Prefix(b"sensor ")) as Box<dyn Filter>;
    let options = ListenOptions::new().filter(filter).kernel_filter(false);
    let mut listener = bind(options, Bind::Port(0, Family::V4), MTU)?;
    let [_, a, b, c] = std::process::id().to_be_bytes();
    let group = Group::new(Ipv4Addr::new(239, a, b, c), listener.local_addr()?.port())?;
    listener.join(&Membership::any(group).on(Interface::LOOPBACK))?;
    let mut sender = SendOptions::new().interface(Interface::LOOPBACK).open(Family::V4)?;
    let mut packets = PACKETS.into_iter().peekable();
    print(&format!("demo: {group} on lo; the filter wants packets that begin with \"sensor \"\n"))?;

    let poller = Poller::new()?;
    poller.register(&listener, LISTENER, Interest::READABLE)?;
    poller.register(&sender, SENDER, Interest::WRITABLE)?;

    let end = Instant::now() + PATIENCE;
    let mut events = Events::<4>::new();
    let mut buffer = [0; MTU];
    let mut sent = 0_u64;
    let mut all_sent = false;
    loop {
        let counters = listener.counters();
        let (received, rejected) = (counters.received, counters.rejected);
        // What the kernel dropped; if it is too old to report this, what did not come.
        let missing = sent.saturating_sub(received + rejected);
        let lost = counters.dropped.unwrap_or(missing);
        let adds_up = all_sent && sent == received + rejected + lost;
        let left = end.saturating_duration_since(Instant::now());
        if adds_up || left.is_zero() {
            print(&format!("demo: sent {sent}, received {received}, rejected {rejected}, lost {lost}\n"))?;
            return if adds_up { Ok(()) } else { Err(Stop::failed("after 3 seconds the figures do not add up".to_owned())) };
        }
        for event in poller.poll(&mut events, left)? {
            match event.token() {
                LISTENER => loop {
                    match listener.recv_into(&mut buffer)? {
                        Received::Packet(packet) => {
                            let mut payload = Vec::new();
                            escape(packet.payload(), &mut payload);
                            print(&format!("received from {}: {}\n", packet.source(), String::from_utf8_lossy(&payload)))?;
                        }
                        Received::Paused => continue,
                        Received::Empty => break,
                    }
                },
                SENDER => match packets.peek() {
                    Some(packet) => match sender.send(packet.as_bytes(), group)? {
                        Outcome::Sent => {
                            sent += 1;
                            packets.next();
                        }
                        // The device's queue is full, and the kernel does not report when it has room.
                        Outcome::Wait(time) => std::thread::sleep(time),
                        // The poller reports when there is room.
                        Outcome::Blocked => {}
                    },
                    None => {
                        all_sent = true;
                        poller.unregister(&sender)?;
                    }
                },
                _ => {}
            }
        }
    }
}
