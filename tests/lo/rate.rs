//! How fast packets leave: with a simulated clock, and with the real clock and a poller.

use core::iter;
use core::time::Duration;
use std::time::Instant;

use crate::common::{OnePacket, on_lo, send_on_lo, unique_group};
use multicast::{Error, ErrorKind, Events, ListenOptions, Multicaster, Poller, Progress, Received};

const SECOND: Duration = Duration::from_secs(1);

/// How many packets leave within this time, and how often it waited. The simulated clock advances by each wait.
fn sent_within<I, const BATCH: usize>(caster: &mut Multicaster<I, BATCH>, begin: Duration, time: Duration) -> (usize, usize)
where
    I: Iterator<Item: AsRef<[u8]>>,
{
    let (mut now, mut sent, mut waits) = (begin, 0, 0);
    while now < begin + time {
        match caster.step_at(now).unwrap() {
            Progress::Sent(count) => sent += count,
            Progress::Wait(wait) => {
                assert!(!wait.is_zero(), "to wait for no time is to spin");
                now += wait;
                waits += 1;
            }
            Progress::Done => break,
            other => panic!("{other:?}"),
        }
    }
    (sent, waits)
}

#[test]
fn the_burst_leaves_at_once_and_then_exactly_the_rate() {
    for begin in [Duration::ZERO, Duration::from_secs(1_000_000)] {
        for (rate, burst, expected) in [(1000, 1, 1000), (1000, 10, 1009), (10, 64, 73), (1, 1, 1), (500, 500, 999)] {
            let mut caster = send_on_lo().rate(rate, burst).packets(unique_group(), iter::repeat("x")).unwrap();
            // The burst leaves at the beginning, and then one packet after each interval. The packet at the end of the time is
            // not counted.
            assert_eq!(sent_within(&mut caster, begin, SECOND).0, expected, "{rate}, {burst}");
        }
    }
}

#[test]
fn a_wait_is_as_long_as_the_next_packet_needs() {
    let mut caster = send_on_lo().rate(4, 2).packets(unique_group(), iter::repeat("x")).unwrap();
    let at = |milliseconds| Duration::from_millis(milliseconds);
    assert_eq!(caster.step_at(at(0)).unwrap(), Progress::Sent(1));
    assert_eq!(caster.step_at(at(0)).unwrap(), Progress::Sent(1));
    assert_eq!(caster.step_at(at(0)).unwrap(), Progress::Wait(at(250)));
    assert_eq!(caster.pending(), Some(&"x"), "what waits is not lost");
    assert_eq!(caster.step_at(at(249)).unwrap(), Progress::Wait(at(1)));
    assert_eq!(caster.step_at(at(250)).unwrap(), Progress::Sent(1));
    assert_eq!(caster.step_at(at(260)).unwrap(), Progress::Wait(at(240)));
    // A long pause fills the bucket, but not beyond its size.
    assert_eq!(caster.step_at(at(60_000)).unwrap(), Progress::Sent(1));
    assert_eq!(caster.step_at(at(60_000)).unwrap(), Progress::Sent(1));
    assert_eq!(caster.step_at(at(60_000)).unwrap(), Progress::Wait(at(250)));
    // A clock that goes back makes no longer wait than that of one packet.
    assert_eq!(caster.step_at(at(59_000)).unwrap(), Progress::Wait(at(250)));
}

#[test]
fn batches_keep_to_the_rate() {
    let group = unique_group();
    let mut listener = ListenOptions::new().bind::<8>(on_lo(group)).unwrap();
    let mut caster = send_on_lo().rate(100, 20).batches::<64, _>(group, iter::repeat_n("x", 90)).unwrap();
    // All packets that the bucket allows leave in one call.
    assert_eq!(caster.step_at(Duration::ZERO).unwrap(), Progress::Sent(20));
    assert_eq!(caster.step_at(Duration::ZERO).unwrap(), Progress::Wait(Duration::from_millis(10)));
    assert_eq!(caster.step_at(Duration::from_millis(35)).unwrap(), Progress::Sent(3));
    assert_eq!(caster.step_at(Duration::from_secs(10)).unwrap(), Progress::Sent(20));
    let (rest, _) = sent_within(&mut caster, Duration::from_secs(11), SECOND);
    assert_eq!(rest, 90 - 43);
    assert_eq!(caster.step_at(Duration::from_secs(20)).unwrap(), Progress::Done);
    let received = iter::from_fn(|| listener.recv().unwrap().packet().map(|packet| packet.payload().len())).count();
    assert_eq!(received, 90);
}

#[test]
fn discarded_packets_do_not_count_for_the_rate() {
    let mut caster = send_on_lo().rate(1, 1).packets(unique_group(), [vec![0; 70_000], vec![1], vec![2]]).unwrap();
    assert_eq!(caster.step_at(Duration::ZERO).unwrap_err().kind(), ErrorKind::TooLong);
    assert_eq!(caster.discard().map(|packet| packet.len()), Some(70_000));
    assert_eq!(caster.step_at(Duration::ZERO).unwrap(), Progress::Sent(1));
    assert_eq!(caster.step_at(Duration::ZERO).unwrap(), Progress::Wait(SECOND));
}

#[test]
fn a_thousand_packets_at_a_thousand_per_second_take_a_second() {
    let group = unique_group();
    let mut listener = ListenOptions::new().bind::<8>(on_lo(group)).unwrap();
    let mut caster = send_on_lo().rate(1000, 1).packets(group, iter::repeat_n("x", 1000)).unwrap();
    let (poller, mut events) = (Poller::new().unwrap(), Events::<1>::new());
    let (begin, mut steps, mut received, mut asked) = (Instant::now(), 0, 0, Duration::ZERO);
    loop {
        steps += 1;
        match caster.step().unwrap() {
            Progress::Wait(time) => {
                assert!(!time.is_zero() && time <= Duration::from_millis(1), "{time:?}");
                asked += time;
                poller.poll(&mut events, time).unwrap();
            }
            Progress::Done => break,
            _ => {}
        }
        while let Received::Packet(_) = listener.recv().unwrap() {
            received += 1;
        }
    }
    let time = begin.elapsed();
    assert_eq!(received, 1000);
    // At least 999 intervals of a millisecond. A busy machine is slower, and a bucket of one packet does not compensate for that: what it
    // asked to wait is no longer for this.
    assert!(time >= Duration::from_millis(999), "{time:?}");
    assert!(asked <= Duration::from_millis(1001), "{asked:?}");
    // About one wait for each packet: the poller waits exactly, so it does not return too early.
    assert!(steps < 2500, "{steps} steps");
}

#[test]
fn a_rate_or_a_burst_of_zero_is_refused() {
    for (rate, burst) in [(0, 1), (1, 0), (0, 0)] {
        let error: Error = send_on_lo().rate(rate, burst).packets(unique_group(), ["x"]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Zero);
        assert_eq!(error.to_string(), "set rate and burst: must be at least 1");
    }
}
