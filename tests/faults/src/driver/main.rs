//! Uses the library as a careful program does: it reports each error, and tries again. `driver SCENARIO NUMBER` runs one scenario on
//! `lo`, with groups and ports that this number makes its own. `driver --list` prints their names. `driver --stack CALL BYTES` makes one call with
//! little stack.
//!
//! `--lasting` says that what fails may fail at each try, `--descriptors N` how many there are (`ulimit -n`).
//!
//! Two calls of `getppid` mark the part whose system calls `faults` makes fail. Then it prints a verdict:
//!
//!   ok                    each packet came once, and no descriptor was left open
//!   bad WHY               what must never be
//!
//! and before it a line `error WHY` for each error that the library returned.

mod core_scenarios;
mod duplex;
mod handles;
mod run;
mod stack;

use std::process::ExitCode;

use run::{Run, descriptors};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

type Scenario = (&'static str, fn(&mut Run));

fn main() -> ExitCode {
    let scenarios: Vec<Scenario> = [core_scenarios::ALL, duplex::ALL, handles::ALL].into_iter().flatten().copied().collect();
    let words: Vec<String> = std::env::args().skip(1).collect();
    if let [flag, name, left] = words.as_slice()
        && flag == "--stack"
    {
        return with_stack(name, left);
    }
    let [name, number, options @ ..] = words.as_slice() else {
        for (name, _) in scenarios {
            println!("{name}");
        }
        return ExitCode::SUCCESS;
    };
    let (Some((_, scenario)), Ok(number)) = (scenarios.iter().find(|(known, _)| known == name), number.parse::<u16>())
    else {
        eprintln!("driver: no such scenario: {name} {number}");
        return ExitCode::from(2);
    };
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    let run = match options.as_slice() {
        [] => judged(scenario, number, false),
        ["--lasting"] => judged(scenario, number, true),
        ["--lasting", "--descriptors", limit] => match limit.parse() {
            Ok(limit) => with_descriptors(limit, scenario, number),
            Err(_) => return ExitCode::from(2),
        },
        _ => return ExitCode::from(2),
    };
    run.print();
    ExitCode::SUCCESS
}

/// Makes this call with so many bytes of stack, or prints the names of all calls, and what each may need.
fn with_stack(name: &str, left: &str) -> ExitCode {
    let (Some((_, _, call)), Ok(left)) = (stack::ALL.iter().find(|(known, ..)| *known == name), left.parse()) else {
        stack::ALL.iter().for_each(|(name, limit, _)| println!("{name} {limit}"));
        return ExitCode::from(2);
    };
    let mut run = Run::new(1, false);
    for group in [run.group(1), run.group_v6(1)] {
        if let Err(error) = stack::call(*call, group, left) {
            run.bad(error);
        }
    }
    run.print();
    ExitCode::SUCCESS
}

fn judged(scenario: &fn(&mut Run), number: u16, is_lasting: bool) -> Run {
    let mut run = Run::new(number, is_lasting);
    let before = descriptors();
    // The marks.
    let _ = rustix::process::getppid();
    scenario(&mut run);
    let _ = rustix::process::getppid();
    let left = descriptors().saturating_sub(before);
    if left > 0 {
        run.bad(format!("{left} descriptors are left open"));
    }
    run
}

/// Runs it with this limit (`ulimit -n`), and once more without: then all must be as if nothing had been.
fn with_descriptors(limit: u64, scenario: &fn(&mut Run), number: u16) -> Run {
    let before = descriptors();
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let limited = Rlimit { current: Some(limit), maximum };
    let mut run = Run::new(number, true);
    if setrlimit(Resource::Nofile, limited).is_err() {
        run.bad("the limit cannot be set");
    }
    scenario(&mut run);
    if setrlimit(Resource::Nofile, Rlimit { current, maximum }).is_err() {
        run.bad("the limit cannot be lifted");
    }
    let left = descriptors().saturating_sub(before);
    if left > 0 {
        run.bad(format!("{left} descriptors are left open"));
    }
    let after = judged(scenario, number, false);
    if !after.is_clean() {
        run.bad(format!("it does not work with descriptors again: {:?}", after.errors));
        after.print();
    }
    run
}
