//! Makes every system call of the library, and of `mcast`, fail once in each way that its manual page names, and from then on at each
//! try; and takes away what they need. Checks what follows: no panic, no hang, no packet lost or doubled in silence, no descriptor left
//! open, and after a single failure the next packets come as if nothing had been.
//!
//! `faults DRIVER MCAST CONFINED [--part N/M] [WORD..]`: runs the scenarios with one of these words in their names, or all; with `--part`
//! only each M-th fault, beginning with the N-th. It runs in a network namespace of its own.

mod conditions;
mod plan;
mod run;
mod tool;

use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering};

use plan::Fault;
use run::{Ended, Launch, wait};
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

    fn run(&self, launch: &Launch) -> (Ended, Option<String>) {
        // Ports of a run are free again long before its number comes again.
        static NUMBER: AtomicU16 = AtomicU16::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed) % 40_000;
        match self {
            Self::Driver(driver, name) => {
                let program = [driver, name, number.to_string().as_str()].map(str::to_owned);
                let program: Vec<String> = program.into_iter().chain(launch.driver.clone()).collect();
                let ended = match launch.command(&program).spawn() {
                    Ok(child) => wait(child, &mut || {}),
                    Err(error) => {
                        let ended = Ended { code: None, signal: None, output: String::new(), errors: String::new() };
                        return (ended, Some(format!("it does not start: {error}")));
                    }
                };
                let verdict = ended.output.lines().last().unwrap_or_default();
                let said = || format!("{} {}", ended.output.trim(), ended.errors.trim()).replace('\n', "; ");
                let fault = ended.misbehaved().or_else(|| (verdict != "ok").then(said));
                (ended, fault)
            }
            Self::Tool(mcast, _, trial) => trial(mcast, launch, number),
        }
    }

    /// The faults of all calls that it makes, and those that last; of the driver only those between its two marks.
    fn faults(&self) -> Result<(Vec<Fault>, Vec<Fault>), String> {
        let log = std::env::temp_dir().join(format!("faults-{}-{}", std::process::id(), self.name()));
        let path = log.display().to_string();
        let (ended, fault) = run_thrice(self, &Launch::traced(&["-o", &path]));
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
        let (mut once, mut lasting) = (plan::faults(&calls, part.clone()), plan::lasting(&calls, part));
        match self {
            // The library never sleeps, and std panics if sleeping fails.
            Self::Driver(..) => [&mut once, &mut lasting]
                .into_iter()
                .for_each(|faults| faults.retain(|fault| !fault.call.ends_with("nanosleep"))),
            Self::Tool(..) => lasting.retain(|fault| !fault.is_endless()),
        }
        Ok((once, lasting))
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
    let (Some(driver), Some(mcast), Some(confined)) = (words.next(), words.next(), words.next()) else {
        eprintln!("usage: faults DRIVER MCAST CONFINED [--part N/M] [WORD..]");
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
    let chosen: Vec<Subject<'_>> = scenarios
        .chain(commands)
        .filter(|subject| words.is_empty() || words.iter().any(|word| subject.name().contains(word.as_str())))
        .collect();
    let (mut total, mut failed) = (0, 0);
    let mut count = |what: &str, name: &str, tally: &Tally| {
        println!("{what} {name} {} runs, {} reported, {} bad", tally.runs, tally.reported, tally.bad.len());
        tally.bad.iter().for_each(|bad| println!("  {bad}"));
        total += tally.runs;
        failed += tally.bad.len();
    };
    for subject in &chosen {
        match subject.faults() {
            Ok((once, lasting)) => {
                for (what, faults) in [("FAULTS", once), ("LASTING", lasting)] {
                    let faults: Vec<_> = faults.into_iter().skip(part.0 % part.1).step_by(part.1).collect();
                    count(what, subject.name(), &run_all(subject, &faults));
                }
            }
            Err(why) => count("FAULTS", subject.name(), &Tally { bad: vec![why], ..Tally::default() }),
        }
    }
    // These are few: each of them runs in each part.
    for (name, tally) in conditions::run(&chosen, &confined) {
        count("WITHOUT", &name, &tally);
    }
    let (n, m) = part;
    println!("{total} faults, {failed} bad{}", if m > 1 { format!(" (part {n}/{m})") } else { String::new() });
    ExitCode::from(u8::from(failed > 0 || total == 0))
}

/// Runs this for each of them, on all processors.
fn on_all_processors<T: Sync>(items: &[T], work: impl Fn(&T) + Sync) {
    let next = AtomicUsize::new(0);
    // Most of the time, programs wait.
    let workers = std::thread::available_parallelism().map_or(1, usize::from) * 2;
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                while let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) {
                    work(item);
                }
            });
        }
    });
}

/// Runs it up to three times: what a fault causes, it causes each time. Floods of other programs on this machine can cost a packet, too.
fn run_thrice(subject: &Subject<'_>, launch: &Launch) -> (Ended, Option<String>) {
    let (mut ended, mut bad) = subject.run(launch);
    for _ in 0..2 {
        if bad.is_some() {
            (ended, bad) = subject.run(launch);
        }
    }
    (ended, bad)
}

impl Tally {
    fn add(&mut self, what: &str, ended: &Ended, bad: Option<String>) {
        self.runs += 1;
        self.reported += usize::from(ended.has_reported());
        self.bad.extend(bad.map(|bad| format!("{what}: {bad}")));
    }
}

/// Runs all faults of a subject.
fn run_all(subject: &Subject<'_>, faults: &[Fault]) -> Tally {
    let tally = Mutex::new(Tally::default());
    on_all_processors(faults, |fault| {
        let expression = fault.expression();
        let trace = format!("trace={}", fault.call);
        let options = ["-o", "/dev/null", "-e", &trace, "-e", &expression];
        let launch = if fault.is_lasting { Launch::lasting(&options) } else { Launch::traced(&options) };
        let (ended, bad) = run_thrice(subject, &launch);
        let is_silenced = fault.silences() && matches!(subject, Subject::Tool(..)) && ended.code != Some(0);
        let bad = if fault.is_answer() || is_silenced { ended.misbehaved() } else { bad };
        if let Ok(mut tally) = tally.lock() {
            tally.add(&expression, &ended, bad);
        }
    });
    tally.into_inner().unwrap_or_default()
}
