//! `mcast replay`, on `lo`: of our own recordings, and of captures that Wireshark's programs wrote.

use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use crate::common::{QUIET, assert_quiet, expect_packet, is_installed, on_lo, unique_group, unique_v6_group};
use crate::mcast::captures::{TemporaryDirectory, TemporaryFile, converted, of_packets};
use crate::mcast::{example, listen, mcast as command, shell};
use crate::programs::{Running, payload_of, run, wait_for_member};
use multicast::{Events, Group, Interest, ListenOptions, Listener, Poller, Received, Token};

/// The payloads that come, and when the kernel received them. It ends when there are so many.
fn arrivals(listener: &mut Listener<2000>, count: usize) -> Vec<(Vec<u8>, Duration)> {
    let (poller, mut events) = (Poller::new().unwrap(), Events::<1>::new());
    poller.register(&*listener, Token(0), Interest::READABLE).unwrap();
    let mut arrived = Vec::new();
    while arrived.len() < count {
        match listener.recv().unwrap() {
            Received::Packet(packet) => {
                arrived.push((packet.payload().to_vec(), packet.metadata().unwrap().received_at().unwrap()));
            }
            Received::Paused => {}
            Received::Empty => {
                assert!(poller.poll(&mut events, crate::common::PATIENCE).unwrap().count() > 0, "{arrived:?}");
            }
        }
    }
    arrived
}

fn listener(group: Group) -> Listener<2000> {
    ListenOptions::new().metadata().bind(on_lo(group)).unwrap()
}

/// A capture of packets to the group, these milliseconds after the first one.
fn capture(group: Group, packets: &[(u64, &str)]) -> TemporaryFile {
    of_packets("capture.pcapng", packets.iter().map(|(time, payload)| (*time, group.into(), payload.as_bytes())))
}

fn replay(file: &TemporaryFile, more: &[&str]) -> Command {
    let mut replay = command(["replay", "--interface", "lo"]);
    replay.args(more).arg(file.path());
    replay
}

/// The gaps in milliseconds.
fn gaps(arrived: &[(Vec<u8>, Duration)]) -> Vec<f64> {
    arrived.windows(2).map(|pair| (pair[1].1.as_secs_f64() - pair[0].1.as_secs_f64()) * 1e3).collect()
}

/// The one in the middle: a busy machine delays single packets by a lot.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

#[test]
fn the_examples_of_record_and_replay_work_one_after_the_other() {
    let directory = TemporaryDirectory::new();
    let recorded = run(shell(&example("record"), &[]).current_dir(&directory.0)).expect(0);
    assert!(recorded.errors.contains("recorded 3 packets"), "{recorded:?}");
    let replayed = run(shell(&example("replay"), &[]).current_dir(&directory.0)).expect(0).saying("sent 3 packets");
    assert!(replayed.lines[0].starts_with("239.1.2.3:5000 3 packets"), "{replayed:?}");
}

#[test]
fn recording_relaying_and_replaying_need_no_privilege() {
    let (from, to) = (unique_group(), unique_group());
    let file = TemporaryFile::named("nobody.pcapng");
    // A copy, since the folder of the program may be private. The file is opened by the shell, which may write there.
    let script = r#"
        copy=$(mktemp -d); trap 'rm -r "$copy"' EXIT; chmod 755 "$copy"; cp "$0" "$copy/mcast"
        nobody() { setpriv --reuid 65534 --clear-groups --inh-caps=-all --bounding-set=-all -- "$copy/mcast" "$@"; }
        nobody relay --from "$1%lo" --to "$2%lo" --limit 2 --timeout 20 & relay=$!
        nobody record --from "$2%lo" --limit 2 --timeout 20 - >"$3" & record=$!
        wait $relay && wait $record && nobody replay --to "$1%lo" - <"$3"
    "#;
    let running = Running::start(&mut shell(script, &[&from.to_string(), &to.to_string(), file.text()]));
    wait_for_member(from);
    wait_for_member(to);
    crate::common::send_with(crate::common::send_on_lo().ttl(multicast::Ttl::new(3)), from, ["one", "two"]);
    let ended = running.end().expect(0);
    for words in ["relayed 2 of 2 packets", "recorded 2 packets", "sent 2 packets"] {
        assert!(ended.errors.contains(words), "{words}: {ended:?}");
    }
}

#[test]
fn a_recording_is_replayed_with_the_same_bytes_and_gaps() {
    if !is_installed("tshark") {
        return;
    }
    let group = unique_group();
    let (first, second) = (TemporaryFile::named("first.pcapng"), TemporaryFile::named("second.pcapng"));
    let record = |file: &TemporaryFile| {
        let from = group.to_string();
        let running =
            Running::start(&mut command(["record", "--interface", "lo", "--from", &from, "--limit", "41", file.text()]));
        wait_for_member(group);
        running
    };
    let recorder = record(&first);
    let all_bytes: Vec<u8> = (0..=255).collect();
    crate::common::send_all(group, [&all_bytes]);
    for number in 0..40 {
        thread::sleep(Duration::from_millis(if number % 4 == 0 { 40 } else { 10 }));
        crate::common::send_all(group, [format!("packet {number}")]);
    }
    recorder.end().expect(0);
    let recorder = record(&second);
    run(&mut replay(&first, &[])).expect(0).saying("sent 41 packets, 606 bytes; at most ");
    recorder.end().expect(0);

    let read = |file: &TemporaryFile| {
        let fields = crate::mcast::captures::fields(file.path(), "udp.payload frame.time_relative");
        fields.into_iter().map(|fields| (fields[0].clone(), fields[1].parse::<f64>().unwrap())).collect::<Vec<_>>()
    };
    let (first, second) = (read(&first), read(&second));
    let payloads = |packets: &[(String, f64)]| packets.iter().map(|(payload, _)| payload.clone()).collect::<Vec<_>>();
    assert_eq!(payloads(&first), payloads(&second));
    let differences = first.iter().zip(&second).map(|((_, first), (_, second))| (first - second).abs() * 1e3).collect();
    // 200 microseconds at most on a machine that has nothing else to do; the whole takes 700 ms.
    let difference = median(differences);
    assert!(difference < 10.0, "{difference} ms");
}

#[test]
fn speed_divides_the_gaps() {
    let group = unique_group();
    let mut listener = listener(group);
    let file = capture(group, &[(0, "a"), (200, "b"), (400, "c"), (600, "d")]);
    for (speed, expected) in [("1", 200.0), ("4", 50.0), ("0.5", 400.0)] {
        let running = Running::start(&mut replay(&file, &["--speed", speed]));
        let arrived = arrivals(&mut listener, 4);
        running.end().expect(0);
        let gap = median(gaps(&arrived));
        assert!((gap - expected).abs() < expected / 2.0, "--speed {speed}: {gap} ms");
    }
}

#[test]
fn rounds_follow_after_the_average_gap() {
    let group = unique_group();
    let mut listener = listener(group);
    let file = capture(group, &[(0, "a"), (100, "b"), (200, "c")]);
    let running = Running::start(&mut replay(&file, &["--loop", "3"]));
    let arrived = arrivals(&mut listener, 9);
    let payloads: Vec<_> = arrived.iter().map(|(payload, _)| payload[0]).collect();
    assert_eq!(payloads, b"abcabcabc");
    let gap = median(gaps(&arrived));
    assert!((50.0..150.0).contains(&gap), "{gap} ms");
    running.end().expect(0).saying("sent 9 packets");
    assert_quiet(&mut listener);

    let forever = Running::start(&mut replay(&file, &["--loop", "forever", "--speed", "100"]));
    arrivals(&mut listener, 30);
    forever.signal("TERM");
    forever.end().expect(143).saying("sent ");
    run(&mut replay(&file, &["--loop", "forever", "--speed", "100", "--limit", "7"])).expect(0).saying("sent 7 packets");
}

#[test]
fn a_signal_or_the_time_ends_it_between_two_packets() {
    let group = unique_group();
    let listener = listen(group, &[]);
    let file = capture(group, &[(0, "first"), (3_600_000, "in an hour")]);
    let running = Running::start(&mut replay(&file, &[]));
    assert_eq!(listener.payload(), "first");
    running.signal("INT");
    running.end().expect(130).saying("sent 1 packets");
    let ended = run(&mut replay(&file, &["--timeout", "0.4"])).expect(0).saying("sent 1 packets");
    assert!(ended.time >= Duration::from_millis(400));
}

#[test]
fn packets_go_to_the_groups_of_the_capture_or_to_another_one() {
    let (one, six, other) = (unique_group(), unique_v6_group(5), unique_group());
    let mut listeners = [one, six, other].map(listener);
    let packets = [(0, one.into(), &b"one"[..]), (1, six.into(), b"six"), (2, "10.0.0.1:5000".parse().unwrap(), b"unicast")];
    let file = of_packets("groups.pcapng", packets.into_iter());
    run(&mut replay(&file, &[])).expect(0).saying("sent 2 packets").saying("left out: 1 not to a group");
    assert_eq!(expect_packet(&mut listeners[0]), b"one");
    assert_eq!(expect_packet(&mut listeners[1]), b"six");

    let to = format!("{other}%lo");
    run(command(["replay", "--to", &to]).arg(file.path())).expect(0).saying("sent 2 packets");
    assert_eq!(expect_packet(&mut listeners[2]), b"one");
    assert_eq!(expect_packet(&mut listeners[2]), b"six");
    listeners.iter_mut().for_each(assert_quiet);

    let from = one.address().to_string();
    run(&mut replay(&file, &["--from", &from])).expect(0).saying("sent 1 packets").saying("1 not chosen by --from");
    assert_eq!(expect_packet(&mut listeners[0]), b"one");
    let elsewhere = format!("{from}:1");
    run(&mut replay(&file, &["--from", &elsewhere])).expect(1).saying("no packet that can be sent");
    let from_another = format!("10.9.9.9@{one}");
    run(&mut replay(&file, &["--from", &from_another])).expect(1).saying("2 not chosen by --from");
    listeners.iter_mut().for_each(assert_quiet);
}

#[test]
fn without_an_interface_nothing_is_sent_to_the_groups_of_a_capture() {
    let group = unique_group();
    let mut listener = listener(group);
    let file = capture(group, &[(0, "a"), (1500, "b")]);
    let ended = run(&mut command(["replay", file.text()])).expect(2).saying("--interface IF").saying("replay --list");
    assert!(ended.lines.is_empty());
    let ended = run(&mut command(["replay", "--list", file.text()])).expect(0).quietly();
    assert_eq!(ended.lines, [format!("{group} 2 packets, 2 bytes, 1.500 s")]);
    let ended = run(&mut command(["replay", "--list", "--json", file.text()])).expect(0).quietly();
    let report = format!(
        r#"{{"version":2,"kind":"report","group":"{group}","captured_packets":2,"captured_bytes":2,"duration_us":1500000.0}}"#
    );
    assert_eq!(ended.lines[0], report);
    assert!(ended.lines[1].contains(r#""kind":"total","group_count":1"#), "{ended:?}");
    assert_quiet(&mut listener);
}

#[test]
fn packets_stay_on_the_local_network_whatever_ttl_they_had() {
    let group = unique_group();
    let mut listener = listener(group);
    let file = capture(group, &[(0, "a")]);
    for (more, hops) in [(&[][..], 1), (&["--ttl", "site"], 32)] {
        run(&mut replay(&file, more)).expect(0);
        let (poller, mut events) = (Poller::new().unwrap(), Events::<1>::new());
        poller.register(&listener, Token(0), Interest::READABLE).unwrap();
        assert_eq!(poller.poll(&mut events, crate::common::PATIENCE).unwrap().count(), 1);
        let Received::Packet(packet) = listener.recv().unwrap() else { panic!("no packet") };
        assert_eq!(packet.metadata().unwrap().hop_limit, Some(hops));
    }
}

#[test]
fn every_format_of_wireshark_gives_the_same_packets() {
    if !is_installed("tshark") {
        return;
    }
    let group = unique_group();
    let listener = listen(group, &[]);
    let ours = capture(group, &[(0, "one"), (10, "two"), (20, "three")]);
    for format in ["pcapng", "pcap", "nsecpcap", "modpcap"] {
        let theirs = converted(&ours, format);
        run(&mut replay(&theirs, &[])).expect(0).saying("sent 3 packets");
        for payload in ["one", "two", "three"] {
            assert_eq!(listener.payload(), payload, "{format}");
        }
    }
}

#[test]
fn an_ethernet_capture_of_text2pcap_is_replayed() {
    if !is_installed("tshark") {
        return;
    }
    let group = unique_group();
    let listener = listen(group, &[]);
    let file = TemporaryFile::named("ethernet.pcap");
    let addresses = format!("10.0.0.1,{}", group.address());
    let ports = format!("1000,{}", group.port());
    let script = "printf '0000 61 62 63\\n\\n0000 64 65 66\\n' | text2pcap -q -F pcap -4 \"$1\" -u \"$2\" - \"$3\"";
    run(&mut shell(script, &[&addresses, &ports, file.text()])).expect(0);
    // An Ethernet frame is at least 60 bytes long: what fills it up is no payload.
    assert_eq!(crate::mcast::captures::fields(file.path(), "eth.type frame.len")[0][0], "0x0800");
    run(&mut replay(&file, &[])).expect(0).saying("sent 2 packets, 6 bytes");
    assert_eq!(listener.payload(), "abc");
    assert_eq!(listener.payload(), "def");
}

#[test]
fn a_packet_that_the_capture_cut_is_not_sent() {
    if !is_installed("tshark") {
        return;
    }
    let group = unique_group();
    let mut listener = listener(group);
    let ours = capture(group, &[(0, "a long payload"), (1, "short")]);
    let cut = TemporaryFile::named("cut.pcapng");
    let editcap = Command::new("editcap").args(["-s", "36"]).args([ours.path(), cut.path()]).status().unwrap();
    assert!(editcap.success());
    run(&mut replay(&cut, &[])).expect(0).saying("sent 1 packets, 5 bytes").saying("left out: 1 cut by the capture");
    assert_eq!(expect_packet(&mut listener), b"short");
    assert_quiet(&mut listener);
}

#[test]
fn a_file_that_is_damaged_is_replayed_up_to_the_damage() {
    let group = unique_group();
    let mut listener = listener(group);
    let whole = capture(group, &[(0, "one"), (1, "two")]).bytes();
    let cut = TemporaryFile::with("short.pcapng", &whole[..whole.len() - 1]);
    run(&mut replay(&cut, &[])).expect(1).saying("sent 1 packets").saying("is cut short");
    assert_eq!(expect_packet(&mut listener), b"one");

    let junk = TemporaryFile::with("junk.pcapng", &[&whole[..], &[6, 0, 0, 0, 255, 255, 255, 255, 0, 0, 0, 0]].concat());
    run(&mut replay(&junk, &["--json"])).expect(1).saying("sent 2 packets").saying("a length that no block has");
    let text = TemporaryFile::with("text.pcapng", b"this is a text");
    run(&mut replay(&text, &[])).expect(1).saying("is not a capture: neither pcapng nor pcap");
    let nowhere = TemporaryFile::named("nowhere.pcapng");
    run(&mut replay(&nowhere, &[])).expect(1).saying("No such file");
    run(&mut command(["replay", "--interface", "lo", "/"])).expect(1).saying("Is a directory");
}

#[test]
fn standard_input_is_replayed_while_it_comes() {
    let (from, to) = (unique_group(), unique_group());
    let listener = listen(to, &[]);
    let script = "\"$0\" record --interface lo --from \"$1\" - | exec \"$0\" replay --to \"$2\" --interface lo -";
    let pipeline = Running::start(&mut shell(script, &[&from.to_string(), &to.to_string()]));
    wait_for_member(from);
    crate::common::send_all(from, ["one"]);
    assert_eq!(listener.payload(), "one");
    thread::sleep(QUIET);
    crate::common::send_all(from, ["two"]);
    assert_eq!(listener.payload(), "two");
    drop(pipeline);
}

#[test]
fn standard_input_cannot_be_replayed_twice() {
    let group = unique_group();
    let file = capture(group, &[(0, "a")]);
    let script = "\"$0\" replay --interface lo --loop 2 - <\"$1\"";
    run(&mut shell(script, &[file.text()])).expect(0).saying("sent 2 packets");
    let script = "cat \"$1\" | \"$0\" replay --interface lo --loop 2 -";
    run(&mut shell(script, &[file.text()])).expect(1).saying("begin standard input again: Illegal seek");
    run(&mut shell("\"$0\" replay --interface lo - <&-", &[])).expect(1).saying("standard input is closed");
    // A signal ends it while it waits for input.
    let mut waiting = command(["replay", "--interface", "lo", "-"]);
    let waiting = Running::start_reading(waiting.stdin(Stdio::piped()));
    thread::sleep(QUIET);
    waiting.signal("TERM");
    waiting.end().expect(143);
}

#[test]
fn wrong_options_are_usage_errors() {
    let wrong = |arguments: &[&str], reason: &str| {
        run(&mut command(["replay"].iter().chain(arguments))).expect(2).saying(reason).saying("replay --help");
    };
    wrong(&[], "name a FILE to replay");
    wrong(&["--interface", "lo", "a", "b"], "unexpected argument: b");
    for speed in ["0", "-1", "fast", ""] {
        wrong(&["--speed", speed, "a"], &format!("--speed {speed}: give a number, more than 0"));
    }
    for rounds in ["0", "-1", "often", ""] {
        wrong(&["--loop", rounds, "a"], &format!("--loop {rounds}: give a whole number, 1 or more, or forever"));
    }
    wrong(&["--to", "239.1.2.3:5000%lo", "--interface", "lo", "a"], "an interface is named twice");
    wrong(&["--from", "10.0.0.1", "--interface", "lo", "a"], "--from: 10.0.0.1: 10.0.0.1 is not a multicast address");
}

#[test]
fn json_has_the_totals_with_all_that_was_left_out() {
    let group = unique_group();
    let listener = listen(group, &[]);
    let file =
        of_packets("json.pcapng", [(0, group.into(), &b"one"[..]), (1, "10.0.0.1:5".parse().unwrap(), b"")].into_iter());
    let ended = run(&mut replay(&file, &["--json", "--quiet"])).expect(0).quietly();
    let line = ended.lines.concat();
    assert!(
        line.starts_with(r#"{"version":2,"kind":"total","sent_packets":1,"sent_bytes":3,"rounds":1,"lateness_max_us":"#),
        "{line}"
    );
    assert!(line.contains(r#""left_out_packets":1,"left_out":{"fragment_packets":0,"#), "{line}");
    assert!(line.contains(r#""not_to_a_group_packets":1,"#), "{line}");
    assert_eq!(payload_of(&listener.line()), "one");
}
