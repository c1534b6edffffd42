//! Runs `mcast` as a shell does.

// Each test file compiles its own copy and uses a part of it.
#![allow(dead_code, unreachable_pub)]

pub mod captures;
pub mod json;

use std::ffi::OsStr;
use std::process::Command;

use multicast::Group;

use crate::programs::{Running, wait_for_member};

/// `mcast` with these arguments, not started yet.
pub fn mcast<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mcast"));
    command.args(arguments);
    command
}

/// A shell script, not started yet, in which `"$0"` is `mcast` and `"$1"` to `"$9"` are these arguments.
pub fn shell(script: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", script]).arg(env!("CARGO_BIN_EXE_mcast")).args(arguments);
    command
}

/// `mcast listen` on `lo`, with more arguments. It is a member of the group when this returns.
pub fn listen(group: Group, arguments: &[&str]) -> Running {
    let running = Running::start(&mut mcast(listen_arguments(group, arguments)));
    wait_for_member(group);
    running
}

/// The arguments of `mcast listen` on `lo`.
pub fn listen_arguments(group: Group, arguments: &[&str]) -> Vec<String> {
    let on_lo = ["listen", "--interface", "lo", "--from", &group.to_string()].map(str::to_owned);
    on_lo.into_iter().chain(arguments.iter().map(|argument| (*argument).to_owned())).collect()
}

/// `mcast send` on `lo`, with more arguments.
pub fn send(group: Group, arguments: &[&str]) -> Command {
    let mut command = mcast(["send", "--interface", "lo", "--to", &group.to_string()]);
    command.args(arguments);
    command
}

/// A shell script with the example of a command's help, after which all that runs in the background has ended.
pub fn example(name: &str) -> String {
    let help = crate::programs::run(&mut mcast([name, "--help"])).expect(0).quietly();
    let example: Vec<_> = help.lines.iter().skip_while(|line| *line != "Example:").skip(1).map(String::as_str).collect();
    assert!(!example.is_empty(), "{help:?}");
    format!("mcast() {{ \"$0\" \"$@\"; }}\n{}\nstatus=$?; wait $! && exit $status", example.join("\n"))
}
