//! `mcast demo`: a listener, a multicaster and one poller in one process. Packets do not leave `lo`.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use multicast::filter::Prefix;
use multicast::{
    Events, Family, Group, Interest, Interface, ListenOptions, Membership, Poller, Progress, Received, SendOptions, Token,
};

use crate::output::{escape, print};
use crate::stop::Stop;

const LISTENER: Token = Token(1);
const MULTICASTER: Token = Token(2);

const PACKETS: [&str; 7] =
    ["sensor 1: 20.9", "sensor 2: 21.4", "noise", "sensor 3: 19.8", "sensor 1: 21.0", "more noise", "sensor 2: 21.5"];

/// How long packets may take on `lo` before they are given up.
const PATIENCE: Duration = Duration::from_secs(3);

pub(crate) fn run() -> Result<(), Stop> {
    // The kernel chooses a port that is free, and the process id makes a group that no demo beside this one has.
    // The filter is asked here and not in the kernel, which would count what it refuses as lost.
    let options = ListenOptions::new().filter(Prefix(b"sensor ")).kernel_filter(false);
    let mut listener = options.open::<1500>(0, Family::V4)?;
    let [_, a, b, c] = std::process::id().to_be_bytes();
    let group = Group::new(Ipv4Addr::new(239, a, b, c), listener.local_addr()?.port())?;
    listener.join(&Membership::any(group).on(Interface::LOOPBACK))?;
    let mut caster = SendOptions::new().interface(Interface::LOOPBACK).packets(group, PACKETS)?;
    print(&format!("demo: {group} on lo; the filter wants packets that begin with \"sensor \"\n"))?;

    let poller = Poller::new()?;
    poller.register(&listener, LISTENER, Interest::READABLE)?;
    poller.register(&caster, MULTICASTER, Interest::WRITABLE)?;

    let end = Instant::now() + PATIENCE;
    let mut events = Events::<4>::new();
    let mut sent = 0_u64;
    let mut all_sent = false;
    loop {
        let counters = listener.counters();
        let (received, rejected) = (counters.received, counters.rejected);
        // What the kernel dropped; where it is too old to tell, what did not come.
        let missing = sent.saturating_sub(received + rejected);
        let lost = counters.dropped.unwrap_or(missing);
        let adds_up = all_sent && sent == received + rejected + lost;
        let left = end.saturating_duration_since(Instant::now());
        if adds_up || left.is_zero() {
            print(&format!("demo: sent {sent}, received {received}, rejected {rejected}, lost {lost}\n"))?;
            return if adds_up {
                Ok(())
            } else {
                Err(Stop::Failed(format!("after {PATIENCE:?} the figures do not add up")))
            };
        }
        for event in poller.poll(&mut events, left)? {
            match event.token() {
                LISTENER => {
                    while let Received::Packet(packet) = listener.recv()? {
                        let mut payload = Vec::new();
                        escape(packet.payload(), &mut payload);
                        print(&format!("received from {}: {}\n", packet.source(), String::from_utf8_lossy(&payload)))?;
                    }
                }
                MULTICASTER => match caster.step()? {
                    Progress::Sent(packets) => sent += packets as u64,
                    Progress::Done => {
                        all_sent = true;
                        poller.unregister(&caster)?;
                    }
                    // The device's queue is full, and nothing tells when it no longer is. It is a millisecond.
                    Progress::Wait(time) => std::thread::sleep(time),
                    // The poller tells when there is room.
                    Progress::Blocked => {}
                },
                _ => {}
            }
        }
    }
}
