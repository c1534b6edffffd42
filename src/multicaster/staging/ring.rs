//! A queue of a fixed capacity, in place.
//!
//! `heapless::Deque` would do. But of a queue of one item this one's place is a constant, and a program that sends its packets singly
//! is linked without what it cannot come to need: behind a place that is computed, the compiler trusts nothing that lies beside it.
//! In return, items that leave no value unused (arrays of bytes, but no slice, string or vector) take some bytes more each.

/// Up to `N` items, in the order in which they came.
pub(super) struct Ring<T, const N: usize> {
    /// Empty places hold nothing.
    places: [Option<T>; N],
    /// The place of the first item, below `N`.
    first: usize,
    count: usize,
}

impl<T, const N: usize> Ring<T, N> {
    pub(super) const fn new() -> Self {
        Self { places: [const { None }; N], first: 0, count: 0 }
    }

    #[inline(always)]
    pub(super) const fn len(&self) -> usize {
        self.count
    }

    #[inline(always)]
    pub(super) const fn is_full(&self) -> bool {
        self.count >= N
    }

    /// Where the item is that so many are in front of, `N` at most.
    #[inline(always)]
    const fn place(&self, offset: usize) -> usize {
        let place = self.first.saturating_add(offset);
        match N {
            1 => 0,
            _ if place >= N => place.saturating_sub(N),
            _ => place,
        }
    }

    #[inline(always)]
    pub(super) fn front(&self) -> Option<&T> {
        self.places.get(self.place(0))?.as_ref()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        let (behind, from_first) = self.places.split_at_checked(self.first).unwrap_or((&[], &[]));
        let first = from_first.get(..self.count).unwrap_or(from_first);
        let rest = behind.get(..self.count.saturating_sub(first.len())).unwrap_or(behind);
        first.iter().chain(rest).filter_map(Option::as_ref)
    }

    /// Puts an item behind the others, if there is room.
    #[inline(always)]
    pub(super) fn push(&mut self, item: T) {
        let end = self.place(self.count);
        if let (false, Some(place)) = (self.is_full(), self.places.get_mut(end)) {
            *place = Some(item);
            self.count = self.count.saturating_add(1);
        }
    }

    /// Takes all items out.
    pub(super) fn clear(&mut self) {
        // Those behind the end hold nothing; where the ring goes round, all are meant.
        for place in self.places.iter_mut().take(self.first.saturating_add(self.count)) {
            *place = None;
        }
        (self.first, self.count) = (0, 0);
    }

    /// Takes the first item out.
    #[inline(always)]
    pub(super) fn pop(&mut self) -> Option<T> {
        let place = self.place(0);
        let item = self.places.get_mut(place)?.take()?;
        self.first = self.place(1);
        self.count = self.count.saturating_sub(1);
        Some(item)
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;

    #[test]
    fn items_come_out_in_their_order_wherever_the_ring_begins() {
        let mut ring = Ring::<u32, 3>::new();
        let (mut next, mut expected) = (0, 0);
        for taken in [1, 2, 3, 1, 3, 2, 2] {
            while !ring.is_full() {
                ring.push(next);
                next += 1;
            }
            assert_eq!(ring.iter().copied().collect::<Vec<_>>(), [expected, expected + 1, expected + 2]);
            for _ in 0..taken {
                assert_eq!(ring.front(), Some(&expected));
                assert_eq!(ring.pop(), Some(expected));
                expected += 1;
            }
            assert_eq!(ring.len(), 3 - taken);
        }
    }

    #[test]
    fn a_ring_of_one_holds_one() {
        let mut ring = Ring::<u32, 1>::new();
        for item in 0..3 {
            assert_eq!((ring.pop(), ring.len(), ring.iter().count()), (None, 0, 0));
            assert_eq!(ring.front(), None);
            ring.push(item);
            assert_eq!((ring.front(), ring.iter().count(), ring.is_full()), (Some(&item), 1, true));
            assert_eq!(ring.pop(), Some(item));
            ring.push(item);
            ring.clear();
        }
    }
}
