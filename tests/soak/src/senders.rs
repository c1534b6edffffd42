//! Every kind of sender, behind one trait.

use std::time::Instant;

use multicast::{Destination, Group, Interface, Multicaster, Outbox, Outcome, Progress, SendOptions, Sender};

use crate::host;
use crate::items::{Item, Items, item};
use crate::ledger::Result;
use crate::stations::PATIENCE;

pub trait Send {
    fn kind(&self) -> &'static str;
    /// Sends the packets from this number on.
    fn send(&mut self, first: u64, count: usize) -> Result<()>;
}

pub fn on_lo() -> SendOptions {
    SendOptions::new().interface(Interface::LOOPBACK)
}

/// Sends one packet, and waits for room.
pub fn send_one(sender: &mut Sender, payload: &[u8], to: impl Into<Destination> + Copy) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match sender.send(payload, to) {
            Ok(Outcome::Sent) => return Ok(()),
            Ok(Outcome::Wait(time)) => std::thread::sleep(time),
            Ok(Outcome::Blocked) => std::thread::yield_now(),
            Err(error) if host::is_full(&error) && Instant::now() < deadline => {}
            Err(error) => return Err(error.to_string()),
        }
        if Instant::now() > deadline {
            return Err("a packet cannot be sent".to_owned());
        }
    }
}

/// Steps until all that it has is sent.
pub fn step_all<I: Iterator<Item: AsRef<[u8]>>, const BATCH: usize>(
    caster: &mut Multicaster<I, BATCH>,
    count: usize,
) -> Result<()> {
    let (mut sent, deadline) = (0, Instant::now() + PATIENCE);
    loop {
        match caster.step() {
            Ok(Progress::Sent(packets)) => {
                sent += packets;
                continue;
            }
            Ok(Progress::Done) if sent == count => return Ok(()),
            Ok(Progress::Done) => return Err(format!("it says that it sent {sent} of {count} packets")),
            Ok(Progress::Wait(time)) => std::thread::sleep(time),
            Ok(Progress::Blocked) => std::thread::yield_now(),
            Err(error) if host::is_full(&error) && Instant::now() < deadline => {}
            Err(error) => return Err(error.to_string()),
        }
        if Instant::now() > deadline {
            return Err(format!("{sent} of {count} packets can be sent"));
        }
    }
}

/// Packets one by one.
pub struct Single(pub &'static str, pub Sender, pub Group);

impl Send for Single {
    fn kind(&self) -> &'static str {
        self.0
    }

    fn send(&mut self, first: u64, count: usize) -> Result<()> {
        (first..).take(count).try_for_each(|number| send_one(&mut self.1, &item(number), self.2))
    }
}

/// The packets of an iterator.
pub struct Pulled<const BATCH: usize>(pub &'static str, pub Multicaster<Items, BATCH>);

impl<const BATCH: usize> Send for Pulled<BATCH> {
    fn kind(&self) -> &'static str {
        self.0
    }

    fn send(&mut self, first: u64, count: usize) -> Result<()> {
        *self.1.items_mut() = Items { next: first, left: count };
        step_all(&mut self.1, count)
    }
}

/// A queue that is fed while the program runs, by sixteens.
pub struct Fed(pub &'static str, pub Multicaster<Outbox<Item, 16>, 16>);

impl Send for Fed {
    fn kind(&self) -> &'static str {
        self.0
    }

    fn send(&mut self, first: u64, count: usize) -> Result<()> {
        let mut left = Items { next: first, left: count };
        while left.left > 0 {
            let some = left.left.min(16);
            for packet in left.by_ref().take(some) {
                self.1.items_mut().push(packet).map_err(|_| "the queue is full".to_owned())?;
            }
            step_all(&mut self.1, some)?;
        }
        Ok(())
    }
}

/// The sender with this place in the list of kinds.
pub fn sender(place: usize, group: Group) -> Result<Box<dyn Send>> {
    let none = Items { next: 0, left: 0 };
    let is_v4 = group.family() == multicast::Family::V4;
    let named = |v4: &'static str, v6: &'static str| if is_v4 { v4 } else { v6 };
    let opened: multicast::Result<Box<dyn Send>> = match place {
        0 => on_lo().open(group.family()).map(|sender| Box::new(Single(named("send", "v6 send"), sender, group)) as _),
        1 => {
            on_lo().packets(group, none).map(|caster| Box::new(Pulled(named("multicaster", "v6 multicaster"), caster)) as _)
        }
        2 => on_lo()
            .batches::<64, _>(group, none)
            .map(|caster| Box::new(Pulled(named("batches, coalesced", "v6 batches, coalesced"), caster)) as _),
        _ => on_lo()
            .batches::<16, _>(group, Outbox::new())
            .map(|caster| Box::new(Fed(named("live Outbox", "v6 live Outbox"), caster)) as _),
    };
    opened.map_err(|error| error.to_string())
}
