//! `mcast pong`: answers.

use std::num::NonZeroU32;
use std::time::Instant;

use lexopt::Parser;
use multicast::{Destination, Family, Group, Interface, Links, Outcome, SendOptions, Sender, Token};

use super::manners::{Declined, Manners};
use super::packet::{Answer, Packet, QUESTION, Question, Way};
use crate::figures::random;
use crate::interfaces::Names;
use crate::limits::Limits;
use crate::options::{self, Common, value};
use crate::output::Output;
use crate::places::{Place, places};
use crate::receivers::{Next, ReceiveOrder, Receivers};
use crate::senders;
use crate::stop::{Stop, complain};

const OUTPUT: Token = Token(1);

struct Order {
    common: Common,
    options: SendOptions,
}

#[inline(never)]
fn parse(mut parser: Parser) -> Result<Order, Stop> {
    let mut order = Order { common: Common::default(), options: SendOptions::new() };
    while let Some(argument) = options::next(&mut parser)? {
        match argument.name() {
            "ttl" => order.options = order.options.ttl(value(&mut parser, "--ttl")?),
            _ => order.common.take(argument, "from", &mut parser)?,
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
    let places = places(&order.common)?;
    let to = ReceiveOrder { mtu: QUESTION, metadata: true, ..ReceiveOrder::to(places.clone(), order.common.give_up) };
    // Before the join, so that no change after it is missed.
    let mut links = Links::watch();
    let mut receivers = Receivers::open(to, &limits, &mut links)?;
    output.watch(receivers.poller(), OUTPUT)?;
    let senders = Senders::open(order.options, &places)?;
    let (id, manners, names) = (random(), Manners::new(Instant::now()), Names::default());
    let mut pong = Pong { order, output, places, id, senders, manners, names, counted: Counted::default(), failed: None };
    let ended = match pong.until_end(&mut receivers, &limits) {
        Err(Stop::TimedOut) => limits.verdict(pong.counted.answered, pong.order.common.limit),
        ended => ended,
    };
    // As a program that SIGPIPE ends says nothing.
    if matches!(ended, Err(Stop::OutputClosed)) {
        return ended;
    }
    // The reason why it ends is more important than that this cannot be written.
    ended.and(pong.total(&limits))
}

/// A socket for each IP version. The way of each answer is named with it, so they need not follow interfaces.
struct Senders {
    v4: Option<Sender>,
    v6: Option<Sender>,
}

impl Senders {
    fn open(options: SendOptions, places: &[Place]) -> Result<Self, Stop> {
        let open = |family| -> Result<_, Stop> {
            let is_needed = places.iter().any(|place| place.group.family() == family);
            Ok(if is_needed { Some(senders::open(options, family)?) } else { None })
        };
        Ok(Self { v4: open(Family::V4)?, v6: open(Family::V6)? })
    }

    fn of(&mut self, family: Family) -> Option<&mut Sender> {
        match family {
            Family::V4 => self.v4.as_mut(),
            Family::V6 => self.v6.as_mut(),
        }
    }
}

/// What became of the packets that came.
#[derive(Clone, Copy, Default)]
pub(super) struct Counted {
    pub(super) answered: u64,
    pub(super) duplicates: u64,
    /// Too many.
    pub(super) declined: u64,
    /// Answers that could not be sent.
    pub(super) failed: u64,
    pub(super) others: u64,
}

struct Pong {
    order: Order,
    output: Output,
    places: Vec<Place>,
    id: u64,
    senders: Senders,
    manners: Manners,
    names: Names,
    counted: Counted,
    /// The last reason why an answer could not be sent, so that it is said once.
    failed: Option<multicast::Error>,
}

impl Pong {
    fn until_end(&mut self, receivers: &mut Receivers<'_>, limits: &Limits) -> Result<(), Stop> {
        let mut buffer = [0; QUESTION];
        while self.order.common.limit.is_none_or(|limit| self.counted.answered < limit) {
            match receivers.next(&mut buffer, limits, None)? {
                Next::Packet(place, packet) => self.packet(place, &packet, limits)?,
                Next::Ready(event) if event.is_error() || event.is_hang_up() => return Err(Stop::OutputClosed),
                Next::Ready(_) | Next::Quiet => {}
            }
        }
        Ok(())
    }

    fn packet(&mut self, place: usize, packet: &multicast::Packet<'_>, limits: &Limits) -> Result<(), Stop> {
        let question = match Packet::read(packet.payload()) {
            Some(Packet::Question(question)) => question,
            // Of another pong, or our own.
            Some(Packet::Answer(_)) => return Ok(()),
            None => {
                self.counted.others = self.counted.others.saturating_add(1);
                return Ok(());
            }
        };
        let heard = match self.manners.consider(question, packet.source().ip(), Instant::now()) {
            Ok(heard) => heard,
            Err(Declined::Duplicate) => {
                self.counted.duplicates = self.counted.duplicates.saturating_add(1);
                return Ok(());
            }
            Err(Declined::TooMany) => {
                self.counted.declined = self.counted.declined.saturating_add(1);
                return Ok(());
            }
        };
        let Some(place) = self.places.get(place) else { return Ok(()) };
        let (group, interface) = (place.group, packet.metadata().and_then(|metadata| metadata.interface));
        self.answer(question, heard, packet, group, interface);
        self.counted.answered = self.counted.answered.saturating_add(1);
        self.print(question, packet, group, interface, limits)
    }

    /// Answers each way.
    #[inline(never)]
    fn answer(
        &mut self,
        question: Question,
        heard: u64,
        packet: &multicast::Packet<'_>,
        group: Group,
        interface: Option<NonZeroU32>,
    ) {
        let to_group = Destination::from(group);
        let by_multicast = match interface {
            Some(index) => to_group.on(Interface::Index(index)),
            None => Ok(to_group),
        };
        // Both before either is sent: to find the way takes longer than to send.
        for (way, to) in [(Way::Unicast, Destination::answering(packet)), (Way::Multicast, by_multicast)] {
            let answer = Answer { to: question, way, pong: self.id, heard }.bytes();
            let Some(sender) = self.senders.of(group.family()) else { return };
            match to.and_then(|to| sender.send(&answer, to)) {
                Ok(Outcome::Sent) => {}
                // The queue is full.
                Ok(Outcome::Blocked | Outcome::Wait(_)) => self.counted.failed = self.counted.failed.saturating_add(1),
                // Anybody can cause one, with a forged source.
                Err(error) => {
                    self.counted.failed = self.counted.failed.saturating_add(1);
                    if self.failed.as_ref() != Some(&error) {
                        complain(&format_args!("an answer by {}: {error}", way.name()));
                        self.failed = Some(error);
                    }
                }
            }
        }
    }

    fn print(
        &mut self,
        question: Question,
        packet: &multicast::Packet<'_>,
        group: Group,
        interface: Option<NonZeroU32>,
        limits: &Limits,
    ) -> Result<(), Stop> {
        let interface = interface.map_or("", |index| self.names.of(index));
        let (source, number) = (packet.source(), question.number);
        #[cfg(feature = "json")]
        if self.order.common.json {
            let object = super::json::Question::new(group.to_string(), interface, source.to_string(), question);
            return self.output.object(&object, limits);
        }
        self.output.write(format!("{group}%{interface} {source} asked {number}\n").as_bytes(), limits)
    }

    #[inline(never)]
    fn total(&mut self, limits: &Limits) -> Result<(), Stop> {
        let Counted { answered, duplicates, declined, failed, others } = self.counted;
        if !self.order.common.quiet {
            complain(&format_args!(
                "answered {answered}, duplicates {duplicates}, limited {declined}, refused {failed}, others {others}"
            ));
        }
        #[cfg(feature = "json")]
        if self.order.common.json {
            return self.output.object(&super::json::Answered::new(&self.counted), limits);
        }
        let _ = limits;
        Ok(())
    }
}
