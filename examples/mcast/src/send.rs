//! `mcast send`: sends a text, the lines of standard input, or a file in pieces.

use std::fs::File;
use std::io::ErrorKind::{Interrupted, WouldBlock};
use std::io::Read;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStringExt;
use std::time::{Duration, Instant};

use lexopt::Parser;
use multicast::{ErrorKind, Interest, Links, SendOptions, Token};

use crate::hex;
use crate::input::{Lines, Next};
use crate::limits::Limits;
use crate::options::{self, Argument, Common, number, number_within, rate, value};
use crate::progress::Progress;
use crate::senders::{Pace, Senders};
use crate::stop::{Stop, complain, failed};

pub(crate) const HELP: &str = "\
Sends packets to a group.

Usage: mcast send [--to TARGET].. [OPTION..] [TEXT.. | -]

TEXT is sent as one packet. Without it, or with - for it, each line of standard input is sent when it is read, without its newline. A
line that is too long for UDP is reported and not sent. Write -- before a TEXT that begins with a dash.

  --to TARGET          [SOURCE@]GROUP[/LEN|+COUNT][:PORT][%IF], repeatable: each packet goes to all (default: 224.0.42.42:4242).
                       SOURCE is an address of this machine to send from
  --interface IF       repeatable: each packet leaves on all of them; all is every interface that is up
  --ttl TTL            how far: 0 to 255, host, subnet, site, region, continent, unrestricted (default: subnet). With host, packets
                       leave all the same by an interface on which no program of this host has joined the group
  --count N            send TEXT N times
  --rate PPS           send at most PPS packets per second; 0.5 is one in two seconds
  --bitrate BPS        send at most BPS bits of payload per second; 4e6 is four million
  --file FILE          send a file in packets
  --size N             the payload of each packet of --file: 1 to 65507 bytes (default: 1316, seven packets of MPEG-TS)
  --hex                TEXT, or each line, is hex digits; blanks between bytes are allowed
  --source-port PORT   send from this port; others may use it, too
  --tos CLASS          traffic class (DSCP and ECN), 0 to 255
  --no-loopback        no copies for listeners on this machine (no effect on lo)
  --limit N            end after N packets
  --json, --quiet, --timeout, --give-up: see mcast --help

An interface must exist when mcast starts. If it goes later, mcast says so, waits, and goes on when it is back; nothing is left out. With
several interfaces it goes on with the others, and says at the end how many packets did not leave on which.

Example:
  mcast send --to 239.1.2.3:5000 --interface lo hello
";

const INPUT: Token = Token(1);

struct Order {
    common: Common,
    options: SendOptions,
    payload: Payload,
    interval: Option<Duration>,
    /// The time that one bit takes.
    bit_time: Option<Duration>,
    hex: bool,
}

enum Payload {
    Text { packet: Vec<u8>, count: u64 },
    Lines,
    File { file: File, size: usize },
}

#[inline(never)]
fn parse(mut parser: Parser) -> Result<Order, Stop> {
    let mut common = Common::default();
    let mut options = SendOptions::new();
    let (mut count, mut interval, mut bit_time, mut file, mut size) = (None, None, None, None, None);
    let (mut texts, mut hex) = (Vec::new(), false);
    while let Some(argument) = options::next(&mut parser)? {
        match argument.name() {
            "ttl" => options = options.ttl(value(&mut parser, "--ttl")?),
            "count" => count = Some(number(&mut parser, "--count")?),
            "rate" => interval = Some(rate(&mut parser, "--rate", "packets")?),
            "bitrate" => bit_time = Some(rate(&mut parser, "--bitrate", "bits")?),
            "file" => file = Some(parser.value().map_err(|error| Stop::misused(error.to_string()))?),
            "size" => size = Some(number_within(&mut parser, "--size", 1, 65_507)? as usize),
            "hex" => hex = true,
            "source-port" => options = options.source_port(number_within(&mut parser, "--source-port", 1, 65_535)? as u16),
            "tos" => options = options.traffic_class(number_within(&mut parser, "--tos", 0, 255)? as u8),
            "no-loopback" => options = options.loopback(false),
            "" => {
                if let Argument::Value(text) = argument {
                    texts.push(text.into_vec());
                }
            }
            _ => common.take(argument, "to", &mut parser)?,
        }
    }
    options::expect_no_group(texts.first(), &common)?;
    let payload = match (texts.as_slice(), count, file) {
        ([], None, Some(path)) => {
            let open = || format!("--file {}", path.display());
            let file = File::open(&path).map_err(|error| Stop::failed(format!("{}: {error}", open())))?;
            Payload::File { file, size: size.take().unwrap_or(1316) }
        }
        (_, _, Some(_)) => return Err(Stop::misused("--file does not go with TEXT or --count".to_owned())),
        ([], None, None) => Payload::Lines,
        ([dash], None, None) if dash == b"-" => Payload::Lines,
        ([], Some(_), None) => return Err(Stop::misused("--count repeats TEXT, and there is none".to_owned())),
        ([dash], Some(_), None) if dash == b"-" => {
            return Err(Stop::misused("--count repeats TEXT: it does not go with standard input".to_owned()));
        }
        (texts, count, None) => {
            let text = texts.join(&b' ');
            let packet = if hex { hex::decode(&text).map_err(Stop::misused)? } else { text };
            Payload::Text { packet, count: count.unwrap_or(1) }
        }
    };
    if size.is_some() {
        return Err(Stop::misused("--size is for --file".to_owned()));
    }
    if hex && matches!(payload, Payload::File { .. }) {
        return Err(Stop::misused("--hex is for TEXT and lines, not for --file".to_owned()));
    }
    common.complete()?;
    Ok(Order { common, options, payload, interval, bit_time, hex })
}

#[inline(never)]
pub(crate) fn run(parser: Parser) -> Result<(), Stop> {
    let order = parse(parser)?;
    let limits = Limits::new(order.common.timeout)?;
    // Before the sockets, so that no change after it is missed.
    let mut links = Links::watch();
    let senders = Senders::open(&order.common, order.options, &limits, &mut links)?;
    let mut run = Run {
        senders,
        limits: &limits,
        pace: order.interval.map(Pace::new),
        bit_pace: order.bit_time.map(Pace::new),
        limit: order.common.limit,
        sent: 0,
        sent_bytes: 0,
        left_out: 0,
        to: order.common.targets.first().map_or_else(String::new, |target| target.address().to_string()),
        unit: if matches!(order.payload, Payload::Lines) { "line" } else { "packet" },
        was_refused: false,
        progress: Progress::new("sent", order.common.quiet),
    };
    let ended = match order.payload {
        Payload::Text { packet, count } => run.send_text(&packet, count),
        Payload::Lines => run.send_lines(order.hex),
        Payload::File { file, size } => run.send_file(file, size),
    };
    run.end(ended, &order.common)
}

struct Run<'l> {
    senders: Senders<'l>,
    limits: &'l Limits,
    pace: Option<Pace>,
    bit_pace: Option<Pace>,
    limit: Option<u64>,
    sent: u64,
    sent_bytes: u64,
    left_out: u64,
    /// The first target, for messages.
    to: String,
    /// What is sent: `line` or `packet`.
    unit: &'static str,
    /// A queue may refuse long packets alone. If it refuses two in a row, it is dead, and each one takes seconds to see it.
    was_refused: bool,
    progress: Progress,
}

impl Run<'_> {
    fn send_text(&mut self, packet: &[u8], count: u64) -> Result<(), Stop> {
        for _ in 0..count {
            if self.is_done() {
                break;
            }
            self.send(packet)?;
        }
        Ok(())
    }

    #[inline(never)]
    fn send_lines(&mut self, hex: bool) -> Result<(), Stop> {
        let mut lines = Lines::from_standard_input()?;
        let is_pollable = self.register_input(&lines)?;
        while !self.is_done() {
            match lines.next() {
                Next::Line(line) if line.is_cut() => {
                    let reason = format!("send {} bytes to {}: too long for UDP", line.length, self.to);
                    self.leave_out(line.number, &reason);
                }
                Next::Line(line) => match if hex { hex::decode(&line.bytes) } else { Ok(line.bytes) } {
                    Ok(packet) => self.send_piece(&packet, line.number)?,
                    Err(reason) => self.leave_out(line.number, &reason),
                },
                Next::Wait => {
                    if is_pollable {
                        self.wait_for_input(&lines)?;
                    }
                    lines.read()?;
                }
                Next::End => return Ok(()),
            }
            self.limits.check()?;
        }
        Ok(())
    }

    #[inline(never)]
    fn send_file(&mut self, mut file: File, size: usize) -> Result<(), Stop> {
        let mut piece = vec![0; size];
        let mut number = 0_u64;
        let is_pollable = self.register_input(&file)?;
        while !self.is_done() {
            let mut length = 0;
            while let Some(rest @ [_, ..]) = piece.get_mut(length..) {
                if is_pollable {
                    // A pipe, whose writer may be slow.
                    self.wait_for_input(&file)?;
                }
                match file.read(rest) {
                    Ok(0) => break,
                    Ok(read) => length = length.saturating_add(read),
                    Err(error) if matches!(error.kind(), Interrupted | WouldBlock) => self.limits.check()?,
                    Err(error) => return Err(failed("read --file")(error)),
                }
            }
            let Some(piece @ [_, ..]) = piece.get(..length) else { break };
            number = number.saturating_add(1);
            self.send_piece(piece, number)?;
            self.limits.check()?;
        }
        Ok(())
    }

    /// Sends one of many. If it alone cannot be sent, this is reported, and the others are.
    fn send_piece(&mut self, packet: &[u8], number: u64) -> Result<(), Stop> {
        let ended = self.send(packet);
        let is_refused = matches!(&ended, Err(Stop::Refused(error)) if error.kind() == ErrorKind::QueueRefused);
        let is_second = std::mem::replace(&mut self.was_refused, is_refused) && is_refused;
        match ended {
            Err(Stop::Refused(error)) if (is_refused && !is_second) || error.kind() == ErrorKind::TooLong => {
                self.leave_out(number, &error);
                Ok(())
            }
            ended => ended,
        }
    }

    fn leave_out(&mut self, number: u64, reason: &dyn std::fmt::Display) {
        complain(&format_args!("{} {number}: {reason}", self.unit));
        self.left_out = self.left_out.saturating_add(1);
    }

    /// Sends a packet when it is due.
    fn send(&mut self, packet: &[u8]) -> Result<(), Stop> {
        while let Some(time) = self.time_to_wait() {
            self.senders.wait(self.limits, Some(self.until_shown(time)))?;
            self.progress.show(self.sent, self.sent_bytes);
        }
        self.progress.show(self.sent, self.sent_bytes);
        self.senders.send(packet, self.limits)?;
        self.sent = self.sent.saturating_add(1);
        self.sent_bytes = self.sent_bytes.saturating_add(packet.len() as u64);
        if let Some(pace) = &mut self.pace {
            pace.sent(1);
        }
        if let Some(pace) = &mut self.bit_pace {
            // A packet has at most 65,507 bytes.
            pace.sent((packet.len() as u32).saturating_mul(8));
        }
        Ok(())
    }

    /// The time until the next packet is due, if it is not.
    fn time_to_wait(&self) -> Option<Duration> {
        [&self.pace, &self.bit_pace].into_iter().flatten().filter_map(Pace::time_left).max()
    }

    /// No more than this time, and not longer than until the progress is to be shown.
    fn until_shown(&self, time: Duration) -> Duration {
        let due = self.progress.due().map(|due| due.saturating_duration_since(Instant::now()));
        due.map_or(time, |due| due.min(time))
    }

    fn is_done(&self) -> bool {
        self.limit == Some(self.sent)
    }

    /// Whether a poller can wait for this input: regular files are always ready, and epoll refuses them.
    fn register_input(&self, input: &impl AsFd) -> Result<bool, Stop> {
        match self.senders.poller().register(input, INPUT, Interest::READABLE.oneshot()) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == ErrorKind::NotPollable => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Waits until there is something to read, or the end. One-shot, so that unread input does not end other waits.
    fn wait_for_input(&mut self, input: &impl AsFd) -> Result<(), Stop> {
        self.senders.poller().reregister(input, INPUT, Interest::READABLE.oneshot())?;
        loop {
            self.senders.wait(self.limits, Some(self.until_shown(Duration::MAX)))?;
            self.progress.show(self.sent, self.sent_bytes);
            if self.senders.is_ready(INPUT) {
                return Ok(());
            }
        }
    }

    /// Says what became of the packets.
    #[inline(never)]
    fn end(&mut self, ended: Result<(), Stop>, common: &Common) -> Result<(), Stop> {
        self.progress.clear();
        for (interface, missed) in self.senders.missed() {
            complain(&format_args!("{missed} packets did not leave on {interface}"));
        }
        if matches!(&ended, Err(Stop::Signal(_) | Stop::TimedOut)) && !common.quiet {
            complain(&format_args!("sent {}", self.sent));
        }
        #[cfg(feature = "json")]
        if common.json {
            let total = Total {
                version: crate::json::VERSION,
                kind: "total",
                sent_packets: self.sent,
                sent_bytes: self.sent_bytes,
                left_out_packets: self.left_out,
            };
            crate::output::Output::new(self.limits)?.object(&total, self.limits)?;
        }
        match (ended, self.left_out) {
            // To send until a time is what was asked for.
            (Ok(()) | Err(Stop::TimedOut), 0) => Ok(()),
            (Ok(()) | Err(Stop::TimedOut), 1) => Err(Stop::failed(format!("1 {} was not sent", self.unit))),
            (Ok(()) | Err(Stop::TimedOut), several) => Err(Stop::failed(format!("{several} {}s were not sent", self.unit))),
            (ended, _) => ended,
        }
    }
}

/// The last line with `--json`.
#[cfg(feature = "json")]
#[derive(serde::Serialize)]
struct Total {
    version: u8,
    kind: &'static str,
    /// Once for all targets and interfaces.
    sent_packets: u64,
    sent_bytes: u64,
    left_out_packets: u64,
}
