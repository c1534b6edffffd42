//! `mcast relay`: passes packets on from one interface to another, from one group to another, and to unicast and back.

mod inputs;
#[cfg(feature = "json")]
mod json;
mod outputs;
mod own;
mod pairs;
mod parse;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use lexopt::Parser;
use multicast::{Family, Interest, Links, Packet, SendOptions, Token};

use inputs::Unicast;
use outputs::{Hops, Outputs, Sent};
use own::Own;
use pairs::Pairs;
use parse::{Order, parse};

use crate::limits::Limits;
use crate::options::Common;
use crate::outage::watched;
use crate::places::{Place, places};
use crate::progress::Progress;
use crate::receivers::{LARGE_BUFFER, Next, ReceiveOrder, Receivers, Totals};
use crate::stop::{Stop, complain};

pub(crate) const HELP: &str = "\
Passes packets on: to another interface, to another group, or to unicast and back.

Usage: mcast relay --from TARGET.. --to TARGET.. [OPTION..]           to another group, or to a unicast address
       mcast relay --from TARGET.. --to-interface IF.. [OPTION..]     to the same groups on other interfaces

  --from TARGET        [SOURCE@]GROUP[/LEN|+COUNT][:PORT][%IF], repeatable; or ADDRESS:PORT of this machine, for unicast that another
                       relay sends here
  --interface IF       where to receive, for all targets of --from without %IF; repeatable
  --to TARGET          GROUP:PORT%IF, or ADDRESS:PORT for unicast; repeatable: each packet goes to all
  --to-interface IF    each packet goes to its own group on this interface; repeatable
  --pair               pass answers back: each question leaves from a port of its own, and what comes back to this port goes to the one
                       who asked. With one --to or --to-interface
  --ttl TTL            the highest TTL to send with: 0 to 255, host, subnet, site, .. (default: 1 to groups, 64 to unicast)
  --rate PPS           pass on at most PPS packets per second; what is more is dropped, and counted
  --loopback           copies for listeners on this machine, too
  --limit N            end after N packets that were passed on
  --json, --quiet, --timeout, --give-up: see mcast --help

Each packet leaves with the TTL it came with, less one, and at most that of --ttl. What comes with TTL 1 stays: otherwise two relays in a
ring would pass the same packet on for ever. Senders use TTL 1 if nobody tells them otherwise, so tell them: mcast send --ttl 2.

A packet never goes back to its group on the interface that it came in on, and packets of the relay itself are not passed on again.

Example:
  mcast relay --from 239.1.2.3:5000%lo --to 239.1.2.4:5000%lo --limit 1 &
  sleep 1
  mcast send --to 239.1.2.3:5000 --interface lo --ttl 2 hello
";

const LINKS: Token = Token(1);
const PAIRS: Token = Token(2);
/// The first token of the sockets for unicast.
const UNICAST: u64 = 3;

#[inline(never)]
pub(crate) fn run(parser: Parser) -> Result<(), Stop> {
    let order = parse(parser)?;
    let limits = Limits::new(order.common.timeout)?;
    let places = if order.common.targets.is_empty() { Vec::new() } else { places(&order.common)? };
    let to = ReceiveOrder {
        metadata: true,
        receive_buffer: Some(LARGE_BUFFER),
        ..ReceiveOrder::to(places.clone(), order.common.give_up)
    };
    // Before the sockets, so that no change after it is missed.
    let (mut links, mut own_links) = (Links::watch(), Links::watch());
    let mut receivers = Receivers::open(to, &limits, &mut links)?;
    let own_links = watched(&mut own_links)?;
    if let Some(links) = &own_links {
        receivers.poller().register(&**links, LINKS, Interest::READABLE)?;
    }
    let mut unicast = Vec::new();
    for (address, token) in order.unicast.iter().zip(UNICAST..) {
        unicast.push(Unicast::open(*address, receivers.poller(), Token(token))?);
    }
    let mut relay = Relay::new(&order, places, own_links, &limits)?;
    if let Some(pairs) = &relay.pairs {
        receivers.poller().register(pairs, PAIRS, Interest::READABLE)?;
    }
    let ended = relay.run(&mut receivers, &mut unicast);
    let mut totals = receivers.totals();
    for socket in &unicast {
        totals.dropped = totals.dropped.zip(socket.dropped()).map(|(sum, dropped)| sum.saturating_add(dropped));
    }
    relay.end(ended, &totals, &order.common)
}

struct Relay<'r> {
    places: Vec<Place>,
    links: Option<&'r mut Links>,
    own: Own,
    outputs: Outputs,
    own_ports: Vec<u16>,
    pairs: Option<Pairs>,
    hops: Hops,
    rate: Option<Rate>,
    limit: Option<u64>,
    limits: &'r Limits,
    counts: Counts,
    has_warned: bool,
    progress: Progress,
}

/// Packets that came.
#[derive(Clone, Copy, Default)]
struct Counts {
    received: u64,
    relayed: u64,
    bytes: u64,
    /// Came with TTL 1, or --ttl is 0.
    stayed: u64,
    /// Were sent by the relay itself.
    own: u64,
    /// Came in on the only interface to which they would go.
    back: u64,
    over_rate: u64,
}

impl<'r> Relay<'r> {
    fn new(order: &Order, places: Vec<Place>, links: Option<&'r mut Links>, limits: &'r Limits) -> Result<Self, Stop> {
        let options = SendOptions::new().loopback(order.loopback);
        let is_v4 = |address: SocketAddr| address.is_ipv4();
        let sources = || places.iter().map(|place| place.group.into()).chain(order.unicast.iter().copied());
        let mut families = Vec::new();
        if sources().any(is_v4) {
            families.push(Family::V4);
        }
        if !sources().all(is_v4) {
            families.push(Family::V6);
        }
        let hops = Hops(order.hops);
        let (mut pairs, mut ways) = (None, order.ways.as_slice());
        if let (true, [way]) = (order.pair, ways) {
            let table = Pairs::new(*way, options, limits)?;
            table.try_out(&families)?;
            (pairs, ways) = (Some(table), &[]);
        }
        let outputs = Outputs::open(ways, &families, options, hops, order.common.give_up, limits)?;
        let mut relay = Self {
            places,
            links,
            own: Own::default(),
            own_ports: outputs.ports()?,
            outputs,
            pairs,
            hops,
            rate: order.interval.map(Rate::new),
            limit: order.common.limit,
            limits,
            counts: Counts::default(),
            has_warned: order.common.quiet,
            progress: Progress::new("relayed", order.common.quiet),
        };
        relay.follow()?;
        Ok(relay)
    }

    fn run(&mut self, receivers: &mut Receivers<'_>, unicast: &mut [Unicast]) -> Result<(), Stop> {
        let mut buffer = vec![0; usize::from(u16::MAX)];
        while !self.is_done() {
            let quiet = self.pairs.as_mut().and_then(Pairs::forget_quiet);
            let until = [quiet, self.progress.due()].into_iter().flatten().min();
            match receivers.next(&mut buffer, self.limits, until)? {
                Next::Packet(number, packet) => {
                    if let Some(place) = self.places.get(number) {
                        let sent_to = place.group.into();
                        self.pass_on(&packet, sent_to)?;
                    }
                }
                Next::Ready(event) => match event.token() {
                    LINKS => self.follow()?,
                    PAIRS => {
                        if let Some(pairs) = &mut self.pairs {
                            pairs.pass_answers(self.limits)?;
                        }
                    }
                    Token(token) => {
                        let socket = token.checked_sub(UNICAST).and_then(|number| unicast.get_mut(number as usize));
                        if let Some(socket) = socket {
                            let sent_to = socket.address();
                            socket.receive(&mut buffer, &mut |packet| {
                                if self.is_done() { Ok(()) } else { self.pass_on(packet, sent_to) }
                            })?;
                        }
                    }
                },
                Next::Quiet => {}
            }
            self.progress.show(self.counts.relayed, self.counts.bytes);
        }
        Ok(())
    }

    fn is_done(&self) -> bool {
        self.limit == Some(self.counts.relayed)
    }

    /// Passes a packet on, unless it must stay.
    fn pass_on(&mut self, packet: &Packet<'_>, sent_to: SocketAddr) -> Result<(), Stop> {
        self.counts.received = self.counts.received.saturating_add(1);
        let metadata = packet.metadata().copied().unwrap_or_default();
        if self.is_own(packet.source())? {
            self.counts.own = self.counts.own.saturating_add(1);
            return Ok(());
        }
        // The kernel tells it of each packet. Without it, nothing would keep a ring from turning.
        let hops = metadata.hop_limit.unwrap_or(1);
        if hops <= 1 {
            self.stay();
            return Ok(());
        }
        if self.rate.as_mut().is_some_and(|rate| !rate.allows_one()) {
            self.counts.over_rate = self.counts.over_rate.saturating_add(1);
            return Ok(());
        }
        let came_on = metadata.interface;
        let sent = match &mut self.pairs {
            Some(pairs) => {
                let way = pairs.way();
                match (
                    way.destination(self.own.index_of(way.interface), sent_to, came_on),
                    self.hops.for_packet(hops, way.to),
                ) {
                    (None, _) => Sent::Back,
                    (_, None) => Sent::Stayed,
                    (Some(to), Some(hops)) => pairs.ask(packet, to, hops, self.limits)?,
                }
            }
            None => self.outputs.send(packet.payload(), sent_to, came_on, hops, self.limits)?,
        };
        match sent {
            Sent::Left => {
                self.counts.relayed = self.counts.relayed.saturating_add(1);
                self.counts.bytes = self.counts.bytes.saturating_add(packet.payload().len() as u64);
            }
            Sent::Back => self.counts.back = self.counts.back.saturating_add(1),
            Sent::Stayed => self.stay(),
            Sent::Lost => {}
        }
        Ok(())
    }

    fn stay(&mut self) {
        self.counts.stayed = self.counts.stayed.saturating_add(1);
        if !std::mem::replace(&mut self.has_warned, true) {
            complain(
                &"a packet came with TTL 1, which stays on its network: its sender must use a higher one (mcast send --ttl 2)",
            );
        }
    }

    /// Whether the relay itself has sent this.
    fn is_own(&mut self, source: SocketAddr) -> Result<bool, Stop> {
        let port = source.port();
        if !self.own_ports.contains(&port) && !self.pairs.as_ref().is_some_and(|pairs| pairs.has_port(port)) {
            return Ok(false);
        }
        // The address may be new.
        self.follow()?;
        // Without a list of addresses, it is safer to lose a stranger's packet than to turn in a ring.
        Ok(self.links.is_none() || self.own.has(source.ip()))
    }

    /// Reads what has changed.
    fn follow(&mut self) -> Result<(), Stop> {
        let Some(links) = &mut self.links else { return Ok(()) };
        while let Some(change) = links.next()? {
            self.own.note(&change);
            self.outputs.apply(&change, &self.own);
        }
        Ok(())
    }

    /// Says what became of the packets.
    #[inline(never)]
    fn end(mut self, ended: Result<(), Stop>, totals: &Totals, common: &Common) -> Result<(), Stop> {
        drop(std::mem::replace(&mut self.progress, Progress::new("relayed", true)));
        if !common.quiet {
            self.report(totals);
        }
        let ended = match ended {
            Err(Stop::TimedOut) => self.limits.verdict(self.counts.relayed, common.limit),
            ended => ended,
        };
        #[cfg(feature = "json")]
        if common.json {
            return ended.and(json::print(&self, totals, self.limits));
        }
        ended
    }

    fn report(&self, totals: &Totals) {
        let Counts { received, relayed, stayed, own, back, over_rate, .. } = self.counts;
        let dropped = totals.dropped.map_or_else(|| "unknown".to_owned(), |dropped| dropped.to_string());
        let lost = self.outputs.lost;
        let mut text = format!("relayed {relayed} of {received} packets; dropped {dropped}");
        for (packets, what) in [
            (stayed, "stayed (TTL 1)"),
            (own, "of the relay itself"),
            (back, "from where they would go"),
            (over_rate, "over --rate"),
            (lost.refused, "refused"),
            (lost.in_outages, "lost in outages"),
        ] {
            if packets > 0 {
                text.push_str(&format!(", {what} {packets}"));
            }
        }
        if let Some(pairs) = &self.pairs {
            let pairs::Counts { askers, answers, forgotten, refused } = pairs.counts;
            text.push_str(&format!("; askers {askers}, forgotten {forgotten}, answers {answers}, refused {refused}"));
        }
        complain(&text);
    }
}

/// Lets at most so many packets pass.
struct Rate {
    interval: Duration,
    /// `None` is never: the time is beyond the clock's range.
    due: Option<Instant>,
}

impl Rate {
    /// After a pause, so much is caught up at once.
    const BURST: Duration = Duration::from_millis(100);

    fn new(interval: Duration) -> Self {
        Self { interval, due: Some(Instant::now()) }
    }

    fn allows_one(&mut self) -> bool {
        let now = Instant::now();
        let Some(due) = self.due.filter(|due| *due <= now) else { return false };
        let earliest = now.checked_sub(Self::BURST).unwrap_or(now);
        self.due = due.max(earliest).checked_add(self.interval);
        true
    }
}
