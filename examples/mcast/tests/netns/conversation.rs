//! `mcast ask` and `mcast answer` on links of their own, with another host and with strangers.

use std::net::{IpAddr, SocketAddr};
use std::process::Command;
use std::time::Duration;

use crate::common::forger::WIRE_FORGER;
use crate::common::hosts::{Arrival, Host};
use crate::common::link::{Pair, run as run_command};
use crate::common::{unique_group, unique_v6_group, wait_until};
use crate::mcast::json::parsed;
use crate::mcast::mcast as command;
use crate::programs::{Running, run, wait_for_member};
use multicast::Group;

fn groups() -> [Group; 3] {
    [unique_group(), unique_v6_group(2), unique_v6_group(5)]
}

fn answering(group: Group, interfaces: &[&str], arguments: &[&str]) -> Running {
    let mut program = command(["answer", "--from", &group.to_string()]);
    for interface in interfaces {
        program.args(["--interface", interface]);
    }
    let running = Running::start(program.args(arguments));
    wait_for_member(group);
    running
}

/// The same on the other host.
fn answering_there(host: &Host, group: Group, interface: &str, arguments: &[&str]) -> Running {
    let mut nsenter = Command::new("nsenter");
    nsenter.args(["-t", &host.process().to_string(), "-n", env!("CARGO_BIN_EXE_mcast")]);
    nsenter.args(["answer", "--from", &group.to_string(), "--interface", interface]);
    let running = Running::start(nsenter.args(arguments));
    wait_until("it has joined there", || match group.address() {
        IpAddr::V4(address) => {
            let list = host.run("cat /proc/net/igmp");
            // The line of an interface, and then those of its groups.
            let of_it = list.lines().skip_while(|line| !line.contains(&format!("\t{interface} "))).skip(1);
            let listed = format!("{:08X} ", u32::from_ne_bytes(address.octets()));
            of_it.take_while(|line| line.starts_with("\t\t")).any(|line| line.contains(&listed))
        }
        IpAddr::V6(address) => {
            let (list, listed) = (host.run("cat /proc/net/igmp6"), format!(" {:032x} ", u128::from(address)));
            list.lines().any(|line| line.contains(interface) && line.contains(&listed))
        }
    });
    running
}

#[test]
fn an_answer_leaves_by_the_interface_that_was_asked_on_and_from_the_port_of_the_group() {
    let mut host = Host::new();
    for group in groups() {
        let names = [host.links[0].a.clone(), host.links[1].a.clone()];
        let answer = answering(group, &[&names[0], &names[1]], &["--exec", "printf %s \"$MCAST_INTERFACE\"", "--metadata"]);
        for link in [0, 1, 0] {
            let ends: [IpAddr; 2] = match group.address() {
                IpAddr::V4(_) => host.links[link].addresses.map(Into::into),
                IpAddr::V6(_) => host.links[link].v6_addresses().map(Into::into),
            };
            host.ask(ends[1], link, group, "who?");
            let (link_there, source) = (host.links[link].b.clone(), SocketAddr::new(ends[0], group.port()));
            assert_eq!(host.answer(), Arrival { payload: names[link].clone(), link: link_there, source });
            let line = answer.line();
            assert!(line.contains(&format!(" {} {group} ttl ", names[link])) && line.ends_with(" who?"), "{line}");
        }
        // The same address is on both links.
        let (asker, link_local) =
            ("fe80::2".parse().unwrap(), |link: usize| -> IpAddr { format!("fe80::{}:1", 7 + link).parse().unwrap() });
        for link in [1, 0] {
            if group.address().is_ipv6() {
                host.ask(asker, link, group, "who?");
                let arrived = host.answer();
                assert_eq!((arrived.link, arrived.source.ip()), (host.links[link].b.clone(), link_local(link)));
            }
        }
        answer.signal("TERM");
        answer.end().expect(143).saying("limited 0, unanswered 0");
    }
}

#[test]
fn a_question_leaves_on_each_interface_and_each_answer_is_printed() {
    let host = Host::new();
    for group in groups() {
        let links = &host.links;
        let answers =
            [&links[0].b, &links[1].b].map(|name| answering_there(&host, group, name, &["--exec", "echo $MCAST_INTERFACE"]));
        let arguments = ["ask", "--to", &group.to_string(), "--interface", &links[0].a, "--interface", &links[1].a];
        let more = ["--min", "2", "--limit", "2", "--wait", "8", "--json", "who?"];
        let ended = run(&mut command(arguments.into_iter().chain(more))).expect(0);
        let (answered, total) = ended.lines.split_at(2);
        let mut payloads = parsed(answered, "o['kind'] + ' ' + o['payload_text'].strip()");
        payloads.sort();
        let mut expected = [&links[0].b, &links[1].b].map(|name| format!("answer {name}"));
        expected.sort();
        assert_eq!(payloads, expected, "{ended:?}");
        assert_eq!(parsed(total, "o['kind'], o['questions'], o['answers']"), ["('total', 1, 2)"]);
        for answer in answers {
            answer.signal("TERM");
            answer.end().expect(143).saying("asked 1, answered 1");
        }
    }
}

#[test]
fn strangers_with_forged_sources_do_not_end_it_and_are_counted() {
    for group in [unique_group(), unique_v6_group(2)] {
        let mut host = Host::new();
        let answer = answering(group, &[&host.links[0].a.clone()], &["--echo", "--rate", "1000"]);
        // Written to the wire here, so that they come to the other end, from where they come back.
        let other = host.links[0].b.clone();
        let sources: &[&str] = match group.address() {
            IpAddr::V4(_) => &["0.0.0.0", "255.255.255.255", "127.0.0.1", "239.1.1.1", "192.0.2.1"],
            IpAddr::V6(_) => &["::", "ff02::1", "::1", "2001:db8::1", "fe80::99"],
        };
        let process = host.process().to_string();
        let lines: String = sources
            .iter()
            .flat_map(|source| [0, 9].map(|port| format!("{source} {port} {} {} forged\n", group.address(), group.port())))
            .collect();
        let mut nsenter = Command::new("nsenter");
        nsenter.args(["-t", &process, "-n", "python3", "-c", WIRE_FORGER, &other]);
        let mut forging = Running::start(&mut nsenter);
        forging.say(lines.as_bytes());
        drop(forging.input.take());
        assert_eq!(forging.end().expect(0).lines.len(), 1 + 2 * sources.len());
        let own: IpAddr = match group.address() {
            IpAddr::V4(_) => host.links[0].addresses[1].into(),
            IpAddr::V6(_) => host.links[0].v6_addresses()[1].into(),
        };
        host.ask(own, 0, group, "who?");
        assert_eq!(host.answer().payload, "who?");
        answer.signal("TERM");
        let ended = answer.end().expect(143);
        let last = ended.errors.lines().last().unwrap();
        let numbers: Vec<u64> = last.split([' ', ',']).filter_map(|word| word.parse().ok()).collect();
        let [asked, answered, 0, unanswered] = numbers[..] else { panic!("{ended:?}") };
        assert!(asked == answered + unanswered && answered >= 1 && unanswered >= 1, "{ended:?}");
    }
}

#[test]
fn a_link_that_is_created_again_can_be_asked_on() {
    let (group, link) = (unique_group(), Pair::new());
    let answer = answering(group, &[&link.a], &["--echo"]);
    let ask = || {
        let arguments = ["ask", "--to", &group.to_string(), "--interface", &link.b, "--limit", "1", "--wait", "8", "who?"];
        run(&mut command(arguments)).expect(0)
    };
    ask();
    link.delete();
    answer.wait_until_it_says("waiting for it");
    link.create();
    answer.wait_until_it_says("listening again");
    let ended = ask();
    assert!(ended.lines[0].ends_with(" who?"), "{ended:?}");
    answer.signal("TERM");
    answer.end().expect(143).saying("asked 2, answered 2, limited 0, unanswered 0");
}

/// The queue of one link takes nothing for a while.
#[test]
fn an_answer_that_cannot_leave_waits_and_the_others_do_not_wait_for_it() {
    let mut host = Host::new();
    let group = unique_group();
    let (dead, other) = (host.links[0].a.clone(), host.links[1].a.clone());
    let answer = answering(group, &[&dead, &other], &["--echo"]);
    let there = [0, 1].map(|link: usize| IpAddr::from(host.links[link].addresses[1]));
    // So that both know each other's hardware address.
    for link in [0, 1] {
        host.ask(there[link], link, group, "before");
        assert_eq!(host.answer().payload, "before");
    }
    run_command(&format!("tc qdisc replace dev {dead} root pfifo limit 0"));
    host.ask(there[0], 0, group, "waiting");
    for _ in 0..3 {
        host.ask(there[1], 1, group, "other");
        assert_eq!(host.answer().payload, "other");
    }
    let other_asker = host.ask(there[0], 0, group, "waiting, too");
    // Another queue in its place would lose what is sent meanwhile.
    run_command(&format!("tc qdisc change dev {dead} root pfifo limit 100"));
    // The answer to the one that asked last; the one before has no socket any more.
    assert_eq!((host.answer().payload.as_str(), other_asker.ip()), ("waiting, too", there[0]));
    run_command(&format!("tc qdisc change dev {dead} root pfifo limit 0"));
    host.ask(there[0], 0, group, "never");
    assert_eq!([(); 7].map(|()| answer.payload()).last().unwrap(), "waiting, too");
    assert_eq!(answer.payload(), "never");
    answer.signal("TERM");
    // What waits at the end is counted. The first that waited may not have been tried again in time.
    let ended = answer.end().expect(143);
    let is_one_of = |all: [&str; 2]| all.iter().any(|line| ended.errors.ends_with(line));
    let counters = ["answered 7, limited 0, unanswered 1\n", "answered 6, limited 0, unanswered 2\n"];
    assert!(ended.errors.starts_with("mcast: asked 8, ") && is_one_of(counters), "{ended:?}");
}

/// The first question leaves on both links, the second one on the link that is left.
#[test]
fn asking_goes_on_while_one_of_two_links_is_gone() {
    let (group, links) = (unique_group(), [Pair::new(), Pair::new()]);
    let answers = [&links[0].b, &links[1].b].map(|name| answering(group, &[name], &["--echo"]));
    let arguments = ["ask", "--to", &group.to_string(), "--interface", &links[0].a, "--interface", &links[1].a];
    let more = ["--repeat", "8", "--every", "0.5", "--wait", "0.5", "--limit", "6", "who?"];
    let asking = Running::start(&mut command(arguments.into_iter().chain(more)));
    assert_eq!([(); 2].map(|()| asking.payload()), ["who?", "who?"]);
    links[0].delete();
    asking.wait_until_it_says("waiting for it");
    links[0].create();
    asking.wait_until_it_says("sending again");
    let ended = asking.end_within(Duration::from_secs(20));
    // What is answered again is not printed: the limit is not reached.
    assert_eq!(ended.status.code(), Some(4), "{ended:?}");
    assert!(ended.errors.contains("questions did not leave on ") && ended.errors.contains("asked 8, "), "{ended:?}");
    drop(answers);
}
