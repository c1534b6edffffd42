//! `mcast` while links are deleted, set down and created. Only in a private network namespace, with links that the tests create.

use std::process::Command;
use std::time::{Duration, Instant};

use crate::common::link::{self, Pair};
use crate::common::{PATIENCE, assert_quiet, expect_packet, require_private_network, unique_group, unique_v6_group};
use crate::mcast::mcast as command;
use crate::programs::{Running, run, wait_for_member};
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

/// Sends from the other end of the link until the listener prints this.
fn expect_heard(listener: &Running, link: &Pair, group: Group, payload: &'static str) {
    let end = Instant::now() + PATIENCE;
    loop {
        assert!(Instant::now() < end, "{payload} is not heard");
        let options = SendOptions::new().interface(link::named(&link.b));
        crate::common::send_with(options, group, [payload]);
        while let Some(line) = listener.line_within(Duration::from_millis(20)) {
            if crate::programs::payload_of(&line) == payload {
                return;
            }
        }
    }
}

#[test]
fn a_listener_hears_again_after_its_link_was_created_again() {
    for group in [unique_group(), unique_v6_group(5), unique_v6_group(2)] {
        let link = Pair::new();
        let on_a = ["listen", "--interface", &link.a, "--from", &group.to_string()];
        let listener = Running::start(&mut command(on_a));
        wait_for_member(group);
        expect_heard(&listener, &link, group, "one");
        link.delete();
        listener.wait_until_it_says("waiting for it");
        link.create();
        expect_heard(&listener, &link, group, "two");
        link.replace();
        expect_heard(&listener, &link, group, "three");
        listener.wait_until_it_says("listening again");
        listener.signal("TERM");
        let ended = listener.end().expect(143).saying("dropped 0");
        let times = |words| ended.errors.matches(words).count();
        // The second time, both may have been read at once.
        assert!(
            matches!(times("waiting for it"), 1 | 2) && times("waiting for it") == times("listening again"),
            "{ended:?}"
        );
    }
}

#[test]
fn a_listener_says_once_that_its_link_is_down_and_that_it_is_up() {
    let link = Pair::new();
    let group = unique_group();
    let on_a = ["listen", "--interface", &link.a, "--from", &group.to_string()];
    let listener = Running::start(&mut command(on_a));
    wait_for_member(group);
    link::run(&format!("ip link set {} down", link.a));
    listener.wait_until_it_says(&format!("mcast: {} is down: waiting for it\n", link.a));
    link::run(&format!("ip link set {} up", link.a));
    listener.wait_until_it_says("mcast: listening again\n");
    expect_heard(&listener, &link, group, "again");
    listener.signal("TERM");
    assert_eq!(listener.end().expect(143).errors.lines().count(), 3);
}

#[test]
fn a_listener_on_all_interfaces_joins_on_a_later_one() {
    if !link::is_alone("links::a_listener_on_all_interfaces_joins_on_a_later_one") {
        return;
    }
    let (first, later) = (Pair::new(), Pair::planned());
    let group = unique_group();
    let listener = Running::start(&mut command(["listen", "--interface", "all", "--from", &group.to_string()]));
    wait_for_member(group);
    expect_heard(&listener, &first, group, "first");
    later.create();
    expect_heard(&listener, &later, group, "later");
}

#[test]
fn a_listener_gives_up_when_it_was_told_to() {
    let link = Pair::new();
    let group = unique_group();
    let arguments = ["listen", "--interface", &link.a, "--from", &group.to_string(), "--give-up", "0.2"];
    let listener = Running::start(&mut command(arguments));
    wait_for_member(group);
    link.delete();
    let ended = listener.end().expect(1);
    let said: Vec<_> = ended.errors.lines().collect();
    assert!(
        said.len() == 3 && said[0].ends_with(": waiting for it") && said[1].starts_with("mcast: received 0"),
        "{said:?}"
    );
    assert_eq!(
        said[2],
        format!("mcast: join {} on {}: no such interface: not back in the time of --give-up", group.address(), link.a)
    );
}

#[test]
fn a_link_that_is_down_at_the_start_is_a_failure_of_a_sender() {
    let link = Pair::new();
    let group = unique_group();
    link::run(&format!("ip link set {} down", link.a));
    for arguments in [&["text"][..], &["--count", "3", "text"]] {
        let ended = run(&mut sender(&link, group, arguments)).expect(1).saying("unreachable: ");
        assert_eq!(ended.errors.lines().count(), 1, "{ended:?}");
    }
}

#[test]
fn a_line_that_is_read_while_the_link_is_down_is_sent_when_it_is_up() {
    let link = Pair::new();
    let group = unique_group();
    let mut listener = listener(&link, group);
    let mut sender = Running::start(&mut sender(&link, group, &[]));
    sender.say(b"one\n");
    assert_eq!(expect_packet(&mut listener), b"one");
    link::run(&format!("ip link set {} down", link.a));
    sender.say(b"two\nthree\n");
    sender.wait_until_it_says("waiting for it");
    link::run(&format!("ip link set {} up", link.a));
    assert_eq!(expect_packet(&mut listener), b"two");
    assert_eq!(expect_packet(&mut listener), b"three");
    drop(sender.input.take());
    let ended = sender.end().expect(0);
    assert!(ended.errors.ends_with("\nmcast: sending again\n") && ended.errors.lines().count() == 2, "{ended:?}");
    assert_quiet(&mut listener);
}

#[test]
fn a_line_that_the_queue_never_takes_is_left_out_and_a_dead_queue_ends_the_sender() {
    let link = Pair::new();
    let group = unique_group();
    let mut there = ListenOptions::new().bind::<1500>(Membership::any(group).on(link::named(&link.b))).unwrap();
    let send = |lines: &[u8]| {
        let mut sender = Running::start(&mut sender(&link, group, &[]));
        sender.say(lines);
        drop(sender.input.take());
        // Each of the packets is tried for five seconds.
        sender.end_within(Duration::from_secs(30)).expect(1)
    };
    // A bucket that is smaller than the long line.
    link::run(&format!("tc qdisc add dev {} root tbf rate 8mbit burst 1000 limit 100000", link.a));
    let ended = send(&[&b"one\n"[..], &[b'a'; 1200], b"\nthree\n"].concat());
    assert!(ended.errors.contains("line 2: send 1200 bytes to "), "{ended:?}");
    assert!(ended.errors.contains("queue") && ended.errors.contains("1 line was not sent"), "{ended:?}");
    assert_eq!([(); 2].map(|()| expect_packet(&mut there)), [&b"one"[..], b"three"]);
    link::run(&format!("tc qdisc replace dev {} root pfifo limit 0", link.a));
    let ended = send(b"one\ntwo\nthree\n");
    assert!(ended.errors.contains("line 1: send 3 bytes to "), "{ended:?}");
    assert!(ended.errors.contains("mcast: send 3 bytes to ") && !ended.errors.contains("line 3"), "{ended:?}");
    assert_quiet(&mut there);
}

#[test]
fn a_sender_goes_on_after_its_link_was_created_again() {
    for group in [unique_group(), unique_v6_group(2)] {
        let link = Pair::new();
        let mut before = listener(&link, group);
        let sender = Running::start(&mut sender(&link, group, &["--rate", "50", "--count", "1000000", "text"]));
        assert_eq!(expect_packet(&mut before), b"text");
        link.delete();
        sender.wait_until_it_says("waiting for it");
        link.create();
        let mut after = listener(&link, group);
        assert_eq!(expect_packet(&mut after), b"text");
        sender.signal("INT");
        let ended = sender.end().expect(130).saying("sending again").saying("mcast: sent ");
        assert_eq!(ended.errors.lines().count(), 3, "{ended:?}");
    }
}

#[test]
fn a_sender_gives_up_when_it_was_told_to() {
    let link = Pair::new();
    let group = unique_group();
    let mut listener = listener(&link, group);
    let arguments = ["--rate", "50", "--count", "1000000", "--give-up", "0.2", "text"];
    let sender = Running::start(&mut sender(&link, group, &arguments));
    expect_packet(&mut listener);
    link.delete();
    let ended = sender.end().expect(1).saying("waiting for it");
    let reason = ended.errors.lines().last().unwrap();
    assert!(reason.starts_with("mcast: send ") && !reason.contains("waiting"), "{ended:?}");
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
    listener.end().expect(0).counting();
}

#[test]
fn without_an_interface_the_routing_table_decides() {
    require_private_network();
    let group = unique_group();
    let listener = Running::start(&mut command(["listen", "--from", &group.to_string(), "--limit", "1"]));
    wait_for_member(group);
    run(&mut command(["send", "--to", &group.to_string(), "by route"])).expect(0).quietly();
    assert_eq!(listener.payload(), "by route");
    listener.end().expect(0).counting();
}

#[test]
fn a_demo_that_cannot_send_ends_in_time_with_correct_counters() {
    require_private_network();
    // In another network namespace, in which `lo` is throttled: the other tests need theirs.
    let script = "ip link set lo up && tc qdisc add dev lo root tbf rate 8bit burst 10 limit 10 && exec \"$0\" demo";
    let mut demo = Command::new("unshare");
    let ended =
        run(demo.args(["-n", "sh", "-c", script]).arg(env!("CARGO_BIN_EXE_mcast"))).expect(1).saying("do not add up");
    assert_eq!(ended.lines.last().unwrap(), "demo: sent 0, received 0, rejected 0, lost 0");
    assert!(ended.time < Duration::from_secs(6), "{:?}", ended.time);
}

#[test]
fn a_demo_without_lo_says_that_it_is_down() {
    require_private_network();
    let mut demo = Command::new("unshare");
    run(demo.args(["-n", env!("CARGO_BIN_EXE_mcast"), "demo"])).expect(1).saying("lo is down");
}
