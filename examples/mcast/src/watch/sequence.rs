//! The sequence numbers of one RTP sender (RFC 3550, appendices A.1 and A.3): what is lost, and what only came in another order.
//!
//! A missing number is counted as lost when its packet did not come before 64 later ones, nor in the one to two seconds until it is judged.
//! So a counter never goes back, and a packet that was only overtaken is not counted as lost.

/// The numbers that can still arrive: as many as a `u64` has bits.
const WINDOW: u16 = 64;
/// A step of as many numbers or more is no gap (`MAX_DROPOUT` of A.1).
const LONGEST_GAP: u16 = 3_000;
/// A packet that is as many numbers late, or less, is of this sequence (`MAX_MISORDER` of A.1).
const LATEST: u16 = 100;

/// Counts of all sequences of a stream. None of them ever goes back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Packets, without duplicates.
    pub(crate) received: u64,
    /// Packets that did not come.
    pub(crate) lost: u64,
    /// How often one or more packets in a row were lost.
    pub(crate) gaps: u64,
    /// Packets that came after a later one, but in time.
    pub(crate) reordered: u64,
    /// Packets that had already come.
    pub(crate) duplicates: u64,
    /// Packets that came after they had been counted as lost, or from before the first one.
    pub(crate) late: u64,
    /// Single packets with a number that is far from all others.
    pub(crate) strays: u64,
    /// How often the sequence went on at a number that is far away: how many packets were lost is unknown.
    pub(crate) jumps: u64,
}

impl Counts {
    /// Adds those of another stream.
    pub(crate) fn add(&mut self, other: &Self) {
        let Self { received, lost, gaps, reordered, duplicates, late, strays, jumps } = self;
        for (counter, more) in [
            (received, other.received),
            (lost, other.lost),
            (gaps, other.gaps),
            (reordered, other.reordered),
            (duplicates, other.duplicates),
            (late, other.late),
            (strays, other.strays),
            (jumps, other.jumps),
        ] {
            *counter = counter.saturating_add(more);
        }
    }

    fn lose(&mut self, packets: u64, is_new_gap: bool) {
        self.lost = self.lost.saturating_add(packets);
        self.gaps = self.gaps.saturating_add(u64::from(is_new_gap && packets > 0));
    }
}

/// Adds one to a counter.
fn count(counter: &mut u64) {
    *counter = counter.saturating_add(1);
}

/// Where a sequence stands.
pub(crate) struct Sequence {
    highest: u16,
    /// Bit `i` is for the number `highest - i`. Whether it came ..
    arrived: u64,
    /// .. whether it needs no more judging, because it was counted as lost, or is from before the first one ..
    judged: u64,
    /// .. and whether it was already missing when the missing ones were last judged.
    waiting: u64,
    /// Whether the number before these 64 was lost.
    was_lost: bool,
    /// The number that would confirm a sequence that begins far away, after a first packet of it.
    elsewhere: Option<u16>,
}

impl Sequence {
    /// It begins with this number.
    pub(crate) fn new(first: u16) -> Self {
        Self { highest: first, arrived: 1, judged: !1, waiting: 0, was_lost: false, elsewhere: None }
    }

    pub(crate) fn highest(&self) -> u16 {
        self.highest
    }

    /// A packet with this number came. Returns false if it is known to be a duplicate.
    pub(crate) fn add(&mut self, number: u16, counts: &mut Counts) -> bool {
        let ahead = number.wrapping_sub(self.highest);
        let behind = self.highest.wrapping_sub(number);
        if behind < WINDOW {
            self.settle(counts);
            return self.fill(behind, counts);
        }
        if ahead < LONGEST_GAP {
            self.settle(counts);
            self.advance(ahead, counts);
            count(&mut counts.received);
            return true;
        }
        if behind <= LATEST {
            self.settle(counts);
            // Whether it came before is not known any more.
            count(&mut counts.late);
            return true;
        }
        if self.elsewhere == Some(number) {
            // Two packets in a row: the sender started again, or many packets were lost.
            self.judge(u64::MAX, counts);
            *self = Self { arrived: 3, judged: !3, ..Self::new(number) };
            count(&mut counts.jumps);
            counts.received = counts.received.saturating_add(2);
            return true;
        }
        self.settle(counts);
        self.elsewhere = Some(number.wrapping_add(1));
        true
    }

    /// The packet after a stray one did not confirm it.
    fn settle(&mut self, counts: &mut Counts) {
        if self.elsewhere.take().is_some() {
            count(&mut counts.strays);
        }
    }

    /// One of the last 64 numbers came.
    fn fill(&mut self, behind: u16, counts: &mut Counts) -> bool {
        let bit = 1_u64 << behind;
        if self.arrived & bit != 0 {
            count(&mut counts.duplicates);
            return false;
        }
        self.arrived |= bit;
        if self.judged & bit != 0 {
            count(&mut counts.late);
        } else {
            count(&mut counts.received);
            count(&mut counts.reordered);
        }
        true
    }

    /// The highest number grows by `steps`, of which the last one came.
    fn advance(&mut self, steps: u16, counts: &mut Counts) {
        for _ in 0..steps.min(WINDOW) {
            self.judge(1 << (WINDOW - 1), counts);
            self.was_lost = self.is_lost(WINDOW - 1);
            self.arrived <<= 1;
            self.judged <<= 1;
            self.waiting <<= 1;
        }
        if let Some(beyond @ 1..) = steps.checked_sub(WINDOW) {
            // The window is empty now, and these numbers are before it.
            counts.lose(u64::from(beyond), !self.was_lost);
            self.was_lost = true;
        }
        self.arrived |= 1;
        self.highest = self.highest.wrapping_add(steps);
    }

    /// Counts those of these numbers as lost that did not come. The oldest one is first, so that packets in a row are one gap.
    fn judge(&mut self, numbers: u64, counts: &mut Counts) {
        let mut missing = numbers & !self.arrived & !self.judged;
        while let Some(oldest) = missing.checked_ilog2() {
            let follows_a_lost_one =
                if oldest == u32::from(WINDOW) - 1 { self.was_lost } else { self.is_lost(oldest as u16 + 1) };
            counts.lose(1, !follows_a_lost_one);
            self.judged |= 1 << oldest;
            missing &= !(1 << oldest);
        }
    }

    fn is_lost(&self, behind: u16) -> bool {
        (self.judged & !self.arrived) >> behind & 1 == 1
    }

    /// To be called once a second: what was missing at the last call, too, is lost.
    pub(crate) fn tick(&mut self, counts: &mut Counts) {
        self.judge(self.waiting, counts);
        self.waiting = !self.arrived & !self.judged;
    }

    /// Nothing more comes: what is missing is lost.
    pub(crate) fn finish(&mut self, counts: &mut Counts) {
        self.settle(counts);
        self.judge(u64::MAX, counts);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is counted of these numbers, with nothing more after them.
    fn counts_of(numbers: impl IntoIterator<Item = u16>) -> Counts {
        let mut numbers = numbers.into_iter();
        let mut sequence = Sequence::new(numbers.next().unwrap());
        let mut counts = Counts { received: 1, ..Counts::default() };
        for number in numbers {
            sequence.add(number, &mut counts);
        }
        sequence.finish(&mut counts);
        counts
    }

    #[test]
    fn an_even_sequence_over_the_wrap_loses_nothing() {
        let numbers = (0..200_000_u32).map(|number| (number + 65_000) as u16);
        assert_eq!(counts_of(numbers), Counts { received: 200_000, ..Counts::default() });
    }

    #[test]
    fn gaps_are_counted_over_the_wrap() {
        let counts = counts_of([65_533, 65_535, 3, 4, 5]);
        assert_eq!(counts, Counts { received: 5, lost: 4, gaps: 2, ..Counts::default() });
    }

    #[test]
    fn a_gap_may_be_longer_than_the_window() {
        for lost in [1, 62, 63, 64, 65, 66, 500, 2_998] {
            let counts = counts_of([10, 11, 12 + lost, 13 + lost]);
            let expected = Counts { received: 4, lost: u64::from(lost), gaps: 1, ..Counts::default() };
            assert_eq!(counts, expected, "{lost} lost");
        }
    }

    #[test]
    fn two_gaps_with_one_packet_between_them_are_two() {
        for lost in [1, 40, 64, 200] {
            let counts = counts_of([10, 11 + lost, 12 + 2 * lost, 13 + 2 * lost]);
            assert_eq!((counts.lost, counts.gaps), (2 * u64::from(lost), 2), "{lost} lost");
        }
    }

    #[test]
    fn what_comes_in_another_order_is_not_lost() {
        let counts = counts_of([1, 2, 5, 3, 4, 6, 8, 7]);
        assert_eq!(counts, Counts { received: 8, reordered: 3, ..Counts::default() });
    }

    #[test]
    fn duplicates_hide_no_loss() {
        let counts = counts_of([1, 1, 2, 2, 4, 4, 2]);
        assert_eq!(counts, Counts { received: 3, lost: 1, gaps: 1, duplicates: 4, ..Counts::default() });
    }

    #[test]
    fn what_is_64_numbers_late_stays_lost() {
        let in_time = counts_of((1..=3).chain(5..=67).chain([4]));
        assert_eq!(in_time, Counts { received: 67, reordered: 1, ..Counts::default() });
        let late = counts_of((1..=3).chain(5..=68).chain([4]));
        assert_eq!(late, Counts { received: 67, lost: 1, gaps: 1, late: 1, ..Counts::default() });
    }

    #[test]
    fn what_comes_from_before_the_first_one_is_late() {
        assert_eq!(counts_of([7, 6, 8]), Counts { received: 2, late: 1, ..Counts::default() });
    }

    #[test]
    fn what_is_missing_for_two_ticks_is_lost_and_late_if_it_comes_then() {
        let (mut sequence, mut counts) = (Sequence::new(1), Counts::default());
        sequence.add(4, &mut counts);
        sequence.tick(&mut counts);
        sequence.add(6, &mut counts);
        sequence.add(2, &mut counts);
        assert_eq!((counts.lost, counts.reordered), (0, 1));
        sequence.tick(&mut counts);
        assert_eq!((counts.lost, counts.gaps), (1, 1));
        sequence.add(3, &mut counts);
        sequence.add(5, &mut counts);
        assert_eq!((counts.lost, counts.late, counts.reordered), (1, 1, 2));
        sequence.finish(&mut counts);
        assert_eq!(counts, Counts { received: 4, lost: 1, gaps: 1, reordered: 2, late: 1, ..Counts::default() });
    }

    #[test]
    fn a_sequence_that_goes_on_far_away_is_a_jump() {
        let counts = counts_of([1, 2, 3, 40_000, 40_001, 40_002]);
        assert_eq!(counts, Counts { received: 6, jumps: 1, ..Counts::default() });
        // The window before it is closed.
        let counts = counts_of([1, 3, 40_000, 40_001, 40_003]);
        assert_eq!(counts, Counts { received: 5, lost: 2, gaps: 2, jumps: 1, ..Counts::default() });
    }

    #[test]
    fn one_packet_from_far_away_is_a_stray() {
        let counts = counts_of([1, 2, 40_000, 3, 4]);
        assert_eq!(counts, Counts { received: 4, strays: 1, ..Counts::default() });
        let counts = counts_of([1, 40_000, 20_000, 2]);
        assert_eq!(counts, Counts { received: 2, strays: 2, ..Counts::default() });
    }

    #[test]
    fn no_order_of_numbers_breaks_the_books() {
        // Each packet is in exactly one of the counters, whatever comes.
        let mut state = 1_u32;
        for spread in [4, 64, 200, 4_000, 65_536] {
            let numbers: Vec<u16> = (0..10_000_u32)
                .map(|number| {
                    state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    (number + (state >> 8) % spread) as u16
                })
                .collect();
            let counts = counts_of(numbers);
            let all = counts.received + counts.duplicates + counts.late + counts.strays;
            assert_eq!(all, 10_000, "spread {spread}: {counts:?}");
        }
    }
}
