//! `mcast send`: sends a text, or the lines of standard input.

use std::rc::Rc;
use std::time::{Duration, Instant};

use multicast::{ErrorKind, Events, Group, Interest, Links, Multicaster, Outbox, Poller, Progress, SendOptions, Token};

use crate::arguments::{Payload, Send};
use crate::input::{Lines, Next};
use crate::limits::Limits;
use crate::links::{Outage, watched};
use crate::stop::{Stop, complain};

const INPUT: Token = Token(1);
const ROOM_TO_SEND: Token = Token(2);
const LINKS: Token = Token(3);

/// How many packets are sent, if nothing makes it wait, before it looks what has changed.
const TURN: u32 = 64;
/// During an outage: what ends it may be nothing that the kernel reports.
const RETRY: Duration = Duration::from_secs(1);

#[inline(never)]
pub(crate) fn run(order: Send) -> Result<(), Stop> {
    let limits = Limits::new(None)?;
    let mut ledger = Ledger::default();
    // Before the socket, so that no change after it is missed.
    let mut links = Links::watch();
    let sender = watched(&mut links).and_then(|links| Sender::new(&order, &limits, links));
    let ended = sender.and_then(|mut sender| match &order.payload {
        Payload::Text { packet, count } => send_text(&mut sender, packet, *count, &mut ledger),
        Payload::Lines => send_lines(&mut sender, order.to, &mut ledger),
    });
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

/// The queue that a multicaster pulls packets from.
pub(crate) type Queue = Outbox<Rc<[u8]>, 1>;

/// The multicaster of both `mcast send` and `mcast demo`: one function and one type, for the reason that [`crate::listen::open`]
/// has.
#[inline(never)]
pub(crate) fn open(options: SendOptions, group: Group) -> multicast::Result<Multicaster<Queue>> {
    options.packets(group, Outbox::new())
}

/// One step of it, for the same reason.
#[inline(never)]
pub(crate) fn step(caster: &mut Multicaster<Queue>) -> multicast::Result<Progress> {
    caster.step()
}

/// The counters of packets.
#[derive(Default)]
struct Ledger {
    sent: u64,
    left_out: u64,
}

fn send_text(sender: &mut Sender<'_>, packet: &Rc<[u8]>, count: u64, ledger: &mut Ledger) -> Result<(), Stop> {
    for _ in 0..count {
        sender.send(Rc::clone(packet))?;
        ledger.sent += 1;
    }
    Ok(())
}

#[inline(never)]
fn send_lines(sender: &mut Sender<'_>, to: Group, ledger: &mut Ledger) -> Result<(), Stop> {
    let mut lines = Lines::from_standard_input()?;
    // A queue may refuse long packets alone. If it refuses two in a row, it is dead, and each one takes seconds to see it.
    let mut is_refused_before = false;
    let is_pollable = sender.register_input(&lines)?;
    loop {
        match lines.next() {
            Next::Line(line) if line.is_cut() => {
                complain(&format_args!("line {}: send {} bytes to {to}: too long for UDP", line.number, line.length));
                ledger.left_out += 1;
            }
            Next::Line(line) => {
                let ended = sender.send(line.bytes.into());
                let is_refused = matches!(&ended, Err(Stop::Refused(error)) if error.kind() == ErrorKind::QueueRefused);
                let is_second = core::mem::replace(&mut is_refused_before, is_refused);
                let is_skipped = is_refused && !is_second;
                match ended {
                    Ok(()) => ledger.sent += 1,
                    Err(Stop::Refused(error)) if is_skipped || error.kind() == ErrorKind::TooLong => {
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
        sender.limits.check()?;
    }
}

/// Sends one packet after another, each when it is due and the socket takes it. It follows its interface.
struct Sender<'l> {
    caster: Multicaster<Queue>,
    pace: Option<Pace>,
    limits: &'l Limits,
    poller: Poller,
    events: Events<4>,
    links: Option<&'l mut Links>,
    /// Following must be tried again, also if nothing has changed.
    follow_failed: bool,
    outage: Outage,
    has_sent: bool,
    /// How many packets are left of this turn.
    turn: u32,
}

impl<'l> Sender<'l> {
    fn new(order: &Send, limits: &'l Limits, links: Option<&'l mut Links>) -> Result<Self, Stop> {
        let poller = Poller::new()?;
        limits.register(&poller)?;
        if let Some(links) = &links {
            poller.register(&**links, LINKS, Interest::READABLE)?;
        }
        let caster = open(order.options, order.to)?;
        let (pace, outage) = (order.interval.map(Pace::new), Outage::none_yet(order.give_up, "sending again"));
        Ok(Self {
            caster,
            pace,
            limits,
            poller,
            events: Events::new(),
            links,
            follow_failed: false,
            outage,
            has_sent: false,
            turn: TURN,
        })
    }

    /// Sends the next packet.
    fn send(&mut self, packet: Rc<[u8]>) -> Result<(), Stop> {
        while let Some(time) = self.pace.as_ref().and_then(Pace::time_left) {
            self.wait(Some(time))?;
        }
        // There is room: the packet before was sent or discarded.
        let _ = self.caster.items_mut().push(packet);
        loop {
            self.limits.check()?;
            match step(&mut self.caster) {
                Ok(Progress::Blocked) => self.wait_for_room()?,
                Ok(Progress::Wait(time)) => self.wait(Some(time))?,
                Ok(Progress::Sent(_) | Progress::Done) => break,
                // If it never worked, more likely something is wrong than that it will work later.
                Err(error) if self.has_sent && may_pass(error.kind()) => {
                    self.outage.lasts(&error)?;
                    let time = self.outage.time_left().unwrap_or(RETRY).min(RETRY);
                    self.wait(Some(time))?;
                }
                Err(error) => return Err(error.into()),
            }
        }
        self.has_sent = true;
        self.outage.is_over();
        self.turn -= 1;
        if self.turn == 0 {
            self.wait(Some(Duration::ZERO))?;
        }
        if let Some(pace) = &mut self.pace {
            pace.sent_one();
        }
        Ok(())
    }

    /// Waits until something is ready, at most for this time, and follows the links.
    fn wait(&mut self, time: Option<Duration>) -> Result<(), Stop> {
        self.turn = TURN;
        self.limits.wait(&self.poller, &mut self.events, time)?;
        let is_due = self.follow_failed || self.events.iter().any(|event| event.token() == LINKS);
        if let (Some(links), true) = (&mut self.links, is_due) {
            // What still fails is an error of the next packet, after which this is tried again. More changes are reported again.
            self.follow_failed = links.follow(&mut self.caster)?.failed.is_some();
        }
        Ok(())
    }

    fn wait_for_room(&mut self) -> Result<(), Stop> {
        self.poller.register(&self.caster, ROOM_TO_SEND, Interest::WRITABLE)?;
        let ended = self.wait(None);
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
            self.wait(None)?;
            if self.events.iter().any(|event| event.token() == INPUT) {
                return Ok(());
            }
        }
    }
}

/// Whether the reason may be gone later: a link that is down or deleted, or an address or a route that is missing.
fn may_pass(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::NoSuchInterface | ErrorKind::NoAddress | ErrorKind::Unreachable)
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
