//! Reports and notices as JSON.

use std::time::{Duration, SystemTime};

use serde::Serialize;

use super::drops::Dropped;
use super::feed::{Feed, Notice};
use super::mpegts::{Pid, Transport};
use super::rtp::Rtp;
use super::stream::{Loss, Origin, Rate, Stream};
use super::text::notice as text_of;
use super::{mpegts, sequence};
use crate::json::{VERSION, microseconds, whole_microseconds};

/// Nanoseconds since 1970.
fn time() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// `kind` is `report`: about one source, or about a group that is silent. Counters are those since the start, rates those since the last
/// report.
#[derive(Serialize)]
pub(super) struct Report<'f> {
    version: u8,
    kind: &'static str,
    time_ns: u64,
    group: &'f str,
    interface: &'f str,
    silent_us: u64,
    #[serde(flatten)]
    source: Option<Source<'f>>,
    packets_per_second: f64,
    bits_per_second: f64,
    lost_percent: f64,
}

impl<'f> Report<'f> {
    pub(super) fn of_stream(
        feed: &'f Feed,
        stream: &'f Stream,
        (rate, loss): (Rate, Loss),
        now: Duration,
        clock_rate: Option<u32>,
    ) -> Self {
        Self {
            silent_us: whole_microseconds(now.saturating_sub(stream.heard)),
            source: Some(Source::new(stream, clock_rate, false)),
            packets_per_second: rate.packets,
            bits_per_second: rate.bits,
            lost_percent: loss.percent,
            ..Self::of_silence(feed, now)
        }
    }

    pub(super) fn of_silence(feed: &'f Feed, now: Duration) -> Self {
        Self {
            version: VERSION,
            kind: "report",
            time_ns: time(),
            group: &feed.group,
            interface: &feed.interface,
            silent_us: whole_microseconds(feed.silence(now)),
            source: None,
            packets_per_second: 0.0,
            bits_per_second: 0.0,
            lost_percent: 0.0,
        }
    }
}

/// What is counted of a source.
#[derive(Serialize)]
struct Source<'f> {
    source: String,
    /// Where it is heard, if that can be any interface.
    #[serde(skip_serializing_if = "str::is_empty")]
    source_interface: &'f str,
    format: &'static str,
    received_packets: u64,
    received_bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    rtp: Option<RtpPart>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mpegts: Option<TransportPart>,
}

impl<'f> Source<'f> {
    fn new(stream: &'f Stream, clock_rate: Option<u32>, all_pids: bool) -> Self {
        let transport = &stream.transport;
        Self {
            source: stream.origin.source.to_string(),
            source_interface: &stream.interface,
            format: stream.format(),
            received_packets: stream.packets,
            received_bytes: stream.bytes,
            rtp: stream.rtp.identity().map(|identity| RtpPart::new(identity, &stream.rtp, stream.others, clock_rate)),
            mpegts: transport.is_known().then(|| TransportPart::new(transport, all_pids)),
        }
    }
}

#[derive(Serialize)]
struct RtpPart {
    ssrc: u32,
    payload_type: u8,
    #[serde(flatten)]
    counts: RtpCounts,
    ssrc_changes: u64,
    /// Packets of SSRCs for which there was no room.
    beyond_packets: u64,
    /// Packets that are not RTP.
    other_packets: u64,
    /// Null if the clock rate is not known.
    jitter_us: Option<f64>,
    jitter_max_us: Option<f64>,
}

impl RtpPart {
    fn new((ssrc, payload_type): (u32, u8), rtp: &Rtp, others: u64, clock_rate: Option<u32>) -> Self {
        let jitter = rtp.jitter(clock_rate);
        Self {
            ssrc,
            payload_type,
            counts: RtpCounts::new(&rtp.counts),
            ssrc_changes: rtp.ssrc_changes,
            beyond_packets: rtp.beyond,
            other_packets: others,
            jitter_us: jitter.map(|(now, _)| microseconds(now)),
            jitter_max_us: jitter.map(|(_, highest)| microseconds(highest)),
        }
    }
}

#[derive(Serialize)]
struct RtpCounts {
    received_packets: u64,
    lost_packets: u64,
    gaps: u64,
    reordered_packets: u64,
    duplicate_packets: u64,
    late_packets: u64,
    stray_packets: u64,
    jumps: u64,
}

impl RtpCounts {
    fn new(counts: &sequence::Counts) -> Self {
        Self {
            received_packets: counts.received,
            lost_packets: counts.lost,
            gaps: counts.gaps,
            reordered_packets: counts.reordered,
            duplicate_packets: counts.duplicates,
            late_packets: counts.late,
            stray_packets: counts.strays,
            jumps: counts.jumps,
        }
    }
}

#[derive(Serialize)]
struct TransportPart {
    #[serde(flatten)]
    counts: TransportCounts,
    pid_count: usize,
    pcr_jitter_us: Option<f64>,
    pcr_jitter_max_us: Option<f64>,
    /// In a report, only those with continuity errors.
    pids: Vec<PidPart>,
}

impl TransportPart {
    fn new(transport: &Transport, all_pids: bool) -> Self {
        let (jitter, pids) = (transport.pcr_jitter(), transport.pids());
        Self {
            counts: TransportCounts::new(&transport.counts),
            pid_count: pids.len(),
            pcr_jitter_us: jitter.map(|(now, _)| microseconds(now)),
            pcr_jitter_max_us: jitter.map(|(_, highest)| microseconds(highest)),
            pids: pids.iter().filter(|pid| all_pids || pid.continuity_errors > 0).map(PidPart::new).collect(),
        }
    }
}

#[derive(Serialize)]
struct TransportCounts {
    ts_packets: u64,
    continuity_errors: u64,
    /// Those of them that come from losses and reordering of the RTP around it.
    explained_errors: u64,
    marked_errors: u64,
    sync_errors: u64,
    repeated_ts_packets: u64,
    stuffing_ts_packets: u64,
    beyond_ts_packets: u64,
}

impl TransportCounts {
    fn new(counts: &mpegts::Counts) -> Self {
        Self {
            ts_packets: counts.packets,
            continuity_errors: counts.continuity_errors,
            explained_errors: counts.explained_errors,
            marked_errors: counts.marked_errors,
            sync_errors: counts.sync_errors,
            repeated_ts_packets: counts.repeated,
            stuffing_ts_packets: counts.stuffing,
            beyond_ts_packets: counts.beyond,
        }
    }
}

#[derive(Serialize)]
struct PidPart {
    pid: u16,
    ts_packets: u64,
    continuity_errors: u64,
}

impl PidPart {
    fn new(pid: &Pid) -> Self {
        Self { pid: pid.pid, ts_packets: pid.packets, continuity_errors: pid.continuity_errors }
    }
}

/// `kind` is `source` for one that comes or goes, and `alarm` for an alarm that is raised or over.
#[derive(Serialize)]
pub(super) struct Happening<'f> {
    version: u8,
    kind: &'static str,
    time_ns: u64,
    group: &'f str,
    interface: &'f str,
    source: Option<String>,
    /// Where it is heard, if that can be any interface.
    #[serde(skip_serializing_if = "str::is_empty")]
    source_interface: &'f str,
    /// Of a source: `came`, `gone`, `back` or `no room`.
    #[serde(skip_serializing_if = "Option::is_none")]
    event: Option<&'static str>,
    /// `silence` or `loss` ..
    #[serde(skip_serializing_if = "Option::is_none")]
    alarm: Option<&'static str>,
    /// .. and whether it is `raised` or `over`.
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    silent_us: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lost_packets: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    continuity_errors: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lost_percent: Option<f64>,
    text: String,
}

impl<'f> Happening<'f> {
    pub(super) fn new(feed: &'f Feed, notice: &Notice) -> Self {
        let base = |kind, origin: Option<Origin>| Self {
            version: VERSION,
            kind,
            time_ns: time(),
            group: &feed.group,
            interface: &feed.interface,
            source: origin.map(|origin| origin.source.to_string()),
            source_interface: origin.and_then(|origin| feed.stream(origin)).map_or("", |stream| &stream.interface),
            event: None,
            alarm: None,
            state: None,
            silent_us: None,
            lost_packets: None,
            continuity_errors: None,
            lost_percent: None,
            text: text_of(feed, notice),
        };
        let source = |origin: &Origin, event, silence: Option<&Duration>| Self {
            event: Some(event),
            silent_us: silence.map(|silence| whole_microseconds(*silence)),
            ..base("source", Some(*origin))
        };
        let alarm = |origin: Option<&Origin>, alarm, state| Self {
            alarm: Some(alarm),
            state: Some(state),
            ..base("alarm", origin.copied())
        };
        match notice {
            Notice::Came(origin) => source(origin, "came", None),
            Notice::Gone(origin, silence) => source(origin, "gone", Some(silence)),
            Notice::Back(origin, silence) => source(origin, "back", Some(silence)),
            Notice::NoRoom(origin) => source(origin, "no room", None),
            Notice::Silent(silence) => {
                Self { silent_us: Some(whole_microseconds(*silence)), ..alarm(None, "silence", "raised") }
            }
            Notice::HeardAgain(silence) => {
                Self { silent_us: Some(whole_microseconds(*silence)), ..alarm(None, "silence", "over") }
            }
            Notice::Lost(origin, loss) => Self {
                lost_packets: Some(loss.packets),
                continuity_errors: Some(loss.continuity_errors),
                lost_percent: Some(loss.percent),
                ..alarm(Some(origin), "loss", "raised")
            },
            Notice::Calm(origin) => alarm(Some(origin), "loss", "over"),
        }
    }
}

/// `kind` is `total`: the last object.
#[derive(Serialize)]
pub(super) struct Total<'f> {
    version: u8,
    kind: &'static str,
    time_ns: u64,
    duration_us: u64,
    received_packets: u64,
    /// Packets that this machine dropped, since the watcher was too slow: they are no losses of the network. Null if the kernel is too
    /// old to report it.
    dropped_packets: Option<u64>,
    /// Packets of all programs that the processors' queues of this machine dropped: those that are missing can be among them.
    backlog_dropped_packets: Option<u64>,
    alarms: u64,
    groups: Vec<Group<'f>>,
}

impl<'f> Total<'f> {
    pub(super) fn new(feeds: &'f [Feed], dropped: Dropped, duration: Duration, clock_rate: Option<u32>) -> Self {
        let sum = |count: fn(&Feed) -> u64| feeds.iter().map(count).fold(0, u64::saturating_add);
        Self {
            version: VERSION,
            kind: "total",
            time_ns: time(),
            duration_us: whole_microseconds(duration),
            received_packets: sum(|feed| feed.packets),
            dropped_packets: dropped.buffers,
            backlog_dropped_packets: dropped.backlog,
            alarms: sum(Feed::alarms),
            groups: feeds.iter().map(|feed| Group::new(feed, clock_rate)).collect(),
        }
    }
}

#[derive(Serialize)]
struct Group<'f> {
    group: &'f str,
    interface: &'f str,
    received_packets: u64,
    received_bytes: u64,
    silence_alarms: u64,
    loss_alarms: u64,
    /// Packets of sources for which there was no room.
    beyond_packets: u64,
    /// How many sources are gone and had to make room, and what was counted of them.
    replaced_sources: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    replaced_rtp: Option<RtpCounts>,
    #[serde(skip_serializing_if = "Option::is_none")]
    replaced_mpegts: Option<TransportCounts>,
    sources: Vec<Source<'f>>,
}

impl<'f> Group<'f> {
    fn new(feed: &'f Feed, clock_rate: Option<u32>) -> Self {
        let replaced = &feed.replaced;
        Self {
            group: &feed.group,
            interface: &feed.interface,
            received_packets: feed.packets,
            received_bytes: feed.bytes,
            silence_alarms: feed.silence_alarms,
            loss_alarms: feed.loss_alarms,
            beyond_packets: feed.beyond,
            replaced_sources: replaced.sources,
            replaced_rtp: (replaced.sources > 0).then(|| RtpCounts::new(&replaced.rtp)),
            replaced_mpegts: (replaced.sources > 0).then(|| TransportCounts::new(&replaced.transport)),
            sources: feed.streams.iter().map(|stream| Source::new(stream, clock_rate, true)).collect(),
        }
    }
}
