//! What `mcast` shows on a terminal while it works: with a pseudo terminal (`pty(7)`).

use std::process::Command;
use std::time::{Duration, Instant};

use crate::common::{Python, send_all, unique_group};
use crate::mcast::{listen_arguments, mcast as command};
use crate::programs::{run, wait_for_member};
use multicast::Group;

/// Runs a program whose standard error is a terminal, its controlling one. The first word says what else: `pipe` for standard output in a
/// pipe, `both` for both on the terminal, `stopped` for a terminal that takes nothing, `background` for a job in its background. What is
/// typed comes from standard input, in hex digits up to the line `end`. At the end it prints what came from the terminal, and the status.
const TERMINAL: &str = r#"
import fcntl, os, pty, subprocess, sys, termios, threading
how, *program = sys.argv[1:]
master, slave = pty.openpty()
settings = termios.tcgetattr(slave)
settings[3] &= ~termios.ECHO
termios.tcsetattr(slave, termios.TCSANOW, settings)
if how == "stopped":
    termios.tcflow(slave, termios.TCOOFF)
os.setsid()
fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
output = slave if how == "both" else subprocess.PIPE
group = 0 if how == "background" else None
child = subprocess.Popen(program, stdin=subprocess.PIPE, stdout=output, stderr=slave, process_group=group)
def type_in():
    for line in sys.stdin:
        if line == "end\n":
            break
        child.stdin.write(bytes.fromhex(line))
        child.stdin.flush()
    child.stdin.close()
threading.Thread(target=type_in, daemon=True).start()
if how != "both":
    threading.Thread(target=child.stdout.read, daemon=True).start()
said = bytearray()
def read():
    while True:
        try:
            said.extend(os.read(master, 65536))
        except OSError:
            return
reader = threading.Thread(target=read)
reader.start()
status = child.wait()
os.close(slave)
reader.join(5)
print(status, said.hex())
"#;

struct Shown {
    status: i32,
    /// As it was written.
    raw: String,
    /// What stood on each line of the terminal when the next one began, without blanks at its end.
    lines: Vec<String>,
}

/// Reads what a terminal got.
fn shown(line: &str) -> Shown {
    let (status, hex) = line.split_once(' ').unwrap();
    let raw = String::from_utf8(crate::common::peer::from_hex(hex)).unwrap();
    let (mut lines, mut columns, mut at) = (Vec::new(), Vec::<char>::new(), 0);
    for each in raw.replace("\r\n", "\n").chars() {
        match each {
            '\r' => at = 0,
            '\n' => {
                lines.push(columns.drain(..).collect::<String>().trim_end().to_owned());
                at = 0;
            }
            other => {
                columns.resize(columns.len().max(at + 1), ' ');
                columns[at] = other;
                at += 1;
            }
        }
    }
    lines.push(columns.iter().collect::<String>().trim_end().to_owned());
    Shown { status: status.parse().unwrap(), raw, lines }
}

fn on_terminal(how: &str, program: &Command) -> Python {
    let words = std::iter::once(program.get_program()).chain(program.get_args());
    let words: Vec<_> = words.map(|word| word.to_str().unwrap()).collect();
    Python::start(TERMINAL, &[&[how], words.as_slice()].concat())
}

/// To the end of the program.
fn seen(how: &str, program: &Command) -> Shown {
    shown(&on_terminal(how, program).line())
}

fn send(group: Group, arguments: &[&str]) -> Command {
    crate::mcast::send(group, arguments)
}

/// The numbers of a line like `sent 20 packets, 10/s, 30 B/s`.
fn numbers(line: &str, verb: &str) -> [u64; 3] {
    let words: Vec<_> = line.split(' ').collect();
    let [its_verb, packets, "packets,", rate, bytes, "B/s"] = words[..] else { panic!("{line}") };
    assert_eq!(its_verb, verb);
    [packets, rate.strip_suffix("/s,").unwrap(), bytes].map(|number| number.parse().unwrap())
}

#[test]
fn a_terminal_shows_each_second_how_much_was_sent_and_how_fast() {
    let begin = Instant::now();
    let program = send(unique_group(), &["--rate", "20", "--count", "1000", "--timeout", "3.4", "five!"]);
    let shown = seen("pipe", &program);
    let drawn: Vec<_> = shown.raw.split('\r').filter(|part| part.starts_with("sent ")).map(str::trim_end).collect();
    assert!((2..=begin.elapsed().as_secs() as usize).contains(&drawn.len()), "{drawn:?}");
    for line in drawn {
        let [packets, rate, bytes] = numbers(line, "sent");
        assert!((10..=70).contains(&packets) && (5..=25).contains(&rate) && (25..=125).contains(&bytes), "{line}");
    }
    // Only the last message is left.
    assert_eq!((shown.status, shown.lines.len()), (0, 2), "{:?}", shown.lines);
    assert!(shown.lines[0].starts_with("mcast: sent ") && shown.lines[1].is_empty(), "{:?}", shown.lines);
}

#[test]
fn nothing_is_shown_in_a_pipe_in_the_background_or_if_it_is_to_be_quiet() {
    let group = unique_group();
    let arguments = ["--rate", "10", "--count", "1000", "--timeout", "1.5", "text"];
    let ended = run(&mut send(group, &arguments)).expect(0);
    assert!(ended.errors.starts_with("mcast: sent ") && ended.errors.lines().count() == 1, "{ended:?}");
    let shown = seen("background", &send(group, &arguments));
    assert!(shown.raw.starts_with("mcast: sent ") && shown.lines.len() == 2, "{:?}", shown.raw);
    let shown = seen("pipe", &send(group, &[&["--quiet"], &arguments[..]].concat()));
    assert_eq!((shown.status, shown.raw.as_str()), (0, ""));
}

#[test]
fn packets_on_a_terminal_are_not_mixed_with_progress() {
    for (how, is_shown) in [("both", false), ("pipe", true)] {
        let group = unique_group();
        let mut terminal = on_terminal(how, &command(listen_arguments(group, &["--limit", "30"])));
        wait_for_member(group);
        for _ in 0..30 {
            send_all(group, ["packet"]);
            std::thread::sleep(Duration::from_millis(80));
        }
        let shown = shown(&terminal.line());
        assert_eq!(shown.raw.contains("received 1") && shown.raw.contains("/s, "), is_shown, "{:?}", shown.raw);
        let [lines @ .., counters, last] = shown.lines.as_slice() else { panic!("{:?}", shown.lines) };
        assert_eq!(
            (counters.as_str(), last.as_str()),
            ("mcast: received 30, rejected 0, truncated 0, dropped 0, foreign 0", "")
        );
        assert_eq!(lines.len(), if is_shown { 0 } else { 30 }, "{lines:?}");
        assert!(lines.iter().all(|line| line.starts_with("127.0.0.1:") && line.ends_with(" packet")), "{lines:?}");
    }
}

#[test]
fn a_message_has_a_line_of_its_own() {
    let mut terminal = on_terminal("pipe", &send(unique_group(), &["--hex"]));
    let mut say = |line: &[u8]| {
        terminal.say(&crate::common::peer::hex(line));
        std::thread::sleep(Duration::from_millis(1_200));
    };
    say(b"00\n");
    say(b"0\n");
    say(b"01\n");
    say(b"1\n02");
    terminal.say("end");
    let shown = shown(&terminal.line());
    assert!(shown.raw.matches("sent ").count() >= 2, "{:?}", shown.raw);
    let odd = "--hex: there is an odd number of digits: each byte has two";
    let expected = [
        format!("mcast: line 2: {odd}"),
        format!("mcast: line 4: {odd}"),
        "mcast: 2 lines were not sent".to_owned(),
        String::new(),
    ];
    assert_eq!((shown.status, shown.lines), (1, expected.to_vec()));
}

#[test]
fn a_terminal_that_takes_nothing_does_not_stop_it() {
    let group = unique_group();
    let mut listener = multicast::ListenOptions::new().bind::<1500>(crate::common::on_lo(group)).unwrap();
    let _terminal = on_terminal("stopped", &send(group, &["--rate", "10", "--count", "1000", "--timeout", "9", "text"]));
    for _ in 0..35 {
        assert_eq!(crate::common::expect_packet(&mut listener), b"text");
    }
}
