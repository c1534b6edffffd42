//! The counters as OpenMetrics text (version 1.0.0), which Prometheus reads.

use std::fmt::Write;
use std::time::Duration;

use super::drops::Dropped;
use super::feed::Feed;
use super::stream::Stream;

/// What the text is about.
pub(super) struct Subject<'f> {
    pub(super) feeds: &'f [Feed],
    /// Since the start.
    pub(super) now: Duration,
    pub(super) clock_rate: Option<u32>,
    pub(super) dropped: Dropped,
}

/// A counter of a group on an interface, or of a source: its name without `_total`, its help, and its value.
type Counter<T> = (&'static str, &'static str, fn(&T) -> Option<u64>);

const OF_FEEDS: [Counter<Feed>; 4] = [
    ("mcast_group_packets", "Packets to the group, from all sources.", |feed| Some(feed.packets)),
    ("mcast_group_bytes", "Bytes of UDP payload to the group, from all sources.", |feed| Some(feed.bytes)),
    ("mcast_beyond_packets", "Packets from sources for which there was no room.", |feed| Some(feed.beyond)),
    ("mcast_replaced_sources", "Sources that were gone and had to make room.", |feed| Some(feed.replaced.sources)),
];

const OF_STREAMS: [Counter<Stream>; 19] = [
    ("mcast_packets", "Packets from the source.", |stream| Some(stream.packets)),
    ("mcast_bytes", "Bytes of UDP payload from the source.", |stream| Some(stream.bytes)),
    ("mcast_rtp_received_packets", "Packets of RTP, without duplicates.", |stream| of_rtp(stream, |counts| counts.received)),
    ("mcast_rtp_lost_packets", "Packets of RTP that did not come.", |stream| of_rtp(stream, |counts| counts.lost)),
    ("mcast_rtp_gaps", "Gaps in the sequence of RTP.", |stream| of_rtp(stream, |counts| counts.gaps)),
    ("mcast_rtp_reordered_packets", "Packets of RTP that came after a later one.", |stream| {
        of_rtp(stream, |counts| counts.reordered)
    }),
    ("mcast_rtp_duplicate_packets", "Packets of RTP that came again.", |stream| of_rtp(stream, |counts| counts.duplicates)),
    ("mcast_rtp_late_packets", "Packets of RTP that came after they were counted as lost.", |stream| {
        of_rtp(stream, |counts| counts.late)
    }),
    ("mcast_rtp_stray_packets", "Single packets of RTP with a number far from all others.", |stream| {
        of_rtp(stream, |counts| counts.strays)
    }),
    ("mcast_rtp_jumps", "How often the sequence of RTP went on far away.", |stream| of_rtp(stream, |counts| counts.jumps)),
    ("mcast_rtp_ssrc_changes", "How often another SSRC came.", |stream| {
        stream.rtp.is_known().then_some(stream.rtp.ssrc_changes)
    }),
    ("mcast_rtp_beyond_packets", "Packets of SSRCs for which there was no room.", |stream| {
        stream.rtp.is_known().then_some(stream.rtp.beyond)
    }),
    ("mcast_rtp_other_packets", "Packets between those of RTP that are not RTP.", |stream| {
        stream.rtp.is_known().then_some(stream.others)
    }),
    ("mcast_ts_packets", "Packets of MPEG-TS.", |stream| of_transport(stream, |counts| counts.packets)),
    ("mcast_ts_explained_errors", "Continuity errors from losses and reordering of the RTP around it.", |stream| {
        of_transport(stream, |counts| counts.explained_errors)
    }),
    ("mcast_ts_marked_errors", "Packets of MPEG-TS that are marked as damaged.", |stream| {
        of_transport(stream, |counts| counts.marked_errors)
    }),
    ("mcast_ts_sync_errors", "Places where a packet of MPEG-TS should begin and did not.", |stream| {
        of_transport(stream, |counts| counts.sync_errors)
    }),
    ("mcast_ts_repeated_packets", "Packets of MPEG-TS that were sent twice, which is allowed.", |stream| {
        of_transport(stream, |counts| counts.repeated)
    }),
    ("mcast_ts_beyond_packets", "Packets with a PID for which there was no room.", |stream| {
        of_transport(stream, |counts| counts.beyond)
    }),
];

fn of_rtp(stream: &Stream, count: fn(&super::sequence::Counts) -> u64) -> Option<u64> {
    stream.rtp.is_known().then(|| count(&stream.rtp.counts))
}

fn of_transport(stream: &Stream, count: fn(&super::mpegts::Counts) -> u64) -> Option<u64> {
    stream.transport.is_known().then(|| count(&stream.transport.counts))
}

/// The whole text.
pub(super) fn text(subject: &Subject<'_>) -> String {
    let mut text = Text(String::new());
    let feeds = subject.feeds;
    for (name, help, count) in OF_FEEDS {
        text.family(name, "counter", help);
        for feed in feeds {
            text.sample(name, "_total", &labels_of_feed(feed), count(feed));
        }
    }
    for (name, help, count) in OF_STREAMS {
        text.family(name, "counter", help);
        for (labels, stream) in streams(feeds) {
            text.sample(name, "_total", &labels, count(stream));
        }
    }
    let (name, help) = ("mcast_ts_continuity_errors", "Places where packets of MPEG-TS with this PID are missing.");
    text.family(name, "counter", help);
    for (labels, stream) in streams(feeds).filter(|(_, stream)| stream.transport.is_known()) {
        for pid in stream.transport.pids() {
            text.sample(name, "_total", &format!("{labels},pid=\"{}\"", pid.pid), Some(pid.continuity_errors));
        }
    }
    let (name, help) = ("mcast_alarms", "Alarms that were raised.");
    text.family(name, "counter", help);
    for feed in feeds {
        for (alarm, count) in [("silence", feed.silence_alarms), ("loss", feed.loss_alarms)] {
            text.sample(name, "_total", &format!("{},alarm=\"{alarm}\"", labels_of_feed(feed)), Some(count));
        }
    }
    let (name, help) = ("mcast_dropped_packets", "Packets that this machine dropped: they are no losses of the network.");
    text.family(name, "counter", help);
    text.sample(name, "_total", "", subject.dropped.buffers);
    let (name, help) =
        ("mcast_backlog_dropped_packets", "Packets of all programs that the processors' queues of this machine dropped.");
    text.family(name, "counter", help);
    text.sample(name, "_total", "", subject.dropped.backlog);
    gauges(&mut text, subject);
    text.0.push_str("# EOF\n");
    text.0
}

fn gauges(text: &mut Text, subject: &Subject<'_>) {
    let feeds = subject.feeds;
    let (name, help) = ("mcast_alarm_raised", "Whether an alarm lasts: 1 if it does.");
    text.family(name, "gauge", help);
    for feed in feeds {
        let is_lossy = feed.streams.iter().any(|stream| stream.alarmed.is_some());
        for (alarm, lasts) in [("silence", feed.is_silent), ("loss", is_lossy)] {
            text.sample(name, "", &format!("{},alarm=\"{alarm}\"", labels_of_feed(feed)), Some(u8::from(lasts)));
        }
    }
    let (name, help) = ("mcast_sources", "Sources that are heard.");
    text.family(name, "gauge", help);
    for feed in feeds {
        let heard = feed.streams.iter().filter(|stream| !stream.is_gone).count();
        text.sample(name, "", &labels_of_feed(feed), Some(heard));
    }
    let (name, help) = ("mcast_silence_seconds", "The time since the last packet to the group, or since the start.");
    text.family(name, "gauge", help);
    for feed in feeds {
        text.sample(name, "", &labels_of_feed(feed), Some(Seconds::of(feed.silence(subject.now))));
    }
    let (name, help) = ("mcast_rtp_jitter_seconds", "The jitter of RTP (RFC 3550).");
    text.family(name, "gauge", help);
    for (labels, stream) in streams(feeds) {
        let jitter = stream.rtp.jitter(subject.clock_rate);
        text.sample(name, "", &labels, jitter.map(|(now, _)| Seconds::of(Duration::from_nanos(now))));
    }
    let (name, help) = ("mcast_ts_pcr_jitter_seconds", "The jitter of the PCR against the arrivals.");
    text.family(name, "gauge", help);
    for (labels, stream) in streams(feeds).filter(|(_, stream)| stream.transport.is_known()) {
        let jitter = stream.transport.pcr_jitter();
        text.sample(name, "", &labels, jitter.map(|(now, _)| Seconds::of(Duration::from_nanos(now))));
    }
}

/// A time, printed in seconds.
struct Seconds(Duration);

impl Seconds {
    fn of(time: Duration) -> Self {
        Self(time)
    }
}

impl std::fmt::Display for Seconds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{:09}", self.0.as_secs(), self.0.subsec_nanos())
    }
}

/// All streams, each with its labels.
fn streams(feeds: &[Feed]) -> impl Iterator<Item = (String, &Stream)> {
    feeds.iter().flat_map(|feed| {
        feed.streams.iter().map(move |stream| {
            // Where any interface may be the one, that of the source is the better one.
            let interface = if stream.interface.is_empty() { &feed.interface } else { &stream.interface };
            (format!("{},source=\"{}\"", labels(&feed.group, interface), stream.origin.source), stream)
        })
    })
}

fn labels_of_feed(feed: &Feed) -> String {
    labels(&feed.group, &feed.interface)
}

fn labels(group: &str, interface: &str) -> String {
    format!("group=\"{group}\",interface=\"{}\"", escaped(interface))
}

/// The name of an interface may have any characters but white space, `/` and `:`.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

/// The text so far. Writing into it does not fail.
struct Text(String);

impl Text {
    /// Begins a metric. Its name tells its unit.
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.0, "# TYPE {name} {kind}");
        for unit in ["bytes", "seconds"] {
            if name.strip_suffix(unit).is_some_and(|rest| rest.ends_with('_')) {
                let _ = writeln!(self.0, "# UNIT {name} {unit}");
            }
        }
        let _ = writeln!(self.0, "# HELP {name} {help}");
    }

    fn sample(&mut self, name: &str, suffix: &str, labels: &str, value: Option<impl std::fmt::Display>) {
        let Some(value) = value else { return };
        let _ = if labels.is_empty() {
            writeln!(self.0, "{name}{suffix} {value}")
        } else {
            writeln!(self.0, "{name}{suffix}{{{labels}}} {value}")
        };
    }
}

#[cfg(test)]
mod tests {
    use super::super::feed::Rules;
    use super::super::stream::{Arrival, Origin};
    use super::*;

    /// A group with a source of RTP that lost a packet.
    fn feed() -> Feed {
        let rules = Rules { gone: Duration::from_secs(9), silence: None, loss: Some(0.0), clock_rate: None };
        let mut feed = Feed::new("239.1.2.3:5000".to_owned(), "a\"b\\".to_owned());
        let origin = Origin { source: "192.0.2.1:4000".parse().unwrap(), interface: None };
        for number in (0..10).chain(11..20) {
            let packet = [0x80, 33, 0, number, 0, 0, 0, 0, 0, 0, 0, 1];
            let arrival = Arrival { now: Duration::from_secs(1), kernel: u64::from(number) * 1_000_000 };
            feed.read(origin, &packet, arrival, &rules, &mut Vec::new());
        }
        feed.finish(Duration::from_secs(1), &rules, &mut Vec::new());
        feed
    }

    #[test]
    fn counters_gauges_and_units_are_as_openmetrics_has_them() {
        let feeds = [feed()];
        let subject = Subject {
            feeds: &feeds,
            now: Duration::from_millis(3_500),
            clock_rate: None,
            dropped: Dropped { buffers: Some(2), backlog: None },
        };
        let text = text(&subject);
        let labels = r#"{group="239.1.2.3:5000",interface="a\"b\\""#;
        for line in [
            "# TYPE mcast_group_bytes counter\n# UNIT mcast_group_bytes bytes\n# HELP mcast_group_bytes Bytes of UDP"
                .to_owned(),
            format!("mcast_group_packets_total{labels}}} 19"),
            format!("mcast_rtp_lost_packets_total{labels},source=\"192.0.2.1:4000\"}} 1"),
            format!("mcast_silence_seconds{labels}}} 2.500000000"),
            format!("mcast_alarms_total{labels},alarm=\"loss\"}} 1"),
            format!("mcast_alarm_raised{labels},alarm=\"loss\"}} 1"),
            format!("mcast_alarm_raised{labels},alarm=\"silence\"}} 0"),
            "# UNIT mcast_rtp_jitter_seconds seconds".to_owned(),
            "mcast_dropped_packets_total 2".to_owned(),
        ] {
            assert!(text.contains(&line), "{line} is not in\n{text}");
        }
        assert!(text.ends_with("\n# EOF\n"));
        assert_eq!(text.matches("# EOF").count(), 1);
        assert!(!text.contains("mcast_ts_packets_total{"), "what is not MPEG-TS has no counters of it");
    }

    #[test]
    fn each_metric_is_one_block_and_has_a_type() {
        let feeds = [feed(), feed()];
        let subject = Subject { feeds: &feeds, now: Duration::ZERO, clock_rate: None, dropped: Dropped::default() };
        let text = text(&subject);
        let mut names = Vec::new();
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                names.push(rest.split(' ').next().unwrap().to_owned());
            } else if !line.starts_with('#') {
                let name = line.split(['{', ' ']).next().unwrap();
                let name = name.strip_suffix("_total").unwrap_or(name);
                assert_eq!(names.last().map(String::as_str), Some(name), "{line}");
            }
        }
        let count = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), count, "a metric comes twice");
    }
}
