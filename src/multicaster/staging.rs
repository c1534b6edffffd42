//! What to send next, and what was taken: the part of a multicaster that knows no socket, so that it can be tested and fuzzed
//! without one.

mod ring;

use ring::Ring;

/// An iterator, and the items that were pulled from it and not sent yet, in their order.
pub(crate) struct Staging<I: Iterator, const BATCH: usize> {
    items: I,
    staged: Ring<I::Item, BATCH>,
    /// The iterator has said that it is at its end, and is not asked again.
    exhausted: bool,
}

impl<I: Iterator, const BATCH: usize> Staging<I, BATCH> {
    pub(crate) const fn new(items: I) -> Self {
        Self { items, staged: Ring::new(), exhausted: false }
    }

    /// Pulls items until the batch is full: at least one if there is one, and beyond it only what the iterator has promised, since
    /// the next call could wait.
    #[inline]
    pub(crate) fn fill(&mut self) {
        while !self.exhausted && !self.staged.is_full() {
            if self.staged.len() > 0 && self.items.size_hint().0 == 0 {
                return;
            }
            match self.items.next() {
                // There is room: the loop's condition says so.
                Some(item) => self.staged.push(item),
                None => self.exhausted = true,
            }
        }
    }

    /// The item to send next.
    #[inline]
    pub(crate) fn front(&self) -> Option<&I::Item> {
        self.staged.front()
    }

    /// How many items are held.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.staged.len()
    }

    /// The items, in their order, the one to send next first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &I::Item> {
        self.staged.iter()
    }

    /// Takes the item that is next away: it was sent, or is given up.
    #[inline]
    pub(crate) fn sent(&mut self) -> Option<I::Item> {
        self.staged.pop()
    }

    /// Takes so many items away, which were sent.
    pub(crate) fn sent_together(&mut self, count: usize) {
        // Mostly these are all.
        if count >= self.staged.len() {
            return self.staged.clear();
        }
        for _ in 0..count {
            self.staged.pop();
        }
    }

    pub(crate) fn into_parts(self) -> (I, impl Iterator<Item = I::Item>) {
        let mut staged = self.staged;
        (self.items, core::iter::from_fn(move || staged.pop()))
    }
}

#[cfg(test)]
mod tests;
