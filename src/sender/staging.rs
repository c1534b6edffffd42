//! Which items were pulled from the iterator, and which one is sent next. It has no socket, so that it can be tested and fuzzed
//! without one.

use heapless::Vec;

/// An iterator, and the items that were pulled from it and not sent yet.
///
/// The caller keeps the number of the items that were sent, and passes it to each call as `sent`. In here, it would take a whole word.
pub(crate) struct Staging<I: Iterator, const BATCH: usize> {
    items: I,
    /// The items in their order. The sent ones are removed once all are sent, or once they are no fewer than the unsent ones: so
    /// each item is moved at most once.
    staged: Vec<I::Item, BATCH, u8>,
}

impl<I: Iterator, const BATCH: usize> Staging<I, BATCH> {
    pub(crate) const fn new(items: I) -> Self {
        Self { items, staged: Vec::new() }
    }

    /// Pulls items until the batch is full: the first one always, more only as far as the iterator's `size_hint` promises them,
    /// since a call beyond that could block. `None` ends the pulling, whatever `size_hint` promised; the next call asks again.
    #[inline]
    pub(crate) fn fill(&mut self, sent: &mut u8) {
        self.make_room(sent);
        // There is room for the item: the loop's condition checks it.
        while !self.staged.is_full() && (self.staged.is_empty() || self.items.size_hint().0 > 0) {
            let Some(item) = self.items.next() else { break };
            drop(self.staged.push(item));
        }
    }

    /// Moves the unsent items to the front, if they fit into the places of the sent ones.
    #[inline]
    fn make_room(&mut self, sent: &mut u8) {
        // A batch of one item never has a rest. The compiler cannot see this, and would link the code below.
        if BATCH == 1 {
            return;
        }
        let Some((front, left)) = self.staged.split_at_mut_checked((*sent).into()) else { return };
        if front.len() >= left.len() {
            front.iter_mut().zip(left.iter_mut()).for_each(|(to, from)| core::mem::swap(to, from));
            let left = left.len();
            // First, since dropping an item may panic.
            *sent = 0;
            self.staged.truncate(left);
        }
    }

    /// The unsent items, in their order.
    #[inline]
    pub(crate) fn left(&self, sent: u8) -> &[I::Item] {
        match BATCH {
            1 => &self.staged,
            _ => self.staged.get(sent.into()..).unwrap_or(&[]),
        }
    }

    /// Records that this many more items were sent.
    #[inline]
    pub(crate) fn sent(&mut self, sent: &mut u8, count: usize) {
        let all = usize::from(*sent).saturating_add(count);
        if BATCH == 1 || all >= self.staged.len() {
            // First, since dropping an item may panic.
            *sent = 0;
            self.staged.clear();
        } else {
            // Below BATCH, which is at most 64.
            *sent = all as u8;
        }
    }

    /// Removes the next item, and returns it.
    pub(crate) fn discard(&mut self, sent: &mut u8) -> Option<I::Item> {
        // Swap it to the end, one place at a time: this keeps the order of the others.
        let left = self.staged.get_mut((*sent).into()..)?;
        let mut rest = left.iter_mut();
        let mut place = rest.next()?;
        for behind in rest {
            core::mem::swap(place, behind);
            place = behind;
        }
        let item = self.staged.pop();
        self.sent(sent, 0);
        item
    }

    pub(crate) const fn items(&self) -> &I {
        &self.items
    }

    pub(crate) const fn items_mut(&mut self) -> &mut I {
        &mut self.items
    }

    /// The iterator, and the unsent items.
    pub(crate) fn into_parts(self, sent: u8) -> (I, impl Iterator<Item = I::Item>) {
        let (mut staged, mut sent) = (self.staged.into_iter(), sent);
        let left = core::iter::from_fn(move || {
            while sent > 0 {
                // Not by `skip`, which would return sent items after dropping one has panicked.
                sent = sent.saturating_sub(1);
                drop(staged.next());
            }
            staged.next()
        });
        (self.items, left)
    }
}

#[cfg(test)]
mod tests;
