//! Links that come and go, and routes that change ten times a second, while packets are on the way.

mod flapping;
mod routes;

pub use flapping::flap;
pub use routes::{send_on, switch};

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::ledger::Result;
use crate::stations::PATIENCE;

/// Runs `ip` with these words.
fn ip(line: &str) -> Result<String> {
    let output = Command::new("ip").args(line.split(' ')).stdin(Stdio::null()).output();
    let output = output.map_err(|error| format!("ip {line}: {error}"))?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        false => Err(format!("ip {line}: {}", String::from_utf8_lossy(&output.stderr).trim())),
    }
}

/// A pair of virtual Ethernet ends, both in this namespace.
struct Pair {
    a: &'static str,
    b: &'static str,
    number: u8,
}

impl Pair {
    fn create(&self) -> Result<()> {
        ip(&format!("link add {} type veth peer name {}", self.a, self.b))?;
        for end in [self.a, self.b] {
            ip(&format!("link set {end} addrgenmode none"))?;
            // Both ends are in one namespace, so each packet has a source address of this host.
            let accept = format!("/proc/sys/net/ipv4/conf/{end}/accept_local");
            std::fs::write(&accept, "1").map_err(|error| format!("{accept}: {error}"))?;
        }
        self.up()?;
        self.give_addresses()
    }

    fn up(&self) -> Result<()> {
        [self.a, self.b].iter().try_for_each(|end| ip(&format!("link set {end} up")).map(drop))?;
        let deadline = Instant::now() + PATIENCE;
        for end in [self.a, self.b] {
            while std::fs::read_to_string(format!("/sys/class/net/{end}/operstate")).is_ok_and(|state| state.trim() != "up")
                || !ip(&format!("-o link show dev {end}"))?.contains("state UP")
            {
                if Instant::now() > deadline {
                    return Err(format!("{end} does not come up"));
                }
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        Ok(())
    }

    /// IPv6 addresses go when an end is switched off.
    fn give_addresses(&self) -> Result<()> {
        for (end, host) in [(self.a, 1), (self.b, 2)] {
            ip(&format!("addr replace 10.77.{}.{host}/24 dev {end}", self.number))?;
            ip(&format!("-6 addr replace fd77:{:x}::{host}/64 dev {end} nodad", self.number))?;
        }
        Ok(())
    }
}
