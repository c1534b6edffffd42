//! The laboratory: several hosts on one machine, with real links and real peers between them. `make lab` runs it.
//!
//! Each host is a network namespace. All of them live in namespaces of one outer process, so that the kernel itself removes whatever
//! is left when that one ends, however it ends: see [`house`].
//!
//! ```text
//! lab             runs all cases: a line for each, `LAB <case> ok` or `LAB <case> failed` with the reason below it
//! lab WORD ..     runs the cases with one of these words in their names
//! lab --proof ..  switches off what each case tests, from outside the product: now each of them has to fail
//! ```

// Nothing here can be reached from anywhere else.
#![allow(unreachable_pub)]

mod cases;
#[path = "../common/mod.rs"]
mod common;
mod house;
mod network;
mod peers;
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
    house::furnish();
    let is_wanted = |name: &str| words.is_empty() || words.iter().any(|word| name.contains(word.as_str()));
    report::run(cases::all().filter(|case| is_wanted(case.name)), is_proof)
}
