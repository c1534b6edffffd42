//! Runs a program under strace, or with something taken away, at most for some seconds.

use std::io::Read;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The longest a run may last: where nothing comes that should, a scenario waits up to four times.
pub const LONGEST: Duration = Duration::from_secs(10);

/// How a program ended.
#[derive(Debug)]
pub struct Ended {
    /// `None` if it did not end in time.
    pub code: Option<i32>,
    pub signal: Option<i32>,
    pub output: String,
    pub errors: String,
}

impl Ended {
    /// Whether the program reported an error.
    pub fn has_reported(&self) -> bool {
        self.output.lines().any(|line| line.starts_with("error ")) || !self.errors.is_empty()
    }

    /// What no program may do, whatever fails.
    pub fn misbehaved(&self) -> Option<String> {
        if self.errors.contains("panicked") || self.output.contains("panicked") {
            return Some(format!("it panicked: {}", self.errors.trim()));
        }
        match (self.code, self.signal) {
            (None, None) => Some("it did not end".to_owned()),
            (None, Some(signal)) => Some(format!("it was ended by signal {signal}: {}", self.errors.trim())),
            (Some(_), _) => None,
        }
    }
}

/// How a program is started: what stands before it on the command line.
#[derive(Clone, Debug)]
pub struct Launch {
    words: Vec<String>,
    /// The driver's own options.
    pub driver: Vec<String>,
}

impl Launch {
    /// Under strace, with these options. One call fails.
    pub fn traced(options: &[&str]) -> Self {
        let words = ["strace", "-f", "-qq", "--seccomp-bpf"].iter().chain(options).chain(&["--"]);
        Self { words: words.map(|word| (*word).to_owned()).collect(), driver: Vec::new() }
    }

    /// As [`traced`](Self::traced), where a call fails at each try: the driver is told that.
    pub fn lasting(options: &[&str]) -> Self {
        Self { driver: vec!["--lasting".to_owned()], ..Self::traced(options) }
    }

    /// By another program, which takes something away.
    pub fn by(words: &[&str]) -> Self {
        Self { words: words.iter().map(|word| (*word).to_owned()).collect(), driver: vec!["--lasting".to_owned()] }
    }

    /// With these options for the driver.
    pub fn driver(self, options: &[&str]) -> Self {
        Self { driver: options.iter().map(|option| (*option).to_owned()).collect(), ..self }
    }

    /// Its group of processes can be killed at once.
    pub fn command(&self, program: &[String]) -> Command {
        let mut words = self.words.iter().chain(program);
        let mut command = Command::new(words.next().map_or("", String::as_str));
        command.args(words).process_group(0);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }
}

/// Waits for its end. Both pipes are read at the end only: what these programs print fits into a pipe.
pub fn wait(mut child: Child, on_each_turn: &mut dyn FnMut()) -> Ended {
    let end = Instant::now() + LONGEST;
    let status = loop {
        on_each_turn();
        match child.try_wait() {
            Ok(Some(status)) => break Some(status),
            Ok(None) if Instant::now() < end => std::thread::sleep(Duration::from_millis(1)),
            _ => break None,
        }
    };
    if status.is_none() {
        if let Some(group) = rustix::process::Pid::from_raw(child.id().cast_signed()) {
            let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        }
        let _ = child.wait();
    }
    let (mut output, mut errors) = (Vec::new(), Vec::new());
    if let Some(mut pipe) = child.stdout.take() {
        let _ = pipe.read_to_end(&mut output);
    }
    if let Some(mut pipe) = child.stderr.take() {
        let _ = pipe.read_to_end(&mut errors);
    }
    Ended {
        code: status.and_then(|status| status.code()),
        signal: status.and_then(|status| status.signal()),
        output: String::from_utf8_lossy(&output).into_owned(),
        errors: String::from_utf8_lossy(&errors).into_owned(),
    }
}
