//! Questions and answers: each asker gets a socket of its own, from which its questions leave, and to which the answers come.
//!
//! As address translation does it. The table is bounded: of too many askers, the one that was quiet for the longest time is forgotten, and
//! so is each that was quiet for half a minute.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use multicast::{
    AsFd, BorrowedFd, Destination, Events, Family, Interest, Outcome, Packet, Poller, Received, SendOptions, Sender, Token,
};

use super::outputs::{PATIENCE, Sent, Way, families_of, set_hops};
use crate::limits::Limits;
use crate::senders::{Replies, open_with_replies};
use crate::stop::{Stop, complain, failed};

/// How many askers are known at a time. Each has a buffer of 64 KiB.
const MOST: usize = 128;
const QUIET: Duration = Duration::from_secs(30);
/// How many answers to one asker are passed on before others get their turn.
const TURN: u32 = 64;

pub(super) struct Pairs {
    way: Way,
    options: SendOptions,
    askers: Vec<Asker>,
    /// The token of the next asker: none is used twice, so that a late event is not taken for another's.
    next_token: u64,
    poller: Poller,
    /// For waiting until there is room again, or a signal comes.
    room: Poller,
    events: Box<Events<32>>,
    /// For the answers, one for each family.
    back: [Option<Sender>; 2],
    last_error: Option<multicast::Error>,
    pub(super) counts: Counts,
}

#[derive(Clone, Copy, Default)]
pub(super) struct Counts {
    pub(super) askers: u64,
    pub(super) answers: u64,
    /// Askers that were forgotten since there were too many.
    pub(super) forgotten: u64,
    /// Questions and answers that could not be sent.
    pub(super) refused: u64,
}

struct Asker {
    token: Token,
    address: SocketAddr,
    came_on: Option<NonZeroU32>,
    back: Destination,
    sender: Sender,
    family: Family,
    hops: u8,
    port: u16,
    replies: Box<Replies>,
    last: Instant,
}

impl Pairs {
    pub(super) fn new(way: Way, options: SendOptions, limits: &Limits) -> Result<Self, Stop> {
        let room = Poller::new()?;
        limits.register(&room)?;
        Ok(Self {
            way,
            options,
            askers: Vec::new(),
            next_token: 0,
            poller: Poller::new()?,
            room,
            events: Box::new(Events::new()),
            back: [None, None],
            last_error: None,
            counts: Counts::default(),
        })
    }

    pub(super) fn way(&self) -> Way {
        self.way
    }

    /// Whether one of our packets leaves from this port.
    pub(super) fn has_port(&self, port: u16) -> bool {
        self.askers.iter().any(|asker| asker.port == port)
    }

    /// Sends a question on, with this TTL.
    #[inline(never)]
    pub(super) fn ask(&mut self, question: &Packet<'_>, to: SocketAddr, hops: u8, limits: &Limits) -> Result<Sent, Stop> {
        // Anybody can send from 0.0.0.0, and nobody can be answered there.
        let Ok(back) = Destination::answering(question) else { return Ok(self.lose(None)) };
        let came_on = question.metadata().and_then(|metadata| metadata.interface);
        let Some(number) = self.asker(question.source(), came_on, back, to)? else { return Ok(Sent::Lost) };
        let Some(asker) = self.askers.get_mut(number) else { return Ok(Sent::Lost) };
        (asker.back, asker.last) = (back, Instant::now());
        if asker.hops != hops {
            set_hops(&asker.sender, asker.family, hops).map_err(failed("set the TTL"))?;
            asker.hops = hops;
        }
        match send(&mut asker.sender, question.payload(), to.into(), &self.room, limits)? {
            Tried::Left => Ok(Sent::Left),
            Tried::NoRoom => Ok(self.lose(None)),
            Tried::Refused(error) => {
                // The next question gets a new socket: the interface may have been created again.
                self.forget(number);
                Ok(self.lose(Some(error)))
            }
        }
    }

    /// The number of this asker, known or new; `None` if there is no socket for it.
    fn asker(
        &mut self,
        address: SocketAddr,
        came_on: Option<NonZeroU32>,
        back: Destination,
        to: SocketAddr,
    ) -> Result<Option<usize>, Stop> {
        let known = self.askers.iter().position(|asker| asker.address == address && asker.came_on == came_on);
        if known.is_some() {
            return Ok(known);
        }
        if self.askers.len() >= MOST {
            let quietest = self.askers.iter().enumerate().min_by_key(|(_, asker)| asker.last);
            if let Some((number, _)) = quietest {
                self.forget(number);
                self.counts.forgotten = self.counts.forgotten.saturating_add(1);
            }
        }
        let family = if to.is_ipv4() { Family::V4 } else { Family::V6 };
        let (sender, replies) = match open_with_replies(self.options.interface(self.way.interface), family) {
            Ok(opened) => opened,
            Err(error) => {
                self.lose(Some(error));
                return Ok(None);
            }
        };
        let token = Token(self.next_token);
        self.next_token = self.next_token.wrapping_add(1);
        self.poller.register(&*replies, token, Interest::READABLE)?;
        let (port, last) = (sender.local_addr()?.port(), Instant::now());
        self.askers.push(Asker { token, address, came_on, back, sender, family, hops: 0, port, replies, last });
        self.counts.askers = self.counts.askers.saturating_add(1);
        Ok(self.askers.len().checked_sub(1))
    }

    /// Passes on the answers that have come.
    #[inline(never)]
    pub(super) fn pass_answers(&mut self, limits: &Limits) -> Result<(), Stop> {
        let Ok(events) = self.poller.poll(&mut self.events, Duration::ZERO) else { return Ok(()) };
        let ready: Vec<_> = events.map(|event| event.token()).collect();
        for token in ready {
            let Some(number) = self.askers.iter().position(|asker| asker.token == token) else { continue };
            for _ in 0..TURN {
                if !self.pass_answer(number, limits)? {
                    break;
                }
            }
        }
        Ok(())
    }

    /// Passes on one answer to this asker; false if there is none, or no room for the next one.
    fn pass_answer(&mut self, number: usize, limits: &Limits) -> Result<bool, Stop> {
        let Some(asker) = self.askers.get_mut(number) else { return Ok(false) };
        // A report of the network, for example that nobody listens where the question went.
        asker.sender.forget_errors();
        let answer = match asker.replies.recv() {
            Ok(Received::Packet(answer)) => answer,
            Ok(Received::Paused) => return Ok(true),
            Ok(Received::Empty) => return Ok(false),
            Err(error) => {
                self.forget(number);
                self.lose(Some(error));
                return Ok(false);
            }
        };
        asker.last = Instant::now();
        let place = if asker.address.is_ipv4() { 0 } else { 1 };
        let Some(back) = self.back.get_mut(place) else { return Ok(false) };
        let sender = match back {
            Some(sender) => sender,
            None => {
                let family = if asker.address.is_ipv4() { Family::V4 } else { Family::V6 };
                // No route to groups is needed.
                back.insert(SendOptions::new().later().open(family)?)
            }
        };
        // Somebody asked as if from one of our own sockets: what we send there must not go round for ever.
        let is_ours = answer.source().ip() == asker.address.ip()
            && sender.local_addr().is_ok_and(|own| own.port() == answer.source().port());
        if is_ours {
            return Ok(true);
        }
        match send(sender, answer.payload(), asker.back, &self.room, limits)? {
            Tried::Left => self.counts.answers = self.counts.answers.saturating_add(1),
            Tried::NoRoom => {
                // Each one that is tried now takes as long; meanwhile nothing else is passed on.
                self.lose(None);
                return Ok(false);
            }
            Tried::Refused(error) => _ = self.lose(Some(error)),
        }
        Ok(true)
    }

    /// Forgets the askers that have been quiet for long. Returns when to look again.
    pub(super) fn forget_quiet(&mut self) -> Option<Instant> {
        while let Some(number) = self.askers.iter().position(|asker| asker.last.elapsed() >= QUIET) {
            self.forget(number);
        }
        self.askers.iter().map(|asker| asker.last).min()?.checked_add(QUIET)
    }

    fn forget(&mut self, number: usize) {
        if number < self.askers.len() {
            let asker = self.askers.swap_remove(number);
            // Its sender keeps the socket open until both are dropped. An error means that it was not registered.
            let _ = self.poller.unregister(&*asker.replies);
        }
    }

    /// Counts a packet that could not be sent. An error is said once, until another one comes.
    fn lose(&mut self, error: Option<multicast::Error>) -> Sent {
        self.counts.refused = self.counts.refused.saturating_add(1);
        if let Some(error) = error
            && self.last_error.as_ref().map(multicast::Error::kind) != Some(error.kind())
        {
            complain(&error);
            self.last_error = Some(error);
        }
        Sent::Lost
    }

    /// Opens and closes a socket as one asker gets it, so that what is wrong is an error at the start.
    pub(super) fn try_out(&self, from: &[Family]) -> Result<(), Stop> {
        for family in families_of(self.way.to, from) {
            open_with_replies(self.options.interface(self.way.interface), family)?;
        }
        Ok(())
    }
}

impl AsFd for Pairs {
    /// Readable while there are answers.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.poller.as_fd()
    }
}

/// What became of a packet.
enum Tried {
    Left,
    /// The socket or the interface had no room for it, for too long.
    NoRoom,
    Refused(multicast::Error),
}

/// Sends a packet, and waits a little if there is no room, or until the relay must end.
fn send(sender: &mut Sender, payload: &[u8], to: Destination, room: &Poller, limits: &Limits) -> Result<Tried, Stop> {
    let begin = Instant::now();
    loop {
        let time = match sender.send(payload, to) {
            Ok(Outcome::Sent) => return Ok(Tried::Left),
            Ok(Outcome::Wait(time)) => time,
            Ok(Outcome::Blocked) => Duration::from_millis(1),
            Err(error) => return Ok(Tried::Refused(error)),
        };
        let Some(left) = PATIENCE.checked_sub(begin.elapsed()) else { return Ok(Tried::NoRoom) };
        limits.wait(room, &mut Events::<2>::new(), Some(time.min(left)))?;
    }
}
