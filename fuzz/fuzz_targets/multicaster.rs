//! Staging and segments of a multicaster. With any results of the socket and any promises of the iterator, no item is lost,
//! duplicated or reordered, none is pulled that could block, and an iterator that had nothing is asked again at the next step only.
#![no_main]

use std::cell::Cell;

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use multicast::fuzzing::{Segments, Staging};

#[derive(Arbitrary, Debug)]
struct Input {
    batch: Batch,
    /// How many items the iterator has.
    items: u16,
    /// What its `size_hint` promises before each item, in turn, limited to what is true; if empty, nothing.
    promises: Vec<u8>,
    /// How often the iterator returns `None` before each item, in turn; if empty, never.
    pauses: Vec<u8>,
    /// The lengths of the items, in turn; if empty, all items are empty.
    lengths: Vec<u16>,
    steps: Vec<Step>,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Batch {
    One,
    Two,
    Three,
    Eight,
    SixtyFour,
}

#[derive(Arbitrary, Debug)]
enum Step {
    /// `Multicaster::step`: this many may leave, at least one, and the socket returns these results. After the last one it takes
    /// everything.
    Send { most: u8, answers: Vec<Answer> },
    /// `Multicaster::discard`.
    Discard,
}

#[derive(Arbitrary, Debug)]
enum Answer {
    Sent,
    Blocked,
    Failed,
    /// Packets that should leave together are too long for the path.
    Refused,
    /// Packets cannot leave together at all.
    Unsupported,
}

/// Returns 0, 1, 2 and so on, and checks how it is called.
#[derive(Debug)]
struct Source<'a> {
    next: u32,
    end: u32,
    promises: &'a [u8],
    /// How many items have left the batch; the items from this one to `next` are in it.
    gone: &'a Cell<u32>,
    batch: u32,
    /// The last answer of `size_hint`, until the next item is pulled.
    promised: Cell<Option<usize>>,
    pauses: &'a [u8],
    /// How often it still returns `None` before the next item.
    pause: u8,
    /// It returned `None` in this fill.
    had_nothing: &'a Cell<bool>,
}

impl Source<'_> {
    /// How often it returns `None` before the next item.
    fn pause(&self) -> u8 {
        match self.pauses.len() {
            0 => 0,
            length => self.pauses[self.next as usize % length],
        }
    }
}

impl Iterator for Source<'_> {
    type Item = u32;

    fn next(&mut self) -> Option<u32> {
        assert!(!self.had_nothing.get(), "asked again in one fill after it returned None");
        let staged = self.next - self.gone.get();
        assert!(staged < self.batch, "pulled more than the batch holds");
        let promised = self.promised.take();
        if staged > 0 {
            assert!(promised.is_some_and(|lower| lower > 0), "asked for more than it promised while an item waits");
        }
        if self.next == self.end || self.pause > 0 {
            self.pause = self.pause.saturating_sub(1);
            self.had_nothing.set(true);
            return None;
        }
        self.next += 1;
        self.pause = self.pause();
        Some(self.next - 1)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let promise = match self.promises.len() {
            0 => 0,
            length => self.promises[self.next as usize % length],
        };
        let lower = usize::from(promise).min((self.end - self.next) as usize);
        self.promised.set(Some(lower));
        (lower, None)
    }
}

/// Checks the rules of `UDP_SEGMENT` (`udp(7)`): at least two, of one size, the last one may be shorter, none empty, and
/// together not longer than a datagram.
fn assert_can_leave_together(lengths: &[usize], size: u16, largest: u16) {
    let size_of_each = usize::from(size);
    let (last, others) = lengths.split_last().expect("none");
    assert!(!others.is_empty() && size <= largest, "{lengths:?} {size} {largest}");
    assert!(others.iter().all(|length| *length == size_of_each), "{lengths:?} {size}");
    assert!((1..=size_of_each).contains(last), "{lengths:?} {size}");
    assert!(lengths.iter().sum::<usize>() <= 65_507, "{lengths:?}");
}

fn run<const BATCH: usize>(input: &Input) {
    let (gone, had_nothing) = (Cell::new(0), Cell::new(false));
    let mut source = Source {
        next: 0,
        end: input.items.into(),
        promises: &input.promises,
        gone: &gone,
        batch: BATCH as u32,
        promised: Cell::new(None),
        pauses: &input.pauses,
        pause: 0,
        had_nothing: &had_nothing,
    };
    source.pause = source.pause();
    let mut staging = Staging::<_, BATCH>::new(source);
    // Each item must leave in its order: sent, discarded, or returned at the end.
    let leaves = |item: Option<u32>| {
        assert_eq!(item, Some(gone.get()));
        gone.set(gone.get() + 1);
    };
    let length = |item: u32| match input.lengths.len() {
        0 => 0,
        count => usize::from(input.lengths[item as usize % count]),
    };
    let mut segments = Segments::new();
    let mut largest = u16::MAX;
    for step in &input.steps {
        match step {
            Step::Send { most, answers } => {
                let had_items = !staging.left().is_empty();
                had_nothing.set(false);
                staging.fill();
                let is_empty = !had_items && staging.left().is_empty();
                assert!(!is_empty || had_nothing.get(), "empty only if the iterator had nothing");
                assert!(is_empty || !staging.left().is_empty());
                let mut answers = answers.iter();
                let most = usize::from(*most).max(1);
                while !staging.left().is_empty() {
                    let staged = staging.left();
                    assert!(staged.iter().copied().eq(gone.get()..gone.get() + staged.len() as u32), "staged in order");
                    let lengths: Vec<_> = staged.iter().take(most).map(|item| length(*item)).collect();
                    let run = segments.run(lengths.iter().copied());
                    let together = run.map_or(1, |(count, size)| {
                        assert_can_leave_together(&lengths[..count], size, largest);
                        count
                    });
                    match (answers.next(), run) {
                        (None | Some(Answer::Sent), _) => {
                            staging.left().iter().take(together).for_each(|item| leaves(Some(*item)));
                            staging.sent(together);
                        }
                        (Some(Answer::Refused), Some((_, size))) => {
                            segments.refused(size);
                            largest = largest.min(size - 1);
                        }
                        (Some(Answer::Unsupported), _) => {
                            segments.unsupported();
                            largest = 0;
                        }
                        (Some(Answer::Blocked | Answer::Failed | Answer::Refused), _) => break,
                    }
                }
            }
            Step::Discard => match staging.discard() {
                None => assert!(staging.left().is_empty()),
                item => leaves(item),
            },
        }
    }
    let (source, staged) = staging.into_parts();
    for item in staged {
        leaves(Some(item));
    }
    assert_eq!(source.next, gone.get(), "an item is lost");
}

fuzz_target!(|input: Input| {
    match input.batch {
        Batch::One => run::<1>(&input),
        Batch::Two => run::<2>(&input),
        Batch::Three => run::<3>(&input),
        Batch::Eight => run::<8>(&input),
        Batch::SixtyFour => run::<64>(&input),
    }
});
