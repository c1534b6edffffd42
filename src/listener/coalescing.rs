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

/// Where a packet begins and ends in the buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    begin: usize,
    end: usize,
}

impl Place {
    const fn length(self) -> usize {
        self.end.wrapping_sub(self.begin)
    }
}

/// The rest of the last datagram: packets in the buffer that were not returned yet.
#[derive(Clone, Copy, Debug)]
struct Rest {
    source: Address,
    /// Where the next packet begins; at or behind `end` if there is none.
    next: usize,
    /// Where the last packet ends.
    end: usize,
    /// The size of each packet except the last, which may be shorter; at least 1.
    segment: usize,
}

impl Rest {
    const NOTHING: Self = Self { source: Address::EMPTY, next: 1, end: 0, segment: 1 };

    /// A datagram of `length` bytes that consists of packets of `segment` bytes.
    fn of(source: Address, length: usize, segment: Option<u32>) -> Self {
        let end = length.min(COALESCING_BUFFER);
        // `None` if the datagram is one packet. With 0, `take` would never reach the end.
        let segment = segment.filter(|size| *size > 0).map_or(end, |size| end.min(size as usize));
        Self { source, next: 0, end, segment: segment.max(1) }
    }

    /// An empty datagram is one packet, too.
    fn is_empty(&self) -> bool {
        self.next >= self.end.max(1)
    }

    /// Removes the next packet, and returns its place.
    // The next one does not depend on whether this one is the last: with a comparison there, it takes 2 ns longer.
    #[inline]
    fn take(&mut self) -> Option<Place> {
        let begin = self.next;
        if self.is_empty() {
            return None;
        }
        // Both are at most the length of the buffer, so this and what follows of it cannot wrap.
        self.next = begin.wrapping_add(self.segment);
        Some(Place { begin, end: self.next.min(self.end) })
    }
}

impl<'b> Coalescing<'b> {
    pub(super) const fn new(buffer: &'b mut [u8; COALESCING_BUFFER]) -> Self {
        Self { buffer, rest: Rest::NOTHING }
    }

    /// Returns the next packet that the filter accepts.
    // Inlined: of 64 packets that came together, 63 take these lines alone, and a program reads only some of what is returned.
    #[inline(always)]
    pub(super) fn recv<'l, F: Filter>(&'l mut self, inner: &'l mut Inner<F>) -> Result<Received<'l>> {
        let next = if inner.last_is_admitted { self.rest.take() } else { None };
        let place = match next {
            Some(place) if self.accepts(inner, place) => place,
            _ => match self.search(inner, if next.is_some() { BUDGET - 1 } else { BUDGET }) {
                ControlFlow::Continue(place) => place,
                ControlFlow::Break(result) => return result,
            },
        };
        let datagram = Datagram { length: place.length(), source: self.rest.source };
        Ok(inner.packet(self.payload(inner, place), place.begin as u16, &datagram))
    }

    /// The place of the next packet that the filter accepts. Otherwise returns why there is none.
    #[inline(never)]
    fn search<F: Filter>(&mut self, inner: &mut Inner<F>, budget: u32) -> ControlFlow<Result<Received<'static>>, Place> {
        let mut budget = budget;
        if !inner.last_is_admitted && !self.rest.is_empty() {
            match inner.still_admits_last() {
                Ok(true) => {}
                Ok(false) => {
                    while self.rest.take().is_some() {
                        inner.refuse_one();
                    }
                }
                Err(errno) => return ControlFlow::Break(Err(receive_error(errno))),
            }
        }
        loop {
            let Some(place) = self.rest.take() else {
                self.fill(inner, &mut budget)?;
                continue;
            };
            budget = budget.saturating_sub(1);
            if self.accepts(inner, place) {
                return ControlFlow::Continue(place);
            }
        }
    }

    /// Asks the filter about the packet at this place, and counts it.
    #[inline(always)]
    fn accepts<F: Filter>(&self, inner: &mut Inner<F>, place: Place) -> bool {
        // Coalesced packets may have arrived with different ones: see `ListenOptions::open`.
        let hop_limit = if inner.mode == Mode::Coalesces { None } else { inner.last.hop_limit };
        inner.accepts(self.payload(inner, place), place.length(), &self.rest.source, hop_limit)
    }

    /// The packet at this place, cut at the mtu.
    #[inline(always)]
    fn payload<F>(&self, inner: &Inner<F>, place: Place) -> &[u8] {
        let cut = place.begin.wrapping_add(place.length().min(inner.state.mtu.into()));
        self.buffer.get(place.begin..cut).unwrap_or(&[])
    }

    /// Fills the buffer, in which no packet is left. Otherwise returns why it did not.
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
        core::iter::from_fn(|| rest.take()).map(Place::length).collect()
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
