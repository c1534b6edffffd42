//! Packets that leave in one call, on `lo`: Python receivers with and without `UDP_GRO` check our batches.

use core::iter;

use crate::common::peer;
use crate::common::segments::{self, assert_same, numbered};
use crate::common::{on_lo, send_on_lo, unique_group};
use multicast::{Group, ListenOptions, Progress, Received};

/// One receiver of each kind.
struct Witnesses {
    group: Group,
    plain: peer::Receiver,
    coalescing: segments::Receiver,
}

impl Witnesses {
    fn new() -> Self {
        let group = unique_group();
        let (plain, coalescing) = (peer::Receiver::join(group, "lo"), segments::Receiver::join(group, "lo"));
        Self { group, plain, coalescing }
    }

    /// Both must receive these packets in this order.
    fn expect(&mut self, packets: &[Vec<u8>]) {
        let seen: Vec<_> = packets.iter().map(|_| self.plain.next().payload).collect();
        assert_same(&seen, packets);
        let mut seen = Vec::new();
        while seen.len() < packets.len() {
            seen.extend(self.coalescing.next_packets());
        }
        assert_same(&seen, packets);
    }

    /// Sends these packets, and returns how many left at each step. They must arrive before the next step.
    fn steps<const BATCH: usize>(&mut self, packets: impl Iterator<Item = Vec<u8>> + Clone) -> Vec<usize> {
        let mut expected = packets.clone();
        let mut caster = send_on_lo().batches::<BATCH, _>(self.group, packets).unwrap();
        let mut steps = Vec::new();
        loop {
            match caster.step().unwrap() {
                Progress::Sent(count) => {
                    self.expect(&expected.by_ref().take(count).collect::<Vec<_>>());
                    steps.push(count);
                }
                Progress::Done => break,
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(expected.count(), 0, "it returned Done with packets left");
        // A duplicate or late packet would arrive before this one.
        let mut last = send_on_lo().packets(self.group, ["the end"]).unwrap();
        assert_eq!(last.step().unwrap(), Progress::Sent(1));
        self.expect(&[b"the end".to_vec()]);
        steps
    }

    fn steps_of<const BATCH: usize>(&mut self, sizes: &[usize]) -> Vec<usize> {
        let packets: Vec<_> = sizes.iter().enumerate().map(|(number, size)| vec![number as u8; *size]).collect();
        self.steps::<BATCH>(packets.into_iter())
    }
}

#[test]
fn packets_of_one_size_leave_together() {
    let mut witnesses = Witnesses::new();
    assert_eq!(witnesses.steps_of::<64>(&[100; 150]), [64, 64, 22]);
    assert_eq!(witnesses.steps_of::<64>(&[100; 65]), [64, 1]);
    assert_eq!(witnesses.steps_of::<3>(&[1; 7]), [3, 3, 1]);
    assert_eq!(witnesses.steps_of::<2>(&[1000; 5]), [2, 2, 1]);
}

#[test]
fn a_batch_of_one_sends_packets_one_by_one() {
    let mut witnesses = Witnesses::new();
    assert_eq!(witnesses.steps_of::<1>(&[100; 5]), [1; 5]);
}

#[test]
fn a_shorter_packet_ends_a_run() {
    let mut witnesses = Witnesses::new();
    assert_eq!(witnesses.steps_of::<64>(&[100, 100, 99, 100, 100]), [3, 2]);
    assert_eq!(witnesses.steps_of::<64>(&[100, 1, 1, 1]), [2, 2]);
    assert_eq!(witnesses.steps_of::<64>(&[5, 4, 3, 2, 1]), [2, 2, 1]);
}

#[test]
fn a_longer_packet_begins_a_new_run() {
    let mut witnesses = Witnesses::new();
    assert_eq!(witnesses.steps_of::<64>(&[100, 100, 101, 101, 102]), [2, 2, 1]);
    assert_eq!(witnesses.steps_of::<64>(&[1, 2, 3, 4, 5]), [1; 5]);
}

#[test]
fn empty_packets_are_packets_and_stay_in_their_place() {
    let mut witnesses = Witnesses::new();
    assert_eq!(witnesses.steps_of::<64>(&[10, 10, 0, 10, 10, 10]), [2, 1, 3]);
    assert_eq!(witnesses.steps_of::<64>(&[0, 0, 0]), [1; 3]);
    assert_eq!(witnesses.steps_of::<64>(&[0, 10, 0]), [1; 3]);
}

#[test]
fn one_call_sends_at_most_as_many_bytes_as_a_datagram_holds() {
    let mut witnesses = Witnesses::new();
    let mut sizes = vec![1024; 63];
    sizes.push(995);
    assert_eq!(witnesses.steps_of::<64>(&sizes), [64], "65,507 bytes");
    sizes[63] = 996;
    assert_eq!(witnesses.steps_of::<64>(&sizes), [63, 1], "65,508 bytes");
    assert_eq!(witnesses.steps_of::<64>(&[1400; 64]), [46, 18]);
    assert_eq!(witnesses.steps_of::<64>(&[32_753, 32_753, 1, 32_754, 32_753, 65_507]), [3, 2, 1]);
}

#[test]
fn packets_of_random_sizes_arrive_unchanged_and_in_order() {
    let mut witnesses = Witnesses::new();
    // Runs of equal sizes, shorter last packets and other sizes in a pseudo-random order.
    let mut state = 42_u64;
    let mut random = move |below: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((state >> 33) % below) as usize
    };
    let mut sizes = Vec::new();
    while sizes.len() < 400 {
        let size = [0, 1, 7, 64, 500][random(5)];
        sizes.extend(iter::repeat_n(size, random(20) + 1));
    }
    let steps = witnesses.steps_of::<64>(&sizes);
    assert_eq!(steps.iter().sum::<usize>(), sizes.len());
    assert!(steps.len() < sizes.len() / 2, "few packets left together: {steps:?}");
    let mut witnesses = Witnesses::new();
    assert_eq!(witnesses.steps_of::<5>(&sizes).iter().sum::<usize>(), sizes.len());
}

#[test]
fn without_a_size_hint_one_item_is_pulled_at_a_time() {
    let mut witnesses = Witnesses::new();
    let packets = numbered(5, 100, 0);
    // The iterator may block, for example on standard input: a pulled packet must be sent before that.
    let unpromised = packets.into_iter().filter(|_| true);
    assert_eq!(unpromised.size_hint().0, 0);
    assert_eq!(witnesses.steps::<64>(unpromised), [1; 5]);
}

#[test]
fn items_are_pulled_as_far_as_the_size_hint_promises() {
    let mut witnesses = Witnesses::new();
    // Its size hint covers the first part, and not the second.
    let mut promised = numbered(6, 100, 0);
    let unpromised = promised.split_off(4).into_iter().filter(|_| true);
    let half = promised.into_iter().chain(unpromised);
    assert_eq!(half.size_hint().0, 4);
    assert_eq!(witnesses.steps::<64>(half), [4, 1, 1]);
}

#[test]
fn an_iterator_with_a_wrong_size_hint_ends_with_done() {
    #[derive(Clone)]
    struct WrongHint(u8);
    impl Iterator for WrongHint {
        type Item = Vec<u8>;
        fn next(&mut self) -> Option<Vec<u8>> {
            self.0 = self.0.checked_sub(1)?;
            Some(vec![self.0; 10])
        }
        fn size_hint(&self) -> (usize, Option<usize>) {
            (1000, None)
        }
    }
    assert_eq!(Witnesses::new().steps::<64>(WrongHint(3)), [3]);
}

#[test]
fn a_listener_without_coalescing_receives_single_packets() {
    let group = unique_group();
    let mut listener = ListenOptions::new().bind::<1500>(on_lo(group)).unwrap();
    let packets = numbered(63, 700, 5);
    let mut caster = send_on_lo().batches::<64, _>(group, &packets).unwrap();
    assert_eq!(caster.step().unwrap(), Progress::Sent(64));
    assert_eq!(caster.step().unwrap(), Progress::Done);
    let mut seen = Vec::new();
    while let Received::Packet(packet) = listener.recv().unwrap() {
        seen.push(packet.payload().to_vec());
    }
    assert_same(&seen, &packets);
}

#[test]
fn pulled_packets_are_returned_by_into_parts() {
    let packets = numbered(10, 20, 0);
    let mut caster = send_on_lo().batches::<4, _>(unique_group(), packets.clone()).unwrap();
    assert_eq!(caster.step().unwrap(), Progress::Sent(4));
    // The second step pulls the next four items and sends them. The last two stay in the iterator.
    assert_eq!(caster.step().unwrap(), Progress::Sent(4));
    assert!(caster.pending().is_none());
    let (rest, staged) = caster.into_parts();
    assert_same(&staged.chain(rest).collect::<Vec<_>>(), &packets[8..]);
}
