//! Programs that speak a protocol: the examples of this crate, and those of others. Each prints lines, for which a case waits.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, PipeReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use crate::network::Host;
use crate::peers::Process;

/// How long to wait for a line that must come. Longer than the random delays that some protocols require.
const PATIENCE: Duration = Duration::from_secs(8);

/// A running program. It is ended when this is dropped.
pub struct Program {
    process: Process,
    lines: Receiver<String>,
    said: Vec<String>,
    /// How many of these lines a case has waited for.
    read: usize,
}

impl Program {
    fn start(host: &Host, mut command: Command) -> Self {
        // One pipe for both, so that complaints stand among the lines that follow from them.
        let (output, input) = std::io::pipe().unwrap();
        command.stdin(Stdio::piped()).stdout(input.try_clone().unwrap()).stderr(input);
        let name = command.get_program().to_owned();
        let child = host.within(|| command.spawn());
        // The command keeps a copy of the pipe, which then would never end.
        drop(command);
        let process = Process(child.unwrap_or_else(|error| panic!("{name:?}: {error}: it must be installed")));
        Self { process, lines: lines_of(output), said: Vec::new(), read: 0 }
    }

    /// Waits for a line with this text, beginning after the last one that was waited for, and returns it.
    #[track_caller]
    pub fn says(&mut self, text: &str) -> String {
        match self.says_within(text, PATIENCE) {
            Some(line) => line,
            None => panic!("it did not say {text:?}, but:\n{}", self.said.join("\n")),
        }
    }

    /// Like [`says`](Self::says); `None` if there is no such line within this time.
    pub fn says_within(&mut self, text: &str, time: Duration) -> Option<String> {
        let end = Instant::now() + time;
        loop {
            while let Some(line) = self.said.get(self.read) {
                self.read += 1;
                if line.contains(text) {
                    return Some(line.clone());
                }
            }
            match self.lines.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(line) => self.said.push(line),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return None,
            }
        }
    }

    /// Its standard input.
    pub fn input(&mut self) -> &mut impl std::io::Write {
        self.process.0.stdin.as_mut().unwrap()
    }

    /// Closes its standard input.
    pub fn close_input(&mut self) {
        drop(self.process.0.stdin.take());
    }
}

/// The lines of a pipe, of text in any encoding.
fn lines_of(output: PipeReader) -> Receiver<String> {
    let (send, lines) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(output).split(b'\n').map_while(Result::ok) {
            if send.send(String::from_utf8_lossy(&line).into_owned()).is_err() {
                return;
            }
        }
    });
    lines
}

/// A program that is installed on the machine.
pub fn installed<A: AsRef<OsStr>>(host: &Host, program: &str, arguments: &[A]) -> Program {
    let mut command = Command::new(program);
    command.args(arguments);
    Program::start(host, command)
}

/// An example of this crate. `make lab` builds them first.
pub fn example<A: AsRef<OsStr>>(host: &Host, name: &str, arguments: &[A]) -> Program {
    // The laboratory itself is in target/debug/deps/.
    let mut path = std::env::current_exe().unwrap();
    path.pop();
    path.pop();
    path.extend(["examples", name]);
    let source = project().join(format!("examples/{name}.rs"));
    let changed = |path: &Path| path.metadata().and_then(|data| data.modified()).ok();
    assert!(changed(&path) > changed(&source), "{} is not there, or old: run `make lab`", path.display());
    let mut command = Command::new(path);
    command.args(arguments);
    Program::start(host, command)
}

/// The tool of this project. `make lab` builds it first.
pub fn mcast<A: AsRef<OsStr>>(host: &Host, arguments: &[A]) -> Program {
    // The laboratory itself is in target/debug/deps/.
    let mut path = std::env::current_exe().unwrap();
    path.pop();
    path.pop();
    path.push("mcast");
    assert!(path.exists(), "{} is not there: run `make lab`", path.display());
    let mut command = Command::new(path);
    command.args(arguments);
    Program::start(host, command)
}

/// A Python program in tests/lab/protocols/, with the packages from target/peers/.
pub fn python(host: &Host, file: &str, arguments: &[&str]) -> Program {
    let packages = project().join("target/peers/python");
    assert!(packages.exists(), "{} is not there: run `make lab`", packages.display());
    let mut command = Command::new("python3");
    command.arg("-u").arg(file_of(file)).args(arguments).env("PYTHONPATH", packages);
    Program::start(host, command)
}

/// A Python program in tests/lab/protocols/ for the Python of Debian, with Debian's packages.
pub fn debian_python(host: &Host, file: &str, arguments: &[&str]) -> Program {
    let mut command = Command::new("/usr/bin/python3");
    command.arg("-u").arg(file_of(file)).args(arguments);
    Program::start(host, command)
}

/// A program for node in tests/lab/protocols/, with the packages from target/peers/.
pub fn node(host: &Host, file: &str, arguments: &[&str]) -> Program {
    let packages = project().join("target/peers/node/node_modules");
    assert!(packages.exists(), "{} is not there: run `make lab`", packages.display());
    let mut command = Command::new("node");
    command.arg(file_of(file)).args(arguments).env("NODE_PATH", packages);
    Program::start(host, command)
}

/// A shell script in tests/lab/protocols/, with mounts of its own.
pub fn script(host: &Host, file: &str, arguments: &[&str]) -> Program {
    let mut command = Command::new("unshare");
    command.args(["-m", "sh"]).arg(file_of(file)).args(arguments);
    Program::start(host, command)
}

/// A program of a stranger: see tests/lab/strangers/stranger.py.
pub fn stranger(host: &Host, arguments: &[&str]) -> Program {
    let mut command = Command::new("python3");
    command.arg("-u").arg(project().join("tests/lab/strangers/stranger.py")).args(arguments);
    Program::start(host, command)
}

/// A sender or receiver with a fault: see tests/lab/strangers/faulty.py.
pub fn faulty(host: &Host, arguments: &[&str]) -> Program {
    let mut command = Command::new("python3");
    command.arg("-u").arg(project().join("tests/lab/strangers/faulty.py")).args(arguments);
    let mut program = Program::start(host, command);
    program.says("begins");
    program
}

fn project() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A file that belongs to the protocols' cases.
pub fn file_of(name: &str) -> PathBuf {
    project().join("tests/lab/protocols").join(name)
}
