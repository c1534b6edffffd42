//! `mcast replay`: sends the packets of a capture again, with their gaps.

mod capture;
mod contents;
#[cfg(feature = "json")]
mod json;
mod packets;
mod source;
mod timeline;

use std::ffi::OsString;
use std::num::NonZeroU64;
use std::time::{Duration, Instant};

use lexopt::Parser;
use multicast::{ErrorKind, Links, SendOptions};

use contents::{Choice, LeftOut, Packet, Then};
use source::Source;
use timeline::{Early, Timeline};

use crate::decimal::{self, fixed};
use crate::limits::Limits;
use crate::options::{self, Argument, Common, number_within, text, value};
use crate::progress::Progress;
use crate::senders::Senders;
use crate::stop::{Stop, complain};
use crate::target::Target;

pub(crate) const HELP: &str = "\
Sends the UDP packets of a capture again, at the times at which they came.

Usage: mcast replay --interface IF [OPTION..] FILE | -     to the groups and ports that the capture names
       mcast replay --to TARGET [OPTION..] FILE | -        to another group instead
       mcast replay --list FILE | -                        print which groups it has, and send nothing

FILE is a recording of `mcast record`, or a pcapng or pcap file of another program: of Ethernet (also with VLAN tags), of the interface
any of Linux, or of raw IP. Only packets to groups are sent; fragments and packets that the capture cut are not. What was left out is
said at the end.

A capture may name groups that carry live traffic here. So without --to, it must be said on which interface to send, and packets stay on
the local network (--ttl 1) unless it is said how far they may go, whatever TTL they had.

  --list               print which groups, how many packets and how much time the capture has, and send nothing
  --to TARGET          [SOURCE@]GROUP[/LEN|+COUNT][:PORT][%IF], repeatable: all packets go there, whatever group they were for
  --from TARGET        only packets to this group, or range; without :PORT to each port of it; repeatable
  --interface IF       by name, index or address, or all; repeatable: each packet leaves on all of them
  --speed X            2 is twice as fast, 0.5 half as fast (default: 1)
  --loop N|forever     send it N times; between two rounds is the average gap
  --ttl TTL            how far, as of mcast send (default: subnet)
  --source-port PORT   send from this port; others may use it, too
  --tos CLASS          traffic class (DSCP and ECN), 0 to 255
  --no-loopback        no copies for listeners on this machine (no effect on lo)
  --limit N            end after N packets
  --json, --quiet, --timeout, --give-up: see mcast --help

Gaps are kept by the time since the first packet, so delays do not add up. mcast wakes up before a packet is due, by as much as this
machine mostly wakes it up late, 0.2 ms at most. So on a machine with a free processor, most packets leave within 0.1 ms of their time.

Example:
  mcast replay --list recording.pcapng
  mcast replay --interface lo recording.pcapng
";

struct Order {
    common: Common,
    options: SendOptions,
    choice: Choice,
    path: OsString,
    speed: f64,
    /// `None` is for ever.
    rounds: Option<NonZeroU64>,
    list: bool,
}

#[inline(never)]
fn parse(mut parser: Parser) -> Result<Order, Stop> {
    let (mut common, mut options, mut choice) = (Common::default(), SendOptions::new(), Vec::new());
    let (mut path, mut speed, mut rounds, mut list) = (None, 1.0, NonZeroU64::new(1), false);
    while let Some(argument) = options::next(&mut parser)? {
        match argument.name() {
            "from" => {
                let target = Target::parse(&text(&mut parser, "--from")?);
                choice.push(target.map_err(|reason| Stop::misused(format!("--from: {reason}")))?);
            }
            "speed" => speed = self::speed(&mut parser)?,
            "loop" => rounds = self::rounds(&mut parser)?,
            "list" => list = true,
            "ttl" => options = options.ttl(value(&mut parser, "--ttl")?),
            "source-port" => {
                options = options.source_port(number_within(&mut parser, "--source-port", 1, 65_535)? as u16);
            }
            "tos" => options = options.traffic_class(number_within(&mut parser, "--tos", 0, 255)? as u8),
            "no-loopback" => options = options.loopback(false),
            "" if path.is_none() => {
                if let Argument::Value(value) = argument {
                    path = Some(value);
                }
            }
            _ => common.take(argument, "to", &mut parser)?,
        }
    }
    let path = path.ok_or_else(|| Stop::misused("name a FILE to replay, or - for standard input".to_owned()))?;
    if common.targets.is_empty() && common.interfaces.is_empty() && !list {
        return Err(Stop::misused(format!(
            "say on which interface to send to the groups of the capture: --interface IF; or where else: --to GROUP:PORT \
             (mcast replay --list {} prints its groups)",
            path.display()
        )));
    }
    common.check()?;
    Ok(Order { common, options, choice: Choice(choice), path, speed, rounds, list })
}

fn speed(parser: &mut Parser) -> Result<f64, Stop> {
    let text = text(parser, "--speed")?;
    let speed = decimal::parse(&text).filter(|speed| *speed > 0.0 && speed.is_finite());
    speed.ok_or_else(|| Stop::misused(format!("--speed {text}: give a number, more than 0")))
}

fn rounds(parser: &mut Parser) -> Result<Option<NonZeroU64>, Stop> {
    let text = text(parser, "--loop")?;
    match text.parse::<NonZeroU64>() {
        _ if text == "forever" => Ok(None),
        Ok(rounds) => Ok(Some(rounds)),
        Err(_) => Err(Stop::misused(format!("--loop {text}: give a whole number, 1 or more, or forever"))),
    }
}

#[inline(never)]
pub(crate) fn run(parser: Parser) -> Result<(), Stop> {
    let order = parse(parser)?;
    let limits = Limits::new(order.common.timeout)?;
    let mut source = Source::open(order.path.as_ref(), &limits)?;
    if order.list {
        return contents::list(&mut source, &order.choice, &order.common, &limits);
    }
    if order.rounds != NonZeroU64::new(1) {
        // Before anything is sent.
        source.rewind()?;
    }
    // The kernel may let a sleep last longer by this much, so that it wakes up less often: 50 us by default.
    let _ = rustix::thread::set_current_timer_slack(NonZeroU64::new(1));
    // Before the sockets, so that no change after it is missed.
    let mut links = Links::watch();
    let names_groups = !order.common.targets.is_empty();
    let open = if names_groups { Senders::open } else { Senders::open_for_any };
    let mut replayer = Replayer {
        senders: open(&order.common, order.options, &limits, &mut links)?,
        limits: &limits,
        choice: &order.choice,
        is_redirected: names_groups,
        timeline: Timeline::new(order.speed),
        early: Early::default(),
        limit: order.common.limit,
        sent: Sent::default(),
        left_out: LeftOut::default(),
        was_refused: false,
        progress: Progress::new("sent", order.common.quiet),
    };
    let ended = replayer.rounds(&mut source, order.rounds);
    replayer.end(ended, &source, &order.common)
}

/// What was sent.
#[derive(Default)]
struct Sent {
    packets: u64,
    bytes: u64,
    rounds: u64,
    /// How much later than due the latest packet left.
    latest: Duration,
}

struct Replayer<'r> {
    senders: Senders<'r>,
    limits: &'r Limits,
    choice: &'r Choice,
    /// Whether all packets go to other groups than the capture names.
    is_redirected: bool,
    timeline: Timeline,
    early: Early,
    limit: Option<u64>,
    sent: Sent,
    left_out: LeftOut,
    /// A queue may refuse long packets alone. If it refuses two in a row, it is dead, and each one takes seconds to see it.
    was_refused: bool,
    progress: Progress,
}

impl Replayer<'_> {
    fn rounds(&mut self, source: &mut Source, rounds: Option<NonZeroU64>) -> Result<(), Stop> {
        loop {
            self.round(source)?;
            self.sent.rounds = self.sent.rounds.saturating_add(1);
            let has_sent_any = self.sent.packets > 0;
            if !has_sent_any || self.is_done() || rounds.is_some_and(|rounds| rounds.get() <= self.sent.rounds) {
                return Ok(());
            }
            source.rewind()?;
            self.timeline.begin_again();
        }
    }

    fn round(&mut self, source: &mut Source) -> Result<(), Stop> {
        if self.is_done() {
            return Ok(());
        }
        let mut left_out = std::mem::take(&mut self.left_out);
        let (choice, limits) = (self.choice, self.limits);
        let ended = contents::read(source, choice, &mut left_out, limits, &mut |packet| {
            self.send(packet)?;
            Ok(if self.is_done() { Then::Stop } else { Then::GoOn })
        });
        left_out.refused = left_out.refused.saturating_add(self.left_out.refused);
        self.left_out = left_out;
        ended
    }

    fn send(&mut self, packet: &Packet<'_>) -> Result<(), Stop> {
        let due = self.timeline.due(packet.time);
        loop {
            let left = due.map_or(Duration::MAX, |due| due.saturating_duration_since(Instant::now()));
            if left.is_zero() {
                break;
            }
            // Shown while there is time, and not before a packet that is due.
            self.progress.show(self.sent.packets, self.sent.bytes);
            let early = self.early.time().min(left);
            let sleep = left.saturating_sub(early);
            // Also if there is nothing to sleep: changes of the links are read here.
            self.senders.wait(self.limits, Some(sleep))?;
            let Some(due) = due else { continue };
            self.early.learn(due.checked_sub(early), Instant::now());
            if due.saturating_duration_since(Instant::now()) <= early {
                while Instant::now() < due {
                    std::hint::spin_loop();
                }
            }
        }
        let late = due.map_or(Duration::ZERO, |due| due.elapsed());
        let ended = if self.is_redirected {
            self.senders.send(packet.payload, self.limits)
        } else {
            self.senders.send_to(packet.payload, packet.group, self.limits)
        };
        let is_refused = matches!(&ended, Err(Stop::Refused(error)) if error.kind() == ErrorKind::QueueRefused);
        let is_second = std::mem::replace(&mut self.was_refused, is_refused) && is_refused;
        match ended {
            Ok(()) => {
                self.sent.packets = self.sent.packets.saturating_add(1);
                self.sent.bytes = self.sent.bytes.saturating_add(packet.payload.len() as u64);
                self.sent.latest = self.sent.latest.max(late);
            }
            Err(Stop::Refused(error)) if (is_refused && !is_second) || error.kind() == ErrorKind::TooLong => {
                complain(&error);
                self.left_out.refused = self.left_out.refused.saturating_add(1);
            }
            Err(stop) => return Err(stop),
        }
        Ok(())
    }

    fn is_done(&self) -> bool {
        self.limit == Some(self.sent.packets)
    }

    /// Says what became of the packets.
    #[inline(never)]
    fn end(mut self, ended: Result<(), Stop>, source: &Source, common: &Common) -> Result<(), Stop> {
        drop(std::mem::replace(&mut self.progress, Progress::new("sent", true)));
        let Sent { packets, bytes, latest, .. } = self.sent;
        if !common.quiet {
            complain(&format_args!(
                "sent {packets} packets, {bytes} bytes; at most {} ms late",
                fixed(latest.as_secs_f64() * 1e3, 3)
            ));
            if let Some(left_out) = self.left_out.text() {
                complain(&format_args!("left out: {left_out}"));
            }
            for (interface, missed) in self.senders.missed() {
                complain(&format_args!("{missed} packets did not leave on {interface}"));
            }
        }
        let ended = match ended {
            // To send until a time is what was asked for.
            Err(Stop::TimedOut) => Ok(()),
            Ok(()) if packets == 0 && self.limit != Some(0) => {
                Err(Stop::failed(format!("{} has no packet that can be sent", source.name())))
            }
            ended => ended,
        };
        #[cfg(feature = "json")]
        if common.json {
            return ended.and(json::print(&self.sent, &self.left_out, self.limits));
        }
        ended
    }
}
