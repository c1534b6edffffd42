//! Commands that answer. They run at the same time, in a bounded number and for a bounded time, and nothing waits for one of them.
//!
//! Each is the leader of a process group. So it can be killed with all that it has started, and a signal of the terminal comes to mcast,
//! which then ends them. A leader is not waited for before its output has ended: until then its number belongs to the group.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::fmt::Display;
use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use multicast::{Destination, Interest, Poller, Token};
use rustix::process::{Pid, Signal, kill_process_group};

use super::outbox::{LONGEST, Outbox};

/// The most commands at the same time.
pub(super) const MOST: u64 = 64;
/// The token of the first one's output. That of its input is one higher.
const FIRST: u64 = 2;
/// How many questions may wait for the end of a command.
const WAITING: usize = 64;
/// How long commands have to end when mcast does.
const GRACE: Duration = Duration::from_millis(500);

/// A question for a command.
pub(super) struct Question {
    /// The socket that was asked.
    pub(super) number: usize,
    pub(super) to: Destination,
    pub(super) source: SocketAddr,
    pub(super) group: String,
    pub(super) interface: String,
    pub(super) payload: Box<[u8]>,
    pub(super) since: Instant,
}

pub(super) struct Children {
    /// A place for each that may run.
    running: Vec<Option<Running>>,
    waiting: VecDeque<Question>,
    time: Duration,
}

struct Running {
    child: Child,
    question: Question,
    /// Until the question is written.
    input: Option<ChildStdin>,
    written: usize,
    /// Until its end.
    output: Option<ChildStdout>,
    answer: Vec<u8>,
    /// `None` is never.
    until: Option<Instant>,
    /// Its output has ended, or it was killed: it should end now.
    ended: Option<Instant>,
    /// Why there is no answer.
    failure: Option<&'static str>,
}

impl Children {
    pub(super) fn new(most: usize, time: Duration) -> Self {
        Self { running: std::iter::repeat_with(|| None).take(most).collect(), waiting: VecDeque::new(), time }
    }

    /// Lets the command answer, now or when another one has ended.
    pub(super) fn ask(&mut self, question: Question, command: &OsStr, poller: &Poller, outbox: &mut Outbox) {
        if self.waiting.len() >= WAITING {
            return outbox.failed(&format_args!("{WAITING} questions wait for --exec: one gets no answer"));
        }
        self.waiting.push_back(question);
        self.start_waiting(command, poller, outbox);
    }

    fn start_waiting(&mut self, command: &OsStr, poller: &Poller, outbox: &mut Outbox) {
        while let Some(place) = self.running.iter().position(Option::is_none) {
            let Some(question) = self.waiting.pop_front() else { return };
            if question.since.elapsed() > self.time {
                outbox.failed(&"a question has waited too long for --exec: it gets no answer");
                continue;
            }
            match Running::start(question, command, self.time, place, poller) {
                Ok(running) => {
                    if let Some(free) = self.running.get_mut(place) {
                        *free = Some(running);
                    }
                }
                Err(reason) => outbox.failed(&format_args!("--exec: {reason}")),
            }
        }
    }

    /// A pipe of a command is ready.
    pub(super) fn ready(&mut self, token: Token, poller: &Poller) {
        let Some(number) = token.0.checked_sub(FIRST) else { return };
        let Some(Some(running)) = self.running.get_mut((number / 2) as usize) else { return };
        if number % 2 == 0 { running.read(poller) } else { running.write(poller) }
    }

    /// Takes the answers of those that have ended, and kills those that take too long.
    pub(super) fn tend(&mut self, command: &OsStr, poller: &Poller, outbox: &mut Outbox) {
        let mut has_room = false;
        for place in &mut self.running {
            let Some(running) = place else { continue };
            if running.ended.is_none() && running.until.is_some_and(|until| until <= Instant::now()) {
                running.kill("it took longer than --exec-time", poller);
            }
            if running.ended.is_none() {
                continue;
            }
            let reason: Result<(), String> = match running.child.try_wait() {
                Ok(None) => {
                    let is_late = running.until.is_some_and(|until| until <= Instant::now());
                    if is_late && running.failure.is_none() {
                        running.kill("it took longer than --exec-time", poller);
                    }
                    continue;
                }
                Err(error) => Err(error.to_string()),
                Ok(Some(_)) if running.failure.is_some() => Err(running.failure.unwrap_or_default().to_owned()),
                Ok(Some(status)) if !status.success() => Err(format!("it ended with {status}")),
                Ok(Some(_)) => Ok(()),
            };
            match reason {
                // The command does not want to answer.
                Ok(()) if running.answer.is_empty() => outbox.unanswered = outbox.unanswered.saturating_add(1),
                Ok(()) => outbox.push(running.question.number, running.question.to, running.answer.as_slice().into()),
                Err(reason) => outbox.failed(&format_args!("--exec for {}: {reason}", running.question.source)),
            }
            *place = None;
            has_room = true;
        }
        if has_room {
            self.start_waiting(command, poller, outbox);
        }
    }

    /// When to call [`tend`](Self::tend) again.
    pub(super) fn due(&self) -> Option<Instant> {
        let now = Instant::now();
        let due = |running: &Running| match running.ended {
            // The end of a process that has closed its output is near, mostly.
            Some(ended) => {
                let pause = (now.saturating_duration_since(ended) / 2).clamp(Duration::from_millis(1), GRACE / 10);
                now.checked_add(pause)
            }
            None => running.until,
        };
        self.running.iter().flatten().filter_map(due).min()
    }

    /// Ends all of them: first by SIGTERM, then by SIGKILL. Returns how many questions stay without an answer.
    #[inline(never)]
    pub(super) fn end(&mut self) -> usize {
        let mut left: Vec<_> = self.running.iter_mut().filter_map(Option::take).collect();
        let unanswered = left.len().saturating_add(self.waiting.len());
        let begin = Instant::now();
        for signal in [Signal::TERM, Signal::KILL] {
            for running in &left {
                running.signal(signal);
            }
            while !left.is_empty() && (signal == Signal::KILL || begin.elapsed() < GRACE) {
                std::thread::sleep(Duration::from_millis(2));
                left.retain_mut(|running| matches!(running.child.try_wait(), Ok(None)));
                if begin.elapsed() > 4 * GRACE {
                    return unanswered;
                }
            }
        }
        unanswered
    }
}

impl Running {
    fn start(
        question: Question,
        command: &OsStr,
        time: Duration,
        place: usize,
        poller: &Poller,
    ) -> Result<Self, Box<dyn Display>> {
        let mut shell = Command::new("sh");
        shell
            .arg("-c")
            .arg(command)
            .env("MCAST_SOURCE", question.source.to_string())
            .env("MCAST_GROUP", &question.group)
            .env("MCAST_INTERFACE", &question.interface)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .process_group(0);
        let mut child = shell.spawn().map_err(|error| Box::new(error) as Box<dyn Display>)?;
        let (input, output) = (child.stdin.take(), child.stdout.take());
        let mut running = Self {
            child,
            question,
            input,
            written: 0,
            output,
            answer: Vec::new(),
            until: Instant::now().checked_add(time),
            ended: None,
            failure: None,
        };
        if let Err(reason) = running.connect(place, poller) {
            running.kill("", poller);
            // After SIGKILL this does not take long.
            let _ = running.child.wait();
            return Err(reason);
        }
        running.write(poller);
        Ok(running)
    }

    fn connect(&self, place: usize, poller: &Poller) -> Result<(), Box<dyn Display>> {
        let token = FIRST.saturating_add(2_u64.saturating_mul(place as u64));
        let open = |pipe: &dyn AsFd| rustix::io::ioctl_fionbio(pipe.as_fd(), true);
        if let (Some(input), Some(output)) = (&self.input, &self.output) {
            open(input).and_then(|()| open(output)).map_err(|error| Box::new(error) as Box<dyn Display>)?;
            poller
                .register(output, Token(token), Interest::READABLE)
                .and_then(|()| poller.register(input, Token(token.saturating_add(1)), Interest::WRITABLE))
                .map_err(|error| Box::new(error) as Box<dyn Display>)?;
        }
        Ok(())
    }

    /// Writes what is left of the question. A command that does not read it to the end is no failure.
    fn write(&mut self, poller: &Poller) {
        while let Some(input) = &mut self.input {
            let rest = self.question.payload.get(self.written..).unwrap_or(&[]);
            match input.write(rest) {
                Ok(written @ 1..) => self.written = self.written.saturating_add(written),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Ok(0) | Err(_) => {
                    let _ = poller.unregister(&*input);
                    self.input = None;
                }
            }
        }
    }

    fn read(&mut self, poller: &Poller) {
        let mut piece = [0; 4096];
        while let Some(output) = &mut self.output {
            match output.read(&mut piece) {
                Ok(length @ 1..) => {
                    self.answer.extend_from_slice(piece.get(..length).unwrap_or(&piece));
                    if self.answer.len() > LONGEST {
                        return self.kill("it printed more than 65507 bytes, the most of a packet", poller);
                    }
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Ok(0) | Err(_) => {
                    self.close(poller);
                    self.ended = Some(Instant::now());
                }
            }
        }
    }

    fn kill(&mut self, reason: &'static str, poller: &Poller) {
        self.signal(Signal::KILL);
        self.close(poller);
        self.failure = Some(reason);
        self.ended = Some(Instant::now());
    }

    /// To the process and all that it has started. It has not been waited for, so its number is still its own.
    fn signal(&self, signal: Signal) {
        // It may have ended by itself.
        let _ = kill_process_group(Pid::from_child(&self.child), signal);
    }

    fn close(&mut self, poller: &Poller) {
        if let Some(input) = self.input.take() {
            let _ = poller.unregister(&input);
        }
        if let Some(output) = self.output.take() {
            let _ = poller.unregister(&output);
        }
    }
}
