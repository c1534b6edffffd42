//! Round trips and their sums as JSON. Kinds: `answer`, `lost`, `responder` and `total` of `ping`; `question` and `total` of `pong`.

use std::time::Duration;

use multicast::{Group, Interface};
use serde::Serialize;

use super::answer::Counted;
use super::packet::Way;
use super::tally::{Losses, Responder, Trips};
use crate::json::{VERSION, microseconds};

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
    round_trip_us: Option<f64>,
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
            version: VERSION,
            kind: if time.is_some() { "answer" } else { "lost" },
            group: group.to_string(),
            interface: interface.to_string(),
            responder: responder.address.to_string(),
            responder_id: format!("{:016x}", responder.pong),
            way: way.name(),
            number,
            round_trip_us: time.map(micros),
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
    /// Of these it is not known whether the question or an answer was lost.
    lost_unknown_packets: u64,
}

#[derive(Serialize)]
struct SumOfWay {
    questions: u64,
    answers: u64,
    unanswered_questions: u64,
    duplicate_answers: u64,
    late_answers: u64,
    round_trip_min_us: Option<f64>,
    round_trip_avg_us: Option<f64>,
    round_trip_max_us: Option<f64>,
}

impl SumOfWay {
    fn new(trips: &Trips) -> Self {
        let average = trips.average();
        Self {
            questions: trips.asked,
            answers: trips.answered,
            unanswered_questions: trips.lost(),
            duplicate_answers: trips.duplicates,
            late_answers: trips.late,
            round_trip_min_us: average.map(|_| micros(trips.min)),
            round_trip_avg_us: average.map(micros),
            round_trip_max_us: average.map(|_| micros(trips.max)),
        }
    }
}

impl Sum {
    pub(super) fn new((group, interface): Place, responder: &Responder) -> Self {
        let Losses { questions, by_unicast, by_multicast, unknown } = responder.losses();
        Self {
            version: VERSION,
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
            lost_unknown_packets: unknown,
        }
    }
}

/// `kind` is `total`, of `ping`.
#[derive(Serialize)]
pub(super) struct Asked {
    version: u8,
    kind: &'static str,
    questions: u64,
    unsent_questions: u64,
    responders: usize,
    other_packets: u64,
    beyond_packets: u64,
}

impl Asked {
    pub(super) fn new(questions: u64, unsent: u64, responders: usize, others: u64, beyond: u64) -> Self {
        Self {
            version: VERSION,
            kind: "total",
            questions,
            unsent_questions: unsent,
            responders,
            other_packets: others,
            beyond_packets: beyond,
        }
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
        Self { version: VERSION, kind: "question", group, interface, source, ping_id, number: question.number }
    }
}

/// `kind` is `total`, of `pong`.
#[derive(Serialize)]
pub(super) struct Answered {
    version: u8,
    kind: &'static str,
    answered_questions: u64,
    duplicate_questions: u64,
    /// Too many.
    limited_questions: u64,
    /// Could not be sent.
    refused_answers: u64,
    other_packets: u64,
}

impl Answered {
    pub(super) fn new(counted: &Counted) -> Self {
        let Counted { answered, duplicates, declined, failed, others } = *counted;
        Self {
            version: VERSION,
            kind: "total",
            answered_questions: answered,
            duplicate_questions: duplicates,
            limited_questions: declined,
            refused_answers: failed,
            other_packets: others,
        }
    }
}

fn micros(time: Duration) -> f64 {
    microseconds(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX))
}
