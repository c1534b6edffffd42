//! A live sender: sends a burst of `number` packets, waits until the next one is due, and so on. Only the bursts are measured.

use std::time::Duration;

use multicast::{Multicaster, Outbox, Progress};

use crate::place::{Outcome, Place, Tally};
use crate::{Peer, cpu_time};

/// The time between two bursts. A receiver has taken all packets of a burst by then.
const BETWEEN: Duration = Duration::from_micros(250);

/// The measured crate.
pub(crate) struct Ours {
    caster: Multicaster<Outbox<&'static [u8], 64>, 64>,
    burst: &'static [u8],
    size: usize,
}

impl Ours {
    pub(crate) fn open(place: &Place) -> Outcome<Box<dyn Peer>> {
        let caster = place.send_options().batches::<64, _>(place.group(place.port)?, Outbox::new())?;
        Ok(Box::new(Self { caster, burst: place.buffer(place.number), size: place.size }))
    }

    fn send(&mut self, packets: usize) -> Outcome<()> {
        for packet in self.burst.chunks(self.size).take(packets) {
            self.caster.items_mut().push(packet).map_err(|_| "the outbox is full")?;
        }
        loop {
            match self.caster.step()? {
                Progress::Sent(_) => {}
                Progress::Done => return Ok(()),
                other => return Err(format!("{other:?} in a burst").into()),
            }
        }
    }
}

impl Peer for Ours {
    fn work(&mut self, count: u64) -> Outcome<Tally> {
        let (mut sent, mut spent) = (0, 0);
        let burst = (self.burst.len() / self.size) as u64;
        while sent < count {
            let now = burst.min(count - sent);
            let before = cpu_time();
            self.send(now as usize)?;
            spent += cpu_time() - before;
            sent += now;
            std::thread::sleep(BETWEEN);
        }
        Ok(Tally { nanoseconds: Some(spent), ..Tally::sent(count, self.size) })
    }
}
