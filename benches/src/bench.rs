//! Compares the crate `multicast` with its peers: other libraries and languages for the same job.
//!
//! ```text
//! make bench                  some minutes
//! make bench QUICK=1          less than two minutes
//! bench --test                runs every case once and checks that it works
//! ```
//!
//! # How it is measured
//! Each peer is a process, pinned to a processor, that does one task when it is told to, and measures itself: the CPU time per
//! packet of the working thread (`CLOCK_THREAD_CPUTIME_ID`). All peers of a case run at the same time, one after the other, so that
//! other load on the machine affects all of them. One *round* is one turn of each; a *repetition* is some rounds with new
//! processes, since the place of a process in memory changes its figures. A peer's figure in a repetition is the median of its
//! rounds, and a ratio is computed from figures of the same repetition.
//!
//! Everything runs in its own network namespace, on `lo`. One sender, on the other processor, fills the queues of all receivers.
//!
//! # Output
//! Lines `FIGURE <case> <peer> <median> <min> <max> <unit>` and `RATIO <case> <peer> <median> <min> <max> goal<=<g>` (our figure
//! divided by the peer's: lower is better); the same as a Markdown table and as plots in `target/bench/`.
//!
//! # Files
//! | file | what it contains |
//! |---|---|
//! | `workshop` | builds the peers: `peers/rust` with two profiles, `peers/c` |
//! | `network`, `link` | the network namespace, and links to another one |
//! | `machine` | the description of the machine |
//! | `worker` | a peer's process, and the protocol with it |
//! | `measure` | the turns of peers; figures and ratios |
//! | `goals` | the goals of the ratios |
//! | `cases/` | the cases, one file for each group |
//! | `report`, `plot` | lines, table, plots |

mod cases;
mod goals;
mod link;
mod machine;
mod measure;
mod network;
mod plan;
mod plot;
mod report;
mod worker;
mod workshop;

use std::error::Error;
use std::process::ExitCode;
use std::time::Instant;

use plan::{Mode, Options, Plan};

type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> ExitCode {
    match Options::parse().and_then(|options| run(&options)) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Outcome<ExitCode> {
    let Some(outside) = &options.outside else {
        workshop::build()?;
        return network::run_this_program_in_a_private_one();
    };
    network::prepare(outside)?;

    let start = Instant::now();
    let machine = machine::Machine::look()?;
    println!("{machine}");
    let bench = cases::Bench::new(Plan::of(options.mode), &machine)?;
    let (mut all, mut failed) = (Vec::new(), false);
    for group in cases::GROUPS.iter().filter(|group| options.wants(group.name)) {
        let group_start = Instant::now();
        match (group.run)(&bench) {
            Ok(series) => {
                series.iter().for_each(report::print);
                all.extend(series);
                eprintln!("{} took {:.1} s", group.name, group_start.elapsed().as_secs_f64());
            }
            // Continue with the others.
            Err(error) => {
                eprintln!("{} cannot be run: {error}", group.name);
                failed = true;
            }
        }
    }
    let folder = report::folder(options.mode)?;
    report::write(&folder, &machine, &all)?;
    plot::write(&folder, &all)?;
    eprintln!("all took {} s; table and plots are in {}", start.elapsed().as_secs(), folder.display());
    if options.mode != Mode::Test {
        report::print_goals(&all);
    }
    // Only a case that cannot run is a failure: a missed goal may be noise of the machine.
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}
