//! The crate `multicast` measured against every peer that does the job.
//!
//! ```text
//! make bench                  some minutes
//! make bench QUICK=1          under two minutes
//! bench --test                runs every case once and checks that it works
//! ```
//!
//! # How it is measured
//! Every peer is a process of its own, pinned to a processor, that does one task again and again when it is told to, and measures
//! itself: the CPU time of the thread that works (`CLOCK_THREAD_CPUTIME_ID`), a packet. All peers of a case live at the same time
//! and take turns, so that whatever else the machine does meets all alike. One *round* is one turn each; a *repetition* is some
//! rounds with processes started anew, since where a process happens to lie in memory moves its figures. A peer's figure in a
//! repetition is the median of its rounds, and a ratio is taken from figures of the same repetition.
//!
//! All of it happens in a network of its own, on `lo`. One sender fills the queues of all receivers, from the other processor.
//!
//! # What comes out
//! `FIGURE <case> <peer> <median> <min> <max> <unit>` and `RATIO <case> <peer> <median> <min> <max> goal<=<g>` (ours to the
//! peer's), a line each; the same as a Markdown table and as plots in `target/bench/`.
//!
//! # The rooms
//! | file | what lives there |
//! |---|---|
//! | `workshop` | builds the peers: `peers/rust` with two profiles, `peers/c` |
//! | `network` | the network of its own |
//! | `machine` | what it runs on |
//! | `worker` | a peer's process, and how it is talked with |
//! | `measure` | taking turns; figures and ratios |
//! | `goals` | what the ratios should be |
//! | `cases/` | what is measured, a file each group |
//! | `report`, `plot` | lines, table, plots |

mod cases;
mod goals;
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
            // The others are still worth their time.
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
    // Only what cannot be run is a failure: a goal that is missed may be the machine's noise.
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}
