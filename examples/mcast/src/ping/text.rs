//! How `ping` and `pong` print.

use std::fmt::Write;
use std::time::Duration;

use multicast::{Group, Interface};

use super::packet::Way;
use super::tally::{Losses, Responder};
use crate::figures::{milliseconds, percent};

/// Who answered, to which group.
pub(super) fn name((group, interface): (Group, Interface), responder: &Responder) -> String {
    format!("{group}%{interface} {}", responder.address)
}

/// A round trip, or `None` for one that was lost.
pub(super) fn trip(name: &str, way: Way, number: u64, time: Option<Duration>, text: &mut String) {
    let way = way.name();
    // Writing into a string does not fail.
    let _ = match time {
        Some(time) => writeln!(text, "{name} {way} {number} {} ms", duration(time)),
        None => writeln!(text, "{name} {way} {number} LOST"),
    };
}

/// The sums of a responder.
pub(super) fn total(name: &str, responder: &Responder, text: &mut String) {
    for way in Way::ALL {
        let trips = responder.trips(way);
        let (lost, asked) = (trips.lost(), trips.asked);
        let _ = write!(text, "total {name} {} asked {asked}, answered {}, ", way.name(), trips.answered);
        let _ =
            write!(text, "lost {lost} ({} %), duplicates {}, late {}, ", percent(lost, asked), trips.duplicates, trips.late);
        let _ = match trips.average() {
            Some(average) => {
                let [min, avg, max] = [trips.min, average, trips.max].map(duration);
                writeln!(text, "round trip min/avg/max {min}/{avg}/{max} ms")
            }
            None => writeln!(text, "no round trip"),
        };
    }
    let Losses { questions, by_unicast, by_multicast, unknown } = responder.losses();
    let _ = writeln!(
        text,
        "total {name} lost questions {questions}, answers by unicast {by_unicast}, answers by multicast {by_multicast}, \
         unknown {unknown}"
    );
}

fn duration(time: Duration) -> String {
    milliseconds(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX))
}
