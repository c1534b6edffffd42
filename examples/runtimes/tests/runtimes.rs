//! The same program in each runtime: alone, together, behind a flood, with full queues, and on a link that is deleted and created again.
//! In a private network: see `make runtimes`.

mod common;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use common::{Link, PATIENCE, RUNTIMES, Running, backlog_drops, is_joined, send_all, unique_group, unique_v6_group};
use multicast::Group;
use rustix::process::Signal;

/// A period that no test lives to see the end of: the program sends once, when it starts.
const ONCE: Duration = Duration::from_secs(3600);

for_each_runtime! {
    waits_without_a_turn_and_ends_cleanly
    finds_a_packet_behind_a_flood_that_it_rejects
    waits_for_room_in_the_socket
    waits_for_room_in_the_device
    follows_a_link_that_flaps
}

#[test]
fn all_runtimes_hear_and_answer_each_other_over_ipv4() {
    all_hear_and_answer_each_other(unique_group());
}

#[test]
fn all_runtimes_hear_and_answer_each_other_over_ipv6() {
    all_hear_and_answer_each_other(unique_v6_group());
}

fn all_hear_and_answer_each_other(group: Group) {
    let start = |number| Running::runtime(number, group, "lo", Duration::from_millis(100), 1);
    let mut all: Vec<_> = (0..RUNTIMES.len()).map(start).collect();
    for running in &mut all {
        let mut missing: Vec<_> =
            RUNTIMES.iter().flat_map(|(.., name)| [format!("heard {name} "), format!("answer {name}")]).collect();
        let end = Instant::now() + PATIENCE;
        while !missing.is_empty() {
            let line = running.line_within(end.saturating_duration_since(Instant::now()));
            let Some(line) = line else { panic!("{missing:?} did not come") };
            missing.retain(|wanted| !format!("{line} ").starts_with(wanted));
        }
    }
    all.into_iter().for_each(|running| assert_eq!(running.end().count("unsent"), 0));
    assert!(!is_joined(group));
}

fn start_once(number: usize, group: Group) -> Running {
    let mut running = Running::runtime(number, group, "lo", ONCE, 1);
    // In any order.
    let (mut heard, mut answered) = (false, false);
    while !(heard && answered) {
        let line = running.line_that(|line| !line.is_empty());
        heard |= line.starts_with("heard ");
        answered |= line.starts_with("answer ");
    }
    running
}

/// An idle socket is always writable: a program that waits for that would turn without end.
fn waits_without_a_turn_and_ends_cleanly(number: usize) {
    let group = unique_group();
    let running = start_once(number, group);
    std::thread::sleep(Duration::from_millis(300));
    assert!(is_joined(group));
    let ended = running.end();
    // One for each descriptor and for each packet, and some for interfaces that other tests create.
    assert!(ended.count("turns") < 100, "{ended:?}");
    assert_eq!((ended.count("received"), ended.count("unsent")), (2, 0));
    assert!(!is_joined(group));
}

/// One call rejects 64 packets at most. All of the flood is one event: after it, nothing tells that there is more to read.
fn finds_a_packet_behind_a_flood_that_it_rejects(number: usize) {
    let group = unique_group();
    let mut running = start_once(number, group);
    running.pause();
    send_all(group, std::iter::repeat_n(&b"\xff not text"[..], 150).chain([&b"behind the flood"[..]]));
    running.signal(Signal::CONT);
    assert_eq!(running.line("heard "), "behind the flood");
    assert_eq!(running.end().count("rejected"), 150);
}

/// More packets than the socket's send buffer holds, on a slow link. None is lost, and the program sleeps while there is no room.
fn waits_for_room_in_the_socket(number: usize) {
    let ended = send_on_a_slow_link(number, 1_000_000);
    assert!((1..200).contains(&ended.count("blocked")), "{ended:?}");
}

/// More packets than the device's queue holds: the kernel does not tell when there is room again, so the program tries after a time.
fn waits_for_room_in_the_device(number: usize) {
    let ended = send_on_a_slow_link(number, 1_500);
    assert!((1..2000).contains(&ended.count("waiting")), "{ended:?}");
}

fn send_on_a_slow_link(number: usize, queue: u32) -> common::Ended {
    const READINGS: u32 = 500;
    let (link, group, name) = (Link::new(), unique_group(), RUNTIMES[number].2);
    // It sends nothing any more while the other one waits: that would wake it.
    let mut peer = link.far.start(0, group, ONCE, 0);
    link.far.wait_for_member(group);
    link.throttle(queue);
    let dropped = backlog_drops();
    let running = link.near.start(number, group, ONCE, READINGS);
    // In any order: two processors may carry them.
    let mut missing: BTreeSet<_> = (1..=READINGS).map(|reading| format!("{name} {reading}")).collect();
    while !missing.is_empty() {
        let Some(line) = peer.line_within(PATIENCE / 4) else { break };
        if let Some(heard) = line.strip_prefix("heard ") {
            assert!(missing.remove(heard), "{heard} came twice");
        }
    }
    // The queue in front of all receivers of the machine may have been full, if something else on it sends a flood.
    let dropped = backlog_drops() - dropped;
    assert!(missing.len() as u64 <= dropped, "{} of {missing:?}", missing.len());
    let ended = running.end();
    assert_eq!(ended.count("unsent"), 0);
    ended
}

/// To the kernel a link that is created again is another one: the membership is lost, and the way out as well.
fn follows_a_link_that_flaps(number: usize) {
    let (link, group, name) = (Link::new(), unique_group(), RUNTIMES[number].2);
    let period = Duration::from_millis(50);
    let (mut peer, mut running) = (link.far.start(0, group, period, 1), link.near.start(number, group, period, 1));
    let mut meet = |running: &mut Running| {
        running.line("heard poll ");
        running.line("answer poll");
        peer.line(&format!("heard {name} "));
        peer.line(&format!("answer {name}"));
        // What was sent before the next change is read before it.
        running.line("answer ");
    };
    meet(&mut running);
    for _ in 0..2 {
        link.delete();
        running.line("waiting: ");
        link.create();
        meet(&mut running);
    }
    running.end();
    peer.end();
}
