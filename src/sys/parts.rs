//! Parts of memory, gathered for one system call.

use core::marker::PhantomData;
use core::ptr::null_mut;

use linux_raw_sys::general::iovec;

/// The most segments of one datagram that every kernel with `UDP_SEGMENT` allows. From `linux/udp.h`.
const SEGMENTS: usize = 64;

/// Up to [`SEGMENTS`] parts. What lies side by side in memory is one part: the kernel needs about 20 ns for each.
///
/// The kernel reads each part by its addresses, so a part may reach over several slices, all of which are lent for `'p`.
pub(super) struct Parts<'p> {
    gathered: [iovec; SEGMENTS],
    count: usize,
    /// The address behind the last part. 0 if there is none: no slice begins there.
    end: usize,
    lent: PhantomData<&'p [u8]>,
}

impl<'p> Parts<'p> {
    pub(super) const fn none() -> Self {
        let nothing = iovec { iov_base: null_mut(), iov_len: 0 };
        Self { gathered: [nothing; SEGMENTS], count: 0, end: 0, lent: PhantomData }
    }

    /// In place: the value has 1 KiB, and one that is returned is copied on the stack.
    pub(super) fn gather(&mut self, slices: impl Iterator<Item = &'p [u8]>) {
        slices.take(SEGMENTS).for_each(|slice| self.push(slice));
    }

    /// Does nothing if there is no place left.
    #[inline]
    fn push(&mut self, slice: &'p [u8]) {
        // Exposed, since the kernel may read these bytes by the address of a slice before them.
        let begin = slice.as_ptr().expose_provenance();
        if begin == self.end {
            if let Some(last) = self.gathered.get_mut(self.count.wrapping_sub(1)) {
                // No object ends behind the end of memory.
                last.iov_len = last.iov_len.wrapping_add(slice.len() as _);
                self.end = begin.wrapping_add(slice.len());
            }
        } else if let Some(place) = self.gathered.get_mut(self.count) {
            // The pointer is not `const` because readv(2) uses the same structure.
            *place = iovec { iov_base: slice.as_ptr().cast_mut().cast(), iov_len: slice.len() as _ };
            self.count = self.count.wrapping_add(1);
            self.end = begin.wrapping_add(slice.len());
        }
    }

    pub(super) fn as_mut_slice(&mut self) -> &mut [iovec] {
        self.gathered.get_mut(..self.count).unwrap_or(&mut [])
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    /// What the kernel would read of these slices: where each part begins in `memory`, and how long it is.
    fn gathered(memory: &[u8], slices: &[&[u8]]) -> Vec<(usize, usize)> {
        let mut parts = Parts::none();
        parts.gather(slices.iter().copied());
        let place = |part: &iovec| (part.iov_base.addr() - memory.as_ptr().addr(), part.iov_len as usize);
        parts.as_mut_slice().iter().map(place).collect()
    }

    #[test]
    fn slices_side_by_side_are_one_part() {
        let memory = [0; 100];
        assert_eq!(gathered(&memory, &memory.chunks(30).collect::<Vec<_>>()), [(0, 100)]);
        assert_eq!(gathered(&memory, &[&memory[10..20]]), [(10, 10)]);
        assert_eq!(gathered(&memory, &[]), []);
        let pairs = [&memory[..10], &memory[10..20], &memory[21..30], &memory[30..40]];
        assert_eq!(gathered(&memory, &pairs), [(0, 20), (21, 19)], "a byte lies between the second and the third");
    }

    #[test]
    fn other_neighbours_stay_apart() {
        let memory = [0; 100];
        let reversed: Vec<_> = memory.rchunks(50).collect();
        assert_eq!(gathered(&memory, &reversed), [(50, 50), (0, 50)]);
        assert_eq!(gathered(&memory, &[&memory[..10], &memory[9..20]]), [(0, 10), (9, 11)], "they overlap");
        assert_eq!(gathered(&memory, &[&memory[..10]; 3]), [(0, 10); 3]);
    }

    #[test]
    fn more_slices_than_places_are_left_out() {
        let memory = [0; 2 * SEGMENTS + 2];
        let apart: Vec<_> = memory.chunks(2).map(|pair| &pair[..1]).collect();
        assert_eq!(gathered(&memory, &apart), (0..SEGMENTS).map(|place| (2 * place, 1)).collect::<Vec<_>>());
        let adjacent: Vec<_> = memory.chunks(1).collect();
        assert_eq!(gathered(&memory, &adjacent), [(0, SEGMENTS)]);
    }

    /// Slices of 64 bytes of memory: mostly behind the one before, also empty ones.
    fn slices() -> impl Strategy<Value = Vec<(Option<usize>, usize)>> {
        prop::collection::vec((prop::option::weighted(0.3, 0..64_usize), 0..9_usize), 0..=SEGMENTS)
    }

    proptest! {
        #[test]
        fn the_kernel_reads_the_bytes_of_all_slices_in_their_order_and_as_few_parts_as_can_be(ways in slices()) {
            let memory: Vec<u8> = (0..64).collect();
            let mut end = 0;
            let ranges: Vec<_> = ways
                .into_iter()
                .map(|(begin, length)| {
                    let begin = begin.unwrap_or(end);
                    end = (begin + length).min(memory.len());
                    begin..end
                })
                .collect();
            let slices: Vec<_> = ranges.iter().map(|range| &memory[range.clone()]).collect();
            let parts = gathered(&memory, &slices);
            let read: Vec<_> = parts.iter().flat_map(|&(begin, length)| &memory[begin..][..length]).collect();
            prop_assert_eq!(read, slices.iter().copied().flatten().collect::<Vec<_>>());
            let gaps = ranges.windows(2).filter(|pair| pair[0].end != pair[1].start).count();
            prop_assert_eq!(parts.len(), if ranges.is_empty() { 0 } else { gaps + 1 });
        }
    }
}
