//! Sends packets to many groups, on one or several interfaces, and follows the interfaces.

use std::time::{Duration, Instant};

use multicast::{
    Change, Destination, ErrorKind, Events, Family, Interest, Interface, Links, Outcome, Poller, SendOptions, Sender, Token,
};

use crate::limits::Limits;
use crate::options::Common;
use crate::outage::{Outages, watched};
use crate::stop::Stop;

const ROOM_TO_SEND: Token = Token(14);
const LINKS: Token = Token(15);

/// How many packets are sent, if nothing makes it wait, before it looks what has changed.
const TURN: u32 = 64;
/// During an outage: what ends it may be nothing that the kernel reports.
const RETRY: Duration = Duration::from_secs(1);

/// The sockets, one for each interface and IP version. Each packet goes to all targets.
pub(crate) struct Senders<'l> {
    senders: Vec<Sender>,
    /// What is sent with the sender of the same number.
    routes: Vec<Route>,
    poller: Poller,
    events: Events<8>,
    links: Option<&'l mut Links>,
    /// Following must be tried again, also if nothing has changed.
    follow_failed: bool,
    outages: Outages,
    has_sent: bool,
    /// How many packets are left of this turn.
    turn: u32,
}

struct Route {
    interface: Interface,
    family: Family,
    destinations: Vec<Destination>,
    /// Packets that did not leave on this interface, while they left on another.
    missed: u64,
}

impl<'l> Senders<'l> {
    /// Opens the sockets for all targets.
    #[inline(never)]
    pub(crate) fn open(
        common: &Common,
        options: SendOptions,
        limits: &Limits,
        links: &'l mut multicast::Result<Links>,
    ) -> Result<Self, Stop> {
        let poller = Poller::new()?;
        limits.register(&poller)?;
        let mut links = watched(links)?;
        if let Some(links) = &links {
            poller.register(&**links, LINKS, Interest::READABLE)?;
        }
        let mut senders = Self {
            senders: Vec::new(),
            routes: Vec::new(),
            poller,
            events: Events::new(),
            links: None,
            follow_failed: false,
            outages: Outages::none_yet(common.give_up, "sending again"),
            has_sent: false,
            turn: TURN,
        };
        for target in &common.targets {
            for interface in expanded(common.interfaces_of(target), links.as_deref_mut())? {
                for group in target.groups() {
                    let mut destination = Destination::from(group);
                    if let Some(source) = target.source {
                        destination = destination.from_address(source);
                    }
                    senders.add(options, interface, group.family(), destination)?;
                }
            }
        }
        senders.links = links;
        Ok(senders)
    }

    fn add(
        &mut self,
        options: SendOptions,
        interface: Interface,
        family: Family,
        destination: Destination,
    ) -> Result<(), Stop> {
        let known = self.routes.iter_mut().find(|route| route.interface == interface && route.family == family);
        if let Some(route) = known {
            route.destinations.push(destination);
            return Ok(());
        }
        self.senders.push(options.interface(interface).open(family)?);
        self.routes.push(Route { interface, family, destinations: vec![destination], missed: 0 });
        self.outages.add(interface);
        Ok(())
    }

    /// Lets [`wait`](Self::wait) return when a descriptor is ready, too. Tokens from 1 to 13 are free.
    pub(crate) fn poller(&self) -> &Poller {
        &self.poller
    }

    /// Whether the last wait ended since this descriptor was ready.
    pub(crate) fn is_ready(&self, token: Token) -> bool {
        self.events.iter().any(|event| event.token() == token)
    }

    /// How many packets did not leave on one interface, while they left on another.
    pub(crate) fn missed(&self) -> impl Iterator<Item = (Interface, u64)> {
        self.routes.iter().map(|route| (route.interface, route.missed)).filter(|(_, missed)| *missed > 0)
    }

    /// Sends a packet to all targets. It waits until each has taken it; but not for an interface that is gone, if there are others.
    #[inline(never)]
    pub(crate) fn send(&mut self, payload: &[u8], limits: &Limits) -> Result<(), Stop> {
        loop {
            let mut failure = None;
            let mut is_sent = false;
            for number in 0..self.routes.len() {
                match self.send_on(number, payload, limits)? {
                    None => is_sent = true,
                    Some(error) => failure = Some(error),
                }
            }
            if is_sent || failure.is_none() {
                break;
            }
            let time = self.outages.time_left().unwrap_or(RETRY).min(RETRY);
            self.wait(limits, Some(time))?;
        }
        self.has_sent = true;
        self.turn = self.turn.saturating_sub(1);
        if self.turn == 0 {
            self.wait(limits, Some(Duration::ZERO))?;
        }
        Ok(())
    }

    /// Sends on one interface. What may pass is no failure of the command, but returned.
    fn send_on(&mut self, number: usize, payload: &[u8], limits: &Limits) -> Result<Option<multicast::Error>, Stop> {
        let has_others = self.routes.len() > 1;
        let mut next = 0;
        loop {
            limits.check()?;
            let (Some(sender), Some(route)) = (self.senders.get_mut(number), self.routes.get_mut(number)) else {
                return Ok(None);
            };
            let Some(destination) = route.destinations.get(next) else {
                self.outages.is_over(route.interface);
                return Ok(None);
            };
            match sender.send(payload, *destination) {
                Ok(Outcome::Sent) => next += 1,
                Ok(Outcome::Blocked) => self.wait_for_room(number, limits)?,
                Ok(Outcome::Wait(time)) => self.wait(limits, Some(time))?,
                // If it never worked, more likely something is wrong than that it will work later.
                Err(error) if self.has_sent && may_pass(error.kind()) => {
                    self.outages.lasts(route.interface, &error)?;
                    if has_others {
                        route.missed = route.missed.saturating_add(1);
                    }
                    return Ok(Some(error));
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Waits until something is ready, at most for this time, and follows the links.
    #[inline(never)]
    pub(crate) fn wait(&mut self, limits: &Limits, time: Option<Duration>) -> Result<(), Stop> {
        self.turn = TURN;
        limits.wait(&self.poller, &mut self.events, time)?;
        let is_due = self.follow_failed || self.is_ready(LINKS);
        if let (Some(links), true) = (&mut self.links, is_due) {
            // What still fails is an error of the next packet, after which this is tried again. More changes are reported again.
            self.follow_failed = links.follow(self.senders.as_mut_slice())?.failed.is_some();
        }
        Ok(())
    }

    fn wait_for_room(&mut self, number: usize, limits: &Limits) -> Result<(), Stop> {
        let Some(sender) = self.senders.get(number) else { return Ok(()) };
        self.poller.register(sender, ROOM_TO_SEND, Interest::WRITABLE)?;
        let ended = self.wait(limits, None);
        if let Some(sender) = self.senders.get(number) {
            self.poller.unregister(sender)?;
        }
        ended
    }
}

/// The interfaces by themselves: those that are up now, for `all`.
fn expanded(interfaces: Vec<Interface>, links: Option<&mut Links>) -> Result<Vec<Interface>, Stop> {
    if !interfaces.contains(&Interface::All) {
        return Ok(interfaces);
    }
    let Some(links) = links else {
        return Err(Stop::Failed("--interface all: the interfaces cannot be listed here: name them".to_owned()));
    };
    let mut found = Vec::new();
    while let Some(change) = links.next()? {
        if let Change::Link(link) = change
            && link.is_up
            && link.is_multicast
            && !link.is_port
        {
            found.push(link.name.map_or(Interface::Index(link.index), Interface::Name));
        }
    }
    if found.is_empty() {
        return Err(Stop::Failed("--interface all: no interface is up and supports multicast".to_owned()));
    }
    Ok(found)
}

/// Whether the reason may be gone later: a link that is down or deleted, or an address or a route that is missing.
fn may_pass(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::NoSuchInterface | ErrorKind::NoAddress | ErrorKind::Unreachable)
}

/// When the next packet may go.
pub(crate) struct Pace {
    interval: Duration,
    /// `None` is never: the time is beyond the clock's range.
    due: Option<Instant>,
}

impl Pace {
    /// How much delay is caught up, so that waits that take a little too long do not add up.
    const SLACK: Duration = Duration::from_millis(10);

    pub(crate) fn new(interval: Duration) -> Self {
        Self { interval, due: Some(Instant::now()) }
    }

    /// Waits until the next packet may go.
    pub(crate) fn wait(&self, senders: &mut Senders<'_>, limits: &Limits) -> Result<(), Stop> {
        while let Some(time) = self.time_left() {
            senders.wait(limits, Some(time))?;
        }
        Ok(())
    }

    /// The remaining time to wait, if any.
    fn time_left(&self) -> Option<Duration> {
        let Some(due) = self.due else { return Some(Duration::MAX) };
        Some(due.saturating_duration_since(Instant::now())).filter(|left| !left.is_zero())
    }

    /// A packet was sent that takes `units` of the interval.
    pub(crate) fn sent(&mut self, units: u32) {
        let now = Instant::now();
        let earliest = now.checked_sub(Self::SLACK).unwrap_or(now);
        let from = self.due.map_or(now, |due| due.max(earliest));
        self.due = self.interval.checked_mul(units).and_then(|time| from.checked_add(time));
    }
}
