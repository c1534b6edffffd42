//! A multicaster's staging that is fed by an outbox. With any pushes, pulls, sends and discards in any order, no item is lost,
//! duplicated or reordered, and a pushed item is ready to be sent at the next step.
#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use multicast::Outbox;
use multicast::fuzzing::Staging;

#[derive(Arbitrary, Debug)]
struct Input {
    sizes: Sizes,
    steps: Vec<Step>,
}

/// Sizes of the batch and of the outbox.
#[derive(Arbitrary, Clone, Copy, Debug)]
enum Sizes {
    OneAndOne,
    OneAndEight,
    ThreeAndTwo,
    EightAndFive,
    SixtyFourAndSixteen,
}

#[derive(Arbitrary, Debug)]
enum Step {
    /// This many items are pushed; those that the outbox hands back are given up.
    Push(u8),
    /// The user takes an item out of the outbox.
    Pull,
    /// `Multicaster::step`, in which this many staged items leave.
    Send(u8),
    /// `Multicaster::discard`.
    Discard,
}

fn run<const BATCH: usize, const N: usize>(steps: &[Step]) {
    let mut staging = Staging::<_, BATCH>::new(Outbox::<u32, N>::new());
    // The items that are staged or queued, in their order: their numbers.
    let (mut staged, mut queued) = (Vec::<u32>::new(), Vec::<u32>::new());
    let mut number = 0;
    for step in steps {
        match step {
            Step::Push(count) => {
                for _ in 0..*count {
                    let has_room = queued.len() < N;
                    let outbox = staging.items_mut();
                    assert_eq!(outbox.is_full(), !has_room);
                    assert_eq!(outbox.push(number), if has_room { Ok(()) } else { Err(number) });
                    if has_room {
                        queued.push(number);
                    }
                    number += 1;
                }
            }
            Step::Pull => {
                let first = if queued.is_empty() { None } else { Some(queued.remove(0)) };
                assert_eq!(staging.items_mut().next(), first);
            }
            Step::Send(most) => {
                staging.fill();
                // The sent items are given up first: at most half of the places are taken by them.
                let pulled = staging.left().len() - staged.len();
                staged.extend(queued.drain(..pulled));
                assert_eq!(staging.left(), staged);
                assert!(!staged.is_empty() || queued.is_empty(), "nothing to send with items in the queue");
                assert!(queued.is_empty() || staged.len() * 2 >= BATCH, "a batch of {} with more queued", staged.len());
                let sent = usize::from(*most).min(staged.len());
                if sent > 0 {
                    staging.sent(sent);
                }
                staged.drain(..sent);
            }
            Step::Discard => {
                let first = if staged.is_empty() { None } else { Some(staged.remove(0)) };
                assert_eq!(staging.discard(), first);
            }
        }
        let outbox = staging.items_mut();
        assert_eq!(outbox.size_hint(), (queued.len(), Some(queued.len())));
        assert_eq!((outbox.len(), Outbox::is_empty(&outbox), outbox.capacity()), (queued.len(), queued.is_empty(), N));
        assert_eq!(staging.left(), staged);
    }
    let (outbox, left) = staging.into_parts();
    assert!(left.chain(outbox).eq(staged.into_iter().chain(queued)), "an item is lost");
}

fuzz_target!(|input: Input| {
    match input.sizes {
        Sizes::OneAndOne => run::<1, 1>(&input.steps),
        Sizes::OneAndEight => run::<1, 8>(&input.steps),
        Sizes::ThreeAndTwo => run::<3, 2>(&input.steps),
        Sizes::EightAndFive => run::<8, 5>(&input.steps),
        Sizes::SixtyFourAndSixteen => run::<64, 16>(&input.steps),
    }
});
