//! Which packets can leave in one call: the rules of `UDP_SEGMENT` (`udp(7)`), and what was learnt of the way.

/// The longest datagram, in bytes, that can be cut into segments.
const LONGEST: usize = 65_507;

/// So many bytes in all are copied to one place before they are sent: to fetch each part from a place of its own costs the kernel
/// some 20 ns, several times what the copy costs.
pub(crate) const COPIED: usize = 4096;

/// The sizes that the kernel cuts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Segments {
    /// Longer packets are sent singly. 0: all are.
    largest: u16,
}

/// Packets that can leave together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    /// How many, 2 at least.
    pub(crate) count: usize,
    /// The size of each in bytes, but of the last, which may be shorter.
    pub(crate) size: u16,
}

impl Run {
    /// Whether it is cheaper to copy the packets to one place of [`COPIED`] bytes before they are sent.
    pub(crate) fn is_copied(self) -> bool {
        self.count.saturating_mul(self.size.into()) <= COPIED
    }
}

impl Segments {
    /// All sizes, until the kernel has refused one.
    pub(crate) const fn new() -> Self {
        Self { largest: u16::MAX }
    }

    /// The packets at the front that can leave together: of one size, the last one possibly shorter; none empty, since an empty
    /// segment would vanish.
    pub(crate) fn run(self, lengths: impl Iterator<Item = usize>) -> Option<Run> {
        let mut lengths = lengths;
        let first = lengths.next()?;
        let size = u16::try_from(first).ok().filter(|size| (1..=self.largest).contains(size))?;
        let (mut count, mut total) = (1_usize, first);
        for length in lengths {
            total = total.saturating_add(length);
            if length == 0 || length > first || total > LONGEST {
                break;
            }
            count = count.saturating_add(1);
            if length < first {
                break;
            }
        }
        (count > 1).then_some(Run { count, size })
    }

    /// The kernel refused segments of this size: it is longer than the way allows.
    pub(crate) fn refused(&mut self, size: u16) {
        self.largest = self.largest.min(size.saturating_sub(1));
    }

    /// The kernel or the device cannot do it at all.
    pub(crate) const fn unsupported(&mut self) {
        self.largest = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(segments: Segments, lengths: &[usize]) -> Option<(usize, u16)> {
        segments.run(lengths.iter().copied()).map(|run| (run.count, run.size))
    }

    #[test]
    fn equal_packets_leave_together_and_a_shorter_one_ends_the_run() {
        let all = Segments::new();
        assert_eq!(run(all, &[100, 100, 100]), Some((3, 100)));
        assert_eq!(run(all, &[100, 100, 40, 100]), Some((3, 100)));
        assert_eq!(run(all, &[100, 100, 101]), Some((2, 100)));
        assert_eq!(run(all, &[100, 40]), Some((2, 100)));
    }

    #[test]
    fn one_packet_alone_is_no_run() {
        let all = Segments::new();
        assert_eq!(run(all, &[]), None);
        assert_eq!(run(all, &[100]), None);
        assert_eq!(run(all, &[40, 100]), None);
    }

    #[test]
    fn empty_packets_leave_singly() {
        let all = Segments::new();
        assert_eq!(run(all, &[0, 0]), None);
        assert_eq!(run(all, &[0, 5]), None);
        assert_eq!(run(all, &[5, 0]), None);
        assert_eq!(run(all, &[5, 5, 0, 5]), Some((2, 5)));
    }

    #[test]
    fn a_run_is_no_longer_than_a_datagram() {
        let all = Segments::new();
        assert_eq!(run(all, &[32_753, 32_753, 1]), Some((3, 32_753)), "65,507 in all");
        assert_eq!(run(all, &[32_754, 32_754]), None, "65,508 in all");
        assert_eq!(run(all, &[20_000; 5]), Some((3, 20_000)));
        assert_eq!(run(all, &[70_000, 70_000]), None);
        assert_eq!(run(all, &[usize::MAX, usize::MAX]), None);
    }

    #[test]
    fn short_runs_are_copied_to_one_place() {
        for (count, size, is_copied) in [(2, 1, true), (64, 64, true), (2, 2048, true), (65, 64, false), (2, 2049, false)] {
            assert_eq!(Run { count, size }.is_copied(), is_copied, "{count} of {size}");
        }
    }

    #[test]
    fn a_size_that_was_refused_is_not_tried_again() {
        let mut learnt = Segments::new();
        learnt.refused(1473);
        assert_eq!(run(learnt, &[1473, 1473]), None);
        assert_eq!(run(learnt, &[1472, 1472]), Some((2, 1472)));
        learnt.refused(2000);
        assert_eq!(run(learnt, &[1473, 1473]), None, "a larger one teaches nothing new");
        learnt.unsupported();
        assert_eq!(run(learnt, &[1, 1]), None);
    }
}
