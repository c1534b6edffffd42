//! The command at work: packets go to their feeds, and what the feeds find is printed, served and drawn.

use std::io::{IsTerminal, stdout};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use multicast::{Interface, Packet, Token};

use super::drops::{Backlog, Dropped};
use super::exposition::{self, Subject};
use super::feed::{Feed, Notice, Rules};
#[cfg(feature = "plot")]
use super::history::History;
#[cfg(feature = "json")]
use super::json::{Happening, Report, Total};
use super::metrics::Server;
#[cfg(feature = "plot")]
use super::plot;
use super::stream::{Arrival, Origin};
use super::table::rows;
use super::text;
use crate::interfaces::Names;
use crate::limits::Limits;
use crate::options::Common;
use crate::output::Output;
use crate::receivers::{Next, Receivers};
use crate::stop::{Stop, complain};
use crate::table::Table;

const OUTPUT: Token = Token(1);
const SECOND: Duration = Duration::from_secs(1);
/// The longest payload of UDP.
const LONGEST: usize = 65_535;

/// The time since the start, and what is needed to read the clocks of others.
pub(super) struct Clock {
    started: Instant,
    pub(super) clock_rate: Option<u32>,
}

impl Clock {
    pub(super) fn now(&self) -> Duration {
        self.started.elapsed()
    }
}

pub(super) struct Watcher {
    feeds: Vec<Feed>,
    rules: Rules,
    clock: Clock,
    interval: Duration,
    /// Since the start, too.
    next_second: Duration,
    next_report: Duration,
    /// When the first group would be silent for too long. Packets that come meanwhile only make it later.
    next_alarm: Option<Duration>,
    output: Output,
    json: bool,
    quiet: bool,
    /// Whether reports are printed, as lines or objects.
    reports: bool,
    table: Option<Table>,
    names: Names,
    /// Empty between two calls. Kept, so that it needs no new memory.
    notices: Vec<Notice>,
    server: Option<Server>,
    #[cfg(feature = "plot")]
    plot: Option<(std::path::PathBuf, History)>,
    backlog: Backlog,
    has_dropped: bool,
}

impl Watcher {
    pub(super) fn new(feeds: Vec<Feed>, common: &Common, rules: Rules, interval: Duration, output: Output) -> Self {
        let is_shown = stdout().is_terminal();
        let table = if common.quiet || is_shown && common.json { None } else { Table::new() };
        Self {
            feeds,
            rules,
            clock: Clock { started: Instant::now(), clock_rate: rules.clock_rate },
            interval,
            next_second: SECOND,
            next_report: interval,
            next_alarm: None,
            output,
            json: common.json,
            quiet: common.quiet,
            reports: !(is_shown && table.is_some()),
            table,
            names: Names::default(),
            notices: Vec::new(),
            server: None,
            #[cfg(feature = "plot")]
            plot: None,
            backlog: Backlog::new(),
            has_dropped: false,
        }
    }

    /// Serves the counters from now on.
    pub(super) fn serve(&mut self, server: Server) {
        self.server = Some(server);
    }

    /// Writes a plot into this file at the end.
    #[cfg(feature = "plot")]
    pub(super) fn plot(&mut self, path: std::path::PathBuf) -> Result<(), Stop> {
        plot::check(&path)?;
        self.plot = Some((path, History::new()));
        Ok(())
    }

    /// How many packets came.
    pub(super) fn packets(&self) -> u64 {
        self.feeds.iter().fold(0, |sum, feed| sum.saturating_add(feed.packets))
    }

    /// How many alarms were raised.
    pub(super) fn alarms(&self) -> u64 {
        self.feeds.iter().fold(0, |sum, feed| sum.saturating_add(feed.alarms()))
    }

    /// Watches until the limit is reached or the program must end.
    pub(super) fn watch(&mut self, receivers: &mut Receivers<'_>, limit: Option<u64>, limits: &Limits) -> Result<(), Stop> {
        self.output.watch(receivers.poller(), OUTPUT)?;
        // The names of interfaces are looked up where any can be the one.
        let any: Vec<bool> = receivers.places().map(|place| place.interface == Interface::All).collect();
        // If there are not enough descriptors, only the first ones are watched.
        self.feeds.truncate(any.len());
        self.plan_alarm();
        let mut buffer = vec![0; LONGEST];
        let mut left = limit.unwrap_or(u64::MAX);
        while left > 0 {
            match receivers.next(&mut buffer, limits, Some(self.wake_up_at()))? {
                Next::Packet(number, packet) => {
                    let is_on_any = any.get(number).copied().unwrap_or(false);
                    self.packet(number, &packet, is_on_any, limits)?;
                    left = left.saturating_sub(u64::from(limit.is_some()));
                }
                Next::Ready(event) if event.is_error() || event.is_hang_up() => return Err(Stop::OutputClosed),
                Next::Ready(_) => {}
                Next::Quiet => self.look(receivers, limits)?,
            }
        }
        Ok(())
    }

    /// When there is something to do even if no packet comes.
    fn wake_up_at(&self) -> Instant {
        let time = self.next_second.min(self.next_report);
        let time = self.next_alarm.map_or(time, |alarm| time.min(alarm));
        // A time that an `Instant` cannot hold is never reached.
        self.clock.started.checked_add(time).unwrap_or_else(|| Instant::now() + SECOND)
    }

    /// There may be thousands of groups: so this is not done for each packet.
    fn plan_alarm(&mut self) {
        self.next_alarm = self.feeds.iter().filter_map(|feed| feed.deadline(&self.rules)).min();
    }

    fn packet(&mut self, number: usize, packet: &Packet<'_>, is_on_any: bool, limits: &Limits) -> Result<(), Stop> {
        let Some(feed) = self.feeds.get_mut(number) else { return Ok(()) };
        let now = self.clock.now();
        let metadata = packet.metadata();
        let kernel = metadata.and_then(|metadata| metadata.received_at()).unwrap_or(now);
        let arrival = Arrival { now, kernel: u64::try_from(kernel.as_nanos()).unwrap_or(u64::MAX) };
        let interface = if is_on_any { metadata.and_then(|metadata| metadata.interface) } else { None };
        // Without the index of the interface, which changes when that is created again.
        let source = SocketAddr::new(packet.source().ip(), packet.source().port());
        let origin = Origin { source, interface };
        let stream = feed.read(origin, packet.payload(), arrival, &self.rules, &mut self.notices);
        if let (Some(index), Some("")) = (interface, stream.map(|stream| stream.interface.as_str())) {
            feed.name(origin, self.names.of(index));
        }
        if self.notices.is_empty() {
            return Ok(());
        }
        self.plan_alarm();
        self.tell(number, limits)
    }

    /// What is to be done at a certain time.
    #[inline(never)]
    fn look(&mut self, receivers: &Receivers<'_>, limits: &Limits) -> Result<(), Stop> {
        let now = self.clock.now();
        let is_second = now >= self.next_second;
        for number in 0..self.feeds.len() {
            if let Some(feed) = self.feeds.get_mut(number) {
                feed.listen(now, &self.rules, &mut self.notices);
                if is_second {
                    feed.judge(now, &self.rules, &mut self.notices);
                }
            }
            self.tell(number, limits)?;
        }
        self.plan_alarm();
        if now >= self.next_report {
            self.next_report = next(self.next_report, self.interval, now);
            self.report(now, limits)?;
        }
        if is_second {
            self.next_second = next(self.next_second, SECOND, now);
            let dropped = self.dropped(receivers);
            self.say_dropped(dropped);
            #[cfg(feature = "plot")]
            if let Some((_, history)) = &mut self.plot {
                history.add(&self.feeds, now, self.rules.clock_rate);
            }
            if let Some(server) = &self.server {
                server.publish(self.exposition(dropped));
            }
            if let Some(table) = &self.table {
                table.draw(&rows(&self.feeds, &self.clock), false);
            }
        }
        Ok(())
    }

    fn dropped(&mut self, receivers: &Receivers<'_>) -> Dropped {
        Dropped { buffers: receivers.totals().dropped, backlog: self.backlog.dropped() }
    }

    /// Says once that gaps can be our own.
    fn say_dropped(&mut self, dropped: Dropped) {
        if !self.has_dropped && !dropped.is_none() {
            self.has_dropped = true;
            if !self.quiet {
                let (place, remedy) = match dropped.buffers {
                    Some(1..) => ("the receive buffer", "net.core.rmem_max"),
                    _ => ("the queue of a processor, for whatever program", "net.core.netdev_max_backlog"),
                };
                complain(&format_args!(
                    "this machine drops packets from {place}, which is full ({remedy}): gaps may be its own"
                ));
            }
        }
    }

    /// The counters for Prometheus.
    pub(super) fn exposition(&self, dropped: Dropped) -> String {
        let (feeds, clock_rate) = (self.feeds.as_slice(), self.rules.clock_rate);
        exposition::text(&Subject { feeds, now: self.clock.now(), clock_rate, dropped })
    }

    /// Prints what happened to a feed.
    fn tell(&mut self, number: usize, limits: &Limits) -> Result<(), Stop> {
        let Some(feed) = self.feeds.get(number) else { return Ok(()) };
        for notice in self.notices.drain(..) {
            let is_about_alarm =
                !matches!(notice, Notice::Came(_) | Notice::Gone(..) | Notice::Back(..) | Notice::NoRoom(_));
            let is_problem = is_about_alarm || matches!(notice, Notice::NoRoom(_)) && !self.quiet;
            if is_problem {
                complain(&text::notice(feed, &notice));
            }
            #[cfg(feature = "json")]
            if self.json {
                self.output.object(&Happening::new(feed, &notice), limits)?;
                continue;
            }
            if self.reports && !is_problem {
                self.output.write(format!("{}\n", text::notice(feed, &notice)).as_bytes(), limits)?;
            }
        }
        Ok(())
    }

    /// Reports each source that is heard, and each group that is silent.
    fn report(&mut self, now: Duration, limits: &Limits) -> Result<(), Stop> {
        let clock_rate = self.rules.clock_rate;
        for feed in &mut self.feeds {
            let rates: Vec<_> = feed.streams.iter_mut().map(|stream| stream.report(now)).collect();
            if !self.reports {
                continue;
            }
            let heard = || feed.streams.iter().zip(&rates).filter(|(stream, _)| !stream.is_gone);
            #[cfg(feature = "json")]
            if self.json {
                for (stream, rate) in heard() {
                    self.output.object(&Report::of_stream(feed, stream, *rate, now, clock_rate), limits)?;
                }
                if heard().next().is_none() {
                    self.output.object(&Report::of_silence(feed, now), limits)?;
                }
                continue;
            }
            let mut lines: String =
                heard().map(|(stream, (rate, _))| text::line(feed, stream, Some(*rate), clock_rate) + "\n").collect();
            if lines.is_empty() {
                lines = text::silent_line(feed, now) + "\n";
            }
            self.output.write(lines.as_bytes(), limits)?;
        }
        Ok(())
    }

    /// Nothing more comes: prints the totals.
    #[inline(never)]
    pub(super) fn finish(&mut self, receivers: &Receivers<'_>, limits: &Limits) -> Result<(), Stop> {
        let now = self.clock.now();
        self.output.end();
        let mut result = Ok(());
        for number in 0..self.feeds.len() {
            if let Some(feed) = self.feeds.get_mut(number) {
                feed.finish(now, &self.rules, &mut self.notices);
            }
            result = result.and(self.tell(number, limits));
        }
        let dropped = self.dropped(receivers);
        if let Some(table) = &self.table {
            table.draw(&rows(&self.feeds, &self.clock), true);
        }
        #[cfg(feature = "json")]
        if self.json {
            result = result.and(self.total_object(now, dropped, limits));
        }
        if !self.json {
            result = result.and(self.total(limits));
        }
        if !self.quiet {
            let text = |dropped: Option<u64>| dropped.map_or_else(|| "unknown".to_owned(), |dropped| dropped.to_string());
            let (buffers, backlog) = (text(dropped.buffers), text(dropped.backlog));
            let (packets, alarms) = (self.packets(), self.alarms());
            let sources = self.feeds.iter().map(|feed| feed.streams.len()).fold(0, usize::saturating_add);
            complain(&format_args!(
                "received {packets} from {sources} sources, dropped here {buffers}, by this host's backlog {backlog}, alarms {alarms}"
            ));
        }
        result
    }

    #[cfg(feature = "json")]
    fn total_object(&mut self, now: Duration, dropped: Dropped, limits: &Limits) -> Result<(), Stop> {
        self.output.object(&Total::new(&self.feeds, dropped, now, self.rules.clock_rate), limits)
    }

    /// Writes the plot, if there is to be one.
    #[cfg(feature = "plot")]
    pub(super) fn draw(&mut self) -> Result<(), Stop> {
        let Some((path, history)) = &mut self.plot else { return Ok(()) };
        let now = self.clock.now();
        history.add(&self.feeds, now, self.rules.clock_rate);
        plot::write(path, history, now)
    }

    fn total(&mut self, limits: &Limits) -> Result<(), Stop> {
        if !self.reports {
            return Ok(());
        }
        let clock_rate = self.rules.clock_rate;
        for feed in &self.feeds {
            for stream in &feed.streams {
                let line = format!("total {}\n", text::line(feed, stream, None, clock_rate));
                self.output.write(line.as_bytes(), limits)?;
            }
        }
        Ok(())
    }
}

/// The next one of times that are `step` apart: those that are over already are left out.
fn next(last: Duration, step: Duration, now: Duration) -> Duration {
    let next = last.saturating_add(step);
    if next > now { next } else { now.saturating_add(step) }
}
