//! Every kind of listener, behind one trait.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{Duration, Instant};

use multicast::filter::{Filter, Prefix};
use multicast::{
    AsFd, Bind, COALESCING_BUFFER, CoalescingListener, Counters, Events, Family, Group, Interest, Interface, ListenOptions,
    Listener, Membership, Packet, Poller, Received, Receiver, Token,
};

use crate::host;
use crate::items::Expected;
use crate::ledger::{Ledger, Line, Result};

/// How long something that must come may take.
pub const PATIENCE: Duration = Duration::from_secs(30);

pub trait Listen {
    /// Takes all packets that are queued.
    fn drain(&mut self, take: &mut dyn FnMut(&Packet<'_>)) -> multicast::Result<()>;
    fn counters(&self) -> Counters;
    fn watch(&self, poller: &Poller) -> multicast::Result<()>;
}

/// One loop for all listeners with a method `recv`.
macro_rules! drain {
    ($take:expr, $recv:expr) => {
        loop {
            match $recv? {
                Received::Packet(packet) => $take(&packet),
                Received::Paused => {}
                Received::Empty => return Ok(()),
            }
        }
    };
}

fn watch(source: &impl AsFd, poller: &Poller) -> multicast::Result<()> {
    poller.register(source, Token(0), Interest::READABLE)
}

impl<const MTU: usize, F: Filter> Listen for Listener<MTU, F> {
    fn drain(&mut self, take: &mut dyn FnMut(&Packet<'_>)) -> multicast::Result<()> {
        drain!(take, self.recv())
    }

    fn counters(&self) -> Counters {
        Self::counters(self)
    }

    fn watch(&self, poller: &Poller) -> multicast::Result<()> {
        watch(self, poller)
    }
}

impl<F: Filter> Listen for Receiver<F> {
    fn drain(&mut self, take: &mut dyn FnMut(&Packet<'_>)) -> multicast::Result<()> {
        let mut buffer = [0; 1500];
        drain!(take, self.recv_into(&mut buffer))
    }

    fn counters(&self) -> Counters {
        Self::counters(self)
    }

    fn watch(&self, poller: &Poller) -> multicast::Result<()> {
        watch(self, poller)
    }
}

impl<F: Filter> Listen for CoalescingListener<'_, F> {
    fn drain(&mut self, take: &mut dyn FnMut(&Packet<'_>)) -> multicast::Result<()> {
        drain!(take, self.recv())
    }

    fn counters(&self) -> Counters {
        Self::counters(self)
    }

    fn watch(&self, poller: &Poller) -> multicast::Result<()> {
        watch(self, poller)
    }
}

/// A listener, what it expects, and what has been sent to it.
pub struct Station {
    pub kind: &'static str,
    listener: Box<dyn Listen>,
    poller: Poller,
    pub expected: Expected,
    /// All that was sent to it, also what it does not want.
    pub sent: u64,
    line: Line,
    /// Packets must come with these metadata.
    destination: Option<IpAddr>,
}

impl Station {
    pub fn new(kind: &'static str, listener: impl Listen + 'static, step: u64) -> Result<Self> {
        let poller = Poller::new().map_err(|error| error.to_string())?;
        listener.watch(&poller).map_err(|error| error.to_string())?;
        let (expected, line) = (Expected::from(0, step), Line::default());
        Ok(Self { kind, listener: Box::new(listener), poller, expected, sent: 0, line, destination: None })
    }

    /// How many of those that it wants have not come, without those that the machine lost.
    pub fn missing(&self) -> u64 {
        self.expected.missing.saturating_sub(self.line.lost)
    }

    /// After all packets below `end` were sent: takes them until the ledger is exact.
    pub fn settle(&mut self, end: u64, ledger: &Ledger) -> Result<()> {
        let (mut events, since) = (Events::<1>::new(), Instant::now());
        let Self { kind, listener, expected, destination, .. } = self;
        let is_whole = |packet: &Packet<'_>| {
            destination.is_none_or(|destination| {
                let known = packet.metadata().copied().unwrap_or_default();
                known.destination == Some(destination) && known.interface.is_some() && known.hop_limit == Some(1)
            })
        };
        loop {
            let drained = listener.drain(&mut |packet| {
                expected.packet(packet.payload());
                if !is_whole(packet) {
                    expected.wrong(format!("metadata {:?}", packet.metadata()));
                }
            });
            drained.map_err(|error| format!("{kind}: {error}"))?;
            let mut now = Line { lost: self.line.lost, ..Line::of(self.sent, &listener.counters()) };
            if now.open() != 0 && host::has_lost(now.open(), since) {
                now.lost += u64::from(now.open());
            }
            if now.open() == 0 {
                ledger.add(kind, now, &mut self.line);
                expected.close(end).map_err(|error| format!("{kind}: {error}"))?;
                if expected.received != now.received {
                    return Err(format!("{kind}: it counts {} packets, and {} came", now.received, expected.received));
                }
                return Ok(());
            }
            if since.elapsed() > PATIENCE {
                return Err(format!("{kind}: the ledger is not exact: {now:?}"));
            }
            self.poller.poll(&mut events, Duration::from_millis(5)).map(drop).map_err(|error| error.to_string())?;
        }
    }
}

pub fn on_lo(group: Group) -> Membership {
    Membership::any(group).on(Interface::LOOPBACK)
}

pub fn coalescing<F: Filter>(
    options: ListenOptions<F>,
    place: impl Into<Bind>,
) -> multicast::Result<CoalescingListener<'static, F>> {
    // Of packets that were dropped together, the kernel counts one: so it has room for all.
    options.receive_buffer(4 << 20).bind_coalescing(place, 1500, Box::leak(Box::new([0; COALESCING_BUFFER])))
}

/// One of each kind, all in one group. The first is bound to the port, so strangers' unicast goes to it.
pub fn all(group: Group) -> Result<Vec<Station>> {
    let text = |error: multicast::Error| error.to_string();
    let is_v4 = group.family() == Family::V4;
    let named = |v4: &'static str, v6: &'static str| if is_v4 { v4 } else { v6 };
    let mut by_port = ListenOptions::new().bind::<1500>(Bind::Port(group.port(), group.family())).map_err(text)?;
    by_port.join(&on_lo(group)).map_err(text)?;
    let source: IpAddr = if is_v4 { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() };
    let from = Membership::source(group, source).on(Interface::LOOPBACK);
    let wanted = || ListenOptions::new().filter(Prefix(b"w"));
    let mut stations = vec![
        Station::new(named("listener by port, guard", "v6 listener by port, guard"), by_port, 1)?,
        Station::new(named("listener", "v6 listener"), ListenOptions::new().bind::<1500>(on_lo(group)).map_err(text)?, 1)?,
        Station::new(
            named("caller's buffer", "v6 caller's buffer"),
            ListenOptions::new().bind_receiver(on_lo(group), 1500).map_err(text)?,
            1,
        )?,
        Station::new(
            named("coalescing", "v6 coalescing"),
            coalescing(ListenOptions::new(), on_lo(group)).map_err(text)?,
            1,
        )?,
        Station::new(
            named("filter in the kernel", "v6 filter in the kernel"),
            wanted().bind::<1500>(on_lo(group)).map_err(text)?,
            2,
        )?,
        Station::new(
            named("filter in the process", "v6 filter in the process"),
            wanted().kernel_filter(false).bind::<1500>(on_lo(group)).map_err(text)?,
            2,
        )?,
        Station::new(
            named("one source, pinned", "v6 one source, pinned"),
            ListenOptions::new().bind::<1500>(Bind::Interface(from)).map_err(text)?,
            1,
        )?,
    ];
    let with_metadata = ListenOptions::new().metadata().bind::<1500>(on_lo(group)).map_err(text)?;
    let mut metadata = Station::new(named("metadata", "v6 metadata"), with_metadata, 1)?;
    metadata.destination = Some(group.address());
    stations.push(metadata);
    Ok(stations)
}
