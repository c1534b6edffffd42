//! One stream: what comes to a group from one source.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::time::Duration;

use super::mpegts::Transport;
use super::rtp::{Rtp, Seen};

/// The payload type of MPEG-TS in RTP (RFC 3551).
const MP2T: u8 = 33;
/// Payload types from here on mean what a session says (RFC 3551).
const FIRST_DYNAMIC: u8 = 96;
/// An alarm about losses is over when nothing was lost for this long.
const CALM: Duration = Duration::from_secs(10);

/// What is counted of a stream, as it was at some time.
#[derive(Clone, Copy, Default)]
struct Mark {
    at: Duration,
    packets: u64,
    bytes: u64,
    received: u64,
    lost: u64,
    jumps: u64,
    cells: u64,
    continuity_errors: u64,
}

/// How much comes.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Rate {
    pub(crate) packets: f64,
    pub(crate) bits: f64,
}

/// What was lost within a time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Loss {
    /// Packets of RTP.
    pub(crate) packets: u64,
    pub(crate) jumps: u64,
    pub(crate) continuity_errors: u64,
    /// The larger one of two: the part of the RTP packets that is lost, and the continuity errors for each packet of MPEG-TS.
    pub(crate) percent: f64,
}

impl Loss {
    fn between(before: &Mark, now: &Mark) -> Self {
        let step = |before: u64, now: u64| now.saturating_sub(before);
        let percent = |part: u64, all: u64| if part == 0 { 0.0 } else { part as f64 * 100.0 / all.max(part) as f64 };
        let (packets, received) = (step(before.lost, now.lost), step(before.received, now.received));
        let continuity_errors = step(before.continuity_errors, now.continuity_errors);
        Self {
            packets,
            jumps: step(before.jumps, now.jumps),
            continuity_errors,
            percent: percent(packets, packets.saturating_add(received))
                .max(percent(continuity_errors, step(before.cells, now.cells))),
        }
    }

    /// Whether it is more than this. After a jump nobody knows how much was lost: so it is always more.
    pub(crate) fn is_above(&self, percent: f64) -> bool {
        self.jumps > 0 || self.percent > percent
    }
}

/// Where packets come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    pub(crate) source: SocketAddr,
    /// The interface that they come in on, where it can be any.
    pub(crate) interface: Option<NonZeroU32>,
}

/// When a packet came.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrival {
    /// Since the start, by the clock that nobody sets.
    pub(crate) now: Duration,
    /// When the kernel received it, in nanoseconds, for the jitter.
    pub(crate) kernel: u64,
}

/// What comes to a group from one source.
pub(crate) struct Stream {
    pub(crate) origin: Origin,
    /// The name of the interface in `origin`; empty until it is looked up.
    pub(crate) interface: String,
    pub(crate) packets: u64,
    /// Of the payloads of UDP.
    pub(crate) bytes: u64,
    /// Packets of a stream of RTP that are not RTP themselves.
    pub(crate) others: u64,
    pub(crate) rtp: Rtp,
    pub(crate) transport: Transport,
    /// The payload type that carries MPEG-TS, if RTP does.
    carrier: Option<u8>,
    /// When the last packet came, since the start.
    pub(crate) heard: Duration,
    pub(crate) is_gone: bool,
    /// Of the last report.
    pub(crate) rate: Rate,
    /// At the last report.
    reported: Mark,
    /// When the losses were last looked at.
    judged: Mark,
    /// When a loss above the limit was last seen, while the alarm lasts.
    pub(crate) alarmed: Option<Duration>,
}

impl Stream {
    pub(crate) fn new(origin: Origin, now: Duration) -> Self {
        let mark = Mark { at: now, ..Mark::default() };
        Self {
            origin,
            interface: String::new(),
            packets: 0,
            bytes: 0,
            others: 0,
            rtp: Rtp::default(),
            transport: Transport::default(),
            carrier: None,
            heard: now,
            is_gone: false,
            rate: Rate::default(),
            reported: mark,
            judged: mark,
            alarmed: None,
        }
    }

    /// A packet came. `clock_rate` is that of RTP's payload types that have no fixed one.
    pub(crate) fn read(&mut self, payload: &[u8], arrival: Arrival, clock_rate: Option<u32>) {
        let Arrival { now, kernel } = arrival;
        self.heard = now;
        self.packets = self.packets.saturating_add(1);
        self.bytes = self.bytes.saturating_add(payload.len() as u64);
        match self.rtp.read(payload, kernel, clock_rate) {
            Seen::Packet { payload_type, payload, is_next } => {
                if !is_next {
                    self.transport.disturb();
                }
                self.read_carried(payload_type, payload, kernel);
            }
            Seen::Duplicate => {}
            Seen::Other if self.rtp.is_known() => self.others = self.others.saturating_add(1),
            Seen::Other => self.transport.read(payload, kernel),
        }
    }

    fn read_carried(&mut self, payload_type: u8, payload: &[u8], kernel: u64) {
        let may_carry = self.carrier.map_or(payload_type == MP2T || payload_type >= FIRST_DYNAMIC, |it| it == payload_type);
        if may_carry {
            self.transport.read(payload, kernel);
            if self.transport.is_known() {
                self.carrier = Some(payload_type);
            }
        }
    }

    /// What it carries: `rtp`, `mpegts`, `rtp+mpegts`, or `udp`, which is anything else.
    pub(crate) fn format(&self) -> &'static str {
        match (self.rtp.is_known(), self.transport.is_known()) {
            (true, true) => "rtp+mpegts",
            (true, false) => "rtp",
            (false, true) => "mpegts",
            (false, false) => "udp",
        }
    }

    fn mark(&self, now: Duration) -> Mark {
        let (rtp, cells) = (&self.rtp.counts, &self.transport.counts);
        let is_transport = self.transport.is_known();
        Mark {
            at: now,
            packets: self.packets,
            bytes: self.bytes,
            received: rtp.received,
            lost: rtp.lost,
            jumps: rtp.jumps,
            cells: if is_transport { cells.packets } else { 0 },
            // The others are losses of RTP, or none.
            continuity_errors: if is_transport { cells.continuity_errors.saturating_sub(cells.explained_errors) } else { 0 },
        }
    }

    /// How much came since the last call, and what was lost.
    pub(crate) fn report(&mut self, now: Duration) -> (Rate, Loss) {
        let mark = self.mark(now);
        let before = std::mem::replace(&mut self.reported, mark);
        let seconds = mark.at.saturating_sub(before.at).as_secs_f64();
        let a_second = |before: u64, now: u64| if seconds > 0.0 { now.saturating_sub(before) as f64 / seconds } else { 0.0 };
        self.rate = Rate { packets: a_second(before.packets, mark.packets), bits: a_second(before.bytes, mark.bytes) * 8.0 };
        (self.rate, Loss::between(&before, &mark))
    }

    /// To be called once a second: what is missing is counted as lost. Returns what was lost since the last call.
    pub(crate) fn judge(&mut self, now: Duration) -> Loss {
        self.rtp.tick();
        self.lost_since_judged(now)
    }

    /// Nothing more comes: what is missing is lost.
    pub(crate) fn finish(&mut self, now: Duration) -> Loss {
        self.rtp.finish();
        self.lost_since_judged(now)
    }

    fn lost_since_judged(&mut self, now: Duration) -> Loss {
        let mark = self.mark(now);
        Loss::between(&std::mem::replace(&mut self.judged, mark), &mark)
    }

    /// Whether an alarm about losses has been raised, and is over now.
    pub(crate) fn is_calm(&self, now: Duration) -> bool {
        self.alarmed.is_some_and(|alarmed| now.saturating_sub(alarmed) >= CALM)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn stream() -> Stream {
        Stream::new(Origin { source: "192.0.2.1:5000".parse().unwrap(), interface: None }, Duration::ZERO)
    }

    fn cells(continuity: u8) -> Vec<u8> {
        (0..7_u8).flat_map(|cell| [&[0x47, 1, 0, 0x10 | (continuity + cell) & 0x0f][..], &[0xff; 184]].concat()).collect()
    }

    fn rtp(payload_type: u8, number: u16, payload: &[u8]) -> Vec<u8> {
        let [high, low] = number.to_be_bytes();
        [&[0x80, payload_type, high, low, 0, 0, 0, 0, 1, 2, 3, 4][..], payload].concat()
    }

    fn read(stream: &mut Stream, payload: &[u8]) {
        stream.read(payload, Arrival { now: SECOND, kernel: 0 }, None);
    }

    #[test]
    fn rates_are_of_the_time_since_the_last_report() {
        let mut stream = stream();
        for _ in 0..10 {
            read(&mut stream, &[0; 125]);
        }
        assert_eq!(stream.report(2 * SECOND).0, Rate { packets: 5.0, bits: 5_000.0 });
        assert_eq!(stream.report(3 * SECOND).0, Rate { packets: 0.0, bits: 0.0 });
        // No time has passed.
        assert_eq!(stream.report(3 * SECOND).0, Rate { packets: 0.0, bits: 0.0 });
        assert_eq!((stream.packets, stream.bytes, stream.format()), (10, 1_250, "udp"));
    }

    #[test]
    fn a_transport_stream_is_found_alone_and_in_rtp() {
        let mut bare = stream();
        (0..4).for_each(|number| read(&mut bare, &cells(number * 7)));
        assert_eq!((bare.format(), bare.transport.counts.continuity_errors), ("mpegts", 0));
        for payload_type in [33, 96] {
            let mut carried = stream();
            (0..20_u8).for_each(|number| read(&mut carried, &rtp(payload_type, number.into(), &cells(number * 7))));
            assert_eq!((carried.format(), carried.transport.counts.continuity_errors), ("rtp+mpegts", 0));
            // A duplicate is not read twice, and other packets between are counted.
            read(&mut carried, &rtp(payload_type, 19, &cells(19 * 7)));
            read(&mut carried, b"other");
            assert_eq!((carried.rtp.counts.duplicates, carried.others), (1, 1));
            assert_eq!(carried.transport.counts.continuity_errors, 0);
            // Another payload type has nothing to do with it.
            read(&mut carried, &rtp(payload_type + 1, 20, b"sound"));
            assert_eq!(carried.transport.counts.sync_errors, 0);
        }
        let mut sound = stream();
        (0..20).for_each(|number| read(&mut sound, &rtp(0, number, &cells(0))));
        assert_eq!(sound.format(), "rtp");
    }

    #[test]
    fn losses_are_those_since_the_last_look_in_percent() {
        let mut stream = stream();
        (0..50).chain(51..99).chain([100, 101]).for_each(|number| read(&mut stream, &rtp(0, number, b"")));
        stream.judge(SECOND);
        let loss = stream.judge(2 * SECOND);
        assert_eq!(loss, Loss { packets: 2, jumps: 0, continuity_errors: 0, percent: 100.0 });
        let (_, loss) = stream.report(2 * SECOND);
        assert_eq!((loss.packets, loss.percent), (2, 2.0 * 100.0 / 102.0));
        assert!(loss.is_above(0.0) && loss.is_above(1.9) && !loss.is_above(2.0));
        assert!(!stream.judge(3 * SECOND).is_above(0.0));
        [40_000, 40_001].iter().for_each(|number| read(&mut stream, &rtp(0, *number, b"")));
        assert!(stream.judge(4 * SECOND).is_above(100.0), "after a jump nobody knows how much was lost");
    }

    #[test]
    fn what_rtp_brings_in_another_order_is_no_loss_of_its_transport_stream() {
        let mut stream = stream();
        for number in (0..20_u8).chain([21, 20]).chain(22..30) {
            read(&mut stream, &rtp(33, number.into(), &cells(number * 7)));
        }
        assert_eq!((stream.transport.counts.continuity_errors, stream.transport.counts.explained_errors), (3, 3));
        assert!(!stream.judge(SECOND).is_above(0.0));
        // Lost before it was put into RTP.
        read(&mut stream, &rtp(33, 30, &cells(0)));
        assert!(stream.judge(2 * SECOND).is_above(0.0));
    }

    #[test]
    fn continuity_errors_are_losses_of_a_stream_without_rtp() {
        let mut stream = stream();
        (0..10).chain(11..20).for_each(|number| read(&mut stream, &cells(number * 7)));
        let loss = stream.judge(SECOND);
        assert_eq!((loss.packets, loss.continuity_errors), (0, 1));
        assert!(loss.is_above(0.7) && !loss.is_above(0.8), "one error of 133 packets");
    }
}
