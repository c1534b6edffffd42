//! Running the cases one after the other, and telling how they went.

use std::panic::{self, AssertUnwindSafe, PanicHookInfo};
use std::process::ExitCode;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::trial::{Case, Trial};

/// More than any case takes: it waits for all that it expects with a time-out of its own.
const LONGEST: Duration = Duration::from_secs(90);

/// What panics said since it was last read: the cases run helpers on threads of their own.
static SAID: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Runs them, prints a line for each and the sum, and gives the exit code: success where all went as they should.
pub fn run(cases: impl Iterator<Item = Case>, is_proof: bool) -> ExitCode {
    panic::set_hook(Box::new(note));
    let (mut good, mut bad) = (0, 0);
    for case in cases {
        let start = Instant::now();
        let refusal = refusal(&case, is_proof);
        let seconds = start.elapsed().as_secs_f32();
        let name = case.name;
        match (&refusal, is_proof) {
            (None, false) => println!("LAB {name} ok ({seconds:.1} s)"),
            (Some(_), false) => println!("LAB {name} failed ({seconds:.1} s)"),
            (Some(_), true) => println!("LAB {name} noticed: {}", case.off),
            (None, true) => println!("LAB {name} NOT NOTICED: {}", case.off),
        }
        for line in refusal.iter().flat_map(|reason| reason.lines()) {
            println!("    {line}");
        }
        *if refusal.is_some() == is_proof { &mut good } else { &mut bad } += 1;
    }
    match is_proof {
        false => println!("{good} passed, {bad} failed"),
        true => println!("{good} noticed, {bad} not noticed"),
    }
    if bad == 0 && good > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Runs one case; what was wrong, if anything was.
fn refusal(case: &Case, is_proof: bool) -> Option<String> {
    let (done, result) = channel();
    let body = case.run;
    std::thread::spawn(move || {
        let outcome = panic::catch_unwind(AssertUnwindSafe(|| body(&Trial::new(is_proof))));
        let _ = done.send(outcome.is_ok());
    });
    let is_ok = match result.recv_timeout(LONGEST) {
        Ok(is_ok) => is_ok,
        Err(RecvTimeoutError::Disconnected) => false,
        Err(RecvTimeoutError::Timeout) => return Some(format!("it takes longer than {} s", LONGEST.as_secs())),
    };
    let said = std::mem::take(&mut *SAID.lock().unwrap_or_else(PoisonError::into_inner));
    (!is_ok).then(|| if said.is_empty() { "no reason was given".to_owned() } else { said.join("\n") })
}

fn note(info: &PanicHookInfo<'_>) {
    let place = info.location().map(ToString::to_string).unwrap_or_default();
    let text = info.payload_as_str().unwrap_or("(no text)");
    SAID.lock().unwrap_or_else(PoisonError::into_inner).push(format!("{place}: {text}"));
}
