//! Sending on `lo`: progress, order, returned items, and packets that are too long.

use std::net::Ipv4Addr;
use std::time::Duration;

use crate::common::{LO, OnePacket, assert_quiet, expect_packet, on_lo, send_on_lo, unique_group};
use multicast::{ErrorKind, Events, Interest, Interface, ListenOptions, Multicaster, Poller, Progress, SendOptions, Token};

/// Steps until it is done, and returns how many packets were sent.
fn send_rest<I: Iterator<Item: AsRef<[u8]>>, const BATCH: usize>(caster: &mut Multicaster<I, BATCH>) -> usize {
    let mut sent = 0;
    loop {
        match caster.step().unwrap() {
            Progress::Sent(count) => sent += count,
            Progress::Done => return sent,
            other => panic!("{other:?} on lo"),
        }
    }
}

#[test]
fn each_item_is_one_packet_and_they_arrive_in_order() {
    let group = unique_group();
    let mut listener = ListenOptions::new().bind::<16>(on_lo(group)).unwrap();
    let items: Vec<String> = (0..100).map(|count| format!("item {count}")).collect();
    let mut caster = send_on_lo().packets(group, &items).unwrap();
    for _ in &items {
        assert_eq!(caster.step().unwrap(), Progress::Sent(1));
    }
    assert_eq!(caster.step().unwrap(), Progress::Done);
    for item in &items {
        assert_eq!(expect_packet(&mut listener), item.as_bytes());
    }
    assert_quiet(&mut listener);
}

#[test]
fn a_batch_goes_in_one_step() {
    let group = unique_group();
    let mut listener = ListenOptions::new().bind::<16>(on_lo(group)).unwrap();
    let mut caster = send_on_lo().batches::<8, _>(group, (0..20_u8).map(|count| [count])).unwrap();
    let steps = [caster.step(), caster.step(), caster.step(), caster.step()].map(Result::unwrap);
    assert_eq!(steps, [Progress::Sent(8), Progress::Sent(8), Progress::Sent(4), Progress::Done]);
    for count in 0..20 {
        assert_eq!(expect_packet(&mut listener), [count]);
    }
}

#[test]
fn after_done_each_step_asks_the_iterator_once_unless_it_is_fused() {
    /// One item, and `None` twice; and so on.
    fn items() -> impl Iterator<Item = &'static str> {
        let mut asked = 0;
        core::iter::from_fn(move || {
            asked += 1;
            (asked % 3 == 1).then_some("one")
        })
    }
    let mut caster = send_on_lo().packets(unique_group(), items()).unwrap();
    for expected in [Progress::Sent(1), Progress::Done, Progress::Done, Progress::Sent(1), Progress::Done] {
        assert_eq!(caster.step().unwrap(), expected);
    }
    assert!(caster.pending().is_none() && caster.discard().is_none());

    let mut caster = send_on_lo().packets(unique_group(), items().fuse()).unwrap();
    for expected in [Progress::Sent(1), Progress::Done, Progress::Done, Progress::Done, Progress::Done] {
        assert_eq!(caster.step().unwrap(), expected);
    }

    let mut empty = send_on_lo().packets(unique_group(), [""; 0]).unwrap();
    assert_eq!(empty.step().unwrap(), Progress::Done);
}

#[test]
fn a_packet_that_is_too_long_stays_until_it_is_discarded() {
    let group = unique_group();
    let mut listener = ListenOptions::new().bind::<16>(on_lo(group)).unwrap();
    let items = [b"before".to_vec(), vec![7; 65_508], b"behind".to_vec()];
    let mut caster = send_on_lo().packets(group, items).unwrap();
    assert_eq!(caster.step().unwrap(), Progress::Sent(1));
    for _ in 0..3 {
        let error = caster.step().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TooLong);
        assert_eq!(error.to_string(), format!("send 65508 bytes to {group}: too long for UDP: at most 65507 bytes"));
        assert_eq!(caster.pending().map(Vec::len), Some(65_508));
    }
    assert_eq!(caster.discard(), Some(vec![7; 65_508]));
    assert_eq!(send_rest(&mut caster), 1);
    assert_eq!(expect_packet(&mut listener), b"before");
    assert_eq!(expect_packet(&mut listener), b"behind");
    assert_quiet(&mut listener);
}

#[test]
fn in_a_batch_the_packets_before_an_error_are_reported_first() {
    let group = unique_group();
    let items = [vec![1], vec![2], vec![0; 70_000], vec![3]];
    let mut caster = send_on_lo().batches::<4, _>(group, items).unwrap();
    assert_eq!(caster.step().unwrap(), Progress::Sent(2));
    assert_eq!(caster.step().unwrap_err().kind(), ErrorKind::TooLong);
    assert_eq!(caster.discard().map(|item| item.len()), Some(70_000));
    assert_eq!(caster.step().unwrap(), Progress::Sent(1));
    assert_eq!(caster.step().unwrap(), Progress::Done);
}

#[test]
fn a_refused_packet_leaves_no_event_behind() {
    // The kernel queues the error, and reports an error event until it is read: a poller would spin.
    let group = unique_group();
    let mut caster = send_on_lo().packets(group, [vec![0; 65_508], vec![0; 65_508], b"x".to_vec()]).unwrap();
    let poller = Poller::new().unwrap();
    poller.register(&caster, Token(1), Interest::WRITABLE.edge()).unwrap();
    for _ in 0..2 {
        assert_eq!(caster.step().unwrap_err().kind(), ErrorKind::TooLong);
        caster.discard();
    }
    poller.reregister(&caster, Token(1), Interest::WRITABLE).unwrap();
    let mut events = Events::<4>::new();
    let event = poller.poll(&mut events, Duration::ZERO).unwrap().next().unwrap();
    assert!(event.is_writable() && !event.is_error(), "{event:?}");
    assert_eq!(send_rest(&mut caster), 1);
}

#[test]
fn unsent_items_are_returned_in_order() {
    let group = unique_group();
    let items = (0..10_u32).map(|count| vec![count as u8; if count == 2 { 70_000 } else { 1 }]);
    let mut caster = send_on_lo().batches::<4, _>(group, items).unwrap();
    assert_eq!(caster.step().unwrap(), Progress::Sent(2));
    assert!(caster.step().is_err());
    let (rest, staged) = caster.into_parts();
    let all: Vec<u8> = staged.chain(rest).map(|item| item[0]).collect();
    assert_eq!(all, (2..10).collect::<Vec<u8>>());
}

#[test]
fn the_source_is_the_address_of_the_interface_in_whichever_way_it_is_named() {
    for its_name in ["lo", "1", "127.0.0.1"] {
        let group = unique_group();
        let mut listener = ListenOptions::new().bind::<16>(on_lo(group)).unwrap();
        let interface: Interface = its_name.parse().unwrap();
        let mut caster = SendOptions::new().interface(interface).packets(group, ["x"]).unwrap();
        assert_eq!(send_rest(&mut caster), 1);
        let source = listener.recv().unwrap().packet().unwrap().source();
        assert_eq!(source.ip(), Ipv4Addr::LOCALHOST, "{its_name}");
        assert_eq!(source.port(), caster.local_addr().unwrap().port());
        assert_eq!(caster.group(), group);
    }
}

#[test]
fn a_multicaster_keeps_its_port_and_two_have_different_ones() {
    let group = unique_group();
    let [mut first, mut second] = [(); 2].map(|()| SendOptions::new().interface(LO).packets(group, ["a", "b"]).unwrap());
    let port = first.local_addr().unwrap().port();
    assert_ne!(port, 0, "it is known before the first packet");
    assert_eq!((first.step().unwrap(), second.step().unwrap()), (Progress::Sent(1), Progress::Sent(1)));
    assert_ne!(port, second.local_addr().unwrap().port());
    assert_eq!(first.step().unwrap(), Progress::Sent(1));
    assert_eq!(first.local_addr().unwrap().port(), port);
}
