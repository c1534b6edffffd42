//! The machine of the benchmark, without which the figures mean nothing.

use std::fmt;
use std::fs;
use std::process::Command;

use rustix::thread::{CpuSet, sched_getaffinity};

use crate::Outcome;

#[derive(Debug)]
pub(crate) struct Machine {
    processor: String,
    vulnerabilities: Vec<(String, String)>,
    kernel: String,
    compilers: String,
    date: String,
    /// The processors that senders and receivers are pinned to.
    pub(crate) sender_cpu: usize,
    pub(crate) receiver_cpu: usize,
}

impl Machine {
    pub(crate) fn look() -> Outcome<Self> {
        let allowed = sched_getaffinity(None)?;
        let cpus: Vec<usize> = (0..CpuSet::MAX_CPU).filter(|&cpu| allowed.is_set(cpu)).collect();
        let (Some(&receiver_cpu), Some(&sender_cpu)) = (cpus.first(), cpus.last()) else {
            return Err("no processor to run on".into());
        };
        Ok(Self {
            processor: processor(),
            vulnerabilities: vulnerabilities()?,
            kernel: told("uname", "-srm"),
            compilers: ["rustc", "gcc", "python3"].map(|program| told(program, "--version")).join("; "),
            date: told("date", "--iso-8601=minutes"),
            sender_cpu,
            receiver_cpu,
        })
    }

    /// The description, as lines.
    pub(crate) fn lines(&self) -> Vec<(&str, String)> {
        let affected: Vec<String> = self
            .vulnerabilities
            .iter()
            .filter(|(_, state)| state != "Not affected")
            .map(|(name, state)| format!("{name}: {state}"))
            .collect();
        let affected = if affected.is_empty() { "none".to_owned() } else { affected.join(". ") };
        let pinned = if self.sender_cpu == self.receiver_cpu {
            format!("all on processor {}: there is no other", self.sender_cpu)
        } else {
            format!("receivers on {}, senders on {}", self.receiver_cpu, self.sender_cpu)
        };
        vec![
            ("processor", self.processor.clone()),
            ("pinned", pinned),
            ("vulnerabilities", affected),
            ("kernel", self.kernel.clone()),
            ("compilers", self.compilers.clone()),
            ("date", self.date.clone()),
        ]
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.lines().iter().try_for_each(|(what, value)| writeln!(f, "# {what}: {value}"))
    }
}

/// The first line that a program prints, or a note that it cannot be run.
fn told(program: &str, argument: &str) -> String {
    let output = Command::new(program).arg(argument).output().map(|output| output.stdout).unwrap_or_default();
    let line = String::from_utf8_lossy(&output).lines().next().map(str::to_owned);
    line.unwrap_or_else(|| format!("{program}: unknown"))
}

/// x86 and other processors name their model differently.
fn processor() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let named = |key: &str| text.lines().find(|line| line.starts_with(key)).and_then(|line| line.split_once(": "));
    let name = ["model name", "Model", "Hardware", "uarch", "CPU part"].iter().find_map(|key| named(key));
    let name = name.map_or_else(|| "unknown".to_owned(), |(_, name)| name.to_owned());
    let virtual_machine = if text.contains(" hypervisor") { ", virtual" } else { "" };
    format!("{name} ({}{virtual_machine})", std::env::consts::ARCH)
}

fn vulnerabilities() -> Outcome<Vec<(String, String)>> {
    let Ok(entries) = fs::read_dir("/sys/devices/system/cpu/vulnerabilities") else {
        return Ok(vec![("vulnerabilities".to_owned(), "not told by the kernel".to_owned())]);
    };
    let mut all = Vec::new();
    for entry in entries {
        let entry = entry?;
        let state = fs::read_to_string(entry.path())?.trim().to_owned();
        all.push((entry.file_name().to_string_lossy().into_owned(), state));
    }
    all.sort();
    Ok(all)
}
