//! The house of the doctor: one fault in each case, and `mcast doctor` must name it, without privilege.

mod devices;
mod faults;
mod harmless;
mod routers;
mod surroundings;

use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

use crate::network::{Host, cable};
use crate::peers::Kind;
use crate::programs::{Program, faulty};
use crate::trial::Case;

pub fn cases() -> Vec<Case> {
    [faults::cases, surroundings::cases, devices::cases, routers::cases, harmless::cases]
        .into_iter()
        .flat_map(|cases| cases())
        .collect()
}

/// What the doctor found.
struct Finding {
    code: Option<i32>,
    text: String,
}

impl Finding {
    /// The verdict must blame this stage, with the exit status that belongs to it.
    #[track_caller]
    fn blames(&self, stage: &str) {
        self.concludes(stage, 5);
        let failed = format!("FAIL    {stage}: ");
        assert!(self.text.contains(&failed), "no check failed:\n{}", self.text);
    }

    /// The verdict must be this one, with this exit status.
    #[track_caller]
    fn concludes(&self, verdict: &str, code: i32) {
        let line = format!("verdict: {verdict}: ");
        assert!(self.text.contains(&line), "the verdict is not {verdict}:\n{}", self.text);
        assert_eq!(self.code, Some(code), "\n{}", self.text);
    }

    /// A check must have this status.
    #[track_caller]
    fn says(&self, status: &str, check: &str) {
        let line = format!("{status:<8}{check}: ");
        assert!(self.text.contains(&line), "{check} is not {status}:\n{}", self.text);
    }

    /// It must contain these words.
    #[track_caller]
    fn mentions(&self, words: &str) {
        assert!(self.text.contains(words), "{words:?} is not in:\n{}", self.text);
    }
}

/// Runs `mcast doctor` on a host as a user without privilege.
fn doctor(host: &Host, arguments: &str) -> Finding {
    let mut command = Command::new("setpriv");
    command.args(unprivileged()).arg(mcast());
    examine(host, command, arguments)
}

/// The same as an administrator.
fn doctor_with_privilege(host: &Host, arguments: &str) -> Finding {
    examine(host, Command::new(mcast()), arguments)
}

fn examine(host: &Host, mut command: Command, arguments: &str) -> Finding {
    command.args(["doctor", "--verbose", "--seconds", "2"]).args(arguments.split(' '));
    let output = host.within(|| command.output()).expect("setpriv is needed, of the package util-linux");
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    Finding { code: output.status.code(), text }
}

/// The user `nobody` where there is one; else, as in a namespace of one user alone, the same user without capabilities.
fn unprivileged() -> &'static [&'static str] {
    static HAS_NOBODY: OnceLock<bool> = OnceLock::new();
    const NOBODY: &[&str] = &["--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all", "--bounding-set=-all"];
    const NO_CAPABILITIES: &[&str] = &["--no-new-privs", "--inh-caps=-all", "--bounding-set=-all"];
    let works = || Command::new("setpriv").args(NOBODY).arg("true").output().is_ok_and(|output| output.status.success());
    if *HAS_NOBODY.get_or_init(works) { NOBODY } else { NO_CAPABILITIES }
}

/// The built tool, where every user can run it.
fn mcast() -> &'static PathBuf {
    static COPY: OnceLock<PathBuf> = OnceLock::new();
    COPY.get_or_init(|| {
        // The laboratory itself is in target/debug/deps/.
        let mut built = std::env::current_exe().unwrap();
        built.pop();
        built.pop();
        built.push("mcast");
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/mcast/src/doctor/mod.rs");
        let changed = |path: &std::path::Path| path.metadata().and_then(|data| data.modified()).ok();
        let is_current = changed(&built) > changed(source.as_ref());
        assert!(is_current, "{} is not there, or old: run `cargo build -p mcast`", built.display());
        let copy = PathBuf::from("/run/mcast");
        std::fs::copy(built, &copy).unwrap();
        copy
    })
}

/// A host that should hear the group, and one that sends.
fn two_hosts() -> (Host, Host) {
    let (host, other) = (Host::new("host"), Host::new("other"));
    cable(0, (&host, "eth0"), (&other, "eth0"));
    (host, other)
}

/// A sender or receiver of a group with a fault, on `eth0`.
fn program(host: &Host, what: &str, kind: Kind) -> Program {
    let (group, port) = (kind.group().address().to_string(), kind.group().port().to_string());
    faulty(host, &[what, &group, &port, "eth0"])
}

/// The group of this kind on `eth0`, as an argument.
fn from(kind: Kind) -> String {
    format!("--from {}%eth0", kind.group())
}
