//! `mcast listen`: prints each packet that comes.

mod format;
#[cfg(feature = "json")]
mod json;

use std::cell::RefCell;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;

use lexopt::Parser;
use multicast::filter::{Always, Filter, Regex};
use multicast::{Links, Packet, Token};

use format::Format;
#[cfg(feature = "json")]
use json::{PacketObject, TotalObject};

use crate::interfaces::Names;
use crate::limits::Limits;
use crate::options::{self, Common, number_within, text, value};
use crate::output::Output;
use crate::places::{Place, places};
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
    pattern: Option<Regex>,
    mtu: usize,
    format: Format,
    metadata: bool,
}

#[inline(never)]
fn parse(mut parser: Parser) -> Result<Order, Stop> {
    let mut order = Order {
        common: Common::default(),
        blocked: Vec::new(),
        pattern: None,
        mtu: 4096,
        format: Format::Text,
        metadata: false,
    };
    while let Some(argument) = options::next(&mut parser)? {
        match argument.name() {
            "block" => order.blocked.push(value(&mut parser, "--block")?),
            "filter" => {
                let pattern = text(&mut parser, "--filter")?;
                let parsed = Regex::new(&pattern).map_err(|error| Stop::Misused(format!("--filter: {error}")));
                order.pattern = Some(parsed?);
            }
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
    let limits = Limits::new(order.common.timeout)?;
    let output = Output::new(&limits)?;
    let pattern = order.pattern.map(RefCell::new).map(Rc::new);
    let filter = || match &pattern {
        Some(pattern) => Box::new(Shared(Rc::clone(pattern))) as Box<dyn Filter>,
        None => Box::new(Always),
    };
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
    let mut printer = Printer {
        output,
        format: order.format,
        metadata: order.metadata,
        places,
        printed: 0,
        line: Vec::new(),
        names: Names::default(),
    };
    let ended = match printer.print_packets(&mut receivers, order.mtu, order.common.limit, &limits) {
        Err(Stop::TimedOut) => limits.verdict(printer.printed, order.common.limit),
        ended => ended,
    };
    // As a program that SIGPIPE ends says nothing.
    if matches!(ended, Err(Stop::OutputClosed)) {
        return ended;
    }
    let totals = receivers.totals();
    if !order.common.quiet {
        report(&totals);
    }
    // The reason why it ends is more important than that this cannot be written.
    ended.and(printer.total(&totals, &limits))
}

#[inline(never)]
fn report(totals: &Totals) {
    let Totals { received, rejected, truncated, dropped, foreign } = totals;
    let dropped = dropped.map_or_else(|| "unknown".to_owned(), |dropped| dropped.to_string());
    complain(&format_args!(
        "received {received}, rejected {rejected}, truncated {truncated}, dropped {dropped}, foreign {foreign}"
    ));
}

/// A pattern that all sockets share.
struct Shared(Rc<RefCell<Regex>>);

impl Filter for Shared {
    fn accepts(&mut self, payload: &[u8], source: SocketAddr) -> bool {
        // Never borrowed twice: a pattern calls nothing. If it were, a packet too many is better than one too few.
        self.0.try_borrow_mut().map_or(true, |mut pattern| pattern.accepts(payload, source))
    }

    fn prepare(&mut self, mtu: usize) {
        if let Ok(mut pattern) = self.0.try_borrow_mut() {
            pattern.prepare(mtu);
        }
    }
}

struct Printer {
    output: Output,
    format: Format,
    metadata: bool,
    places: Vec<Place>,
    printed: u64,
    line: Vec<u8>,
    names: Names,
}

impl Printer {
    fn print_packets(
        &mut self,
        receivers: &mut Receivers<'_>,
        mtu: usize,
        limit: Option<u64>,
        limits: &Limits,
    ) -> Result<(), Stop> {
        let mut buffer = vec![0; mtu];
        while limit != Some(self.printed) {
            match receivers.next(&mut buffer, limits, None)? {
                Next::Packet(place, packet) => {
                    self.packet(place, &packet, limits)?;
                    self.printed += 1;
                }
                Next::Ready(event) if event.is_error() || event.is_hang_up() => return Err(Stop::OutputClosed),
                Next::Ready(_) | Next::Quiet => {}
            }
        }
        Ok(())
    }

    fn packet(&mut self, place: usize, packet: &Packet<'_>, limits: &Limits) -> Result<(), Stop> {
        let place = self.places.get(place);
        #[cfg(feature = "json")]
        if self.format == Format::Json {
            return self.output.object(&PacketObject::new(place, packet, &mut self.names), limits);
        }
        self.line.clear();
        let names = self.metadata.then_some(&mut self.names);
        self.format.write(packet, place, names, &mut self.line);
        self.output.write(&self.line, limits)
    }

    fn total(&mut self, totals: &Totals, limits: &Limits) -> Result<(), Stop> {
        #[cfg(feature = "json")]
        if self.format == Format::Json {
            return self.output.object(&TotalObject::new(totals), limits);
        }
        let _ = (totals, limits);
        Ok(())
    }
}
