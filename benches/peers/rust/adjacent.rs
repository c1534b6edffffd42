//! Sends a number of packets that lie side by side in memory, as the chunks of a buffer do: in one call, and as one part of it.

use std::cell::Cell;
use std::rc::Rc;

use multicast::{Multicaster, Progress};

use crate::Peer;
use crate::place::{Outcome, Place, Tally};

/// How many packets the caster holds, and one call carries at most.
const BATCH: usize = 64;
/// The longest payload of a UDP packet over IPv4.
const LONGEST: usize = 65_507;

/// The measured crate.
pub(crate) struct Ours {
    caster: Multicaster<Supply, BATCH>,
    place: Rc<Cell<Position>>,
    size: usize,
}

/// How many packets the caster may still pull, and which of the buffer's is the next.
#[derive(Clone, Copy, Default)]
struct Position {
    left: usize,
    next: usize,
}

impl Ours {
    pub(crate) fn open(place: &Place) -> Outcome<Box<dyn Peer>> {
        let position = Rc::new(Cell::new(Position::default()));
        let supply = Supply {
            buffer: place.buffer(BATCH.min(LONGEST / place.size)),
            size: place.size,
            position: Rc::clone(&position),
        };
        let caster = place.send_options().batches::<BATCH, _>(place.group(place.port)?, supply)?;
        Ok(Box::new(Self { caster, place: position, size: place.size }))
    }
}

impl Peer for Ours {
    fn work(&mut self, count: u64) -> Outcome<Tally> {
        self.place.set(Position { left: usize::try_from(count)?, next: 0 });
        let mut sent = 0;
        while sent < count {
            match self.caster.step()? {
                Progress::Sent(packets) => sent += packets as u64,
                Progress::Wait(time) => std::thread::sleep(time),
                Progress::Blocked => std::thread::yield_now(),
                other => return Err(format!("{other:?} after {sent} of {count} packets").into()),
            }
        }
        Ok(Tally::sent(sent, self.size))
    }
}

/// The chunks of a buffer that one call can carry, again and again, as often as a turn needs. The buffer is short for the same reason that
/// the other peers send one payload: memory that is not in the cache must not count.
struct Supply {
    buffer: &'static [u8],
    size: usize,
    position: Rc<Cell<Position>>,
}

impl Iterator for Supply {
    type Item = &'static [u8];

    #[inline]
    fn next(&mut self) -> Option<&'static [u8]> {
        let Position { left, next } = self.position.get();
        let left = left.checked_sub(1)?;
        let end = next + self.size;
        self.position.set(Position { left, next: if end == self.buffer.len() { 0 } else { end } });
        self.buffer.get(next..end)
    }

    #[inline]
    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.position.get().left, None)
    }
}
