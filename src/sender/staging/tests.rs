use core::cell::Cell;
use std::vec::Vec;

use crate::Outbox;

/// A staging and the number of its sent items.
struct Staging<I: Iterator, const BATCH: usize>(super::Staging<I, BATCH>, u8);

impl<I: Iterator, const BATCH: usize> Staging<I, BATCH> {
    fn new(items: I) -> Self {
        Self(super::Staging::new(items), 0)
    }

    fn fill(&mut self) {
        self.0.fill(&mut self.1);
    }

    fn left(&self) -> &[I::Item] {
        self.0.left(self.1)
    }

    fn sent(&mut self, count: usize) {
        self.0.sent(&mut self.1, count);
    }

    fn discard(&mut self) -> Option<I::Item> {
        self.0.discard(&mut self.1)
    }

    fn into_parts(self) -> (I, impl Iterator<Item = I::Item>) {
        self.0.into_parts(self.1)
    }
}

/// Counts how often it is asked, and promises nothing.
fn unpromising<'a>(asked: &'a Cell<u32>, items: core::ops::Range<u32>) -> impl Iterator<Item = u32> + 'a {
    let mut items = items;
    core::iter::from_fn(move || {
        asked.set(asked.get() + 1);
        items.next()
    })
}

#[test]
fn items_leave_in_their_order_and_none_is_lost() {
    let mut staging = Staging::<_, 4>::new(0..10);
    let mut sent = Vec::new();
    loop {
        staging.fill();
        let Some(item) = staging.left().first().copied() else { break };
        staging.sent(1);
        sent.push(item);
    }
    assert_eq!(sent, (0..10).collect::<Vec<_>>());
}

#[test]
fn a_promising_iterator_fills_the_batch_and_no_more() {
    let mut staging = Staging::<_, 4>::new(0..10);
    staging.fill();
    let (rest, staged) = staging.into_parts();
    assert_eq!(staged.collect::<Vec<_>>(), [0, 1, 2, 3]);
    assert_eq!(rest, 4..10);
}

#[test]
fn an_iterator_that_promises_nothing_is_asked_for_one_item_alone() {
    let asked = Cell::new(0);
    let mut staging = Staging::<_, 8>::new(unpromising(&asked, 0..3));
    staging.fill();
    staging.fill();
    assert_eq!(asked.get(), 1, "a second call could block while the first item waits");
    staging.sent(1);
    staging.fill();
    assert_eq!(asked.get(), 2);
}

#[test]
fn an_iterator_that_has_nothing_is_asked_once_a_fill_and_again_at_the_next() {
    let asked = Cell::new(0);
    let mut staging = Staging::<_, 2>::new(unpromising(&asked, 0..0));
    for fills in 1..=3 {
        staging.fill();
        assert_eq!(asked.get(), fills);
        assert!(staging.left().is_empty());
        assert_eq!(staging.discard(), None);
    }
}

#[test]
fn a_promise_that_is_not_kept_ends_the_pulling_of_one_fill() {
    struct Promising(Vec<Option<u32>>);
    impl Iterator for Promising {
        type Item = u32;
        fn next(&mut self) -> Option<u32> {
            self.0.remove(0)
        }
        fn size_hint(&self) -> (usize, Option<usize>) {
            (1000, None)
        }
    }
    let mut staging = Staging::<_, 4>::new(Promising(std::vec![Some(0), None, None, Some(1), Some(2), Some(3)]));
    staging.fill();
    assert_eq!(staging.left(), [0]);
    staging.fill();
    assert_eq!(staging.left(), [0], "one call returned None");
    staging.fill();
    assert_eq!(staging.left(), [0, 1, 2, 3]);
}

#[test]
fn items_that_are_pushed_after_a_pause_are_pulled() {
    let mut staging = Staging::<_, 4>::new(Outbox::<_, 8>::new());
    for round in [0..3, 3..3, 3..11] {
        round.clone().for_each(|item| staging.0.items_mut().push(item).unwrap());
        for item in round {
            staging.fill();
            assert_eq!(staging.left().first(), Some(&item));
            staging.sent(1);
        }
        staging.fill();
        assert!(staging.left().is_empty() && staging.0.items().is_empty());
    }
}

#[test]
fn items_that_were_pulled_are_handed_back_in_their_order() {
    let mut staging = Staging::<_, 4>::new(0..6);
    staging.fill();
    staging.sent(1);
    staging.fill();
    let (rest, staged) = staging.into_parts();
    assert_eq!(staged.chain(rest).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
}

#[test]
fn the_next_item_can_be_discarded_wherever_it_is() {
    let mut staging = Staging::<_, 4>::new(0..9);
    let mut discarded = Vec::new();
    for sent in [0, 1, 2, 3, 0] {
        staging.fill();
        staging.sent(sent);
        discarded.extend(staging.discard());
    }
    assert_eq!(discarded, [0, 2, 5]);
    let mut single = Staging::<_, 1>::new(0..2);
    single.fill();
    assert_eq!((single.discard(), single.discard()), (Some(0), None));
}

#[test]
fn sent_items_are_dropped_at_once_where_none_is_left_and_else_once_they_are_no_fewer_than_the_others() {
    let alive = std::rc::Rc::new(());
    // Items in the iterator and in the staging: each holds it, beside the one above.
    let held = || std::rc::Rc::strong_count(&alive) - 1;
    let mut staging = Staging::<_, 8>::new(std::vec![alive.clone(); 9].into_iter());
    staging.fill();
    assert_eq!(held(), 9);
    staging.sent(3);
    staging.fill();
    assert_eq!((held(), staging.left().len()), (9, 5));
    staging.sent(1);
    staging.fill();
    assert_eq!((held(), staging.left().len()), (5, 5), "four were dropped, and one more was pulled");
    // The iterator is at its end.
    staging.sent(3);
    staging.fill();
    assert_eq!((held(), staging.left().len()), (2, 2));
    staging.sent(2);
    assert_eq!(held(), 0);
}
