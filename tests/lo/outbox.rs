//! A multicaster that is fed by an outbox while the program runs, on `lo`.

use core::iter;

use crate::common::segments::{Receiver, assert_same, numbered};
use crate::common::{PATIENCE, QUIET, expect_packet, on_lo, send_on_lo, unique_group};
use multicast::{Events, Interest, ListenOptions, Multicaster, Outbox, Poller, Progress, Token};

#[test]
fn packets_that_were_pushed_together_leave_in_one_call_and_those_of_a_closure_one_by_one() {
    let group = unique_group();
    let mut receiver = Receiver::join(group, "lo");
    let packets = numbered(64, 100, 0);

    let mut caster = send_on_lo().batches::<64, _>(group, Outbox::<_, 256>::new()).unwrap();
    for _ in 0..2 {
        packets.iter().for_each(|packet| caster.items_mut().push(packet.clone()).unwrap());
        assert_eq!(caster.step().unwrap(), Progress::Sent(64));
        // `lo` hands over what one call sent in one piece, and never joins what two calls sent.
        assert_same(&receiver.next_packets(), &packets);
        assert_eq!(caster.step().unwrap(), Progress::Done);
    }

    let mut items = packets.iter();
    let mut caster = send_on_lo().batches::<64, _>(group, iter::from_fn(|| items.next())).unwrap();
    for packet in &packets {
        assert_eq!(caster.step().unwrap(), Progress::Sent(1));
        assert_same(&receiver.next_packets(), core::slice::from_ref(packet));
    }
    assert_eq!(caster.step().unwrap(), Progress::Done);
}

#[test]
fn after_done_it_sends_what_is_pushed() {
    let group = unique_group();
    let mut listener = ListenOptions::new().bind::<100>(on_lo(group)).unwrap();
    let mut caster = send_on_lo().packets(group, Outbox::<_, 2>::new()).unwrap();
    for text in ["one", "two", "three"] {
        assert_eq!(caster.step().unwrap(), Progress::Done);
        assert_eq!(caster.step().unwrap(), Progress::Done);
        caster.items_mut().push(text).unwrap();
        assert_eq!(caster.items().len(), 1);
        assert_eq!(caster.step().unwrap(), Progress::Sent(1));
        assert_eq!(expect_packet(&mut listener), text.as_bytes());
    }
}

/// Steps until it has to wait, and arms the poller if it has to wait for room: as the documentation of `Outbox` says.
fn step_until_it_waits<const N: usize>(caster: &mut Multicaster<Outbox<&str, N>>, poller: &Poller) -> usize {
    let mut sent = 0;
    loop {
        match caster.step().unwrap() {
            Progress::Sent(packets) => sent += packets,
            Progress::Blocked => {
                poller.reregister(&*caster, Token(0), Interest::WRITABLE.oneshot()).unwrap();
                return sent;
            }
            Progress::Wait(_) | Progress::Done => return sent,
        }
    }
}

#[test]
fn a_loop_that_waits_as_documented_sleeps_while_the_outbox_is_empty() {
    let group = unique_group();
    let mut listener = ListenOptions::new().bind::<100>(on_lo(group)).unwrap();
    let mut caster = send_on_lo().packets(group, Outbox::<_, 4>::new()).unwrap();
    let (poller, mut events) = (Poller::new().unwrap(), Events::<4>::new());
    poller.register(&caster, Token(0), Interest::WRITABLE.oneshot()).unwrap();
    assert_eq!(poller.poll(&mut events, PATIENCE).unwrap().count(), 1, "registering arms it once");
    for texts in [&["one"][..], &["two", "three"], &[]] {
        texts.iter().for_each(|text| caster.items_mut().push(*text).unwrap());
        assert_eq!(step_until_it_waits(&mut caster, &poller), texts.len());
        texts.iter().for_each(|text| assert_eq!(expect_packet(&mut listener), text.as_bytes()));
        assert_eq!(poller.poll(&mut events, QUIET).unwrap().count(), 0, "woken without anything to do");
    }
}

#[test]
fn what_was_queued_and_not_sent_is_returned_in_its_order() {
    let group = unique_group();
    let mut caster = send_on_lo().batches::<2, _>(group, Outbox::<_, 8>::new()).unwrap();
    let too_long = vec![0; 70_000];
    let packets = [vec![1], too_long.clone(), vec![2], vec![3]];
    packets.iter().for_each(|packet| caster.items_mut().push(packet.clone()).unwrap());
    assert_eq!(caster.step().unwrap(), Progress::Sent(1));
    caster.step().unwrap_err();
    assert_eq!(caster.items().len(), 1, "two are staged");
    assert_eq!(caster.discard(), Some(too_long));
    let (outbox, staged) = caster.into_parts();
    assert_eq!(staged.chain(outbox).collect::<Vec<_>>(), [[2], [3]]);
}
