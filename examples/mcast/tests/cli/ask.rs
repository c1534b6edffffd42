//! `mcast ask`, which Python's sockets answer, on `lo`.

use std::process::{Command, Stdio};
use std::time::Duration;

use crate::common::{Python, unique_group};
use crate::mcast::json::parsed;
use crate::mcast::{mcast as command, shell};
use crate::programs::{Running, run};
use multicast::Group;

/// Joins the group. For each question it does what the lines of its input said, a list for each question: `say TEXT` answers from a new
/// socket, `same TEXT` from one that stays, `broadcast TEXT` sends to the asker's port on all of `lo`, `wait` waits for the next line.
const PEER: &str = r#"
import socket, struct, sys
group, port = sys.argv[1], int(sys.argv[2])
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind((group, port))
join = struct.pack("=4s4si", socket.inet_aton(group), bytes(4), socket.if_nametoindex("lo"))
s.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, join)
stays = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
print("ready")
while True:
    question, source = s.recvfrom(65535)
    print("asked", question.hex())
    for action in sys.argv[3:]:
        verb, _, text = action.partition(" ")
        if verb == "wait":
            sys.stdin.readline()
        elif verb == "same":
            stays.sendto(text.encode(), source)
        else:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as new:
                new.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
                to = ("127.255.255.255", source[1]) if verb == "broadcast" else source
                new.sendto(text.encode(), to)
"#;

/// A peer that answers so.
fn peer(group: Group, actions: &[&str]) -> Python {
    let (address, port) = (group.address().to_string(), group.port().to_string());
    let mut python = Python::start(PEER, &[&[address.as_str(), port.as_str()], actions].concat());
    assert_eq!(python.line(), "ready");
    python
}

fn ask(group: Group, arguments: &[&str]) -> Command {
    let mut program = command(["ask", "--interface", "lo", "--to", &group.to_string()]);
    program.args(arguments);
    program
}

fn payloads(lines: &[String]) -> Vec<&str> {
    lines.iter().map(|line| crate::programs::payload_of(line)).collect()
}

#[test]
fn answers_are_printed_as_they_come() {
    let group = unique_group();
    let mut peer = peer(group, &["say one", "wait", "say two\n"]);
    let asking = Running::start(&mut ask(group, &["--wait", "8", "--limit", "2", "who", "is there"]));
    assert_eq!(peer.line(), "asked 77686f206973207468657265");
    let line = asking.line();
    assert!(line.starts_with("127.0.0.1:") && line.ends_with(" one"), "{line}");
    peer.say("go on");
    assert_eq!(asking.payload(), r"two\x0a");
    let ended = asking.end().expect(0);
    assert_eq!(ended.errors, "mcast: asked 1, answers 2, repeated 0, others 0\n");
}

#[test]
fn too_few_answers_and_none_have_a_status_of_their_own() {
    let group = unique_group();
    let ended = run(&mut ask(group, &["--wait", "0.3", "who"])).expect(3).saying("nothing was answered");
    assert!(ended.time >= Duration::from_millis(300) && ended.time < Duration::from_secs(3), "{:?}", ended.time);
    let _peer = peer(group, &["say one", "say two"]);
    run(&mut ask(group, &["--wait", "0.5", "--min", "2", "who"])).expect(0);
    let ended = run(&mut ask(group, &["--wait", "0.5", "--min", "3", "who"])).expect(4).saying("2 of 3 answers came");
    assert_eq!(payloads(&ended.lines), ["one", "two"]);
    run(&mut ask(group, &["--wait", "0.5", "--limit", "3", "who"])).expect(4).saying("2 of 3 answers came");
    let ended = run(&mut ask(group, &["--wait", "20", "--timeout", "0.5", "who"])).expect(0);
    assert!(ended.time < Duration::from_secs(3) && ended.lines.len() == 2, "{ended:?}");
    let ended = run(&mut ask(group, &["--wait", "0.5", "--quiet", "who"])).expect(0).quietly();
    assert_eq!(ended.lines.len(), 2);
}

#[test]
fn no_answer_makes_the_wait_longer() {
    let group = unique_group();
    let actions: Vec<_> = (0..5_000).map(|number| format!("say {number}")).collect();
    let _peer = peer(group, &actions.iter().map(String::as_str).collect::<Vec<_>>());
    let ended = run(&mut ask(group, &["--wait", "0.3", "who"])).expect(0);
    assert!(ended.time < Duration::from_secs(3), "{:?}", ended.time);
}

#[test]
fn a_repeated_answer_is_printed_once_and_counted() {
    let group = unique_group();
    let _peer = peer(group, &["same as ever", "say from a new port"]);
    let arguments = ["--repeat", "3", "--every", "0.1", "--wait", "0.3", "who"];
    let ended = run(&mut ask(group, &arguments)).expect(0);
    let mut heard = payloads(&ended.lines);
    heard.sort_unstable();
    assert_eq!(heard, ["as ever", "from a new port", "from a new port", "from a new port"]);
    assert_eq!(ended.errors, "mcast: asked 3, answers 4, repeated 2, others 0\n");
    assert!(ended.time >= Duration::from_millis(500), "{:?}", ended.time);
}

#[test]
fn what_is_no_answer_is_counted() {
    let group = unique_group();
    let _peer = peer(group, &["broadcast to all", "broadcast to all", "say to you"]);
    let ended = run(&mut ask(group, &["--wait", "0.3", "who"])).expect(0);
    assert_eq!(payloads(&ended.lines), ["to you"]);
    assert_eq!(ended.errors, "mcast: asked 1, answers 1, repeated 0, others 2\n");
}

#[test]
fn answers_are_printed_in_all_formats() {
    let group = unique_group();
    let _peer = peer(group, &["say a\"\\é"]);
    let with = |arguments: &[&str]| run(&mut ask(group, &[&["--limit", "1"], arguments, &["who"]].concat())).expect(0);
    assert_eq!(payloads(&with(&[]).lines), [r#"a"\\\xc3\xa9"#]);
    assert_eq!(payloads(&with(&["--format", "hex"]).lines), ["61225cc3a9"]);
    assert_eq!(with(&["--format", "raw"]).lines, ["a\"\\é"]);
    for arguments in [&["--json"][..], &["--format", "json"]] {
        let lines = with(arguments).lines;
        let (answer, total) = (&lines[..1], &lines[1..]);
        assert_eq!(parsed(answer, "o['version'], o['kind'], o['interface'], o['group']"), ["(2, 'answer', 'lo', None)"]);
        assert_eq!(parsed(answer, "o['source'].startswith('127.0.0.1:') and 0 < o['after_us'] < 10_000_000"), ["True"]);
        assert_eq!(
            parsed(
                answer,
                "o['size_bytes'], o['missing_bytes'], bytes.fromhex(o['payload_hex']).decode(), o['payload_text']"
            ),
            [r#"(5, 0, 'a"\\é', 'a"\\é')"#]
        );
        assert_eq!(
            parsed(total, "sorted(o.items())"),
            ["[('answers', 1), ('dropped_packets', 0), ('kind', 'total'), ('other_packets', 0), ('questions', 1), \
              ('repeated_answers', 0), ('version', 2)]"]
        );
    }
}

#[test]
fn the_question_can_be_bytes_and_come_from_standard_input() {
    let group = unique_group();
    let mut peer = peer(group, &["say yes"]);
    let mut with = |program: &mut Command, input: &[u8], question: &str| {
        let mut asking = Running::start(program);
        asking.say(input);
        drop(asking.input.take());
        asking.end().expect(0);
        assert_eq!(peer.line(), format!("asked {question}"));
    };
    with(&mut ask(group, &["--limit", "1", "--hex", "00 ff0A"]), b"", "00ff0a");
    with(&mut ask(group, &["--limit", "1", "--", "-"]), b"M-SEARCH\r\n\r\n\0", "4d2d5345415243480d0a0d0a00");
    with(&mut ask(group, &["--limit", "1", "--hex", "-"]), b"00 ff\n0A\n", "00ff0a");
    with(&mut ask(group, &["--limit", "1", ""]), b"", "");
    let script = "exec \"$0\" ask --interface lo --to \"$1\" --limit 1 - <\"$2\"";
    let path = std::env::temp_dir().join(format!("multicast-{group}"));
    std::fs::write(&path, "from a file\n").unwrap();
    with(&mut shell(script, &[&group.to_string(), path.to_str().unwrap()]), b"", "66726f6d20612066696c650a");
    std::fs::remove_file(&path).unwrap();
}

#[test]
fn a_question_that_cannot_be_asked_is_an_error_message() {
    let group = unique_group();
    for (arguments, reason) in [
        (&[][..], "write the question"),
        (&["--hex", "0"], "odd number of digits"),
        (&["--repeat", "0", "who"], "--repeat 0: give 1 to"),
        (&["--wait", "soon", "who"], "--wait soon: give seconds"),
        (&["--count", "2", "who"], "no such option here: --count"),
        (&["--min", "3", "--limit", "2", "who"], "--limit 2 ends before --min 3 is reached: give at least 3"),
    ] {
        run(&mut ask(group, arguments)).expect(2).saying(reason).saying("mcast ask --help");
    }
    for (arguments, reason) in [
        (["ask", "239.1.2.3:5000", "who"], "TEXT begins with 239.1.2.3:5000: write --to before it"),
        #[cfg(feature = "send")]
        (["send", "239.1.2.3", "who"], "TEXT begins with 239.1.2.3: write --to before it"),
        (["ask", "-i", "lo"], "no such option here: -i"),
    ] {
        run(&mut command(arguments)).expect(2).saying(reason);
    }
    #[cfg(feature = "send")]
    run(&mut command(["send", "--interface", "lo", "--to", &group.to_string(), "239.1.2.3"])).expect(0);
    run(&mut ask(group, &[&"x".repeat(65_508)])).expect(1).saying("too long for UDP");
    run(&mut shell("head -c 70000 /dev/zero | \"$0\" ask --interface lo -", &[])).expect(1).saying("too long");
    run(&mut shell("exec \"$0\" ask --interface lo - <&-", &[])).expect(1).saying("standard input is closed");
    run(&mut shell("exec \"$0\" ask --interface lo who >&-", &[])).expect(1).saying("standard output is closed");
    run(&mut command(["ask", "--interface", "nosuch0", "who"])).expect(1).saying("no such interface");
}

#[test]
fn a_signal_a_closed_output_and_an_input_without_end_end_it() {
    let group = unique_group();
    let mut peer = peer(group, &["say yes"]);
    let asking = Running::start(&mut ask(group, &["--wait", "100", "who"]));
    assert_eq!(asking.payload(), "yes");
    asking.signal("INT");
    asking.end().expect(130).saying("asked 1, answers 1");
    assert_eq!(peer.line(), "asked 77686f");

    let (asking, output) = Running::start_unread(ask(group, &["--wait", "100", "who"]).stdin(Stdio::null()));
    assert_eq!(peer.line(), "asked 77686f");
    drop(output);
    asking.end().expect(141).quietly();

    let asking = Running::start(&mut ask(group, &["--timeout", "0.3", "-"]));
    asking.end().expect(1).saying("the time is up");
}
