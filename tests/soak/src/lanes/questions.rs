//! Questions to a group, and answers by unicast: both sides.

use std::time::{Duration, Instant};

use multicast::{Group, ListenOptions, Listener, Outcome, Received, SendOptions, Sender};

use super::{Lane, part};
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
    line: Line,
}

impl Questions {
    pub fn new(kind: &'static str, group: Group) -> Result<Self> {
        let text = |error: multicast::Error| error.to_string();
        let (asker, answers) = on_lo().open_with_replies::<1500>(group.family()).map_err(text)?;
        let mut responder = ListenOptions::new().answers().bind::<1500>(membership(group)).map_err(text)?;
        let answerer = responder.sender(SendOptions::new()).map_err(text)?;
        let (asked, answered) = (Expected::from(0, 1), Expected::from(0, 1));
        Ok(Self { kind, group, asker, answers, responder, answerer, asked, answered, next: 0, line: Line::default() })
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

    fn burst(&mut self, ledger: &Ledger) -> Result<()> {
        let kind = self.kind;
        for number in self.next..self.next + BURST {
            send_one(&mut self.asker, &item(number), self.group)?;
        }
        self.next += BURST;
        let deadline = Instant::now() + PATIENCE;
        loop {
            self.answer().map_err(|error| format!("{kind}, answering: {error}"))?;
            loop {
                match self.answers.recv().map_err(|error| format!("{kind}, answers: {error}"))? {
                    Received::Packet(packet) => self.answered.packet(packet.payload()),
                    Received::Paused => {}
                    Received::Empty => break,
                }
            }
            let now = Line::of(self.next, &self.answers.counters());
            if now.open() == 0 && Line::of(self.next, &self.responder.counters()).open() == 0 {
                ledger.add(kind, now, &mut self.line);
                break;
            }
            if Instant::now() > deadline {
                return Err(format!("{kind}: the ledger is not exact: {now:?}, {:?}", self.responder.counters()));
            }
            std::thread::sleep(Duration::from_micros(50));
        }
        for expected in [&mut self.asked, &mut self.answered] {
            expected.close(self.next).map_err(|error| format!("{kind}: {error}"))?;
            if expected.missing > 0 {
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
