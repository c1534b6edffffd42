//! `mcast listen`: prints each packet that comes.

#[cfg(feature = "json")]
mod json;

use std::net::IpAddr;
use std::rc::Rc;

use lexopt::Parser;
#[cfg(not(feature = "filter"))]
use multicast::filter::{Always, Filter};
use multicast::{Links, Token};

#[cfg(feature = "json")]
use json::TotalObject;

use crate::format::{Format, Printed, Printer};
use crate::limits::Limits;
use crate::options::{self, Common, number_within, value};
use crate::output::Output;
#[cfg(feature = "filter")]
use crate::pattern;
use crate::places::{Place, places};
use crate::progress::Progress;
use crate::receivers::{Next, ReceiveOrder, Receivers, Totals};
use crate::stop::{Stop, complain};

const OUTPUT: Token = Token(1);

pub(crate) const HELP: &str = "\
Prints each packet that comes to a group.

Usage: mcast listen [--from TARGET].. [OPTION..]

  --from TARGET        [SOURCE@]GROUP[/LEN|+COUNT][:PORT][%IF], repeatable (default: 224.0.42.42:4242)
  --block SOURCE       no packets from this address; repeatable
  --filter REGEX       only packets that match from their first byte on; .*REGEX searches. In it . is any byte but a newline:
                       write (?s) before it if packets contain newlines
  --mtu N              cut packets after N bytes, 1 to 65535 (default: 4096)
  --format FORMAT      text (default): ADDRESS:PORT PAYLOAD, a line a packet; a backslash is \\\\, and a byte that is not printable
                       ASCII is \\xNN. hex: the same with the payload in hex digits. raw: payloads, and nothing between them.
                       json: as --json
  --metadata           print time, interface, destination, TTL and size before each packet
  --limit N            end after N printed packets; status 4 if --timeout comes first
  --timeout SECONDS    end after this time; status 3 if nothing was heard
  --interface, --json, --quiet, --give-up: see mcast --help

A packet that was cut ends with \\+N (in raw, it does not): N bytes are missing.

An interface must exist when mcast starts. If it goes later, mcast says so, waits, and goes on when it is back. With --interface all
it also listens on interfaces that appear later.

At its end it prints its counters to standard error: received and printed; rejected by --filter; truncated, of those received; dropped
by the kernel, since its buffer was full; foreign, which are packets that came in and that it had not joined.

Example:
  mcast listen --from 239.1.2.3:5000 --interface lo --timeout 1
";

struct Order {
    common: Common,
    blocked: Vec<IpAddr>,
    #[cfg(feature = "filter")]
    pattern: Option<multicast::filter::Regex>,
    mtu: usize,
    format: Format,
    metadata: bool,
}

#[inline(never)]
fn parse(mut parser: Parser) -> Result<Order, Stop> {
    let mut order = Order {
        common: Common::default(),
        blocked: Vec::new(),
        #[cfg(feature = "filter")]
        pattern: None,
        mtu: 4096,
        format: Format::Text,
        metadata: false,
    };
    while let Some(argument) = options::next(&mut parser)? {
        match argument.name() {
            "block" => order.blocked.push(value(&mut parser, "--block")?),
            #[cfg(feature = "filter")]
            "filter" => order.pattern = Some(pattern::parse(&mut parser)?),
            "mtu" => order.mtu = number_within(&mut parser, "--mtu", 1, 65_535)? as usize,
            "format" => order.format = value(&mut parser, "--format")?,
            "metadata" => order.metadata = true,
            _ => order.common.take(argument, "from", &mut parser)?,
        }
    }
    #[cfg(feature = "json")]
    if order.common.json || order.format == Format::Json {
        order.common.json = true;
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
    let to = ReceiveOrder {
        mtu: order.mtu,
        filter: &filter,
        metadata: order.metadata || order.common.json,
        blocked: order.blocked,
        ..ReceiveOrder::to(places.clone(), order.common.give_up)
    };
    // Before the join, so that no change after it is missed.
    let mut links = Links::watch();
    let mut receivers = Receivers::open(to, &limits, &mut links)?;
    output.watch(receivers.poller(), OUTPUT)?;
    let mut run = Run {
        printer: Printer::new(output, order.format, order.metadata),
        places,
        progress: Progress::beside_output("received", order.common.quiet),
        printed: 0,
        bytes: 0,
    };
    let ended = match run.print_packets(&mut receivers, order.mtu, order.common.limit, &limits) {
        Err(Stop::TimedOut) => limits.verdict(run.printed, order.common.limit),
        ended => ended,
    };
    run.progress.clear();
    // As a program that SIGPIPE ends says nothing.
    if matches!(ended, Err(Stop::OutputClosed)) {
        return ended;
    }
    let totals = receivers.totals();
    #[cfg(feature = "filter")]
    let undecided = pattern.as_ref().map_or(0, pattern::Pattern::undecided);
    #[cfg(feature = "filter")]
    let totals = Totals { rejected: totals.rejected.saturating_sub(undecided), ..totals };
    if !order.common.quiet {
        report(&totals);
    }
    // The reason why it ends is more important than that this cannot be written.
    #[cfg(feature = "json")]
    return ended.and(run.printer.total(&TotalObject::new(&totals), &limits));
    #[cfg(not(feature = "json"))]
    ended
}

#[inline(never)]
fn report(totals: &Totals) {
    let Totals { received, rejected, truncated, dropped, foreign } = totals;
    let dropped = dropped.map_or_else(|| "unknown".to_owned(), |dropped| dropped.to_string());
    complain(&format_args!(
        "received {received}, rejected {rejected}, truncated {truncated}, dropped {dropped}, foreign {foreign}"
    ));
}

struct Run {
    printer: Printer,
    places: Vec<Place>,
    progress: Progress,
    printed: u64,
    bytes: u64,
}

impl Run {
    fn print_packets(
        &mut self,
        receivers: &mut Receivers<'_>,
        mtu: usize,
        limit: Option<u64>,
        limits: &Limits,
    ) -> Result<(), Stop> {
        let mut buffer = vec![0; mtu];
        while limit != Some(self.printed) {
            match receivers.next(&mut buffer, limits, self.progress.due())? {
                Next::Packet(place, packet) => {
                    let place = self.places.get(place);
                    self.printer.print(&Printed { kind: "packet", place, packet, after: None }, limits)?;
                    self.printed = self.printed.saturating_add(1);
                    self.bytes = self.bytes.saturating_add(packet.wire_length() as u64);
                }
                Next::Ready(event) if event.is_error() || event.is_hang_up() => return Err(Stop::OutputClosed),
                Next::Ready(_) => {}
                Next::Quiet => self.progress.show(self.printed, self.bytes),
            }
        }
        Ok(())
    }
}
