//! `mcast doctor` on `lo`: its command line, and what it prints. What it finds out is tested in the laboratory, where each case has hosts
//! of its own.

use std::net::UdpSocket;
use std::process::Command;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use multicast::Group;
use serde_json::Value;

use crate::common::{send_on_lo, unique_group, unique_v6_group};
use crate::mcast::{mcast as command, shell};
use crate::programs::{Ended, Running, run};

fn doctor(direction: &str, group: Group, arguments: &[&str]) -> Command {
    let mut command = command(["doctor", "--interface", "lo", "--seconds", "1", direction, &group.to_string()]);
    command.args(arguments);
    command
}

/// Sends packets to the group, for as long as the doctor looks.
fn stream(group: Group) -> JoinHandle<()> {
    std::thread::spawn(move || {
        let end = Instant::now() + Duration::from_secs(5);
        let mut sender = send_on_lo().open(group.family()).unwrap();
        while Instant::now() < end {
            while sender.send(b"a packet", group).unwrap() != multicast::Outcome::Sent {}
            std::thread::sleep(Duration::from_millis(20));
        }
    })
}

fn objects(ended: &Ended) -> Vec<Value> {
    ended.lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn wrong_arguments_are_usage_errors_with_their_reason() {
    for (arguments, reason) in [
        (&[][..], "name one group"),
        (&["--from", "239.1.2.3:5000", "--to", "239.1.2.3:5000"], "name one group"),
        (&["--from", "239.1.2.0/30:5000"], "one group, not a range"),
        (&["--from", "10.0.0.1:5000"], "--from: 10.0.0.1:5000: 10.0.0.1 is not a multicast address"),
        (&["--to", "10.0.0.1@232.1.2.3:5000"], "--to takes no source"),
        (&["--from", "239.1.2.3:5000", "--interface", "all"], "one interface"),
        (&["--from", "239.1.2.3:5000", "--interface", "lo", "--interface", "eth0"], "one interface"),
        (&["--from", "239.1.2.3:5000", "--seconds", "0"], "--seconds: give 0.2 to 86400"),
        (&["--from", "239.1.2.3:5000", "--seconds", "soon"], "--seconds soon: give seconds"),
        (&["--from", "239.1.2.3:5000", "--limit", "3"], "no such option here: --limit"),
        (&["--from", "239.1.2.3:5000", "--quiet", "--verbose"], "--quiet prints less, --verbose more"),
        (&["--from", "239.1.2.3:5000", "now"], "now"),
    ] {
        let ended = run(command(["doctor"]).args(arguments)).expect(2).saying(reason).saying("mcast doctor --help");
        assert!(ended.lines.is_empty(), "{ended:?}");
    }
}

#[test]
fn the_example_of_its_help_works() {
    let help = run(&mut command(["doctor", "--help"])).expect(0).quietly();
    let example = help.lines.last().unwrap().trim().strip_prefix("mcast ").unwrap();
    let ended = run(&mut command(example.split(' '))).expect(0).quietly();
    assert_eq!(ended.lines.last().unwrap(), "verdict: sound: This host can send to 239.1.2.3:5000 by lo.");
}

/// Each check has a status, what was seen, and one sentence; so in both formats. Without --verbose those that are ok are counted only.
#[test]
fn a_stream_is_heard_and_each_check_shows_what_it_has_seen() {
    for group in [unique_group(), unique_v6_group(0xff05)] {
        let sending = stream(group);
        let text = run(&mut doctor("--from", group, &["--verbose"])).expect(0).quietly();
        let short = run(&mut doctor("--from", group, &[])).expect(0).quietly();
        let json = run(&mut doctor("--from", group, &["--json"])).expect(0).quietly();
        sending.join().unwrap();
        for lines in [&text.lines, &short.lines] {
            assert!(lines.last().unwrap().starts_with("verdict: sound: "), "{lines:?}");
        }
        assert!(short.lines.len() < 20, "{short:?}");
        let (counted, findings) = short.lines[..short.lines.len() - 1].split_last().unwrap();
        let checks = |lines: &[String]| lines.iter().filter(|line| !line.starts_with(' ')).count();
        let all = checks(&text.lines[..text.lines.len() - 1]);
        let ok = all - checks(findings);
        assert_eq!(*counted, format!("ok      {ok} of {all} checks: --verbose prints them"));
        assert!(findings.iter().all(|line| !line.starts_with("ok ")), "{findings:?}");

        let objects = objects(&json);
        let (total, checks) = objects.split_last().unwrap();
        assert_eq!((&total["version"], &total["kind"], &total["stage"]), (&2.into(), &"total".into(), &"sound".into()));
        assert!(total["verdict"].as_str().unwrap().starts_with("sound: "), "{total}");
        assert!(total["received_packets"].as_u64().unwrap() > 0, "{total}");
        assert!(checks.len() >= 30, "{}", checks.len());
        for check in checks {
            let keys: Vec<_> = check.as_object().unwrap().keys().map(String::as_str).collect();
            for key in ["version", "kind", "check", "status", "evidence", "advice"] {
                assert!(keys.contains(&key), "{check}");
            }
            assert_eq!(check["kind"], "check");
            assert!(["ok", "warn", "FAIL", "unknown"].contains(&check["status"].as_str().unwrap()), "{check}");
            assert!(check["advice"].as_str().unwrap().ends_with('.'), "{check}");
            for seen in check["evidence"].as_array().unwrap() {
                assert!(seen["file"].is_string() && seen["before"].is_string() && seen["after"].is_string(), "{seen}");
            }
            // Nothing was left to be filled in.
            assert!(!check.to_string().contains("{}") && !check.to_string().contains("{if}"), "{check}");
            let line = format!("{}: ", check["check"].as_str().unwrap());
            assert!(text.lines.iter().any(|text| text.contains(&line)), "{line} is not in {text:?}");
        }
    }
}

/// A socket of the same user: the check names the program.
#[test]
fn a_program_that_does_not_keep_up_is_named() {
    let group = unique_group();
    let reader = UdpSocket::bind((group.address(), group.port())).unwrap();
    rustix::net::sockopt::set_socket_reuseaddr(&reader, true).unwrap();
    rustix::net::sockopt::set_socket_recv_buffer_size(&reader, 1000).unwrap();
    let (std::net::IpAddr::V4(address), lo) = (group.address(), std::net::Ipv4Addr::LOCALHOST) else { panic!("{group}") };
    reader.join_multicast_v4(&address, &lo).unwrap();
    let sending = stream(group);
    let ended = run(&mut doctor("--from", group, &[])).expect(5).quietly();
    sending.join().unwrap();
    let verdict = ended.lines.last().unwrap();
    assert!(verdict.starts_with("verdict: receive-buffer: "), "{ended:?}");
    assert!(verdict.contains(&format!("(pid {}, fd ", std::process::id())), "{verdict}");
}

#[test]
fn an_interface_that_is_not_there_is_a_finding() {
    let arguments = ["doctor", "--from", "239.1.2.3:5000%nosuch0", "--seconds", "0.2", "--quiet"];
    let ended = run(&mut command(arguments)).expect(5).quietly();
    let [verdict] = &ended.lines[..] else { panic!("{ended:?}") };
    assert!(verdict.starts_with("verdict: link: There is no interface nosuch0: name one of lo"), "{verdict}");
    let ended = run(command(arguments).arg("--json")).expect(5).quietly();
    let [total] = &objects(&ended)[..] else { panic!("{ended:?}") };
    assert_eq!((&total["kind"], &total["stage"], &total["status"]), (&"total".into(), &"link".into(), &"FAIL".into()));
}

#[test]
fn a_signal_ends_it_and_so_does_a_reader_who_is_gone() {
    let doctor = Running::start(&mut command(["doctor", "--from", "239.1.2.3:5000%lo", "--seconds", "60"]));
    std::thread::sleep(Duration::from_millis(300));
    doctor.signal("INT");
    doctor.end().expect(130).quietly();
    let (doctor, output) = Running::start_unread(&mut shell("exec \"$0\" doctor --to 239.1.2.3:5000%lo --seconds 0.5", &[]));
    drop(output);
    doctor.end().expect(141).quietly();
}
