//! The command line of `mcast`: usage, the demo, and closed or limited descriptors.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

use crate::mcast::{listen_arguments, mcast as command, shell};
use crate::programs::run;

#[track_caller]
fn expect_usage_error(arguments: &[&str], reason: &str) {
    let ended = run(&mut command(arguments)).expect(2).saying(reason).saying("--help");
    assert!(ended.lines.is_empty(), "{ended:?}");
}

#[test]
fn help_and_version_go_to_standard_output() {
    for arguments in [&["--help"][..], &["-h"], &["help"]] {
        let text = run(&mut command(arguments)).expect(0).quietly().lines.join("\n");
        for word in ["listen", "send", "demo", "--interface", "--timeout", "--give-up", "Exit status"] {
            assert!(text.contains(word), "{word}");
        }
    }
    for (name, words) in [
        ("send", &["--to", "--ttl", "--count", "--rate", "--no-loopback"][..]),
        ("listen", &["--from", "--filter", "--mtu", "--limit"]),
        ("demo", &["Usage: mcast demo"]),
    ] {
        for arguments in [["help", name], [name, "--help"], [name, "-h"]] {
            let text = run(&mut command(arguments)).expect(0).quietly().lines.join("\n");
            for word in words {
                assert!(text.contains(word), "{word}");
            }
        }
    }
    let ended = run(&mut command(["--version"])).expect(0).quietly();
    assert_eq!(ended.lines, [format!("mcast {}", env!("CARGO_PKG_VERSION"))]);
}

#[test]
fn wrong_commands_are_usage_errors() {
    expect_usage_error(&[], "a command is missing: listen, send");
    expect_usage_error(&["shout"], "no such command: shout");
    expect_usage_error(&["--loud"], "--loud");
    expect_usage_error(&["demo", "now"], "now");
    expect_usage_error(&["listen", "now"], "now");
    expect_usage_error(&["send", "--loud", "text"], "--loud");
    expect_usage_error(&["listen", "--count", "3"], "--count");
    expect_usage_error(&["send", "-5"], "-5");
}

#[test]
fn wrong_values_are_usage_errors_with_their_reason() {
    expect_usage_error(&["send", "--to"], "--to");
    expect_usage_error(&["send", "--to", "10.0.0.1:5000"], "10.0.0.1:5000: 10.0.0.1 is not a multicast address");
    expect_usage_error(&["send", "--to", "239.1.2.3:0"], "port 0");
    expect_usage_error(&["send", "--ttl", "256"], "--ttl: parse ttl 256: out of range: give 0 to 255");
    expect_usage_error(&["send", "--ttl", "galaxy"], "write 0 to 255, or host, subnet");
    expect_usage_error(&["send", "--interface", "a name that is too long"], "write a name of 1 to 15 bytes");
    expect_usage_error(&["send", "--count", "many", "x"], "--count many: give a whole number");
    expect_usage_error(&["send", "--count", "-1", "x"], "--count -1: give a whole number");
    for rate in ["0", "-1", "nan", "inf", "fast", "", ".", "1,5"] {
        expect_usage_error(&["send", "--rate", rate, "x"], &format!("--rate {rate}: give packets a second, more than 0"));
    }
    expect_usage_error(&["send", "--no-loopback=yes", "x"], "--no-loopback");
    expect_usage_error(&["listen", "--from", "nowhere"], "--from: nowhere: write ADDRESS:PORT");
    expect_usage_error(&["listen", "--filter", "a(b"], "--filter: parse pattern");
    expect_usage_error(&["listen", "--limit", "1.5"], "--limit 1.5: give a whole number");
    for mtu in ["0", "65536"] {
        expect_usage_error(&["listen", "--mtu", mtu], &format!("--mtu {mtu}: give 1 to 65535"));
    }
    for time in ["-1", "nan", "inf", "soon", "", "1e", "1.2.3"] {
        expect_usage_error(&["listen", "--timeout", time], &format!("--timeout {time}: give seconds, 0 or more"));
    }
}

#[test]
fn an_interface_can_be_written_with_the_group_and_not_twice() {
    for with in ["239.1.2.3:5000%nosuch0", "[ff02::77%nosuch0]:5000", "[ff02::77]:5000%nosuch0"] {
        for command in ["listen --from", "send x --to"] {
            let words = command.split(' ').chain([with]);
            run(&mut self::command(words.clone())).expect(1).saying("on nosuch0: no such interface");
            let twice: Vec<_> = words.chain(["--interface", "lo"]).collect();
            expect_usage_error(&twice, "an interface is named twice, with % and by --interface: write one");
        }
    }
    expect_usage_error(&["listen", "--from", "239.1.2.3:5000%"], "parse interface an empty text");
}

#[test]
fn count_needs_a_text_to_repeat() {
    expect_usage_error(&["send", "--count", "2"], "--count repeats TEXT, and there is none");
    expect_usage_error(&["send", "--count", "2", "-"], "it does not go with standard input");
}

#[test]
fn arguments_that_are_not_utf8_are_usage_errors() {
    let no_text = OsStr::from_bytes(b"\xff");
    run(command(["listen", "--filter"]).arg(no_text)).expect(2).saying("--filter");
    run(command([""; 0]).arg(no_text)).expect(2).saying("no such command");
}

#[test]
fn the_demo_counts_correctly_and_prints_what_it_received() {
    let ended = run(&mut command(["demo"])).expect(0).quietly();
    assert_eq!(ended.lines.last().unwrap(), "demo: sent 7, received 5, rejected 2, lost 0");
    let received: Vec<_> = ended.lines.iter().filter(|line| line.starts_with("received from ")).collect();
    assert_eq!(received.len(), 5);
    assert!(received.iter().all(|line| line.contains(": sensor ")), "{received:?}");
    assert!(ended.time < Duration::from_secs(3), "{:?}", ended.time);
}

#[test]
fn a_demo_that_cannot_print_is_a_failure() {
    run(&mut shell("exec \"$0\" demo >/dev/full", &[])).expect(1).saying("No space left on device");
    run(&mut shell("exec \"$0\" demo >&-", &[])).expect(1).saying("standard output is closed");
    run(&mut shell("exec \"$0\" --help >&-", &[])).expect(1).saying("standard output is closed");
}

#[test]
fn demos_that_run_at_the_same_time_do_not_mix() {
    let demos: Vec<_> = (0..8).map(|_| crate::programs::Running::start(&mut command(["demo"]))).collect();
    for demo in demos {
        let ended = demo.end().expect(0);
        assert_eq!(ended.lines.last().unwrap(), "demo: sent 7, received 5, rejected 2, lost 0");
    }
}

#[test]
fn a_demo_whose_reader_is_gone_ends_quietly() {
    let (demo, output) = crate::programs::Running::start_unread(&mut shell("sleep 0.1; exec \"$0\" demo", &[]));
    drop(output);
    demo.end().expect(141).quietly();
}

/// Each descriptor that cannot be opened is an error message. From some limit on the program works.
#[test]
fn a_low_limit_of_descriptors_is_an_error_message() {
    let group = crate::common::unique_group();
    let listen = [listen_arguments(group, &["--limit", "0"])].concat().join(" ");
    let send = format!("send --interface lo --to {group} text");
    for arguments in [listen.as_str(), &send, "demo"] {
        let mut worked = 0;
        // With a limit below 4 no program with shared libraries starts.
        for limit in 4..20 {
            let ended = run(&mut shell(&format!("ulimit -n {limit}; exec \"$0\" {arguments}"), &[]));
            if ended.status.success() {
                worked += 1;
                continue;
            }
            assert_eq!(worked, 0, "{arguments} with {limit}");
            let ended = ended.expect(1);
            assert!(ended.errors.to_lowercase().contains("too many open file"), "{ended:?}");
        }
        assert!(worked > 0, "{arguments}");
    }
}

#[test]
fn a_closed_standard_error_causes_no_panic() {
    for arguments in ["send", "send --interface nosuch0 text", "listen --interface lo --timeout 0.01", "listen --mtu 0"] {
        let script = format!("\"$0\" {arguments} 0<&- 2>&-; echo $? >&1");
        let ended = run(&mut shell(&script, &[])).expect(0).quietly();
        assert!(["1", "2", "3"].iter().any(|status| ended.lines == [*status]), "{arguments}: {ended:?}");
    }
}
