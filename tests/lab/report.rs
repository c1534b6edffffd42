//! Running the cases, and telling how they went.

use std::panic::{self, AssertUnwindSafe, PanicHookInfo};
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::trial::{Case, Trial};

/// More than any case takes: it waits for all that it expects with a time-out of its own.
const LONGEST: Duration = Duration::from_secs(90);
/// How many cases are tried at once in a proof: most of its time is spent waiting in vain. Otherwise they have the machine for
/// themselves, one after the other.
const PROOFS: usize = 6;

/// What panics said, with the name of the thread: that of the case, which its helpers inherit.
static SAID: Mutex<Vec<(String, String)>> = Mutex::new(Vec::new());

/// Runs them, prints a line for each, once more those that went wrong, and the sum; gives the exit code: success where all went
/// as they should.
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
    // Once more, so that whoever has only the end of the output knows them.
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

/// Runs a case: whether it went as it should, and how it went, in words.
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

/// Runs one case; what was wrong, if anything was.
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
