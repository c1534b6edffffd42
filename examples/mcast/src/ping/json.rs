//! Round trips and their sums as JSON. Kinds: `answer`, `lost`, `responder` and `total` of `ping`; `question` and `total` of `pong`.

use std::time::Duration;

use multicast::{Group, Interface};
use serde::Serialize;

use super::answer::Counted;
use super::packet::Way;
use super::tally::{Losses, Responder, Trips};

type Place = (Group, Interface);

/// `kind` is `answer` or `lost`.
#[derive(Serialize)]
pub(super) struct Trip {
    version: u8,
    kind: &'static str,
    group: String,
    interface: String,
    responder: String,
    /// 64 bits, more than a number of JSON keeps everywhere.
    responder_id: String,
    way: &'static str,
    number: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    round_trip_ns: Option<u64>,
}

impl Trip {
    pub(super) fn new(
        (group, interface): Place,
        responder: &Responder,
        way: Way,
        number: u64,
        time: Option<Duration>,
    ) -> Self {
        Self {
            version: 1,
            kind: if time.is_some() { "answer" } else { "lost" },
            group: group.to_string(),
            interface: interface.to_string(),
            responder: responder.address.to_string(),
            responder_id: format!("{:016x}", responder.pong),
            way: way.name(),
            number,
            round_trip_ns: time.map(nanoseconds),
        }
    }
}

/// `kind` is `responder`.
#[derive(Serialize)]
pub(super) struct Sum {
    version: u8,
    kind: &'static str,
    group: String,
    interface: String,
    responder: String,
    responder_id: String,
    unicast: SumOfWay,
    multicast: SumOfWay,
    lost_questions: u64,
    lost_unicast_answers: u64,
    lost_multicast_answers: u64,
    lost_unknown: u64,
}

#[derive(Serialize)]
struct SumOfWay {
    asked: u64,
    answered: u64,
    lost: u64,
    doubled: u64,
    late: u64,
    min_ns: Option<u64>,
    avg_ns: Option<u64>,
    max_ns: Option<u64>,
}

impl SumOfWay {
    fn new(trips: &Trips) -> Self {
        let average = trips.average();
        Self {
            asked: trips.asked,
            answered: trips.answered,
            lost: trips.lost(),
            doubled: trips.doubled,
            late: trips.late,
            min_ns: average.map(|_| nanoseconds(trips.min)),
            avg_ns: average.map(nanoseconds),
            max_ns: average.map(|_| nanoseconds(trips.max)),
        }
    }
}

impl Sum {
    pub(super) fn new((group, interface): Place, responder: &Responder) -> Self {
        let Losses { questions, by_unicast, by_multicast, unknown } = responder.losses();
        Self {
            version: 1,
            kind: "responder",
            group: group.to_string(),
            interface: interface.to_string(),
            responder: responder.address.to_string(),
            responder_id: format!("{:016x}", responder.pong),
            unicast: SumOfWay::new(responder.trips(Way::Unicast)),
            multicast: SumOfWay::new(responder.trips(Way::Multicast)),
            lost_questions: questions,
            lost_unicast_answers: by_unicast,
            lost_multicast_answers: by_multicast,
            lost_unknown: unknown,
        }
    }
}

/// `kind` is `total`, of `ping`.
#[derive(Serialize)]
pub(super) struct Asked {
    version: u8,
    kind: &'static str,
    asked: u64,
    unsent: u64,
    responders: usize,
    foreign_packets: u64,
    beyond_packets: u64,
}

impl Asked {
    pub(super) fn new(asked: u64, unsent: u64, responders: usize, foreign: u64, beyond: u64) -> Self {
        Self { version: 1, kind: "total", asked, unsent, responders, foreign_packets: foreign, beyond_packets: beyond }
    }
}

/// `kind` is `question`.
#[derive(Serialize)]
pub(super) struct Question<'q> {
    version: u8,
    kind: &'static str,
    group: String,
    interface: &'q str,
    source: String,
    ping_id: String,
    number: u64,
}

impl<'q> Question<'q> {
    pub(super) fn new(group: String, interface: &'q str, source: String, question: super::packet::Question) -> Self {
        let ping_id = format!("{:016x}", question.ping);
        Self { version: 1, kind: "question", group, interface, source, ping_id, number: question.number }
    }
}

/// `kind` is `total`, of `pong`.
#[derive(Serialize)]
pub(super) struct Answered {
    version: u8,
    kind: &'static str,
    answered: u64,
    doubled: u64,
    declined: u64,
    failed: u64,
    foreign_packets: u64,
}

impl Answered {
    pub(super) fn new(counted: &Counted) -> Self {
        let Counted { answered, doubled, declined, failed, foreign } = *counted;
        Self { version: 1, kind: "total", answered, doubled, declined, failed, foreign_packets: foreign }
    }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
