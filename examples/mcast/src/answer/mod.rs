//! `mcast answer`: answers what a group is asked, from the group's port, on the interface that the question came in on.

mod children;
mod manners;
mod outbox;

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::rc::Rc;
use std::time::{Duration, Instant};

use lexopt::Parser;
#[cfg(not(feature = "filter"))]
use multicast::filter::{Always, Filter};
use multicast::{Destination, Links, SendOptions, Token};

use children::{Children, Question};
use manners::Manners;
use outbox::Outbox;

use crate::format::{Format, Printed, Printer};
use crate::hex;
use crate::limits::Limits;
use crate::options::{self, Argument, Common, number_within, rate, seconds, value};
use crate::output::Output;
#[cfg(feature = "filter")]
use crate::pattern;
use crate::places::{Place, places};
use crate::receivers::{Next, ReceiveOrder, Receivers};
use crate::stop::{Stop, complain};

pub(crate) const HELP: &str = "\
Answers what a group is asked: by unicast, from the group's port, on the interface that the question came in on. It prints each question;
those that --rate leaves without an answer are only counted.

Usage: mcast answer [--from TARGET].. [OPTION..] TEXT.. | --echo | --exec COMMAND

  --from TARGET        [SOURCE@]GROUP[/LEN|+COUNT][:PORT][%IF], repeatable (default: 224.0.42.42:4242)
  --echo               the answer is the question
  --exec COMMAND       the answer is what this shell command prints, if it ends with status 0 and prints something. The question is on
                       its standard input; MCAST_SOURCE, MCAST_GROUP and MCAST_INTERFACE say who asked, what, and where
  --exec-time SECONDS  a COMMAND that takes longer is killed, with all that it started (default: 5)
  --exec-max N         at most so many at the same time, 1 to 64 (default: 8). 64 questions wait, as long as --exec-time; more get no
                       answer
  --filter REGEX       only questions that match from their first byte on; see mcast listen --help
  --rate PPS           at most so many answers a second, and a tenth of it to one address (default: 100)
  --hex                TEXT is hex digits; blanks between bytes are allowed
  --format FORMAT      how questions are printed: text (default), hex, raw, json; see mcast listen --help
  --metadata           print time, interface, destination, TTL and size before each question
  --limit N            end after N answers; status 4 if --timeout comes first
  --timeout SECONDS    end after this time; status 3 if nothing was answered
  --interface, --json, --quiet, --give-up: see mcast --help

Anybody can send a question with a forged source, and so let the answer go to somebody else. So answers are few: --rate bounds them. Keep
them short. An answer that cannot be sent is reported, once a second at most, and the next question is answered.

At its end it prints to standard error how many questions came, how many answers left, how many questions were too many (limited), and how
many got no answer for another reason (unanswered).

Example:
  mcast answer --from 239.1.2.3:5000 --interface lo --timeout 1 --exec 'tr a-z A-Z'
";

const OUTPUT: Token = Token(1);

enum Answer {
    Text(Rc<[u8]>),
    Echo,
    Exec(OsString),
}

struct Order {
    common: Common,
    answer: Answer,
    #[cfg(feature = "filter")]
    pattern: Option<multicast::filter::Regex>,
    exec_time: Duration,
    exec_max: u64,
    /// The time between two answers.
    interval: Duration,
    format: Format,
    metadata: bool,
}

#[inline(never)]
fn parse(mut parser: Parser) -> Result<Order, Stop> {
    let mut order = Order {
        common: Common::default(),
        answer: Answer::Echo,
        #[cfg(feature = "filter")]
        pattern: None,
        exec_time: Duration::from_secs(5),
        exec_max: 8,
        interval: Duration::from_millis(10),
        format: Format::Text,
        metadata: false,
    };
    let (mut texts, mut echo, mut exec, mut is_hex) = (Vec::new(), false, None, false);
    while let Some(argument) = options::next(&mut parser)? {
        match argument.name() {
            "echo" => echo = true,
            "exec" => exec = Some(parser.value().map_err(|error| Stop::misused(error.to_string()))?),
            "exec-time" => order.exec_time = seconds(&mut parser, "--exec-time")?,
            "exec-max" => order.exec_max = number_within(&mut parser, "--exec-max", 1, children::MOST)?,
            #[cfg(feature = "filter")]
            "filter" => order.pattern = Some(pattern::parse(&mut parser)?),
            "rate" => order.interval = rate(&mut parser, "--rate", "answers")?,
            "hex" => is_hex = true,
            "format" => order.format = value(&mut parser, "--format")?,
            "metadata" => order.metadata = true,
            "" => {
                if let Argument::Value(text) = argument {
                    texts.push(text.into_vec());
                }
            }
            _ => order.common.take(argument, "from", &mut parser)?,
        }
    }
    order.answer = match (texts.as_slice(), echo, exec) {
        ([], true, None) => Answer::Echo,
        ([], false, Some(command)) => Answer::Exec(command),
        ([_, ..], false, None) => {
            let text = texts.join(&b' ');
            let bytes = if is_hex { hex::decode(&text).map_err(Stop::misused)? } else { text };
            if bytes.len() > outbox::LONGEST {
                return Err(Stop::misused(format!("TEXT is too long for UDP: at most {} bytes", outbox::LONGEST)));
            }
            Answer::Text(bytes.into())
        }
        ([], false, None) => return Err(Stop::misused("say what to answer: TEXT, --echo, or --exec COMMAND".to_owned())),
        _ => return Err(Stop::misused("give one of TEXT, --echo and --exec COMMAND".to_owned())),
    };
    if is_hex && texts.is_empty() {
        return Err(Stop::misused("--hex is for TEXT".to_owned()));
    }
    #[cfg(feature = "json")]
    if order.common.json {
        order.format = Format::Json;
    }
    order.common.complete()?;
    Ok(order)
}

#[inline(never)]
pub(crate) fn run(parser: Parser) -> Result<(), Stop> {
    let order = parse(parser)?;
    let limits = Rc::new(Limits::new(order.common.timeout)?);
    let output = Output::new(&limits)?;
    #[cfg(feature = "filter")]
    let pattern = order.pattern.map(|regex| pattern::Pattern::new(regex, Rc::clone(&limits)));
    #[cfg(feature = "filter")]
    let filter = || pattern::Pattern::filter(pattern.as_ref());
    #[cfg(not(feature = "filter"))]
    let filter = || Box::new(Always) as Box<dyn Filter>;
    let places = places(&order.common)?;
    let to = ReceiveOrder { filter: &filter, metadata: true, ..ReceiveOrder::to(places.clone(), order.common.give_up) };
    // Before the join, so that no change after it is missed.
    let mut links = Links::watch();
    let mut receivers = Receivers::open(to, &limits, &mut links)?;
    output.watch(receivers.poller(), OUTPUT)?;
    let mut run = Run {
        outbox: Outbox::new(receivers.senders(SendOptions::new())?, order.common.quiet),
        children: Children::new(order.exec_max as usize, order.exec_time),
        manners: Manners::new(order.interval, Instant::now()),
        printer: Printer::new(output, order.format, order.metadata),
        places,
        answer: order.answer,
        limits: &limits,
        asked: 0,
        limited: 0,
    };
    let ended = run.answer(&mut receivers, order.common.limit);
    let unanswered = run.children.end();
    run.outbox.end(unanswered);
    run.end(ended, &order.common)
}

struct Run<'l> {
    outbox: Outbox,
    children: Children,
    manners: Manners,
    printer: Printer,
    places: Vec<Place>,
    answer: Answer,
    limits: &'l Limits,
    asked: u64,
    /// Questions that got no answer, since there were too many.
    limited: u64,
}

impl Run<'_> {
    fn answer(&mut self, receivers: &mut Receivers<'_>, limit: Option<u64>) -> Result<(), Stop> {
        let mut buffer = vec![0; usize::from(u16::MAX)];
        while limit.is_none_or(|limit| self.outbox.sent < limit) {
            let until = [self.outbox.due(), self.children.due()].into_iter().flatten().min();
            match receivers.next(&mut buffer, self.limits, until)? {
                Next::Packet(number, packet) => {
                    let question = self.consider(number, &packet)?;
                    if let (Some(question), Answer::Exec(command)) = (question, &self.answer) {
                        self.children.ask(question, command, receivers.poller(), &mut self.outbox);
                    }
                }
                Next::Ready(event) if event.token() == OUTPUT => {
                    if event.is_error() || event.is_hang_up() {
                        return Err(Stop::OutputClosed);
                    }
                }
                Next::Ready(event) => self.children.ready(event.token(), receivers.poller()),
                Next::Quiet => {}
            }
            if let Answer::Exec(command) = &self.answer {
                self.children.tend(command, receivers.poller(), &mut self.outbox);
            }
            self.outbox.send();
        }
        Ok(())
    }

    /// Answers the question, or returns it for a command.
    fn consider(&mut self, number: usize, packet: &multicast::Packet<'_>) -> Result<Option<Question>, Stop> {
        self.asked = self.asked.saturating_add(1);
        if !self.manners.may_ask(packet.source().ip(), Instant::now()) {
            self.limited = self.limited.saturating_add(1);
            return Ok(None);
        }
        let place = self.places.get(number);
        let mut question = None;
        match Destination::answering(packet) {
            Ok(to) => match &self.answer {
                Answer::Text(text) => self.outbox.push(number, to, Rc::clone(text)),
                Answer::Echo => self.outbox.push(number, to, packet.payload().into()),
                Answer::Exec(_) => {
                    let interface = packet.metadata().and_then(|metadata| metadata.interface);
                    question = Some(Question {
                        number,
                        to,
                        source: packet.source(),
                        group: place.map_or_else(String::new, |place| place.group.to_string()),
                        interface: interface.map_or_else(String::new, |index| self.printer.name_of(index).to_owned()),
                        payload: packet.payload().into(),
                        since: Instant::now(),
                    });
                }
            },
            Err(error) => self.outbox.failed(&format_args!("question from {}: {error}", packet.source())),
        }
        self.outbox.send();
        // After the answer, which must not wait for a slow reader of standard output.
        self.printer.print(&Printed { kind: "question", place, packet: *packet, after: None }, self.limits)?;
        Ok(question)
    }

    /// Says how much was asked and answered.
    #[inline(never)]
    fn end(&mut self, ended: Result<(), Stop>, common: &Common) -> Result<(), Stop> {
        if matches!(ended, Err(Stop::OutputClosed)) {
            return ended;
        }
        let Self { asked, limited, outbox: Outbox { sent, unanswered, .. }, .. } = self;
        if !common.quiet {
            complain(&format_args!("asked {asked}, answered {sent}, limited {limited}, unanswered {unanswered}"));
        }
        let ended = match (ended, common.limit, *sent) {
            (Err(Stop::TimedOut), _, 0) => Err(Stop::Unanswered),
            (Err(Stop::TimedOut), Some(limit), sent) if sent < limit => {
                Err(Stop::missed(format!("the time is up: {sent} of {limit} answers left")))
            }
            (Err(Stop::TimedOut), ..) => Ok(()),
            (ended, ..) => ended,
        };
        #[cfg(feature = "json")]
        let ended = ended.and(self.printer.total(
            &Total {
                version: crate::json::VERSION,
                kind: "total",
                questions: *asked,
                answers: *sent,
                limited_questions: *limited,
                unanswered_questions: *unanswered,
            },
            self.limits,
        ));
        ended
    }
}

/// The last line with `--json`.
#[cfg(feature = "json")]
#[derive(serde::Serialize)]
struct Total {
    version: u8,
    kind: &'static str,
    questions: u64,
    answers: u64,
    /// Got no answer, since there were too many.
    limited_questions: u64,
    /// The command had no answer, or it could not be sent.
    unanswered_questions: u64,
}
