//! `mcast ask`: asks a group, and prints the answers, which come to a port of its own.

use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};
use std::os::unix::ffi::OsStringExt;
use std::time::{Duration, Instant};

use lexopt::Parser;
use multicast::{Interest, Links, Packet, Received, SendOptions, Token};

use crate::format::{Format, Printed, Printer};
use crate::limits::Limits;
use crate::options::{self, Argument, Common, number, number_within, seconds, value};
use crate::output::Output;
use crate::progress::Progress;
use crate::senders::{Replies, Senders};
use crate::stop::{Stop, complain};
use crate::{hex, input};

pub(crate) const HELP: &str = "\
Asks a group, and prints the answers as they come: what is sent back, by unicast, to the port that the question came from.

Usage: mcast ask [--to TARGET].. [OPTION..] TEXT.. | -

TEXT is the question, one packet; with -, all of standard input is. Write -- before a TEXT that begins with a dash.

  --to TARGET          [SOURCE@]GROUP[/LEN|+COUNT][:PORT][%IF], repeatable: all are asked (default: 224.0.42.42:4242).
                       SOURCE is an address of this machine to ask from
  --interface IF       repeatable: the question leaves on all of them; all is every interface that is up
  --wait SECONDS       how long to wait for answers after the last question (default: 1). No answer makes it longer
  --min N              status 4 if fewer than N answers came
  --limit N            end when N answers have come, without waiting for more; status 4 if fewer came
  --repeat N           ask N times (default: 1); what was answered before by the same source, byte for byte, is only counted
  --every SECONDS      the time between two questions of --repeat (default: 1)
  --ttl TTL            how far, as of mcast send (default: subnet)
  --hex                TEXT is hex digits; blanks between bytes are allowed
  --format FORMAT      text (default): ADDRESS:PORT PAYLOAD, a line an answer; hex, raw, json: see mcast listen --help
  --timeout SECONDS    end after this time, whatever is left to ask or to wait for
  --interface, --json, --quiet, --give-up: see mcast --help

Status 3: nothing was answered. At its end it prints to standard error how many questions left, how many answers came, how many of them
were repeated, how many other packets came to its ports (broadcasts, and what routers reported about the questions), and, if any, how
many the kernel dropped since its buffer was full.

Example:
  mcast ask --to 239.1.2.3:5000 --interface lo --wait 0.5 who is there
";

/// The first of the sockets' tokens.
const REPLIES: u64 = 16;
const OUTPUT: Token = Token(1);
/// How many packets are read from one socket before the others are looked at.
const TURN: u32 = 64;
/// How many answers are remembered, to see which are repeated.
const REMEMBERED: usize = 4_096;

struct Order {
    common: Common,
    options: SendOptions,
    /// `None` is standard input.
    question: Option<Vec<u8>>,
    hex: bool,
    wait: Duration,
    min: Option<u64>,
    repeat: u64,
    every: Duration,
    format: Format,
}

#[inline(never)]
fn parse(mut parser: Parser) -> Result<Order, Stop> {
    let mut order = Order {
        common: Common::default(),
        options: SendOptions::new(),
        question: None,
        hex: false,
        wait: Duration::from_secs(1),
        min: None,
        repeat: 1,
        every: Duration::from_secs(1),
        format: Format::Text,
    };
    let mut texts = Vec::new();
    while let Some(argument) = options::next(&mut parser)? {
        match argument.name() {
            "wait" => order.wait = seconds(&mut parser, "--wait")?,
            "min" => order.min = Some(number(&mut parser, "--min")?),
            "repeat" => order.repeat = number_within(&mut parser, "--repeat", 1, u64::MAX)?,
            "every" => order.every = seconds(&mut parser, "--every")?,
            "ttl" => order.options = order.options.ttl(value(&mut parser, "--ttl")?),
            "hex" => order.hex = true,
            "format" => order.format = value(&mut parser, "--format")?,
            "" => {
                if let Argument::Value(text) = argument {
                    texts.push(text.into_vec());
                }
            }
            _ => order.common.take(argument, "to", &mut parser)?,
        }
    }
    #[cfg(feature = "json")]
    if order.common.json {
        order.format = Format::Json;
    }
    options::expect_no_group(texts.first(), &order.common)?;
    order.question = match texts.as_slice() {
        [] => return Err(Stop::misused("write the question, or - to read it from standard input".to_owned())),
        [dash] if dash == b"-" => None,
        texts => Some(decoded(texts.join(&b' '), order.hex).map_err(Stop::misused)?),
    };
    if let (Some(limit), Some(min)) = (order.common.limit, order.min)
        && limit < min
    {
        return Err(Stop::misused(format!("--limit {limit} ends before --min {min} is reached: give at least {min}")));
    }
    order.common.complete()?;
    Ok(order)
}

fn decoded(text: Vec<u8>, hex: bool) -> Result<Vec<u8>, String> {
    if hex { hex::decode(&text) } else { Ok(text) }
}

#[inline(never)]
pub(crate) fn run(parser: Parser) -> Result<(), Stop> {
    let order = parse(parser)?;
    let limits = Limits::new(order.common.timeout)?;
    let output = Output::new(&limits)?;
    // Before the sockets, so that no change after it is missed.
    let mut links = Links::watch();
    let (senders, replies) = Senders::open_with_replies(&order.common, order.options, &limits, &mut links)?;
    output.watch(senders.poller(), OUTPUT)?;
    for (number, replies) in (REPLIES..).zip(&replies) {
        senders.poller().register(&**replies, Token(number), Interest::READABLE)?;
    }
    let question = match order.question {
        Some(question) => question,
        None => decoded(input::all(&limits)?, order.hex).map_err(Stop::failed)?,
    };
    let mut run = Run {
        senders,
        replies,
        limits: &limits,
        printer: Printer::new(output, order.format, false),
        progress: Progress::beside_output("received", order.common.quiet),
        limit: order.common.limit,
        is_repeated: order.repeat > 1,
        known: Known::default(),
        asked: Instant::now(),
        questions: 0,
        answers: 0,
        bytes: 0,
    };
    let mut ended = Ok(());
    for left in (0..order.repeat).rev() {
        let pause = if left == 0 { order.wait } else { order.every };
        ended = run.ask(&question).and_then(|()| run.print_answers(pause));
        if ended.is_err() || run.is_done() {
            break;
        }
    }
    run.end(ended, &order.common, order.min.unwrap_or(1))
}

struct Run<'l> {
    senders: Senders<'l>,
    /// Those of the senders, with the same numbers.
    replies: Vec<Box<Replies>>,
    limits: &'l Limits,
    printer: Printer,
    progress: Progress,
    limit: Option<u64>,
    is_repeated: bool,
    known: Known,
    /// When the last question left.
    asked: Instant,
    questions: u64,
    answers: u64,
    bytes: u64,
}

impl Run<'_> {
    fn ask(&mut self, question: &[u8]) -> Result<(), Stop> {
        self.asked = Instant::now();
        self.senders.send(question, self.limits)?;
        self.questions = self.questions.saturating_add(1);
        Ok(())
    }

    /// Prints answers for this time, or until there are enough.
    fn print_answers(&mut self, time: Duration) -> Result<(), Stop> {
        let begin = Instant::now();
        while !self.is_done() {
            let left = time.saturating_sub(begin.elapsed());
            let due = self.progress.due().map(|due| due.saturating_duration_since(Instant::now()));
            let waited = self.senders.wait(self.limits, Some(due.map_or(left, |due| due.min(left))));
            // Also if the time is up: what has come is printed.
            let ready: Vec<_> = self.senders.ready().collect();
            for event in ready {
                match event.token() {
                    OUTPUT if event.is_error() || event.is_hang_up() => return Err(Stop::OutputClosed),
                    Token(token @ REPLIES..) => self.receive((token - REPLIES) as usize, event.is_error())?,
                    _ => {}
                }
            }
            waited?;
            self.progress.show(self.answers, self.bytes);
            if left.is_zero() {
                break;
            }
        }
        Ok(())
    }

    /// Prints what has come to a socket.
    fn receive(&mut self, number: usize, is_error: bool) -> Result<(), Stop> {
        for _ in 0..TURN {
            if self.is_done() {
                return Ok(());
            }
            let Some(replies) = self.replies.get_mut(number) else { return Ok(()) };
            match replies.recv()? {
                Received::Packet(packet) => {
                    if self.is_repeated && self.known.has(&packet) {
                        continue;
                    }
                    self.answers = self.answers.saturating_add(1);
                    self.bytes = self.bytes.saturating_add(packet.wire_length() as u64);
                    let after = Some(self.asked.elapsed());
                    self.printer.print(&Printed { kind: "answer", place: None, packet, after }, self.limits)?;
                }
                Received::Paused => {}
                Received::Empty => {
                    if is_error {
                        self.senders.forget_errors(number);
                    }
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    fn is_done(&self) -> bool {
        self.limit == Some(self.answers)
    }

    /// Says how much was asked and answered.
    #[inline(never)]
    fn end(&mut self, ended: Result<(), Stop>, common: &Common, min: u64) -> Result<(), Stop> {
        self.progress.clear();
        if matches!(ended, Err(Stop::OutputClosed)) {
            return ended;
        }
        for (interface, missed) in self.senders.missed() {
            complain(&format_args!("{missed} questions did not leave on {interface}"));
        }
        let (mut strangers, mut dropped) = (0_u64, Some(0_u64));
        for replies in &self.replies {
            let counters = replies.counters();
            strangers = strangers.saturating_add(counters.foreign);
            dropped = dropped.and_then(|sum| Some(sum.saturating_add(counters.dropped?)));
        }
        let (questions, answers, repeated) = (self.questions, self.answers, self.known.repeated);
        if !common.quiet {
            let lost = match dropped {
                Some(0) | None => String::new(),
                Some(dropped) => format!(", dropped {dropped}"),
            };
            complain(&format_args!("asked {questions}, answers {answers}, repeated {repeated}, others {strangers}{lost}"));
        }
        let wanted = common.limit.map_or(min, |limit| limit.max(min));
        let ended = match ended {
            Ok(()) | Err(Stop::TimedOut) if common.limit == Some(0) => Ok(()),
            Ok(()) | Err(Stop::TimedOut) => match answers {
                0 => Err(Stop::Unanswered),
                some if some < wanted => Err(Stop::missed(format!("{some} of {wanted} answers came"))),
                _ => Ok(()),
            },
            ended => ended,
        };
        #[cfg(feature = "json")]
        let ended = ended.and(self.printer.total(
            &Total {
                version: crate::json::VERSION,
                kind: "total",
                questions,
                answers,
                repeated_answers: repeated,
                other_packets: strangers,
                dropped_packets: dropped,
            },
            self.limits,
        ));
        ended
    }
}

/// Answers that have come, in a bounded number: of more, the oldest are forgotten.
#[derive(Default)]
struct Known {
    /// Their hashes; nobody can choose two answers with the same one.
    hashes: VecDeque<u64>,
    hasher: RandomState,
    repeated: u64,
}

impl Known {
    /// Whether the same source has sent the same before. If so, it is counted.
    fn has(&mut self, packet: &Packet<'_>) -> bool {
        let hash = self.hasher.hash_one((packet.source(), packet.payload()));
        if self.hashes.contains(&hash) {
            self.repeated = self.repeated.saturating_add(1);
            return true;
        }
        if self.hashes.len() >= REMEMBERED {
            self.hashes.pop_front();
        }
        self.hashes.push_back(hash);
        false
    }
}

/// The last line with `--json`.
#[cfg(feature = "json")]
#[derive(serde::Serialize)]
struct Total {
    version: u8,
    kind: &'static str,
    /// Once for all targets and interfaces.
    questions: u64,
    answers: u64,
    /// Not printed, and not among the answers.
    repeated_answers: u64,
    /// Broadcasts, and reports of the network.
    other_packets: u64,
    /// Null if the kernel is too old to report it.
    dropped_packets: Option<u64>,
}
