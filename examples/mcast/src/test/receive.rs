//! `mcast test receive`: what became of the packets of `mcast test send`.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use lexopt::Parser;
use multicast::{Interface, Links, Packet, Token};

use super::latency::Summary;
use super::packet::{HEADER, nanoseconds, now};
use super::streams::{Added, Origin, Row, Streams};
use super::text::{Line, rows};
use crate::figures::{Bound, milliseconds, per_second, percent};
use crate::interfaces::Names;
use crate::limits::Limits;
use crate::options::{self, Common, number_within};
use crate::output::Output;
use crate::places::{Place, places};
use crate::receivers::{Next, ReceiveOrder, Receivers, Totals};
use crate::stop::{Stop, complain};
use crate::table::Table;

const OUTPUT: Token = Token(1);

/// Half a second at 100,000 packets a second: each takes 768 bytes there.
const BUFFER: usize = 64 << 20;
const INTERVAL: Duration = Duration::from_secs(1);
/// How often it looks whether all senders have ended, and how long after that packets may still be on their way.
const GLANCE: Duration = Duration::from_millis(100);
const LINGER: Duration = Duration::from_millis(300);

struct Order {
    common: Common,
    interval: Duration,
    once: bool,
    buffer: usize,
    /// In percent.
    max_loss: Option<Bound>,
    /// In milliseconds.
    max_latency: Option<Bound>,
}

#[inline(never)]
fn parse(mut parser: Parser) -> Result<Order, Stop> {
    let common = Common::default();
    let mut order = Order { common, interval: INTERVAL, once: false, buffer: BUFFER, max_loss: None, max_latency: None };
    while let Some(argument) = options::next(&mut parser)? {
        match argument.name() {
            "interval" => {
                order.interval = options::seconds(&mut parser, "--interval")?;
                if order.interval.is_zero() {
                    return Err(Stop::misused("--interval 0: give seconds, more than 0".to_owned()));
                }
            }
            "once" => order.once = true,
            "buffer" => order.buffer = number_within(&mut parser, "--buffer", 1, i32::MAX as u64)? as usize,
            "max-loss" => order.max_loss = Some(Bound::percent(&mut parser, "--max-loss")?),
            "max-latency" => order.max_latency = Some(Bound::milliseconds(&mut parser, "--max-latency")?),
            _ => order.common.take(argument, "from", &mut parser)?,
        }
    }
    order.common.complete()?;
    Ok(order)
}

#[inline(never)]
pub(super) fn run(parser: Parser) -> Result<(), Stop> {
    let order = parse(parser)?;
    let limits = Limits::new(order.common.timeout)?;
    let output = Output::new(&limits)?;
    let places = places(&order.common)?;
    let to = ReceiveOrder {
        mtu: HEADER,
        metadata: true,
        receive_buffer: Some(order.buffer),
        ..ReceiveOrder::to(places.clone(), order.common.give_up)
    };
    // Before the join, so that no change after it is missed.
    let mut links = Links::watch();
    let mut receivers = Receivers::open(to, &limits, &mut links)?;
    output.watch(receivers.poller(), OUTPUT)?;
    // As of `mcast watch`: on standard error, and then there are no lines on the same terminal.
    let is_terminal = std::io::stdout().is_terminal();
    let is_shown = !(order.common.quiet || is_terminal && order.common.json);
    let table = if is_shown { Table::new() } else { None };
    let has_lines = !(table.is_some() && is_terminal);
    let (streams, names, started) = (Streams::new(), Names::default(), Instant::now());
    let mut watch =
        Watch { order, output, places, streams, names, table, has_lines, received: 0, has_heard: false, reported: started };
    let ended = watch.until_end(&mut receivers, &limits);
    // As a program that SIGPIPE ends says nothing.
    if matches!(ended, Err(Stop::OutputClosed)) {
        return ended;
    }
    if watch.table.is_some() {
        watch.report(Instant::now(), true, &limits)?;
    }
    let ended = watch.verdict(ended, &limits);
    // The reason why it ends is more important than that this cannot be written.
    ended.and(watch.total(&receivers.totals(), &limits))
}

struct Watch {
    order: Order,
    output: Output,
    places: Vec<Place>,
    streams: Streams,
    names: Names,
    table: Option<Table>,
    /// Of the report of each second.
    has_lines: bool,
    /// Numbered packets, also duplicates.
    received: u64,
    /// Something of a stream came: if only its beginning or end, then all the rest is lost.
    has_heard: bool,
    /// When it last reported.
    reported: Instant,
}

impl Watch {
    fn until_end(&mut self, receivers: &mut Receivers<'_>, limits: &Limits) -> Result<(), Stop> {
        let mut buffer = [0; HEADER];
        let mut glance = self.order.once.then(|| Instant::now() + GLANCE);
        while self.order.common.limit.is_none_or(|limit| self.received < limit) {
            let due = self.reported.checked_add(self.order.interval);
            let until = [due, glance].into_iter().flatten().min();
            match receivers.next(&mut buffer, limits, until)? {
                Next::Packet(place, packet) => self.packet(place, &packet),
                Next::Ready(event) if event.is_error() || event.is_hang_up() => return Err(Stop::OutputClosed),
                Next::Ready(_) => {}
                Next::Quiet => {
                    let now = Instant::now();
                    if due.is_some_and(|due| due <= now) {
                        self.report(now, false, limits)?;
                    }
                    if glance.is_some_and(|glance| glance <= now) {
                        if self.streams.have_ended(LINGER, now) {
                            return Ok(());
                        }
                        glance = now.checked_add(GLANCE);
                    }
                }
            }
        }
        Ok(())
    }

    fn packet(&mut self, place: usize, packet: &Packet<'_>) {
        let metadata = packet.metadata().copied().unwrap_or_default();
        let came = metadata.received_at().map_or_else(now, nanoseconds);
        let is_on_several = self.places.get(place).is_some_and(|place| place.interface == Interface::All);
        let origin = Origin { source: packet.source(), interface: metadata.interface, is_on_several };
        let added = self.streams.add(place, origin, packet.payload(), came, Instant::now());
        self.received = self.received.saturating_add((added == Added::Number).into());
        self.has_heard |= matches!(added, Added::Number | Added::Told);
    }

    /// Prints what came since the last report.
    #[inline(never)]
    fn report(&mut self, now: Instant, is_last: bool, limits: &Limits) -> Result<(), Stop> {
        let time = now.saturating_duration_since(std::mem::replace(&mut self.reported, now));
        let mut text = String::new();
        let mut drawn = Vec::new();
        let named = self.named();
        for ((_, row), names) in self.streams.rows().zip(&named) {
            let recent = row.recent();
            let silence = (recent.is_none() && !row.stream.has_ended()).then(|| row.silence(now));
            let latency = row.stream.recent_latency();
            let line = line(row, names, Some(per_second(recent.unwrap_or(0), time)), latency, silence);
            if self.table.is_some() {
                drawn.push(line);
            }
            // A stream that has ended is reported once more.
            if is_last || !self.has_lines || (recent.is_none() && row.stream.has_ended()) {
                continue;
            }
            #[cfg(feature = "json")]
            if self.order.common.json {
                self.output.object(&super::json::Report::new(&line), limits)?;
                continue;
            }
            line.write(&mut text);
        }
        if let Some(table) = &self.table {
            table.draw(&rows(&drawn), is_last);
        }
        self.output.write(text.as_bytes(), limits)
    }

    /// The names of all rows.
    fn named(&mut self) -> Vec<Named> {
        let (places, names) = (&self.places, &mut self.names);
        self.streams.rows().map(|(place, row)| names_of(place, row, places, names)).collect()
    }

    /// Prints the sums at the end.
    #[inline(never)]
    fn total(&mut self, totals: &Totals, limits: &Limits) -> Result<(), Stop> {
        let mut text = String::new();
        let named = self.named();
        for ((_, row), names) in self.streams.rows().zip(&named) {
            let latency = row.stream.latency();
            let line = line(row, names, None, latency, None);
            #[cfg(feature = "json")]
            if self.order.common.json {
                self.output.object(&super::json::Report::new(&line), limits)?;
                continue;
            }
            line.write_total(&mut text);
        }
        let (others, beyond) = (self.streams.others(), self.streams.beyond());
        #[cfg(feature = "json")]
        if self.order.common.json {
            let total = super::json::Total::new(&self.streams.sum(), totals, others, beyond);
            self.output.object(&total, limits)?;
        }
        if !self.order.common.quiet {
            let dropped = totals.dropped.map_or_else(|| "unknown".to_owned(), |dropped| dropped.to_string());
            let received = self.received;
            complain(&format_args!("received {received}, dropped {dropped}, others {others}, beyond {beyond}"));
        }
        self.output.write(text.as_bytes(), limits)
    }

    /// What the end means.
    #[inline(never)]
    fn verdict(&mut self, ended: Result<(), Stop>, limits: &Limits) -> Result<(), Stop> {
        match ended {
            Ok(()) => {}
            // If only the beginning or the end of a stream came, all the rest is lost: this is judged below.
            Err(Stop::TimedOut) if self.has_heard && self.order.common.limit.is_none() => {}
            Err(Stop::TimedOut) => limits.verdict(self.received, self.order.common.limit)?,
            Err(stop) => return Err(stop),
        }
        let (gone, gone_latency) = self.streams.gone();
        let gone = [("streams that ended before others".to_owned(), gone, gone_latency)];
        let (places, names) = (&self.places, &mut self.names);
        let rows = self.streams.rows().map(|(place, row)| {
            let [group, interface, source] = names_of(place, row, places, names);
            (format!("{group}%{interface} {source}"), row.all_counts(), row.stream.latency())
        });
        let mut unknown = Ok(());
        for (name, counts, latency) in rows.chain(gone) {
            let (lost, expected) = (counts.lost, counts.expected());
            if let Some(bound) = &self.order.max_loss
                && bound.is_exceeded(lost, expected)
            {
                let (percent, written) = (percent(lost, expected), &bound.written);
                let reason = format!("{name}: lost {lost} of {expected} ({percent} %): --max-loss allows {written} %");
                return Err(Stop::missed(reason));
            }
            let Some(Bound { most, written }) = &self.order.max_latency else { continue };
            match latency {
                Summary::Known { max, .. } if max as f64 > most * 1e6 => {
                    let max = milliseconds(max);
                    let reason = format!("{name}: a latency of {max} ms: --max-latency allows {written} ms");
                    return Err(Stop::missed(reason));
                }
                Summary::Known { .. } | Summary::Nothing => {}
                Summary::ClocksDisagree => {
                    let reason = "--max-latency cannot be judged, since the clocks do not agree: synchronise them";
                    unknown = Err(Stop::failed(format!("{name}: {reason}")));
                }
            }
        }
        unknown
    }
}

/// The group, the interface and the source.
type Named = [String; 3];

fn names_of(place: usize, row: &Row, places: &[Place], names: &mut Names) -> Named {
    let place = places.get(place);
    let interface = row.origin.interface.map(|index| names.of(index).to_owned());
    let interface = interface.or_else(|| Some(place?.interface.to_string())).unwrap_or_default();
    [place.map(|place| place.group.to_string()).unwrap_or_default(), interface, row.origin.source.to_string()]
}

fn line<'n>(row: &Row, names: &'n Named, rate: Option<u64>, latency: Summary, silence: Option<Duration>) -> Line<'n> {
    let [group, interface, source] = names;
    let (counts, jitter, restarts) = (row.all_counts(), row.stream.jitter(), row.restarts);
    Line { group, interface, source, rate, counts, jitter, latency, restarts, silence }
}
