//! `mcast record`, with our own packets on `lo`. What it wrote is read by tshark.

use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use crate::common::{PATIENCE, is_installed, send_all, send_on_lo, send_with, unique_group, unique_v6_group};
use crate::mcast::captures::{TemporaryFile, fields, fields_before_the_cut};
use crate::mcast::{mcast as command, shell};
use crate::programs::{Running, run, wait_for_member};
use multicast::{Group, Ttl};

const RECORDED: &str = "recorded ";

fn arguments(groups: &[Group], more: &[&str]) -> Vec<String> {
    let mut arguments = vec!["record".to_owned(), "--interface".to_owned(), "lo".to_owned()];
    arguments.extend(groups.iter().flat_map(|group| ["--from".to_owned(), group.to_string()]));
    arguments.extend(more.iter().map(|argument| (*argument).to_owned()));
    arguments
}

fn record(groups: &[Group], more: &[&str]) -> Running {
    let running = Running::start(&mut command(arguments(groups, more)));
    groups.iter().for_each(|group| wait_for_member(*group));
    running
}

/// Waits until the file has this many packets.
fn wait_for_packets(file: &TemporaryFile, packets: usize) {
    let end = std::time::Instant::now() + PATIENCE;
    while !file.path().exists() || fields_before_the_cut(file.path(), "frame.number").len() < packets {
        assert!(std::time::Instant::now() < end, "{packets} packets are not in the file");
        thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn tshark_reads_each_packet_with_its_headers() {
    if !is_installed("tshark") {
        return;
    }
    let (v4, v6) = (unique_group(), unique_v6_group(5));
    let file = TemporaryFile::named("headers.pcapng");
    let recorder = record(&[v4, v6], &["--limit", "4", file.text()]);
    let options = send_on_lo().ttl(Ttl::REGION).traffic_class(0xb8).source_port(12_345);
    send_with(options, v4, ["one", ""]);
    send_with(options, v6, ["six"]);
    send_all(v4, [[0xa5_u8; 65_507]]);
    recorder.end().expect(0).saying("recorded 4 packets, ").saying("; dropped 0");

    let names = "frame.interface_name ip.src ip.ttl ip.dsfield ip.checksum.status ipv6.hlim ipv6.tclass udp.srcport udp.checksum.status";
    let seen = fields(file.path(), names);
    let of_v4 = ["lo", "127.0.0.1", "64", "0xb8", "1", "", "", "12345", "1"];
    assert_eq!(seen.len(), 4, "{seen:?}");
    assert_eq!(seen[0], of_v4);
    assert_eq!(seen[1], of_v4);
    assert_eq!(seen[2], ["lo", "", "", "", "", "64", "0x000000b8", "12345", "1"]);
    assert_eq!(seen[3][..5], ["lo", "127.0.0.1", "1", "0x00", "1"]);

    let seen = fields(file.path(), "ip.dst ipv6.dst udp.dstport udp.length udp.payload");
    let (v4_port, v6_port) = (v4.port().to_string(), v6.port().to_string());
    let (v4, v6) = (v4.address().to_string(), v6.address().to_string());
    assert_eq!(seen[0], [&v4, "", &v4_port, "11", "6f6e65"]);
    assert_eq!(seen[1], [&v4, "", &v4_port, "8", ""]);
    assert_eq!(seen[2], ["", &v6, &v6_port, "11", "736978"]);
    assert_eq!(seen[3], [&v4, "", &v4_port, "65515", &"a5".repeat(65_507)]);
}

#[test]
fn what_was_received_is_in_the_file_before_the_program_ends() {
    if !is_installed("tshark") {
        return;
    }
    let group = unique_group();
    let file = TemporaryFile::named("killed.pcapng");
    let recorder = record(&[group], &[file.text()]);
    send_all(group, ["packet"; 100]);
    wait_for_packets(&file, 100);
    recorder.signal("KILL");
    drop(recorder);
    let seen = fields(file.path(), "udp.payload");
    assert_eq!(seen, vec![vec!["7061636b6574".to_owned()]; 100]);
}

#[test]
fn a_signal_ends_it_and_the_file_is_complete() {
    if !is_installed("tshark") {
        return;
    }
    let group = unique_group();
    let file = TemporaryFile::named("ended.pcapng");
    let recorder = record(&[group], &["--json", file.text()]);
    send_all(group, ["1", "22", "333"]);
    wait_for_packets(&file, 3);
    recorder.signal("TERM");
    let ended = recorder.end().expect(143).saying("recorded 3 packets");
    assert!(ended.lines.last().unwrap().contains(r#""kind":"total""#), "{ended:?}");
    assert_eq!(fields(file.path(), "udp.length"), [["9"], ["10"], ["11"]]);
    let output = Command::new("capinfos").arg(file.path()).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    for words in
        ["nanoseconds (9)", "Raw IP", "Name = lo", "mcast ", "Strict time order:   True", "Number of stat entries = 1"]
    {
        assert!(said.contains(words), "{words}: {said}");
    }
}

#[test]
fn packets_of_several_groups_are_in_the_order_of_their_times() {
    if !is_installed("tshark") {
        return;
    }
    let groups: Vec<_> = (0..8).map(|_| unique_group()).collect();
    let file = TemporaryFile::named("order.pcapng");
    let recorder = record(&groups, &["--limit", "160", file.text()]);
    // While it is stopped, packets of all groups are queued.
    recorder.signal("STOP");
    for round in 0..20 {
        groups.iter().for_each(|group| send_all(*group, [format!("{round}")]));
    }
    recorder.signal("CONT");
    recorder.end().expect(0);
    let times: Vec<f64> = fields(file.path(), "frame.time_epoch").iter().map(|fields| fields[0].parse().unwrap()).collect();
    assert_eq!(times.len(), 160);
    // As many as are received in one turn.
    for batch in times.chunks(64) {
        assert!(batch.is_sorted(), "{batch:?}");
    }
}

#[test]
fn json_has_an_object_for_each_group_and_the_totals() {
    let (heard, silent) = (unique_group(), unique_group());
    let file = TemporaryFile::named("json.pcapng");
    let recorder = record(&[heard, silent], &["--json", "--quiet", "--limit", "2", file.text()]);
    send_all(heard, ["1", "22"]);
    let ended = recorder.end().expect(0).quietly();
    let bytes = file.bytes().len();
    assert_eq!(
        ended.lines,
        [
            format!(
                r#"{{"version":2,"kind":"report","group":"{heard}","interface":"lo","recorded_packets":2,"recorded_bytes":3}}"#
            ),
            format!(
                r#"{{"version":2,"kind":"total","file":"{}","recorded_packets":2,"recorded_bytes":3,"file_bytes":{bytes},"dropped_packets":0,"foreign_packets":0}}"#,
                file.text()
            ),
        ]
    );
}

#[test]
fn standard_output_is_a_recording_that_another_program_reads_at_once() {
    if !is_installed("tshark") {
        return;
    }
    let group = unique_group();
    let script = "\"$0\" record --interface lo --from \"$1\" - | tshark -n -l -T fields -e udp.payload -r - 2>/dev/null";
    let pipeline = Running::start(&mut shell(script, &[&group.to_string()]));
    wait_for_member(group);
    send_all(group, ["one"]);
    assert_eq!(pipeline.line(), "6f6e65");
    send_all(group, ["two"]);
    assert_eq!(pipeline.line(), "74776f");
}

#[test]
fn a_terminal_shows_progress_once_a_second_also_while_nothing_comes() {
    let group = unique_group();
    let file = TemporaryFile::named("progress.pcapng");
    let script = "script -qec \"exec $0 record --interface lo --from $1 --timeout 2.5 $2\" /dev/null";
    let ended = run(&mut shell(script, &[&group.to_string(), file.text()])).expect(3);
    let shown = ended.lines.concat();
    assert!((1..=2).contains(&shown.matches("recorded 0 packets, 0/s").count()), "{ended:?}");
}

#[test]
fn a_reader_that_goes_ends_it() {
    let group = unique_group();
    let (recorder, output) = Running::start_unread(command(arguments(&[group], &["-"])).stdin(Stdio::null()));
    wait_for_member(group);
    drop(output);
    recorder.end().expect(141).quietly();
}

#[test]
fn a_signal_ends_it_if_nobody_reads() {
    let group = unique_group();
    let (recorder, _unread) = Running::start_unread(command(arguments(&[group], &["-"])).stdin(Stdio::null()));
    wait_for_member(group);
    send_all(group, std::iter::repeat_n([7_u8; 9000], 40));
    thread::sleep(Duration::from_millis(300));
    recorder.signal("TERM");
    recorder.end().expect(143).saying(RECORDED);
}

#[test]
fn a_file_needs_no_standard_output_and_no_file_needs_one() {
    let group = unique_group();
    let file = TemporaryFile::named("closed.pcapng");
    let script = "exec \"$0\" record --interface lo --from \"$1\" --timeout 0.2 \"$2\" >&-";
    run(&mut shell(script, &[&group.to_string(), file.text()])).expect(3).saying("recorded 0 packets");
    assert!(file.path().exists());
    run(&mut shell(script, &[&group.to_string(), "-"])).expect(1).saying("standard output is closed");
    // A terminal would show control characters.
    let script = "script -qec \"exec $0 record --interface lo --from $1 -\" /dev/null";
    let ended = run(&mut shell(script, &[&group.to_string()])).expect(2);
    assert!(ended.lines.concat().contains("a terminal cannot show a recording"), "{ended:?}");
}

#[test]
fn a_file_that_exists_is_overwritten_only_if_the_user_says_so() {
    if !is_installed("tshark") {
        return;
    }
    let group = unique_group();
    let file = TemporaryFile::with("precious.pcapng", b"precious");
    run(&mut command(arguments(&[group], &[file.text()]))).expect(1).saying("it exists: give another name, or --overwrite");
    assert_eq!(file.bytes(), b"precious");
    let ended = run(&mut command(arguments(&[group], &["--overwrite", "--timeout", "0.2", file.text()])));
    ended.expect(3).saying("recorded 0 packets").saying("nothing was heard");
    assert_eq!(fields(file.path(), "frame.number"), Vec::<Vec<String>>::new());
}

#[test]
fn a_mistake_leaves_no_file() {
    let file = TemporaryFile::named("none.pcapng");
    run(&mut command(["record", "--interface", "nosuch0", file.text()])).expect(1).saying("no such interface");
    run(&mut command(["record", "--json", "-"])).expect(2).saying("--json needs a FILE");
    run(&mut command(["record"])).expect(2).saying("name a FILE to record into");
    run(&mut command(["record", file.text(), "more"])).expect(2).saying("unexpected argument: more");
    assert!(!file.path().exists());
    run(&mut command(["record", "--interface", "lo", "/nowhere/at/all"]))
        .expect(1)
        .saying("create /nowhere/at/all: No such file");
}

#[test]
fn the_end_of_the_time_is_a_failure_only_if_too_little_was_heard() {
    if !is_installed("tshark") {
        return;
    }
    let group = unique_group();
    for (more, code) in [(&["--timeout", "1.5"][..], 0), (&["--timeout", "1.5", "--limit", "9"], 4)] {
        let file = TemporaryFile::named("time.pcapng");
        let recorder = record(&[group], &[more, &[file.text()]].concat());
        send_all(group, ["one"]);
        recorder.end().expect(code).saying("recorded 1 packets");
        assert_eq!(fields(file.path(), "udp.payload"), [["6f6e65"]]);
    }
}

#[test]
fn a_full_disk_is_an_error_that_says_how_much_is_kept() {
    if !is_installed("tshark") {
        return;
    }
    run(&mut command(["record", "--interface", "lo", "/dev/full"]))
        .expect(1)
        .saying("No space left on device")
        .saying("0 packets");

    // A limit of 20 blocks of 512 bytes stands for the disk. Without the trap, a signal would say it.
    let group = unique_group();
    let file = TemporaryFile::named("full.pcapng");
    let script = "trap '' XFSZ; ulimit -f 20; exec \"$0\" record --interface lo --from \"$1\" \"$2\"";
    let recorder = Running::start(&mut shell(script, &[&group.to_string(), file.text()]));
    wait_for_member(group);
    send_all(group, std::iter::repeat_n([7_u8; 1000], 30));
    let ended = recorder.end().expect(1).saying("File too large");
    // What is there has no half packet at its end.
    let packets = fields(file.path(), "frame.number").len();
    assert!((1..10).contains(&packets), "{packets}");
    let kept = format!("{packets} packets ({} bytes) are kept in it", file.bytes().len());
    assert!(ended.errors.contains(&kept), "{kept}: {ended:?}");
}
