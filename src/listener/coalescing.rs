//! Receiving packets that the kernel put together, and handing them out one by one.

use core::fmt;
use core::ops::ControlFlow;

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};

use super::ListenOptions;
use super::receiver::{BUDGET, Receiver};
use crate::address::Address;
use crate::error::{Errno, Result};
use crate::filter::{Always, Filter};
use crate::group::{Family, Membership};
use crate::packet::Received;

/// The length in bytes of the buffer that coalesced packets are received into: the longest datagram there is. A shorter one would
/// lose packets.
pub const COALESCING_BUFFER: usize = 65_535;

/// Options for a listener that lets the kernel put packets together; the last call makes it.
#[derive(Debug)]
#[must_use]
pub struct CoalescingOptions<'b, F = Always> {
    options: ListenOptions<F>,
    buffer: &'b mut [u8; COALESCING_BUFFER],
    mtu: usize,
}

impl<'b, F: Filter> CoalescingOptions<'b, F> {
    pub(super) const fn new(options: ListenOptions<F>, buffer: &'b mut [u8; COALESCING_BUFFER]) -> Self {
        Self { options, buffer, mtu: COALESCING_BUFFER }
    }

    /// Cuts packets at this many bytes. Not set: they are never cut.
    pub const fn mtu(mut self, bytes: usize) -> Self {
        self.mtu = bytes;
        self
    }

    /// Makes a listener that is bound to one group: see [`ListenOptions::bind`].
    ///
    /// # Errors
    /// As [`ListenOptions::bind`], and [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported) before Linux 5.0.
    pub fn bind(self, membership: Membership) -> Result<CoalescingListener<'b, F>> {
        let receiver = self.options.bound(membership, self.mtu, true)?;
        Ok(CoalescingListener::new(receiver, self.buffer, self.mtu))
    }

    /// Makes a listener that is bound to a port alone: see [`ListenOptions::open`].
    ///
    /// # Errors
    /// As [`ListenOptions::open`], and [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported) before Linux 5.0.
    pub fn open(self, port: u16, family: Family) -> Result<CoalescingListener<'b, F>> {
        let receiver = self.options.opened(port, family, self.mtu, true)?;
        Ok(CoalescingListener::new(receiver, self.buffer, self.mtu))
    }
}

/// A [`Receiver`] that takes many packets in one call, into a borrowed buffer, and hands them out one by one.
///
/// ```no_run
/// # use multicast::{COALESCING_BUFFER, Group, ListenOptions, Membership, Received};
/// let mut buffer = [0; COALESCING_BUFFER];
/// let mut listener = ListenOptions::new().coalesce(&mut buffer).bind(Membership::any(Group::DEFAULT))?;
/// while let Received::Packet(packet) = listener.recv()? {
///     println!("{}: {} bytes", packet.source(), packet.payload().len());
/// }
/// # Ok::<(), multicast::Error>(())
/// ```
///
/// Packets wait in its buffer as well as in the kernel's. So call [`recv`](Self::recv) until it says
/// [`Empty`](Received::Empty) before you wait: a poller knows only of the kernel's.
pub struct CoalescingListener<'b, F = Always> {
    receiver: Receiver<F>,
    buffer: &'b mut [u8; COALESCING_BUFFER],
    mtu: usize,
    rest: Rest,
}

/// What is left of the last datagram: packets in the buffer that were not handed out yet.
#[derive(Clone, Copy, Debug)]
struct Rest {
    source: Address,
    /// Where the next packet begins: past `end` if there is none. An empty datagram is a packet, too.
    next: usize,
    /// Where the last packet ends.
    end: usize,
    /// The size of each packet but the last, which may be shorter.
    segment: usize,
}

impl Rest {
    const NOTHING: Self = Self { source: Address::EMPTY, next: 1, end: 0, segment: 0 };

    /// A datagram of this length, made of packets of this size.
    fn of(source: Address, length: usize, segment: Option<u32>) -> Self {
        let end = length.min(COALESCING_BUFFER);
        // Absent where the datagram is one packet; 0 would never come to an end.
        let segment = segment.filter(|size| *size > 0).map_or(end, |size| size as usize);
        Self { source, next: 0, end, segment }
    }

    /// Takes the next packet off: its beginning and end.
    #[inline(always)]
    fn take(&mut self) -> Option<(usize, usize)> {
        let begin = self.next;
        if begin > self.end {
            return None;
        }
        let end = begin.saturating_add(self.segment).min(self.end);
        self.next = if end < self.end { end } else { usize::MAX };
        Some((begin, end))
    }
}

impl<'b, F: Filter> CoalescingListener<'b, F> {
    const fn new(receiver: Receiver<F>, buffer: &'b mut [u8; COALESCING_BUFFER], mtu: usize) -> Self {
        Self { receiver, buffer, mtu, rest: Rest::NOTHING }
    }

    /// Receives one packet, which is lent until the next call. It never blocks. Filter, MTU and counters see packets as they were
    /// sent, not as the kernel put them together.
    ///
    /// Packets that the filter refuses are counted and passed over, 64 in one call at most, and those that came together with the
    /// last of them.
    ///
    /// # Errors
    /// What the kernel reports of the socket. Nothing is lost by an error; call again.
    // Inlined: of 64 packets that came together, 63 take these lines alone.
    #[inline]
    pub fn recv(&mut self) -> Result<Received<'_>> {
        let mut budget = BUDGET;
        loop {
            let Some((begin, end)) = self.rest.take() else {
                match self.receive(&mut budget) {
                    ControlFlow::Continue(()) => continue,
                    ControlFlow::Break(result) => return result,
                }
            };
            budget = budget.saturating_sub(1);
            let length = end.saturating_sub(begin);
            let cut = begin.saturating_add(length.min(self.mtu));
            let payload = self.buffer.get(begin..cut).unwrap_or(&[]);
            if self.receiver.accepts(payload, length, &self.rest.source) {
                let payload = self.buffer.get(begin..cut).unwrap_or(&[]);
                return Ok(self.receiver.packet(payload, length, self.rest.source));
            }
        }
    }

    /// Fills the buffer, which is empty; or says why there is nothing to go on with.
    #[inline(never)]
    fn receive(&mut self, budget: &mut u32) -> ControlFlow<Result<Received<'static>>> {
        // Never while packets wait in our own buffer, of which a poller does not know.
        while *budget > 0 {
            match self.receiver.next_looked_at(self.buffer) {
                Ok(Some((datagram, segment))) => {
                    self.rest = Rest::of(datagram.source, datagram.length, segment);
                    return ControlFlow::Continue(());
                }
                Ok(None) | Err(Errno::INTERRUPTED) => *budget = budget.saturating_sub(1),
                Err(Errno::WOULD_BLOCK) => {
                    self.receiver.settle();
                    return ControlFlow::Break(Ok(Received::Empty));
                }
                Err(errno) => return ControlFlow::Break(Err(self.receiver.receive_error(errno))),
            }
        }
        ControlFlow::Break(Ok(Received::Paused))
    }
}

impl<'b, F: Filter> CoalescingListener<'b, F> {
    /// Takes a filter of another type in place of this one: see [`Receiver::replace_filter`].
    ///
    /// # Errors
    /// As [`Receiver::replace_filter`]; the socket is closed then.
    pub fn with_filter<G: Filter>(self, filter: G) -> Result<CoalescingListener<'b, G>> {
        let Self { receiver, buffer, mtu, rest } = self;
        Ok(CoalescingListener { receiver: receiver.with_filter(filter)?, buffer, mtu, rest })
    }
}

impl<F> core::ops::Deref for CoalescingListener<'_, F> {
    type Target = Receiver<F>;

    fn deref(&self) -> &Receiver<F> {
        &self.receiver
    }
}

impl<F> core::ops::DerefMut for CoalescingListener<'_, F> {
    fn deref_mut(&mut self) -> &mut Receiver<F> {
        &mut self.receiver
    }
}

impl<F> AsFd for CoalescingListener<'_, F> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.receiver.as_fd()
    }
}

/// Gives the socket away, which goes on to put packets together; those that were not handed out are dropped.
impl<F> From<CoalescingListener<'_, F>> for OwnedFd {
    fn from(listener: CoalescingListener<'_, F>) -> Self {
        listener.receiver.into()
    }
}

impl<F: fmt::Debug> fmt::Debug for CoalescingListener<'_, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CoalescingListener")
            .field("receiver", &self.receiver)
            .field("mtu", &self.mtu)
            .field("rest", &self.rest)
            .finish_non_exhaustive()
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
    fn a_datagram_is_split_into_equal_packets_and_a_shorter_last_one() {
        assert_eq!(sizes(10, 4), [4, 4, 2]);
        assert_eq!(sizes(8, 4), [4, 4]);
        assert_eq!(sizes(3, 4), [3]);
        assert_eq!(sizes(0, 4), [0], "an empty datagram is one packet");
        assert_eq!(sizes(0, 0), [0]);
        assert_eq!(sizes(7, 0), [7], "a size of 0 is none");
        assert_eq!(Rest::NOTHING.clone().take(), None);
    }
}
