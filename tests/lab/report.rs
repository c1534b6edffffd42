//! Runs the cases, and reports their results.

use std::panic::{self, AssertUnwindSafe, PanicHookInfo};
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::trial::{Case, Trial};

/// Longer than any case takes: each wait in a case has its own timeout.
const LONGEST: Duration = Duration::from_secs(90);
/// How many cases run at once in a proof, where most of the time is spent waiting for packets that do not come. Without --proof
/// they run one after the other.
const PROOFS: usize = 6;

/// The messages of panics, with the name of the thread, which is the case's name; helper threads inherit it.
static SAID: Mutex<Vec<(String, String)>> = Mutex::new(Vec::new());

/// Runs the cases. Prints a line for each, the failures again at the end, and the sum. Returns success if no case went wrong.
pub fn run(cases: impl Iterator<Item = Case> + Send, is_proof: bool) -> ExitCode {
    panic::set_hook(Box::new(note));
    let (cases, good, bad) = (Mutex::new(cases), AtomicUsize::new(0), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..if is_proof { PROOFS } else { 1 } {
            scope.spawn(|| {
                loop {
                    let next = cases.lock().unwrap().next();
                    let Some(case) = next else { return };
                    let (is_good, text) = try_out(&case, is_proof);
                    println!("{text}");
                    match is_good {
                        true => _ = good.fetch_add(1, Ordering::Relaxed),
                        false => bad.lock().unwrap().push(text),
                    }
                }
            });
        }
    });
    let (good, bad) = (good.into_inner(), bad.into_inner().unwrap());
    // Again, for readers who see only the end of the output.
    for text in &bad {
        println!("{text}");
    }
    let count = bad.len();
    match is_proof {
        false => println!("{good} passed, {count} failed"),
        true => println!("{good} noticed, {count} not noticed"),
    }
    if bad.is_empty() && good > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Runs a case; returns whether the result is as it should be, and the lines to print.
fn try_out(case: &Case, is_proof: bool) -> (bool, String) {
    let start = Instant::now();
    let refusal = refusal(case, is_proof);
    let seconds = start.elapsed().as_secs_f32();
    let name = case.name;
    let mut text = match (&refusal, is_proof) {
        (None, false) => format!("LAB {name} ok ({seconds:.1} s)"),
        (Some(_), false) => format!("LAB {name} failed ({seconds:.1} s)"),
        (Some(_), true) => format!("LAB {name} noticed: {}", case.off),
        (None, true) => format!("LAB {name} NOT NOTICED: {}", case.off),
    };
    for line in refusal.iter().flat_map(|reason| reason.lines()) {
        text += "\n    ";
        text += line;
    }
    (refusal.is_some() == is_proof, text)
}

/// Runs one case; returns the reason if it failed.
fn refusal(case: &Case, is_proof: bool) -> Option<String> {
    let (done, result) = channel();
    let body = case.run;
    let work = move || {
        let outcome = panic::catch_unwind(AssertUnwindSafe(|| body(&Trial::new(is_proof))));
        let _ = done.send(outcome.is_ok());
    };
    thread::Builder::new().name(case.name.to_owned()).spawn(work).unwrap();
    let is_ok = match result.recv_timeout(LONGEST) {
        Ok(is_ok) => is_ok,
        Err(RecvTimeoutError::Disconnected) => false,
        Err(RecvTimeoutError::Timeout) => return Some(format!("it takes longer than {} s", LONGEST.as_secs())),
    };
    let mut said = SAID.lock().unwrap_or_else(PoisonError::into_inner);
    let of_case: Vec<String> = said.extract_if(.., |(name, _)| name == case.name).map(|(_, text)| text).collect();
    (!is_ok).then(|| if of_case.is_empty() { "no reason was given".to_owned() } else { of_case.join("\n") })
}

fn note(info: &PanicHookInfo<'_>) {
    let place = info.location().map(ToString::to_string).unwrap_or_default();
    let payload = info.payload();
    let formatted = payload.downcast_ref::<String>().map(String::as_str);
    let text = payload.downcast_ref::<&str>().copied().or(formatted).unwrap_or("(no text)");
    let name = thread::current().name().unwrap_or_default().to_owned();
    SAID.lock().unwrap_or_else(PoisonError::into_inner).push((name, format!("{place}: {text}")));
}
