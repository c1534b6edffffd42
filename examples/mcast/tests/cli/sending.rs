//! What packets of `mcast send` are made of and when they leave, on `lo`.

use std::time::Duration;

use crate::common::peer::Receiver;
use crate::common::{OnePacket, PATIENCE, assert_quiet, expect_packet, free_port, on_lo, unique_group, wait_until_mut};
use crate::mcast::{send, shell};
use crate::programs::{Running, run};
use multicast::{Group, ListenOptions, Listener};

fn group_and_listener() -> (Group, Listener<1500>) {
    let group = unique_group();
    (group, ListenOptions::new().receive_buffer(4 << 20).bind(on_lo(group)).unwrap())
}

/// A file with these bytes, which is deleted with this.
struct File(std::path::PathBuf);

impl File {
    fn with(group: Group, bytes: &[u8]) -> Self {
        let path = std::env::temp_dir().join(format!("multicast-file-{group}"));
        std::fs::write(&path, bytes).unwrap();
        Self(path)
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[test]
fn packets_leave_from_the_named_port_beside_others_that_use_it() {
    let (group, mut listener) = group_and_listener();
    let port = free_port();
    let others = [(); 2].map(|()| {
        let options = multicast::SendOptions::new().interface(crate::common::LO).source_port(port);
        options.open(multicast::Family::V4).unwrap()
    });
    run(&mut send(group, &["--source-port", &port.to_string(), "text"])).expect(0).quietly();
    let mut source = None;
    wait_until_mut("the packet comes", || {
        source = listener.recv().unwrap().packet().map(|packet| packet.source());
        source.is_some()
    });
    assert_eq!(source.unwrap().port(), port);
    drop(others);
    for wrong in ["0", "65536"] {
        run(&mut send(group, &["--source-port", wrong, "text"])).expect(2).saying("give 1 to 65535");
    }
}

#[test]
fn a_python_peer_receives_the_traffic_class() {
    let group = unique_group();
    let mut peer = Receiver::join(group, "lo");
    for (arguments, class) in [(&[][..], 0), (&["--tos", "184"], 184), (&["--tos", "0"], 0), (&["--tos", "255"], 255)] {
        run(&mut send(group, &[arguments, &["text"]].concat())).expect(0).quietly();
        let seen = peer.next();
        assert_eq!((seen.traffic_class, seen.payload), (class, b"text".to_vec()));
    }
    run(&mut send(group, &["--tos", "256", "text"])).expect(2).saying("--tos 256: give 0 to 255");
}

#[test]
fn a_bit_rate_counts_the_payload() {
    let (group, mut listener) = group_and_listener();
    // Five packets of 1,000 bytes: the last one leaves when 32,000 bits are over.
    let text = "x".repeat(1_000);
    let time = run(&mut send(group, &["--bitrate", "80000", "--count", "5", &text])).expect(0).quietly().time;
    assert!(time >= Duration::from_millis(390) && time < Duration::from_secs(3), "{time:?}");
    // Both limits hold.
    let arguments = ["--bitrate", "8e9", "--rate", "10", "--count", "4", &text];
    let time = run(&mut send(group, &arguments)).expect(0).quietly().time;
    assert!(time >= Duration::from_millis(290) && time < Duration::from_secs(3), "{time:?}");
    for _ in 0..9 {
        assert_eq!(expect_packet(&mut listener).len(), 1_000);
    }
    run(&mut send(group, &["--bitrate", "0", "x"])).expect(2).saying("--bitrate 0: give bits a second");
}

#[test]
fn a_file_leaves_in_packets_of_the_size_and_the_rest() {
    let (group, mut listener) = group_and_listener();
    let bytes: Vec<u8> = (0..10_000_u32).map(|number| (number % 251) as u8).collect();
    let file = File::with(group, &bytes);
    for (arguments, size) in
        [(&[][..], 1316), (&["--size", "1316"], 1316), (&["--size", "1000"], 1000), (&["--size", "1"], 1)]
    {
        let mut arguments = [&["--file", file.path()], arguments].concat();
        if size == 1 {
            arguments.extend(["--limit", "100"]);
        }
        run(&mut send(group, &arguments)).expect(0).quietly();
        for piece in bytes.chunks(size).take(if size == 1 { 100 } else { usize::MAX }) {
            assert_eq!(expect_packet(&mut listener), piece);
        }
        assert_quiet(&mut listener);
    }
    let empty = File::with(unique_group(), b"");
    run(&mut send(group, &["--file", empty.path()])).expect(0).quietly();
    // What a pipe gives in pieces is sent in whole packets.
    let script = "(head -c 700 \"$1\"; sleep 0.3; tail -c +701 \"$1\") | exec \"$0\" send --interface lo --to \"$2\" --file /dev/stdin";
    run(&mut shell(script, &[file.path(), &group.to_string()])).expect(0).quietly();
    for piece in bytes.chunks(1316) {
        assert_eq!(expect_packet(&mut listener), piece);
    }
    assert_quiet(&mut listener);
}

#[test]
fn a_signal_and_the_timeout_end_it_while_a_pipe_gives_nothing() {
    let (group, mut listener) = group_and_listener();
    let start = |arguments: &[&str]| {
        let mut sender = Running::start(&mut send(group, &[&["--file", "/dev/stdin", "--size", "3"], arguments].concat()));
        sender.say(b"12345");
        sender
    };
    let sender = start(&[]);
    assert_eq!(expect_packet(&mut listener), b"123");
    sender.signal("TERM");
    assert_eq!(sender.end().expect(143).errors, "mcast: sent 1\n");
    start(&["--timeout", "0.5"]).end().expect(0).saying("sent 1");
}

#[test]
fn a_file_that_cannot_be_sent_is_an_error_message() {
    let group = unique_group();
    run(&mut send(group, &["--file", "/no/such/file"])).expect(1).saying("--file /no/such/file: No such file");
    run(&mut send(group, &["--file", "/"])).expect(1).saying("Is a directory");
    for (arguments, reason) in [
        (&["--file", "/dev/null", "text"][..], "--file does not go with TEXT or --count"),
        (&["--file", "/dev/null", "--count", "2"], "--file does not go with"),
        (&["--file", "/dev/null", "--hex"], "--hex is for TEXT and lines"),
        (&["--file", "/dev/null", "--size", "65508"], "--size 65508: give 1 to 65507"),
        (&["--size", "100", "text"], "--size is for --file"),
    ] {
        run(&mut send(group, arguments)).expect(2).saying(reason);
    }
}

#[test]
fn hex_digits_are_sent_as_bytes_and_a_wrong_line_is_left_out() {
    let (group, mut listener) = group_and_listener();
    run(&mut send(group, &["--hex", "00fF", "0a 0b"])).expect(0).quietly();
    assert_eq!(expect_packet(&mut listener), [0, 255, 10, 11]);
    run(&mut send(group, &["--hex", "0x00"])).expect(2).saying("--hex: not a hex digit at byte 2");
    let mut sender = Running::start(&mut send(group, &["--hex", "--json"]));
    sender.say(b"01 02\n0\n\nff\nxx\n03");
    drop(sender.input.take());
    let ended = sender.end().expect(1);
    for bytes in [&[1, 2][..], &[], &[255], &[3]] {
        assert_eq!(expect_packet(&mut listener), bytes);
    }
    assert_quiet(&mut listener);
    let said: Vec<_> = ended.errors.lines().collect();
    assert_eq!(
        said,
        [
            "mcast: line 2: --hex: there is an odd number of digits: each byte has two",
            "mcast: line 5: --hex: not a hex digit at byte 1 of the text",
            "mcast: 2 lines were not sent"
        ]
    );
    let values = "o['kind'], o['sent_packets'], o['sent_bytes'], o['left_out_packets']";
    assert_eq!(crate::mcast::json::parsed(&ended.lines, values), ["('total', 4, 4, 2)"]);
}

#[test]
fn the_limit_ends_texts_lines_and_files() {
    let (group, mut listener) = group_and_listener();
    let file = File::with(group, &[b'f'; 5_000]);
    run(&mut send(group, &["--limit", "2", "--count", "5", "text"])).expect(0).quietly();
    run(&mut send(group, &["--limit", "2", "--file", file.path()])).expect(0).quietly();
    let mut lines = Running::start(&mut send(group, &["--limit", "2"]));
    lines.say(b"line\nline\nline\n");
    // It ends although its input does not.
    lines.end().expect(0).quietly();
    for expected in [&b"text"[..], b"text", &[b'f'; 1316], &[b'f'; 1316], b"line", b"line"] {
        assert_eq!(expect_packet(&mut listener), expected);
    }
    assert_quiet(&mut listener);
}

#[test]
fn the_timeout_ends_it_while_it_waits_for_input() {
    let (group, mut listener) = group_and_listener();
    let mut lines = Running::start(&mut send(group, &["--timeout", "0.5"]));
    lines.say(b"line\n");
    assert_eq!(expect_packet(&mut listener), b"line");
    let ended = lines.end().expect(0);
    assert_eq!(ended.errors, "mcast: sent 1\n");
    assert!(ended.time < PATIENCE / 2, "{ended:?}");
}
