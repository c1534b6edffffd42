//! `mcast ping`: asks, and counts the answers.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use lexopt::Parser;
use multicast::{Links, SendOptions, Token};

use super::packet::{Packet, QUESTION, Way};
use super::routes::Routes;
use super::tally::Found;
use super::text;
use crate::figures::{Bound, percent};
use crate::limits::Limits;
use crate::options::{self, Common, number, seconds, value};
use crate::output::Output;
use crate::receivers::{Next, ReceiveOrder, Receivers};
use crate::stop::{Stop, complain};

const OUTPUT: Token = Token(1);
const REPLIES: Token = Token(2);
const LINKS: Token = Token(3);

/// The shortest time between two questions: a pong answers 50 a second.
const LEAST: Duration = Duration::from_millis(20);
const SECOND: Duration = Duration::from_secs(1);
/// The longest time to wait for an answer: so the questions that are open are few.
const LONGEST: Duration = Duration::from_secs(60);

struct Order {
    common: Common,
    options: SendOptions,
    count: Option<u64>,
    interval: Duration,
    wait: Duration,
    max_loss: Option<Bound>,
}

#[inline(never)]
fn parse(mut parser: Parser) -> Result<Order, Stop> {
    let (common, options) = (Common::default(), SendOptions::new());
    let mut order = Order { common, options, count: None, interval: SECOND, wait: SECOND, max_loss: None };
    while let Some(argument) = options::next(&mut parser)? {
        match argument.name() {
            "count" => order.count = Some(number(&mut parser, "--count")?),
            "interval" => {
                order.interval = seconds(&mut parser, "--interval")?;
                if order.interval < LEAST {
                    return Err(Stop::misused("--interval: give 0.02 seconds or more".to_owned()));
                }
            }
            "wait" => {
                order.wait = seconds(&mut parser, "--wait")?;
                if order.wait.is_zero() || order.wait > LONGEST {
                    return Err(Stop::misused("--wait: give more than 0 seconds, and no more than 60".to_owned()));
                }
            }
            "ttl" => order.options = order.options.ttl(value(&mut parser, "--ttl")?),
            "max-loss" => order.max_loss = Some(Bound::percent(&mut parser, "--max-loss")?),
            _ => order.common.take(argument, "to", &mut parser)?,
        }
    }
    order.common.complete()?;
    Ok(order)
}

#[inline(never)]
pub(crate) fn run(parser: Parser) -> Result<(), Stop> {
    let order = parse(parser)?;
    let limits = Limits::new(order.common.timeout)?;
    let output = Output::new(&limits)?;
    // Before the sockets, so that no change after it is missed. Two, since both ways follow the interfaces.
    let (mut there, mut back) = (Links::watch(), Links::watch());
    let routes = Routes::open(&order.common, order.options, order.wait, &mut there)?;
    let to = ReceiveOrder { mtu: QUESTION, ..ReceiveOrder::to(routes.places(), order.common.give_up) };
    let mut receivers = Receivers::open(to, &limits, &mut back)?;
    output.watch(receivers.poller(), OUTPUT)?;
    receivers.poller().register(&routes.poller, REPLIES, multicast::Interest::READABLE)?;
    routes.watch_links(receivers.poller(), LINKS)?;
    let mut ask = Ask { order, output, routes, answers: 0, others: 0, asked: 0, next: Some(Instant::now()) };
    let ended = ask.until_end(&mut receivers, &limits);
    // As a program that SIGPIPE ends says nothing.
    if matches!(ended, Err(Stop::OutputClosed)) {
        return ended;
    }
    let ended = ask.verdict(ended, &limits);
    // The reason why it ends is more important than that this cannot be written.
    ended.and(ask.total(&limits))
}

struct Ask<'l> {
    order: Order,
    output: Output,
    routes: Routes<'l>,
    answers: u64,
    others: u64,
    /// How often it asked on all routes.
    asked: u64,
    /// When it asks again; `None` is never.
    next: Option<Instant>,
}

impl Ask<'_> {
    fn until_end(&mut self, receivers: &mut Receivers<'_>, limits: &Limits) -> Result<(), Stop> {
        let mut buffer = [0; QUESTION];
        while self.order.common.limit.is_none_or(|limit| self.answers < limit) {
            let now = Instant::now();
            self.close(now, limits)?;
            let may_ask = self.order.count.is_none_or(|count| self.asked < count);
            if may_ask && self.next.is_some_and(|next| next <= now) {
                self.routes.ask()?;
                self.asked = self.asked.saturating_add(1);
                // Not from when it was due: after a pause, questions are not crowded.
                self.next = now.checked_add(self.order.interval);
            }
            let due = self.routes.routes.iter().filter_map(|route| route.tally.due()).min();
            if !may_ask && due.is_none() {
                return Ok(());
            }
            let next = self.next.filter(|_| may_ask);
            match receivers.next(&mut buffer, limits, [next, due].into_iter().flatten().min())? {
                Next::Packet(_, packet) => self.packet(packet.payload(), packet.source(), Way::Multicast, limits)?,
                Next::Ready(event) => match event.token() {
                    REPLIES => {
                        for (reply, length, from) in self.routes.replies()? {
                            self.packet(reply.get(..length).unwrap_or(&reply), from, Way::Unicast, limits)?;
                        }
                    }
                    LINKS => self.routes.follow()?,
                    _ if event.is_error() || event.is_hang_up() => return Err(Stop::OutputClosed),
                    _ => {}
                },
                Next::Quiet => {}
            }
        }
        Ok(())
    }

    /// What came one way.
    fn packet(&mut self, payload: &[u8], from: SocketAddr, came: Way, limits: &Limits) -> Result<(), Stop> {
        let now = Instant::now();
        let answer = match Packet::read(payload) {
            Some(Packet::Answer(answer)) if answer.way == came => answer,
            // Our own ones, and those of others who ask.
            Some(Packet::Question(_)) => return Ok(()),
            _ => {
                self.others = self.others.saturating_add(1);
                return Ok(());
            }
        };
        let (way, number) = (answer.way, answer.to.number);
        // Else it is for somebody else who asks.
        let Some(route) = self.routes.routes.iter_mut().find(|route| route.id == answer.to.ping) else { return Ok(()) };
        let time = match route.tally.answer(&answer, from, now) {
            Found::Trip(time) => time,
            Found::Other => {
                self.others = self.others.saturating_add(1);
                return Ok(());
            }
            // The tally counts them.
            Found::Duplicate | Found::Late | Found::Beyond => return Ok(()),
        };
        self.answers = self.answers.saturating_add(1);
        let Some(responder) = route.tally.responders().iter().find(|responder| responder.pong == answer.pong) else {
            return Ok(());
        };
        let place = (route.group, route.interface);
        #[cfg(feature = "json")]
        if self.order.common.json {
            return self.output.object(&super::json::Trip::new(place, responder, way, number, Some(time)), limits);
        }
        let mut text = String::new();
        text::trip(&text::name(place, responder), way, number, Some(time), &mut text);
        self.output.write(text.as_bytes(), limits)
    }

    /// Prints what is lost by now.
    fn close(&mut self, now: Instant, limits: &Limits) -> Result<(), Stop> {
        let mut text = String::new();
        #[cfg(feature = "json")]
        let mut objects = Vec::new();
        for route in &mut self.routes.routes {
            let place = (route.group, route.interface);
            route.tally.close(now, |responder, way, number| {
                #[cfg(feature = "json")]
                if self.order.common.json {
                    objects.push(super::json::Trip::new(place, responder, way, number, None));
                    return;
                }
                text::trip(&text::name(place, responder), way, number, None, &mut text);
            });
        }
        #[cfg(feature = "json")]
        for object in &objects {
            self.output.object(object, limits)?;
        }
        self.output.write(text.as_bytes(), limits)
    }

    /// Prints the sums.
    #[inline(never)]
    fn total(&mut self, limits: &Limits) -> Result<(), Stop> {
        let mut text = String::new();
        let (mut responders, mut beyond) = (0_usize, 0_u64);
        for route in &self.routes.routes {
            beyond = beyond.saturating_add(route.tally.beyond());
            for responder in route.tally.responders() {
                responders = responders.saturating_add(1);
                let place = (route.group, route.interface);
                #[cfg(feature = "json")]
                if self.order.common.json {
                    self.output.object(&super::json::Sum::new(place, responder), limits)?;
                    continue;
                }
                text::total(&text::name(place, responder), responder, &mut text);
            }
        }
        let (asked, unsent, others) = (self.asked, self.routes.unsent, self.others);
        #[cfg(feature = "json")]
        if self.order.common.json {
            self.output.object(&super::json::Asked::new(asked, unsent, responders, others, beyond), limits)?;
        }
        if !self.order.common.quiet {
            complain(&format_args!(
                "asked {asked}, responders {responders}, not sent {unsent}, others {others}, beyond {beyond}"
            ));
        }
        self.output.write(text.as_bytes(), limits)
    }

    /// What the end means.
    fn verdict(&self, ended: Result<(), Stop>, limits: &Limits) -> Result<(), Stop> {
        match ended {
            Ok(()) if self.answers == 0 => return Err(Stop::Unanswered),
            Ok(()) => {}
            Err(Stop::TimedOut) => limits.verdict(self.answers, self.order.common.limit)?,
            Err(stop) => return Err(stop),
        }
        let Some(bound) = &self.order.max_loss else { return Ok(()) };
        for route in &self.routes.routes {
            for responder in route.tally.responders() {
                for way in Way::ALL {
                    let trips = responder.trips(way);
                    let (lost, asked) = (trips.lost(), trips.asked);
                    if bound.is_exceeded(lost, asked) {
                        let (name, way) = (text::name((route.group, route.interface), responder), way.name());
                        let (percent, written) = (percent(lost, asked), &bound.written);
                        return Err(Stop::missed(format!(
                            "{name} {way}: lost {lost} of {asked} ({percent} %): --max-loss allows {written} %"
                        )));
                    }
                }
            }
        }
        Ok(())
    }
}
