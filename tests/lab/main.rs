//! The laboratory: several hosts on one machine, connected by real links, with real peers. `make lab` runs it.
//!
//! Each host is a network namespace. All of them are inside the namespaces of one process, so that the kernel removes
//! everything when that process ends, also if it is killed: see [`house`].
//!
//! ```text
//! lab             runs all cases and prints a line for each: `LAB <case> ok`, or `LAB <case> failed` and the reason below it
//! lab WORD ..     runs the cases with one of these words in their names
//! lab --proof ..  switches off, from outside the crate, what each case tests: now every case must fail
//! ```

// Nothing here is used from outside this program.
#![allow(unreachable_pub)]

mod cases;
#[path = "../common/mod.rs"]
mod common;
mod house;
mod network;
mod peers;
mod programs;
mod relay;
mod report;
mod trial;

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments = std::env::args().skip(1);
    let (flags, words): (Vec<String>, Vec<String>) = arguments.partition(|argument| argument.starts_with('-'));
    let is_proof = match flags.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => false,
        ["--proof"] => true,
        _ => {
            eprintln!("usage: lab [--proof] [WORD ..]");
            return ExitCode::from(2);
        }
    };
    if !house::is_inside() {
        return house::enter();
    }
    house::set_up();
    let is_wanted = |name: &str| words.is_empty() || words.iter().any(|word| name.contains(word.as_str()));
    report::run(cases::all().filter(|case| is_wanted(case.name)), is_proof)
}
