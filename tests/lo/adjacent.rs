//! Packets that leave in one call, and lie in memory side by side, nearly so, or in any other way: Python receivers with and without
//! `UDP_GRO` must get each byte of each packet. What lies side by side is given to the kernel as one part, so a mistake there would
//! mix packets up.

use core::ops::Range;

use crate::common::peer;
use crate::common::segments::{self, assert_same};
use crate::common::{send_on_lo, unique_group};
use multicast::{Group, Progress};
use proptest::prelude::RngCore;
use proptest::test_runner::{RngAlgorithm, TestRng};

struct Witnesses {
    group: Group,
    plain: peer::Receiver,
    coalescing: segments::Receiver,
    /// No two places look alike.
    memory: Vec<u8>,
}

impl Witnesses {
    fn new() -> Self {
        let group = unique_group();
        let mut memory = vec![0; 200_000];
        TestRng::deterministic_rng(RngAlgorithm::ChaCha).fill_bytes(&mut memory);
        Self { group, plain: peer::Receiver::join(group, "lo"), coalescing: segments::Receiver::join(group, "lo"), memory }
    }

    /// Sends these packets in batches, and expects each of them at both receivers; returns how many left at each step.
    fn deliver<P: AsRef<[u8]>>(&mut self, packets: impl Iterator<Item = P> + Clone) -> Vec<usize> {
        let mut expected = packets.clone().map(|packet| packet.as_ref().to_vec());
        let mut caster = send_on_lo().batches::<64, _>(self.group, packets).unwrap();
        let mut steps = Vec::new();
        loop {
            let count = match caster.step().unwrap() {
                Progress::Sent(count) => count,
                Progress::Done => break,
                other => panic!("{other:?}"),
            };
            steps.push(count);
            let expected: Vec<_> = expected.by_ref().take(count).collect();
            let seen: Vec<_> = expected.iter().map(|_| self.plain.next().payload).collect();
            assert_same(&seen, &expected);
            let mut seen = Vec::new();
            while seen.len() < expected.len() {
                seen.extend(self.coalescing.next_packets());
            }
            assert_same(&seen, &expected);
        }
        assert_eq!(expected.next(), None, "it returned Done with packets left");
        steps
    }

    /// The same for these places of the memory.
    fn deliver_places(&mut self, places: impl IntoIterator<Item = Range<usize>>) -> Vec<usize> {
        let memory = self.memory.clone();
        let slices: Vec<_> = places.into_iter().map(|place| &memory[place]).collect();
        self.deliver(slices.into_iter())
    }
}

/// Sizes of which 64 packets are short enough to be copied to one place, and sizes of which they are not.
const SIZES: [usize; 3] = [7, 64, 1000];

#[test]
fn chunks_of_a_buffer_arrive_unchanged_also_a_shorter_last_one() {
    let mut witnesses = Witnesses::new();
    for size in SIZES {
        let buffer = witnesses.memory[..64 * size + size / 2].to_vec();
        assert_eq!(witnesses.deliver(buffer.chunks(size)), [64, 1], "chunks of {size}");
        assert_eq!(witnesses.deliver(buffer[3 * size..].chunks(size)), [62], "chunks of {size}");
    }
    let buffer = witnesses.memory[..40_000].to_vec();
    assert_eq!(witnesses.deliver(buffer.chunks(1316)), [31]);
}

#[test]
fn packets_with_a_gap_between_them_arrive_without_the_gap() {
    let mut witnesses = Witnesses::new();
    for size in SIZES {
        assert_eq!(witnesses.deliver_places((0..40).map(|k| k * (size + 1)..k * (size + 1) + size)), [40]);
        // Side by side, but for one byte before the last three.
        let shift = |k: usize| usize::from(k > 20);
        assert_eq!(witnesses.deliver_places((0..24).map(|k| k * size + shift(k)..(k + 1) * size + shift(k))), [24]);
    }
}

#[test]
fn packets_that_lie_in_reverse_overlap_or_are_the_same_arrive_as_they_are() {
    let mut witnesses = Witnesses::new();
    for size in SIZES {
        let step = size.div_ceil(3);
        assert_eq!(witnesses.deliver_places((0..30).rev().map(|k| k * size..(k + 1) * size)), [30], "reversed");
        assert_eq!(witnesses.deliver_places((0..30).map(|k| k * step..k * step + size)), [30], "overlapping");
        assert_eq!(witnesses.deliver_places((0..30).map(|_| 5..5 + size)), [30], "the same");
    }
}

#[test]
fn empty_packets_between_neighbours_stay_in_their_place() {
    let mut witnesses = Witnesses::new();
    for size in SIZES {
        let ends = [0, 1, 1, 2, 3, 3, 3, 4, 5, 6].map(|end| end * size);
        let places = ends.iter().zip(&ends[1..]).map(|(begin, end)| *begin..*end);
        assert_eq!(witnesses.deliver_places(places), [1, 1, 2, 1, 1, 3]);
    }
}

#[test]
fn packets_that_are_arrays_arrive_unchanged_though_they_lie_side_by_side_when_they_are_held() {
    let mut witnesses = Witnesses::new();
    let memory = witnesses.memory.clone();
    assert_eq!(witnesses.deliver(arrays::<188>(&memory[..150 * 188])), [64, 64, 22]);
    assert_eq!(witnesses.deliver(arrays::<9>(&memory[..70 * 9])), [64, 6]);
}

fn arrays<const SIZE: usize>(memory: &[u8]) -> impl Iterator<Item = [u8; SIZE]> + Clone {
    memory.chunks_exact(SIZE).map(|chunk| chunk.try_into().unwrap())
}

#[test]
fn packets_at_random_places_mostly_side_by_side_arrive_unchanged() {
    let mut witnesses = Witnesses::new();
    let mut random = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let mut below = move |limit: usize| random.next_u32() as usize % limit;
    let (mut places, mut end, mut size) = (Vec::new(), 0_usize, 100);
    for _ in 0..600 {
        if below(8) == 0 {
            size = [0, 3, 60, 100, 900][below(5)];
        }
        // Behind the last one; sometimes a little behind it, a little before it, or anywhere.
        let begin = match below(12) {
            0 => end + 1,
            1 => end.saturating_sub(1),
            2 => below(100_000),
            _ => end,
        };
        end = (begin + size) % 150_000;
        places.push(end.saturating_sub(size)..end);
    }
    let steps = witnesses.deliver_places(places);
    assert_eq!(steps.iter().sum::<usize>(), 600);
    assert!(steps.len() < 400, "few packets left together: {steps:?}");
}
