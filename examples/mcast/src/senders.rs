//! Sends packets to many groups, on one or several interfaces, and follows the interfaces.

use std::time::{Duration, Instant};

use multicast::{
    Change, Destination, ErrorKind, Event, Events, Family, Group, Interest, Interface, Links, Listener, Outcome, Poller,
    SendOptions, Sender, Token,
};

use crate::limits::Limits;
use crate::options::Common;
use crate::outage::{Outages, watched};
use crate::stop::Stop;

const ROOM_TO_SEND: Token = Token(14);
const LINKS: Token = Token(15);

/// What is sent back to the port of a sender. As long as every packet.
pub(crate) type Replies = Listener<65_535>;

/// How many packets are sent, if nothing makes it wait, before it looks what has changed.
const TURN: u32 = 64;
/// During an outage: what ends it may be nothing that the kernel reports.
const RETRY: Duration = Duration::from_secs(1);

/// The sockets, one for each interface and IP version. Each packet goes to all targets.
pub(crate) struct Senders<'l> {
    senders: Vec<Sender>,
    /// What is sent with the sender of the same number.
    routes: Vec<Route>,
    /// Of each sender, if answers are wanted.
    replies: Option<Vec<Box<Replies>>>,
    /// For groups that are not known before: see [`open_for_any`](Self::open_for_any).
    interfaces: Vec<Interface>,
    options: SendOptions,
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
    /// How many of them have the current packet.
    done: usize,
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
        let mut senders = Self::without_targets(common, options, limits, links)?;
        senders.add_targets(common)?;
        Ok(senders)
    }

    /// The same, each with a port of its own to which answers can come. What comes there has the number of its sender.
    #[cfg(feature = "ask")]
    #[inline(never)]
    pub(crate) fn open_with_replies(
        common: &Common,
        options: SendOptions,
        limits: &Limits,
        links: &'l mut multicast::Result<Links>,
    ) -> Result<(Self, Vec<Box<Replies>>), Stop> {
        let mut senders = Self::without_targets(common, options, limits, links)?;
        senders.replies = Some(Vec::new());
        senders.add_targets(common)?;
        let replies = senders.replies.take().unwrap_or_default();
        Ok((senders, replies))
    }

    fn add_targets(&mut self, common: &Common) -> Result<(), Stop> {
        for target in &common.targets {
            // Groups of one target are all different: only those of targets before can be the same.
            let before: Vec<_> = self.routes.iter().map(|route| route.destinations.len()).collect();
            for interface in expanded(common.interfaces_of(target))? {
                for group in target.groups() {
                    let mut destination = Destination::from(group);
                    if let Some(source) = target.source {
                        destination = destination.from_address(source);
                    }
                    let is_its = |route: &Route| route.interface == interface && route.family == group.family();
                    let known = self.routes.iter().zip(&before).find(|(route, _)| is_its(route));
                    let known = known.and_then(|(route, before)| route.destinations.get(..*before)).unwrap_or_default();
                    if !known.contains(&destination) {
                        self.add(interface, group.family(), Some(destination))?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Prepares to send to groups that are named with each packet, on the interfaces of `--interface`: see [`send_to`](Self::send_to).
    #[cfg(feature = "replay")]
    pub(crate) fn open_for_any(
        common: &Common,
        options: SendOptions,
        limits: &Limits,
        links: &'l mut multicast::Result<Links>,
    ) -> Result<Self, Stop> {
        let mut senders = Self::without_targets(common, options, limits, links)?;
        senders.interfaces = expanded(common.interfaces.clone())?;
        Ok(senders)
    }

    fn without_targets(
        common: &Common,
        options: SendOptions,
        limits: &Limits,
        links: &'l mut multicast::Result<Links>,
    ) -> Result<Self, Stop> {
        let poller = Poller::new()?;
        limits.register(&poller)?;
        let links = watched(links)?;
        if let Some(links) = &links {
            poller.register(&**links, LINKS, Interest::READABLE)?;
        }
        Ok(Self {
            senders: Vec::new(),
            routes: Vec::new(),
            replies: None,
            interfaces: Vec::new(),
            options,
            poller,
            events: Events::new(),
            links,
            follow_failed: false,
            outages: Outages::none_yet(common.give_up, "sending again"),
            has_sent: false,
            turn: TURN,
        })
    }

    fn add(&mut self, interface: Interface, family: Family, destination: Option<Destination>) -> Result<(), Stop> {
        let known = self.routes.iter_mut().find(|route| route.interface == interface && route.family == family);
        if let Some(route) = known {
            route.destinations.extend(destination);
            return Ok(());
        }
        let options = self.options.interface(interface);
        let sender = match &mut self.replies {
            Some(all) => {
                let (sender, replies) = open_with_replies(options, family)?;
                all.push(replies);
                sender
            }
            None => open(options, family)?,
        };
        self.senders.push(sender);
        self.routes.push(Route { interface, family, destinations: destination.into_iter().collect(), done: 0, missed: 0 });
        self.outages.add(interface);
        Ok(())
    }

    /// Lets [`wait`](Self::wait) return when a descriptor is ready, too. Tokens from 1 to 13, and from 16 on, are free.
    pub(crate) fn poller(&self) -> &Poller {
        &self.poller
    }

    /// Whether the last wait ended since this descriptor was ready.
    pub(crate) fn is_ready(&self, token: Token) -> bool {
        self.events.iter().any(|event| event.token() == token)
    }

    /// What was ready when the last wait ended.
    pub(crate) fn ready(&self) -> impl Iterator<Item = Event> {
        self.events.iter()
    }

    /// Forgets what the network reported about earlier packets of this sender, so that the poller does not report it again.
    pub(crate) fn forget_errors(&mut self, number: usize) {
        if let Some(sender) = self.senders.get_mut(number) {
            sender.forget_errors();
        }
    }

    /// How many packets did not leave on one interface, while they left on another.
    pub(crate) fn missed(&self) -> impl Iterator<Item = (Interface, u64)> {
        self.routes.iter().map(|route| (route.interface, route.missed)).filter(|(_, missed)| *missed > 0)
    }

    /// Sends a packet to all targets. It waits until each has taken it; but not for an interface that is gone, if there are others.
    #[inline(never)]
    pub(crate) fn send(&mut self, payload: &[u8], limits: &Limits) -> Result<(), Stop> {
        self.send_everywhere(payload, None, limits)
    }

    /// The same to this group, on all interfaces.
    #[cfg(feature = "replay")]
    #[inline(never)]
    pub(crate) fn send_to(&mut self, payload: &[u8], group: Group, limits: &Limits) -> Result<(), Stop> {
        let mut number = 0;
        while let Some(interface) = self.interfaces.get(number).copied() {
            self.add(interface, group.family(), None)?;
            number = number.saturating_add(1);
        }
        self.send_everywhere(payload, Some(group), limits)
    }

    fn send_everywhere(&mut self, payload: &[u8], to: Option<Group>, limits: &Limits) -> Result<(), Stop> {
        // Before the packet: one that has left is counted, also if a signal comes then.
        if self.turn == 0 {
            self.wait(limits, Some(Duration::ZERO))?;
        }
        self.turn = self.turn.saturating_sub(1);
        for route in &mut self.routes {
            route.done = 0;
        }
        loop {
            let mut failure = None;
            let mut is_sent = false;
            for number in 0..self.routes.len() {
                let family = self.routes.get(number).map(|route| route.family);
                if to.is_some_and(|group| Some(group.family()) != family) {
                    continue;
                }
                match self.send_on(number, payload, to, limits)? {
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
        Ok(())
    }

    /// Sends on one interface, to its targets or to this group. What may pass is no failure of the command, but returned.
    fn send_on(
        &mut self,
        number: usize,
        payload: &[u8],
        to: Option<Group>,
        limits: &Limits,
    ) -> Result<Option<multicast::Error>, Stop> {
        let is_candidate = |route: &&Route| to.is_none_or(|group| group.family() == route.family);
        let has_others = self.routes.iter().filter(is_candidate).count() > 1;
        loop {
            let (Some(sender), Some(route)) = (self.senders.get_mut(number), self.routes.get_mut(number)) else {
                return Ok(None);
            };
            let destination = match to {
                None => route.destinations.get(route.done).copied(),
                Some(group) => (route.done == 0).then(|| group.into()),
            };
            let Some(destination) = destination else {
                self.outages.is_over(route.interface);
                return Ok(None);
            };
            // Not after the last one: a packet that was sent is counted.
            limits.check()?;
            match sender.send(payload, destination) {
                Ok(Outcome::Sent) => route.done = route.done.saturating_add(1),
                Ok(Outcome::Blocked) => self.wait_for_room(number, limits)?,
                Ok(Outcome::Wait(time)) => self.wait(limits, Some(time))?,
                // If it never worked, more likely something is wrong than that it will work later.
                Err(error) if self.has_sent && may_pass(error.kind()) => {
                    if has_others {
                        route.missed = route.missed.saturating_add(1);
                        self.outages.lasts(route.interface, &format_args!("{}: {error}", route.interface))?;
                    } else {
                        self.outages.lasts(route.interface, &error)?;
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

/// The interfaces by themselves, each once: for `all`, those that are up now.
pub(crate) fn expanded(interfaces: Vec<Interface>) -> Result<Vec<Interface>, Stop> {
    let mut found = Vec::new();
    let mut add = |interface| {
        if !found.contains(&interface) {
            found.push(interface);
        }
    };
    for interface in interfaces {
        if interface != Interface::All {
            add(interface);
            continue;
        }
        // A list of its own: each change is reported only once.
        let (mut links, mut is_empty) = (Links::watch()?, true);
        while let Some(change) = links.next()? {
            if let Change::Link(link) = change
                && link.is_up
                && link.is_multicast
                && !link.is_port
            {
                add(link.name.map_or(Interface::Index(link.index), Interface::Name));
                is_empty = false;
            }
        }
        if is_empty {
            return Err(Stop::failed("--interface all: no interface is up and supports multicast".to_owned()));
        }
    }
    Ok(found)
}

/// A sender. One function for all commands: it is long, and the crate inlines it.
#[inline(never)]
pub(crate) fn open(options: SendOptions, family: Family) -> multicast::Result<Sender> {
    options.open(family)
}

/// A sender, and what receives the answers. One function for all commands: it is long.
#[inline(never)]
pub(crate) fn open_with_replies(options: SendOptions, family: Family) -> multicast::Result<(Sender, Box<Replies>)> {
    let (sender, replies) = options.open_with_replies(family)?;
    Ok((sender, Box::new(replies)))
}

/// Whether the reason may be gone later: a link that is down or deleted, or an address or a route that is missing.
pub(crate) fn may_pass(kind: ErrorKind) -> bool {
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

    /// The remaining time to wait, if any.
    pub(crate) fn time_left(&self) -> Option<Duration> {
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
