//! Packets that know their number, and the check that each comes once, in order and unchanged.

use crate::ledger::Result;

pub const LENGTH: usize = 64;

pub type Item = [u8; LENGTH];

/// The packet of this number. Half of them begin with `w`, which the filters want.
pub fn item(number: u64) -> Item {
    let mut bytes = [number as u8; LENGTH];
    bytes[0] = if number.is_multiple_of(2) { b'w' } else { b'n' };
    bytes[1..9].copy_from_slice(&number.to_le_bytes());
    bytes
}

/// Gives the next packets, as many as it is told.
#[derive(Clone, Debug)]
pub struct Items {
    pub next: u64,
    pub left: usize,
}

impl Iterator for Items {
    type Item = Item;

    fn next(&mut self) -> Option<Item> {
        self.left = self.left.checked_sub(1)?;
        self.next += 1;
        Some(item(self.next - 1))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

/// What a listener expects.
#[derive(Debug)]
pub struct Expected {
    /// The least number that may come next.
    next: u64,
    /// 2 if it wants every other packet.
    pub step: u64,
    pub received: u64,
    /// How many of those that it wants were left out.
    pub missing: u64,
    wrong: Option<String>,
}

impl Expected {
    pub fn from(next: u64, step: u64) -> Self {
        Self { next, step, received: 0, missing: 0, wrong: None }
    }

    pub fn packet(&mut self, payload: &[u8]) {
        let number = payload.get(1..9).and_then(|bytes| bytes.try_into().ok()).map(u64::from_le_bytes);
        match number {
            Some(number) if number >= self.next && number % self.step == 0 && payload == item(number) => {
                self.missing += (number - self.next).div_ceil(self.step);
                self.next = number + self.step;
                self.received += 1;
            }
            _ if self.wrong.is_none() => self.wrong = Some(format!("{payload:?} came, and {} is next", self.next)),
            _ => {}
        }
    }

    /// Whether the packet before this number has come.
    pub fn is_at(&self, end: u64) -> bool {
        self.next >= end
    }

    pub fn wrong(&mut self, what: impl Into<String>) {
        self.wrong.get_or_insert(what.into());
    }

    /// All packets below `end` have been sent, and what has come of them is all that will.
    pub fn close(&mut self, end: u64) -> Result<()> {
        if end > self.next {
            self.missing += (end - self.next).div_ceil(self.step);
            self.next = end.next_multiple_of(self.step);
        }
        self.wrong.take().map_or(Ok(()), Err)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_that_comes_twice_or_changed_is_found() {
        let mut expected = Expected::from(0, 1);
        (0..3).for_each(|number| expected.packet(&item(number)));
        assert_eq!(expected.close(4), Ok(()));
        assert_eq!((expected.received, expected.missing), (3, 1));
        expected.packet(&item(2));
        assert!(expected.close(4).is_err());
        let mut changed = item(4);
        changed[40] ^= 1;
        expected.packet(&changed);
        assert!(expected.close(5).is_err());
    }
}
