//! Uses the library as a careful program does: it reports each error, and tries again. `driver SCENARIO NUMBER` runs one scenario on
//! `lo`, with groups and ports that this number makes its own. `driver --list` prints their names.
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

use std::process::ExitCode;

use run::{Run, descriptors};

type Scenario = (&'static str, fn(&mut Run));

fn main() -> ExitCode {
    let scenarios: Vec<Scenario> = [core_scenarios::ALL, duplex::ALL, handles::ALL].into_iter().flatten().copied().collect();
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [name, number] = words.as_slice() else {
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
    let mut run = Run::new(number);
    let before = descriptors();
    // The marks.
    let _ = rustix::process::getppid();
    scenario(&mut run);
    let _ = rustix::process::getppid();
    let left = descriptors().saturating_sub(before);
    if left > 0 {
        run.bad(format!("{left} descriptors are left open"));
    }
    run.print();
    ExitCode::SUCCESS
}
