//! `mcast answer`, which Python's sockets ask, on `lo`.

use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::common::{PATIENCE, Python, unique_group};
use crate::mcast::json::parsed;
use crate::mcast::{mcast as command, shell};
use crate::programs::{Running, run, wait_for_member};
use multicast::Group;

/// Sends each line of its input, in hex digits, to the group, and prints what comes back: port and payload.
const PEER: &str = r#"
import socket, struct, sys, threading
group, port = sys.argv[1], int(sys.argv[2])
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
s.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, struct.pack("=4s4si", bytes(4), socket.inet_aton("127.0.0.1"), 1))
s.bind(("127.0.0.1", 0))
def ask():
    for line in sys.stdin:
        s.sendto(bytes.fromhex(line), (group, port))
threading.Thread(target=ask, daemon=True).start()
print(s.getsockname()[1])
while True:
    payload, source = s.recvfrom(65535)
    print(source[1], payload.hex())
"#;

struct Asker {
    python: Python,
    group: Group,
    port: u16,
}

impl Asker {
    fn new(group: Group) -> Self {
        let mut python = Python::start(PEER, &[&group.address().to_string(), &group.port().to_string()]);
        let port = python.line().parse().unwrap();
        Self { python, group, port }
    }

    fn ask(&mut self, question: &[u8]) {
        self.python.say(&crate::common::peer::hex(question));
    }

    /// The next answer, which must come from the group's port.
    #[track_caller]
    fn answer(&mut self) -> Vec<u8> {
        let line = self.python.line();
        let (port, payload) = line.split_once(' ').unwrap();
        assert_eq!(port, self.group.port().to_string());
        crate::common::peer::from_hex(payload)
    }
}

fn answering(group: Group, arguments: &[&str]) -> Running {
    let mut program = command(["answer", "--interface", "lo", "--from", &group.to_string()]);
    let running = Running::start(program.args(arguments));
    wait_for_member(group);
    running
}

/// The processes that this one has started and that have not been waited for.
fn children(parent: u32) -> Vec<u32> {
    let list = std::fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).unwrap();
    list.split_whitespace().map(|number| number.parse().unwrap()).collect()
}

fn is_alive(process: u32) -> bool {
    // A zombie, too, until somebody has waited for it.
    std::fs::read_to_string(format!("/proc/{process}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

#[test]
fn a_text_and_an_echo_leave_from_the_port_of_the_group() {
    let group = unique_group();
    let mut asker = Asker::new(group);
    let text = answering(group, &["--limit", "2", "four", "words as answer"]);
    for question in [&b"who?"[..], b""] {
        asker.ask(question);
        assert_eq!(asker.answer(), b"four words as answer");
    }
    let ended = text.end().expect(0);
    assert_eq!(ended.lines, [format!("127.0.0.1:{} who?", asker.port), format!("127.0.0.1:{} ", asker.port)]);
    assert_eq!(ended.errors, "mcast: asked 2, answered 2, limited 0, unanswered 0\n");

    let echo = answering(group, &["--echo", "--limit", "3", "--quiet"]);
    let all: Vec<u8> = (0..=255).collect();
    for question in [&all[..], b"", &[7; 65_507]] {
        asker.ask(question);
        assert_eq!(asker.answer(), question);
    }
    echo.end().expect(0).quietly();

    let bytes = answering(group, &["--hex", "00 0aff", "--limit", "1"]);
    asker.ask(b"who?");
    assert_eq!(asker.answer(), [0, 10, 255]);
    bytes.end().expect(0);
}

#[test]
fn only_questions_that_pass_the_filter_are_answered() {
    let group = unique_group();
    let mut asker = Asker::new(group);
    let echo = answering(group, &["--echo", "--filter", "who", "--limit", "1"]);
    asker.ask(b"what?");
    asker.ask(b"who?");
    assert_eq!(asker.answer(), b"who?");
    echo.end().expect(0).saying("asked 1, answered 1");
}

#[test]
fn a_command_gets_the_question_and_prints_the_answer() {
    let group = unique_group();
    let mut asker = Asker::new(group);
    let command = r#"printf '%s,%s,%s,' "$MCAST_SOURCE" "$MCAST_GROUP" "$MCAST_INTERFACE"; cat; printf '\r\n\0'"#;
    let exec = answering(group, &["--exec", command, "--limit", "3"]);
    for question in [vec![], (0..=255).collect(), vec![b'x'; 65_000]] {
        asker.ask(&question);
        let before = format!("127.0.0.1:{},{group},lo,", asker.port);
        assert_eq!(asker.answer(), [before.as_bytes(), &question, b"\r\n\0"].concat());
    }
    exec.end().expect(0).saying("asked 3, answered 3, limited 0, unanswered 0");
}

#[test]
fn a_command_that_fails_prints_nothing_or_too_much_gives_no_answer() {
    let group = unique_group();
    let mut asker = Asker::new(group);
    let command = r#"read -r question; case $question in
        fail) echo no; exit 3;; nothing) ;; much) exec cat /dev/zero;; kill) echo no; kill -9 $$;; unread) exec echo unread;; most) head -c 65507 /dev/zero;;
        *) echo "$question" >&2; printf yes;; esac"#;
    let exec = answering(group, &["--exec", command]);
    asker.ask(b"fail\n");
    exec.wait_until_it_says(&format!("--exec for 127.0.0.1:{}: it ended with exit status: 3", asker.port));
    for question in [&b"nothing\n"[..], b"kill\n", b"much\n"] {
        asker.ask(question);
    }
    asker.ask(&[b"unread\n", &[b'x'; 60_000][..]].concat());
    assert_eq!(asker.answer(), b"unread\n");
    asker.ask(b"most\n");
    assert_eq!(asker.answer(), [0; 65_507]);
    asker.ask(b"to standard error\n");
    assert_eq!(asker.answer(), b"yes");
    exec.wait_until_it_says("to standard error\n");
    // Reports come once a second at most, so only the counter shows all.
    let end = Instant::now() + PATIENCE;
    while !children(exec.id()).is_empty() {
        assert!(Instant::now() < end, "children are left");
    }
    exec.signal("TERM");
    exec.end().expect(143).saying("asked 7, answered 3, limited 0, unanswered 4");
}

#[test]
fn a_command_that_hangs_stops_no_other_and_is_killed_with_all_that_it_started() {
    let group = unique_group();
    let mut asker = Asker::new(group);
    let command = r#"read -r question; case $question in hang) sleep 1000 & sleep 1000;; esac; printf "$question""#;
    let exec = answering(group, &["--exec", command, "--exec-time", "1.5", "--exec-max", "3", "--rate", "1000"]);
    asker.ask(b"hang\n");
    asker.ask(b"hang\n");
    let end = Instant::now() + PATIENCE;
    let hanging = loop {
        assert!(Instant::now() < end, "they are not started");
        let shells = children(exec.id());
        let all: Vec<u32> = shells.iter().flat_map(|shell| children(*shell)).chain(shells.clone()).collect();
        if all.len() == 6 {
            break all;
        }
    };
    let begin = Instant::now();
    for number in 0..20 {
        let question = format!("question {number}\n");
        asker.ask(question.as_bytes());
        assert_eq!(asker.answer(), question.trim().as_bytes());
    }
    if begin.elapsed() < Duration::from_millis(700) {
        // Not on a machine so slow that it has ended already.
        assert!(hanging.iter().all(|process| is_alive(*process)), "{hanging:?}");
    }
    exec.wait_until_it_says("it took longer than --exec-time");
    let end = Instant::now() + PATIENCE;
    while hanging.iter().any(|process| is_alive(*process)) || !children(exec.id()).is_empty() {
        assert!(Instant::now() < end, "something is left");
    }
    exec.signal("INT");
    exec.end().expect(130).saying("asked 22, answered 20, limited 0, unanswered 2");
}

#[test]
fn more_questions_than_commands_wait_for_their_turn() {
    let group = unique_group();
    let mut asker = Asker::new(group);
    let exec = answering(group, &["--exec", "sleep 0.05; cat", "--exec-max", "1", "--rate", "1000", "--limit", "12"]);
    let questions: Vec<_> = (0..12).map(|number| format!("{number}").into_bytes()).collect();
    for question in &questions {
        asker.ask(question);
    }
    for question in &questions {
        assert_eq!(&asker.answer(), question);
    }
    exec.end().expect(0);
}

#[test]
fn commands_end_with_it() {
    let group = unique_group();
    let mut asker = Asker::new(group);
    let exec =
        answering(group, &["--exec", "trap '' TERM; sleep 1000 & while :; do sleep 1000; done", "--exec-time", "100"]);
    asker.ask(b"hang\n");
    let end = Instant::now() + PATIENCE;
    let all = loop {
        assert!(Instant::now() < end, "it is not started");
        let shells = children(exec.id());
        let all: Vec<u32> = shells.iter().flat_map(|shell| children(*shell)).chain(shells.clone()).collect();
        if all.len() == 3 {
            break all;
        }
    };
    exec.signal("TERM");
    exec.end().expect(143).saying("asked 1, answered 0, limited 0, unanswered 1");
    let end = Instant::now() + PATIENCE;
    while all.iter().any(|process| is_alive(*process)) {
        assert!(Instant::now() < end, "{all:?} are left");
    }
}

#[test]
fn a_flood_of_questions_gets_few_answers() {
    let group = unique_group();
    let mut asker = Asker::new(group);
    let echo = answering(group, &["--echo", "--rate", "50", "--json"]);
    let begin = Instant::now();
    for _ in 0..200 {
        asker.ask(b"who?");
    }
    // A burst of five to one address, and then five a second.
    for _ in 0..5 {
        asker.answer();
    }
    let time = begin.elapsed();
    std::thread::sleep(Duration::from_millis(300));
    echo.signal("TERM");
    let ended = echo.end().expect(143);
    let most = 6 + begin.elapsed().as_secs() * 5;
    let total =
        parsed(&ended.lines[ended.lines.len() - 1..], "o['kind'], o['questions'], o['answers'], o['limited_questions']");
    let numbers: Vec<u64> =
        total[0].trim_matches(['(', ')']).split(", ").skip(1).map(|number| number.parse().unwrap()).collect();
    let [asked, answered, limited] = numbers[..] else { panic!("{total:?}") };
    assert!(asked == 200 && answered + limited == 200 && (5..=most).contains(&answered), "{total:?} in {time:?}");
    let kinds = parsed(&ended.lines[..ended.lines.len() - 1], "o['kind'], o['group'], o['interface'], o['payload_text']");
    assert_eq!(kinds.len() as u64, answered);
    assert!(kinds.iter().all(|kind| *kind == format!("('question', '{group}', 'lo', 'who?')")), "{kinds:?}");
}

#[test]
fn a_time_without_questions_has_a_status_of_its_own() {
    let group = unique_group();
    let with = |arguments: &[&str]| {
        let mut program = command(["answer", "--interface", "lo", "--from", &group.to_string(), "--timeout", "0.4"]);
        Running::start(program.args(arguments))
    };
    with(&["--echo"]).end().expect(3).saying("nothing was answered").saying("asked 0, answered 0");
    let mut asker = Asker::new(group);
    let echo = with(&["--echo", "--limit", "1000", "--timeout", "2"]);
    wait_for_member(group);
    asker.ask(b"who?");
    echo.end().expect(4).saying("the time is up: 1 of 1000 answers left");
}

#[test]
fn a_reader_that_is_slow_does_not_delay_the_answer_and_one_that_is_gone_ends_it() {
    let group = unique_group();
    let mut asker = Asker::new(group);
    let mut program = command(["answer", "--interface", "lo", "--from", &group.to_string(), "--rate", "1000", "--echo"]);
    let (echo, output) = Running::start_unread(program.stdin(Stdio::null()));
    wait_for_member(group);
    // Printed, this is longer than the pipe.
    asker.ask(&[0; 60_000]);
    assert_eq!(asker.answer().len(), 60_000);
    drop(output);
    echo.end().expect(141).quietly();
}

#[test]
fn what_to_answer_must_be_said_once() {
    for (arguments, reason) in [
        (&[][..], "say what to answer"),
        (&["--echo", "text"], "give one of TEXT, --echo and --exec COMMAND"),
        (&["--echo", "--exec", "date"], "give one of"),
        (&["--echo", "--hex"], "--hex is for TEXT"),
        (&["--hex", "0"], "odd number of digits"),
        (&["--echo", "--exec-max", "65"], "--exec-max 65: give 1 to 64"),
        (&["--echo", "--rate", "0"], "--rate 0: give answers a second"),
    ] {
        let program = &mut command(["answer", "--interface", "lo"]);
        run(program.args(arguments)).expect(2).saying(reason).saying("mcast answer --help");
    }
    run(command(["answer", &"x".repeat(65_508)]).stdin(Stdio::null())).expect(2).saying("at most 65507 bytes");
}

/// With few descriptors a command cannot be started. That is reported, and the next question is answered if it can.
#[test]
fn without_descriptors_it_goes_on() {
    let group = unique_group();
    let mut asker = Asker::new(group);
    let mut refused = 0;
    for limit in 17..24 {
        let script = format!("ulimit -n {limit}; exec \"$0\" answer --interface lo --from {group} --exec cat");
        let exec = Running::start(&mut shell(&script, &[]));
        wait_for_member(group);
        asker.ask(b"who?");
        asker.ask(b"who?");
        let end = Instant::now() + PATIENCE;
        loop {
            assert!(Instant::now() < end, "neither an answer nor an error");
            let line = exec.line_within(Duration::from_millis(500));
            if line.is_none() {
                break;
            }
        }
        exec.signal("TERM");
        let ended = exec.end().expect(143).saying("asked 2, answered ");
        refused += u32::from(ended.errors.contains("--exec: Too many open files"));
    }
    assert!(refused > 0);
}

#[test]
fn when_the_terminal_is_gone_it_ends_its_commands_and_says_what_it_did() {
    let group = unique_group();
    let answer = answering(group, &["--exec", "exec sleep 1000 2>&-", "--exec-time", "1000"]);
    let begin = Instant::now();
    let mut asker = Asker::new(group);
    asker.ask(b"question");
    let command = loop {
        let children = std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", answer.id())).unwrap();
        if !children.is_empty() {
            break children.trim().to_owned();
        }
        assert!(begin.elapsed() < PATIENCE);
    };
    answer.signal("HUP");
    answer.end().expect(129).saying("asked 1, answered 0");
    assert!(!std::path::Path::new(&format!("/proc/{command}")).exists());
}
