//! What to send next, and what was taken: the part of a multicaster that knows no socket, so that it can be tested and fuzzed
//! without one.

use heapless::Vec;

/// An iterator, and the items that were pulled from it and not sent yet.
pub(crate) struct Staging<I: Iterator, const BATCH: usize> {
    items: I,
    /// In their order. Those that were sent go when all are, or when there are as many of them as of the others: then each item is
    /// moved once at most.
    staged: Vec<I::Item, BATCH, u8>,
    /// How many of them were sent: fewer than there are, or 0.
    sent: u8,
    /// The iterator has said that it is at its end, and is not asked again.
    exhausted: bool,
}

impl<I: Iterator, const BATCH: usize> Staging<I, BATCH> {
    pub(crate) const fn new(items: I) -> Self {
        Self { items, staged: Vec::new(), sent: 0, exhausted: false }
    }

    /// Pulls items until the batch is full: at least one if there is one, and beyond it only what the iterator has promised, since
    /// the next call could wait.
    #[inline]
    pub(crate) fn fill(&mut self) {
        self.make_room();
        // There is room for what is pulled: the loop's condition says so.
        while !self.exhausted && !self.staged.is_full() && (self.staged.is_empty() || self.items.size_hint().0 > 0) {
            match self.items.next() {
                Some(item) => drop(self.staged.push(item)),
                None => self.exhausted = true,
            }
        }
    }

    /// Moves the items that were not sent to the front, if there is room for them among those that were.
    #[inline]
    fn make_room(&mut self) {
        // Of one item none is left behind. What the compiler does not know it would link.
        if BATCH == 1 {
            return;
        }
        let Some((sent, left)) = self.staged.split_at_mut_checked(self.sent.into()) else { return };
        if sent.len() >= left.len() {
            sent.iter_mut().zip(left.iter_mut()).for_each(|(to, from)| core::mem::swap(to, from));
            let left = left.len();
            self.staged.truncate(left);
            self.sent = 0;
        }
    }

    /// The items that are held, in their order, the one to send next first.
    #[inline]
    pub(crate) fn left(&self) -> &[I::Item] {
        match BATCH {
            1 => &self.staged,
            _ => self.staged.get(self.sent.into()..).unwrap_or(&[]),
        }
    }

    /// Takes so many items away, which were sent.
    #[inline]
    pub(crate) fn sent(&mut self, count: usize) {
        let sent = usize::from(self.sent).saturating_add(count);
        if BATCH == 1 || sent >= self.staged.len() {
            self.staged.clear();
            self.sent = 0;
        } else {
            // Below BATCH, which is 64 at most.
            self.sent = sent as u8;
        }
    }

    /// Takes the item that is next away.
    pub(crate) fn discard(&mut self) -> Option<I::Item> {
        // To the end it goes, step by step.
        let left = self.staged.get_mut(self.sent.into()..)?;
        let mut rest = left.iter_mut();
        let mut place = rest.next()?;
        for behind in rest {
            core::mem::swap(place, behind);
            place = behind;
        }
        let item = self.staged.pop();
        self.sent(0);
        item
    }

    pub(crate) fn into_parts(self) -> (I, impl Iterator<Item = I::Item>) {
        (self.items, self.staged.into_iter().skip(self.sent.into()))
    }
}

#[cfg(test)]
mod tests;
