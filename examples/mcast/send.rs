//! `mcast send`: sends a text, or the lines of standard input.

use std::cell::Cell;
use std::iter;
use std::time::{Duration, Instant};

use multicast::{ErrorKind, Events, Interest, Multicaster, Poller, Progress, Token};

use crate::arguments::{Payload, Send};
use crate::input::{Lines, Next};
use crate::limits::Limits;
use crate::stop::{Stop, complain};

const INPUT: Token = Token(1);
const ROOM_TO_SEND: Token = Token(2);

pub(crate) fn run(order: Send) -> Result<(), Stop> {
    let limits = Limits::new(None)?;
    let mut ledger = Ledger::default();
    let ended = match &order.payload {
        Payload::Text { packet, count } => send_text(&order, packet, *count, &limits, &mut ledger),
        Payload::Lines => send_lines(&order, &limits, &mut ledger),
    };
    if let Err(Stop::Signal(_)) = &ended {
        complain(&format_args!("sent {}", ledger.sent));
    }
    ended?;
    match ledger.left_out {
        0 => Ok(()),
        1 => Err(Stop::Failed("1 line was not sent".to_owned())),
        lines => Err(Stop::Failed(format!("{lines} lines were not sent"))),
    }
}

/// The counters of packets.
#[derive(Default)]
struct Ledger {
    sent: u64,
    left_out: u64,
}

fn send_text(order: &Send, packet: &[u8], count: u64, limits: &Limits, ledger: &mut Ledger) -> Result<(), Stop> {
    let caster = order.options.packets(order.to, iter::repeat(packet))?;
    let mut sender = Sender::new(caster, order.interval, limits)?;
    for _ in 0..count {
        sender.send_next()?;
        ledger.sent += 1;
    }
    Ok(())
}

fn send_lines(order: &Send, limits: &Limits, ledger: &mut Ledger) -> Result<(), Stop> {
    // The multicaster pulls its packets: it is called only when there is a line here.
    let next_packet = Cell::new(None::<Vec<u8>>);
    let caster = order.options.packets(order.to, iter::from_fn(|| next_packet.take()))?;
    let mut sender = Sender::new(caster, order.interval, limits)?;
    let mut lines = Lines::from_standard_input()?;
    let is_pollable = sender.register_input(&lines)?;
    loop {
        match lines.next() {
            Next::Line(line) if line.is_cut() => {
                complain(&format_args!(
                    "line {}: send {} bytes to {}: too long for UDP",
                    line.number, line.length, order.to
                ));
                ledger.left_out += 1;
            }
            Next::Line(line) => {
                next_packet.set(Some(line.bytes));
                match sender.send_next() {
                    Ok(()) => ledger.sent += 1,
                    Err(Stop::Refused(error)) if error.kind() == ErrorKind::TooLong => {
                        complain(&format_args!("line {}: {error}", line.number));
                        sender.caster.discard();
                        ledger.left_out += 1;
                    }
                    Err(stop) => return Err(stop),
                }
            }
            Next::Wait => {
                if is_pollable {
                    sender.wait_for_input(&lines)?;
                }
                lines.read()?;
            }
            Next::End => return Ok(()),
        }
        limits.check()?;
    }
}

/// Sends one packet after another, each when it is due and the socket takes it.
struct Sender<'l, I: Iterator> {
    caster: Multicaster<I>,
    pace: Option<Pace>,
    limits: &'l Limits,
    poller: Poller,
    events: Events<4>,
}

impl<'l, I> Sender<'l, I>
where
    I: Iterator,
    I::Item: AsRef<[u8]>,
{
    fn new(caster: Multicaster<I>, interval: Option<Duration>, limits: &'l Limits) -> Result<Self, Stop> {
        let poller = Poller::new()?;
        limits.register(&poller)?;
        Ok(Self { caster, pace: interval.map(Pace::new), limits, poller, events: Events::new() })
    }

    /// Sends the next packet. There must be one.
    fn send_next(&mut self) -> Result<(), Stop> {
        while let Some(time) = self.pace.as_ref().and_then(Pace::time_left) {
            self.limits.wait(&self.poller, &mut self.events, Some(time))?;
        }
        loop {
            self.limits.check()?;
            match self.caster.step()? {
                Progress::Blocked => self.wait_for_room()?,
                Progress::Wait(time) => self.limits.wait(&self.poller, &mut self.events, Some(time))?,
                Progress::Sent(_) | Progress::Done => break,
            }
        }
        if let Some(pace) = &mut self.pace {
            pace.sent_one();
        }
        Ok(())
    }

    fn wait_for_room(&mut self) -> Result<(), Stop> {
        self.poller.register(&self.caster, ROOM_TO_SEND, Interest::WRITABLE)?;
        let ended = self.limits.wait(&self.poller, &mut self.events, None);
        self.poller.unregister(&self.caster)?;
        ended
    }

    /// Whether a poller can wait for this input: regular files are always ready, and epoll refuses them.
    fn register_input(&self, lines: &Lines) -> Result<bool, Stop> {
        match self.poller.register(lines, INPUT, Interest::READABLE.oneshot()) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == ErrorKind::NotPollable => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Waits until there is something to read, or the end. One-shot, so that unread input does not end other waits.
    fn wait_for_input(&mut self, lines: &Lines) -> Result<(), Stop> {
        self.poller.reregister(lines, INPUT, Interest::READABLE.oneshot())?;
        loop {
            self.limits.wait(&self.poller, &mut self.events, None)?;
            if self.events.iter().any(|event| event.token() == INPUT) {
                return Ok(());
            }
        }
    }
}

/// When the next packet may go.
struct Pace {
    interval: Duration,
    /// `None` is never: the time is beyond the clock's range.
    due: Option<Instant>,
}

impl Pace {
    /// How much delay is caught up, so that waits that take a little too long do not add up.
    const SLACK: Duration = Duration::from_millis(10);

    fn new(interval: Duration) -> Self {
        Self { interval, due: Some(Instant::now()) }
    }

    /// The remaining time to wait, if any.
    fn time_left(&self) -> Option<Duration> {
        let Some(due) = self.due else { return Some(Duration::MAX) };
        Some(due.saturating_duration_since(Instant::now())).filter(|left| !left.is_zero())
    }

    fn sent_one(&mut self) {
        let now = Instant::now();
        let earliest = now.checked_sub(Self::SLACK).unwrap_or(now);
        let from = self.due.map_or(now, |due| due.max(earliest));
        self.due = from.checked_add(self.interval);
    }
}
