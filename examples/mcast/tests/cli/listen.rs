//! `mcast listen`, with our own packets on `lo`.

use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::common::{PATIENCE, QUIET, send_all, send_on_lo, unique_group};
use crate::mcast::{listen, listen_arguments, mcast as command, shell};
use crate::programs::{Ended, Running, payload_of, run, wait_for_member};
use multicast::{Group, Progress};

/// Sends packets as fast as it can while `test` runs; returns how many.
fn under_flood(group: Group, payload: &[u8], test: impl FnOnce()) -> u64 {
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let flood = scope.spawn(|| {
            let mut sent = 0;
            let mut caster = send_on_lo().packets(group, std::iter::repeat(payload)).unwrap();
            let end = Instant::now() + PATIENCE;
            while !over.load(Ordering::Relaxed) && Instant::now() < end {
                if let Progress::Sent(count) = caster.step().unwrap() {
                    sent += count as u64;
                }
            }
            sent
        });
        // Also if the test fails.
        let ended = catch_unwind(AssertUnwindSafe(test));
        over.store(true, Ordering::Relaxed);
        let sent = flood.join().unwrap();
        ended.unwrap_or_else(|failure| resume_unwind(failure));
        sent
    })
}

/// The numbers of the counters that it printed.
fn counters(ended: &Ended) -> [u64; 5] {
    let line = ended.errors.lines().find(|line| line.contains("received ")).unwrap_or_else(|| panic!("{ended:?}"));
    let words = line.strip_prefix("mcast: ").unwrap();
    let mut numbers =
        words.split(", ").zip(["received", "rejected", "truncated", "dropped", "foreign"]).map(|(part, name)| {
            let (its_name, number) = part.split_once(' ').unwrap();
            assert_eq!(its_name, name);
            number.parse().unwrap()
        });
    std::array::from_fn(|_| numbers.next().unwrap())
}

#[test]
fn each_packet_is_a_line_that_comes_at_once() {
    let group = unique_group();
    let listener = listen(group, &["--limit", "2"]);
    let mut caster = send_on_lo().packets(group, ["one", "two"]).unwrap();
    assert_eq!(caster.step().unwrap(), Progress::Sent(1));
    let port = caster.local_addr().unwrap().port();
    let line = listener.line();
    assert!(line.ends_with(&format!(":{port} one")), "{line} of port {port}");
    let source: std::net::SocketAddr = line.split(' ').next().unwrap().parse().unwrap();
    assert!(source.is_ipv4());
    assert_eq!(caster.step().unwrap(), Progress::Sent(1));
    assert_eq!(listener.payload(), "two");
    listener.end().expect(0).counting();
}

#[test]
fn all_bytes_are_printed_with_reversible_escapes() {
    let group = unique_group();
    let listener = listen(group, &["--limit", "5"]);
    let all: Vec<u8> = (0..=255).collect();
    send_all(group, [&b"plain ~ text!"[..], b"back\\slash \\x41", b"\n\r\t\0\x1b[0m\x7f", "é".as_bytes(), &all]);
    assert_eq!(listener.payload(), "plain ~ text!");
    assert_eq!(listener.payload(), r"back\\slash \\x41");
    assert_eq!(listener.payload(), r"\x0a\x0d\x09\x00\x1b[0m\x7f");
    assert_eq!(listener.payload(), r"\xc3\xa9");
    let mut expected = String::new();
    for byte in 0..=255_u8 {
        match byte {
            0x5c => expected.push_str("\\\\"),
            0x20..0x7f => expected.push(char::from(byte)),
            _ => expected.push_str(&format!("\\x{byte:02x}")),
        }
    }
    assert_eq!(listener.payload(), expected);
    listener.end().expect(0).counting();
}

#[test]
fn an_empty_packet_is_a_line_that_ends_with_a_space() {
    let group = unique_group();
    let listener = listen(group, &["--limit", "1"]);
    send_all(group, [""]);
    assert_eq!(listener.payload(), "");
    listener.end().expect(0).counting();
}

#[test]
fn the_longest_packet_is_one_line() {
    let group = unique_group();
    let listener = listen(group, &["--limit", "1", "--mtu", "65535"]);
    send_all(group, [[0xff_u8; 65_507]]);
    assert_eq!(listener.payload(), r"\xff".repeat(65_507));
    listener.end().expect(0).counting();
}

#[test]
fn the_limit_counts_printed_packets() {
    let group = unique_group();
    let listener = listen(group, &["--limit", "2", "--filter", "yes"]);
    send_all(group, ["no", "yes 1", "no", "no", "yes 2", "yes 3"]);
    let ended = listener.end().expect(0).counting();
    assert_eq!(ended.lines.iter().map(|line| payload_of(line)).collect::<Vec<_>>(), ["yes 1", "yes 2"]);
}

#[test]
fn a_limit_of_0_ends_at_once() {
    let group = unique_group();
    let ended = run(&mut command(listen_arguments(group, &["--limit", "0"]))).expect(0).counting();
    assert!(ended.lines.is_empty());
}

#[test]
fn a_packet_that_is_longer_than_the_mtu_is_cut_marked_and_counted() {
    let group = unique_group();
    let listener = listen(group, &["--mtu", "4"]);
    send_all(group, ["1234", "12345"]);
    assert_eq!(listener.payload(), "1234");
    assert_eq!(listener.payload(), r"1234\+1");
    listener.signal("TERM");
    assert_eq!(counters(&listener.end().expect(143)), [2, 0, 1, 0, 0]);
}

#[test]
fn the_default_mtu_is_4096() {
    let group = unique_group();
    let listener = listen(group, &["--limit", "1"]);
    send_all(group, ["x".repeat(5000)]);
    assert_eq!(listener.payload(), "x".repeat(4096) + r"\+904");
    listener.end().expect(0);
}

#[test]
fn a_time_in_which_nothing_came_has_a_status_of_its_own() {
    let group = unique_group();
    let ended = run(&mut command(listen_arguments(group, &["--timeout", "0.3"]))).expect(3).saying("the time is up");
    assert!(ended.time >= Duration::from_millis(300) && ended.time < Duration::from_secs(3), "{:?}", ended.time);
    assert_eq!(counters(&ended), [0; 5]);
}

#[test]
fn the_time_out_counts_from_the_start_even_if_packets_were_printed() {
    let group = unique_group();
    let listener = listen(group, &["--timeout", "0.6", "--limit", "1000"]);
    while listener.line_within(Duration::from_millis(100)).is_none() {
        send_all(group, ["packet"]);
    }
    assert!(listener.end().expect(4).saying(" of 1000 packets came").time < Duration::from_secs(3));
}

#[test]
fn the_time_out_holds_under_a_stream_of_rejected_packets() {
    let group = unique_group();
    let listener = listen(group, &["--timeout", "0.5", "--filter", "wanted"]);
    under_flood(group, b"noise", || {
        let ended = listener.end().expect(3).saying("the time is up");
        assert!(ended.time < Duration::from_secs(3), "{:?}", ended.time);
        assert!(ended.lines.is_empty());
        let [received, rejected, ..] = counters(&ended);
        assert!(received == 0 && rejected > 64, "{ended:?}");
    });
}

#[test]
fn the_time_out_holds_if_the_output_is_not_read() {
    let group = unique_group();
    let mut program = command(listen_arguments(group, &["--timeout", "0.7"]));
    let (listener, _unread) = Running::start_unread(program.stdin(Stdio::null()));
    wait_for_member(group);
    under_flood(group, &[b'x'; 1000], || {
        assert!(listener.end().expect(1).saying("the time is up").time < Duration::from_secs(3));
    });
}

#[test]
fn a_signal_ends_it_and_it_prints_the_counters() {
    for (signal, code) in [("INT", 130), ("TERM", 143)] {
        let group = unique_group();
        let listener = listen(group, &["--filter", "yes", "--mtu", "5"]);
        send_all(group, ["no", "yes", "yes 123", "no", "yes"]);
        for expected in ["yes", r"yes 1\+2", "yes"] {
            assert_eq!(listener.payload(), expected);
        }
        listener.signal(signal);
        let ended = listener.end().expect(code);
        assert_eq!(ended.errors, "mcast: received 3, rejected 2, truncated 1, dropped 0, foreign 0\n");
    }
}

#[test]
fn a_signal_ends_it_under_a_stream_of_packets() {
    for pattern in [".*", "wanted"] {
        let group = unique_group();
        let listener = listen(group, &["--filter", pattern]);
        under_flood(group, b"noise", || {
            thread::sleep(QUIET);
            listener.signal("TERM");
            listener.end().expect(143).saying("received ");
        });
    }
}

#[test]
fn a_signal_ends_it_if_the_output_is_not_read() {
    let group = unique_group();
    let (listener, _unread) = Running::start_unread(command(listen_arguments(group, &[])).stdin(Stdio::null()));
    wait_for_member(group);
    under_flood(group, &[b'x'; 1000], || {
        thread::sleep(Duration::from_millis(300));
        listener.signal("INT");
        listener.end().expect(130).saying("received ");
    });
}

#[test]
fn what_the_kernel_dropped_is_counted() {
    let group = unique_group();
    let listener = listen(group, &[]);
    listener.signal("STOP");
    send_all(group, ["many"; 2000]);
    listener.signal("CONT");
    let mut sent = 2000;
    let mut seen = 0;
    // When one of the last packets is printed, all before it were handled.
    'sending: loop {
        send_all(group, ["last"]);
        sent += 1;
        while let Some(line) = listener.line_within(QUIET) {
            seen += 1;
            if payload_of(&line) == "last" {
                break 'sending;
            }
        }
    }
    listener.signal("TERM");
    let ended = listener.end().expect(143);
    let [received, rejected, truncated, dropped, _] = counters(&ended);
    assert_eq!(received, seen);
    assert!(dropped > 0);
    assert_eq!(received + dropped, sent);
    assert_eq!((rejected, truncated), (0, 0));
}

#[test]
fn a_closed_output_pipe_ends_it_quietly() {
    let group = unique_group();
    let (listener, output) = Running::start_unread(command(listen_arguments(group, &[])).stdin(Stdio::null()));
    wait_for_member(group);
    drop(output);
    // It ends without another packet.
    listener.end().expect(141).quietly();

    // Here the pipe is closed before the first write.
    let script = "(sleep 0.2; exec \"$0\" \"$@\") | true";
    let arguments = listen_arguments(group, &["--timeout", "5"]);
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    run(&mut shell(script, &arguments)).expect(0).quietly();
}

#[test]
fn a_pipeline_ends_when_its_reader_has_enough() {
    let group = unique_group();
    let arguments = listen_arguments(group, &["--timeout", "8"]);
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    let pipeline = Running::start(&mut shell("\"$0\" \"$@\" | head -n 1", &arguments));
    wait_for_member(group);
    send_all(group, ["one", "two", "three"]);
    let ended = pipeline.end().expect(0).quietly();
    assert_eq!(ended.lines.len(), 1);
}

#[test]
fn output_that_cannot_be_written_is_an_error_message() {
    let group = unique_group();
    let mut program = shell("exec \"$0\" \"$@\" >/dev/full", &[]);
    let listener = Running::start(program.args(listen_arguments(group, &[])));
    wait_for_member(group);
    send_all(group, ["packet"]);
    listener.end().expect(1).saying("write to standard output: No space left on device");
}

#[test]
fn output_can_go_to_a_file() {
    let group = unique_group();
    let path = std::env::temp_dir().join(format!("multicast-{group}"));
    let mut program = shell("exec \"$0\" \"$@\" >\"$OUTPUT\"", &[]);
    let listener = Running::start(program.env("OUTPUT", &path).args(listen_arguments(group, &["--limit", "2"])));
    wait_for_member(group);
    send_all(group, ["one", "two"]);
    listener.end().expect(0).counting();
    let written = std::io::read_to_string(File::open(&path).unwrap()).unwrap();
    std::fs::remove_file(&path).unwrap();
    assert_eq!(written.lines().map(payload_of).collect::<Vec<_>>(), ["one", "two"]);
}

#[test]
fn a_missing_interface_is_an_error_message() {
    let group = unique_group().to_string();
    run(&mut command(["listen", "--from", &group, "--interface", "nosuch0"]))
        .expect(1)
        .saying("on nosuch0: no such interface");
}

#[test]
fn a_closed_standard_output_is_an_error_message_and_dev_null_is_not() {
    let group = unique_group();
    let arguments = listen_arguments(group, &["--limit", "1"]);
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    run(&mut shell("exec \"$0\" \"$@\" 1>&-", &arguments)).expect(1).saying("standard output is closed");
    // Rust's start-up code opens it in this way in the place of a closed one.
    let listener = Running::start(&mut shell("exec \"$0\" \"$@\" 1<>/dev/null", &arguments));
    wait_for_member(group);
    send_all(group, ["packet"]);
    listener.end().expect(0).counting();
}

#[test]
fn a_signal_that_was_ignored_at_the_start_stays_ignored() {
    for (ignored, other, code) in [("INT", "TERM", 143), ("TERM", "INT", 130)] {
        let group = unique_group();
        let mut program = shell(&format!("trap '' {ignored}; exec \"$0\" \"$@\""), &[]);
        let listener = Running::start(program.args(listen_arguments(group, &[])));
        wait_for_member(group);
        listener.signal(ignored);
        send_all(group, ["packet"]);
        assert_eq!(listener.payload(), "packet");
        listener.signal(other);
        listener.end().expect(code).counting();
    }
}

#[test]
fn it_waits_without_a_busy_loop_if_both_signals_are_ignored() {
    let group = unique_group();
    let mut program = shell("trap '' INT TERM; \"$0\" \"$@\"; times", &[]);
    let ended = Running::start(program.args(listen_arguments(group, &["--timeout", "1"]))).end().expect(0);
    let used = ended.lines.last().unwrap().split(' ').map(|time| {
        let (minutes, seconds) = time.trim_end_matches('s').split_once('m').unwrap();
        minutes.parse::<f64>().unwrap() * 60.0 + seconds.parse::<f64>().unwrap()
    });
    assert!(used.sum::<f64>() < 0.5, "{ended:?}");
}

#[test]
fn a_time_out_beyond_every_clock_never_comes() {
    let group = unique_group();
    for seconds in ["1e20", "1e300", &"9".repeat(400)] {
        let listener = listen(group, &["--limit", "1", "--timeout", seconds]);
        send_all(group, ["packet"]);
        assert_eq!(listener.payload(), "packet");
        listener.end().expect(0).counting();
    }
}

#[test]
fn it_runs_with_a_closed_standard_input() {
    let group = unique_group();
    let mut program = shell("exec \"$0\" \"$@\" 0<&-", &[]);
    let listener = Running::start(program.args(listen_arguments(group, &["--limit", "1"])));
    wait_for_member(group);
    send_all(group, ["packet"]);
    assert_eq!(listener.payload(), "packet");
    listener.end().expect(0).counting();
}
