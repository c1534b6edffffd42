//! A queue that is an iterator, for a multicaster that is fed while the program runs.

use heapless::Deque;

/// A queue of at most `N` items, and an iterator over them: feeds a [`Multicaster`](crate::Multicaster) while the program runs.
///
/// [`push`](Self::push) adds an item; the iterator removes them in their order. After `None` it gives items again as soon as
/// some were pushed, and the multicaster asks again at each step. Its `size_hint` is exact, so everything that is queued can
/// leave in one [batch](crate::SendOptions::batches). Nothing is allocated: the queue is part of the value.
///
/// ```no_run
/// use multicast::{Events, Group, Interest, Interface, Outbox, Poller, Progress, SendOptions, Token};
///
/// # fn ready() -> Option<[u8; 4]> { None }
/// let options = SendOptions::new().interface(Interface::LOOPBACK);
/// let mut caster = options.batches::<64, _>(Group::DEFAULT, Outbox::<[u8; 4], 256>::new())?;
/// let (poller, mut events) = (Poller::new()?, Events::<16>::new());
/// // Your own sources are registered beside it. One-shot, and armed again only after `Blocked`: an idle socket is always writable.
/// let room = Interest::WRITABLE.oneshot();
/// poller.register(&caster, Token(0), room)?;
/// loop {
///     while let Some(reading) = ready() {
///         if caster.items_mut().push(reading).is_err() {
///             // The queue is full: the sensor is faster than the network. Here the newest reading is dropped.
///             break;
///         }
///     }
///     let time = loop {
///         match caster.step()? {
///             Progress::Sent(_) => continue,
///             Progress::Blocked => poller.reregister(&caster, Token(0), room)?,
///             Progress::Wait(time) => break Some(time),
///             // Nothing is left to send, and nothing of the multicaster to wait for.
///             Progress::Done => {}
///         }
///         break None;
///     };
///     for _event in poller.poll(&mut events, time)? { /* read your sources */ }
/// }
/// # #[allow(unreachable_code)]
/// # Ok::<(), multicast::Error>(())
/// ```
///
/// A queue without room does not compile:
///
/// ```compile_fail,E0080
/// let outbox = multicast::Outbox::<&str, 0>::new();
/// ```
#[derive(Debug)]
pub struct Outbox<T, const N: usize>(Deque<T, N>);

impl<T, const N: usize> Outbox<T, N> {
    /// An empty queue.
    #[must_use]
    pub const fn new() -> Self {
        Self(Deque::new())
    }

    /// Adds an item behind the others.
    ///
    /// ```
    /// # use multicast::Outbox;
    /// let mut outbox = Outbox::<_, 2>::new();
    /// assert_eq!(outbox.next(), None);
    /// outbox.push("one").unwrap();
    /// outbox.push("two").unwrap();
    /// assert_eq!(outbox.push("three"), Err("three"));
    /// assert_eq!(outbox.next(), Some("one"));
    /// ```
    ///
    /// # Errors
    /// Returns the item if the queue is full.
    pub fn push(&mut self, item: T) -> Result<(), T> {
        self.0.push_back(item)
    }

    /// How many items are queued. Those that a multicaster has already pulled do not count.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether no item is queued.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether [`push`](Self::push) would return the item.
    #[must_use]
    pub const fn is_full(&self) -> bool {
        self.len() == N
    }

    /// How many items there is room for: `N`.
    #[must_use]
    pub const fn capacity(&self) -> usize {
        N
    }
}

impl<T, const N: usize> Default for Outbox<T, N> {
    fn default() -> Self {
        Self::new()
    }
}

/// Removes the oldest item. It is not fused: after `None` it gives the items that were pushed since.
impl<T, const N: usize> Iterator for Outbox<T, N> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        self.0.pop_front()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.len(), Some(self.len()))
    }
}

impl<T, const N: usize> ExactSizeIterator for Outbox<T, N> {}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::rc::Rc;

    use super::*;

    #[test]
    fn items_leave_in_their_order_however_pushes_and_pulls_alternate() {
        // Each round pushes and pulls other numbers of items, so that the ring wraps at every place.
        let (mut outbox, mut expected) = (Outbox::<_, 5>::new(), VecDeque::new());
        let mut next = 0;
        for round in 0..60 {
            for _ in 0..round % 7 {
                let is_full = expected.len() == 5;
                assert_eq!(outbox.is_full(), is_full);
                assert_eq!(outbox.push(next), if is_full { Err(next) } else { Ok(()) });
                if !is_full {
                    expected.push_back(next);
                }
                next += 1;
            }
            for _ in 0..round % 4 {
                assert_eq!(outbox.next(), expected.pop_front());
                assert_eq!(outbox.size_hint(), (expected.len(), Some(expected.len())));
                assert_eq!((outbox.len(), outbox.is_empty()), (expected.len(), expected.is_empty()));
            }
        }
        assert_eq!((outbox.capacity(), outbox.collect::<VecDeque<_>>()), (5, expected));
    }

    #[test]
    fn it_gives_items_again_after_none() {
        let mut outbox = Outbox::<_, 1>::default();
        for item in 0..3 {
            assert_eq!(outbox.next(), None);
            outbox.push(item).unwrap();
            assert_eq!(outbox.next(), Some(item));
        }
    }

    #[test]
    fn queued_items_are_dropped_with_it() {
        let alive = Rc::new(());
        let mut outbox = Outbox::<_, 3>::new();
        (0..5).for_each(|_| drop(outbox.push(alive.clone())));
        drop(outbox.next());
        assert_eq!(Rc::strong_count(&alive), 3);
        drop(outbox);
        assert_eq!(Rc::strong_count(&alive), 1);
    }

    #[test]
    fn an_outbox_can_stand_in_a_constant() {
        const EMPTY: Outbox<u8, 3> = Outbox::new();
        assert!(EMPTY.is_empty());
    }
}
