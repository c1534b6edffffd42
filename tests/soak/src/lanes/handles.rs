//! The handle-based API: both of its listeners, and its three ways to send.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::rc::Rc;
use std::time::{Duration, Instant};

use multicast::compat::{
    Handle, ListenOptions, Live, MulticastListener, Multicaster, PacketHandler, Packets, Poller, SendOptions, sendto_with,
};
use multicast::{Group, Interface};

use super::{Lane, part};
use crate::host;
use crate::items::{Expected, Item, Items};
use crate::ledger::{Ledger, Line, Result};
use crate::stations::PATIENCE;

const BURST: usize = 128;
const BURSTS: usize = 33;
const KINDS: [&str; 3] = ["compat: Multicaster", "compat: live", "compat: sendto"];

/// What both listeners expect.
#[derive(Clone)]
struct Log(Rc<RefCell<Expected>>);

impl PacketHandler for Log {
    fn handle_packet(&mut self, packet: &[u8], _: SocketAddr) -> ControlFlow<()> {
        self.0.borrow_mut().packet(packet);
        ControlFlow::Continue(())
    }
}

pub struct Handles {
    poller: Poller,
    listener: Handle<MulticastListener<Log>>,
    log: Log,
    /// With a poller of its own, since each poll grants one packet.
    packets: Packets,
    packets_poller: Poller,
    taken: Expected,
    live: Live<Item>,
    group: Group,
    next: u64,
    bursts: usize,
    lines: [Line; 2],
}

impl Handles {
    pub fn new(group: Group) -> Result<Self> {
        let text = |error: multicast::Error| error.to_string();
        let (poller, packets_poller) = (Poller::new().map_err(text)?, Poller::new().map_err(text)?);
        let from = |poller: &Poller| ListenOptions::new().group(group).interface(Interface::LOOPBACK).poller(poller);
        let log = Log(Rc::new(RefCell::new(Expected::from(0, 1))));
        let listener = MulticastListener::new(log.clone(), from(&poller)).map_err(text)?;
        let packets = Packets::new(from(&packets_poller)).map_err(text)?;
        let live = Multicaster::live([], Self::to(group, &poller)).map_err(text)?;
        let (taken, lines) = (Expected::from(0, 1), [Line::default(); 2]);
        Ok(Self { poller, listener, log, packets, packets_poller, taken, live, group, next: 0, bursts: 0, lines })
    }

    fn to(group: Group, poller: &Poller) -> SendOptions {
        SendOptions::new().group(group).interface(Interface::LOOPBACK).poller(poller)
    }

    fn send(&mut self, way: usize) -> multicast::Result<()> {
        let items = Items { next: self.next, left: BURST };
        let to = Self::to(self.group, &self.poller);
        match way {
            0 => {
                let handle = Multicaster::new(items, to)?;
                while handle.is_registered() {
                    self.poller.poll(Duration::ZERO)?;
                }
            }
            1 => {
                for packet in items {
                    while self.live.push(packet).is_err() {
                        self.poller.poll(Duration::ZERO)?;
                    }
                }
                while self.live.queued() > 0 {
                    self.poller.poll(Duration::ZERO)?;
                }
            }
            _ => sendto_with(items.collect::<Vec<_>>(), to)?,
        }
        Ok(())
    }

    /// Takes what has come.
    fn poll(&mut self) -> multicast::Result<()> {
        self.poller.poll(Duration::ZERO)?;
        for _ in 0..=BURST {
            self.packets_poller.poll(Duration::ZERO)?;
            match self.packets.next()? {
                Some(packet) => self.taken.packet(packet.payload()),
                None => break,
            }
        }
        Ok(())
    }

    fn counted(&mut self) -> multicast::Result<[Line; 2]> {
        let by_handler = self.listener.with(|listener| listener.receiver().counters())?.unwrap_or_default();
        let by_packet = self.packets.with(|receiver| receiver.counters())?.unwrap_or_default();
        let [lost, lost_by_packet] = self.lines.map(|line| line.lost);
        let line = |counters, lost| Line { lost, ..Line::of(self.next, counters) };
        Ok([line(&by_handler, lost), line(&by_packet, lost_by_packet)])
    }

    fn burst(&mut self, ledger: &Ledger) -> Result<()> {
        let way = self.bursts % KINDS.len();
        self.bursts += 1;
        self.send(way).map_err(|error| format!("{}: {error}", KINDS[way]))?;
        ledger.sent(KINDS[way], BURST as u64);
        self.next += BURST as u64;
        let since = Instant::now();
        let lines = loop {
            self.poll().map_err(|error| format!("compat: {error}"))?;
            let mut lines = self.counted().map_err(|error| format!("compat: {error}"))?;
            for line in &mut lines {
                if line.open() != 0 && host::has_lost(line.open(), since) {
                    line.lost += u64::from(line.open());
                }
            }
            if lines.iter().all(|line| line.open() == 0) {
                break lines;
            }
            if since.elapsed() > PATIENCE {
                return Err(format!("compat: the ledger is not exact: {lines:?}"));
            }
        };
        let kinds = ["compat: MulticastListener", "compat: Packets"];
        for ((kind, now), before) in kinds.into_iter().zip(lines).zip(&mut self.lines) {
            ledger.add(kind, now, before);
        }
        let lost = lines.map(|line| line.lost);
        for (expected, lost) in [&mut *self.log.0.borrow_mut(), &mut self.taken].into_iter().zip(lost) {
            expected.close(self.next).map_err(|error| format!("compat: {error}"))?;
            if expected.missing > lost {
                return Err(format!("compat: {} packets are missing", expected.missing));
            }
        }
        Ok(())
    }
}

impl Lane for Handles {
    fn name(&self) -> &'static str {
        "handles"
    }

    fn turn(&mut self, ledger: &Ledger) -> Result<()> {
        (0..BURSTS).try_for_each(|_| self.burst(ledger))
    }

    fn progress(&self, ledger: &Ledger) -> f64 {
        part(KINDS.iter().map(|kind| ledger.seen(kind)).min().unwrap_or(0))
    }
}
