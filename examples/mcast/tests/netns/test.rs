//! `mcast test`, `ping` and `pong` over links of their own, and with another host.

use std::process::Command;
use std::time::{Duration, Instant};

use crate::common::link::{self, Pair};
use crate::common::{PATIENCE, unique_group, unique_v6_group};
use crate::mcast::mcast as command;
use crate::programs::{Running, run, wait_for_member};
use multicast::Group;

/// The number after this key in a line of JSON.
#[track_caller]
fn number(line: &str, key: &str) -> u64 {
    let (_, after) = line.split_once(&format!("\"{key}\":")).unwrap_or_else(|| panic!("no {key} in {line}"));
    let digits: String = after.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().unwrap_or_else(|_| panic!("{key} is no number in {line}"))
}

fn receive(link: &Pair, group: Group, more: &[&str]) -> Running {
    let mut arguments = vec!["test", "receive", "--interface", &link.b, "--once", "--timeout", "60", "--json"];
    let from = group.to_string();
    arguments.extend(["--from", &from]);
    arguments.extend(more);
    let running = Running::start(&mut command(arguments));
    wait_for_member(group);
    running
}

#[test]
fn each_packet_over_a_link_is_received_or_counted_as_lost() {
    for group in [unique_group(), unique_v6_group(2)] {
        let link = Pair::new();
        let receiver = receive(&link, group, &[]);
        let to = group.to_string();
        let arguments =
            ["test", "send", "--interface", &link.a, "--to", &to, "--count", "2000", "--rate", "4000", "--size", "1316"];
        run(&mut command(arguments)).expect(0).quietly();
        let ended = receiver.end_within(Duration::from_secs(90)).expect(0);
        let total = ended.lines.last().unwrap();
        assert_eq!(number(total, "sent_packets"), 2000, "{ended:?}");
        assert_eq!(number(total, "received_packets") + number(total, "lost_packets"), 2000, "{ended:?}");
        assert_eq!(number(total, "duplicate_packets") + number(total, "other_packets"), 0, "{ended:?}");
        let stream = ended.lines.iter().find(|line| line.contains("\"kind\":\"stream\"")).unwrap();
        assert!(stream.contains(&format!("\"group\":\"{group}\",\"interface\":\"{}\"", link.b)), "{stream}");
    }
}

#[test]
fn a_test_goes_on_after_its_link_was_created_again_and_what_was_lost_is_counted() {
    let link = Pair::new();
    let group = unique_group();
    let receiver = receive(&link, group, &["--interval", "0.1"]);
    let to = group.to_string();
    let sender =
        Running::start(&mut command(["test", "send", "--interface", &link.a, "--to", &to, "--rate", "500", "--json"]));
    while number(&receiver.line(), "received_packets") == 0 {}
    link.delete();
    sender.wait_until_it_says("waiting for it");
    receiver.wait_until_it_says("waiting for it");
    link.create();
    sender.wait_until_it_says("sending again");
    receiver.wait_until_it_says("listening again");
    // The sender goes on where it stopped, and the receiver with the same stream.
    let end = Instant::now() + PATIENCE;
    let received = |line: &str| number(line, "received_packets");
    let before = received(&receiver.line());
    while received(&receiver.line()) <= before {
        assert!(Instant::now() < end, "nothing comes");
    }
    sender.signal("INT");
    let sent = sender.end().expect(130);
    let ended = receiver.end_within(Duration::from_secs(90)).expect(0);
    let (sent, total) = (sent.lines.last().unwrap(), ended.lines.last().unwrap());
    assert_eq!(number(sent, "sent_packets"), number(total, "sent_packets"), "{ended:?}");
    let sum = ["received_packets", "lost_packets", "skipped_packets"].map(|key| number(total, key));
    assert_eq!(sum.iter().sum::<u64>(), number(total, "sent_packets"), "{ended:?}");
    assert_eq!(ended.lines.iter().filter(|line| line.contains("\"kind\":\"stream\"")).count(), 1, "{ended:?}");
}

#[test]
fn the_same_stream_on_two_interfaces_is_counted_on_each() {
    if !link::is_alone("test::the_same_stream_on_two_interfaces_is_counted_on_each") {
        return;
    }
    let links = [Pair::new(), Pair::new()];
    let group = unique_group();
    let groups = group.to_string();
    let arguments = ["test", "receive", "--interface", "all", "--from", &groups, "--once", "--timeout", "60", "--json"];
    let receiver = Running::start(&mut command(arguments));
    wait_for_member(group);
    let [a, b] = [&links[0].a, &links[1].a];
    let to = ["test", "send", "--interface", a, "--interface", b, "--no-loopback", "--to", &groups, "--count", "100"];
    let sent = run(&mut command(to)).expect(0).quietly();
    assert_eq!(sent.lines.len(), 2, "{sent:?}");
    let ended = receiver.end_within(Duration::from_secs(90)).expect(0);
    let total = ended.lines.last().unwrap();
    assert_eq!((number(total, "sent_packets"), number(total, "duplicate_packets")), (200, 0), "{ended:?}");
    for link in &links {
        let of_link = format!("\"interface\":\"{}\"", link.b);
        let stream = ended.lines.iter().find(|line| line.contains("\"kind\":\"stream\"") && line.contains(&of_link));
        assert_eq!(number(stream.unwrap(), "sent_packets"), 100, "{ended:?}");
    }
}

/// `mcast pong` on a host of its own, which has the other end of the link. Its first line is its process.
fn pong_on_another_host(link: &Pair, group: Group) -> (Running, String) {
    let script = "echo $$; while ! ip link show dev $1 >/dev/null 2>&1; do sleep 0.05; done
        ip link set $1 addrgenmode none; ip addr add $2/24 dev $1; ip link set $1 up; ip link set lo up
        exec \"$0\" pong --interface $1 --from $3";
    let mut unshare = Command::new("unshare");
    unshare.args(["-n", "sh", "-c", script, env!("CARGO_BIN_EXE_mcast")]);
    unshare.args([&link.b, &link.addresses[1].to_string(), &group.to_string()]);
    let pong = Running::start(&mut unshare);
    let process = pong.line();
    link::run(&format!("ip link set {} netns {process}", link.b));
    (pong, process)
}

#[test]
fn another_host_answers_both_ways_and_is_lost_while_its_link_is_down() {
    let link = Pair::new();
    let group = unique_group();
    let (pong, process) = pong_on_another_host(&link, group);
    let to = group.to_string();
    let arguments = ["ping", "--interface", &link.a, "--to", &to, "--interval", "0.1", "--wait", "0.5"];
    let ping = Running::start(&mut command(arguments));
    let host = format!("{group}%{} {}:", link.a, link.addresses[1]);
    let expect = |ways: [&str; 2], end: &str| {
        for way in ways {
            let until = Instant::now() + PATIENCE;
            loop {
                let line = ping.line();
                assert!(line.starts_with(&host), "{line}");
                if line.contains(&format!(" {way} ")) && line.ends_with(end) {
                    break;
                }
                assert!(Instant::now() < until, "no {way} {end}");
            }
        }
    };
    expect(["unicast", "multicast"], " ms");
    assert!(pong.line().starts_with(&format!("{group}%{} {}:", link.b, link.addresses[0])));
    link::run(&format!("nsenter -t {process} -n ip link set {} down", link.b));
    expect(["unicast", "multicast"], " LOST");
    link::run(&format!("nsenter -t {process} -n ip link set {} up", link.b));
    expect(["unicast", "multicast"], " ms");
    ping.signal("INT");
    let ended = ping.end().expect(130).saying("responders 1, ");
    assert!(ended.lines.iter().any(|line| line.contains(" lost questions ")), "{ended:?}");
    pong.signal("TERM");
    pong.end().expect(143).saying("limited 0, ");
}
