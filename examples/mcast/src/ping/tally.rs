//! What was asked, who answered, and what was lost on which way.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::packet::{Answer, Way};

/// How many responders are told apart.
const MOST: usize = 256;

pub(crate) struct Tally {
    ping: u64,
    /// How long an answer may take.
    patience: Duration,
    /// The questions whose answers may still come, oldest first.
    open: Vec<Asked>,
    asked: u64,
    responders: Vec<Responder>,
    beyond: u64,
}

struct Asked {
    number: u64,
    at: Instant,
    /// The responders whose answers came.
    answered: Vec<(usize, Way)>,
}

/// One who answers.
pub(crate) struct Responder {
    pub(crate) address: SocketAddr,
    pub(crate) pong: u64,
    /// The lowest question that it answered, with how many it had heard then; and the highest one.
    first: (u64, u64),
    last: (u64, u64),
    unicast: Trips,
    multicast: Trips,
}

/// The round trips on which the answers came one way.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Trips {
    /// Questions from the first one that was answered on, without those whose answers may still come.
    pub(crate) asked: u64,
    pub(crate) answered: u64,
    pub(crate) duplicates: u64,
    /// Came after they were called lost.
    pub(crate) late: u64,
    timed: u32,
    sum: Duration,
    pub(crate) min: Duration,
    pub(crate) max: Duration,
}

impl Trips {
    pub(crate) fn lost(&self) -> u64 {
        self.asked.saturating_sub(self.answered)
    }

    /// `None` if there was none.
    pub(crate) fn average(&self) -> Option<Duration> {
        self.sum.checked_div(self.timed)
    }

    fn add(&mut self, time: Duration) {
        self.min = if self.timed == 0 { time } else { self.min.min(time) };
        self.max = self.max.max(time);
        self.sum = self.sum.saturating_add(time);
        self.timed = self.timed.saturating_add(1);
    }

    fn close(&mut self, is_answered: bool) {
        self.asked = self.asked.saturating_add(1);
        self.answered = self.answered.saturating_add(is_answered.into());
    }
}

/// What an answer was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// The round trip took this long.
    Trip(Duration),
    Duplicate,
    /// It had been called lost.
    Late,
    /// To somebody else, or to a question that was not asked.
    Other,
    /// There are too many responders.
    Beyond,
}

/// What was lost on which way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Losses {
    /// Questions, on the way there.
    pub(crate) questions: u64,
    /// Answers, on the way back.
    pub(crate) by_unicast: u64,
    pub(crate) by_multicast: u64,
    /// Questions behind the last one that was answered: nobody knows on which way.
    pub(crate) unknown: u64,
}

impl Tally {
    pub(crate) fn new(ping: u64, patience: Duration) -> Self {
        Self { ping, patience, open: Vec::new(), asked: 0, responders: Vec::new(), beyond: 0 }
    }

    /// The number of the next question, which is how many were asked.
    pub(crate) fn asked(&self) -> u64 {
        self.asked
    }

    pub(crate) fn responders(&self) -> &[Responder] {
        &self.responders
    }

    /// How many answers came of more responders than are told apart.
    pub(crate) fn beyond(&self) -> u64 {
        self.beyond
    }

    /// The next question leaves now.
    pub(crate) fn ask(&mut self, now: Instant) {
        self.open.push(Asked { number: self.asked, at: now, answered: Vec::new() });
        self.asked = self.asked.saturating_add(1);
    }

    /// Adds an answer.
    pub(crate) fn answer(&mut self, answer: &Answer, from: SocketAddr, now: Instant) -> Found {
        let number = answer.to.number;
        if answer.to.ping != self.ping || number >= self.asked {
            return Found::Other;
        }
        let open = self.open.iter_mut().find(|asked| asked.number == number);
        let index = match self.responders.iter().position(|responder| responder.pong == answer.pong) {
            Some(index) => index,
            None if self.responders.len() >= MOST => {
                self.beyond = self.beyond.saturating_add(1);
                return Found::Beyond;
            }
            // Its loss counts from this question on, which must not be closed before.
            None if open.is_none() => return Found::Late,
            None => {
                self.responders.push(Responder::new(from, answer));
                self.responders.len().saturating_sub(1)
            }
        };
        let Some(responder) = self.responders.get_mut(index) else { return Found::Beyond };
        let Some(asked) = open else {
            let trips = responder.trips_mut(answer.way);
            trips.late = trips.late.saturating_add(1);
            return Found::Late;
        };
        responder.heard(number, answer.heard);
        let trips = responder.trips_mut(answer.way);
        if asked.answered.contains(&(index, answer.way)) {
            trips.duplicates = trips.duplicates.saturating_add(1);
            return Found::Duplicate;
        }
        asked.answered.push((index, answer.way));
        let time = now.saturating_duration_since(asked.at);
        trips.add(time);
        Found::Trip(time)
    }

    /// When the answers to the oldest question are due.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.open.first()?.at.checked_add(self.patience)
    }

    /// Closes the questions whose answers are due, and calls `lost` for each answer that did not come: with the number of the question.
    pub(crate) fn close(&mut self, now: Instant, mut lost: impl FnMut(&Responder, Way, u64)) {
        while self.due().is_some_and(|due| due <= now) {
            let asked = self.open.remove(0);
            for (index, responder) in self.responders.iter_mut().enumerate() {
                if responder.first.0 > asked.number {
                    continue;
                }
                for way in Way::ALL {
                    let is_answered = asked.answered.contains(&(index, way));
                    responder.trips_mut(way).close(is_answered);
                    if !is_answered {
                        lost(responder, way, asked.number);
                    }
                }
            }
        }
    }
}

impl Responder {
    fn new(address: SocketAddr, answer: &Answer) -> Self {
        let heard = (answer.to.number, answer.heard);
        let (unicast, multicast) = (Trips::default(), Trips::default());
        Self { address, pong: answer.pong, first: heard, last: heard, unicast, multicast }
    }

    fn heard(&mut self, number: u64, heard: u64) {
        if number < self.first.0 {
            self.first = (number, heard);
        }
        if number > self.last.0 {
            self.last = (number, heard);
        }
    }

    pub(crate) fn trips(&self, way: Way) -> &Trips {
        match way {
            Way::Unicast => &self.unicast,
            Way::Multicast => &self.multicast,
        }
    }

    fn trips_mut(&mut self, way: Way) -> &mut Trips {
        match way {
            Way::Unicast => &mut self.unicast,
            Way::Multicast => &mut self.multicast,
        }
    }

    /// What was lost on which way, of the questions that are closed. What it says that it has heard is believed.
    pub(crate) fn losses(&self) -> Losses {
        let asked = self.unicast.asked;
        // From the first to the last that were answered, both included.
        let between = self.last.0.saturating_sub(self.first.0).saturating_add(1).min(asked);
        let heard = self.last.1.saturating_sub(self.first.1).saturating_add(1).min(between);
        let back = |trips: &Trips| heard.saturating_sub(trips.answered).saturating_sub(trips.late);
        Losses {
            questions: between.saturating_sub(heard),
            by_unicast: back(&self.unicast),
            by_multicast: back(&self.multicast),
            unknown: asked.saturating_sub(between),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::packet::Question;
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(1);

    fn address(host: u8) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, host], 4000))
    }

    /// A pong that hears the questions, and loses some answers on the way.
    struct Pong {
        id: u64,
        heard: u64,
    }

    impl Pong {
        fn answers(&mut self, tally: &mut Tally, number: u64, ways: &[Way], now: Instant) {
            self.heard += 1;
            for way in ways {
                let to = Question { ping: 1, number };
                let answer = Answer { to, way: *way, pong: self.id, heard: self.heard };
                assert!(matches!(tally.answer(&answer, address(self.id as u8), now), Found::Trip(_)));
            }
        }
    }

    #[test]
    fn the_loss_of_each_way_is_told_apart() {
        use Way::{Multicast, Unicast};
        let (mut tally, mut pong, start) = (Tally::new(1, PATIENCE), Pong { id: 9, heard: 0 }, Instant::now());
        let mut lost = Vec::new();
        // It is not there for the first two; hears all but 4; both answers to 5, one to 3 and one to 6 are lost; it goes before 8.
        let heard: [Option<&[Way]>; 10] = [
            None,
            None,
            Some(&[Unicast, Multicast]),
            Some(&[Unicast]),
            None,
            Some(&[]),
            Some(&[Multicast]),
            Some(&[Unicast, Multicast]),
            None,
            None,
        ];
        for (number, ways) in heard.into_iter().enumerate() {
            let now = start + PATIENCE * number as u32;
            tally.close(now, |responder, way, number| lost.push((responder.pong, way, number)));
            assert_eq!(tally.asked(), number as u64);
            tally.ask(now);
            if let Some(ways) = ways {
                pong.answers(&mut tally, number as u64, ways, now + PATIENCE / 4);
            }
        }
        assert_eq!(tally.due(), Some(start + PATIENCE * 10));
        tally.close(start + PATIENCE * 10, |responder, way, number| lost.push((responder.pong, way, number)));
        assert_eq!(tally.due(), None);
        let expected = [(Multicast, 3), (Unicast, 4), (Multicast, 4), (Unicast, 5), (Multicast, 5), (Unicast, 6)];
        let after = [(Unicast, 8), (Multicast, 8), (Unicast, 9), (Multicast, 9)];
        assert_eq!(
            lost,
            [&expected[..], &after].concat().into_iter().map(|(way, number)| (9, way, number)).collect::<Vec<_>>()
        );
        let [responder] = tally.responders() else { panic!() };
        assert_eq!(responder.losses(), Losses { questions: 1, by_unicast: 2, by_multicast: 2, unknown: 2 });
        let (unicast, multicast) = (responder.trips(Unicast), responder.trips(Multicast));
        assert_eq!((unicast.asked, unicast.answered, unicast.lost()), (8, 3, 5));
        assert_eq!((multicast.asked, multicast.answered, multicast.lost()), (8, 3, 5));
        assert_eq!((unicast.average(), unicast.min, unicast.max), (Some(PATIENCE / 4), PATIENCE / 4, PATIENCE / 4));
    }

    #[test]
    fn duplicates_late_answers_and_other_peoples_are_told_apart() {
        let (mut tally, start) = (Tally::new(1, PATIENCE), Instant::now());
        let answer = |ping, number, pong| Answer { to: Question { ping, number }, way: Way::Unicast, pong, heard: 1 };
        assert_eq!(tally.answer(&answer(1, 0, 5), address(1), start), Found::Other);
        tally.ask(start);
        assert_eq!(tally.answer(&answer(2, 0, 5), address(1), start), Found::Other);
        assert_eq!(tally.answer(&answer(1, 1, 5), address(1), start), Found::Other);
        assert_eq!(tally.answer(&answer(1, 0, 5), address(1), start + PATIENCE / 2), Found::Trip(PATIENCE / 2));
        assert_eq!(tally.answer(&answer(1, 0, 5), address(1), start), Found::Duplicate);
        // Two on one host.
        assert_eq!(tally.answer(&answer(1, 0, 6), address(1), start), Found::Trip(Duration::ZERO));
        tally.close(start + PATIENCE, |_, way, _| assert_eq!(way, Way::Multicast));
        assert_eq!(tally.answer(&answer(1, 0, 5), address(1), start), Found::Late);
        assert_eq!(tally.answer(&answer(1, 0, 7), address(1), start), Found::Late);
        assert_eq!(tally.responders().len(), 2);
        assert_eq!(tally.responders()[0].losses().by_unicast, 0);
    }

    #[test]
    fn a_flood_of_responders_is_bounded() {
        let (mut tally, start) = (Tally::new(1, PATIENCE), Instant::now());
        tally.ask(start);
        for pong in 0..1_000 {
            let answer = Answer { to: Question { ping: 1, number: 0 }, way: Way::Multicast, pong, heard: u64::MAX };
            tally.answer(&answer, address(1), start);
        }
        assert_eq!((tally.responders().len(), tally.beyond()), (MOST, 1_000 - MOST as u64));
        tally.close(start + PATIENCE, |_, _, _| {});
        assert!(tally.responders().iter().all(|responder| responder.losses().by_unicast == 1));
    }
}
