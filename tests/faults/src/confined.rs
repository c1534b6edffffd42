//! Becomes another program, with less than it is used to: `confined --CONDITION [VALUE] -- PROGRAM ..`.
//!
//! | condition | what it does |
//! |---|---|
//! | `--descriptors N` | `ulimit -S -n N` |
//! | `--system-service` | as systemd's `SystemCallFilter=@system-service`: any other call ends the process |
//! | `--address-families` | as systemd's `RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX` |
//! | `--docker` | as Docker's default profile without capabilities |

use std::collections::BTreeMap;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};
use std::str::FromStr;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen as Width, SeccompCmpOp as Is, SeccompCondition, SeccompFilter, SeccompRule,
};
use syscalls::Sysno;

const ARCHITECTURE: &str = std::env::consts::ARCH;
/// What `systemd-analyze syscall-filter @system-service` of systemd 252 prints, with the sets in it.
const SYSTEM_SERVICE: &str = include_str!("../profiles/system-service.txt");
/// What Docker's documentation names as not allowed by its default profile.
const DOCKER_DENIED: &str = include_str!("../profiles/docker-denied.txt");

const EPERM: u32 = 1;
const EAFNOSUPPORT: u32 = 97;
const AF_UNIX: u64 = 1;
const AF_INET: u64 = 2;
const AF_INET6: u64 = 10;
const AF_VSOCK: u64 = 40;
/// All flags of `clone(2)` that make a namespace.
const CLONE_NEW: u64 = 0x7e02_0000;

type Rules = BTreeMap<i64, Vec<SeccompRule>>;
type Result<T> = core::result::Result<T, Box<dyn std::error::Error>>;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match run(&words) {
        Ok(never) => match never {},
        Err(error) => {
            eprintln!("confined: {error}");
            ExitCode::from(126)
        }
    }
}

fn run(words: &[String]) -> Result<std::convert::Infallible> {
    let mut words = words.iter().map(String::as_str);
    loop {
        match words.next() {
            Some("--descriptors") => limit_descriptors(words.next().unwrap_or_default().parse()?)?,
            Some("--system-service") => apply(named(SYSTEM_SERVICE)?, SeccompAction::KillProcess, SeccompAction::Allow)?,
            Some("--docker") => apply(docker()?, SeccompAction::Allow, SeccompAction::Errno(EPERM))?,
            Some("--address-families") => {
                let others = [AF_UNIX, AF_INET, AF_INET6]
                    .into_iter()
                    .map(|family| argument(0, Is::Ne, family))
                    .collect::<Result<_>>()?;
                let rules = Rules::from([(Sysno::socket.id().into(), vec![SeccompRule::new(others)?])]);
                apply(rules, SeccompAction::Allow, SeccompAction::Errno(EAFNOSUPPORT))?;
            }
            Some("--") => break,
            word => return Err(format!("no such condition: {word:?}").into()),
        }
    }
    let program = words.next().ok_or("which program?")?;
    Err(Command::new(program).args(words).exec().into())
}

fn limit_descriptors(soft: u64) -> Result<()> {
    let maximum = getrlimit(Resource::Nofile).maximum;
    Ok(setrlimit(Resource::Nofile, Rlimit { current: Some(soft), maximum })?)
}

/// Rules for all calls of this list that this processor has.
fn named(list: &str) -> Result<Rules> {
    let numbers = list.split_whitespace().filter_map(|name| Sysno::from_str(name).ok());
    let rules: Rules = numbers.map(|call| (call.id().into(), Vec::new())).collect();
    if rules.is_empty() { Err("the list is empty".into()) } else { Ok(rules) }
}

fn docker() -> Result<Rules> {
    let mut rules = named(DOCKER_DENIED)?;
    rules.insert(Sysno::socket.id().into(), vec![SeccompRule::new(vec![argument(0, Is::Eq, AF_VSOCK)?])?]);
    // Each flag for a namespace alone is enough.
    let flags = (0..u64::BITS).map(|bit| 1 << bit).filter(|flag| CLONE_NEW & flag != 0);
    let flags = flags.map(|flag| Ok(SeccompRule::new(vec![argument(0, Is::MaskedEq(flag), flag)?])?));
    rules.insert(Sysno::clone.id().into(), flags.collect::<Result<_>>()?);
    Ok(rules)
}

fn argument(number: u8, is: Is, value: u64) -> Result<SeccompCondition> {
    Ok(SeccompCondition::new(number, Width::Dword, is, value)?)
}

/// What these rules match gets `matched`, all else `others`.
fn apply(rules: Rules, others: SeccompAction, matched: SeccompAction) -> Result<()> {
    let filter = SeccompFilter::new(rules, others, matched, ARCHITECTURE.try_into()?)?;
    let program: BpfProgram = filter.try_into()?;
    Ok(seccompiler::apply_filter(&program)?)
}
