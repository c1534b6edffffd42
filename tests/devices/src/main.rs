//! Tests the crate on a device, with its processor and its kernel. Prints `SELFTEST <case> ok|failed` for each case, and
//! `N passed, N failed` at the end.
//!
//! It needs only a kernel. As the first process (`/init` of an initramfs) it mounts what it needs, loads the module for its
//! links if the file is there, and turns the machine off at the end. As any other process it expects its own network namespace:
//! `unshare -n selftest`.

mod cases;
mod network;

use std::error::Error;
use std::process::ExitCode;

use rustix::system::{RebootCommand, reboot};

/// The result of a case: nothing, or why it failed.
type Outcome = Result<(), Box<dyn Error>>;

fn main() -> ExitCode {
    let is_alone = std::process::id() == 1;
    let failed = match prepare(is_alone) {
        Ok(()) => run(),
        Err(error) => {
            println!("SELFTEST setup failed: {error}\n0 passed, 1 failed");
            1
        }
    };
    if is_alone {
        // A machine that cannot turn itself off restarts, which ends the emulator, too.
        let _ = reboot(RebootCommand::PowerOff);
        let _ = reboot(RebootCommand::Restart);
    }
    ExitCode::from(u8::from(failed > 0))
}

/// Runs all cases, and returns how many failed.
fn run() -> usize {
    let (mut passed, mut failed) = (0, 0);
    for (name, case) in cases::ALL {
        match case() {
            Ok(()) => {
                println!("SELFTEST {name} ok");
                passed += 1;
            }
            Err(error) => {
                println!("SELFTEST {name} failed: {error}");
                failed += 1;
            }
        }
    }
    println!("{passed} passed, {failed} failed");
    failed
}

fn prepare(is_alone: bool) -> Outcome {
    if is_alone {
        network::mount("proc", "/proc")?;
        network::load("/veth.ko")?;
    }
    let kernel = rustix::system::uname();
    println!("SELFTEST on {} {}", kernel.machine().to_string_lossy(), kernel.release().to_string_lossy());
    network::make()?;
    cases::link_is_up()
}
