//! Items whose `Drop` panics, where the panic is caught: every item is sent exactly once, whichever of them panics.

mod common;

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook};
use std::rc::Rc;

use common::{assert_quiet, expect_packet, on_lo, send_on_lo, unique_group};
use multicast::{ListenOptions, Listener, Multicaster, Progress};

/// An item that may panic when it is dropped, once.
struct Item {
    number: u8,
    length: usize,
    panics: bool,
    panicked: Rc<Cell<u32>>,
}

impl AsRef<[u8]> for Item {
    fn as_ref(&self) -> &[u8] {
        const BYTES: [[u8; 8]; 16] = {
            let mut bytes = [[0; 8]; 16];
            let mut number = 0;
            while number < 16 {
                bytes[number] = [number as u8; 8];
                number += 1;
            }
            bytes
        };
        &BYTES[usize::from(self.number)][..self.length]
    }
}

impl Drop for Item {
    fn drop(&mut self) {
        if self.panics {
            self.panics = false;
            self.panicked.set(self.panicked.get() + 1);
            panic!("an item panics when it is dropped");
        }
    }
}

const ITEMS: u8 = 9;

/// Items of which those panic whose bits are set. With `lengths`, batches end at various places.
fn items(panics: u32, lengths: [usize; 3], panicked: &Rc<Cell<u32>>) -> Vec<Item> {
    let item = |number: u8| Item {
        number,
        length: lengths[usize::from(number) % 3],
        panics: panics >> number & 1 == 1,
        panicked: panicked.clone(),
    };
    (0..ITEMS).map(item).collect()
}

/// Steps to the end, and catches each panic. Returns how many were caught.
fn finish<I: Iterator<Item = Item>, const BATCH: usize>(caster: &mut Multicaster<I, BATCH>) -> u32 {
    let mut caught = 0;
    loop {
        match catch_unwind(AssertUnwindSafe(|| caster.step().unwrap())) {
            Ok(Progress::Sent(_)) => {}
            Ok(Progress::Done) => return caught,
            Ok(other) => panic!("{other:?}"),
            Err(_) => caught += 1,
        }
    }
}

fn assert_each_once(listener: &mut Listener<100>, what: &str) {
    let numbers: Vec<u8> = (0..ITEMS).map(|_| expect_packet(listener)[0]).collect();
    assert_eq!(numbers, (0..ITEMS).collect::<Vec<_>>(), "{what}");
}

/// Each item alone. Two that are dropped together would end the process (`Drop::drop`).
fn patterns() -> impl Iterator<Item = u32> {
    (0..u32::from(ITEMS)).map(|index| 1 << index)
}

fn all_are_sent_once<const BATCH: usize>() {
    let group = unique_group();
    let mut listener = ListenOptions::new().bind::<100>(on_lo(group)).unwrap();
    for lengths in [[8, 8, 8], [8, 7, 6], [1, 2, 3]] {
        for panics in patterns() {
            let panicked = Rc::new(Cell::new(0));
            let mut caster = send_on_lo().batches::<BATCH, _>(group, items(panics, lengths, &panicked)).unwrap();
            let caught = finish(&mut caster);
            assert_eq!((caught, panicked.get()), (1, 1));
            assert_each_once(&mut listener, &format!("batches of {BATCH}, {panics:b} panic, {lengths:?}"));
        }
    }
    assert_quiet(&mut listener);
}

/// The hook would print a backtrace for each of some hundred panics.
fn say_no_word() {
    set_hook(Box::new(|info| {
        if !info.to_string().contains("an item panics") {
            eprintln!("{info}");
        }
    }));
}

#[test]
fn every_item_is_sent_once_whichever_panics_when_it_is_dropped() {
    say_no_word();
    all_are_sent_once::<1>();
    all_are_sent_once::<2>();
    all_are_sent_once::<3>();
    all_are_sent_once::<4>();
    all_are_sent_once::<64>();
}

#[test]
fn the_unsent_items_are_returned_once_whichever_sent_one_panics_when_it_is_dropped() {
    say_no_word();
    let group = unique_group();
    for panics in 0..1 << 3 {
        let panicked = Rc::new(Cell::new(0));
        let mut caster = send_on_lo().batches::<8, _>(group, items(panics, [8, 7, 6], &panicked)).unwrap();
        // Lengths that become shorter leave in pairs; then one leaves alone before the longer one.
        assert_eq!(caster.step().unwrap(), Progress::Sent(2));
        assert_eq!(caster.step().unwrap(), Progress::Sent(1));
        let (rest, mut staged) = caster.into_parts();
        let mut numbers = Vec::new();
        loop {
            match catch_unwind(AssertUnwindSafe(|| staged.next().map(|item| item.number))) {
                Ok(Some(number)) => numbers.push(number),
                Ok(None) => break,
                Err(_) => {}
            }
        }
        numbers.extend(rest.map(|item| item.number));
        assert_eq!(numbers, (3..ITEMS).collect::<Vec<_>>(), "{panics:b}");
        assert_eq!(panicked.get(), panics.count_ones());
    }
}
