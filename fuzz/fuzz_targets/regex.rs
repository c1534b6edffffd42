//! The checks before a pattern is matched, with patterns and packets of few letters: they never reject a packet that matches,
//! here or in the kernel. Compares the filter with regex-lite, and, where both mean the same, with Python's `re`.
#![no_main]

use std::cell::RefCell;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use libfuzzer_sys::fuzz_target;
use multicast::Family;
use multicast::filter::kernel::{Assembler, Instruction};
use multicast::filter::{Filter, Regex};

#[path = "../../tests/bpf/mod.rs"]
mod bpf;

use bpf::{Bytes, Sent, World, assert_sound};

/// Pieces of the syntax that regex-lite and Python share.
const PIECES: [&str; 45] = [
    "a",
    "b",
    "A",
    "B",
    "aab",
    "1",
    "_",
    " ",
    "\\n",
    "\\x61",
    "\\x00",
    "\\xC3",
    "\\xFF",
    ".",
    "|",
    "*",
    "+",
    "?",
    "*?",
    "??",
    "{2}",
    "{1,3}",
    "{0}",
    "{2,}",
    "(",
    "(?:",
    "(?P<n>",
    ")",
    ")",
    ")",
    "(?i:",
    "(?s:",
    "(?m:",
    "[ab]",
    "[^a]",
    "[a-c1]",
    "[\\xC0-\\xFF]",
    "\\d",
    "\\w",
    "\\S",
    "\\D",
    "\\b",
    "\\B",
    "^",
    "$",
];

fn pattern(bytes: &mut Bytes<'_>) -> String {
    let flags = bytes.choose(&["", "", "(?i)", "(?s)", "(?m)", "(?is)"]);
    let count = bytes.below(14);
    let pieces: String = (0..count).map(|_| bytes.choose(&PIECES)).collect();
    format!("{flags}{pieces}")
}

fn packet(bytes: &mut Bytes<'_>) -> Vec<u8> {
    let count = bytes.below(12);
    (0..count).map(|_| bytes.choose(b"aabbAB1_ \nc\x00\xC3\xE9\xFF")).collect()
}

/// A Python process that answers one line for each question.
struct Python {
    _child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

const PROGRAM: &str = r#"
import re, sys, warnings
warnings.simplefilter("ignore")
for line in sys.stdin:
    pattern, packet = (bytes.fromhex(field) for field in line.rstrip("\n").split(" "))
    try:
        print("match" if re.match(pattern, packet) else "none", flush=True)
    except (re.error, OverflowError, RecursionError):
        print("error", flush=True)
"#;

impl Python {
    fn start() -> Option<Self> {
        let mut child =
            Command::new("python3").args(["-c", PROGRAM]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().ok()?;
        let (input, output) = (child.stdin.take()?, BufReader::new(child.stdout.take()?));
        Some(Self { _child: child, input, output })
    }

    fn ask(&mut self, pattern: &str, packet: &[u8]) -> String {
        let hexadecimal = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        writeln!(self.input, "{} {}", hexadecimal(pattern.as_bytes()), hexadecimal(packet)).unwrap();
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }
}

thread_local! {
    static PYTHON: RefCell<Option<Python>> = RefCell::new(Python::start());
}

fuzz_target!(|input: &[u8]| {
    let mut bytes = Bytes(input);
    let pattern = pattern(&mut bytes);
    let Ok(mut filter) = Regex::new(&pattern) else { return };
    // Bytes are characters for both; an ASCII pattern means the same to regex-lite, except for the case of non-ASCII letters.
    let alone = regex_lite::Regex::new(&format!("\\A(?:{pattern})")).expect("it is a pattern");
    let mut buffer = [Instruction::ZERO; 64];
    let mut code = Assembler::new(&mut buffer, 1500, Family::V4);
    let fit = filter.compile(&mut code);
    let source: SocketAddr = World::v4().sources[0];
    for _ in 0..6 {
        let payload = packet(&mut bytes);
        let text: String = payload.iter().copied().map(char::from).collect();
        let accepted = filter.accepts(&payload, source);
        assert_eq!(accepted, alone.is_match(&text), "{pattern:?} on {}", payload.escape_ascii());
        let sent = Sent { payload, source, destination: World::v4().destination, interface: 1, hop_limit: 64 };
        assert_sound(&mut filter, &code, fit, &sent);
        // Python means something else by `$` before a last newline, possessive repetitions, and `\B` in an empty packet. It takes
        // most of the time, so it does not get every packet.
        let is_other = (pattern.contains('$') && sent.payload.ends_with(b"\n"))
            || ["*+", "++", "?+", "}+"].iter().any(|possessive| pattern.contains(possessive))
            || (pattern.contains("\\B") && sent.payload.is_empty());
        if !is_other && bytes.next() % 16 == 0 {
            let answer = PYTHON.with_borrow_mut(|python| python.as_mut().map(|python| python.ask(&pattern, &sent.payload)));
            let expected = if accepted { "match" } else { "none" };
            // Some patterns, such as `a**` or two groups of one name, are errors in Python.
            assert!(
                answer.as_deref().is_none_or(|answer| answer == expected || answer == "error"),
                "{pattern:?} on {}: Python says {answer:?}, we say {expected}",
                sent.payload.escape_ascii()
            );
        }
    }
});
