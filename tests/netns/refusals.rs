//! Errors of a real link: packets longer than its MTU, a firewall, a link that is down or deleted, a full queue.

use core::time::Duration;
use std::thread::sleep;

use crate::common;
use crate::common::link::{Pair, named, run};
use crate::common::segments::{assert_same, numbered};
use crate::common::{OnePacket, expect_packet, peer, unique_group, unique_v6_group};
use multicast::{
    AsFd, ErrorKind, Events, Group, Interest, ListenOptions, Membership, Multicaster, Poller, Progress, SendOptions, Token,
};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// The longest payloads that need no fragmentation with an MTU of 1,500, over IPv4 and IPv6.
const WHOLE: [usize; 2] = [1472, 1452];

fn groups() -> [Group; 2] {
    [unique_group(), unique_v6_group(5)]
}

fn options(pair: &Pair) -> SendOptions {
    SendOptions::new().interface(named(&pair.a))
}

/// Sends everything. The packets of each step must arrive at the peer in order before the next step.
fn steps<const BATCH: usize>(
    caster: &mut Multicaster<std::vec::IntoIter<Vec<u8>>, BATCH>,
    peer: &mut peer::Receiver,
    packets: &[Vec<u8>],
) -> Vec<usize> {
    let (mut steps, mut expected) = (Vec::new(), packets.iter());
    loop {
        match caster.step().unwrap() {
            Progress::Sent(count) => {
                let seen: Vec<_> = (0..count).map(|_| peer.next().payload).collect();
                assert_same(&seen, &expected.by_ref().take(count).cloned().collect::<Vec<_>>());
                steps.push(count);
            }
            Progress::Done => {
                assert_eq!(expected.count(), 0);
                return steps;
            }
            other => panic!("{other:?}"),
        }
    }
}

/// How many events a level-triggered poller reports in a short time. None of them may be an error.
fn events(caster: &impl AsFd, interest: Interest) -> usize {
    let (poller, mut events) = (Poller::new().unwrap(), Events::<1>::new());
    poller.register(caster, Token(0), interest).unwrap();
    let found = poller.poll(&mut events, Duration::from_millis(50)).unwrap();
    found.inspect(|event| assert!(!event.is_error(), "the error event would be reported forever")).count()
}

#[test]
fn packets_longer_than_the_mtu_are_sent_one_by_one_after_the_first_batch() {
    let pair = Pair::new();
    for (group, whole) in groups().into_iter().zip(WHOLE) {
        let mut peer = peer::Receiver::join(group, &pair.b);
        let mut batches = |sizes: &[usize]| {
            let packets = sizes.iter().enumerate().map(|(number, size)| vec![number as u8; *size]).collect::<Vec<_>>();
            let mut caster = options(&pair).batches::<8, _>(group, packets.clone()).unwrap();
            let steps = steps(&mut caster, &mut peer, &packets);
            assert_eq!(events(&caster, Interest::READABLE), 0, "the kernel also queued the error");
            // A duplicate packet would arrive before this one.
            let mut last = options(&pair).packets(group, ["the end"]).unwrap();
            assert_eq!(last.step().unwrap(), Progress::Sent(1));
            assert_eq!(peer.next().payload, b"the end");
            steps
        };
        assert_eq!(batches(&[whole; 20]), [8, 8, 4], "{group}");
        // With one byte more, the first batch is refused, and its packets are sent one by one, in fragments. After that no batch
        // is tried.
        let mut expected = vec![8];
        expected.extend([1; 12]);
        assert_eq!(batches(&[whole + 1; 20]), expected, "{group}");
        // The learnt limit applies to longer packets, and not to shorter ones.
        let sizes = [[whole + 1; 8], [whole; 8], [whole + 2; 8]].concat();
        assert_eq!(batches(&sizes), [8, 8, 1, 1, 1, 1, 1, 1, 1, 1], "{group}");
    }
}

#[test]
fn a_packet_longer_than_the_mtu_is_an_error_if_fragmentation_is_off() {
    let pair = Pair::new();
    for (group, whole) in groups().into_iter().zip(WHOLE) {
        let mut listener = ListenOptions::new().bind::<2000>(Membership::any(group).on(named(&pair.b))).unwrap();
        let sizes = [whole + 1, whole, whole, whole + 1, whole + 1, 5];
        let packets: Vec<_> = sizes.iter().enumerate().map(|(number, size)| vec![number as u8; *size]).collect();
        let mut caster = options(&pair).mtu_discover().batches::<4, _>(group, packets.clone()).unwrap();
        let (mut sent, mut discarded) = (Vec::new(), Vec::new());
        loop {
            match caster.step() {
                Ok(Progress::Sent(count)) => sent.push(count),
                Ok(Progress::Done) => break,
                Ok(other) => panic!("{other:?}"),
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::TooLong);
                    let said = "longer than the path MTU, and fragmentation is off";
                    assert_eq!(error.to_string(), format!("send {} bytes to {group}: {said}", whole + 1));
                    assert_eq!(events(&caster, Interest::READABLE), 0);
                    assert_eq!(events(&caster, Interest::WRITABLE), 1);
                    // It stays the next packet until it is discarded.
                    assert_eq!(caster.step().unwrap_err().kind(), ErrorKind::TooLong);
                    assert_eq!(caster.pending().map(Vec::len), Some(whole + 1));
                    discarded.push(caster.discard().unwrap()[0]);
                }
            }
        }
        assert_eq!((sent.iter().sum::<usize>(), discarded), (3, vec![0, 3, 4]), "{group}");
        for number in [1, 2, 5] {
            assert_same(&[expect_packet(&mut listener)], &packets[number..=number]);
        }
        common::assert_quiet(&mut listener);
    }
}

#[test]
fn the_longest_packets_of_ipv6_are_longer_than_those_of_ipv4() {
    let pair = Pair::new();
    let [v4, v6] = groups();
    for (group, length, said) in [
        (v6, 65_527, "longer than the path MTU, and fragmentation is off"),
        (v6, 65_528, "too long for UDP: at most 65527 bytes"),
        (v4, 65_507, "longer than the path MTU, and fragmentation is off"),
        (v4, 65_508, "too long for UDP: at most 65507 bytes"),
    ] {
        let mut caster = options(&pair).mtu_discover().packets(group, [vec![0; length]]).unwrap();
        let error = caster.step().unwrap_err();
        assert_eq!(error.to_string(), format!("send {length} bytes to {group}: {said}"));
    }
}

// Without the feature `std` there are no descriptors of `std`.
#[cfg(feature = "std")]
#[test]
fn forget_errors_discards_the_errors_that_the_kernel_queued() {
    let pair = Pair::new();
    for (group, whole) in groups().into_iter().zip(WHOLE) {
        let mut caster = options(&pair).mtu_discover().batches::<4, _>(group, vec![vec![1; 10]]).unwrap();
        // Sent on a second descriptor of the same socket, so that `step` does not discard the error.
        let handle = std::net::UdpSocket::from(caster.as_fd().try_clone_to_owned().unwrap());
        let (poller, mut events_of) = (Poller::new().unwrap(), Events::<1>::new());
        poller.register(&caster, Token(0), Interest::WRITABLE).unwrap();
        let mut is_error = || poller.poll(&mut events_of, Duration::ZERO).unwrap().any(|event| event.is_error());
        for _ in 0..3 {
            handle.send_to(&vec![0; whole + 1], core::net::SocketAddr::from(group)).unwrap_err();
        }
        assert!(is_error() && is_error(), "it is reported again and again");
        caster.sender().forget_errors();
        assert!(!is_error());
        assert_eq!(caster.step().unwrap(), Progress::Sent(1));
    }
}

#[test]
fn a_firewall_that_forbids_sending_is_an_error_and_loses_nothing() {
    let pair = Pair::new();
    for group in groups() {
        let mut peer = peer::Receiver::join(group, &pair.b);
        let packets = numbered(10, 100, 0);
        let mut caster = options(&pair).batches::<4, _>(group, packets.clone()).unwrap();
        run("nft add table inet multicast_test");
        run("nft add chain inet multicast_test out { type filter hook output priority 0 ; }");
        run(&format!("nft add rule inet multicast_test out udp dport {} drop", group.port()));
        for _ in 0..3 {
            let error = caster.step().unwrap_err();
            assert_eq!((error.kind(), error.raw_os_error()), (ErrorKind::Denied, Some(1)));
            assert_eq!(caster.pending(), Some(&packets[0]));
        }
        run("nft delete table inet multicast_test");
        assert_eq!(steps(&mut caster, &mut peer, &packets), [4, 4, 2]);
    }
}

#[test]
fn a_link_that_is_down_is_unreachable_until_it_is_up_and_loses_nothing() {
    let pair = Pair::new();
    // IPv6 addresses that were added manually are deleted when the link goes down.
    let group = unique_group();
    let mut peer = peer::Receiver::join(group, &pair.b);
    let packets = numbered(6, 100, 0);
    let mut caster = options(&pair).batches::<4, _>(group, packets.clone()).unwrap();
    run(&format!("ip link set {} down", pair.a));
    for _ in 0..3 {
        let error = caster.step().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unreachable, "{error}");
        assert_eq!(caster.pending(), Some(&packets[0]));
    }
    run(&format!("ip link set {} up", pair.a));
    common::wait_until("the link is up", || run(&format!("ip -o link show dev {}", pair.a)).contains("LOWER_UP"));
    assert_eq!(steps(&mut caster, &mut peer, &packets), [4, 2]);
}

#[test]
fn a_link_that_is_down_or_gone_is_an_error_for_both_families() {
    for which in 0..2 {
        let pair = Pair::new();
        let group = groups()[which];
        let packets = numbered(2, 10, 0);
        let mut caster = options(&pair).batches::<4, _>(group, packets.clone()).unwrap();
        run(&format!("ip link set {} down", pair.a));
        assert_eq!(caster.step().unwrap_err().kind(), ErrorKind::Unreachable, "{group}");
        run(&format!("ip link delete {}", pair.a));
        // The kernel returns the same error for a deleted link, also if one was created again with its name: that has another
        // index.
        let error = caster.step().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unreachable, "{error}");
        let (rest, staged) = caster.into_parts();
        assert!(staged.chain(rest).eq(packets), "all is handed back, for a multicaster on another interface");
    }
}

/// A virtual link has a queue for each processor. If the sender moves to another processor, later packets may overtake earlier
/// ones.
fn stay_on_one_processor() {
    let allowed = sched_getaffinity(None).unwrap();
    let mut one = CpuSet::new();
    one.set((0..CpuSet::MAX_CPU).find(|cpu| allowed.is_set(*cpu)).unwrap());
    sched_setaffinity(None, &one).unwrap();
}

/// Sends everything through a queue that is too small, and waits as `step` requires. Returns how many packets it reported as
/// sent, how often the queue refused, and what arrived.
fn through_the_queue<const BATCH: usize>(pair: &Pair, group: Group, packets: &[Vec<u8>]) -> (usize, u64, Vec<Vec<u8>>) {
    stay_on_one_processor();
    let mut listener = ListenOptions::new().bind::<2000>(Membership::any(group).on(named(&pair.b))).unwrap();
    let mut caster = options(pair).loopback(false).batches::<BATCH, _>(group, packets.to_vec()).unwrap();
    let (mut sent, mut refused, mut seen) = (0, 0, Vec::new());
    loop {
        match caster.step().unwrap() {
            Progress::Sent(count) => sent += count,
            Progress::Wait(time) => {
                refused += 1;
                assert!(time >= Duration::from_micros(100), "{time:?} is to spin");
                sleep(time);
            }
            Progress::Done => break,
            other => panic!("{other:?}"),
        }
        while let Some(packet) = listener.recv().unwrap().packet() {
            seen.push(packet.payload().to_vec());
        }
    }
    while let Some(packet) = common::next_within(&mut listener, common::QUIET) {
        seen.push(packet);
    }
    (sent, refused, seen)
}

#[test]
fn a_full_queue_accepts_or_refuses_every_packet_that_was_offered() {
    for (group, size) in groups().into_iter().zip([1000, 900]) {
        let pair = Pair::new();
        pair.throttle(1_600_000, 5000);
        let packets = numbered(100, size, 0);
        let (sent, refused, seen) = through_the_queue::<1>(&pair, group, &packets);
        assert_eq!(sent, 100);
        assert_same(&seen, &packets);
        assert!(refused > 0, "the queue was never full");
        // The kernel's own counters. They may include packets of the link itself (memberships, neighbours).
        let (let_through, dropped) = pair.queue_counters();
        assert!((100..120).contains(&let_through), "{let_through}");
        assert!((refused..refused + 20).contains(&dropped), "{dropped} {refused}");
    }
}

#[test]
fn with_a_queue_shorter_than_a_batch_packets_are_sent_one_by_one() {
    let pair = Pair::new();
    // The bucket would pass a batch of 20 kB at once, but the queue is too short for one.
    run(&format!("tc qdisc add dev {} root tbf rate 8mbit burst 100000 limit 5000", pair.a));
    let packets = numbered(250, 1000, 0);
    let (sent, refused, seen) = through_the_queue::<20>(&pair, unique_group(), &packets);
    assert_eq!(sent, 250);
    assert_same(&seen, &packets);
    assert!(refused > 0, "the queue was never full");
}

#[test]
fn a_shaper_that_cuts_batches_may_drop_but_not_double_or_reorder_packets() {
    let pair = Pair::new();
    // A batch of 20 kB is more than the bucket can hold: the kernel cuts it before the queue, keeps what fits, and reports
    // success. The documentation of batches warns of this.
    pair.throttle(1_600_000, 5000);
    let packets = numbered(100, 1000, 0);
    let (sent, _, seen) = through_the_queue::<20>(&pair, unique_group(), &packets);
    assert_eq!(sent, 100);
    let numbers: Vec<_> = seen.iter().map(|packet| packet[0]).collect();
    assert!(numbers.is_sorted_by(|one, next| one < next), "{numbers:?}");
    assert!(seen.iter().all(|packet| packet.len() == 1000 && packet.iter().all(|byte| *byte == packet[0])));
    let (_, dropped) = pair.queue_counters();
    assert!(dropped >= (sent - seen.len()) as u64, "the link itself lost packets");
}
