//! `mcast test send`: sends numbered and stamped packets.

use std::fmt::Write;
use std::time::{Duration, Instant};

use lexopt::Parser;
use multicast::{Links, SendOptions};

use super::casters::{BATCH, Casters};
use super::packet::{HEADER, Kind, LONGEST};
use crate::figures::{per_second, seconds};
use crate::limits::Limits;
use crate::options::{self, Common, number, number_within, rate, value};
use crate::output::Output;
use crate::progress::Progress;
use crate::stop::Stop;

/// The default of `--rate`: 100 packets a second.
const INTERVAL: Duration = Duration::from_millis(10);
const SIZE: usize = 64;
/// The beginning is told so often, this far apart.
const REPEATS: u32 = 3;
const APART: Duration = Duration::from_millis(20);
/// The end is told once more after each of these times in milliseconds: a receiver that is full takes time to have room.
const END_AGAIN: [u64; 4] = [20, 40, 80, 160];

struct Order {
    common: Common,
    options: SendOptions,
    count: Option<u64>,
    interval: Duration,
    size: usize,
}

#[inline(never)]
fn parse(mut parser: Parser) -> Result<Order, Stop> {
    let (common, options) = (Common::default(), SendOptions::new());
    let mut order = Order { common, options, count: None, interval: INTERVAL, size: SIZE };
    while let Some(argument) = options::next(&mut parser)? {
        match argument.name() {
            "count" => order.count = Some(number(&mut parser, "--count")?),
            "rate" => order.interval = rate(&mut parser, "--rate", "packets")?,
            "size" => order.size = number_within(&mut parser, "--size", HEADER as u64, LONGEST as u64)? as usize,
            "no-loopback" => order.options = order.options.loopback(false),
            "ttl" => order.options = order.options.ttl(value(&mut parser, "--ttl")?),
            _ => order.common.take(argument, "to", &mut parser)?,
        }
    }
    order.count = [order.count, order.common.limit].into_iter().flatten().min();
    order.common.complete()?;
    Ok(order)
}

#[inline(never)]
pub(super) fn run(parser: Parser) -> Result<(), Stop> {
    let order = parse(parser)?;
    let limits = Limits::new(order.common.timeout)?;
    let output = Output::new(&limits)?;
    // Before the sockets, so that no change after it is missed.
    let mut links = Links::watch();
    let mut casters = Casters::open(&order.common, order.options, order.size, &limits, &mut links)?;
    let mut started = Instant::now();
    let ended = begin(&mut casters, &limits).and_then(|()| {
        started = Instant::now();
        send(&mut casters, &order, &limits)
    });
    let time = started.elapsed();
    casters.tell_end();
    for time in END_AGAIN {
        std::thread::sleep(Duration::from_millis(time));
        casters.tell_end();
    }
    // To send until a time is what was asked for.
    let ended = if matches!(ended, Err(Stop::TimedOut)) { Ok(()) } else { ended };
    if matches!(ended, Err(Stop::OutputClosed)) {
        return ended;
    }
    ended.and(tell(output, &casters, &order, time, &limits))
}

fn begin(casters: &mut Casters<'_>, limits: &Limits) -> Result<(), Stop> {
    for _ in 0..REPEATS {
        casters.send(Kind::Begin, 1, None, limits)?;
        casters.wait(limits, Some(APART))?;
    }
    Ok(())
}

fn send(casters: &mut Casters<'_>, order: &Order, limits: &Limits) -> Result<(), Stop> {
    let mut pace = Pace::new(order.interval);
    let mut progress = Progress::new("sent", order.common.quiet);
    while order.count.is_none_or(|count| casters.least_sent() < count) {
        match pace.due() {
            Ok(packets) => {
                casters.send(Kind::Data, packets, order.count, limits)?;
                pace.sent(packets);
            }
            Err(time) => casters.wait(limits, Some(time))?,
        }
        let sent = casters.sent().map(|(_, _, sent)| sent).sum::<u64>();
        progress.show(sent, sent.saturating_mul(order.size as u64));
    }
    Ok(())
}

/// Tells how many have left.
#[inline(never)]
fn tell(mut output: Output, casters: &Casters<'_>, order: &Order, time: Duration, limits: &Limits) -> Result<(), Stop> {
    // Without JSON, nothing in it matters here.
    let _ = order;
    let mut lines = String::new();
    for (group, interface, sent) in casters.sent() {
        #[cfg(feature = "json")]
        if order.common.json {
            output.object(&super::json::Sent::stream(group, interface, sent, time), limits)?;
            continue;
        }
        let rate = per_second(sent, time);
        let time = seconds(time);
        // Writing into a string does not fail.
        let _ = writeln!(lines, "sent {sent} packets to {group} on {interface} in {time} s: {rate}/s");
    }
    #[cfg(feature = "json")]
    if order.common.json {
        let sent = casters.sent().map(|(_, _, sent)| sent).sum();
        return output.object(&super::json::Sent::total(sent, time), limits);
    }
    output.write(lines.as_bytes(), limits)
}

/// When the next packets may go.
struct Pace {
    interval: Duration,
    /// When the next one is due; `None` is never: the time is beyond the clock's range.
    due: Option<Instant>,
}

impl Pace {
    /// How much delay is caught up, so that waits that take a little too long do not add up.
    const SLACK: Duration = Duration::from_millis(100);
    /// How long it waits at least. Packets that are due sooner leave together.
    const STEP: Duration = Duration::from_micros(400);

    fn new(interval: Duration) -> Self {
        Self { interval, due: Some(Instant::now()) }
    }

    /// How many packets may go now, at most a batch; if none, how long to wait.
    fn due(&self) -> Result<usize, Duration> {
        let Some(due) = self.due else { return Err(Duration::MAX) };
        let now = Instant::now();
        let Some(late) = now.checked_duration_since(due) else {
            let step = if self.interval < Self::STEP { Self::STEP } else { Duration::ZERO };
            return Err(due.saturating_duration_since(now).max(step));
        };
        let more = late.as_nanos().checked_div(self.interval.as_nanos());
        Ok(more.map_or(BATCH, |more| usize::try_from(more).unwrap_or(BATCH).min(BATCH - 1).saturating_add(1)))
    }

    fn sent(&mut self, packets: usize) {
        let now = Instant::now();
        let earliest = now.checked_sub(Self::SLACK).unwrap_or(now);
        let from = self.due.map_or(now, |due| due.max(earliest));
        // At most a batch.
        self.due = self.interval.checked_mul(packets as u32).and_then(|time| from.checked_add(time));
    }
}
