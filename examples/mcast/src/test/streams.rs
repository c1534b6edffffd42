//! All streams that are heard: for each group and interface those of each source, in a bounded amount of memory.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use super::latency::{Latency, Summary};
use super::packet::{Kind, Packet};
use super::stream::{Counts, Stream};

/// How many streams of one place are told apart, and how many in all: each takes 50 KiB at most.
const MOST_OF_PLACE: usize = 64;
const MOST: usize = 1_024;
/// A stream that has ended or was silent this long makes room for another one.
const SILENCE: Duration = Duration::from_secs(10);
/// A stream that has not told its end is over if nothing came of it for so many nanoseconds, and another one begins.
const OVER: u64 = 100_000_000;

/// Those of no streams: their total is known.
const NONE: Counts = Counts { received: 0, lost: 0, reordered: 0, duplicates: 0, late: 0, skipped: 0, total: Some(0) };

pub(crate) struct Streams {
    /// By the number of the place: a group on an interface.
    places: Vec<Place>,
    /// How many streams there are in all places.
    streams: usize,
    /// Of streams that made room for others.
    gone: Stopped,
    others: u64,
    beyond: u64,
}

#[derive(Default)]
struct Place {
    rows: Vec<Row>,
    /// The row of the last packet: mostly it is that of the next one, too.
    last: usize,
}

/// Who sends, and where it comes in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Origin {
    pub(crate) source: SocketAddr,
    /// If the kernel told it.
    pub(crate) interface: Option<NonZeroU32>,
    /// The place is on several interfaces: the same packet comes in on each of them, so each is a stream of its own. Otherwise an
    /// interface with another number is the same one, created again.
    pub(crate) is_on_several: bool,
}

impl Origin {
    fn is(&self, other: &Self) -> bool {
        self.source == other.source && (!self.is_on_several || self.interface == other.interface)
    }
}

/// What is left of streams that made room for others.
struct Stopped {
    counts: Counts,
    latency: Latency,
}

/// What one source sends to one place.
pub(crate) struct Row {
    pub(crate) origin: Origin,
    pub(crate) stream: Stream,
    /// Before the sender restarted.
    earlier: Counts,
    /// The stream before this one. What is still on the way of it is not a restart.
    earlier_id: Option<u64>,
    pub(crate) restarts: u64,
    heard: Instant,
    /// When the last one came, in nanoseconds since 1970.
    came: u64,
    /// How many packets were received at the last report.
    reported: u64,
    /// Whether a packet came since the last report.
    is_active: bool,
}

/// What became of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Added {
    /// It is one of the numbered packets.
    Number,
    /// It told the beginning or the end of a stream.
    Told,
    /// It is of no stream, or contradicts what its stream told before.
    Other,
    /// There are too many streams.
    Beyond,
}

impl Added {
    fn of(packet: &Packet) -> Self {
        if packet.kind == Kind::Data { Self::Number } else { Self::Told }
    }
}

impl Streams {
    pub(crate) fn new() -> Self {
        let gone = Stopped { counts: NONE, latency: Latency::new() };
        Self { places: Vec::new(), streams: 0, gone, others: 0, beyond: 0 }
    }

    /// Adds a packet that came at this place. `came` is the time since 1970, in nanoseconds.
    pub(crate) fn add(&mut self, place: usize, origin: Origin, payload: &[u8], came: u64, now: Instant) -> Added {
        let added = match Packet::read(payload) {
            Some(packet) => self.count(place, origin, &packet, came, now),
            None => Added::Other,
        };
        match added {
            Added::Number | Added::Told => {}
            Added::Other => self.others = self.others.saturating_add(1),
            Added::Beyond => self.beyond = self.beyond.saturating_add(1),
        }
        added
    }

    fn count(&mut self, place: usize, origin: Origin, packet: &Packet, came: u64, now: Instant) -> Added {
        if self.places.len() <= place {
            self.places.resize_with(place.saturating_add(1), Place::default);
        }
        let has_room = self.streams < MOST;
        let Some(place) = self.places.get_mut(place) else { return Added::Beyond };
        let Some(found) = place.find(origin) else {
            let is_full = !has_room || place.rows.len() >= MOST_OF_PLACE;
            let silent = if is_full { place.silent(now) } else { None };
            // First, since a row takes much longer to make: there may be a flood of them.
            if is_full && silent.is_none() {
                return Added::Beyond;
            }
            let mut row = Row::new(origin, packet.stream, now);
            if !row.add(packet, came, now) {
                return Added::Other;
            }
            if let Some(silent) = silent {
                let mut row = place.rows.swap_remove(silent);
                self.gone.counts.add(&row.all_counts());
                row.stream.move_latency(&mut self.gone.latency);
                self.streams = self.streams.saturating_sub(1);
            }
            place.last = place.rows.len();
            place.rows.push(row);
            self.streams = self.streams.saturating_add(1);
            return Added::of(packet);
        };
        match place.rows.get_mut(found) {
            Some(row) => {
                row.origin = origin;
                if row.add(packet, came, now) { Added::of(packet) } else { Added::Other }
            }
            None => Added::Other,
        }
    }

    /// All rows, each with the number of its place.
    pub(crate) fn rows(&mut self) -> impl Iterator<Item = (usize, &mut Row)> {
        let places = self.places.iter_mut().enumerate();
        places.flat_map(|(number, place)| place.rows.iter_mut().map(move |row| (number, row)))
    }

    /// The sum of all, also of those that made room for others.
    pub(crate) fn sum(&mut self) -> Counts {
        let mut sum = self.gone.counts;
        for (_, row) in self.rows() {
            sum.add(&row.all_counts());
        }
        sum
    }

    /// What is left of those that made room for others.
    pub(crate) fn gone(&self) -> (Counts, Summary) {
        (self.gone.counts, self.gone.latency.summary())
    }

    /// Whether each stream that was heard has ended, and nothing came for this time.
    pub(crate) fn have_ended(&mut self, silence: Duration, now: Instant) -> bool {
        self.streams > 0 && self.rows().all(|(_, row)| row.stream.has_ended() && row.silence(now) >= silence)
    }

    /// Packets that are none of `mcast test send`, or contradict their stream.
    pub(crate) fn others(&self) -> u64 {
        self.others
    }

    /// Packets of streams for which there was no room.
    pub(crate) fn beyond(&self) -> u64 {
        self.beyond
    }
}

impl Place {
    fn find(&mut self, origin: Origin) -> Option<usize> {
        if self.rows.get(self.last).is_some_and(|row| row.origin.is(&origin)) {
            return Some(self.last);
        }
        let found = self.rows.iter().position(|row| row.origin.is(&origin))?;
        self.last = found;
        Some(found)
    }

    /// The row that was silent longest, if that is long enough.
    fn silent(&self, now: Instant) -> Option<usize> {
        let (number, row) = self.rows.iter().enumerate().min_by_key(|(_, row)| row.heard)?;
        (now.saturating_duration_since(row.heard) >= SILENCE).then_some(number)
    }
}

impl Row {
    fn new(origin: Origin, stream: u64, now: Instant) -> Self {
        Self {
            origin,
            stream: Stream::new(stream),
            earlier: NONE,
            earlier_id: None,
            restarts: 0,
            heard: now,
            came: 0,
            reported: 0,
            is_active: false,
        }
    }

    fn add(&mut self, packet: &Packet, came: u64, now: Instant) -> bool {
        if packet.stream != self.stream.id() {
            // The sender was started again, on the same port. Its old stream does not come back, and has ended: otherwise a stranger with
            // a forged source could end it.
            let is_over = self.stream.has_ended() || came.saturating_sub(self.came) >= OVER;
            if self.earlier_id == Some(packet.stream) || !is_over {
                return false;
            }
            let mut stream = Stream::new(packet.stream);
            if !stream.add(packet, came) {
                return false;
            }
            self.earlier_id = Some(self.stream.id());
            self.earlier.add(&self.stream.counts());
            stream.follow(&mut self.stream);
            self.stream = stream;
            self.restarts = self.restarts.saturating_add(1);
        } else if !self.stream.add(packet, came) {
            return false;
        }
        (self.heard, self.came, self.is_active) = (now, came, true);
        true
    }

    /// The sum of this stream and of those before the sender restarted.
    pub(crate) fn all_counts(&self) -> Counts {
        let mut counts = self.earlier;
        counts.add(&self.stream.counts());
        counts
    }

    /// How many packets were received since this was called before; `None` if nothing at all came.
    pub(crate) fn recent(&mut self) -> Option<u64> {
        let received = self.all_counts().received;
        let recent = received.saturating_sub(core::mem::replace(&mut self.reported, received));
        core::mem::take(&mut self.is_active).then_some(recent)
    }

    /// How long it is silent.
    pub(crate) fn silence(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.heard)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(port: u16) -> Origin {
        Origin { source: SocketAddr::from(([10, 0, 0, 1], port)), interface: NonZeroU32::new(1), is_on_several: true }
    }

    fn bytes(stream: u64, kind: Kind, number: u64) -> [u8; 32] {
        Packet { kind, stream, number, sent: 0 }.header()
    }

    #[test]
    fn a_new_stream_of_the_same_source_is_a_restart_and_a_late_one_of_the_old_is_not() {
        let (mut streams, now) = (Streams::new(), Instant::now());
        let mut add = |stream, kind, number, came| streams.add(0, source(1), &bytes(stream, kind, number), came, now);
        for number in [0, 1, 3] {
            assert_eq!(add(1, Kind::Data, number, 0), Added::Number);
        }
        // A stranger cannot end it.
        assert_eq!(add(9, Kind::Data, 0, OVER - 1), Added::Other);
        assert_eq!(add(9, Kind::End, 0, OVER - 1), Added::Other);
        // Killed, it tells no end.
        assert_eq!(add(2, Kind::Data, 0, OVER), Added::Number);
        assert_eq!(add(1, Kind::Data, 2, 3 * OVER), Added::Other);
        assert_eq!(add(2, Kind::Data, 1, 3 * OVER), Added::Number);
        assert_eq!(add(2, Kind::End, 3, 3 * OVER), Added::Told);
        assert_eq!(add(3, Kind::Begin, 0, 3 * OVER), Added::Told);
        let (_, row) = streams.rows().next().unwrap();
        let counts = row.all_counts();
        assert_eq!((row.restarts, row.stream.id(), counts.received, counts.lost), (2, 3, 5, 2));
    }

    #[test]
    fn the_same_source_at_two_places_or_on_two_interfaces_is_two_streams() {
        let (mut streams, now) = (Streams::new(), Instant::now());
        for place in [0, 3] {
            assert_eq!(streams.add(place, source(1), &bytes(1, Kind::Data, 9), 0, now), Added::Number);
        }
        // And on two interfaces.
        let elsewhere = Origin { interface: NonZeroU32::new(2), ..source(1) };
        assert_eq!(streams.add(3, elsewhere, &bytes(1, Kind::Data, 9), 0, now), Added::Number);
        assert_eq!(streams.rows().map(|(place, _)| place).collect::<Vec<_>>(), [0, 3, 3]);
        assert_eq!(streams.sum().duplicates, 0);
        // Unless it is one interface, which was created again.
        for interface in [1, 2].map(NonZeroU32::new) {
            let origin = Origin { interface, is_on_several: false, ..source(2) };
            assert_eq!(streams.add(0, origin, &bytes(1, Kind::Data, 9), 0, now), Added::Number);
        }
        assert_eq!((streams.rows().count(), streams.sum().duplicates), (4, 1));
    }

    #[test]
    fn strangers_are_counted_and_make_no_stream() {
        let (mut streams, now) = (Streams::new(), Instant::now());
        for payload in [&b""[..], b"mcts", &[0xff; 1500]] {
            assert_eq!(streams.add(0, source(1), payload, 0, now), Added::Other);
        }
        assert_eq!((streams.others(), streams.rows().count()), (3, 0));
    }

    #[test]
    fn a_flood_of_sources_takes_a_bounded_number_of_rows_and_silent_ones_make_room() {
        let (mut streams, start) = (Streams::new(), Instant::now());
        let add =
            |streams: &mut Streams, place, port, now| streams.add(place, source(port), &bytes(1, Kind::Data, 0), 0, now);
        for port in 1..=1_000 {
            add(&mut streams, 0, port, start);
        }
        assert_eq!((streams.streams, streams.beyond()), (MOST_OF_PLACE, 1_000 - MOST_OF_PLACE as u64));
        assert_eq!(add(&mut streams, 0, 1, start), Added::Number);
        let later = start + SILENCE;
        assert_eq!(add(&mut streams, 0, 60_000, later), Added::Number);
        assert_eq!((streams.streams, streams.rows().count()), (MOST_OF_PLACE, MOST_OF_PLACE));
        // Nothing that was counted is forgotten.
        assert_eq!(streams.sum().received, MOST_OF_PLACE as u64 + 1);
        for place in 1..100 {
            for port in 1..=100 {
                add(&mut streams, place, port, later);
            }
        }
        assert_eq!((streams.streams, streams.rows().count()), (MOST, MOST));
    }
}
