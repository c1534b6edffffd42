//! `mcast ping` and `mcast pong`, with each other and with peers in Python that speak their packets, on `lo`.

use std::time::Duration;

use crate::common::{Python, unique_group, wait_until};
use crate::mcast::{mcast as command, shell};
use crate::programs::{Ended, Running, run, wait_for_member};
use multicast::Group;

/// The layout of questions and answers, and sockets on `lo`.
const PEER: &str = r#"
import socket, struct, sys, time
def question(ping, number, length=80):
    return (b"mcpg" + struct.pack(">BBHQQQQ", 1, 0, 0, ping, number, 0, 0)).ljust(80, b"\0")[:length]
def answer(way, ping, number, pong, heard):
    return b"mcpg" + struct.pack(">BBHQQQQ", 1, way, 0, ping, number, pong, heard)
def read(bytes):
    if len(bytes) < 40 or bytes[:5] != b"mcpg\x01":
        return 9, 0, 0, 0, 0
    version, kind, zero, ping, number, pong, heard = struct.unpack_from(">BBHQQQQ", bytes, 4)
    assert zero == 0
    return kind, ping, number, pong, heard
address, port = sys.argv[1].split(":")
group = address, int(port)
sink = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sink.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton("127.0.0.1"))
sink.settimeout(1)
def member():
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    s.bind(group)
    s.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, socket.inet_aton(address) + socket.inet_aton("127.0.0.1"))
    return s
"#;

fn peer(program: &str, group: Group) -> Python {
    Python::start(&format!("{PEER}{program}"), &[&group.to_string()])
}

fn arguments(command: &str, group: Group, more: &[&str]) -> Vec<String> {
    let direction = if command == "ping" { "--to" } else { "--from" };
    let first = [command, direction, &group.to_string(), "--interface", "lo"].map(str::to_owned);
    first.into_iter().chain(more.iter().map(|argument| (*argument).to_owned())).collect()
}

/// It is a member of the group when this returns, if nobody was before.
fn pong(group: Group, more: &[&str]) -> Running {
    let running = Running::start(&mut command(arguments("pong", group, more)));
    wait_for_member(group);
    running
}

fn ping(group: Group, more: &[&str]) -> Ended {
    Running::start(&mut command(arguments("ping", group, more))).end_within(Duration::from_secs(60))
}

#[track_caller]
fn line<'e>(ended: &'e Ended, words: &[&str]) -> &'e str {
    let found = ended.lines.iter().find(|line| words.iter().all(|word| line.contains(word)));
    found.unwrap_or_else(|| panic!("no line with {words:?} in {ended:?}"))
}

#[test]
fn the_examples_of_their_help_work() {
    // Both have the same, with one group.
    let helps = ["ping", "pong"].map(|name| run(&mut command([name, "--help"])).expect(0).quietly().lines);
    let [example, same] =
        helps.map(|help| help.into_iter().skip_while(|line| line != "Example:").skip(1).collect::<Vec<_>>().join("\n"));
    assert_eq!(example, same);
    let script = format!("mcast() {{ \"$0\" \"$@\"; }}\n{example}\nping=$?; wait $!; exit $ping");
    let ended = run(&mut shell(&script, &[])).expect(0);
    assert_eq!(ended.lines.iter().filter(|line| line.contains("%lo 127.0.0.1:") && line.ends_with(" ms")).count(), 6 + 2);
    for number in 0..3 {
        line(&ended, &[&format!(" unicast {number} ")]);
        line(&ended, &[&format!(" multicast {number} ")]);
        line(&ended, &[&format!(" asked {number}")]);
    }
}

/// How many sockets are members of the group, according to the kernel's list.
fn members(group: Group) -> usize {
    let std::net::IpAddr::V4(address) = group.address() else { panic!("{group}") };
    let wanted = format!("{:08X}", u32::from_ne_bytes(address.octets()));
    let list = std::fs::read_to_string("/proc/net/igmp").unwrap();
    let users = list.lines().map(|line| line.split_whitespace().collect::<Vec<_>>()).filter(|words| words[0] == wanted);
    users.map(|words| words[1].parse::<usize>().unwrap()).sum()
}

#[test]
fn two_who_answer_and_two_who_ask_are_told_apart() {
    let group = unique_group();
    let pongs = [pong(group, &[]), pong(group, &[])];
    wait_until("both are members", || members(group) == 2);
    let asking = ["--count", "10", "--interval", "0.1", "--wait", "5", "--json"];
    let first = Running::start(&mut command(arguments("ping", group, &asking)));
    let second = ping(group, &asking).expect(0);
    for ended in [first.end_within(Duration::from_secs(60)).expect(0), second] {
        let responders: Vec<_> = ended.lines.iter().filter(|line| line.contains("\"kind\":\"responder\"")).collect();
        assert_eq!(responders.len(), 2, "{ended:?}");
        for responder in responders {
            assert_eq!(
                responder
                    .matches("\"questions\":10,\"answers\":10,\"unanswered_questions\":0,\"duplicate_answers\":0")
                    .count(),
                2,
                "{responder}"
            );
        }
        line(&ended, &["\"kind\":\"total\"", "\"questions\":10", "\"responders\":2", "\"other_packets\":0"]);
    }
    for pong in pongs {
        pong.signal("TERM");
        pong.end().expect(143).saying("answered 20, duplicates 0, limited 0, refused 0, others 0");
    }
}

/// Answers from number 2 on. It does not hear 3; its answers to 4 by unicast, to 5 and 6 by multicast are lost; those to 7 come twice.
const BAD_WAYS: &str = r#"
source, heard = member(), 0
print("ready")
while True:
    bytes, asker = source.recvfrom(1500)
    kind, ping, number, pong, none = read(bytes)
    if kind != 0:
        continue
    assert len(bytes) == 80 and pong == none == 0
    if number < 2 or number == 3:
        continue
    heard += 1
    for copy in range(2 if number == 7 else 1):
        if number != 4:
            sink.sendto(answer(1, ping, number, 99, heard), asker)
        if number not in (5, 6):
            sink.sendto(answer(2, ping, number, 99, heard), group)
    # Others on the group, and answers to nobody, to what was not asked, and on the wrong way.
    sink.sendto(answer(2, ping + 1, number, 98, heard), group)
    sink.sendto(answer(2, ping, 1 << 40, 97, heard), group)
    sink.sendto(answer(1, ping, number, 96, heard), group)
    sink.sendto(answer(2, ping, number, 95, heard), asker)
    sink.sendto(b"something else", group)
"#;

#[test]
fn what_is_lost_on_each_way_is_told_apart() {
    for (allowed, code) in [("33.4", 0), ("33", 4)] {
        let group = unique_group();
        let mut responder = peer(BAD_WAYS, group);
        assert_eq!(responder.line(), "ready");
        let arguments = ["--count", "11", "--interval", "0.1", "--wait", "2", "--max-loss", allowed];
        let ended = ping(group, &arguments).expect(code);
        let lost: Vec<_> = ended.lines.iter().filter_map(|line| line.strip_suffix(" LOST")).collect();
        let lost: Vec<_> = lost.iter().map(|line| line.splitn(3, ' ').last().unwrap()).collect();
        assert_eq!(lost, ["unicast 3", "multicast 3", "unicast 4", "multicast 5", "multicast 6"], "{ended:?}");
        line(
            &ended,
            &["total", " unicast asked 9, answered 7, lost 2 (22.223 %), duplicates 1, late 0, round trip min/avg/max "],
        );
        line(&ended, &["total", " multicast asked 9, answered 6, lost 3 (33.334 %), duplicates 1, late 0, "]);
        line(&ended, &["total", " lost questions 1, answers by unicast 1, answers by multicast 2, unknown 0"]);
        // Eight were answered, and four strange packets came with each.
        assert!(ended.errors.contains("asked 11, responders 1, not sent 0, others 32, beyond 0"), "{ended:?}");
        assert_eq!(
            ended.errors.contains(" multicast: lost 3 of 9 (33.334 %): --max-loss allows 33 %"),
            code == 4,
            "{ended:?}"
        );
    }
}

#[test]
fn answers_that_come_too_late_are_lost_and_told_apart() {
    let group = unique_group();
    let program = r#"
source = member()
print("ready")
while True:
    bytes, asker = source.recvfrom(1500)
    kind, ping, number, pong, none = read(bytes)
    if kind == 0:
        sink.sendto(answer(1, ping, number, 99, number + 1), asker)
        time.sleep(0.6 if number == 1 else 0)
        sink.sendto(answer(2, ping, number, 99, number + 1), group)
"#;
    let mut responder = peer(program, group);
    assert_eq!(responder.line(), "ready");
    let ended = ping(group, &["--count", "4", "--interval", "1", "--wait", "0.3", "--json"]).expect(0);
    let late = line(&ended, &["\"kind\":\"lost\""]);
    assert!(late.contains("\"way\":\"multicast\",\"number\":1"), "{ended:?}");
    let sum = line(&ended, &["\"kind\":\"responder\""]);
    assert!(sum.contains("\"multicast\":{\"questions\":4,\"answers\":3,\"unanswered_questions\":1,\"duplicate_answers\":0,\"late_answers\":1,"), "{ended:?}");
    assert!(sum.contains("\"lost_multicast_answers\":0"), "{ended:?}");
}

#[test]
fn python_gets_answers_as_documented_and_no_more_bytes_than_it_sent() {
    let group = unique_group();
    let pong = pong(group, &[]);
    let program = r#"
listener = member()
listener.settimeout(1)
def answers(socket):
    found = []
    try:
        while True:
            bytes = socket.recv(1500)
            if read(bytes)[0] in (1, 2):
                found.append(bytes)
    except TimeoutError:
        return found
sink.sendto(question(5, 0), group)
sink.sendto(question(5, 2) + b"more", group)
sink.sendto(question(5, 2), group)
by_unicast, by_multicast = answers(sink), answers(listener)
assert [read(a)[:3] for a in by_unicast] == [(1, 5, 0), (1, 5, 2)], by_unicast
assert [read(a)[:3] for a in by_multicast] == [(2, 5, 0), (2, 5, 2)], by_multicast
assert [read(a)[4] for a in by_unicast + by_multicast] == [1, 2, 1, 2]
assert len({read(a)[3] for a in by_unicast + by_multicast}) == 1
assert {len(a) for a in by_unicast + by_multicast} == {40}
# Too short, strange, answers, one from port 0.
for bytes in question(6, 0, 79), b"", b"mcpg" * 20, answer(1, 6, 0, 1, 1), answer(2, 6, 0, 1, 1).ljust(80, b"\0"):
    sink.sendto(bytes, group)
assert answers(sink) == [] and len(answers(listener)) == 2
# A flood.
for number in range(1000):
    sink.sendto(question(7, number), group)
    time.sleep(0.001)
flood = len(answers(sink))
assert 50 <= flood <= 500, flood
print("as documented")
"#;
    let mut python = peer(program, group);
    assert_eq!(python.line(), "as documented");
    pong.signal("TERM");
    let ended = pong.end().expect(143).saying("duplicates 1, ").saying("others 3").saying("refused 0");
    let limited = ended.errors.split_once("limited ").unwrap().1.split_once(',').unwrap().0.parse::<u64>().unwrap();
    assert!(limited >= 500, "{ended:?}");
}

#[test]
fn nobody_who_answers_or_asks_has_a_status_of_its_own() {
    let group = unique_group();
    // Also one that is named twice.
    let ended = ping(group, &["--to", &group.to_string(), "--count", "2", "--interval", "0.1", "--wait", "0.2"]).expect(3);
    assert!(ended.lines.is_empty(), "{ended:?}");
    ended.saying("nothing was answered");
    run(&mut command(arguments("pong", group, &["--timeout", "0.2"]))).expect(3).saying("nothing was heard");
    let pong = pong(group, &["--limit", "3", "--timeout", "20"]);
    ping(group, &["--limit", "4", "--interval", "0.1", "--timeout", "20"]).expect(0);
    ping(group, &["--limit", "400", "--interval", "0.1", "--timeout", "1"]).expect(4).saying("of 400 packets came");
    pong.end().expect(0);
}

#[test]
fn a_ping_that_is_stopped_tells_what_it_has_counted() {
    let group = unique_group();
    let _pong = pong(group, &["--quiet"]);
    let ping = Running::start(&mut command(arguments("ping", group, &["--interval", "0.1"])));
    for _ in 0..4 {
        assert!(ping.line().ends_with(" ms"));
    }
    ping.signal("INT");
    let ended = ping.end().expect(130).saying("responders 1, ");
    line(&ended, &["total ", " multicast asked "]);
}

#[test]
fn wrong_usage_is_explained() {
    for (arguments, words) in [
        (&["ping", "--interval", "0.01"][..], "--interval: give 0.02 seconds or more"),
        (&["ping", "--wait", "0"], "--wait: give more than 0 seconds, and no more than 60"),
        (&["ping", "--max-loss", "many"], "--max-loss many: give percent, 0 to 100"),
        (&["ping", "--from", "239.1.2.3"], "no such option here: --from: write --to GROUP:PORT"),
        (&["pong", "--to", "239.1.2.3"], "no such option here: --to: write --from GROUP:PORT"),
        (&["pong", "239.1.2.3:5000"], "unexpected argument: 239.1.2.3:5000: write --from before it"),
        (&["ping", "--to", "10.0.0.1@239.1.2.3", "--to", "10.0.0.2@239.1.2.3"], "is named with two sources: choose"),
        (&["ping", "--to", "10.0.0.1:5000"], "10.0.0.1 is not a multicast address"),
    ] {
        run(&mut command(arguments.iter().copied())).expect(2).saying(words);
    }
}
