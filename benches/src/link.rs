//! Links to another network, in which the senders are: pairs of virtual Ethernet devices.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use crate::Outcome;
use crate::worker::{Filler, Inside};
use crate::workshop::{Program, succeed};

/// How long a device gathers packets before it hands them on, in nanoseconds, and how often it looks for more before it asks to be
/// interrupted again: as a network interface with interrupt moderation does.
const GATHERS: u32 = 500_000;
const LOOKS: u32 = 100;

/// The other network. It ends with this value, and all links to it.
#[derive(Debug)]
pub(crate) struct Neighbour(Child);

/// One link: its device has the same index at both ends.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Link {
    pub(crate) index: usize,
}

impl Neighbour {
    pub(crate) fn create() -> Outcome<Self> {
        let mut command = Command::new("unshare");
        command.args(["-n", "sh", "-c", "echo ready; exec cat"]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut neighbour = Self(command.spawn()?);
        let mut line = String::new();
        BufReader::new(neighbour.0.stdout.take().ok_or("no output")?).read_line(&mut line)?;
        if line == "ready\n" { Ok(neighbour) } else { Err("no second network: unshare -n failed".into()) }
    }

    /// A link on which packets of an ordinary sender are coalesced, or are not.
    pub(crate) fn link(&self, index: usize, coalesces: bool) -> Outcome<Link> {
        let name = format!("link{index}");
        let pid = self.0.id().to_string();
        let number = index.to_string();
        let ends = ["link", "add", &name, "index", &number, "type", "veth", "peer", "name", &name, "index", &number];
        succeed(Command::new("ip").args(ends).args(["netns", &pid]))?;
        for (host, inside) in [(1, None), (2, Some(self.inside()))] {
            let run = |words: &[&str]| {
                let mut all = inside.iter().flat_map(Inside::words).collect::<Vec<_>>();
                all.extend(words.iter().map(|word| (*word).to_owned()));
                succeed(Command::new(&all[0]).args(&all[1..]))
            };
            run(&["ip", "address", "add", &format!("10.77.{index}.{host}/24"), "dev", &name])?;
            run(&["ip", "link", "set", &name, "up"])?;
        }
        // A device hands packets to its neighbour one by one only if it cannot cut long ones itself.
        feature(Some(&self.inside()), &name, "tso", false)?;
        feature(None, &name, "gro", coalesces)?;
        if coalesces {
            gather(&name)?;
        }
        self.wait(&name)?;
        Ok(Link { index })
    }

    /// A sender in the other network, which sends on this link.
    pub(crate) fn sender(&self, cpu: usize, link: Link) -> Outcome<Filler> {
        Filler::start_inside(&self.inside(), cpu, link.index)
    }

    fn inside(&self) -> Inside {
        Inside { pid: self.0.id() }
    }

    /// Waits until both ends have a carrier: before that they drop packets without an error.
    fn wait(&self, name: &str) -> Outcome<()> {
        for inside in [None, Some(self.inside())] {
            let words: Vec<String> = inside.iter().flat_map(Inside::words).collect();
            let mut words = words.into_iter().chain(["ip", "link", "show", "dev", name].map(str::to_owned));
            let program = words.next().ok_or("no program")?;
            let mut command = Command::new(program);
            command.args(words);
            let mut tries = 0..500;
            while !String::from_utf8_lossy(&command.output()?.stdout).contains("state UP") {
                tries.next().ok_or_else(|| format!("{name} has no carrier"))?;
                sleep(Duration::from_millis(10));
            }
        }
        Ok(())
    }
}

impl Drop for Neighbour {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Switches a feature of a device on or off, as `ethtool -K` does.
fn feature(inside: Option<&Inside>, device: &str, feature: &str, on: bool) -> Outcome<()> {
    let program = Program::C.command()?.into_iter().map(|word| word.to_string_lossy().into_owned());
    let mut words = inside.into_iter().flat_map(Inside::words).chain(program);
    let mut command = Command::new(words.next().ok_or("no program")?);
    command.args(words).args(["device", feature, "-", device, "0", "0", "0"]).stdin(Stdio::piped()).stdout(Stdio::null());
    let mut child = command.spawn()?;
    child.stdin.take().ok_or("no input")?.write_all(if on { b"1\n" } else { b"0\n" })?;
    let status = child.wait()?;
    if status.success() { Ok(()) } else { Err(format!("{device}: cannot set {feature}").into()) }
}

/// Makes a device gather packets. The files of a device are only in a view of `/sys` that was made in its network.
fn gather(device: &str) -> Outcome<()> {
    let folder = format!("/sys/class/net/{device}");
    let script = format!(
        "mount -t sysfs sysfs /sys && echo {GATHERS} >{folder}/gro_flush_timeout && echo {LOOKS} >{folder}/napi_defer_hard_irqs"
    );
    succeed(Command::new("unshare").args(["-m", "sh", "-c", &script]))
}
