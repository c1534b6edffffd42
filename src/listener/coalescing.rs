//! Receives packets that the kernel coalesced, and returns them one by one.

use core::ops::ControlFlow;

use super::receiving::{BUDGET, Inner, Mode, receive_error};
use crate::address::Address;
use crate::error::{Errno, Result};
use crate::filter::Filter;
use crate::packet::Received;
use crate::socket::Datagram;

/// The length in bytes of the buffer that coalesced packets are received into: the longest possible datagram.
pub const COALESCING_BUFFER: usize = 65_535;

/// The caller's buffer, and the packets in it that were not returned yet.
pub struct Coalescing<'b> {
    buffer: &'b mut [u8; COALESCING_BUFFER],
    rest: Rest,
}

/// The rest of the last datagram: packets in the buffer that were not returned yet.
#[derive(Clone, Copy, Debug)]
struct Rest {
    source: Address,
    /// Where the next packet begins: after `end` if there is none. An empty datagram is one packet.
    next: usize,
    /// Where the last packet ends.
    end: usize,
    /// The size of each packet except the last, which may be shorter.
    segment: usize,
}

impl Rest {
    const NOTHING: Self = Self { source: Address::EMPTY, next: 1, end: 0, segment: 0 };

    /// A datagram of `length` bytes that consists of packets of `segment` bytes.
    fn of(source: Address, length: usize, segment: Option<u32>) -> Self {
        let end = length.min(COALESCING_BUFFER);
        // `None` if the datagram is one packet. With 0, `take` would never reach the end.
        let segment = segment.filter(|size| *size > 0).map_or(end, |size| size as usize);
        Self { source, next: 0, end, segment }
    }

    const fn is_empty(&self) -> bool {
        self.next > self.end
    }

    /// Removes the next packet, and returns where it begins and ends.
    #[inline]
    fn take(&mut self) -> Option<(usize, usize)> {
        let begin = self.next;
        if self.is_empty() {
            return None;
        }
        let end = begin.saturating_add(self.segment).min(self.end);
        self.next = if end < self.end { end } else { usize::MAX };
        Some((begin, end))
    }
}

impl<'b> Coalescing<'b> {
    pub(super) const fn new(buffer: &'b mut [u8; COALESCING_BUFFER]) -> Self {
        Self { buffer, rest: Rest::NOTHING }
    }

    /// Returns the next packet that the filter accepts.
    // Inlined: of 64 packets that came together, 63 take these lines alone.
    #[inline]
    pub(super) fn recv<'l, F: Filter>(&'l mut self, inner: &'l mut Inner<F>) -> Result<Received<'l>> {
        let mut budget = BUDGET;
        if !inner.last_is_admitted && !self.rest.is_empty() && !inner.still_admits_last().map_err(receive_error)? {
            while self.rest.take().is_some() {
                inner.refuse_one();
            }
        }
        loop {
            let Some((begin, end)) = self.rest.take() else {
                match self.fill(inner, &mut budget) {
                    ControlFlow::Continue(()) => continue,
                    ControlFlow::Break(result) => return result,
                }
            };
            budget = budget.saturating_sub(1);
            let length = end.saturating_sub(begin);
            let cut = begin.saturating_add(length.min(inner.state.mtu.into()));
            let datagram = Datagram { length, source: self.rest.source };
            // Coalesced packets may have arrived with different ones: see `ListenOptions::open`.
            let hop_limit = if inner.mode == Mode::Coalesces { None } else { inner.last.hop_limit };
            if inner.accepts(self.buffer.get(begin..cut).unwrap_or(&[]), length, &datagram.source, hop_limit) {
                let payload = self.buffer.get(begin..cut).unwrap_or(&[]);
                return Ok(inner.packet(payload, begin as u16, &datagram));
            }
        }
    }

    /// Fills the buffer, in which no packet is left. Otherwise returns why it did not.
    #[inline(never)]
    fn fill<F: Filter>(&mut self, inner: &mut Inner<F>, budget: &mut u32) -> ControlFlow<Result<Received<'static>>> {
        // The budget must not end a call while packets are left in our own buffer: a poller does not report them.
        while *budget > 0 {
            match inner.next_checked(self.buffer) {
                Ok(Some((datagram, segment))) => {
                    self.rest = Rest::of(datagram.source, datagram.length, segment);
                    return ControlFlow::Continue(());
                }
                Ok(None) | Err(Errno::INTERRUPTED) => *budget = budget.saturating_sub(1),
                Err(Errno::WOULD_BLOCK) => {
                    inner.gatekeeper.queue_read();
                    return ControlFlow::Break(Ok(Received::Empty));
                }
                Err(errno) => return ControlFlow::Break(Err(receive_error(errno))),
            }
        }
        ControlFlow::Break(Ok(Received::Paused))
    }
}

impl AsRef<[u8]> for Coalescing<'_> {
    fn as_ref(&self) -> &[u8] {
        self.buffer
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;

    fn sizes(length: usize, segment: u32) -> Vec<usize> {
        let mut rest = Rest::of(Rest::NOTHING.source, length, Some(segment));
        core::iter::from_fn(|| rest.take()).map(|(begin, end)| end - begin).collect()
    }

    #[test]
    fn a_datagram_is_split_into_packets_of_one_size_and_a_shorter_last_one() {
        assert_eq!(sizes(10, 4), [4, 4, 2]);
        assert_eq!(sizes(8, 4), [4, 4]);
        assert_eq!(sizes(3, 4), [3]);
        assert_eq!(sizes(0, 4), [0], "an empty datagram is one packet");
        assert_eq!(sizes(0, 0), [0]);
        assert_eq!(sizes(7, 0), [7], "a size of 0 counts as no size");
        assert_eq!(Rest::NOTHING.clone().take(), None);
    }
}
