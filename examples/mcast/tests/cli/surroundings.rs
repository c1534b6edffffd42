//! Standard streams, signals and numbers, of all commands: what a shell, Python's subprocess or a service manager hands over.

use std::fs::File;
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::common::{Python, assert_quiet, expect_packet, on_lo, send_all, unique_group};
use crate::mcast::{listen, listen_arguments, mcast as command, send, shell};
use crate::programs::{Running, run};
use multicast::{ListenOptions, Listener};

/// Runs the program that is its arguments with DEVNULL for all streams, and prints how it ended.
const DEVNULL: &str = "
import subprocess, sys
null = subprocess.DEVNULL
print(subprocess.run(sys.argv[1:], stdin=null, stdout=null, stderr=null).returncode)
";

#[test]
fn devnull_of_python_is_no_closed_stream() {
    let group = unique_group().to_string();
    let program = env!("CARGO_BIN_EXE_mcast");
    for arguments in [
        &["send", "--interface", "lo", "--to", &group][..],
        &["send", "--interface", "lo", "--to", &group, "text"],
        &["listen", "--interface", "lo", "--from", &group, "--limit", "0"],
        &["demo"],
        &["--help"],
        #[cfg(feature = "who")]
        &["who"],
    ] {
        let mut python = Python::start(DEVNULL, &[&[program], arguments].concat());
        assert_eq!(python.line(), "0", "{arguments:?}");
    }
}

/// Command lines that print something, and end soon. `"$1"` is a group, and nothing is heard there.
const PRINTS: &[&str] = &[
    "--help",
    "--version",
    "help listen",
    "send --help",
    #[cfg(feature = "demo")]
    "demo",
    "listen --interface lo --from \"$1\" --limit 0",
    #[cfg(feature = "json")]
    "send --interface lo --to \"$1\" --json text",
    #[cfg(feature = "ask")]
    "ask --interface lo --to \"$1\" --wait 0.1 text",
    #[cfg(feature = "answer")]
    "answer --interface lo --from \"$1\" --echo --timeout 0.1",
    #[cfg(feature = "doctor")]
    "doctor --interface lo --to \"$1\" --seconds 0.2",
    #[cfg(feature = "record")]
    "record --interface lo --from \"$1\" --timeout 0.1 -",
    #[cfg(feature = "ping")]
    "ping --interface lo --to \"$1\" --count 1 --interval 0.1",
    #[cfg(feature = "test")]
    "test receive --interface lo --from \"$1\" --timeout 0.1",
    #[cfg(feature = "test")]
    "test send --interface lo --to \"$1\" --count 1",
    #[cfg(feature = "watch")]
    "watch --interface lo --from \"$1\" --timeout 0.1",
    #[cfg(feature = "who")]
    "who --interface lo",
    #[cfg(all(feature = "who", feature = "json"))]
    "who --json",
];

#[test]
fn a_closed_standard_output_is_a_failure_of_all_that_print() {
    let group = unique_group().to_string();
    for arguments in PRINTS {
        let script = format!("exec \"$0\" {arguments} >&-");
        run(&mut shell(&script, &[&group])).expect(1).saying("standard output is closed: nothing can be printed");
        // Rust's start-up code opens /dev/null in this way in the place of a closed one.
        let ended = run(&mut shell(&format!("exec \"$0\" {arguments} 1<>/dev/null"), &[&group]));
        // 3: nothing was heard; 5 and 6: what the doctor says.
        assert!([0, 3, 5, 6].contains(&ended.status.code().unwrap()), "{arguments}: {ended:?}");
        assert!(!ended.errors.contains("standard output is closed"), "{arguments}: {ended:?}");
    }
}

#[test]
fn commands_that_print_nothing_need_no_standard_output() {
    let group = unique_group().to_string();
    run(&mut shell("exec \"$0\" send --interface lo --to \"$1\" text >&-", &[&group])).expect(0).quietly();
    #[cfg(feature = "record")]
    {
        let path = std::env::temp_dir().join(format!("mcast-record-{}.pcapng", std::process::id()));
        let script = "exec \"$0\" record --interface lo --from \"$1\" --timeout 0.1 \"$2\" >&-";
        let ended = run(&mut shell(script, &[&group, path.to_str().unwrap()]));
        let written = std::fs::metadata(&path).unwrap().len();
        std::fs::remove_file(&path).unwrap();
        ended.expect(3);
        assert!(written > 0);
    }
}

#[test]
fn output_that_cannot_be_written_is_a_failure_of_all_that_print() {
    let group = unique_group().to_string();
    for arguments in [
        "--help",
        "--version",
        "help send",
        "demo",
        "who",
        "doctor --interface lo --to \"$1\" --seconds 0.2",
        "send --interface lo --to \"$1\" --json x",
    ] {
        let script = format!("exec \"$0\" {arguments} >/dev/full");
        run(&mut shell(&script, &[&group])).expect(1).saying("write to standard output: No space left on device");
    }
}

/// The file that it writes to is full just before its last line is written: all lines before are.
#[test]
fn a_demo_whose_last_line_cannot_be_written_is_a_failure() {
    let last = "demo: sent 7, received 5, rejected 2, lost 0\n";
    let whole = run(&mut command(["demo"])).expect(0).lines.iter().map(|line| line.len() + 1).sum::<usize>();
    // Other runs have other groups and ports, with some digits more or less: so the end lies in the middle of the last line.
    let room = whole - last.len() / 2;
    // `ulimit` counts blocks of 512 bytes.
    let path = std::env::temp_dir().join(format!("mcast-demo-{}", std::process::id()));
    std::fs::write(&path, vec![b'\n'; 2048 - room]).unwrap();
    let script = "ulimit -f 4; trap '' XFSZ; exec \"$0\" demo >>\"$1\"";
    let ended = run(&mut shell(script, &[path.to_str().unwrap()]));
    let written = std::fs::read_to_string(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    ended.expect(1).saying("write to standard output: File too large");
    assert_eq!(written.matches("received from ").count(), 5, "{written}");
    assert!(!written.ends_with(last), "{written}");
}

#[test]
fn a_send_with_sigint_ignored_at_its_start_goes_on() {
    let group = unique_group();
    let mut listener: Listener<64> = ListenOptions::new().bind(on_lo(group)).unwrap();
    let mut program = shell("trap '' INT; exec \"$0\" \"$@\"", &["send", "--interface", "lo", "--to", &group.to_string()]);
    let mut sender = Running::start(&mut program);
    sender.say(b"one\n");
    assert_eq!(expect_packet(&mut listener), b"one");
    sender.signal("INT");
    sender.say(b"two\n");
    assert_eq!(expect_packet(&mut listener), b"two");
    sender.signal("TERM");
    assert_eq!(sender.end().expect(143).errors, "mcast: sent 2\n");
}

#[test]
fn times_and_rates_of_any_size_are_taken() {
    let group = unique_group();
    for seconds in ["1e20", "1e400", "1e40000", "1e99999999999999999999"] {
        let listener = listen(group, &["--limit", "1", "--timeout", seconds, "--give-up", seconds]);
        send_all(group, ["packet"]);
        assert_eq!(listener.payload(), "packet");
        listener.end().expect(0).counting();
    }
    let mut listener: Listener<64> = ListenOptions::new().bind(on_lo(group)).unwrap();
    for rate in ["1e-300", "1e-400", "1e-40000"] {
        let sender = Running::start(&mut send(group, &["--rate", rate, "--count", "2", "x"]));
        // The first at once, the second never.
        assert_eq!(expect_packet(&mut listener), b"x");
        assert_quiet(&mut listener);
        sender.signal("INT");
        assert_eq!(sender.end().expect(130).errors, "mcast: sent 1\n");
    }
    for rate in ["1e300", "1e40000"] {
        run(&mut send(group, &["--rate", rate, "--count", "2", "x"])).expect(0).quietly();
        assert_eq!((expect_packet(&mut listener), expect_packet(&mut listener)), (b"x".to_vec(), b"x".to_vec()));
    }
}

/// A pattern that needs seconds for a packet of 60 kB, also in a release build.
#[cfg(feature = "filter")]
const SLOW: &str = "(?:.*a){200}[xy]";

#[cfg(feature = "filter")]
fn counted(ended: &crate::programs::Ended) -> &str {
    ended.errors.lines().find(|line| line.contains("received ")).unwrap()
}

#[cfg(feature = "filter")]
#[test]
fn a_signal_does_not_wait_for_a_slow_pattern() {
    for (signal, code) in [("INT", 130), ("TERM", 143)] {
        let group = unique_group();
        let listener = listen(group, &["--mtu", "65535", "--filter", SLOW]);
        send_all(group, vec![vec![b'a'; 60_000]; 2]);
        std::thread::sleep(Duration::from_millis(200));
        let signalled = Instant::now();
        listener.signal(signal);
        let ended = listener.end().expect(code);
        assert!(signalled.elapsed() < Duration::from_secs(5), "{:?}", signalled.elapsed());
        // What was not decided counts neither as received nor as rejected.
        assert_eq!(counted(&ended), "mcast: received 0, rejected 0, truncated 0, dropped 0, foreign 0");
    }
}

#[cfg(feature = "filter")]
#[test]
fn a_time_out_does_not_wait_for_a_slow_pattern() {
    let group = unique_group();
    let listener = listen(group, &["--mtu", "65535", "--filter", SLOW, "--timeout", "1"]);
    send_all(group, vec![vec![b'a'; 60_000]; 2]);
    let ended = listener.end().expect(3);
    assert!(ended.time < Duration::from_secs(6), "{:?}", ended.time);
}

#[cfg(feature = "filter")]
#[test]
fn long_packets_are_matched_as_short_ones_are() {
    let group = unique_group();
    let listener = listen(group, &["--mtu", "65535", "--limit", "40", "--filter", "(?s).*wanted$"]);
    for number in 0..40 {
        let length = if number % 2 == 0 { 30_000 } else { 30 };
        for end in ["wanted", "other"] {
            send_all(group, [format!("{number} {}{end}", "é".repeat(length / 2))]);
        }
        // In the order in which they came.
        assert!(listener.payload().starts_with(&format!("{number} ")));
    }
    let ended = listener.end().expect(0);
    assert!(counted(&ended).starts_with("mcast: received 40, rejected 39, truncated 0"), "{ended:?}");
}

#[test]
fn the_help_says_that_packets_with_ttl_host_may_leave() {
    let help = run(&mut command(["help", "send"])).expect(0).lines.join(" ");
    let words = help.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(
        words.contains("With host, packets leave all the same by an interface on which no program of this host has joined"),
        "{words}"
    );
    for command in [
        #[cfg(feature = "ask")]
        "ask",
        #[cfg(feature = "ping")]
        "ping",
        #[cfg(feature = "ping")]
        "pong",
        #[cfg(feature = "replay")]
        "replay",
        #[cfg(feature = "test")]
        "test",
    ] {
        let help = run(&mut self::command(["help", command])).expect(0).lines;
        let about = help.iter().find(|line| line.contains("--ttl TTL")).unwrap();
        assert!(about.contains("as of mcast send"), "{command}: {about}");
    }
}

#[test]
fn the_counters_name_foreign_packets() {
    let group = unique_group();
    let ended = run(&mut command(listen_arguments(group, &["--limit", "0"]))).expect(0);
    assert_eq!(ended.errors, "mcast: received 0, rejected 0, truncated 0, dropped 0, foreign 0\n");
    let help = run(&mut command(["help", "listen"])).expect(0).lines.join(" ");
    assert!(help.contains("foreign, which are packets that came in and that it had not joined"));
}

#[test]
fn standard_input_may_be_a_socket_or_a_device() {
    let group = unique_group();
    let mut listener: Listener<64> = ListenOptions::new().bind(on_lo(group)).unwrap();
    let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
    std::io::Write::write_all(&mut &ours, b"by a socket").unwrap();
    drop(ours);
    let input = Stdio::from(std::os::fd::OwnedFd::from(theirs));
    Running::start_reading(send(group, &["-"]).stdin(input)).end().expect(0).quietly();
    assert_eq!(expect_packet(&mut listener), b"by a socket");
    let null = File::open("/dev/null").unwrap();
    Running::start_reading(send(group, &["-"]).stdin(null)).end().expect(0).quietly();
    assert_quiet(&mut listener);
}

/// Runs the program that is its arguments with a full pipe for standard error, ends it by SIGTERM, and prints how it ended.
const UNREAD_ERRORS: &str = "
import os, signal, subprocess, sys, time
reader, writer = os.pipe()
os.set_blocking(writer, False)
try:
    while True: os.write(writer, bytes(4096))
except BlockingIOError: pass
os.set_blocking(writer, True)
program = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=writer)
time.sleep(0.5)
program.send_signal(signal.SIGTERM)
try: print(program.wait(10))
except subprocess.TimeoutExpired: print('it does not end')
program.kill()
";

#[test]
fn a_standard_error_that_nobody_reads_does_not_keep_it_from_ending() {
    let group = unique_group().to_string();
    let arguments = [env!("CARGO_BIN_EXE_mcast"), "listen", "--interface", "lo", "--from", &group];
    assert_eq!(Python::start(UNREAD_ERRORS, &arguments).line(), "143");
}
