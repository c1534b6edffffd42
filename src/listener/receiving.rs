//! Receiving: socket, filter and counters, and the check of what must not come through. It reads into any buffer.

use core::num::{NonZeroU32, NonZeroU64};

use super::gatekeeper::{Gatekeeper, Wants};
use crate::address::Address;
use crate::error::{Errno, Error, Object, Operation, Result};
use crate::filter::Filter;
use crate::group::Family;
use crate::packet::{Metadata, Packet, Received};
use crate::socket::{Datagram, Sharing, Socket};

/// How many packets one call to `recv` refuses at most, before it says [`Received::Paused`].
pub(super) const BUDGET: u32 = 64;

/// What a listener did with what the kernel brought, since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counters {
    /// Packets that were handed out.
    pub received: u64,
    /// Packets that the filter rejected.
    pub rejected: u64,
    /// Packets, of those handed out or rejected, that were longer than the buffer.
    pub truncated: u64,
    /// Datagrams that were sent to the same port and that this listener had not asked for: unicast, broadcast, other groups, other
    /// interfaces. They are refused before the filter, and count as nothing else. Where the kernel refuses them
    /// ([`kernel_refuses`](Self::kernel_refuses)), they count as dropped instead.
    pub foreign: u64,
    /// Datagrams that the kernel dropped, because the receive buffer was full or the checksum wrong (`SO_MEMINFO`, exact at any
    /// time). It begins again at 0 after 2^32. `None` on kernels before 4.12, which cannot tell.
    ///
    /// Where [`kernel_refuses`](Self::kernel_refuses), it also includes what guard and filter refused in the kernel: what was
    /// sent is still what was received, rejected and dropped, but the kernel keeps one number for what it lost and what it was
    /// told to refuse. With [`kernel_filter(false)`](crate::ListenOptions::kernel_filter) all is refused here, and the two are told apart.
    ///
    /// On a [`CoalescingListener`](crate::CoalescingListener) packets that came together are lost together, and count as one here.
    pub dropped: Option<u64>,
    /// Whether the kernel runs a program for this listener, or did: a filter, or the guard of a listener that is bound neither to an
    /// IPv4 group nor to an interface. Then [`dropped`](Self::dropped) includes what that refused.
    pub kernel_refuses: bool,
}

/// What every listener has beside its buffer.
pub(crate) struct Inner<F> {
    pub(super) socket: Socket,
    pub(super) filter: F,
    pub(super) gatekeeper: Gatekeeper<CheckedPath<F>>,
    /// How the last packet that was let through came in: what the caller is told of it, and the last answer of the kernel to
    /// whether the socket is a member there.
    pub(super) last: Metadata,
    counters: Counted,
    pub(super) setup: Setup,
}

/// How a listener was made, and what the kernel does for it.
#[derive(Clone, Copy)]
pub(super) struct Setup {
    /// At how many bytes the filter sees packets cut. Its program in the kernel knows this, too.
    pub(super) mtu: u16,
    /// How many instructions the filter's program may have; 0 where the kernel is to have no program.
    pub(super) max_instructions: u16,
    /// Datagrams may be several packets that the kernel coalesced.
    pub(super) coalesces: bool,
    /// It can be joined on one interface alone.
    pub(super) one_interface: bool,
    /// The kernel runs the filter's program.
    pub(super) kernel_filters: bool,
    /// The kernel may have refused packets, which it counts as dropped.
    pub(super) kernel_refuses: bool,
}

impl Setup {
    /// The kernel does nothing yet.
    pub(super) const fn new(mtu: usize, max_instructions: u16, coalesces: bool) -> Self {
        let mtu = if mtu > u16::MAX as usize { u16::MAX } else { mtu as u16 };
        Self { mtu, max_instructions, coalesces, one_interface: false, kernel_filters: false, kernel_refuses: false }
    }
}

/// Receives one packet where more than payload and source is needed: [`Inner::recv_checked`].
pub(super) type CheckedPath<F> = for<'b> fn(&'b mut Inner<F>, &'b mut [u8]) -> Result<Received<'b>>;

/// What was counted here. None of it can reach its end: at a packet a nanosecond that takes 584 years.
#[derive(Clone, Copy, Default)]
struct Counted {
    received: u64,
    rejected: u64,
    truncated: u64,
    foreign: u64,
}

impl<F: Filter> Inner<F> {
    pub(super) fn new(socket: Socket, filter: F, gatekeeper: Gatekeeper<CheckedPath<F>>, setup: Setup) -> Self {
        Self { socket, filter, gatekeeper, last: Metadata::default(), counters: Counted::default(), setup }
    }

    /// Who keeps strangers out of a socket that is not bound yet, and has no guard; the socket is made to tell what that takes.
    pub(super) fn gatekeeper(
        socket: &Socket,
        family: Family,
        needs_guard: bool,
        wants: Wants,
    ) -> Result<Gatekeeper<CheckedPath<F>>> {
        let path: CheckedPath<F> = Self::recv_checked;
        match (needs_guard, wants) {
            (_, Wants::Metadata) => socket.want_metadata(family)?,
            (true, Wants::Payload) => socket.want_packet_info(family)?,
            (false, Wants::Payload) => return Ok(Gatekeeper::Bind(None)),
        }
        Ok(if needs_guard { Gatekeeper::We(path, wants) } else { Gatekeeper::Bind(Some(path)) })
    }

    /// Checks each packet's destination from now on, if the kernel may bring what others joined.
    pub(super) fn guard_against(
        sharing: Sharing,
        socket: &Socket,
        family: Family,
        gatekeeper: &mut Gatekeeper<CheckedPath<F>>,
    ) -> Result<()> {
        if sharing == Sharing::Distribution && matches!(gatekeeper, Gatekeeper::Bind(_)) {
            if gatekeeper.wants() == Wants::Payload {
                socket.want_packet_info(family)?;
            }
            gatekeeper.address_shared(Self::recv_checked);
        }
        Ok(())
    }

    // Inlined down to the system call, with all on the way (`Socket::recv`, `sys::recvfrom`, `sys::call`): on processors that guard
    // returns, returning from a function that made a system call costs more than all the rest. Without it tiny-listen is 176 bytes
    // larger.
    #[inline(always)]
    pub(super) fn recv_into<'b>(&'b mut self, buffer: &'b mut [u8]) -> Result<Received<'b>> {
        if let Some(path) = self.gatekeeper.path() {
            return path(self, buffer);
        }
        for _ in 0..BUDGET {
            let datagram = match self.socket.recv(buffer) {
                Ok(datagram) => datagram,
                Err(Errno::WOULD_BLOCK) => return Ok(Received::Empty),
                Err(Errno::INTERRUPTED) => continue,
                Err(errno) => return Err(receive_error(errno)),
            };
            if self.accepts(received_part(buffer, datagram.length), datagram.length, &datagram.source) {
                return Ok(self.packet(received_part(buffer, datagram.length), 0, &datagram));
            }
        }
        Ok(Received::Paused)
    }

    /// The same where destination and interface are checked, or the caller wants metadata.
    pub(super) fn recv_checked<'b>(&'b mut self, buffer: &'b mut [u8]) -> Result<Received<'b>> {
        for _ in 0..BUDGET {
            let datagram = match self.next_checked(buffer) {
                Ok(Some((datagram, _))) => datagram,
                Ok(None) | Err(Errno::INTERRUPTED) => continue,
                Err(Errno::WOULD_BLOCK) => {
                    self.gatekeeper.queue_read();
                    return Ok(Received::Empty);
                }
                Err(errno) => return Err(receive_error(errno)),
            };
            if self.accepts(received_part(buffer, datagram.length), datagram.length, &datagram.source) {
                return Ok(self.packet(received_part(buffer, datagram.length), 0, &datagram));
            }
        }
        Ok(Received::Paused)
    }

    /// Asks the filter, and counts.
    // Inlined into the loops above: without it tiny-listen is 88 bytes larger.
    #[inline(always)]
    pub(super) fn accepts(&mut self, payload: &[u8], length: usize, source: &Address) -> bool {
        let seen = payload.get(..usize::from(self.setup.mtu)).unwrap_or(payload);
        let accepted = self.filter.accepts(seen, source.internet());
        let counters = &mut self.counters;
        counters.truncated = counters.truncated.wrapping_add(u64::from(length > payload.len()));
        if accepted {
            counters.received = counters.received.wrapping_add(1);
        } else {
            counters.rejected = counters.rejected.wrapping_add(1);
        }
        accepted
    }

    /// A packet whose payload begins at `begin` of the buffer that it was received into.
    #[inline]
    pub(super) const fn packet<'b>(&'b self, payload: &'b [u8], begin: u16, datagram: &Datagram) -> Received<'b> {
        Received::Packet(Packet::new(payload, begin, datagram.source, datagram.length as u16, self.metadata()))
    }

    /// What the caller is told of the last packet, where it asked for that.
    #[inline]
    pub(super) const fn metadata(&self) -> Option<&Metadata> {
        match self.gatekeeper.wants() {
            Wants::Metadata => Some(&self.last),
            Wants::Payload => None,
        }
    }

    /// The next datagram, if it is meant for this listener; with it, the size of the packets that it is made of.
    pub(super) fn next_checked(
        &mut self,
        buffer: &mut [u8],
    ) -> core::result::Result<Option<(Datagram, Option<u32>)>, Errno> {
        let (datagram, arrival) = self.socket.recv_with_arrival(buffer)?;
        if self.gatekeeper.checks_here() && !self.admits(&arrival.metadata) {
            let packets = packets_in(datagram.length, arrival.segment);
            self.counters.foreign = self.counters.foreign.wrapping_add(packets);
            return Ok(None);
        }
        self.last = arrival.metadata;
        Ok(Some((datagram, arrival.segment)))
    }

    /// Whether this very socket is a member of the group on the interface. The kernel knows; its last answer is remembered.
    fn admits(&self, arrival: &Metadata) -> bool {
        let (Some(destination), Some(interface)) = (arrival.destination, arrival.interface) else {
            return false;
        };
        if self.last.interface == arrival.interface && self.last.destination == arrival.destination {
            return true;
        }
        destination.is_multicast() && self.socket.is_member(destination, interface)
    }

    /// The same listener with another filter.
    pub(super) fn exchange_filter<G: Filter>(self, filter: G) -> Inner<G> {
        let Self { socket, gatekeeper, last, counters, setup, filter: _ } = self;
        Inner { socket, filter, gatekeeper: gatekeeper.with_path(Inner::<G>::recv_checked), last, counters, setup }
    }
}

impl<F> Inner<F> {
    pub(super) fn counters(&self) -> Counters {
        let Counted { received, rejected, truncated, foreign } = self.counters;
        let (dropped, kernel_refuses) = (self.socket.dropped().map(u64::from), self.setup.kernel_refuses);
        Counters { received, rejected, truncated, foreign, dropped, kernel_refuses }
    }
}

#[cold]
pub(super) const fn receive_error(errno: Errno) -> Error {
    Error::system(Operation::Receive, Object::Nothing, errno)
}

/// What the buffer holds of a datagram of this length.
#[inline]
fn received_part(buffer: &[u8], length: usize) -> &[u8] {
    buffer.get(..length).unwrap_or(buffer)
}

/// How many packets a datagram of this length is made of.
fn packets_in(length: usize, segment: Option<u32>) -> u64 {
    let others =
        segment.and_then(NonZeroU32::new).map_or(0, |size| (length as u64).saturating_sub(1) / NonZeroU64::from(size));
    others.saturating_add(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_in_a_datagram_are_counted_with_the_shorter_last_one() {
        assert_eq!(packets_in(0, None), 1);
        assert_eq!(packets_in(0, Some(5)), 1);
        assert_eq!(packets_in(10, Some(5)), 2);
        assert_eq!(packets_in(11, Some(5)), 3);
        assert_eq!(packets_in(11, Some(0)), 1);
    }
}
