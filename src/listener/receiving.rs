//! Receives packets into any buffer: checks their destination if needed, asks the filter, and counts.

use core::num::{NonZeroU32, NonZeroU64};

use super::gatekeeper::{Gatekeeper, Wants};
use crate::address::Address;
use crate::error::{Errno, Error, Object, Operation, Result};
use crate::filter::Filter;
use crate::group::Family;
use crate::packet::{Metadata, Packet, Received};
use crate::socket::{Datagram, LOOPBACK, Socket};

/// How many packets one call of `recv` refuses or rejects at most, before it returns [`Received::Paused`].
pub(super) const BUDGET: u32 = 64;

/// What a listener did with its packets since it was created.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counters {
    /// Packets that were returned to the caller.
    pub received: u64,
    /// Packets that the filter rejected.
    pub rejected: u64,
    /// Packets, received or rejected, that were longer than the buffer.
    pub truncated: u64,
    /// Packets to the same port that this listener did not join: unicast, broadcast, other groups, other interfaces. They are
    /// refused before the filter, and are in no other counter. Of a socket that also sends, it includes what the network reported about
    /// sent packets (ICMP), as far as the listener has read it. If the guard in the kernel refuses them
    /// ([`kernel_refuses`](Self::kernel_refuses)), they count as dropped instead.
    pub foreign: u64,
    /// Packets that the kernel dropped, because the receive buffer was full or the checksum wrong (`SO_MEMINFO`, exact at any
    /// time). It starts again at 0 after 2^32. `None` before Linux 4.12, which does not report it.
    ///
    /// If [`kernel_refuses`](Self::kernel_refuses) is true, it also includes packets that guard and filter refused in the kernel,
    /// since the kernel counts both in one number. With [`kernel_filter(false)`](crate::ListenOptions::kernel_filter) they count
    /// as `foreign` and `rejected` instead.
    ///
    /// On a [`CoalescingListener`](crate::CoalescingListener), packets that the kernel coalesced are dropped together, and count
    /// as one here.
    pub dropped: Option<u64>,
    /// Whether the kernel runs a program for this listener, or did: a filter, or the guard of a listener that is neither bound to an
    /// IPv4 group nor pinned to an interface. Then [`dropped`](Self::dropped) includes the packets that it refused.
    pub kernel_refuses: bool,
}

/// A listener without its buffer.
pub(crate) struct Inner<F> {
    pub(super) socket: Socket,
    pub(super) filter: F,
    pub(super) gatekeeper: Gatekeeper<CheckedPath<F>>,
    /// The metadata of the last packet that was admitted. For the check it is also the last answer of the kernel: the socket is a
    /// member of this group on this interface.
    pub(super) last: Metadata,
    counters: Counted,
    pub(super) state: State,
    pub(super) mode: Mode,
    /// The socket is still a member of the group on the interface that the last packet came in on: no membership has ended since.
    pub(super) last_is_admitted: bool,
}

/// How a listener was created, and what has become of it.
#[derive(Clone, Copy)]
pub(super) struct State {
    /// The filter sees at most this many bytes of a packet. So does its program in the kernel.
    pub(super) mtu: u16,
    /// How many instructions the filter's program may have; 0 if the kernel runs no program.
    pub(super) max_instructions: u16,
    pub(super) admits: Admits,
    pub(super) offload: Offload,
}

/// What may come from the socket beside single packets.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// Nothing.
    Plain,
    /// A datagram may consist of several packets that the kernel coalesced.
    Coalesces,
    /// A sender of ours uses the same socket: reports of the network about its packets.
    Sends,
}

/// Which packets a listener returns.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Admits {
    /// To groups that it joined.
    Joined,
    /// The same; it is pinned to one interface, and can join only there.
    JoinedOnOne,
    /// The same; it is pinned to one interface until it joins on another one.
    JoinedPinned,
    /// To groups that it joined. It was adopted, bound to an IPv4 group of which it was a member, so this includes packets that were queued
    /// before.
    JoinedAndQueued,
    /// To groups that it joined, and unicast that came in where it joined any.
    JoinedAndUnicast,
    /// Unicast alone: answers.
    Unicast,
}

/// What the kernel runs for the listener beside the guard.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Offload {
    /// No filter, and it never ran any program.
    Nothing,
    /// No filter. But it may have refused packets, and counted them as dropped.
    NoFilter,
    /// The filter's program.
    Filter,
}

impl State {
    /// No program is attached yet.
    pub(super) const fn new(mtu: usize, max_instructions: u16, admits: Admits) -> Self {
        let mtu = if mtu > u16::MAX as usize { u16::MAX } else { mtu as u16 };
        Self { mtu, max_instructions, admits, offload: Offload::Nothing }
    }
}

/// Receives one packet if more than payload and source is needed: [`Inner::recv_checked`].
pub(super) type CheckedPath<F> = for<'b> fn(&'b mut Inner<F>, &'b mut [u8]) -> Result<Received<'b>>;

/// What the kernel is asked for with each packet.
#[derive(Clone, Copy, Default)]
pub(super) struct Asks {
    /// Everything that it can report.
    pub(super) all: bool,
    /// Destination and interface.
    pub(super) way: bool,
    pub(super) hop_limit: bool,
}

/// The counters that the listener keeps itself. They cannot overflow: at one packet per nanosecond that takes 584 years.
#[derive(Clone, Copy, Default)]
struct Counted {
    received: u64,
    rejected: u64,
    truncated: u64,
    foreign: u64,
}

impl<F: Filter> Inner<F> {
    pub(super) fn new(socket: Socket, filter: F, gatekeeper: Gatekeeper<CheckedPath<F>>, state: State, mode: Mode) -> Self {
        let (last, counters) = (Metadata::default(), Counted::default());
        Self { socket, filter, gatekeeper, last, counters, state, mode, last_is_admitted: false }
    }

    /// The gatekeeper of a socket that is not bound yet and has no guard. It also sets the options for the control messages that
    /// the check, the filter or the caller needs.
    pub(super) fn gatekeeper(
        socket: &Socket,
        family: Family,
        needs_guard: bool,
        wants: Wants,
        asks: Asks,
    ) -> Result<Gatekeeper<CheckedPath<F>>> {
        let path: CheckedPath<F> = Self::recv_checked;
        if asks.all {
            socket.want_metadata(family)?;
        } else {
            if needs_guard || asks.way {
                socket.want_packet_info(family)?;
            }
            if asks.hop_limit {
                socket.want_hop_limit(family)?;
            }
        }
        Ok(if needs_guard { Gatekeeper::We(path, wants) } else { Gatekeeper::Bind(wants.path(path), wants) })
    }

    /// Makes the listener check each packet's destination from now on: the kernel may deliver packets that other sockets joined.
    pub(super) fn check_each(&mut self, family: Family) -> Result<()> {
        self.gatekeeper.address_shared(Self::recv_checked);
        self.socket.want_packet_info(family)
    }

    // Inlined down to the system call, with all on the way (`Socket::recv`, `sys::recvfrom`, `sys::call`): on processors that guard
    // returns, returning from a function that made a system call costs more than all the rest. Without it tiny-listen is 144 bytes
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
            if self.accepts(received_part(buffer, datagram.length), datagram.length, &datagram.source, None) {
                return Ok(self.packet(received_part(buffer, datagram.length), 0, &datagram));
            }
        }
        Ok(Received::Paused)
    }

    /// Receives if destination and interface must be checked, or if the caller or the filter wants metadata.
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
            let hop_limit = self.last.hop_limit;
            if self.accepts(received_part(buffer, datagram.length), datagram.length, &datagram.source, hop_limit) {
                return Ok(self.packet(received_part(buffer, datagram.length), 0, &datagram));
            }
        }
        Ok(Received::Paused)
    }

    /// Asks the filter, and counts the packet.
    // Inlined into the loops above: without it tiny-listen is 64 bytes larger.
    #[inline(always)]
    pub(super) fn accepts(&mut self, payload: &[u8], length: usize, source: &Address, hop_limit: Option<u8>) -> bool {
        let seen = payload.get(..usize::from(self.state.mtu)).unwrap_or(payload);
        // Counted as rejected until the filter has accepted it: a filter may panic, and the caller may catch that.
        let Counted { received, rejected, truncated, .. } = self.counters;
        self.counters.rejected = rejected.wrapping_add(1);
        self.counters.truncated = truncated.wrapping_add(u64::from(length > payload.len()));
        let accepted = match hop_limit {
            Some(hop_limit) if self.filter.needs_hop_limit() => {
                self.filter.accepts_with_hop_limit(seen, source.internet(), hop_limit)
            }
            _ => self.filter.accepts(seen, source.internet()),
        };
        if accepted {
            self.counters.rejected = rejected;
            self.counters.received = received.wrapping_add(1);
        }
        accepted
    }

    /// A packet whose payload begins at `begin` of the buffer that it was received into.
    #[inline]
    pub(super) const fn packet<'b>(&'b self, payload: &'b [u8], begin: u16, datagram: &Datagram) -> Received<'b> {
        Received::Packet(Packet::new(payload, begin, datagram.source, datagram.length as u16, self.metadata()))
    }

    /// The metadata of the last packet, if the caller asked for it.
    #[inline]
    pub(super) const fn metadata(&self) -> Option<&Metadata> {
        match self.gatekeeper.wants() {
            Wants::Metadata => Some(&self.last),
            Wants::HopLimit | Wants::Reports | Wants::Payload => None,
        }
    }

    /// The next datagram, with the size of the packets in it; `None` if it was sent to something that this listener did not join, or if the
    /// network reported something instead.
    pub(super) fn next_checked(
        &mut self,
        buffer: &mut [u8],
    ) -> core::result::Result<Option<(Datagram, Option<u32>)>, Errno> {
        let (datagram, arrival) = match self.socket.recv_with_arrival(buffer) {
            Err(errno) if !matches!(errno, Errno::WOULD_BLOCK | Errno::INTERRUPTED) && self.is_report(errno) => {
                return Ok(None);
            }
            received => received?,
        };
        if self.gatekeeper.checks_here() {
            match self.admits(&arrival.metadata) {
                Ok(true) => {}
                // What is not known to be joined is not returned; but that the kernel did not answer is said.
                refused => {
                    self.refused(packets_in(datagram.length, arrival.segment));
                    return refused.map(|_| None);
                }
            }
        }
        (self.last, self.last_is_admitted) = (arrival.metadata, true);
        Ok(Some((datagram, arrival.segment)))
    }

    /// Whether the rest of the last datagram may still be returned: no membership has ended since it was received, or not its own.
    #[cold]
    pub(super) fn still_admits_last(&mut self) -> core::result::Result<bool, Errno> {
        self.last_is_admitted = self.admits(&self.last)?;
        Ok(self.last_is_admitted)
    }

    /// Counts a packet that this listener received and does not return, since it is no longer a member.
    pub(super) const fn refuse_one(&mut self) {
        self.counters.foreign = self.counters.foreign.wrapping_add(1);
    }

    /// Whether this listener returns a packet that came on this way. It asks the kernel, unless the last answer was for the same one.
    fn admits(&self, arrival: &Metadata) -> core::result::Result<bool, Errno> {
        let (Some(destination), Some(interface)) = (arrival.destination, arrival.interface) else {
            // The kernel has recorded no interface for IPv4 packets that were queued before the socket was adopted.
            let is_queued = self.state.admits == Admits::JoinedAndQueued;
            return Ok(is_queued && arrival.destination.is_some_and(|to| to.is_multicast()));
        };
        let is_as_last = self.last.interface == arrival.interface && self.last.destination == arrival.destination;
        if is_as_last && self.last_is_admitted {
            return Ok(true);
        }
        match self.state.admits {
            _ if destination.is_multicast() => self.socket.is_member(destination, interface),
            Admits::Joined | Admits::JoinedOnOne | Admits::JoinedPinned | Admits::JoinedAndQueued => Ok(false),
            Admits::JoinedAndUnicast => Ok(arrival.is_to_us && self.has_joined_on(interface)),
            Admits::Unicast => Ok(arrival.is_to_us),
        }
    }

    /// Counts packets, or reports, that are not for this listener.
    pub(super) const fn refused(&mut self, count: u64) {
        self.counters.foreign = self.counters.foreign.wrapping_add(count);
    }

    /// Whether this listener has joined any group on this interface; or whether the packet came from this machine, to an address of
    /// `lo`. True if that is not known: only the guard has a list.
    fn has_joined_on(&self, interface: NonZeroU32) -> bool {
        let family = self.socket.family();
        interface == LOOPBACK || family.is_ok_and(|family| self.socket.has_joined_on(family, interface).unwrap_or(true))
    }

    /// The same listener with another filter.
    pub(super) fn exchange_filter<G: Filter>(mut self, filter: G) -> Inner<G> {
        let (last, counters, state, mode) = (self.last, self.counters, self.state, self.mode);
        let last_is_admitted = self.last_is_admitted;
        let path: CheckedPath<G> = Inner::recv_checked;
        let gatekeeper = self.gatekeeper.with_path(path);
        Inner { socket: self.take_socket(), filter, gatekeeper, last, counters, state, mode, last_is_admitted }
    }
}

impl<F> Inner<F> {
    /// Moves the socket out. What stays is only fit to be dropped.
    pub(super) fn take_socket(&mut self) -> Socket {
        self.mode = Mode::Plain;
        self.socket.take()
    }

    pub(super) fn counters(&self) -> Counters {
        let Counted { received, rejected, truncated, foreign } = self.counters;
        let (dropped, kernel_refuses) = (self.socket.dropped().map(u64::from), self.state.offload != Offload::Nothing);
        Counters { received, rejected, truncated, foreign, dropped, kernel_refuses }
    }
}

/// A socket that a sender still uses stays open, so it must stop to receive.
impl<F> Drop for Inner<F> {
    fn drop(&mut self) {
        if self.mode == Mode::Sends {
            self.socket.stop_receiving();
        }
    }
}

#[cold]
pub(super) const fn receive_error(errno: Errno) -> Error {
    Error::system(Operation::Receive, Object::Nothing, errno)
}

/// The part of a datagram of this length that the buffer holds.
#[inline]
pub(super) fn received_part(buffer: &[u8], length: usize) -> &[u8] {
    buffer.get(..length).unwrap_or(buffer)
}

/// How many packets a datagram of this length contains.
fn packets_in(length: usize, segment: Option<u32>) -> u64 {
    let others =
        segment.and_then(NonZeroU32::new).map_or(0, |size| (length as u64).saturating_sub(1) / NonZeroU64::from(size));
    others.saturating_add(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_in_a_datagram_include_the_shorter_last_one() {
        assert_eq!(packets_in(0, None), 1);
        assert_eq!(packets_in(0, Some(5)), 1);
        assert_eq!(packets_in(10, Some(5)), 2);
        assert_eq!(packets_in(11, Some(5)), 3);
        assert_eq!(packets_in(11, Some(0)), 1);
    }
}
