//! The outer namespaces of the laboratory: for network, mounts, and processes.
//!
//! The program starts itself again inside, as the first process of a process namespace. When that process ends, the kernel ends
//! all processes in the namespace, and removes all its interfaces and namespaces. It ends when its work is done. It also ends
//! when the outer process ends, by any signal, since then the pipe between them is closed.

use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitCode, Stdio};

/// Set for the program inside.
const INSIDE: &str = "MULTICAST_LAB_INSIDE";

pub fn is_inside() -> bool {
    std::env::var_os(INSIDE).is_some()
}

/// Runs the same program inside, and returns its exit code.
pub fn enter() -> ExitCode {
    // The parent may be killed: then this process must end, too.
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL)).unwrap();
    let Some(flags) = unshare_flags() else { return ExitCode::FAILURE };
    let mut inside = Command::new("unshare")
        .arg(flags)
        .args(["--fork", "--kill-child"])
        .arg(std::env::current_exe().unwrap())
        .args(std::env::args_os().skip(1))
        .env(INSIDE, "1")
        .env("MULTICAST_TEST_NETWORK", "private")
        // Debian keeps daemons and administration tools there.
        .env("PATH", format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default()))
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    // Taken out, since `wait` would close it.
    let _pipe = inside.stdin.take();
    let status = inside.wait().unwrap();
    match status.code() {
        Some(code) => ExitCode::from(code as u8),
        None => {
            eprintln!("lab: ended by signal {}", status.signal().unwrap_or(0));
            ExitCode::FAILURE
        }
    }
}

/// How namespaces can be created here: as root, or as a user who is root inside.
fn unshare_flags() -> Option<&'static str> {
    let mut refusal = String::new();
    let ways: &[&str] = if rustix::process::geteuid().is_root() { &["-nmp", "-rnmp"] } else { &["-rnmp"] };
    for flags in ways {
        match Command::new("unshare").args([flags, "--fork", "true"]).output() {
            Ok(output) if output.status.success() => return Some(flags),
            Ok(output) => refusal = String::from_utf8_lossy(&output.stderr).into_owned(),
            Err(error) => refusal = format!("unshare: {error} (the package util-linux is needed)"),
        }
    }
    eprintln!("lab: cannot create namespaces: {}", refusal.trim());
    eprintln!("lab: run it as root (in a container: with CAP_SYS_ADMIN), or allow users to create namespaces");
    None
}

/// Sets up what all hosts need. Only inside: nothing here changes the machine outside.
pub fn set_up() {
    std::thread::spawn(|| {
        // Nothing is ever written: this returns when the outer process has ended.
        let _ = std::io::stdin().read(&mut [0]);
        std::process::exit(130);
    });
    let interfaces = std::fs::read_dir("/proc/sys/net/ipv4/conf").unwrap().map(|entry| entry.unwrap().file_name());
    let foreign: Vec<_> = interfaces.filter(|name| !["all", "default", "lo"].iter().any(|own| name == own)).collect();
    assert!(foreign.is_empty(), "this network namespace is not our own: {foreign:?}");
    // `ip netns` and the routing daemon keep their files there.
    crate::network::run("mount -t tmpfs lab /run");
    raise_limit_of_descriptors();
}

/// Raises the limit of descriptors as far as this user may: one case opens thousands.
fn raise_limit_of_descriptors() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).unwrap();
}
