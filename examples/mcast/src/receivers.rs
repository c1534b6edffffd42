//! Listens to many groups at once, one socket for each group and interface, and follows the interfaces.
//!
//! A socket for each group costs less a packet than one that joins many groups: the kernel finds it by the group, and it takes no
//! unicast from other programs on the port.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use multicast::filter::{Always, Filter};
use multicast::{
    Bind, Change, Events, Interest, Links, ListenOptions, Membership, Memberships, Metadata, Packet, Poller, Received,
    Receiver, Token,
};
#[cfg(feature = "answer")]
use multicast::{SendOptions, Sender};
use rustix::process::{Resource, getrlimit, setrlimit};

use crate::limits::Limits;
use crate::outage::{Outages, watched};
use crate::places::Place;
use crate::stop::{Stop, complain};

const LINKS: Token = Token(255);
/// The first token of a socket. The lower ones are for signals, links, and what a command waits for beside packets.
const SOCKETS: u64 = 256;

/// The type of all receivers, so that the code for it is linked once.
pub(crate) type Filtered = Receiver<Box<dyn Filter>>;

/// A receiver. One function for all commands: it is long, and the crate inlines it.
#[inline(never)]
pub(crate) fn bind(options: ListenOptions<Box<dyn Filter>>, place: Bind, mtu: usize) -> multicast::Result<Filtered> {
    options.bind_receiver(place, mtu)
}

/// How many packets are received before signals, links and other sockets are looked at.
const TURN: u32 = 64;
/// How long to wait before what failed is tried again, if no change is reported.
const RETRY: Duration = Duration::from_secs(1);
/// In bytes, for commands that must not lose a burst. Without privilege the kernel grants less, and says nothing of it.
pub(crate) const LARGE_BUFFER: usize = 8 << 20;
/// `EMFILE`, `errno(3)`.
const NO_DESCRIPTOR: i32 = 24;

/// What to listen to, and how.
pub(crate) struct ReceiveOrder<'o> {
    pub(crate) places: Vec<Place>,
    /// Packets are cut after so many bytes.
    pub(crate) mtu: usize,
    /// Makes the filter of a socket.
    pub(crate) filter: &'o dyn Fn() -> Box<dyn Filter>,
    /// Whether to ask the kernel for time, interface, destination and TTL of each packet.
    pub(crate) metadata: bool,
    /// In bytes; `None` for the system's default.
    pub(crate) receive_buffer: Option<usize>,
    /// Sources whose packets are not wanted.
    pub(crate) blocked: Vec<IpAddr>,
    pub(crate) give_up: Option<Duration>,
}

impl ReceiveOrder<'_> {
    /// Listens to these places without a filter. The buffer is long enough for every packet.
    pub(crate) fn to(places: Vec<Place>, give_up: Option<Duration>) -> Self {
        let filter = &|| Box::new(Always) as Box<dyn Filter>;
        Self { places, mtu: 65_535, filter, metadata: false, receive_buffer: None, blocked: Vec::new(), give_up }
    }
}

/// What [`Receivers::next`] found.
pub(crate) enum Next<'b> {
    /// A packet, and the number of the place where it was received.
    Packet(usize, Packet<'b>),
    /// A descriptor of the command is ready: see [`Receivers::also_wait_for`].
    Ready(multicast::Event),
    /// The time is over.
    Quiet,
}

/// What was counted since the start, summed over all sockets.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Totals {
    pub(crate) received: u64,
    pub(crate) rejected: u64,
    pub(crate) truncated: u64,
    /// `None` if the kernel is too old to report it.
    pub(crate) dropped: Option<u64>,
    pub(crate) foreign: u64,
}

pub(crate) struct Receivers<'l> {
    sockets: Vec<Socket>,
    poller: Poller,
    events: Box<Events<64>>,
    /// The sockets that were reported, and what else was.
    ready: Vec<usize>,
    others: Vec<multicast::Event>,
    /// How many packets may still be received in this turn.
    turn: u32,
    /// Whether events were looked at since [`Next::Quiet`] was returned.
    has_waited: bool,
    metadata: Metadata,
    blocked: Vec<IpAddr>,
    links: Option<&'l mut Links>,
    outages: Outages,
    /// When to look again at what is not joined.
    retry: Option<Instant>,
    /// A join of the last change failed.
    last_failure: Option<multicast::Error>,
}

impl<'l> Receivers<'l> {
    /// Opens a socket for each place, and joins. An interface that does not exist is an error here: most often its name is wrong.
    #[inline(never)]
    pub(crate) fn open(
        order: ReceiveOrder<'_>,
        limits: &Limits,
        links: &'l mut multicast::Result<Links>,
    ) -> Result<Self, Stop> {
        let poller = Poller::new()?;
        limits.register(&poller)?;
        let links = watched(links)?;
        if let Some(links) = &links {
            poller.register(&**links, LINKS, Interest::READABLE)?;
        }
        let mut receivers = Self {
            sockets: Vec::new(),
            poller,
            events: Box::new(Events::new()),
            ready: Vec::new(),
            others: Vec::new(),
            turn: 0,
            has_waited: false,
            metadata: Metadata::default(),
            blocked: order.blocked,
            links,
            outages: Outages::none_yet(order.give_up, "listening again"),
            retry: None,
            last_failure: None,
        };
        let mut options = ListenOptions::new();
        if order.metadata {
            options = options.metadata();
        }
        if let Some(bytes) = order.receive_buffer {
            options = options.receive_buffer(bytes);
        }
        let asked = order.places.len();
        raise_limit_of_descriptors();
        for place in order.places {
            // The filter does not run in the kernel, which counts rejected packets as dropped: the counters must show both.
            let options = options.filter((order.filter)()).kernel_filter(false);
            match receivers.add(options, place, order.mtu) {
                Err(Stop::Refused(error))
                    if error.raw_os_error() == Some(NO_DESCRIPTOR) && !receivers.sockets.is_empty() =>
                {
                    let opened = receivers.sockets.len();
                    complain(&format_args!(
                        "{error}: listening to {opened} of {asked} groups; raise the limit of open files (ulimit -n)"
                    ));
                    break;
                }
                added => added?,
            }
        }
        Ok(receivers)
    }

    fn add(&mut self, options: ListenOptions<Box<dyn Filter>>, place: Place, mtu: usize) -> Result<(), Stop> {
        let receiver = bind(options, Bind::Later(place.group), mtu)?;
        self.outages.add(place.interface);
        let books = place.memberships().map(|_| Memberships::new()).collect();
        let mut socket = Socket { receiver, place, books, has_failed: false };
        socket.join(&self.blocked)?;
        let token = Token(SOCKETS.saturating_add(self.sockets.len() as u64));
        self.poller.register(&socket.receiver, token, Interest::READABLE)?;
        self.sockets.push(socket);
        Ok(())
    }

    /// Lets [`next`](Self::next) return when this descriptor is ready, too. Tokens from 1 to 254 are free.
    pub(crate) fn poller(&self) -> &Poller {
        &self.poller
    }

    /// A sender for each socket, to answer what comes there from its port.
    #[cfg(feature = "answer")]
    pub(crate) fn senders(&mut self, options: SendOptions) -> Result<Vec<Sender>, Stop> {
        self.sockets.iter_mut().map(|socket| Ok(socket.receiver.sender(options)?)).collect()
    }

    pub(crate) fn places(&self) -> impl Iterator<Item = &Place> {
        self.sockets.iter().map(|socket| &socket.place)
    }

    pub(crate) fn totals(&self) -> Totals {
        let mut totals = Totals { dropped: Some(0), ..Totals::default() };
        for socket in &self.sockets {
            let counters = socket.receiver.counters();
            totals.received = totals.received.saturating_add(counters.received);
            totals.rejected = totals.rejected.saturating_add(counters.rejected);
            totals.truncated = totals.truncated.saturating_add(counters.truncated);
            totals.foreign = totals.foreign.saturating_add(counters.foreign);
            let dropped = counters.dropped;
            totals.dropped = totals.dropped.and_then(|sum| Some(sum.saturating_add(dropped?)));
        }
        totals
    }

    /// The next packet, if one comes before `until`.
    #[inline(never)]
    pub(crate) fn next<'b>(
        &'b mut self,
        buffer: &'b mut [u8],
        limits: &Limits,
        until: Option<Instant>,
    ) -> Result<Next<'b>, Stop> {
        loop {
            limits.check()?;
            while let (1.., Some(number)) = (self.turn, self.ready.last().copied()) {
                let Some(socket) = self.sockets.get_mut(number) else { break };
                match socket.receiver.recv_into(buffer)? {
                    Received::Packet(packet) => {
                        self.turn = self.turn.saturating_sub(1);
                        let head = packet.head();
                        if let Some(metadata) = packet.metadata() {
                            self.metadata = *metadata;
                            return Ok(Next::Packet(number, head.packet(buffer, Some(&self.metadata))));
                        }
                        return Ok(Next::Packet(number, head.packet(buffer, None)));
                    }
                    // If there is more, the poller reports it again.
                    Received::Empty | Received::Paused => drop(self.ready.pop()),
                }
            }
            if let Some(event) = self.others.pop() {
                return Ok(Next::Ready(event));
            }
            let now = Instant::now();
            if until.is_some_and(|until| until <= now) && self.has_waited {
                // Once in each turn, so that neither a flood nor the command keeps the other from its work.
                self.has_waited = false;
                return Ok(Next::Quiet);
            }
            self.wait(limits, until, now)?;
        }
    }

    /// Waits for events, and follows the links.
    #[inline(never)]
    fn wait(&mut self, limits: &Limits, until: Option<Instant>, now: Instant) -> Result<(), Stop> {
        let mut times = [until, self.retry].into_iter().flatten().map(|time| time.saturating_duration_since(now));
        let at_most = if self.ready.is_empty() {
            times.next().map(|time| times.next().map_or(time, |other| time.min(other)))
        } else {
            Some(Duration::ZERO)
        };
        let ended = limits.wait(&self.poller, &mut self.events, at_most);
        self.turn = TURN;
        self.has_waited = true;
        self.ready.clear();
        let mut has_changed = false;
        for event in self.events.iter() {
            match event.token() {
                // A signal: `limits` knows.
                Token(0) => {}
                LINKS => has_changed = true,
                Token(number @ SOCKETS..) => self.ready.push((number - SOCKETS) as usize),
                _ => self.others.push(event),
            }
        }
        // Taken from the end: those that were reported first come first.
        self.ready.reverse();
        ended?;
        if has_changed || self.retry.is_some_and(|retry| retry <= Instant::now()) {
            self.follow()?;
        }
        Ok(())
    }

    /// Reads what has changed, joins again, and says so if packets can no longer come, or can again.
    #[inline(never)]
    fn follow(&mut self) -> Result<(), Stop> {
        let is_retry = self.retry.take().is_some();
        let Some(links) = &mut self.links else { return Ok(()) };
        let (mut failure, mut routes_changed) = (None, false);
        while let Some(change) = links.next()? {
            match change {
                // Thousands can come at once, and each costs a question for each socket.
                Change::Route => routes_changed = true,
                change => {
                    self.outages.apply(&change);
                    for socket in &mut self.sockets {
                        failure = socket.apply(&change, &self.blocked).err().or(failure);
                    }
                }
            }
        }
        for socket in &mut self.sockets {
            if routes_changed {
                failure = socket.apply(&Change::Route, &self.blocked).err().or(failure);
            }
            if is_retry && (socket.has_failed || socket.is_pending()) {
                failure = socket.apply(&Change::Overrun, &self.blocked).err().or(failure);
            }
        }
        if let Some(error) = &failure
            && self.last_failure.as_ref() != Some(error)
        {
            complain(error);
        }
        let has_failed = failure.is_some();
        self.last_failure = failure;
        let lasts = self.check()?;
        self.retry = (has_failed || lasts).then(|| Instant::now() + RETRY.min(self.outages.time_left().unwrap_or(RETRY)));
        Ok(())
    }

    /// Whether an outage lasts.
    fn check(&mut self) -> Result<bool, Stop> {
        let mut lasts = false;
        for interface in self.outages.interfaces() {
            let pending = self.sockets.iter_mut().filter(|socket| socket.place.interface == interface);
            // The book does not say why.
            let reason = pending.filter(|socket| socket.is_pending()).find_map(|socket| socket.why_pending());
            lasts |= self.outages.check(interface, reason.as_ref())?;
        }
        Ok(lasts)
    }
}

/// A socket that stays joined when its interface is created again.
struct Socket {
    receiver: Filtered,
    place: Place,
    /// One for each source.
    books: Vec<Memberships<1>>,
    /// The last change could not be applied in full.
    has_failed: bool,
}

impl Socket {
    #[inline(never)]
    fn join(&mut self, blocked: &[IpAddr]) -> Result<(), Stop> {
        for (book, membership) in self.books.iter_mut().zip(self.place.memberships()) {
            let applied = book.join(membership, &mut self.receiver)?;
            if applied.pending > 0 {
                // What cannot be joined now is an error.
                self.receiver.join(&membership)?;
            }
        }
        Ok(self.block(blocked)?)
    }

    fn apply(&mut self, change: &Change, blocked: &[IpAddr]) -> multicast::Result<()> {
        let mut result = Ok(());
        let mut joined = 0;
        for book in &mut self.books {
            match book.apply(change, &mut self.receiver) {
                Ok(applied) => joined += applied.joined,
                Err(error) => result = Err(error),
            }
        }
        if joined > 0 {
            result = result.and(self.block(blocked));
        }
        self.has_failed = result.is_err();
        result
    }

    /// Blocks the sources that are not wanted. The book does not keep them.
    fn block(&mut self, blocked: &[IpAddr]) -> multicast::Result<()> {
        let membership = Membership::any(self.place.group).on(self.place.interface);
        for source in blocked.iter().filter(|source| source.is_ipv4() == self.place.group.address().is_ipv4()) {
            self.receiver.block(&membership, *source)?;
        }
        Ok(())
    }

    fn is_pending(&self) -> bool {
        self.books.iter().any(|book| book.pending().next().is_some())
    }

    fn why_pending(&mut self) -> Option<multicast::Error> {
        let membership = self.place.memberships().next()?;
        self.receiver.join(&membership).err()
    }
}

/// Raises the limit of open files to the highest that is allowed (`getrlimit(2)`). If that fails, the one that there is stays.
pub(crate) fn raise_limit_of_descriptors() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    let _ = setrlimit(Resource::Nofile, limit);
}
