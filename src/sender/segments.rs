//! Which packets can leave in one call: the rules of `UDP_SEGMENT` (`udp(7)`), and the limits that the kernel reported.

/// The length of the longest datagram, in bytes, that the kernel can cut into segments.
const LONGEST: usize = 65_507;

/// Runs of up to this many bytes are copied to one place before they are sent: the copy costs less than the kernel needs to fetch
/// each packet from a separate place, about 20 ns.
pub(crate) const COPIED: usize = 4096;

/// The sizes of segments that the kernel has not refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Segments {
    /// Longer packets are sent one by one. With 0, all are.
    largest: u16,
}

/// Packets that can leave together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    /// How many packets, at least 2.
    pub(crate) count: usize,
    /// The size of each packet in bytes, except the last, which may be shorter.
    pub(crate) size: u16,
}

impl Run {
    /// Whether to copy the packets to one place of [`COPIED`] bytes before they are sent, unless they lie side by side.
    pub(crate) fn is_copied(self) -> bool {
        self.count.saturating_mul(self.size.into()) <= COPIED
    }
}

/// Whether each of these slices begins in memory where the one before it ends. Then the kernel reads them as one.
pub(crate) fn are_side_by_side<'p>(slices: impl Iterator<Item = &'p [u8]>) -> bool {
    let mut slices = slices.map(<[u8]>::as_ptr_range);
    let Some(first) = slices.next() else { return true };
    let mut end = first.end;
    slices.all(|slice| slice.start == core::mem::replace(&mut end, slice.end))
}

impl Segments {
    /// All sizes are allowed until the kernel refuses one.
    pub(crate) const fn new() -> Self {
        Self { largest: u16::MAX }
    }

    /// The first packets that can leave together. They have one size, except the last, which may be shorter. None is empty, since
    /// an empty segment would not be sent.
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

    /// The kernel refused segments of this size, so only shorter ones are tried from now on.
    pub(crate) fn refused(&mut self, size: u16) {
        self.largest = self.largest.min(size.saturating_sub(1));
    }

    /// Kernel or device do not support it.
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
    fn one_packet_is_not_a_run() {
        let all = Segments::new();
        assert_eq!(run(all, &[]), None);
        assert_eq!(run(all, &[100]), None);
        assert_eq!(run(all, &[40, 100]), None);
    }

    #[test]
    fn empty_packets_are_sent_one_by_one() {
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
    fn slices_are_side_by_side_if_each_begins_where_the_one_before_ends() {
        let memory = [0; 30];
        assert!(are_side_by_side(memory.chunks(7)));
        assert!(are_side_by_side(core::iter::empty()));
        assert!(!are_side_by_side(memory.rchunks(10)), "reversed");
        assert!(!are_side_by_side([&memory[..10], &memory[10..20], &memory[21..]].into_iter()), "a byte lies between");
        assert!(!are_side_by_side([&memory[..10], &memory[9..19]].into_iter()), "they overlap");
        assert!(!are_side_by_side([&memory[..10]; 2].into_iter()), "twice the same");
    }

    #[test]
    fn a_size_that_was_refused_is_not_tried_again() {
        let mut learnt = Segments::new();
        learnt.refused(1473);
        assert_eq!(run(learnt, &[1473, 1473]), None);
        assert_eq!(run(learnt, &[1472, 1472]), Some((2, 1472)));
        learnt.refused(2000);
        assert_eq!(run(learnt, &[1473, 1473]), None, "a larger refused size changes nothing");
        learnt.unsupported();
        assert_eq!(run(learnt, &[1, 1]), None);
    }
}
