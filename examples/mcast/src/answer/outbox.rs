//! Answers that are to be sent. One that cannot leave now waits, and the others do not wait for it.

use std::collections::VecDeque;
use std::fmt::Display;
use std::rc::Rc;
use std::time::{Duration, Instant};

use multicast::{Destination, Outcome, Sender};

use crate::stop::complain;

/// The longest payload of UDP over IPv4.
pub(super) const LONGEST: usize = 65_507;
/// How many answers may wait.
const MOST: usize = 256;
/// How long one waits until it is given up.
const PATIENCE: Duration = Duration::from_secs(5);
/// When a full send buffer is tried again.
const RETRY: Duration = Duration::from_millis(10);
/// How often a failure is reported: strangers can cause many.
const REPORT: Duration = Duration::from_secs(1);

pub(super) struct Outbox {
    /// Those of the sockets that were asked, with their numbers.
    senders: Vec<Sender>,
    waiting: VecDeque<Waiting>,
    pub(super) sent: u64,
    /// Questions that get no answer.
    pub(super) unanswered: u64,
    quiet: bool,
    reported: Option<Instant>,
}

struct Waiting {
    number: usize,
    to: Destination,
    payload: Rc<[u8]>,
    due: Instant,
    until: Instant,
}

impl Outbox {
    pub(super) fn new(senders: Vec<Sender>, quiet: bool) -> Self {
        Self { senders, waiting: VecDeque::new(), sent: 0, unanswered: 0, quiet, reported: None }
    }

    /// Lets it be sent by the next [`send`](Self::send).
    pub(super) fn push(&mut self, number: usize, to: Destination, payload: Rc<[u8]>) {
        if self.waiting.len() >= MOST {
            return self.failed(&format_args!("{MOST} answers wait to be sent: one is left out"));
        }
        let now = Instant::now();
        self.waiting.push_back(Waiting { number, to, payload, due: now, until: now + PATIENCE });
    }

    /// When to call [`send`](Self::send) again.
    pub(super) fn due(&self) -> Option<Instant> {
        self.waiting.iter().map(|waiting| waiting.due).min()
    }

    /// Sends what can leave now.
    pub(super) fn send(&mut self) {
        // Each once: those that go on waiting are put back at the end.
        for _ in 0..self.waiting.len() {
            let Some(mut waiting) = self.waiting.pop_front() else { return };
            let now = Instant::now();
            if waiting.due > now {
                self.waiting.push_back(waiting);
                continue;
            }
            let Some(sender) = self.senders.get_mut(waiting.number) else { continue };
            let time = match sender.send(&waiting.payload, waiting.to) {
                Ok(Outcome::Sent) => {
                    self.sent = self.sent.saturating_add(1);
                    continue;
                }
                Ok(Outcome::Blocked) => RETRY,
                Ok(Outcome::Wait(time)) => time,
                // A stranger may have caused it, with a question from where nothing can be sent to.
                Err(error) => {
                    self.failed(&error);
                    continue;
                }
            };
            if waiting.until <= now {
                self.failed(&"an answer could not leave for 5 seconds: it is left out");
                continue;
            }
            waiting.due = now + time;
            self.waiting.push_back(waiting);
        }
    }

    /// Counts what waits, and so many questions more, as unanswered.
    pub(super) fn end(&mut self, unanswered: usize) {
        let all = self.waiting.len().saturating_add(unanswered);
        self.unanswered = self.unanswered.saturating_add(all as u64);
    }

    /// Counts a question without an answer, and says why, if nothing was said lately.
    #[inline(never)]
    pub(super) fn failed(&mut self, reason: &dyn Display) {
        self.unanswered = self.unanswered.saturating_add(1);
        let now = Instant::now();
        if !self.quiet && self.reported.is_none_or(|reported| now.saturating_duration_since(reported) >= REPORT) {
            self.reported = Some(now);
            complain(reason);
        }
    }
}
