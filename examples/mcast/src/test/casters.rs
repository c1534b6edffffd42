//! The sockets of `mcast test send`: one for each group and interface, each with a stream of its own. Packets leave in batches, which
//! is what makes 100,000 a second possible.

use std::time::Duration;

use multicast::{Events, Interest, Interface, Links, Multicaster, Poller, Progress, SendOptions, Token};

use super::numbers::Numbers;
use super::packet::Kind;
use crate::limits::Limits;
use crate::options::Common;
use crate::outage::{Outages, watched};
use crate::receivers::raise_limit_of_descriptors;
use crate::senders::{expanded, may_pass};
use crate::stop::Stop;

/// How many packets leave at once.
pub(crate) const BATCH: usize = 64;

const ROOM_TO_SEND: Token = Token(1);
const LINKS: Token = Token(2);

/// How many batches are sent, if nothing makes it wait, before it looks what has changed.
const TURN: u32 = 16;
/// During an outage: what ends it may be nothing that the kernel reports.
const RETRY: Duration = Duration::from_secs(1);
/// How long it tries to tell the end: so many milliseconds.
const LAST_TRIES: u32 = 100;

pub(crate) struct Casters<'l> {
    casters: Vec<Multicaster<Numbers, BATCH>>,
    /// Those of the casters, by their numbers.
    interfaces: Vec<Interface>,
    poller: Poller,
    events: Events<4>,
    links: Option<&'l mut Links>,
    /// Following must be tried again, also if nothing has changed.
    follow_failed: bool,
    outages: Outages,
    has_sent: bool,
    /// How many batches are left of this turn.
    turn: u32,
}

impl<'l> Casters<'l> {
    /// Opens the sockets for all targets, for packets of this size.
    #[inline(never)]
    pub(crate) fn open(
        common: &Common,
        options: SendOptions,
        size: usize,
        limits: &Limits,
        links: &'l mut multicast::Result<Links>,
    ) -> Result<Self, Stop> {
        let poller = Poller::new()?;
        limits.register(&poller)?;
        let links = watched(links)?;
        if let Some(links) = &links {
            poller.register(&**links, LINKS, Interest::READABLE)?;
        }
        let mut outages = Outages::none_yet(common.give_up, "sending again");
        let (mut casters, mut interfaces) = (Vec::new(), Vec::new());
        raise_limit_of_descriptors();
        for target in &common.targets {
            let named = match (target.source, common.interfaces_of(target).as_slice()) {
                (Some(source), [Interface::Default]) => vec![Interface::Address(source)],
                (Some(_), _) => {
                    let reason = "name the address to send from or the interface, not both";
                    return Err(Stop::misused(reason.to_owned()));
                }
                (None, named) => named.to_vec(),
            };
            for interface in expanded(named)? {
                // Groups of one target are all different: only those before can be the same, and are sent to once.
                let before = casters.len();
                for group in target.groups() {
                    let mut known = casters.iter().zip(&interfaces).take(before);
                    let is_it = |(caster, known): (&Multicaster<Numbers, BATCH>, &Interface)| {
                        caster.group() == group && *known == interface
                    };
                    if known.any(is_it) {
                        continue;
                    }
                    casters.push(options.interface(interface).batches::<BATCH, _>(group, Numbers::new(size))?);
                    interfaces.push(interface);
                    outages.add(interface);
                }
            }
        }
        let events = Events::new();
        Ok(Self { casters, interfaces, poller, events, links, follow_failed: false, outages, has_sent: false, turn: TURN })
    }

    /// For each stream its group and interface, and how many data packets have left.
    pub(crate) fn sent(&self) -> impl Iterator<Item = (multicast::Group, Interface, u64)> {
        let casters = self.casters.iter().zip(&self.interfaces);
        casters.map(|(caster, interface)| (caster.group(), *interface, caster.items().made()))
    }

    /// The fewest data packets that have left of any stream.
    pub(crate) fn least_sent(&self) -> u64 {
        self.casters.iter().map(|caster| caster.items().made()).min().unwrap_or(u64::MAX)
    }

    /// Sends so many packets, at most a batch, of each stream; of data no more than `count` in all. It waits until each interface has
    /// taken them; but not for one that is gone, if there are others.
    #[inline(never)]
    pub(crate) fn send(&mut self, kind: Kind, packets: usize, count: Option<u64>, limits: &Limits) -> Result<(), Stop> {
        let mut is_sent = false;
        for number in 0..self.casters.len() {
            is_sent |= self.send_on(number, kind, packets.min(BATCH), count, limits)?;
        }
        if !is_sent && !self.casters.is_empty() {
            let time = self.outages.time_left().unwrap_or(RETRY).min(RETRY);
            return self.wait(limits, Some(time));
        }
        self.has_sent = true;
        self.turn = self.turn.saturating_sub(1);
        if self.turn == 0 {
            self.wait(limits, Some(Duration::ZERO))?;
        }
        Ok(())
    }

    /// False if the interface is gone.
    fn send_on(
        &mut self,
        number: usize,
        kind: Kind,
        packets: usize,
        count: Option<u64>,
        limits: &Limits,
    ) -> Result<bool, Stop> {
        let (Some(caster), Some(interface)) = (self.casters.get_mut(number), self.interfaces.get(number).copied()) else {
            return Ok(true);
        };
        let left = match (kind, count) {
            (Kind::Data, Some(count)) => usize::try_from(count.saturating_sub(caster.items().made())).unwrap_or(packets),
            _ => packets,
        };
        caster.items_mut().order(kind, packets.min(left));
        loop {
            limits.check()?;
            let Some(caster) = self.casters.get_mut(number) else { return Ok(true) };
            match caster.step() {
                Ok(Progress::Sent(_)) => {}
                Ok(Progress::Done) => {
                    self.outages.is_over(interface);
                    return Ok(true);
                }
                Ok(Progress::Blocked) => self.wait_for_room(number, limits)?,
                Ok(Progress::Wait(time)) => self.wait(limits, Some(time))?,
                Err(error) => {
                    take_back(caster);
                    // If it never worked, more likely something is wrong than that it will work later.
                    if !(self.has_sent && may_pass(error.kind())) {
                        return Err(error.into());
                    }
                    self.outages.lasts(interface, &error)?;
                    return Ok(false);
                }
            }
        }
    }

    /// Tells the end of each stream, once. Signals do not end this, and it does not last long.
    pub(crate) fn tell_end(&mut self) {
        for caster in &mut self.casters {
            // What a signal has interrupted.
            take_back(caster);
            caster.items_mut().order(Kind::End, 1);
            for _ in 0..LAST_TRIES {
                match caster.step() {
                    Ok(Progress::Done) | Err(_) => break,
                    Ok(Progress::Sent(_)) => {}
                    Ok(Progress::Blocked | Progress::Wait(_)) => std::thread::sleep(Duration::from_millis(1)),
                }
            }
        }
    }

    /// Waits until something is ready, at most for this time, and follows the links.
    #[inline(never)]
    pub(crate) fn wait(&mut self, limits: &Limits, time: Option<Duration>) -> Result<(), Stop> {
        self.turn = TURN;
        limits.wait(&self.poller, &mut self.events, time)?;
        let is_due = self.follow_failed || self.events.iter().any(|event| event.token() == LINKS);
        if let (Some(links), true) = (&mut self.links, is_due) {
            // What still fails is an error of the next packet, after which this is tried again. More changes are reported again.
            self.follow_failed = links.follow(self.casters.as_mut_slice())?.failed.is_some();
        }
        Ok(())
    }

    fn wait_for_room(&mut self, number: usize, limits: &Limits) -> Result<(), Stop> {
        let Some(caster) = self.casters.get(number) else { return Ok(()) };
        self.poller.register(caster, ROOM_TO_SEND, Interest::WRITABLE)?;
        let ended = self.wait(limits, None);
        if let Some(caster) = self.casters.get(number) {
            self.poller.unregister(caster)?;
        }
        ended
    }
}

/// Takes back what was made and did not leave. The numbers are given again, with the time at which they leave.
fn take_back(caster: &mut Multicaster<Numbers, BATCH>) {
    let mut packets = 0;
    while caster.discard().is_some() {
        packets += 1;
    }
    caster.items_mut().take_back(packets);
}
