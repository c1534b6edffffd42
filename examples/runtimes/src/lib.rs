//! The program that each example runs, without its waiting: that is what the runtimes differ in.
//!
//! A [`Node`] listens to a group, sends readings to it, asks who is there, and answers those who ask. It follows its interface when that
//! goes and comes back. Each example waits for the same things:
//!
//! | what | when | then call |
//! |---|---|---|
//! | [`Node::listener`] | it is readable | [`Node::receive`] |
//! | [`Node::replies`] | it is readable | [`Node::collect`] |
//! | [`Node::links`] | it is readable | [`Node::follow`] |
//! | [`Node::caster`] | it is writable, and only after [`Progress::Blocked`] | [`Node::send`] |
//! | time | after [`Progress::Wait`] | [`Node::send`] |
//! | time | each [`Node::period`] | [`Node::tick`] |
//! | [`stop`] | it is readable | [`Node::end`] |
//!
//! `NAME [GROUP:PORT [INTERFACE [MILLISECONDS [READINGS]]]]`, on `lo` by default: sends this many readings each time.

use std::io;
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use multicast::filter::{By, by};
use multicast::{
    Bind, ErrorKind, Group, Interface, Links, ListenOptions, Listener, Membership, Memberships, Multicaster, Outbox, Packet,
    Progress, Received, SendOptions, Sender,
};
use signal_hook::{consts, low_level::pipe};

const QUESTION: &str = "who is there?";

/// The filter of a [`Node`]: a function, which the kernel cannot run.
pub type OnlyText = By<fn(&[u8], SocketAddr) -> bool>;

/// What one turn left in a socket. A turn is short, so that a flood on one socket does not keep the others waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "after `More`, an edge-triggered runtime reports nothing: call again without waiting for it"]
pub enum Turn {
    /// Nothing: wait until the descriptor is readable.
    Done,
    /// Perhaps more. Call again after the others had their turn. A level-triggered runtime reports the descriptor again by itself.
    More,
}

impl Turn {
    /// As `io::Error`: [`WouldBlock`](io::ErrorKind::WouldBlock) if all is read. This is how tokio learns when to wait again.
    ///
    /// # Errors
    /// After [`Turn::Done`].
    pub fn or_would_block(self) -> io::Result<()> {
        match self {
            Self::Done => Err(io::ErrorKind::WouldBlock.into()),
            Self::More => Ok(()),
        }
    }
}

/// One program of the group.
#[derive(Debug)]
pub struct Node {
    /// What is sent to the group.
    pub listener: Listener<1500, OnlyText>,
    /// What answers our questions.
    pub replies: Listener<1500>,
    /// What happens to interfaces.
    pub links: Links,
    /// What sends the readings.
    pub caster: Multicaster<Outbox<String, 512>>,
    book: Memberships<1>,
    answerer: Sender,
    asker: Sender,
    name: String,
    period: Duration,
    readings: u32,
    count: u32,
    /// After [`Progress::Wait`]: when to send again.
    wait_until: Option<Instant>,
    /// Why nothing can leave at the moment.
    lost: Option<ErrorKind>,
    turns: Turns,
}

/// How often [`Node::send`] was called, and how often the socket or the device had no room.
#[derive(Clone, Copy, Debug, Default)]
struct Turns {
    sending: u32,
    blocked: u32,
    waiting: u32,
}

impl Node {
    /// Opens a node of this name, with the program's arguments.
    ///
    /// # Errors
    /// What the crate reports. It is no error if the interface does not exist yet.
    pub fn open(name: &str) -> io::Result<Self> {
        let mut arguments = std::env::args().skip(1).filter(|argument| !argument.starts_with("--"));
        let mut next = |default: &str| arguments.next().unwrap_or_else(|| default.to_owned());
        let (group, interface): (Group, Interface) = (next("239.1.2.3:5000").parse()?, next("lo").parse()?);
        let (period, readings) = (number(&next("1000"))?, number(&next("1"))?);

        let only_text: OnlyText = by(|payload, _| std::str::from_utf8(payload).is_ok());
        let mut listener = ListenOptions::new().filter(only_text).answers().bind(Bind::Later(group))?;
        let mut book = Memberships::new();
        book.join(Membership::any(group).on(interface), &mut listener)?;
        let answerer = listener.sender(SendOptions::new())?;
        // A small send buffer: what is late waits in the outbox, where the program can see it.
        let options = SendOptions::new().interface(interface).later().send_buffer(16_384);
        let (asker, replies) = options.open_with_replies(group.family())?;
        let caster = options.packets(group, Outbox::new())?;
        let (links, period) = (Links::watch()?, Duration::from_millis(period.into()));
        Ok(Self {
            listener,
            replies,
            links,
            caster,
            book,
            answerer,
            asker,
            name: name.to_owned(),
            period,
            readings,
            count: 0,
            wait_until: None,
            lost: None,
            turns: Turns::default(),
        })
    }

    /// The time from one [`tick`](Self::tick) to the next.
    pub const fn period(&self) -> Duration {
        self.period
    }

    /// Time for new readings, and for a question.
    ///
    /// # Errors
    /// What the crate reports.
    pub fn tick(&mut self) -> io::Result<()> {
        for _ in 0..self.readings {
            self.count += 1;
            if self.caster.items_mut().push(format!("{} {}", self.name, self.count)).is_err() {
                println!("{} lost: the queue is full", self.count);
            }
        }
        // If it cannot leave now, the next tick asks again.
        let asked = self.asker.send(QUESTION.as_bytes(), self.caster.group());
        self.unless_lost(asked.map(drop))
    }

    /// One turn of what is sent to the group: prints readings, and answers questions.
    ///
    /// # Errors
    /// What the crate reports.
    pub fn receive(&mut self) -> io::Result<Turn> {
        for _ in 0..64 {
            match self.listener.recv()? {
                Received::Packet(packet) if packet.payload() == QUESTION.as_bytes() => {
                    // If it cannot leave now, whoever asked will ask again.
                    if let Err(error) = self.answerer.reply(&packet, self.name.as_bytes()) {
                        println!("no answer: {error}");
                    }
                }
                Received::Packet(packet) => println!("heard {}", text(&packet)),
                // The filter has rejected 64 packets, and there may be more of them.
                Received::Paused => return Ok(Turn::More),
                Received::Empty => return Ok(Turn::Done),
            }
        }
        Ok(Turn::More)
    }

    /// One turn of the answers to our questions.
    ///
    /// # Errors
    /// What the crate reports.
    pub fn collect(&mut self) -> io::Result<Turn> {
        for _ in 0..64 {
            match self.replies.recv()? {
                Received::Packet(packet) => println!("answer {}", text(&packet)),
                Received::Paused => return Ok(Turn::More),
                Received::Empty => return Ok(Turn::Done),
            }
        }
        Ok(Turn::More)
    }

    /// Follows the interface: joins and sends on it again.
    ///
    /// # Errors
    /// What the crate reports.
    pub fn follow(&mut self) -> io::Result<Turn> {
        let book = self.book.with(&mut self.listener);
        let followed = self.links.follow(&mut (book, &mut self.caster, &mut self.asker))?;
        if let Some(error) = followed.failed {
            println!("{error}");
        }
        Ok(if followed.more { Turn::More } else { Turn::Done })
    }

    /// One turn of sending. It may be called at any time: before it is time again, it only says how long to wait.
    ///
    /// # Errors
    /// What the crate reports. It is no error if the interface is gone: what is queued stays, and leaves when it is back.
    pub fn send(&mut self) -> io::Result<Progress> {
        self.turns.sending += 1;
        let left = self.wait_until.map(|end| end.saturating_duration_since(Instant::now()));
        if let Some(left) = left.filter(|left| !left.is_zero()) {
            return Ok(Progress::Wait(left));
        }
        let mut progress = Progress::Done;
        for _ in 0..64 {
            match self.caster.step() {
                Ok(done) => progress = done,
                Err(error) => {
                    self.unless_lost(Err(error))?;
                    return Ok(Progress::Done);
                }
            }
            if !matches!(progress, Progress::Sent(_)) {
                break;
            }
            self.lost = None;
        }
        self.wait_until = None;
        match progress {
            Progress::Blocked => self.turns.blocked += 1,
            Progress::Wait(time) => {
                self.turns.waiting += 1;
                self.wait_until = Some(Instant::now() + time);
            }
            Progress::Sent(_) | Progress::Done => {}
        }
        Ok(progress)
    }

    /// The end: says what was received, and what was not sent. Then the group is left, and the sockets are closed.
    pub fn end(self) {
        let counters = self.listener.counters();
        println!("received {} rejected {}", counters.received, counters.rejected);
        let Turns { sending, blocked, waiting } = self.turns;
        let (queue, pulled) = self.caster.into_parts();
        println!("turns {sending} blocked {blocked} waiting {waiting} unsent {}", queue.len() + pulled.count());
    }

    /// A missing interface, address or route comes back: [`follow`](Self::follow) sees it. Prints it once.
    fn unless_lost(&mut self, result: multicast::Result<()>) -> io::Result<()> {
        let Err(error) = result else { return Ok(()) };
        match error.kind() {
            kind @ (ErrorKind::NoSuchInterface | ErrorKind::Unreachable | ErrorKind::NoAddress) => {
                if self.lost.replace(kind).is_none() {
                    println!("waiting: {error}");
                }
                Ok(())
            }
            _ => Err(error.into()),
        }
    }
}

/// Readable as soon as the program is asked to end: by Ctrl-C (`SIGINT`), or by a supervisor (`SIGTERM`).
///
/// # Errors
/// What the kernel reports.
pub fn stop() -> io::Result<UnixStream> {
    let (read, write) = UnixStream::pair()?;
    pipe::register(consts::SIGINT, write.try_clone()?)?;
    pipe::register(consts::SIGTERM, write)?;
    read.set_nonblocking(true)?;
    Ok(read)
}

/// How long to wait at most, for a loop without timers of its own: until the next tick, or until it is time to send.
#[must_use]
pub fn at_most(progress: Progress, next_tick: Instant) -> Duration {
    let until_tick = next_tick.saturating_duration_since(Instant::now());
    match progress {
        Progress::Sent(_) => Duration::ZERO,
        Progress::Wait(time) => time.min(until_tick),
        Progress::Blocked | Progress::Done => until_tick,
    }
}

fn text(packet: &Packet<'_>) -> String {
    packet.payload().escape_ascii().to_string()
}

fn number(text: &str) -> io::Result<u32> {
    text.parse().map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, format!("{text}: {error}")))
}
