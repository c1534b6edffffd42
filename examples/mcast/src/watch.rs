//! `mcast watch`: watches the streams of others, and raises alarms.
//!
//! | file | has |
//! |---|---|
//! | `sequence`, `jitter`, `rtp`, `mpegts` | what packets tell: pure, without a clock |
//! | `stream`, `feed` | a source; a group on an interface, with its sources and alarms: without a clock, too |
//! | `drops` | what this machine dropped itself |
//! | `watcher` | the receivers, the clock, and what is printed when |
//! | `text`, `json`, `table` | how it is printed |
//! | `exposition`, `metrics` | the counters for Prometheus, and the server for them |
//! | `history`, `plot` | the plot: feature `plot` |

mod drops;
mod exposition;
mod feed;
#[cfg(feature = "plot")]
mod history;
mod jitter;
#[cfg(feature = "json")]
mod json;
mod metrics;
mod mpegts;
#[cfg(feature = "plot")]
mod plot;
mod rtp;
mod sequence;
mod stream;
mod table;
mod text;
mod watcher;

use std::net::SocketAddr;
use std::time::Duration;

use lexopt::{Parser, ValueExt};
use multicast::Links;

use drops::Dropped;
use feed::{Feed, Rules};
use metrics::Server;
use watcher::Watcher;

use crate::decimal;
use crate::limits::Limits;
use crate::options::{self, Common, number_within, seconds, text};
use crate::output::Output;
use crate::places::places;
use crate::receivers::{ReceiveOrder, Receivers};
use crate::stop::{Stop, complain};

pub(crate) const HELP: &str = "\
Watches the streams of others, which need no change, and raises alarms. It knows RTP and MPEG-TS by their packets.

Usage: mcast watch [--from TARGET].. [OPTION..]

  --from TARGET          [SOURCE@]GROUP[/LEN|+COUNT][:PORT][%IF], repeatable (default: 224.0.42.42:4242)
  --interval SECONDS     the time between two reports, 0.1 or more (default: 1)
  --gone SECONDS         a source that is silent for this long is gone (default: 10)
  --alarm-silence SECONDS
                         alarm if nothing comes to a group for this long, on each interface that is named
  --alarm-loss[=PERCENT] alarm if packets of RTP are lost, or MPEG-TS has continuity errors: any, or more than PERCENT within a second
  --clock-rate HZ        the clock of RTP payload types that have no fixed one, for the jitter (for example 48000)
  --metrics ADDRESS:PORT serve the counters over HTTP at /metrics, in the format OpenMetrics, for Prometheus; PORT alone is on
                         127.0.0.1, and with port 0 the system chooses one
  --plot FILE.svg        at the end, write a plot of rate, loss and jitter over the time (needs the feature `plot`)
  --limit N              end after N packets
  --timeout SECONDS      end after this time; status 3 if nothing was heard
  --interface, --json, --quiet, --give-up: see mcast --help

On a terminal it shows a table, again every second. Otherwise it prints a line for each group and source that is heard, and one for each
group that is silent. Counters are those since the start, rates those since the last report; bytes are those of UDP payloads.

RTP: lost packets did not come within 64 later ones, nor within one to two seconds. Reordered ones came in time, late ones after that. After
a jump the sequence goes on 3000 numbers away or more, so nobody knows how much was lost. Jitter is that of RFC 3550, of the last SSRC.
MPEG-TS: a continuity error is a place where packets of a PID are missing, in the order of arrival. Those that losses and reordering of
RTP explain are told apart (explained_errors) and raise no alarm themselves.

A stream counts as RTP after four packets in sequence, and as MPEG-TS after five of its packets. 64 sources of a group, 8 SSRCs and 256
PIDs of a source are told apart; those beyond are only counted, until one that is silent makes room.

An alarm is a line on standard error, and an object in --json; it is raised once, and it is said when it is over. If one was raised, the
status is 4 at the end, also after SIGINT and SIGTERM. Packets that this machine dropped itself are counted beside that: from its receive
buffers, and by the queues of its processors, which are those of all programs. If there are some, gaps may be its own.

Example:
  mcast watch --from 239.1.2.3:5000 --interface lo --alarm-silence 5 --alarm-loss --timeout 1
";

/// The most packets are dropped by a watcher that is busy for a moment. Without the capability `CAP_NET_ADMIN` the kernel grants less.
const RECEIVE_BUFFER: usize = 4 << 20;

struct Order {
    common: Common,
    rules: Rules,
    interval: Duration,
    metrics: Option<SocketAddr>,
    #[cfg(feature = "plot")]
    plot: Option<std::path::PathBuf>,
}

#[inline(never)]
fn parse(mut parser: Parser) -> Result<Order, Stop> {
    let mut order = Order {
        common: Common::default(),
        rules: Rules { gone: Duration::from_secs(10), silence: None, loss: None, clock_rate: None },
        interval: Duration::from_secs(1),
        metrics: None,
        #[cfg(feature = "plot")]
        plot: None,
    };
    while let Some(argument) = options::next(&mut parser)? {
        let rules = &mut order.rules;
        match argument.name() {
            "interval" => order.interval = at_least(&mut parser, "--interval", 100)?,
            "gone" => rules.gone = at_least(&mut parser, "--gone", 100)?,
            "alarm-silence" => rules.silence = Some(at_least(&mut parser, "--alarm-silence", 10)?),
            "alarm-loss" => rules.loss = Some(percent(&mut parser)?),
            "clock-rate" => {
                let rate = number_within(&mut parser, "--clock-rate", 1, u32::MAX.into())?;
                rules.clock_rate = u32::try_from(rate).ok();
            }
            "metrics" => {
                let address = metrics::address(&text(&mut parser, "--metrics")?);
                order.metrics = Some(address.map_err(|reason| Stop::misused(format!("--metrics: {reason}")))?);
            }
            #[cfg(feature = "plot")]
            "plot" => order.plot = Some(parser.value().map_err(|error| Stop::misused(error.to_string()))?.into()),
            #[cfg(not(feature = "plot"))]
            "plot" => {
                let reason = "--plot: this mcast was built without the feature `plot`: cargo build -p mcast --features plot";
                return Err(Stop::misused(reason.to_owned()));
            }
            _ => order.common.take(argument, "from", &mut parser)?,
        }
    }
    order.common.complete()?;
    Ok(order)
}

/// Seconds that may not be less than so many milliseconds.
fn at_least(parser: &mut Parser, option: &str, milliseconds: u64) -> Result<Duration, Stop> {
    let (time, least) = (seconds(parser, option)?, Duration::from_millis(milliseconds));
    if time < least {
        return Err(Stop::misused(format!("{option}: give {} or more", decimal::fixed(least.as_secs_f64(), 2))));
    }
    Ok(time)
}

/// The value of `--alarm-loss`, which may have none.
fn percent(parser: &mut Parser) -> Result<f64, Stop> {
    let Some(value) = parser.optional_value() else { return Ok(0.0) };
    let text = value.string().unwrap_or_default();
    let percent = decimal::parse(&text).filter(|percent| (0.0..=100.0).contains(percent));
    percent.ok_or_else(|| Stop::misused(format!("--alarm-loss={text}: give a percentage, 0 to 100, or none for any loss")))
}

#[inline(never)]
pub(crate) fn run(parser: Parser) -> Result<(), Stop> {
    let order = parse(parser)?;
    let limits = Limits::new(order.common.timeout)?;
    let output = Output::new(&limits)?;
    let places = places(&order.common)?;
    let feeds = places.iter().map(|place| Feed::new(place.group.to_string(), place.interface.to_string())).collect();
    let to = ReceiveOrder {
        metadata: true,
        receive_buffer: Some(RECEIVE_BUFFER),
        ..ReceiveOrder::to(places, order.common.give_up)
    };
    let mut watcher = Watcher::new(feeds, &order.common, order.rules, order.interval, output);
    #[cfg(feature = "plot")]
    if let Some(path) = order.plot {
        watcher.plot(path)?;
    }
    if let Some(address) = order.metrics {
        let server = Server::start(address, watcher.exposition(Dropped::default()))?;
        if !order.common.quiet {
            complain(&format_args!("the counters are at http://{}/metrics", server.address));
        }
        watcher.serve(server);
    }
    // Before the join, so that no change after it is missed.
    let mut links = Links::watch();
    let mut receivers = Receivers::open(to, &limits, &mut links)?;
    let ended = match watcher.watch(&mut receivers, order.common.limit, &limits) {
        Err(Stop::TimedOut) => limits.verdict(watcher.packets(), order.common.limit),
        ended => ended,
    };
    // As a program that SIGPIPE ends says nothing.
    let written = if matches!(ended, Err(Stop::OutputClosed)) { Ok(()) } else { watcher.finish(&receivers, &limits) };
    #[cfg(feature = "plot")]
    let written = watcher.draw().and(written);
    let ended = match (ended, watcher.alarms()) {
        (Ok(()) | Err(Stop::Signal(_) | Stop::NothingHeard | Stop::Missed(_)), alarms @ 1..) => {
            Err(Stop::missed(format!("alarms that were raised: {alarms}")))
        }
        (ended, _) => ended,
    };
    // The reason why it ends is more important than that this cannot be written.
    ended.and(written)
}
