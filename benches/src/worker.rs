//! A peer's process, and the protocol with it: one line in each direction.

use std::io::{BufRead, BufReader, Write};
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::Outcome;
use crate::workshop::Program;

/// A worker that prints nothing for this long is stuck.
const PATIENCE: Duration = Duration::from_secs(60);

/// The first port of every peer.
pub(crate) const PORT: u16 = 5000;

/// A peer by its names: what reports call it, and where its code is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Peer {
    pub(crate) name: &'static str,
    pub(crate) program: Program,
    pub(crate) way: &'static str,
}

/// The job of a worker.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Job {
    pub(crate) task: &'static str,
    pub(crate) cpu: usize,
    pub(crate) group: Ipv4Addr,
    pub(crate) size: usize,
    /// How many sockets, for the tasks that need a number.
    pub(crate) number: usize,
}

/// The result of one piece of work.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Answer {
    pub(crate) packets: u64,
    pub(crate) bytes: u64,
    pub(crate) nanoseconds: u64,
    pub(crate) allocations: u64,
}

#[derive(Debug)]
pub(crate) struct Worker {
    called: String,
    child: Child,
    /// `None` only during `drop`.
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

/// The network of another process, to start a worker in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Inside {
    pub(crate) pid: u32,
}

impl Inside {
    /// The first words of a command in that network.
    pub(crate) fn words(&self) -> [String; 4] {
        ["nsenter".to_owned(), "-n".to_owned(), "-t".to_owned(), self.pid.to_string()]
    }
}

impl Worker {
    /// Starts a peer, and waits until its sockets are open.
    pub(crate) fn start(peer: &Peer, job: &Job) -> Outcome<Self> {
        Self::start_after(Vec::new(), peer, job)
    }

    /// The same, with other words before its command.
    fn start_after(words: Vec<PathBuf>, peer: &Peer, job: &Job) -> Outcome<Self> {
        let mut words = words.into_iter().chain(peer.program.command()?);
        let mut command = Command::new(words.next().ok_or("no program")?);
        command.args(words).args([job.task, peer.way]).args([
            job.cpu.to_string(),
            job.group.to_string(),
            PORT.to_string(),
            job.size.to_string(),
            job.number.to_string(),
        ]);
        let called = format!("{} ({} {})", peer.name, job.task, job.size);
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().map_err(|error| format!("{called}: {error}"))?;
        let input = child.stdin.take();
        let output = BufReader::new(child.stdout.take().ok_or("no output")?);
        let mut worker = Self { called, child, input, output };
        match worker.line()?.as_str() {
            "ready" => Ok(worker),
            other => Err(format!("{}: '{other}' instead of 'ready'", worker.called).into()),
        }
    }

    /// Starts a piece of work.
    pub(crate) fn tell(&mut self, line: &str) -> Outcome<()> {
        let input = self.input.as_mut().ok_or("no input")?;
        // One write, so that it wakes up once.
        input.write_all(format!("{line}\n").as_bytes()).map_err(|error| format!("{}: {error}", self.called).into())
    }

    /// Waits for the result.
    pub(crate) fn answer(&mut self) -> Outcome<Answer> {
        let line = self.line()?;
        let numbers: Vec<u64> = line.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        match numbers[..] {
            [packets, bytes, nanoseconds, allocations] => Ok(Answer { packets, bytes, nanoseconds, allocations }),
            _ => Err(format!("{}: '{line}' is not an answer", self.called).into()),
        }
    }

    /// Starts a piece of work, and waits for the result.
    pub(crate) fn work(&mut self, count: u64) -> Outcome<Answer> {
        self.tell(&count.to_string())?;
        self.answer()
    }

    pub(crate) fn called(&self) -> &str {
        &self.called
    }

    fn line(&mut self) -> Outcome<String> {
        // It prints one line and waits, so there is never a second line in the buffer.
        let patience = Timespec { tv_sec: PATIENCE.as_secs() as i64, tv_nsec: 0 };
        if poll(&mut [PollFd::new(self.output.get_ref(), PollFlags::IN)], Some(&patience))? == 0 {
            return Err(format!("{}: says nothing for {} s", self.called, PATIENCE.as_secs()).into());
        }
        let mut line = String::new();
        if self.output.read_line(&mut line)? == 0 {
            return Err(format!("{}: ended too early", self.called).into());
        }
        Ok(line.trim_end().to_owned())
    }
}

/// Ends the process: it ends by itself when its input is closed, unless it is stuck.
impl Drop for Worker {
    fn drop(&mut self) {
        drop(self.input.take());
        for _ in 0..100 {
            if matches!(self.child.try_wait(), Ok(Some(_))) {
                return;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The sender that fills every queue. It measures nothing.
#[derive(Debug)]
pub(crate) struct Filler(Worker);

impl Filler {
    pub(crate) fn start(cpu: usize) -> Outcome<Self> {
        Self::start_after(Vec::new(), cpu, 0)
    }

    /// The same in another network, on the interface with this index.
    pub(crate) fn start_inside(inside: &Inside, cpu: usize, index: usize) -> Outcome<Self> {
        Self::start_after(inside.words().map(PathBuf::from).into(), cpu, index)
    }

    fn start_after(words: Vec<PathBuf>, cpu: usize, index: usize) -> Outcome<Self> {
        let peer = Peer { name: "the filling sender", program: Program::C, way: "sendmsg" };
        let job = Job { task: "fill", cpu, group: Ipv4Addr::new(239, 77, 0, 0), size: 1, number: index };
        Worker::start_after(words, &peer, &job).map(Self)
    }

    /// Sends packets to the first port of a group: one per call, or as many per call as possible.
    pub(crate) fn fill(&mut self, group: Ipv4Addr, size: usize, packets: u64, coalesced: bool) -> Outcome<()> {
        let segments = if coalesced { segments_of(size) } else { 1 };
        self.0.tell(&format!("{group} {PORT} {size} {packets} {segments} 0"))?;
        self.0.answer().map(drop)
    }

    /// Sends packets at a steady rate while `meanwhile` runs; returns the time in nanoseconds.
    pub(crate) fn pace<T>(
        &mut self,
        group: Ipv4Addr,
        size: usize,
        packets: u64,
        packets_per_second: u64,
        meanwhile: impl FnOnce() -> Outcome<T>,
    ) -> Outcome<(T, u64)> {
        self.0.tell(&format!("{group} {PORT} {size} {packets} 1 {packets_per_second}"))?;
        let result = meanwhile();
        let answer = self.0.answer()?;
        Ok((result?, answer.nanoseconds))
    }
}

/// How many packets of this size one call carries: 64, or as many as fit into 65,507 bytes.
pub(crate) const fn segments_of(size: usize) -> usize {
    let fit = 65_507 / size;
    if fit < 64 { fit } else { 64 }
}
