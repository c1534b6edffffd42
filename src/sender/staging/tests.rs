use core::cell::Cell;
use std::vec::Vec;

use super::*;

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
fn an_iterator_at_its_end_is_not_asked_again() {
    let asked = Cell::new(0);
    let mut staging = Staging::<_, 2>::new(unpromising(&asked, 0..0));
    staging.fill();
    staging.fill();
    assert_eq!(asked.get(), 1);
    assert!(staging.left().is_empty());
    assert_eq!(staging.discard(), None);
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
