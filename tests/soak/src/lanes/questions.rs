//! Questions to a group, and answers by unicast: both sides.

use std::time::{Duration, Instant};

use multicast::{Group, ListenOptions, Listener, Outcome, Received, SendOptions, Sender};

use super::{Lane, part};
use crate::host;
use crate::items::{Expected, item};
use crate::ledger::{Ledger, Line, Result};
use crate::senders::{on_lo, send_one};
use crate::stations::{PATIENCE, on_lo as membership};

const BURST: u64 = 64;
const BURSTS: u64 = 64;

pub struct Questions {
    kind: &'static str,
    group: Group,
    asker: Sender,
    answers: Listener<1500>,
    responder: Listener<1500>,
    answerer: Sender,
    asked: Expected,
    answered: Expected,
    next: u64,
    /// Of the answers, and of the questions.
    lines: [Line; 2],
}

impl Questions {
    pub fn new(kind: &'static str, group: Group) -> Result<Self> {
        let text = |error: multicast::Error| error.to_string();
        let (asker, answers) = on_lo().open_with_replies::<1500>(group.family()).map_err(text)?;
        let mut responder = ListenOptions::new().answers().bind::<1500>(membership(group)).map_err(text)?;
        let answerer = responder.sender(SendOptions::new()).map_err(text)?;
        let (asked, answered) = (Expected::from(0, 1), Expected::from(0, 1));
        Ok(Self { kind, group, asker, answers, responder, answerer, asked, answered, next: 0, lines: [Line::default(); 2] })
    }

    /// Answers all questions that have come.
    fn answer(&mut self) -> multicast::Result<()> {
        loop {
            let head = match self.responder.recv()? {
                Received::Packet(packet) => packet.head(),
                Received::Paused => continue,
                Received::Empty => return Ok(()),
            };
            let question = self.responder.packet(head);
            self.asked.packet(question.payload());
            while self.answerer.reply(&question, question.payload())? != Outcome::Sent {
                std::thread::yield_now();
            }
        }
    }

    /// The line of the answers (0) or of the questions (1).
    fn counted(&self, which: usize, sent: u64, since: Instant) -> Line {
        let counters = if which == 0 { self.answers.counters() } else { self.responder.counters() };
        let mut now = Line { lost: self.lines[which].lost, ..Line::of(sent, &counters) };
        if now.open() != 0 && host::has_lost(now.open(), since) {
            now.lost += u64::from(now.open());
        }
        now
    }

    fn burst(&mut self, ledger: &Ledger) -> Result<()> {
        let kind = self.kind;
        for number in self.next..self.next + BURST {
            send_one(&mut self.asker, &item(number), self.group)?;
        }
        self.next += BURST;
        let since = Instant::now();
        loop {
            self.answer().map_err(|error| format!("{kind}, answering: {error}"))?;
            loop {
                match self.answers.recv().map_err(|error| format!("{kind}, answers: {error}"))? {
                    Received::Packet(packet) => self.answered.packet(packet.payload()),
                    Received::Paused => {}
                    Received::Empty => break,
                }
            }
            // What was not asked cannot be answered.
            let asked = self.counted(1, self.next, since);
            let answered = self.counted(0, self.next - asked.lost, since);
            if asked.open() == 0 && answered.open() == 0 {
                self.lines[1] = asked;
                ledger.add(kind, answered, &mut self.lines[0]);
                break;
            }
            if since.elapsed() > PATIENCE {
                return Err(format!("{kind}: the ledger is not exact: {asked:?}, {answered:?}"));
            }
            std::thread::sleep(Duration::from_micros(50));
        }
        let [answered, asked] = self.lines.map(|line| line.lost);
        for (expected, lost) in [(&mut self.asked, asked), (&mut self.answered, asked + answered)] {
            expected.close(self.next).map_err(|error| format!("{kind}: {error}"))?;
            if expected.missing > lost {
                return Err(format!("{kind}: {} are missing", expected.missing));
            }
        }
        Ok(())
    }
}

impl Lane for Questions {
    fn name(&self) -> &'static str {
        self.kind
    }

    fn turn(&mut self, ledger: &Ledger) -> Result<()> {
        (0..BURSTS).try_for_each(|_| self.burst(ledger))
    }

    fn progress(&self, ledger: &Ledger) -> f64 {
        part(ledger.seen(self.kind))
    }
}
