//! What programs meet on a machine that is short of something, or that confines them.

use std::sync::Mutex;

use crate::run::{Ended, Launch, wait};
use crate::{Subject, Tally, on_all_processors, run_thrice};

/// More descriptors than any of the programs needs.
const ENOUGH: u64 = 64;

/// Conditions in which all must work, as if nothing was taken away: they take only what no program of this kind needs.
const ENOUGH_IS_LEFT: &[(&str, &str)] =
    &[("all but systemd's @system-service", "--system-service"), ("what Docker's profile denies", "--docker")];
/// It looks into the sockets of other processes (`pidfd_getfd`), which no service does: systemd's filter ends it, unless
/// `SystemCallErrorNumber=EPERM` is set; then it says what it cannot see, as with Docker's profile.
const LOOKS_INTO_OTHERS: &str = "mcast-who";

/// Conditions in which something may not work: then it must be reported.
fn lacking(confined: &str) -> [(&'static str, Launch); 2] {
    const HIDE: &str = "mount -t tmpfs none /proc && exec \"$@\"";
    [
        ("address families except AF_INET, AF_INET6, AF_UNIX", Launch::by(&[confined, "--address-families", "--"])),
        ("/proc", Launch::by(&["unshare", "-m", "sh", "-c", HIDE, "sh"])),
    ]
}

/// Runs all subjects in all conditions; returns what became of each condition.
pub fn run(subjects: &[Subject<'_>], confined: &str) -> Vec<(String, Tally)> {
    let mut tallies = Vec::new();
    for (name, option) in ENOUGH_IS_LEFT {
        let launch = Launch::by(&[confined, option, "--"]).driver(&[]);
        let may_be_ended = |subject: &&Subject<'_>| *option == "--system-service" && subject.name() == LOOKS_INTO_OTHERS;
        let subjects: Vec<_> = subjects.iter().filter(|subject| !may_be_ended(subject)).copied().collect();
        tallies.push(((*name).to_owned(), in_condition(&subjects, &launch)));
    }
    for (name, launch) in lacking(confined) {
        tallies.push((name.to_owned(), in_condition(subjects, &launch)));
    }
    tallies.push(("descriptors, from 3 on".to_owned(), with_ever_more_descriptors(subjects, confined)));
    let driver =
        subjects.iter().find_map(|subject| if let Subject::Driver(driver, _) = subject { Some(driver) } else { None });
    if let Some(driver) = driver {
        tallies.push(("more than 4 kB of stack, or what a call names".to_owned(), with_little_stack(driver)));
    }
    tallies
}

fn in_condition(subjects: &[Subject<'_>], launch: &Launch) -> Tally {
    let tally = Mutex::new(Tally::default());
    on_all_processors(subjects, |subject| {
        let (ended, bad) = run_thrice(subject, launch);
        if let Ok(mut tally) = tally.lock() {
            tally.add(subject.name(), &ended, bad);
        }
    });
    tally.into_inner().unwrap_or_default()
}

/// `ulimit -n` at each value from 3 on, until all is as without a limit.
fn with_ever_more_descriptors(subjects: &[Subject<'_>], confined: &str) -> Tally {
    let tally = Mutex::new(Tally::default());
    on_all_processors(subjects, |subject| {
        let usual = said(&subject.run(&Launch::by(&[confined, "--"])).0);
        for limit in 3..=ENOUGH {
            let text = limit.to_string();
            let launch = match subject {
                // It limits itself, and then lifts the limit to see whether all works again.
                Subject::Driver(..) => Launch::by(&[confined, "--"]).driver(&["--lasting", "--descriptors", &text]),
                Subject::Tool(..) => Launch::by(&[confined, "--descriptors", &text, "--"]),
            };
            let (ended, bad) = run_thrice(subject, &launch);
            let is_enough = bad.is_none() && said(&ended) == usual;
            let Ok(mut tally) = tally.lock() else { return };
            let bad = bad.or_else(|| (limit == ENOUGH && !is_enough).then(|| "it needs more".to_owned()));
            tally.add(&format!("{} with {limit}", subject.name()), &ended, bad);
            if is_enough {
                break;
            }
        }
    });
    tally.into_inner().unwrap_or_default()
}

/// What a program reported. Numbers in it differ each time.
fn said(ended: &Ended) -> (Option<i32>, String) {
    let errors = ended.output.lines().filter(|line| line.starts_with("error ")).chain(ended.errors.lines());
    (ended.code, errors.map(|line| line.replace(|letter: char| letter.is_ascii_digit(), "") + "\n").collect())
}

/// Each call of the core where so much stack is left as it says that it may need.
fn with_little_stack(driver: &str) -> Tally {
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    let mut tally = Tally::default();
    let run = |arguments: &[&str]| {
        let child = Launch::by(&[driver]).command(&words(arguments)).spawn();
        child.map(|child| wait(child, &mut || {})).map_err(|error| error.to_string())
    };
    let listed = run(&["--stack", "list", "0"]).map(|ended| ended.output).unwrap_or_default();
    for (call, limit) in listed.lines().filter_map(|line| line.split_once(' ')) {
        match run(&["--stack", call, limit]) {
            Ok(ended) => {
                let fault = ended.misbehaved().or_else(|| (ended.output.trim() != "ok").then(|| ended.output.clone()));
                tally.add(&format!("{call} with {limit} bytes of stack"), &ended, fault);
            }
            Err(error) => tally.bad.push(error),
        }
    }
    if tally.runs == 0 {
        tally.bad.push("no call is listed".to_owned());
    }
    tally
}
