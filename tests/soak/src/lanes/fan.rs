//! One sender at a time, and listeners that all get each packet.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use multicast::{Family, Group, ListenOptions, Sender};

use super::{Lane, part};
use crate::ledger::{Ledger, Result};
use crate::senders::{self, Send, Single, on_lo, send_one};
use crate::stations::{self, Station};

/// As many packets as each receive buffer holds.
const BURST: usize = 192;
/// More than a receive buffer holds. They fit into the queue of `lo`, which drops without telling a socket.
const FLOOD: usize = 640;
/// How many bursts a turn has: one of them is a flood.
const BURSTS: usize = 32;

pub struct Fan {
    name: &'static str,
    stations: Vec<Station>,
    senders: Vec<Box<dyn Send>>,
    /// Sends unicast to the port of the first station, which has not asked for it.
    stranger: Option<(Sender, SocketAddr)>,
    /// The number of the next packet.
    next: u64,
    bursts: usize,
}

impl Fan {
    /// Every listener and every sender.
    pub fn whole(name: &'static str, group: Group) -> Result<Self> {
        let stations = stations::all(group)?;
        let senders = (0..4).map(|place| senders::sender(place, group)).collect::<Result<_>>()?;
        let here: IpAddr = match group.family() {
            Family::V4 => Ipv4Addr::LOCALHOST.into(),
            Family::V6 => Ipv6Addr::LOCALHOST.into(),
        };
        let stranger = on_lo().open(group.family()).map_err(|error| error.to_string())?;
        Ok(Self { name, stations, senders, stranger: Some((stranger, (here, group.port()).into())), next: 0, bursts: 0 })
    }

    /// One sender, and a listener that costs little beside it.
    pub fn of_one_sender(name: &'static str, group: Group, place: usize) -> Result<Self> {
        let text = |error: multicast::Error| error.to_string();
        let v6 = group.family() == Family::V6;
        let station = if place < 2 {
            let listener = ListenOptions::new().bind::<1500>(stations::on_lo(group)).map_err(text)?;
            Station::new(if v6 { "v6 listener" } else { "listener" }, listener, 1)?
        } else {
            let listener = stations::coalescing(ListenOptions::new(), stations::on_lo(group)).map_err(text)?;
            Station::new(if v6 { "v6 coalescing" } else { "coalescing" }, listener, 1)?
        };
        let senders = vec![senders::sender(place, group)?];
        Ok(Self { name, stations: vec![station], senders, stranger: None, next: 0, bursts: 0 })
    }

    /// A listener, and the sender on its socket.
    pub fn own_sender(name: &'static str, group: Group) -> Result<Self> {
        let text = |error: multicast::Error| error.to_string();
        let mut listener = ListenOptions::new().bind::<1500>(stations::on_lo(group)).map_err(text)?;
        let sender = listener.sender(on_lo()).map_err(text)?;
        let stations = vec![Station::new("listener that sends", listener, 1)?];
        let senders: Vec<Box<dyn Send>> = vec![Box::new(Single("listener's sender", sender, group))];
        Ok(Self { name, stations, senders, stranger: None, next: 0, bursts: 0 })
    }

    fn burst(&mut self, ledger: &Ledger) -> Result<()> {
        let is_flood = self.bursts.is_multiple_of(BURSTS);
        let place = self.bursts % self.senders.len();
        self.bursts += 1;
        // Packets of a batch that a coalescing listener has no room for would be dropped together, and count as one. It has room.
        let count = if is_flood { FLOOD } else { BURST };
        if let (Some((stranger, to)), Some(station)) = (&mut self.stranger, self.stations.first_mut()) {
            send_one(stranger, b"a stranger", *to)?;
            station.sent += 1;
        }
        if let Some(sender) = self.senders.get_mut(place) {
            sender.send(self.next, count).map_err(|error| format!("{}: {error}", sender.kind()))?;
            ledger.sent(sender.kind(), count as u64);
        }
        self.next += count as u64;
        for station in &mut self.stations {
            station.sent += count as u64;
            let missing = station.missing();
            station.settle(self.next, ledger)?;
            let missing = station.missing().saturating_sub(missing);
            if missing > 0 && !is_flood {
                return Err(format!("{}: {missing} packets of {count} are missing", station.kind));
            }
        }
        Ok(())
    }
}

impl Lane for Fan {
    fn name(&self) -> &'static str {
        self.name
    }

    fn turn(&mut self, ledger: &Ledger) -> Result<()> {
        (0..BURSTS).try_for_each(|_| self.burst(ledger))
    }

    fn progress(&self, ledger: &Ledger) -> f64 {
        let kinds = self.stations.iter().map(|station| station.kind).chain(self.senders.iter().map(|sender| sender.kind()));
        part(kinds.map(|kind| ledger.seen(kind)).min().unwrap_or(0))
    }
}
