//! Runs the example programs as a shell does, and checks what they print and how they end.

// Each test file compiles its own copy and uses a part of it.
#![allow(dead_code, unreachable_pub)]

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::IpAddr;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime};

use multicast::Group;

use crate::common::PATIENCE;

/// The path of an example program. `cargo test` builds the examples with the tests.
pub fn example(name: &str) -> PathBuf {
    let mut path = std::env::current_exe().unwrap();
    path.pop();
    if path.ends_with("deps") {
        path.pop();
    }
    path.push("examples");
    path.push(name);
    let project = Path::new(env!("CARGO_MANIFEST_DIR"));
    let examples = project.join("examples");
    let sources = [project.join("src"), examples.join(name), examples.join(format!("{name}.rs"))];
    let changed = sources.iter().filter_map(|source| last_change(source)).max();
    let built = fs::metadata(&path).and_then(|file| file.modified()).ok();
    // `cargo test --test NAME` builds no examples.
    assert!(built > changed, "{} is not there, or old: run `cargo build --examples`", path.display());
    path
}

/// When this file, or a file in this directory, was last changed.
fn last_change(path: &Path) -> Option<SystemTime> {
    match fs::read_dir(path) {
        Ok(entries) => entries.filter_map(|entry| last_change(&entry.ok()?.path())).max(),
        Err(_) => fs::metadata(path).and_then(|file| file.modified()).ok(),
    }
}

/// Waits until a process on this machine has joined the group.
pub fn wait_for_member(group: Group) {
    let (file, address) = match group.address() {
        IpAddr::V4(address) => ("/proc/net/igmp", format!("{:08X} ", u32::from_ne_bytes(address.octets()))),
        IpAddr::V6(address) => ("/proc/net/igmp6", format!(" {:032x} ", u128::from(address))),
    };
    let end = Instant::now() + PATIENCE;
    while !fs::read_to_string(file).unwrap().contains(&address) {
        assert!(Instant::now() < end, "nobody joined {group}");
        thread::sleep(Duration::from_millis(2));
    }
}

/// How a program ended, and what it printed.
#[derive(Debug)]
pub struct Ended {
    pub status: ExitStatus,
    /// The lines of its standard output that were not taken by [`Running::line`].
    pub lines: Vec<String>,
    pub errors: String,
    pub time: Duration,
}

impl Ended {
    /// It must have ended with this exit code, and not by a signal.
    #[track_caller]
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(self.status.signal(), None, "{self:?}");
        assert_eq!(self.status.code(), Some(code), "{self:?}");
        assert!(!self.errors.contains("panicked"), "{self:?}");
        self
    }

    /// It must have printed these words to standard error.
    #[track_caller]
    pub fn saying(self, words: &str) -> Self {
        assert!(self.errors.contains(words), "{words:?} is not in {self:?}");
        self
    }

    /// It must have printed nothing to standard error.
    #[track_caller]
    pub fn quietly(self) -> Self {
        assert_eq!(self.errors, "", "{self:?}");
        self
    }

    /// It must have printed nothing to standard error but one line, the counters.
    #[track_caller]
    pub fn counting(self) -> Self {
        assert!(self.errors.starts_with("mcast: received ") && self.errors.lines().count() == 1, "{self:?}");
        self
    }
}

/// Runs a program to its end, with an empty standard input if none was given.
#[track_caller]
pub fn run(command: &mut Command) -> Ended {
    let mut running = Running::start(command);
    drop(running.input.take());
    running.end()
}

/// A running program. It is killed when this is dropped.
pub struct Running {
    child: Child,
    pub input: Option<ChildStdin>,
    lines: Receiver<String>,
    /// What it printed to standard error, as far as `errors` has read it.
    said: Arc<Mutex<String>>,
    errors: Option<JoinHandle<()>>,
    started: Instant,
}

impl Running {
    /// Starts it with pipes for standard input, standard output and standard error.
    pub fn start(command: &mut Command) -> Self {
        Self::start_reading(command.stdin(Stdio::piped()))
    }

    /// Starts it with the standard input that was set.
    pub fn start_reading(command: &mut Command) -> Self {
        let (mut running, output) = Self::start_unread(command);
        let (sender, lines) = mpsc::channel();
        running.lines = lines;
        thread::spawn(move || {
            for line in BufReader::new(output).lines() {
                // The test may not read all lines.
                let _ = sender.send(line.unwrap());
            }
        });
        running
    }

    /// Starts it without reading what it prints.
    pub fn start_unread(command: &mut Command) -> (Self, ChildStdout) {
        let started = Instant::now();
        // In a group of its own, so that all that a script has started can be ended with it.
        let mut child = command.process_group(0).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let output = child.stdout.take().unwrap();
        let errors = BufReader::new(child.stderr.take().unwrap());
        let said = Arc::new(Mutex::new(String::new()));
        let all_said = Arc::clone(&said);
        let errors = thread::spawn(move || {
            for line in errors.lines() {
                let line = line.unwrap();
                all_said.lock().unwrap().push_str(&format!("{line}\n"));
            }
        });
        let input = child.stdin.take();
        (Self { child, input, lines: mpsc::channel().1, said, errors: Some(errors), started }, output)
    }

    /// Writes to its standard input.
    pub fn say(&mut self, bytes: &[u8]) {
        let input = self.input.as_mut().unwrap();
        input.write_all(bytes).unwrap();
        input.flush().unwrap();
    }

    /// The next line that it prints. It must print one.
    #[track_caller]
    pub fn line(&self) -> String {
        self.line_within(PATIENCE).expect("a line")
    }

    /// The next line, or `None` if it prints none in this time.
    #[track_caller]
    pub fn line_within(&self, time: Duration) -> Option<String> {
        match self.lines.recv_timeout(time) {
            Ok(line) => Some(line),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => panic!("its output ended"),
        }
    }

    /// The payload of the next line, escaped as it was printed.
    #[track_caller]
    pub fn payload(&self) -> String {
        payload_of(&self.line()).to_owned()
    }

    /// Waits until it has printed these words to standard error.
    #[track_caller]
    pub fn wait_until_it_says(&self, words: &str) {
        let end = Instant::now() + PATIENCE;
        while !self.said.lock().unwrap().contains(words) {
            assert!(Instant::now() < end, "{words:?} is not in {:?}", self.said.lock().unwrap());
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// What it has printed to standard error so far.
    pub fn said(&self) -> String {
        self.said.lock().unwrap().clone()
    }

    /// The number of its process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal, by its name without SIG.
    pub fn signal(&self, name: &str) {
        // The standard library can only kill.
        let kill = Command::new("sh").args(["-c", "kill -s \"$0\" \"$1\"", name, &self.child.id().to_string()]).status();
        assert!(kill.unwrap().success());
    }

    /// Waits for its end.
    #[track_caller]
    pub fn end(self) -> Ended {
        self.end_within(PATIENCE)
    }

    /// Waits for its end, which takes its time.
    #[track_caller]
    pub fn end_within(mut self, time: Duration) -> Ended {
        let end = Instant::now() + time;
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(Instant::now() < end, "it does not end");
            thread::sleep(Duration::from_millis(2));
        };
        let time = self.started.elapsed();
        self.errors.take().unwrap().join().unwrap();
        let errors = self.said.lock().unwrap().clone();
        Ended { status, lines: self.lines.iter().collect(), errors, time }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(Some(_))) && !thread::panicking() {
            return;
        }
        // The group outlives its first process, as long as others are in it.
        let group = format!("-{}", self.child.id());
        let _ = Command::new("sh").args(["-c", "kill -s KILL -- \"$0\" 2>&-", &group]).status();
        let _ = self.child.wait();
    }
}

/// The part of the line after the address.
#[track_caller]
pub fn payload_of(line: &str) -> &str {
    line.split_once(' ').unwrap_or_else(|| panic!("no blank in {line:?}")).1
}
