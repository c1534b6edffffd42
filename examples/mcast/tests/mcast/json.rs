//! JSON that `mcast` prints, read by Python's `json`.

// Each test file compiles its own copy and uses a part of it.
#![allow(dead_code, unreachable_pub)]

use std::io::Write;
use std::process::{Command, Stdio};

const READER: &str = r#"
import json, sys
for line in sys.stdin:
    o = json.loads(line)
    assert type(o) is dict and type(o["version"]) is int and type(o["kind"]) is str, line
    print(eval(sys.argv[1]))
"#;

/// What this Python expression gives for each line, of which each must be an object `o` with version and kind.
#[track_caller]
pub fn parsed<L: AsRef<str>>(lines: &[L], expression: &str) -> Vec<String> {
    let mut python = Command::new("python3");
    python.args(["-c", READER, expression]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut python = python.spawn().unwrap();
    let mut input = python.stdin.take().unwrap();
    for line in lines {
        writeln!(input, "{}", line.as_ref()).unwrap();
    }
    drop(input);
    let output = python.wait_with_output().unwrap();
    let lines: Vec<_> = lines.iter().map(AsRef::as_ref).collect();
    assert!(output.status.success(), "{lines:?}");
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}
