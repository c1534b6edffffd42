//! Targets, sources and formats of `mcast listen` and `mcast send`, on `lo`.

use std::process::Command;
use std::time::Duration;

use crate::common::{QUIET, assert_quiet, expect_packet, on_lo, send_all, unique_group};
use crate::mcast::json::parsed;
use crate::mcast::{listen, listen_arguments, mcast as command};
use crate::programs::{Running, payload_of, run, wait_for_member};
use multicast::{Group, ListenOptions, Listener};

fn listener(group: Group) -> Listener<1500> {
    ListenOptions::new().bind(on_lo(group)).unwrap()
}

/// Groups with consecutive addresses, and how the range is written with `+`. The first one is a multiple of four.
fn range() -> ([Group; 4], String) {
    let group = unique_group();
    let std::net::IpAddr::V4(address) = group.address() else { panic!("{group}") };
    let first = address.to_bits() & !3;
    let groups = std::array::from_fn(|number| {
        Group::new(std::net::Ipv4Addr::from_bits(first + number as u32), group.port()).unwrap()
    });
    (groups, format!("{}+4:{}", groups[0].address(), group.port()))
}

fn listening_to(targets: &[&str], arguments: &[&str]) -> Command {
    let mut program = command(["listen", "--interface", "lo"]);
    for target in targets {
        program.args(["--from", target]);
    }
    program.args(arguments);
    program
}

/// Sends from this address of `lo`.
fn send_from(source: &str, group: Group, text: &str) {
    run(&mut command(["send", "--interface", "lo", "--to", &format!("{source}@{group}"), text])).expect(0).quietly();
}

#[test]
fn several_targets_are_heard_and_sent_to() {
    let groups = [unique_group(), unique_group(), unique_group()];
    let names = groups.map(|group| group.to_string());
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let heard = Running::start(&mut listening_to(&names, &["--limit", "3", "--metadata"]));
    wait_for_member(groups[2]);
    let mut program = command(["send", "--interface", "lo"]);
    for name in &names {
        program.args(["--to", name]);
    }
    run(program.arg("to all")).expect(0).quietly();
    let mut lines = heard.end().expect(0).counting().lines;
    lines.sort_by_key(|line| names.iter().position(|name| line.contains(&format!(" {name} "))));
    for (line, name) in lines.iter().zip(&names) {
        assert!(line.contains(&format!(" lo {name} ttl 1 6 bytes 127.0.0.1:")) && line.ends_with(" to all"), "{line}");
    }
}

#[test]
fn ranges_are_all_of_their_groups() {
    let (groups, plus) = range();
    let prefix = plus.replace("+4", "/30");
    for target in [&plus, &prefix] {
        let heard = Running::start(&mut listening_to(&[target], &["--limit", "4"]));
        for group in groups {
            wait_for_member(group);
        }
        let outside = Group::new(
            std::net::Ipv4Addr::from_bits(
                u32::from_be_bytes(match groups[3].address() {
                    std::net::IpAddr::V4(last) => last.octets(),
                    std::net::IpAddr::V6(last) => panic!("{last}"),
                }) + 1,
            ),
            groups[3].port(),
        );
        send_all(outside.unwrap(), ["outside"]);
        for (number, group) in groups.into_iter().enumerate() {
            send_all(group, [format!("{number}")]);
        }
        let mut payloads: Vec<_> = heard.end().expect(0).lines.iter().map(|line| payload_of(line).to_owned()).collect();
        payloads.sort();
        assert_eq!(payloads, ["0", "1", "2", "3"], "{target}");
    }
    let mut listeners = groups.map(listener);
    for target in [&plus, &prefix] {
        run(&mut command(["send", "--interface", "lo", "--to", target, target])).expect(0).quietly();
        for listener in &mut listeners {
            assert_eq!(expect_packet(listener), target.as_bytes());
        }
    }
}

#[test]
fn only_the_named_sources_are_heard() {
    let group = unique_group();
    for sources in [&["127.0.0.2"][..], &["127.0.0.2", "127.0.0.3"]] {
        let targets: Vec<_> = sources.iter().map(|source| format!("{source}@{group}")).collect();
        let targets: Vec<_> = targets.iter().map(String::as_str).collect();
        let heard = Running::start(&mut listening_to(&targets, &[]));
        wait_for_member(group);
        for source in ["127.0.0.1", "127.0.0.2", "127.0.0.3", "127.0.0.4"] {
            send_from(source, group, source);
        }
        for source in sources {
            let line = heard.line();
            assert!(line.starts_with(&format!("{source}:")) && line.ends_with(&format!(" {source}")), "{line}");
        }
        assert_eq!(heard.line_within(QUIET), None);
    }
    let mixed = [format!("127.0.0.2@{group}"), group.to_string()];
    run(&mut listening_to(&[&mixed[0], &mixed[1]], &[])).expect(2).saying("with a source and without one");
}

#[test]
fn blocked_sources_are_not_heard() {
    let group = unique_group();
    let heard = listen(group, &["--block", "127.0.0.2", "--block", "127.0.0.3"]);
    for source in ["127.0.0.2", "127.0.0.3", "127.0.0.4"] {
        send_from(source, group, source);
    }
    assert_eq!(heard.payload(), "127.0.0.4");
    assert_eq!(heard.line_within(QUIET), None);
    run(&mut command(listen_arguments(group, &["--block", "nobody"]))).expect(2).saying("--block");
}

#[test]
fn formats_print_each_byte_and_mark_what_was_cut() {
    let group = unique_group();
    let with = |arguments: &[&str]| {
        let heard = listen(group, &[&["--limit", "2", "--mtu", "4"], arguments].concat());
        send_all(group, [&b"\\\x00\xc3\xa9"[..], b"12345\n"]);
        heard.end().expect(0)
    };
    let payloads = |arguments: &[&str]| -> Vec<String> {
        with(arguments).lines.iter().map(|line| payload_of(line).to_owned()).collect()
    };
    assert_eq!(payloads(&[]), [r"\\\x00\xc3\xa9", r"1234\+2"]);
    assert_eq!(payloads(&["--format", "text"]), [r"\\\x00\xc3\xa9", r"1234\+2"]);
    assert_eq!(payloads(&["--format", "hex"]), ["5c00c3a9", r"31323334\+2"]);
    assert_eq!(with(&["--format", "raw"]).lines, ["\\\0é1234"]);
    for arguments in [&["--json"][..], &["--format", "json"], &["--format", "json", "--json"]] {
        let lines = with(arguments).lines;
        let cut = "o['size_bytes'], o['missing_bytes'], o['payload_hex'], o['payload_text']";
        assert_eq!(parsed(&lines[..2], cut), ["(4, 0, '5c00c3a9', '\\\\\\x00é')", "(6, 2, '31323334', '1234')"]);
        let total = "o['kind'], o['received_packets'], o['truncated_packets']";
        assert_eq!(parsed(&lines[2..], total), ["('total', 2, 1)"]);
    }
    run(&mut command(listen_arguments(group, &["--format", "loud"]))).expect(2).saying("give text, hex, raw or json");
}

#[test]
fn the_schema_of_json_is_as_documented() {
    let group = unique_group();
    let heard = listen(group, &["--limit", "2", "--json"]);
    let before = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos();
    send_all(group, [&b"text"[..], b"\xff\xfe"]);
    let lines = heard.end().expect(0).counting().lines;
    let types = "', '.join(f'{key} {type(value).__name__}' for key, value in sorted(o.items()))";
    let packet = "group str, interface str, kind str, missing_bytes int, payload_hex str, payload_text str, size_bytes int, \
                  source str, time_ns int, ttl int, version int";
    assert_eq!(
        parsed(&lines, types),
        [
            packet,
            &packet.replace("payload_text str", "payload_text NoneType"),
            "dropped_packets int, foreign_packets int, kind str, received_packets int, rejected_packets int, \
             truncated_packets int, version int",
        ]
    );
    let values = "o['version'], o['kind'], o['interface'], o['group'], o['ttl']";
    assert_eq!(parsed(&lines[..1], values), [format!("(2, 'packet', 'lo', '{group}', 1)")]);
    assert_eq!(parsed(&lines[..1], &format!("0 <= o['time_ns'] - {before} < 20_000_000_000")), ["True"]);

    let group = unique_group();
    let mut listener = listener(group);
    let arguments = ["send", "--interface", "lo", "--to", &group.to_string(), "--json", "--count", "3", "text"];
    let sent = run(&mut command(arguments)).expect(0).quietly().lines;
    let all = "sorted(o.items())";
    assert_eq!(
        parsed(&sent, all),
        ["[('kind', 'total'), ('left_out_packets', 0), ('sent_bytes', 12), ('sent_packets', 3), ('version', 2)]"]
    );
    for _ in 0..3 {
        expect_packet(&mut listener);
    }
}

#[test]
fn with_metadata_each_line_says_when_and_where() {
    let group = unique_group();
    let heard = listen(group, &["--metadata", "--limit", "1", "--format", "hex"]);
    send_all(group, ["text"]);
    let line = heard.end().expect(0).lines.remove(0);
    let words: Vec<_> = line.split(' ').collect();
    let [time, "lo", destination, "ttl", "1", "4", "bytes", source, "74657874"] = words[..] else { panic!("{line}") };
    assert_eq!(destination, group.to_string());
    assert!(source.starts_with("127.0.0.1:"), "{line}");
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let (seconds, nanoseconds) = time.split_once('.').unwrap();
    assert!((now - 20..=now).contains(&seconds.parse().unwrap()) && nanoseconds.len() == 9, "{line}");
}

#[test]
fn quiet_commands_print_nothing_but_errors() {
    let group = unique_group();
    let heard = listen(group, &["--quiet", "--limit", "1"]);
    send_all(group, ["text"]);
    assert_eq!(heard.payload(), "text");
    heard.end().expect(0).quietly();
    let ended = run(&mut command(listen_arguments(group, &["--quiet", "--timeout", "0.2"]))).expect(3);
    assert_eq!(ended.errors, "mcast: the time is up, and nothing was heard\n");
    let arguments = ["send", "--interface", "lo", "--to", &group.to_string()];
    let more = ["--quiet", "--rate", "10", "--count", "100", "--timeout", "0.5", "text"];
    run(&mut command(arguments.into_iter().chain(more))).expect(0).quietly();
    run(&mut command(["listen", "--quiet", "--interface", "nosuch0"])).expect(1).saying("no such interface");
}

#[test]
fn the_status_says_whether_enough_was_heard() {
    let group = unique_group();
    let with = |arguments: &[&str]| {
        let heard = listen(group, arguments);
        send_all(group, ["one", "two"]);
        heard.end()
    };
    with(&["--timeout", "0.5"]).expect(0).counting();
    with(&["--timeout", "8", "--limit", "2"]).expect(0).counting();
    with(&["--timeout", "0.5", "--limit", "3"]).expect(4).saying("the time is up: 2 of 3 packets came");
    with(&["--timeout", "0.5", "--filter", "three"]).expect(3).saying("nothing was heard");
}

#[test]
fn an_interface_that_is_named_twice_is_one() {
    let group = unique_group();
    let heard = listen(group, &["--interface", "lo", "--limit", "1", "--timeout", "8"]);
    send_all(group, ["once"]);
    assert_eq!(heard.end().expect(0).lines.len(), 1);
    let mut listener = listener(group);
    let arguments = ["send", "--interface", "lo", "--interface", "lo", "--to", &group.to_string(), "once"];
    run(&mut command(arguments)).expect(0);
    assert_eq!(expect_packet(&mut listener), b"once");
    assert_quiet(&mut listener);
}

#[test]
fn a_target_that_is_named_twice_is_one() {
    let group = unique_group();
    let name = group.to_string();
    let heard = Running::start(&mut listening_to(&[&name, &name], &[]));
    wait_for_member(group);
    send_all(group, ["once"]);
    assert_eq!(heard.payload(), "once");
    assert_eq!(heard.line_within(QUIET), None);
    let mut listener = listener(group);
    run(&mut command(["send", "--interface", "lo", "--to", &name, "--to", &name, "once"])).expect(0).quietly();
    assert_eq!(expect_packet(&mut listener), b"once");
    assert_eq!(crate::common::next_within(&mut listener, Duration::from_millis(200)), None);
}
