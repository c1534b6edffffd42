//! Streams that a bad network, a restarted sender and strangers send.

use super::super::window::SPAN;
use super::*;

const ID: u64 = 7;

fn packet(kind: Kind, number: u64) -> Packet {
    Packet { kind, stream: ID, number, sent: 1_000_000 }
}

/// The counters after these numbers.
fn after(numbers: &[u64]) -> Stream {
    let mut stream = Stream::new(ID);
    for number in numbers {
        assert!(stream.add(&packet(Kind::Data, *number), 2_000_000), "{number}");
    }
    stream
}

#[test]
fn numbers_that_are_missing_are_lost() {
    let counts = after(&[5, 6, 9, 10]).counts();
    assert_eq!(counts, Counts { received: 4, lost: 2, skipped: 5, ..Counts::default() });
    assert_eq!(counts.expected(), 6);
}

#[test]
fn a_number_below_the_highest_is_reordered_and_a_double_is_not() {
    // The examples of RFC 4737: 4 is late once, then 5 and 6 are.
    assert_eq!(after(&[1, 2, 3, 5, 4, 6]).counts().reordered, 1);
    assert_eq!(after(&[1, 2, 3, 7, 4, 5, 6, 8]).counts().reordered, 3);
    let counts = after(&[1, 2, 2, 3, 1, 1, 4]).counts();
    assert_eq!((counts.received, counts.duplicates, counts.reordered, counts.lost), (4, 3, 0, 0));
}

#[test]
fn one_that_comes_late_is_no_longer_lost() {
    let mut stream = after(&[0, 1, 3]);
    assert_eq!(stream.counts().lost, 1);
    assert!(stream.add(&packet(Kind::Data, 2), 2_000_000));
    let counts = stream.counts();
    assert_eq!((counts.received, counts.lost, counts.reordered), (4, 0, 1));
}

#[test]
fn below_the_first_the_stream_began_earlier() {
    let counts = after(&[8, 9, 5]).counts();
    assert_eq!((counts.received, counts.lost, counts.skipped, counts.reordered), (3, 2, 5, 1));
}

#[test]
fn what_is_below_the_window_is_told_apart_and_stays_lost() {
    let counts = after(&[0, SPAN + 10, 0, 3]).counts();
    assert_eq!((counts.received, counts.late, counts.duplicates), (2, 2, 0));
    assert_eq!(counts.lost, SPAN + 9);
}

#[test]
fn the_end_tells_the_loss_of_the_last_ones() {
    let mut stream = after(&[0, 1, 2]);
    assert!(!stream.has_ended());
    assert!(stream.add(&packet(Kind::End, 10), 2_000_000) && stream.has_ended());
    let counts = stream.counts();
    assert_eq!((counts.received, counts.lost, counts.skipped, counts.total), (3, 7, 0, Some(10)));
    // A late one.
    assert!(stream.add(&packet(Kind::Data, 9), 2_000_000));
    assert_eq!(stream.counts().lost, 6);
}

#[test]
fn the_beginning_tells_the_loss_of_the_first_ones() {
    let mut stream = Stream::new(ID);
    assert!(stream.add(&packet(Kind::Begin, 0), 0) && stream.add(&packet(Kind::Data, 3), 2_000_000));
    let counts = stream.counts();
    assert_eq!((counts.received, counts.lost, counts.skipped), (1, 3, 0));
    // All of them.
    let mut stream = Stream::new(ID);
    assert!(stream.add(&packet(Kind::Begin, 0), 0) && stream.add(&packet(Kind::End, 5), 0));
    assert_eq!((stream.counts().lost, stream.counts().skipped), (5, 0));
    // Who hears the end alone cannot know whether they were lost.
    let mut stream = Stream::new(ID);
    assert!(stream.add(&packet(Kind::End, 5), 0));
    assert_eq!((stream.counts().lost, stream.counts().skipped), (0, 5));
    // A begin that comes after numbers came says nothing about those before.
    let mut stream = after(&[1000, 1001]);
    assert!(stream.add(&packet(Kind::Begin, 0), 0));
    assert_eq!((stream.counts().lost, stream.counts().skipped), (0, 1000));
}

#[test]
fn contradictions_are_not_of_the_stream() {
    let mut stream = after(&[0, 1, 2]);
    let before = stream.counts();
    for others in [
        packet(Kind::Data, u64::MAX),
        packet(Kind::Data, 3 + LARGEST_STEP),
        packet(Kind::End, 2),
        packet(Kind::End, u64::MAX),
    ] {
        assert!(!stream.add(&others, 0), "{others:?}");
    }
    assert_eq!(stream.counts(), before);
    assert!(stream.add(&packet(Kind::End, 3), 0) && stream.add(&packet(Kind::End, 3), 0));
    assert!(!stream.add(&packet(Kind::End, 4), 0) && !stream.add(&packet(Kind::Data, 3), 0));
}

#[test]
fn the_sum_is_exact_whatever_comes() {
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    for round in 0..200 {
        let mut stream = Stream::new(ID);
        let has_begin = round % 2 == 0;
        if has_begin {
            assert!(stream.add(&packet(Kind::Begin, 0), 0));
        }
        let total = 1_000_u64;
        for number in 0..total {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            // Lost, duplicated, swapped with an earlier or later one.
            let number = match random % 10 {
                0 | 1 => continue,
                2 => number.saturating_sub(random >> 40 & 15),
                3 => (number + (random >> 40 & 15)).min(total - 1),
                _ => number,
            };
            assert!(stream.add(&packet(Kind::Data, number), 0));
        }
        assert!(stream.add(&packet(Kind::End, total), 0));
        let counts = stream.counts();
        assert_eq!(counts.skipped + counts.received + counts.lost, total, "{counts:?}");
        assert!(!has_begin || counts.skipped == 0);
    }
}
