//! `mcast` while links are deleted, set down and created. Only in a private network namespace, with links that the tests create.
#![cfg(feature = "regex")]

mod common;
mod mcast;

use std::process::Command;
use std::time::Duration;

use common::link::{self, Pair};
use common::{QUIET, assert_quiet, expect_packet, require_private_network, unique_group, unique_v6_group};
use mcast::{Running, example, mcast as command, run, wait_for_member};
use multicast::{Group, ListenOptions, Listener, Membership, SendOptions};

fn listener(link: &Pair, group: Group) -> Listener<1500> {
    ListenOptions::new().bind(Membership::any(group).on(link::named(&link.a))).unwrap()
}

fn sender(link: &Pair, group: Group, arguments: &[&str]) -> Command {
    let mut command = command(["send", "--interface", &link.a, "--to", &group.to_string()]);
    command.args(arguments);
    command
}

#[test]
fn without_loopback_this_machine_receives_nothing() {
    let link = Pair::new();
    let group = unique_group();
    let mut listener = listener(&link, group);
    run(&mut sender(&link, group, &["with"])).expect(0).quietly();
    assert_eq!(expect_packet(&mut listener), b"with");
    run(&mut sender(&link, group, &["--no-loopback", "without"])).expect(0).quietly();
    assert_quiet(&mut listener);
}

#[test]
fn a_link_that_is_deleted_under_a_sender_is_a_failure() {
    let link = Pair::new();
    let group = unique_group();
    let mut listener = listener(&link, group);
    let texts = Running::start(&mut sender(&link, group, &["--rate", "50", "--count", "1000000", "text"]));
    let mut lines = Running::start(&mut sender(&link, group, &[]));
    lines.say(b"line\n");
    let mut seen = [expect_packet(&mut listener), expect_packet(&mut listener)];
    while seen.iter().all(|packet| packet == b"text") {
        seen[0] = expect_packet(&mut listener);
    }
    link::run(&format!("ip link delete {}", link.a));
    lines.say(b"line\n");
    // The address is deleted with the link, so the kernel has no route.
    for sender in [texts, lines] {
        let ended = sender.end().expect(1).saying("unreachable: the interface is down or gone");
        assert!(ended.errors.starts_with(&format!("mcast: send 4 bytes to {group}: ")), "{ended:?}");
        assert_eq!(ended.errors.lines().count(), 1, "{ended:?}");
    }
}

#[test]
fn a_link_that_is_set_down_under_a_sender_is_a_failure() {
    let link = Pair::new();
    let group = unique_group();
    let mut listener = listener(&link, group);
    let sender = Running::start(&mut sender(&link, group, &["--rate", "50", "--count", "1000000", "text"]));
    expect_packet(&mut listener);
    link::run(&format!("ip link set {} down", link.a));
    sender.end().expect(1).saying(&format!("mcast: send 4 bytes to {group}: unreachable: the interface is down"));
}

#[test]
fn a_listener_waits_on_after_its_link_is_deleted() {
    let link = Pair::new();
    let group = unique_group();
    let listener =
        Running::start(&mut command(["listen", "--interface", &link.a, "--from", &group.to_string(), "--timeout", "1"]));
    wait_for_member(group);
    let mut caster = SendOptions::new().interface(link::named(&link.a)).packets(group, ["packet"]).unwrap();
    while caster.step().unwrap() != multicast::Progress::Done {}
    assert_eq!(listener.payload(), "packet");
    link::run(&format!("ip link delete {}", link.a));
    assert_eq!(listener.line_within(QUIET), None);
    let ended = listener.end().expect(1).saying("the time is up").saying("received 1, rejected 0");
    assert!(ended.time >= Duration::from_secs(1));
}

#[test]
fn ipv6_groups_work() {
    let link = Pair::new();
    let group = unique_v6_group(5);
    let listener =
        Running::start(&mut command(["listen", "--interface", &link.a, "--from", &group.to_string(), "--limit", "1"]));
    wait_for_member(group);
    run(&mut sender(&link, group, &["six"])).expect(0).quietly();
    let line = listener.line();
    assert!(line.starts_with('[') && line.ends_with(" six"), "{line}");
    listener.end().expect(0).quietly();
}

#[test]
fn without_an_interface_the_routing_table_decides() {
    require_private_network();
    let group = unique_group();
    let listener = Running::start(&mut command(["listen", "--from", &group.to_string(), "--limit", "1"]));
    wait_for_member(group);
    run(&mut command(["send", "--to", &group.to_string(), "by route"])).expect(0).quietly();
    assert_eq!(listener.payload(), "by route");
    listener.end().expect(0).quietly();
}

#[test]
fn a_demo_that_cannot_send_ends_in_time_with_correct_counters() {
    require_private_network();
    // In another network namespace, in which `lo` is throttled: the other tests need theirs.
    let script = "ip link set lo up && tc qdisc add dev lo root tbf rate 8bit burst 10 limit 10 && exec \"$0\" demo";
    let mut demo = Command::new("unshare");
    let ended = run(demo.args(["-n", "sh", "-c", script]).arg(example("mcast"))).expect(1).saying("do not add up");
    assert_eq!(ended.lines.last().unwrap(), "demo: sent 0, received 0, rejected 0, lost 0");
    assert!(ended.time < Duration::from_secs(6), "{:?}", ended.time);
}
