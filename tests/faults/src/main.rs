//! Makes every system call of the library, and of `mcast`, fail once in each way that its manual page names, and checks what follows:
//! no panic, no hang, no packet lost or doubled in silence, no descriptor left open, and the next packets come as if nothing had been.
//!
//! `faults DRIVER MCAST [--part N/M] [WORD..]`: runs the scenarios with one of these words in their names, or all; with `--part` only
//! each M-th fault, beginning with the N-th. It runs in a network namespace of its own.

mod plan;
mod run;
mod tool;

use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering};

use plan::Fault;
use run::{Ended, traced, wait};
use tool::Trial;

/// What is run: a scenario of the driver, or a command of the tool.
#[derive(Clone, Copy)]
enum Subject<'s> {
    Driver(&'s str, &'s str),
    Tool(&'s str, &'s str, Trial),
}

impl Subject<'_> {
    fn name(&self) -> &str {
        match self {
            Self::Driver(_, name) | Self::Tool(_, name, _) => name,
        }
    }

    fn run(&self, options: &[&str]) -> (Ended, Option<String>) {
        // Ports of a run are free again long before its number comes again.
        static NUMBER: AtomicU16 = AtomicU16::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed) % 40_000;
        match self {
            Self::Driver(driver, name) => {
                let program = [driver, name, number.to_string().as_str()].map(str::to_owned);
                let ended = match traced(options, &program).spawn() {
                    Ok(child) => wait(child, &mut || {}),
                    Err(error) => {
                        let ended = Ended { code: None, signal: None, output: String::new(), errors: String::new() };
                        return (ended, Some(format!("strace: {error}")));
                    }
                };
                let verdict = ended.output.lines().last().unwrap_or_default();
                let fault =
                    ended.misbehaved().or_else(|| (verdict != "ok").then(|| ended.output.trim().replace('\n', "; ")));
                (ended, fault)
            }
            Self::Tool(mcast, _, trial) => trial(mcast, options, number),
        }
    }

    /// The faults of all calls that it makes; of the driver only those between its two marks.
    fn faults(&self) -> Result<Vec<Fault>, String> {
        let log = std::env::temp_dir().join(format!("faults-{}-{}", std::process::id(), self.name()));
        let path = log.display().to_string();
        let (ended, fault) = self.run(&["-o", &path]);
        if let Some(fault) = fault {
            return Err(format!("without a fault: {fault}; {}", ended.errors));
        }
        let trace = std::fs::read_to_string(&log).map_err(|error| format!("{path}: {error}"))?;
        let _ = std::fs::remove_file(log);
        let calls = plan::calls_in(&trace);
        let marks: Vec<_> = calls.iter().enumerate().filter(|(_, call)| *call == "getppid").map(|(at, _)| at).collect();
        let part = match (self, marks.as_slice()) {
            (Self::Driver(..), [from, to]) => *from..*to,
            (Self::Driver(..), _) => return Err("the marks are not in its trace".to_owned()),
            (Self::Tool(..), _) => 0..calls.len(),
        };
        Ok(plan::faults(&calls, part))
    }
}

/// What became of the runs of one subject.
#[derive(Default)]
struct Tally {
    runs: usize,
    /// The program reported an error.
    reported: usize,
    bad: Vec<String>,
}

fn main() -> ExitCode {
    let mut words = std::env::args().skip(1);
    let (Some(driver), Some(mcast)) = (words.next(), words.next()) else {
        eprintln!("usage: faults DRIVER MCAST [--part N/M] [WORD..]");
        return ExitCode::from(2);
    };
    let mut words: Vec<String> = words.collect();
    let mut part = (0, 1);
    if let [flag, value, ..] = words.as_slice()
        && flag == "--part"
    {
        let parsed = value.split_once('/').and_then(|(n, m)| Some((n.parse().ok()?, m.parse().ok().filter(|m| *m > 0)?)));
        let Some(parsed) = parsed else {
            eprintln!("faults: --part {value}: give N/M, for example 3/10");
            return ExitCode::from(2);
        };
        part = parsed;
        words.drain(..2);
    }
    let listed = std::process::Command::new(&driver).arg("--list").output();
    let listed = listed.map(|listed| String::from_utf8_lossy(&listed.stdout).into_owned()).unwrap_or_default();
    let scenarios = listed.lines().map(|name| Subject::Driver(&driver, name));
    let commands = tool::ALL.iter().map(|(name, trial)| Subject::Tool(&mcast, name, *trial));
    let chosen = scenarios
        .chain(commands)
        .filter(|subject| words.is_empty() || words.iter().any(|word| subject.name().contains(word.as_str())));
    let mut failed = 0;
    let mut total = 0;
    for subject in chosen {
        let faults = match subject.faults() {
            Ok(faults) => faults,
            Err(why) => {
                println!("FAULTS {} {why}", subject.name());
                failed += 1;
                continue;
            }
        };
        let faults: Vec<_> = faults.into_iter().skip(part.0 % part.1).step_by(part.1).collect();
        let tally = run_all(&subject, &faults);
        println!("FAULTS {} {} runs, {} reported, {} bad", subject.name(), tally.runs, tally.reported, tally.bad.len());
        for bad in &tally.bad {
            println!("  {bad}");
        }
        total += tally.runs;
        failed += tally.bad.len();
    }
    let (n, m) = part;
    println!("{total} faults, {failed} bad{}", if m > 1 { format!(" (part {n}/{m})") } else { String::new() });
    ExitCode::from(u8::from(failed > 0 || total == 0))
}

/// Runs all faults of a subject, on all processors.
fn run_all(subject: &Subject<'_>, faults: &[Fault]) -> Tally {
    let tally = Mutex::new(Tally::default());
    let next = AtomicUsize::new(0);
    // Most of the time, programs wait.
    let workers = std::thread::available_parallelism().map_or(1, usize::from) * 2;
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                while let Some(fault) = faults.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let expression = fault.expression();
                    let trace = format!("trace={}", fault.call);
                    let options = ["-o", "/dev/null", "-e", &trace, "-e", &expression];
                    let (mut ended, mut bad) = subject.run(&options);
                    // What a fault causes, it causes each time. Floods of other programs on this machine can cost a packet, too.
                    for _ in 0..2 {
                        if bad.is_some() {
                            (ended, bad) = subject.run(&options);
                        }
                    }
                    let Ok(mut tally) = tally.lock() else { return };
                    tally.runs += 1;
                    tally.reported += usize::from(ended.output.starts_with("error ") || !ended.errors.is_empty());
                    let bad = if fault.is_answer() { ended.misbehaved() } else { bad };
                    if let Some(bad) = bad {
                        tally.bad.push(format!("{expression}: {bad}"));
                    }
                }
            });
        }
    });
    tally.into_inner().unwrap_or_default()
}
