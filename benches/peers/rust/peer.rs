//! The peers in Rust, including the measured crate.
//!
//! ```text
//! peer list
//! peer TASK WAY CPU GROUP PORT SIZE NUMBER
//! ```
//!
//! The first prints all ways, one `TASK WAY` per line. With the second the process becomes one peer: it pins itself to the
//! processor, opens its sockets and prints `ready`. For each line of input, which is a count, it does its task once and prints
//! `PACKETS BYTES NANOSECONDS ALLOCATIONS`: the CPU time of this thread, and the number of allocations. It ends when its input
//! is closed. All sockets stay on `lo`.

mod adjacent;
mod allocations;
mod drain;
mod filters;
mod flood;
mod link;
mod live;
mod place;
mod poll;
mod question;
mod rate;
mod send;
mod trip;
mod ways;

use std::io::{BufRead, Write};
use std::process::ExitCode;

use rustix::thread::{CpuSet, sched_setaffinity};
use rustix::time::{ClockId, clock_gettime};

use place::{Outcome, Place, Tally};

/// A peer that is set up for one task.
trait Peer {
    /// Does the task once. `count` is the number of packets, for the tasks that need it.
    fn work(&mut self, count: u64) -> Outcome<Tally>;
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let outcome = match words[..] {
        ["list"] => {
            ways::ALL.iter().for_each(|way| println!("{} {}", way.task, way.name));
            Ok(())
        }
        [task, name, cpu, group, port, size, number] => Place::parse([group, port, size, number])
            .and_then(|place| pin(cpu.parse()?).map(|()| place))
            .and_then(|place| serve(ways::open(task, name, &place)?.as_mut())),
        _ => Err("usage: peer list | peer TASK WAY CPU GROUP PORT SIZE NUMBER".into()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("peer {}: {error}", words.join(" "));
            ExitCode::FAILURE
        }
    }
}

fn pin(cpu: usize) -> Outcome<()> {
    let mut cpus = CpuSet::new();
    cpus.set(cpu);
    Ok(sched_setaffinity(None, &cpus)?)
}

fn serve(peer: &mut dyn Peer) -> Outcome<()> {
    let mut output = std::io::stdout();
    writeln!(output, "ready")?;
    for line in std::io::stdin().lock().lines() {
        let count = line?.trim().parse()?;
        let allocated = allocations::count();
        let start = cpu_time();
        let tally = peer.work(count)?;
        let spent = cpu_time() - start;
        let allocated = allocations::count() - allocated;
        let (spent, allocated) = (tally.nanoseconds.unwrap_or(spent), tally.allocations.unwrap_or(allocated));
        writeln!(output, "{} {} {spent} {allocated}", tally.packets, tally.bytes)?;
    }
    Ok(())
}

/// The CPU time of this thread, in nanoseconds.
fn cpu_time() -> u64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}
