//! Reports and notices as lines of text.

use std::fmt::Write;
use std::time::Duration;

use super::feed::{Feed, Notice};
use super::stream::{Loss, Origin, Rate, Stream};
use crate::decimal::fixed;

/// A feed as it is called in every line: its group and its interface.
pub(super) fn feed_name(feed: &Feed) -> String {
    format!("{} on {}", feed.group, feed.interface)
}

/// A source, with the interface that it is heard on if that is not the feed's.
pub(super) fn origin_name(feed: &Feed, origin: Origin) -> String {
    match feed.stream(origin) {
        Some(stream) if !stream.interface.is_empty() => format!("{}%{}", origin.source, stream.interface),
        _ => origin.source.to_string(),
    }
}

/// A line about a source. Each number comes after its name, but for the rates, which come before their units.
pub(super) fn line(feed: &Feed, stream: &Stream, rate: Option<Rate>, clock_rate: Option<u32>) -> String {
    let (packets, bytes) = (stream.packets, stream.bytes);
    let origin = origin_name(feed, stream.origin);
    let mut line = format!("{}%{} {origin} {} packets {packets} bytes {bytes}", feed.group, feed.interface, stream.format());
    // Writing into a string does not fail.
    if let Some(rate) = rate {
        let _ = write!(line, " {} packets/s {} kbit/s", fixed(rate.packets, 1), fixed(rate.bits / 1_000.0, 1));
    }
    if let Some((ssrc, payload_type)) = stream.rtp.identity() {
        let counts = &stream.rtp.counts;
        let _ = write!(
            line,
            " ssrc {ssrc:08x} type {payload_type} lost {} gaps {} reordered {} duplicates {} late {} strays {} jumps {} changes {}",
            counts.lost,
            counts.gaps,
            counts.reordered,
            counts.duplicates,
            counts.late,
            counts.strays,
            counts.jumps,
            stream.rtp.ssrc_changes
        );
        if let Some((jitter, _)) = stream.rtp.jitter(clock_rate) {
            let _ = write!(line, " jitter {} us", micros(jitter));
        }
    }
    if stream.transport.is_known() {
        let _ =
            write!(line, " pids {} continuity {}", stream.transport.pids().len(), stream.transport.counts.continuity_errors);
        if let Some((jitter, _)) = stream.transport.pcr_jitter() {
            let _ = write!(line, " pcr-jitter {} us", micros(jitter));
        }
    }
    line
}

/// A line about a feed of which nothing is heard.
pub(super) fn silent_line(feed: &Feed, now: Duration) -> String {
    format!("{}%{} silent {} s", feed.group, feed.interface, seconds(feed.silence(now)))
}

/// What happened.
pub(super) fn notice(feed: &Feed, notice: &Notice) -> String {
    let place = feed_name(feed);
    let from = |origin: &Origin| format!("{place} from {}", origin_name(feed, *origin));
    match notice {
        Notice::Came(origin) => format!("{}: came", from(origin)),
        Notice::Gone(origin, silence) => format!("{}: gone, silent for {} s", from(origin), seconds(*silence)),
        Notice::Back(origin, silence) => format!("{}: back after {} s", from(origin), seconds(*silence)),
        Notice::NoRoom(origin) => format!("{}: too many sources: this one and others are only counted", from(origin)),
        Notice::Silent(silence) => format!("alarm: {place}: silent for {} s", seconds(*silence)),
        Notice::HeardAgain(silence) => format!("alarm over: {place}: heard again after {} s", seconds(*silence)),
        Notice::Lost(origin, loss) => format!("alarm: {}: {}", from(origin), what_was_lost(loss)),
        Notice::Calm(origin) => format!("alarm over: {}: nothing lost for 10 s", from(origin)),
    }
}

fn what_was_lost(loss: &Loss) -> String {
    let mut parts = Vec::new();
    if loss.packets > 0 {
        parts.push(format!("{} packets lost", loss.packets));
    }
    if loss.continuity_errors > 0 {
        parts.push(format!("{} continuity errors", loss.continuity_errors));
    }
    if loss.percent > 0.0 {
        parts.push(format!("{} percent", fixed(loss.percent, 3)));
    }
    if loss.jumps > 0 {
        parts.push("the sequence goes on far away: how much is lost is unknown".to_owned());
    }
    parts.join(", ")
}

/// A time in seconds, with one digit after the point.
pub(super) fn seconds(time: Duration) -> String {
    fixed(time.as_secs_f64(), 1)
}

/// Nanoseconds as microseconds, with one digit after the point.
pub(super) fn micros(nanoseconds: u64) -> String {
    format!("{}.{}", nanoseconds / 1_000, nanoseconds % 1_000 / 100)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loss_says_what_is_known_of_it() {
        let loss = Loss { packets: 3, jumps: 0, continuity_errors: 2, percent: 1.5 };
        assert_eq!(what_was_lost(&loss), "3 packets lost, 2 continuity errors, 1.500 percent");
        let jump = Loss { packets: 0, jumps: 1, continuity_errors: 0, percent: 0.0 };
        assert_eq!(what_was_lost(&jump), "the sequence goes on far away: how much is lost is unknown");
    }

    #[test]
    fn times_have_one_digit_after_the_point() {
        assert_eq!(
            (seconds(Duration::from_millis(2_040)), micros(12_345), micros(99)),
            ("2.0".into(), "12.3".into(), "0.0".into())
        );
    }
}
