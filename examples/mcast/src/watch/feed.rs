//! A feed, which is a group on an interface: its sources, which come and go, and its alarms. It has a limit of sources, so that strangers cannot use up the
//! memory. It reads no clock and prints nothing: it is told the time, and returns what happened.

use std::time::Duration;

use super::stream::{Arrival, Loss, Origin, Stream};
use super::{mpegts, sequence};

/// How many sources of a group on an interface are told apart.
pub(crate) const MAX_SOURCES: usize = 64;

/// What to look for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    /// A source that is silent for this long is gone.
    pub(crate) gone: Duration,
    /// A group that is silent for this long raises an alarm.
    pub(crate) silence: Option<Duration>,
    /// Losses above this many percent in a second raise an alarm.
    pub(crate) loss: Option<f64>,
    /// Of RTP's payload types that have no fixed one.
    pub(crate) clock_rate: Option<u32>,
}

/// Something that is said once, when it happens.
#[derive(Debug, PartialEq)]
pub(crate) enum Notice {
    /// A source was heard for the first time.
    Came(Origin),
    /// A source is silent for this long.
    Gone(Origin, Duration),
    /// It is heard again.
    Back(Origin, Duration),
    /// There is no room for this source: it and others are only counted, together.
    NoRoom(Origin),
    /// The group is silent for this long: an alarm.
    Silent(Duration),
    /// The alarm is over after this time of silence.
    HeardAgain(Duration),
    /// A source lost packets: an alarm.
    Lost(Origin, Loss),
    /// Nothing was lost for a while: the alarm is over.
    Calm(Origin),
}

/// What the sources counted that had to make room for others.
#[derive(Default)]
pub(crate) struct Replaced {
    pub(crate) sources: u64,
    pub(crate) rtp: sequence::Counts,
    pub(crate) transport: mpegts::Counts,
}

impl Replaced {
    fn add(&mut self, mut stream: Stream) {
        stream.rtp.finish();
        self.sources = self.sources.saturating_add(1);
        self.rtp.add(&stream.rtp.counts);
        if stream.transport.is_known() {
            self.transport.add(&stream.transport.counts);
        }
    }
}

/// A group on an interface, or on all of them.
pub(crate) struct Feed {
    pub(crate) group: String,
    pub(crate) interface: String,
    /// In the order in which they came.
    pub(crate) streams: Vec<Stream>,
    /// Where the last packet's source is: most often the next packet has the same.
    last: usize,
    pub(crate) packets: u64,
    pub(crate) bytes: u64,
    /// Packets of sources for which there was no room.
    pub(crate) beyond: u64,
    pub(crate) replaced: Replaced,
    /// When the last packet came, since the start; or the start.
    heard: Duration,
    pub(crate) is_silent: bool,
    pub(crate) silence_alarms: u64,
    pub(crate) loss_alarms: u64,
}

impl Feed {
    pub(crate) fn new(group: String, interface: String) -> Self {
        Self {
            group,
            interface,
            streams: Vec::new(),
            last: 0,
            packets: 0,
            bytes: 0,
            beyond: 0,
            replaced: Replaced::default(),
            heard: Duration::ZERO,
            is_silent: false,
            silence_alarms: 0,
            loss_alarms: 0,
        }
    }

    /// A packet came. Returns its stream, unless there is no room for it.
    pub(crate) fn read(
        &mut self,
        origin: Origin,
        payload: &[u8],
        arrival: Arrival,
        rules: &Rules,
        notices: &mut Vec<Notice>,
    ) -> Option<&mut Stream> {
        let now = arrival.now;
        if std::mem::take(&mut self.is_silent) {
            notices.push(Notice::HeardAgain(now.saturating_sub(self.heard)));
        }
        self.heard = now;
        self.packets = self.packets.saturating_add(1);
        self.bytes = self.bytes.saturating_add(payload.len() as u64);
        let Some(place) = self.place(origin, now, notices) else {
            if self.beyond == 0 {
                notices.push(Notice::NoRoom(origin));
            }
            self.beyond = self.beyond.saturating_add(1);
            return None;
        };
        self.last = place;
        let stream = self.streams.get_mut(place)?;
        if std::mem::take(&mut stream.is_gone) {
            notices.push(Notice::Back(origin, now.saturating_sub(stream.heard)));
        }
        stream.read(payload, arrival, rules.clock_rate);
        Some(stream)
    }

    /// Where this source is in the list. A new one takes the place of the one that is gone for the longest time, if all places are taken.
    fn place(&mut self, origin: Origin, now: Duration, notices: &mut Vec<Notice>) -> Option<usize> {
        if self.streams.get(self.last).is_some_and(|stream| stream.origin == origin) {
            return Some(self.last);
        }
        if let Some(place) = self.streams.iter().position(|stream| stream.origin == origin) {
            return Some(place);
        }
        if self.streams.len() >= MAX_SOURCES {
            let gone = self.streams.iter().enumerate().filter(|(_, stream)| stream.is_gone);
            let (place, _) = gone.min_by_key(|(_, stream)| stream.heard)?;
            self.replaced.add(self.streams.remove(place));
        }
        self.streams.push(Stream::new(origin, now));
        notices.push(Notice::Came(origin));
        Some(self.streams.len().saturating_sub(1))
    }

    /// Keeps the name of the interface that a stream comes in on. The same source on an interface of that name, which was deleted and
    /// created again, makes room for it.
    pub(crate) fn name(&mut self, origin: Origin, name: &str) {
        let is_old =
            |stream: &Stream| stream.origin.source == origin.source && stream.origin != origin && stream.interface == name;
        while let Some(place) = self.streams.iter().position(is_old) {
            self.replaced.add(self.streams.remove(place));
        }
        if let Some(stream) = self.streams.iter_mut().find(|stream| stream.origin == origin) {
            name.clone_into(&mut stream.interface);
        }
    }

    /// What comes from there.
    pub(crate) fn stream(&self, origin: Origin) -> Option<&Stream> {
        self.streams.iter().find(|stream| stream.origin == origin)
    }

    /// How many alarms were raised.
    pub(crate) fn alarms(&self) -> u64 {
        self.silence_alarms.saturating_add(self.loss_alarms)
    }

    /// How long nothing came.
    pub(crate) fn silence(&self, now: Duration) -> Duration {
        now.saturating_sub(self.heard)
    }

    /// When the silence would raise an alarm.
    pub(crate) fn deadline(&self, rules: &Rules) -> Option<Duration> {
        rules.silence.filter(|_| !self.is_silent).map(|silence| self.heard.saturating_add(silence))
    }

    /// Whether the silence has lasted long enough for an alarm.
    pub(crate) fn listen(&mut self, now: Duration, rules: &Rules, notices: &mut Vec<Notice>) {
        if self.deadline(rules).is_some_and(|deadline| now >= deadline) {
            self.is_silent = true;
            self.silence_alarms = self.silence_alarms.saturating_add(1);
            notices.push(Notice::Silent(self.silence(now)));
        }
    }

    /// To be called once a second: which sources are gone, and what was lost.
    pub(crate) fn judge(&mut self, now: Duration, rules: &Rules, notices: &mut Vec<Notice>) {
        for stream in &mut self.streams {
            let silence = now.saturating_sub(stream.heard);
            if !stream.is_gone && silence >= rules.gone {
                stream.is_gone = true;
                notices.push(Notice::Gone(stream.origin, silence));
            }
            let loss = stream.judge(now);
            self.loss_alarms = self.loss_alarms.saturating_add(u64::from(raise(stream, loss, now, rules, notices)));
            if stream.is_calm(now) {
                stream.alarmed = None;
                notices.push(Notice::Calm(stream.origin));
            }
        }
    }

    /// Nothing more comes: what is missing is lost.
    pub(crate) fn finish(&mut self, now: Duration, rules: &Rules, notices: &mut Vec<Notice>) {
        self.listen(now, rules, notices);
        for stream in &mut self.streams {
            let loss = stream.finish(now);
            self.loss_alarms = self.loss_alarms.saturating_add(u64::from(raise(stream, loss, now, rules, notices)));
        }
    }
}

/// Raises the alarm about this loss, if it is too much. Returns whether it was not raised before.
fn raise(stream: &mut Stream, loss: Loss, now: Duration, rules: &Rules, notices: &mut Vec<Notice>) -> bool {
    if !rules.loss.is_some_and(|percent| loss.is_above(percent)) {
        return false;
    }
    let is_new = stream.alarmed.replace(now).is_none();
    if is_new {
        notices.push(Notice::Lost(stream.origin, loss));
    }
    is_new
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;

    const RULES: Rules =
        Rules { gone: Duration::from_secs(10), silence: Some(Duration::from_secs(3)), loss: Some(0.0), clock_rate: None };

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn source(number: u16) -> Origin {
        Origin { source: SocketAddr::from(([192, 0, 2, 1], number)), interface: None }
    }

    /// What happens when these packets come: RTP of one source.
    fn read(feed: &mut Feed, from: u16, numbers: impl IntoIterator<Item = u16>, now: u64) -> Vec<Notice> {
        let mut notices = Vec::new();
        for number in numbers {
            let [high, low] = number.to_be_bytes();
            let packet = [0x80, 0, high, low, 0, 0, 0, 0, 0, 0, 0, 7];
            let arrival = Arrival { now: seconds(now), kernel: 0 };
            feed.read(source(from), &packet, arrival, &RULES, &mut notices);
        }
        notices
    }

    fn judge(feed: &mut Feed, now: u64) -> Vec<Notice> {
        let mut notices = Vec::new();
        feed.judge(seconds(now), &RULES, &mut notices);
        feed.listen(seconds(now), &RULES, &mut notices);
        notices
    }

    fn feed() -> Feed {
        Feed::new("239.1.2.3:5000".to_owned(), "lo".to_owned())
    }

    #[test]
    fn a_source_comes_goes_and_comes_back() {
        let mut feed = feed();
        assert_eq!(read(&mut feed, 1, 0..10, 1), [Notice::Came(source(1))]);
        assert_eq!(read(&mut feed, 2, 0..10, 12), [Notice::Came(source(2))]);
        assert_eq!(judge(&mut feed, 12), [Notice::Gone(source(1), seconds(11))]);
        assert_eq!(judge(&mut feed, 13), []);
        assert_eq!(read(&mut feed, 1, 10..20, 14), [Notice::Back(source(1), seconds(13))]);
        assert_eq!((feed.streams.len(), feed.packets, feed.bytes), (2, 30, 360));
    }

    #[test]
    fn silence_is_one_alarm_until_something_comes() {
        let mut feed = feed();
        assert_eq!(judge(&mut feed, 2), []);
        // Also if nothing ever came.
        assert_eq!(judge(&mut feed, 3), [Notice::Silent(seconds(3))]);
        assert_eq!(judge(&mut feed, 4), []);
        let notices = read(&mut feed, 1, [0], 5);
        assert_eq!(notices, [Notice::HeardAgain(seconds(5)), Notice::Came(source(1))]);
        assert_eq!(judge(&mut feed, 7), []);
        assert_eq!(judge(&mut feed, 8), [Notice::Silent(seconds(3))]);
        assert_eq!(feed.silence_alarms, 2);
    }

    #[test]
    fn loss_is_one_alarm_until_it_is_calm() {
        let mut feed = feed();
        read(&mut feed, 1, (0..10).chain(12..20), 1);
        assert_eq!(judge(&mut feed, 1), []);
        let loss = Loss { packets: 2, jumps: 0, continuity_errors: 0, percent: 100.0 };
        assert_eq!(judge(&mut feed, 2), [Notice::Lost(source(1), loss)]);
        read(&mut feed, 1, 25..100, 3);
        assert_eq!(judge(&mut feed, 3), []);
        read(&mut feed, 1, 102..200, 9);
        assert_eq!(judge(&mut feed, 9), []);
        read(&mut feed, 1, 200..210, 18);
        assert_eq!(judge(&mut feed, 18), []);
        assert_eq!(judge(&mut feed, 19), [Notice::Calm(source(1))]);
        assert_eq!(feed.loss_alarms, 1);
    }

    #[test]
    fn what_is_missing_at_the_end_is_lost() {
        let mut feed = feed();
        read(&mut feed, 1, (0..10).chain(11..20), 1);
        let mut notices = Vec::new();
        feed.finish(seconds(1), &RULES, &mut notices);
        let loss = Loss { packets: 1, jumps: 0, continuity_errors: 0, percent: 5.0 };
        assert_eq!(notices, [Notice::Lost(source(1), loss)]);
    }

    #[test]
    fn strangers_cannot_use_up_the_memory_with_sources() {
        let mut feed = feed();
        for number in 0..64 {
            assert_eq!(read(&mut feed, number, (0..9).chain([10]), 1), [Notice::Came(source(number))]);
        }
        assert_eq!(read(&mut feed, 64, [0], 1), [Notice::NoRoom(source(64))]);
        assert_eq!(read(&mut feed, 65, [0], 1), [], "it is said once");
        assert_eq!((feed.streams.len(), feed.beyond, feed.packets), (MAX_SOURCES, 2, 642));
        // One that is gone makes room; what it counted is kept.
        read(&mut feed, 0, [11], 5);
        (2..64).for_each(|number| drop(read(&mut feed, number, [11], 5)));
        assert_eq!(judge(&mut feed, 11)[0], Notice::Gone(source(1), seconds(10)));
        assert_eq!(read(&mut feed, 66, [0], 11), [Notice::HeardAgain(seconds(6)), Notice::Came(source(66))]);
        assert_eq!((feed.streams.len(), feed.replaced.sources), (MAX_SOURCES, 1));
        assert_eq!((feed.replaced.rtp.received, feed.replaced.rtp.lost), (10, 1));
    }

    #[test]
    fn an_interface_that_was_created_again_has_no_two_streams_of_a_source() {
        let mut feed = feed();
        let on = |index| Origin { interface: std::num::NonZeroU32::new(index), ..source(1) };
        for (index, name) in [(3, "eth0"), (4, "eth1"), (9, "eth0")] {
            let arrival = Arrival { now: seconds(1), kernel: 0 };
            feed.read(on(index), b"payload", arrival, &RULES, &mut Vec::new());
            feed.name(on(index), name);
        }
        let streams: Vec<_> = feed.streams.iter().map(|stream| (stream.origin, stream.interface.as_str())).collect();
        assert_eq!(streams, [(on(4), "eth1"), (on(9), "eth0")]);
        assert_eq!(feed.replaced.sources, 1);
    }
}
