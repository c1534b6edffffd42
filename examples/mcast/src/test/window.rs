//! Which of the last numbers were seen, in a fixed amount of memory.

/// How many numbers are remembered, a power of two: two thirds of a second at 100,000 packets a second, in 8 KiB.
pub(crate) const SPAN: u64 = 65_536;
const WORDS: usize = (SPAN / u64::BITS as u64) as usize;

/// One bit for each of the last [`SPAN`] numbers, from the highest one seen downwards.
pub(crate) struct Window {
    words: Box<[u64]>,
    highest: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    /// For the first time.
    New,
    /// Before.
    Again,
    /// It is below the window: nobody knows.
    Unknown,
}

impl Window {
    /// A window of which only this number was seen.
    pub(crate) fn new(number: u64) -> Self {
        let mut window = Self { words: vec![0; WORDS].into(), highest: number };
        window.mark(number);
        window
    }

    /// The highest number that was seen.
    pub(crate) fn highest(&self) -> u64 {
        self.highest
    }

    /// Marks the number as seen.
    pub(crate) fn see(&mut self, number: u64) -> Seen {
        match number.checked_sub(self.highest) {
            Some(0) => return Seen::Again,
            Some(ahead) if ahead >= SPAN => self.words.fill(0),
            Some(_) => self.enter(number),
            None if self.highest.saturating_sub(number) >= SPAN => return Seen::Unknown,
            None => {}
        }
        self.highest = self.highest.max(number);
        match self.mark(number) {
            true => Seen::New,
            false => Seen::Again,
        }
    }

    /// What leaves the window makes room for the numbers from behind the highest one to this one.
    fn enter(&mut self, number: u64) {
        const WHOLE: u64 = u64::BITS as u64;
        let mut next = self.highest.saturating_add(1);
        while next <= number {
            let is_whole = next.is_multiple_of(WHOLE) && number.saturating_sub(next) >= WHOLE - 1;
            if let Some((word, bit)) = self.place(next) {
                *word = if is_whole { 0 } else { *word & !bit };
            }
            let Some(then) = next.checked_add(if is_whole { WHOLE } else { 1 }) else { return };
            next = then;
        }
    }

    /// Sets the bit. Whether it was not set.
    fn mark(&mut self, number: u64) -> bool {
        let Some((word, bit)) = self.place(number) else { return false };
        let is_new = *word & bit == 0;
        *word |= bit;
        is_new
    }

    fn place(&mut self, number: u64) -> Option<(&mut u64, u64)> {
        let place = number % SPAN;
        let word = usize::try_from(place / u64::from(u64::BITS)).ok()?;
        Some((self.words.get_mut(word)?, 1 << (place % u64::from(u64::BITS))))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_number_is_new_once_and_old_ones_are_unknown() {
        let mut window = Window::new(10);
        assert_eq!(window.see(10), Seen::Again);
        assert_eq!(window.see(12), Seen::New);
        assert_eq!(window.see(11), Seen::New);
        assert_eq!(window.see(11), Seen::Again);
        assert_eq!(window.see(9), Seen::New);
        assert_eq!(window.see(12 + SPAN - 1), Seen::New);
        assert_eq!(window.see(12), Seen::Again);
        assert_eq!(window.see(11), Seen::Unknown);
        assert_eq!(window.see(13), Seen::New);
        assert_eq!(window.see(u64::MAX), Seen::New);
        assert_eq!(window.see(u64::MAX), Seen::Again);
        assert_eq!(window.see(u64::MAX - SPAN + 1), Seen::New);
        assert_eq!(window.see(0), Seen::Unknown);
        assert_eq!(window.highest(), u64::MAX);
    }

    /// Against a set that remembers everything, with numbers as a bad network mixes them.
    #[test]
    fn it_agrees_with_a_set() {
        let mut random = 0x2545_f491_4f6c_dd1d_u64;
        let mut window = Window::new(0);
        let (mut set, mut next) = (BTreeSet::from([0]), 1_u64);
        for _ in 0..300_000 {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            let number = match random % 8 {
                0 => next.saturating_sub(random >> 32 & 0x1_ffff),
                1 => next + (random >> 32 & 0x3ff),
                _ => next,
            };
            let highest = window.highest();
            let expected = match number {
                old if old < highest && highest - old >= SPAN => Seen::Unknown,
                number if set.insert(number) => Seen::New,
                _ => Seen::Again,
            };
            assert_eq!(window.see(number), expected, "{number} after {highest}");
            next = next.max(number + 1);
        }
    }
}
