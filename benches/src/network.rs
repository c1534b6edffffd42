//! A network namespace that has only `lo`: no packet of a benchmark can leave it.

use std::net::Ipv4Addr;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};

use crate::Outcome;
use crate::workshop::succeed;

/// Runs this program again, with the same arguments, in a new network namespace; if that is not permitted, in a new user
/// namespace, too.
pub(crate) fn run_this_program_in_a_private_one() -> Outcome<ExitCode> {
    let allowed = Command::new("unshare").args(["-n", "true"]).stderr(Stdio::null()).status()?.success();
    let status = Command::new("unshare")
        .arg(if allowed { "-n" } else { "-rn" })
        .arg(std::env::current_exe()?)
        .arg("--outside")
        .arg(current()?)
        .args(std::env::args_os().skip(1))
        .status()?;
    match status.code() {
        Some(code) => Ok(ExitCode::from(code as u8)),
        None => Err(format!("ended by signal {:?}", status.signal()).into()),
    }
}

/// Brings up `lo` in the new network; fails if it is the one that the program was started in.
pub(crate) fn prepare(outside: &str) -> Outcome<()> {
    if current()? == outside {
        return Err("this is not a private network: start it without --outside".into());
    }
    succeed(Command::new("ip").args(["link", "set", "lo", "up"]))?;
    succeed(Command::new("ip").args(["route", "add", "224.0.0.0/4", "dev", "lo"]))
}

/// The kernel's name for the network namespace of this process.
fn current() -> Outcome<String> {
    Ok(std::fs::read_link("/proc/self/ns/net")?.to_string_lossy().into_owned())
}

/// A group that was not used before.
pub(crate) fn new_group() -> Ipv4Addr {
    static COUNT: AtomicU16 = AtomicU16::new(1);
    let [high, low] = COUNT.fetch_add(1, Ordering::Relaxed).to_be_bytes();
    Ipv4Addr::new(239, 77, high, low)
}
