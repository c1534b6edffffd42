//! The sockets of `mcast ping`: one for each interface and IP version, on a port of its own, to which the answers by unicast come.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use multicast::{
    Destination, Family, Group, Interest, Interface, Links, Outcome, Poller, Received, SendOptions, Sender, Token,
};

use super::packet::{ANSWER, Question};
use super::tally::Tally;
use crate::figures::random;
use crate::options::Common;
use crate::outage::watched;
use crate::places::Place;
use crate::senders::{Replies, expanded, may_pass, open_with_replies};
use crate::stop::Stop;

/// How many answers are read before the command looks at something else.
const TURN: u32 = 64;

/// A group on an interface.
pub(super) struct Route {
    pub(super) group: Group,
    pub(super) interface: Interface,
    /// The address to send from.
    source: Option<IpAddr>,
    /// The number of the socket.
    socket: usize,
    to: Destination,
    /// Its questions have an id of their own, so that each counts its own answers.
    pub(super) id: u64,
    pub(super) tally: Tally,
}

pub(super) struct Routes<'l> {
    pub(super) routes: Vec<Route>,
    senders: Vec<Sender>,
    replies: Vec<Box<Replies>>,
    /// Of the replies, for the poller of the command.
    pub(super) poller: Poller,
    links: Option<&'l mut Links>,
    follow_failed: bool,
    has_sent: bool,
    /// Questions that did not leave.
    pub(super) unsent: u64,
}

impl<'l> Routes<'l> {
    #[inline(never)]
    pub(super) fn open(
        common: &Common,
        options: SendOptions,
        patience: Duration,
        links: &'l mut multicast::Result<Links>,
    ) -> Result<Self, Stop> {
        let links = watched(links)?;
        let mut routes = Self {
            routes: Vec::new(),
            senders: Vec::new(),
            replies: Vec::new(),
            poller: Poller::new()?,
            links: None,
            follow_failed: false,
            has_sent: false,
            unsent: 0,
        };
        let mut sockets: Vec<(Interface, Family)> = Vec::new();
        for target in &common.targets {
            for interface in expanded(common.interfaces_of(target))? {
                // Groups of one target are all different: only those before can be the same.
                let before = routes.routes.len();
                for group in target.groups() {
                    let known = routes.routes.get(..before).unwrap_or_default();
                    match known.iter().find(|route| route.group == group && route.interface == interface) {
                        None => {}
                        Some(same) if same.source == target.source => continue,
                        Some(_) => return Err(Stop::misused(format!("{group} is named with two sources: choose"))),
                    }
                    let key = (interface, group.family());
                    let known = sockets.iter().position(|socket| *socket == key);
                    let socket = match known {
                        Some(socket) => socket,
                        None => {
                            sockets.push(key);
                            routes.add_socket(options, interface, group.family())?
                        }
                    };
                    let mut to = Destination::from(group);
                    if let Some(source) = target.source {
                        to = to.from_address(source);
                    }
                    let id = random();
                    routes.routes.push(Route {
                        group,
                        interface,
                        source: target.source,
                        socket,
                        to,
                        id,
                        tally: Tally::new(id, patience),
                    });
                }
            }
        }
        routes.links = links;
        Ok(routes)
    }

    fn add_socket(&mut self, options: SendOptions, interface: Interface, family: Family) -> Result<usize, Stop> {
        let (sender, replies) = open_with_replies(options.interface(interface), family)?;
        let number = self.replies.len();
        self.poller.register(&*replies, Token(number as u64), Interest::READABLE)?;
        self.senders.push(sender);
        self.replies.push(replies);
        Ok(number)
    }

    /// Where answers by multicast come.
    pub(super) fn places(&self) -> Vec<Place> {
        let place = |route: &Route| Place { group: route.group, interface: route.interface, sources: Vec::new() };
        self.routes.iter().map(place).collect()
    }

    /// Lets `poller` report that interfaces have changed.
    pub(super) fn watch_links(&self, poller: &Poller, token: Token) -> Result<(), Stop> {
        if let Some(links) = &self.links {
            poller.register(&**links, token, Interest::READABLE)?;
        }
        Ok(())
    }

    /// Follows the interfaces.
    pub(super) fn follow(&mut self) -> Result<(), Stop> {
        if let Some(links) = &mut self.links {
            // What still fails is an error of the next question, after which this is tried again.
            self.follow_failed = links.follow(self.senders.as_mut_slice())?.failed.is_some();
        }
        Ok(())
    }

    /// Sends the next question on all routes. One that cannot leave at the moment is counted, and not asked.
    #[inline(never)]
    pub(super) fn ask(&mut self) -> Result<(), Stop> {
        if self.follow_failed {
            self.follow()?;
        }
        for route in &mut self.routes {
            let Some(sender) = self.senders.get_mut(route.socket) else { continue };
            let question = Question { ping: route.id, number: route.tally.asked() };
            let now = Instant::now();
            match sender.send(&question.bytes(), route.to) {
                Ok(Outcome::Sent) => {
                    self.has_sent = true;
                    route.tally.ask(now);
                }
                Ok(Outcome::Blocked | Outcome::Wait(_)) => self.unsent = self.unsent.saturating_add(1),
                // If it never worked, more likely something is wrong than that it will work later.
                Err(error) if self.has_sent && may_pass(error.kind()) => self.unsent = self.unsent.saturating_add(1),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Some of the answers that came by unicast, each with its length and source. There may be more.
    pub(super) fn replies(&mut self) -> Result<Vec<Reply>, Stop> {
        let mut found = Vec::new();
        for replies in &mut self.replies {
            for _ in 0..TURN {
                match replies.recv()? {
                    Received::Packet(packet) => {
                        let mut reply = [0; ANSWER];
                        for (place, byte) in reply.iter_mut().zip(packet.payload()) {
                            *place = *byte;
                        }
                        found.push((reply, packet.payload().len(), packet.source()));
                    }
                    Received::Empty | Received::Paused => break,
                }
            }
        }
        Ok(found)
    }
}

type Reply = ([u8; ANSWER], usize, SocketAddr);
