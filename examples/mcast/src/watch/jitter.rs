//! Jitter as RFC 3550 defines it (section 6.4.1, appendix A.8): how unevenly packets arrive, compared with the clock in them. It serves
//! the timestamps of RTP and the PCR of MPEG-TS.

/// A step of more than this, in nanoseconds, is no jitter: one of the two clocks was set, or the sender started again.
const LONGEST: u64 = 10_000_000_000;

/// The jitter of one clock.
#[derive(Default)]
pub(crate) struct Jitter {
    /// When the last packet arrived, in nanoseconds.
    arrived: Option<u64>,
    /// The jitter in sixteenths of a nanosecond, as appendix A.8 keeps it.
    scaled: u64,
    /// The highest jitter so far, in the same unit.
    highest: u64,
}

impl Jitter {
    /// A packet arrived at this time. Its own clock says that it was sent this much later than the last one. Both are nanoseconds.
    pub(crate) fn add(&mut self, arrival: u64, step: i64) {
        let Some(before) = self.arrived.replace(arrival) else { return };
        let distance = (i128::from(arrival) - i128::from(before) - i128::from(step)).unsigned_abs();
        let Ok(distance) = u64::try_from(distance) else { return };
        if distance > LONGEST {
            return;
        }
        let decay = self.scaled.saturating_add(8) >> 4;
        self.scaled = self.scaled.saturating_add(distance).saturating_sub(decay);
        self.highest = self.highest.max(self.scaled);
    }

    /// The packet's clock says nothing about the time since the last one.
    pub(crate) fn restart(&mut self, arrival: u64) {
        self.arrived = Some(arrival);
    }

    /// In nanoseconds.
    pub(crate) fn now(&self) -> u64 {
        self.scaled >> 4
    }

    /// The highest so far, in nanoseconds.
    pub(crate) fn highest(&self) -> u64 {
        self.highest >> 4
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_even_stream_has_none() {
        let mut jitter = Jitter::default();
        for count in 0..1_000_u64 {
            jitter.add(5_000 + count * 20_000_000, 20_000_000);
        }
        assert_eq!((jitter.now(), jitter.highest()), (0, 0));
    }

    #[test]
    fn each_difference_counts_a_sixteenth() {
        let mut jitter = Jitter::default();
        jitter.add(0, 0);
        jitter.add(20_016_000, 20_000_000);
        assert_eq!(jitter.now(), 1_000);
        // As the formula says: J + (|D| - J) / 16.
        jitter.add(40_000_000, 20_000_000);
        assert_eq!(jitter.now(), 1_000 + (16_000 - 1_000) / 16);
        jitter.add(60_000_000, 20_000_000);
        assert!(jitter.now() < 1_900, "{}", jitter.now());
        assert_eq!(jitter.highest(), 1_937);
    }

    #[test]
    fn a_constant_difference_is_the_jitter_in_the_end() {
        let mut jitter = Jitter::default();
        for count in 0..1_000_u64 {
            jitter.add(count * 20_000_000 + (count % 2) * 1_000_000, 20_000_000);
        }
        assert!((999_000..=1_000_000).contains(&jitter.now()), "{}", jitter.now());
    }

    #[test]
    fn a_clock_that_is_set_is_no_jitter() {
        let mut jitter = Jitter::default();
        jitter.add(1_000_000_000_000, 0);
        // The receiver's clock goes back by an hour, and the sender's by the most that there is.
        jitter.add(1, 20_000_000);
        jitter.add(20_000_001, i64::MIN);
        jitter.add(u64::MAX, i64::MIN);
        assert_eq!(jitter.now(), 0);
        jitter.restart(100);
        jitter.add(20_000_100, 20_000_000);
        assert_eq!(jitter.now(), 0);
    }
}
