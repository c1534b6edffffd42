//! `mcast` on several interfaces, and with many groups, while links go and come again.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::common::link::{self, Pair};
use crate::common::{PATIENCE, expect_packet, next_within, unique_group, unique_v6_group};
use crate::mcast::mcast as command;
use crate::programs::{Running, payload_of, run, wait_for_member};
use multicast::{Group, ListenOptions, Listener, Membership, SendOptions};

fn listener(interface: &str, group: Group) -> Listener<1500> {
    ListenOptions::new().receive_buffer(4 << 20).bind(Membership::any(group).on(link::named(interface))).unwrap()
}

fn on_both(verb: &str, links: &[Pair; 2], group: Group, arguments: &[&str]) -> Command {
    let direction = if verb == "send" { "--to" } else { "--from" };
    let mut program = command([verb, direction, &group.to_string(), "--interface", &links[0].a, "--interface", &links[1].a]);
    program.args(arguments);
    program
}

/// The number at the beginning of the payload.
fn number(payload: &[u8]) -> u32 {
    std::str::from_utf8(payload).unwrap().parse().unwrap()
}

#[test]
fn a_sender_on_two_links_loses_nothing_on_one_while_the_other_is_gone() {
    for group in [unique_group(), unique_v6_group(2)] {
        let links = [Pair::new(), Pair::new()];
        let (mut stays, mut goes) = (listener(&links[0].b, group), listener(&links[1].b, group));
        let mut sender = Running::start(&mut on_both("send", &links, group, &["--rate", "200"]));
        let numbers = 0..600_u32;
        sender.say(numbers.clone().map(|number| format!("{number}\n")).collect::<String>().as_bytes());
        drop(sender.input.take());
        let mut on_other = 0;
        while number(&expect_packet(&mut goes)) < 20 {
            on_other += 1;
        }
        on_other += 1;
        links[1].delete();
        sender.wait_until_it_says("waiting for it");
        links[1].create();
        let mut goes_again = listener(&links[1].b, group);
        sender.wait_until_it_says("sending again on ");
        let ended = sender.end_within(Duration::from_secs(30)).expect(0);
        for expected in numbers.clone() {
            assert_eq!(number(&expect_packet(&mut stays)), expected, "nothing is lost or doubled");
        }
        while let Some(packet) = next_within(&mut goes_again, Duration::from_millis(200)) {
            assert!(number(&packet) > 20);
            on_other += 1;
        }
        let said: Vec<_> = ended.errors.lines().collect();
        let [went, came, missed] = said[..] else { panic!("{said:?}") };
        assert!(went.ends_with(": waiting for it") && went.contains(&links[1].a), "{said:?}");
        assert_eq!(came, format!("mcast: sending again on {}", links[1].a));
        let missed = missed.strip_prefix("mcast: ").unwrap().split_once(" packets did not leave on ").unwrap();
        assert_eq!(missed.1, links[1].a);
        let missed: u32 = missed.0.parse().unwrap();
        // Some left before the test listened again, and some just before the link went.
        assert!(missed > 0 && on_other + missed <= 600, "{on_other} {missed}");
    }
}

#[test]
fn a_sender_gives_up_if_one_of_its_links_does_not_come_back() {
    let (group, links) = (unique_group(), [Pair::new(), Pair::new()]);
    let mut stays = listener(&links[0].b, group);
    let arguments = ["--rate", "100", "--count", "1000000", "--give-up", "0.5", "text"];
    let sender = Running::start(&mut on_both("send", &links, group, &arguments));
    // When the second packet comes, the first has left on both: before that, a link that goes is an error at once.
    expect_packet(&mut stays);
    expect_packet(&mut stays);
    links[1].delete();
    let ended = sender.end().expect(1).saying("waiting for it").saying(" packets did not leave on ");
    assert!(ended.errors.lines().last().unwrap().contains(&links[1].a), "{ended:?}");
}

#[test]
fn a_sender_on_all_interfaces_sends_on_each_that_is_up() {
    if !link::is_alone("outages::a_sender_on_all_interfaces_sends_on_each_that_is_up") {
        return;
    }
    let (group, links, down) = (unique_group(), [Pair::new(), Pair::new()], Pair::new());
    link::run(&format!("ip link set {} down", down.a));
    let mut ends = [&links[0].a, &links[0].b, &links[1].a, &links[1].b].map(|name| listener(name, group));
    let arguments = ["send", "--to", &group.to_string(), "--interface", "all", "--interface", &links[0].a, "text"];
    run(&mut command(arguments)).expect(0).quietly();
    for end in &mut ends {
        // One from the other end, and the copy of its own.
        assert_eq!([(); 2].map(|()| expect_packet(end)), [b"text", b"text"]);
        assert_eq!(next_within(end, Duration::from_millis(100)), None);
    }
}

#[test]
fn packets_leave_from_the_source_that_is_named_with_the_group() {
    for group in [unique_group(), unique_v6_group(5)] {
        let link = Pair::new();
        let mut peer = crate::common::peer::Receiver::join(group, &link.b);
        let (other, bits, flags) = match group.address() {
            IpAddr::V4(_) => (format!("10.{}.250.9", std::process::id() as u8), 24, ""),
            IpAddr::V6(_) => (format!("fd43:{}::9", std::process::id() as u8), 64, " nodad"),
        };
        let family = if group.address().is_ipv4() { "-4" } else { "-6" };
        link::run(&format!("ip {family} addr add {other}/{bits} dev {}{flags}", link.a));
        let first: IpAddr = match group.address() {
            IpAddr::V4(_) => link.addresses[0].into(),
            IpAddr::V6(_) => link.v6_addresses()[0].into(),
        };
        for source in [other.as_str(), &first.to_string()] {
            let arguments = ["send", "--to", &format!("{source}@{group}"), "--interface", &link.a, "text"];
            run(&mut command(arguments)).expect(0).quietly();
            assert_eq!(peer.next().source, source);
        }
        let nobody = if group.address().is_ipv4() { "192.0.2.77" } else { "2001:db8::77" };
        let arguments = ["send", "--to", &format!("{nobody}@{group}"), "--interface", &link.a, "text"];
        run(&mut command(arguments)).expect(1).saying("no interface has this source address");
        peer.assert_quiet();
    }
}

#[test]
fn a_listener_on_two_links_hears_both_and_goes_on_with_one() {
    let (group, links) = (unique_group(), [Pair::new(), Pair::new()]);
    let heard = Running::start(&mut on_both("listen", &links, group, &["--metadata"]));
    wait_for_member(group);
    let send = |link: &Pair, text: &'static str| {
        crate::common::send_with(SendOptions::new().interface(link::named(&link.b)), group, [text]);
    };
    // The second one may not have joined yet.
    let end = Instant::now() + PATIENCE;
    loop {
        assert!(Instant::now() < end);
        send(&links[1], "ready?");
        if heard.line_within(Duration::from_millis(20)).is_some() {
            break;
        }
    }
    while heard.line_within(Duration::from_millis(200)).is_some() {}
    for link in [&links[0], &links[1], &links[0]] {
        send(link, "text");
        let line = heard.line();
        assert!(line.contains(&format!(" {} {group} ", link.a)) && line.ends_with(" text"), "{line}");
    }
    links[1].delete();
    heard.wait_until_it_says("waiting for it");
    send(&links[0], "one is left");
    assert!(heard.line().ends_with(" one is left"));
    links[1].create();
    heard.wait_until_it_says(&format!("listening again on {}", links[1].a));
    send(&links[1], "again");
    assert!(heard.line().ends_with(" again"));
    heard.signal("TERM");
    assert_eq!(heard.end().expect(143).errors.lines().count(), 3);
}

#[test]
fn a_link_with_300_groups_that_goes_and_comes_is_mentioned_once() {
    const GROUPS: u32 = 300;
    let link = Pair::new();
    let IpAddr::V4(address) = unique_group().address() else { panic!("of IPv4") };
    let first = Ipv4Addr::from_bits(address.to_bits() & !0xff);
    let port = crate::common::free_port();
    let group = |number: u32| Group::new(Ipv4Addr::from_bits(first.to_bits() + number), port).unwrap();
    let mut program = command(["listen", "--interface", &link.a, "--from", &format!("{first}+{GROUPS}:{port}")]);
    let heard = Running::start(&mut program);
    wait_for_member(group(GROUPS - 1));
    let hears_all = || {
        let mut missing: BTreeSet<u32> = (0..GROUPS).collect();
        let options = SendOptions::new().interface(link::named(&link.b));
        let end = Instant::now() + PATIENCE;
        while !missing.is_empty() {
            assert!(Instant::now() < end, "nothing of {missing:?}");
            for number in &missing {
                crate::common::send_with(options, group(*number), [number.to_string()]);
            }
            while let Some(line) = heard.line_within(Duration::from_millis(100)) {
                missing.remove(&payload_of(&line).parse().unwrap());
            }
        }
    };
    hears_all();
    for (go, come) in [("down", "up"), ("delete", "create")] {
        let begin = Instant::now();
        if go == "down" {
            link::run(&format!("ip link set {} down", link.a));
            heard.wait_until_it_says(&format!("mcast: {} is down: waiting for it\n", link.a));
            link::run(&format!("ip link set {} up", link.a));
            heard.wait_until_it_says("mcast: listening again\n");
        } else {
            link.delete();
            heard.wait_until_it_says("no such interface: waiting for it\n");
            link.create();
        }
        hears_all();
        eprintln!("{go} and {come}: {:?}", begin.elapsed());
    }
    let times = |errors: &str| [errors.matches("waiting for it\n").count(), errors.matches("listening again\n").count()];
    heard.signal("TERM");
    let ended = heard.end().expect(143).saying("dropped 0");
    assert_eq!(times(&ended.errors), [2, 2], "{ended:?}");
    assert_eq!(ended.errors.lines().count(), 5, "{ended:?}");
}
