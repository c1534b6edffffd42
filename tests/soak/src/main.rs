//! Sends as many packets as the time allows through every kind of listener and sender, while links flap, groups are joined and left, and
//! routes change. After each burst every packet must be accounted for; each minute descriptors and memory must be as they were.
//!
//! `soak --hours N --to FOLDER`: runs in a network namespace of its own, in which `lo` carries multicast, and writes `FOLDER/result.txt`. The
//! exit status is 0 only if nothing was wrong.

mod flat;
mod gate;
mod host;
mod items;
mod lanes;
mod ledger;
mod moving;
mod report;
mod senders;
mod stations;

use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use flat::look;
use gate::Gate;
use ledger::Ledger;
use report::{Report, Row};

/// How long the longest turn may take, on a busy machine.
const LONGEST_TURN: Duration = Duration::from_secs(120);

/// What all threads share.
#[derive(Debug, Default)]
struct Shared {
    gate: Gate,
    ledger: Ledger,
    faults: Mutex<Vec<String>>,
}

impl Shared {
    /// One fault ends all.
    fn fault(&self, why: String) {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner).push(why);
        self.gate.end();
    }

    fn faults(&self) -> Vec<String> {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let parsed = match words.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["--hours", hours, "--to", folder] => {
            hours.parse::<f64>().ok().filter(|hours| *hours > 0.0).map(|hours| (hours, folder.to_string()))
        }
        _ => None,
    };
    let Some((hours, folder)) = parsed else {
        eprintln!("usage: soak --hours N --to FOLDER, for example --hours 0.02 --to target/soak");
        return ExitCode::from(2);
    };
    if std::env::var("MULTICAST_TEST_NETWORK").as_deref() != Ok("private") {
        eprintln!("soak: it runs only in a private network: use make soak");
        return ExitCode::from(2);
    }
    let time = Duration::from_secs_f64(hours * 3600.0);
    let report = run(time);
    print!("{report}");
    let written =
        std::fs::create_dir_all(&folder).and_then(|()| std::fs::write(format!("{folder}/result.txt"), report.to_string()));
    if let Err(error) = written {
        eprintln!("soak: {folder}/result.txt: {error}");
        return ExitCode::FAILURE;
    }
    ExitCode::from(u8::from(!report.faults.is_empty()))
}

fn run(time: Duration) -> Report {
    let shared = Arc::new(Shared::default());
    let (begin, before) = (Instant::now(), look());
    let workers = std::thread::available_parallelism().map_or(1, usize::from).min(8) as u8;
    let mut threads: Vec<JoinHandle<()>> =
        (0..workers).map(|worker| spawn(&shared, move |shared| work(shared, worker))).collect();
    threads.push(spawn(&shared, |shared| moving::flap(&shared.gate, &shared.ledger)));
    threads.push(spawn(&shared, |shared| moving::switch(&shared.gate, &shared.ledger)));
    threads.push(spawn(&shared, |shared| moving::send_on(&shared.gate, &shared.ledger)));
    let pause = (time / 6).min(Duration::from_secs(60));
    let mut rows: Vec<Row> = Vec::new();
    while !shared.gate.is_over() && begin.elapsed() + pause / 2 < time {
        let next = begin + pause * (rows.len() as u32 + 1);
        while Instant::now() < next && !shared.gate.is_over() {
            std::thread::sleep(Duration::from_millis(20));
        }
        let Some(now) = shared.gate.closed(LONGEST_TURN, || flat::look_again_until_flat(rows.first().map(|row| &row.look)))
        else {
            shared.fault("a turn does not end".to_owned());
            break;
        };
        if let Some(first) = rows.first()
            && let Some(why) = now.differs_from(&first.look)
            && !shared.gate.is_over()
        {
            shared.fault(format!("after {} s: {why}", begin.elapsed().as_secs()));
        }
        let packets = shared.ledger.lines().values().map(|line| line.received).sum();
        rows.push(Row { seconds: begin.elapsed().as_secs(), packets, look: now });
        eprintln!("{}", rows.last().map(ToString::to_string).unwrap_or_default());
    }
    shared.gate.end();
    let deadline = Instant::now() + LONGEST_TURN;
    while !threads.iter().all(JoinHandle::is_finished) && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(10));
    }
    if threads.iter().all(JoinHandle::is_finished) {
        let panicked = threads.into_iter().map(JoinHandle::join).filter(Result::is_err).count();
        if panicked > 0 {
            shared.fault(format!("{panicked} threads panicked"));
        }
        let after = look();
        if (after.descriptors, after.sockets) != (before.descriptors, before.sockets) {
            shared.fault(format!(
                "at the end {} descriptors and {} sockets are left, and {} and {} were there before",
                after.descriptors, after.sockets, before.descriptors, before.sockets
            ));
        }
    } else {
        shared.fault("a turn does not end".to_owned());
    }
    Report { time: begin.elapsed(), workers, lines: shared.ledger.lines(), rows, faults: shared.faults() }
}

fn spawn(shared: &Arc<Shared>, body: impl FnOnce(&Shared) -> ledger::Result<()> + Send + 'static) -> JoinHandle<()> {
    let shared = Arc::clone(shared);
    std::thread::spawn(move || {
        if let Err(why) = body(&shared) {
            shared.fault(why);
        }
    })
}

/// Gives the next turn to the lane that is the furthest from its goal.
fn work(shared: &Shared, worker: u8) -> ledger::Result<()> {
    let Shared { gate, ledger, .. } = shared;
    let mut lanes = gate.turn(|| lanes::all(worker)).transpose()?.unwrap_or_default();
    let mut turns = vec![0_u64; lanes.len()];
    loop {
        // Each gets its first turns before the first look.
        let next = (0..lanes.len()).min_by(|one, other| {
            let key = |lane: usize| {
                let had = turns.get(lane).copied().unwrap_or(0);
                (had.min(1), lanes.get(lane).map_or(0.0, |lane| lane.progress(ledger)), had)
            };
            key(*one).partial_cmp(&key(*other)).unwrap_or(std::cmp::Ordering::Equal)
        });
        let Some((lane, had)) = next.and_then(|next| lanes.get_mut(next).zip(turns.get_mut(next))) else { return Ok(()) };
        let Some(done) = gate.turn(|| {
            host::begin_turn();
            lane.turn(ledger)
        }) else {
            return Ok(());
        };
        done.map_err(|error| format!("{}: {error}", lane.name()))?;
        *had += 1;
    }
}
