//! `mcast send`, with our own listeners and with Python's, on `lo`.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::time::{Duration, Instant};

use crate::common::{Python, assert_quiet, expect_packet, on_lo, unique_group};
use crate::mcast::{mcast as command, send, shell};
use crate::programs::{Running, run};
use multicast::{Group, ListenOptions, Listener};

fn group_and_listener() -> (Group, Listener<65_535>) {
    let group = unique_group();
    (group, ListenOptions::new().bind(on_lo(group)).unwrap())
}

#[test]
fn arguments_joined_by_spaces_are_one_packet() {
    let (group, mut listener) = group_and_listener();
    run(&mut send(group, &["four", "words,", "one", "packet"])).expect(0).quietly();
    assert_eq!(expect_packet(&mut listener), b"four words, one packet");
    run(&mut send(group, &["a", "-", "", "b"])).expect(0).quietly();
    assert_eq!(expect_packet(&mut listener), b"a -  b");
    run(&mut send(group, &["--", "--ttl", "-"])).expect(0).quietly();
    assert_eq!(expect_packet(&mut listener), b"--ttl -");
    run(&mut send(group, &[""])).expect(0).quietly();
    assert_eq!(expect_packet(&mut listener), b"");
    run(send(group, &[]).arg(OsStr::from_bytes(b"no UTF-8: \xff"))).expect(0).quietly();
    assert_eq!(expect_packet(&mut listener), b"no UTF-8: \xff");
    assert_quiet(&mut listener);
}

#[test]
fn count_repeats_the_text() {
    let (group, mut listener) = group_and_listener();
    run(&mut send(group, &["--count", "3", "again"])).expect(0).quietly();
    for _ in 0..3 {
        assert_eq!(expect_packet(&mut listener), b"again");
    }
    run(&mut send(group, &["never", "--count", "0"])).expect(0).quietly();
    assert_quiet(&mut listener);
}

#[test]
fn each_line_is_sent_when_it_is_read() {
    let (group, mut listener) = group_and_listener();
    for arguments in [&[][..], &["-"]] {
        let mut sender = Running::start(&mut send(group, arguments));
        sender.say(b"one\n");
        assert_eq!(expect_packet(&mut listener), b"one");
        sender.say(b"two\n");
        assert_eq!(expect_packet(&mut listener), b"two");
        sender.say(b"ha");
        assert_quiet(&mut listener);
        sender.say(b"lf\nthree\nfour\n");
        for line in ["half", "three", "four"] {
            assert_eq!(expect_packet(&mut listener), line.as_bytes());
        }
        drop(sender.input.take());
        sender.end().expect(0).quietly();
        assert_quiet(&mut listener);
    }
}

#[test]
fn lines_are_sent_byte_for_byte() {
    let (group, mut listener) = group_and_listener();
    let all_but_newline: Vec<u8> = (0..=255).filter(|byte| *byte != b'\n').collect();
    let mut sender = Running::start(&mut send(group, &[]));
    sender.say(&all_but_newline);
    sender.say(b"\n\n carriage return\r\n");
    assert_eq!(expect_packet(&mut listener), all_but_newline);
    assert_eq!(expect_packet(&mut listener), b"", "an empty line is an empty packet");
    assert_eq!(expect_packet(&mut listener), b" carriage return\r");
    sender.say(b"no newline at the end");
    assert_quiet(&mut listener);
    drop(sender.input.take());
    assert_eq!(expect_packet(&mut listener), b"no newline at the end");
    sender.end().expect(0).quietly();
    assert_quiet(&mut listener);
}

#[test]
fn lines_can_come_from_a_file() {
    let (group, mut listener) = group_and_listener();
    let path = std::env::temp_dir().join(format!("multicast-{group}"));
    File::create(&path).unwrap().write_all(b"one\n\nthree").unwrap();
    run(&mut shell("exec \"$0\" send --interface lo --to \"$1\" <\"$2\"", &[&group.to_string(), path.to_str().unwrap()]))
        .expect(0)
        .quietly();
    std::fs::remove_file(&path).unwrap();
    for line in ["one", "", "three"] {
        assert_eq!(expect_packet(&mut listener), line.as_bytes());
    }
    assert_quiet(&mut listener);
}

#[test]
fn an_empty_standard_input_sends_nothing_without_an_error() {
    let (group, mut listener) = group_and_listener();
    run(&mut send(group, &[])).expect(0).quietly();
    // For reading, and also for writing, as Python's DEVNULL.
    for null in ["</dev/null", "<>/dev/null"] {
        let script = format!("exec \"$0\" send --interface lo --to \"$1\" {null}");
        run(&mut shell(&script, &[&group.to_string()])).expect(0).quietly();
    }
    assert_quiet(&mut listener);
}

#[test]
fn a_standard_input_that_cannot_be_read_is_an_error_message() {
    let group = unique_group().to_string();
    run(&mut shell("exec \"$0\" send --interface lo --to \"$1\" 0<&-", &[&group]))
        .expect(1)
        .saying("standard input is closed");
    run(&mut shell("exec \"$0\" send --interface lo --to \"$1\" </", &[&group]))
        .expect(1)
        .saying("read standard input: Is a directory");
}

#[test]
fn a_text_too_long_for_udp_is_an_error_with_its_length() {
    let (group, mut listener) = group_and_listener();
    run(&mut send(group, &[&"x".repeat(65_507)])).expect(0).quietly();
    assert_eq!(expect_packet(&mut listener).len(), 65_507);
    run(&mut send(group, &["--count", "3", &"x".repeat(65_508)]))
        .expect(1)
        .saying("send 65508 bytes to")
        .saying("too long for UDP: at most 65507 bytes");
    assert_quiet(&mut listener);
}

#[test]
fn a_line_too_long_for_udp_is_reported_and_the_others_are_sent() {
    let (group, mut listener) = group_and_listener();
    let mut sender = Running::start(&mut send(group, &[]));
    let lines = [7, 65_507, 65_508, 8, 65_536, 65_537, 1_000_000, 9].map(|length| "x".repeat(length));
    sender.say(lines.join("\n").as_bytes());
    drop(sender.input.take());
    let ended = sender.end().expect(1);
    for length in [7, 65_507, 8, 9] {
        assert_eq!(expect_packet(&mut listener).len(), length);
    }
    assert_quiet(&mut listener);
    let said: Vec<_> = ended.errors.lines().collect();
    assert_eq!(said.len(), 5, "{said:?}");
    for (said, (number, length)) in said.iter().zip([(3, 65_508), (5, 65_536), (6, 65_537), (7, 1_000_000)]) {
        assert!(said.starts_with(&format!("mcast: line {number}: send {length} bytes to {group}: too long")), "{said}");
    }
    assert_eq!(said[4], "mcast: 4 lines were not sent");
}

#[test]
fn the_rate_applies_to_texts_and_lines() {
    let (group, mut listener) = group_and_listener();
    let check = |time: Duration| assert!(time >= Duration::from_millis(180) && time < Duration::from_secs(2), "{time:?}");
    check(run(&mut send(group, &["--rate", "20", "--count", "5", "x"])).expect(0).quietly().time);

    let mut sender = Running::start(&mut send(group, &["--rate", "20"]));
    sender.say(b"x\nx\nx\nx\nx\n");
    drop(sender.input.take());
    check(sender.end().expect(0).quietly().time);
    for _ in 0..10 {
        expect_packet(&mut listener);
    }
    assert_quiet(&mut listener);
}

#[test]
fn numbers_with_a_fraction_and_an_exponent_are_exact() {
    let (group, _listener) = group_and_listener();
    // 150 milliseconds between two packets.
    for rate in ["6.6666666666667", "66.666666666667e-1", ".0066666666666667E+3"] {
        let time = run(&mut send(group, &["--rate", rate, "--count", "3", "x"])).expect(0).quietly().time;
        assert!(time >= Duration::from_millis(299) && time < Duration::from_secs(2), "{rate}: {time:?}");
    }
}

#[test]
fn a_high_rate_is_kept_on_average() {
    let (group, _listener) = group_and_listener();
    let started = Instant::now();
    run(&mut send(group, &["--rate", "10000", "--count", "3000", "x"])).expect(0).quietly();
    let time = started.elapsed();
    assert!(time >= Duration::from_millis(280) && time < Duration::from_secs(3), "{time:?}");
}

#[test]
fn signals_end_it_while_it_waits_for_input() {
    for (signal, code) in [("INT", 130), ("TERM", 143)] {
        let (group, mut listener) = group_and_listener();
        let mut sender = Running::start(&mut send(group, &[]));
        sender.say(b"one\ntwo\nhal");
        expect_packet(&mut listener);
        expect_packet(&mut listener);
        sender.signal(signal);
        let ended = sender.end().expect(code);
        assert_eq!(ended.errors, "mcast: sent 2\n");
        assert_quiet(&mut listener);
    }
}

#[test]
fn signals_end_it_while_the_rate_makes_it_wait() {
    let (group, mut listener) = group_and_listener();
    // The second one is an interval longer than any clock can measure.
    for rate in ["0.001", "1e-300"] {
        let sender = Running::start(&mut send(group, &["--rate", rate, "--count", "2", "x"]));
        expect_packet(&mut listener);
        sender.signal("TERM");
        assert_eq!(sender.end().expect(143).errors, "mcast: sent 1\n");
    }
}

#[test]
fn signals_end_it_in_the_middle_of_a_flood() {
    let (group, mut listener) = group_and_listener();
    let texts = Running::start(&mut send(group, &["--count", "1000000000", "x"]));
    expect_packet(&mut listener);
    texts.signal("INT");
    texts.end().expect(130).saying("mcast: sent ");

    // A file is always ready, so the program never waits. Empty lines for half a minute:
    let path = std::env::temp_dir().join(format!("multicast-{group}"));
    std::fs::write(&path, vec![b'\n'; 10_000_000]).unwrap();
    let lines = Running::start_reading(send(group, &["-"]).stdin(File::open(&path).unwrap()));
    std::fs::remove_file(&path).unwrap();
    while !expect_packet(&mut listener).is_empty() {}
    lines.signal("TERM");
    lines.end().expect(143).saying("mcast: sent ");
}

const TTL_PEER: &str = r#"
import socket, struct, sys
group, port = sys.argv[1], int(sys.argv[2])
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind((group, port))
join = struct.pack("=4s4si", socket.inet_aton(group), bytes(4), socket.if_nametoindex("lo"))
s.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, join)
IP_RECVTTL = 12
s.setsockopt(socket.IPPROTO_IP, IP_RECVTTL, 1)
print("ready")
while True:
    payload, control, flags, source = s.recvmsg(65535, 64)
    for level, kind, data in control:
        if level == socket.IPPROTO_IP and kind == socket.IP_TTL:
            print(payload.decode(), struct.unpack("=i", data)[0])
"#;

#[test]
fn a_python_peer_receives_the_ttl() {
    let group = unique_group();
    let mut peer = Python::start(TTL_PEER, &[&group.address().to_string(), &group.port().to_string()]);
    assert_eq!(peer.line(), "ready");
    run(&mut send(group, &["none given"])).expect(0).quietly();
    assert_eq!(peer.line(), "none given 1");
    let ttls = [("host", 0), ("subnet", 1), ("site", 32), ("region", 64), ("continent", 128), ("unrestricted", 255)];
    for (name, number) in ttls.into_iter().chain([("0", 0), ("7", 7), ("255", 255)]) {
        run(&mut send(group, &["--ttl", name, name])).expect(0).quietly();
        assert_eq!(peer.line(), format!("{name} {number}"));
    }
}

#[test]
fn interfaces_can_be_named_by_name_index_and_address() {
    let (group, mut listener) = group_and_listener();
    let index = std::fs::read_to_string("/sys/class/net/lo/ifindex").unwrap();
    for interface in ["lo", index.trim(), "127.0.0.1"] {
        let arguments = ["send", "--interface", interface, "--to", &group.to_string(), interface];
        run(&mut command(arguments)).expect(0).quietly();
        assert_eq!(expect_packet(&mut listener), interface.as_bytes());
    }
    run(&mut command(["send", "--interface", "nosuch0", "--to", &group.to_string(), "x"]))
        .expect(1)
        .saying("on nosuch0: no such interface");
}
