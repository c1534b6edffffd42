//! A [`Receiver`] reads into any buffer: socket, filter, counters, and the look at what must not come through.

use core::net::SocketAddr;
use core::num::{NonZeroU32, NonZeroU64};

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};

use super::Counters;
use super::state::{Look, State};
use crate::address::Address;
use crate::error::{Errno, Error, ErrorKind, Object, Operation, Result};
use crate::filter::{Always, Filter};
use crate::group::{Family, Group};
use crate::packet::{Metadata, Packet, Received};
use crate::socket::{Datagram, Sharing, Socket, family_of};

/// How many packets one call to `recv` refuses at most, before it says [`Received::Paused`].
pub(super) const BUDGET: u32 = 64;

/// A bound socket with a filter and counters, and no buffer: it reads into any slice.
///
/// Made by [`ListenOptions::bind_receiver`](crate::ListenOptions::bind_receiver) or
/// [`open_receiver`](crate::ListenOptions::open_receiver); [`Listener`](crate::Listener) is the same with a buffer of its own.
/// Dropping it leaves all groups and closes the socket.
#[derive(Debug)]
pub struct Receiver<F = Always> {
    pub(super) socket: Socket,
    pub(super) filter: F,
    /// How to receive while there is more to look at than payload and source. A pointer, so that the longer way is linked into programs
    /// that can come to need it, and into no other.
    longer_way: Option<LongerWay<F>>,
    /// How the last admitted packet came in. Where it is bound to one group, it holds the group's address from the beginning.
    pub(super) last: Metadata,
    pub(super) state: State,
    received: u64,
    rejected: u64,
    truncated: u64,
    foreign: u64,
}

type LongerWay<F> = for<'b> fn(&'b mut Receiver<F>, &'b mut [u8]) -> Result<Received<'b>>;

impl<F: Filter> Receiver<F> {
    #[inline(always)]
    pub(super) fn new(socket: Socket, filter: F, family: Family, group: Option<Group>, look: Look) -> Result<Self> {
        if look.wants_metadata() {
            socket.want_metadata(family)?;
        } else if look.is_guarded() {
            socket.want_packet_info(family)?;
        }
        if look.is_coalesced() {
            socket.want_coalesced()?;
        }
        let last = Metadata { destination: group.map(Group::address), ..Metadata::default() };
        Ok(Self {
            socket,
            filter,
            longer_way: if look == Look::NOTHING { None } else { Some(Self::recv_looked_at) },
            last,
            state: State::new(group.is_some(), look),
            received: 0,
            rejected: 0,
            truncated: 0,
            foreign: 0,
        })
    }

    /// Looks at each packet's destination from now on, if the kernel may bring what others joined.
    pub(super) fn guard_against(&mut self, sharing: Sharing, address: &SocketAddr) -> Result<()> {
        if sharing == Sharing::Distribution && !self.state.look.is_guarded() && !self.state.guards() {
            if !self.state.look.wants_metadata() {
                self.socket.want_packet_info(family_of(address))?;
            }
            self.state.look = self.state.look.guarded(true);
            self.longer_way = Some(Self::recv_looked_at);
        }
        Ok(())
    }

    /// Receives one packet into `buffer`, which should be as long as the longest packet that is expected (`recvfrom(2)`,
    /// `recvmsg(2)`). It never blocks.
    ///
    /// Packets that the filter refuses are read, counted and passed over, 64 in one call at most. The filter sees as many bytes of
    /// a packet as the mtu that the receiver was made with, even where the buffer holds more.
    ///
    /// # Errors
    /// What the kernel reports of the socket. Nothing is lost by an error; call again. [`ErrorKind::InvalidInput`] where it is the
    /// receiver of a [`CoalescingListener`](crate::CoalescingListener), which alone can tell its packets apart; and where the kernel
    /// runs the filter, and the buffer is shorter than the mtu: packets would be judged by what it does not hold.
    // Always inlined, down to the system call: returning from a function that made one costs more, on processors that guard
    // returns, than all the rest of it.
    #[inline(always)]
    pub fn recv_into<'b>(&'b mut self, buffer: &'b mut [u8]) -> Result<Received<'b>> {
        if self.state.filters() && buffer.len() < usize::from(self.state.mtu) {
            return Err(short_buffer());
        }
        if let (Some(longer_way), true) = (self.longer_way, self.state.look != Look::NOTHING) {
            return longer_way(self, buffer);
        }
        for _ in 0..BUDGET {
            let datagram = match self.socket.recv(buffer) {
                Ok(datagram) => datagram,
                Err(Errno::WOULD_BLOCK) => return Ok(Received::Empty),
                Err(Errno::INTERRUPTED) => continue,
                Err(errno) => return Err(self.receive_error(errno)),
            };
            if self.accepts(whole_or_cut(buffer, datagram.length), datagram.length, &datagram.source) {
                return Ok(self.packet(whole_or_cut(buffer, datagram.length), datagram.length, datagram.source));
            }
        }
        Ok(Received::Paused)
    }

    /// The same where more than payload and source is looked at.
    fn recv_looked_at<'b>(&'b mut self, buffer: &'b mut [u8]) -> Result<Received<'b>> {
        if self.state.look.is_coalesced() {
            return Err(self.receive_error(Errno::INVALID));
        }
        for _ in 0..BUDGET {
            let datagram = match self.next_looked_at(buffer) {
                Ok(Some((datagram, _))) => datagram,
                Ok(None) | Err(Errno::INTERRUPTED) => continue,
                Err(Errno::WOULD_BLOCK) => {
                    self.settle();
                    return Ok(Received::Empty);
                }
                Err(errno) => return Err(self.receive_error(errno)),
            };
            if self.accepts(whole_or_cut(buffer, datagram.length), datagram.length, &datagram.source) {
                return Ok(self.packet(whole_or_cut(buffer, datagram.length), datagram.length, datagram.source));
            }
        }
        Ok(Received::Paused)
    }

    /// Asks the filter, and counts.
    #[inline(always)]
    pub(super) fn accepts(&mut self, payload: &[u8], length: usize, source: &Address) -> bool {
        let seen = payload.get(..usize::from(self.state.mtu)).unwrap_or(payload);
        let accepted = self.filter.accepts(seen, source.internet());
        // None of the counters can reach its end: at a packet a nanosecond that takes 584 years.
        self.truncated = self.truncated.wrapping_add(u64::from(length > payload.len()));
        if accepted {
            self.received = self.received.wrapping_add(1);
        } else {
            self.rejected = self.rejected.wrapping_add(1);
        }
        accepted
    }

    #[inline(always)]
    pub(super) const fn packet<'b>(&'b self, payload: &'b [u8], length: usize, source: Address) -> Received<'b> {
        let metadata = if self.state.look.wants_metadata() { Some(&self.last) } else { None };
        Received::Packet(Packet::new(payload, source, length as u32, metadata))
    }

    /// The next datagram, if it is meant for this listener; with it, the size of the packets that it is made of.
    pub(super) fn next_looked_at(
        &mut self,
        buffer: &mut [u8],
    ) -> core::result::Result<Option<(Datagram, Option<u32>)>, Errno> {
        let (datagram, arrival) = self.socket.recv_with_arrival(buffer)?;
        if self.state.look.is_guarded() && !self.admits(&arrival.metadata) {
            self.foreign = self.foreign.wrapping_add(packets_in(datagram.length, arrival.segment));
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
        let is_bound_elsewhere = self.state.one_group() && self.last.destination != arrival.destination;
        !is_bound_elsewhere && destination.is_multicast() && self.socket.is_member(destination, interface)
    }

    /// The same with another filter.
    pub(super) fn exchange_filter<G: Filter>(self, filter: G) -> Receiver<G> {
        let Self { socket, last, state, received, rejected, truncated, foreign, .. } = self;
        let longer_way = self.longer_way.is_some().then_some(Receiver::recv_looked_at as LongerWay<G>);
        Receiver { socket, filter, longer_way, last, state, received, rejected, truncated, foreign }
    }

    #[cold]
    pub(super) fn receive_error(&self, errno: Errno) -> Error {
        if self.state.look.is_coalesced() && errno == Errno::INVALID {
            return Error::custom(
                ErrorKind::InvalidInput,
                "receive: packets that were put together come by the listener's recv()",
            );
        }
        Error::system(Operation::Receive, Object::Nothing, errno)
    }

    /// The filter.
    pub const fn filter(&self) -> &F {
        &self.filter
    }
}

impl<F> Receiver<F> {
    /// What became of the packets so far: one system call (`getsockopt(2)`).
    #[must_use]
    pub fn counters(&self) -> Counters {
        Counters {
            received: self.received,
            rejected: self.rejected,
            truncated: self.truncated,
            foreign: self.foreign,
            dropped: self.socket.dropped().map(u64::from),
            kernel_refuses: self.state.has_refused(),
        }
    }

    /// The address that it is bound to (`getsockname(2)`): the group, or the wildcard address, and the port.
    ///
    /// # Errors
    /// What the kernel reports.
    pub fn local_addr(&self) -> Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// The size of the receive buffer in bytes that the kernel granted (`SO_RCVBUF`, `socket(7)`). The kernel counts its own
    /// bookkeeping with it, so it reports twice of what was asked for; a packet of 64 bytes takes 832 of it.
    ///
    /// # Errors
    /// What the kernel reports.
    #[doc(alias = "SO_RCVBUF")]
    pub fn receive_buffer(&self) -> Result<usize> {
        self.socket.receive_buffer()
    }
}

impl<F> AsFd for Receiver<F> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Gives the socket away: bound, joined, non-blocking, and without a program in the kernel.
impl<F> From<Receiver<F>> for OwnedFd {
    fn from(receiver: Receiver<F>) -> Self {
        if receiver.state.guards() || receiver.state.filters() {
            // Its new owner may join other groups, and want other packets. Nothing of ours can keep it from being taken off.
            let _ = receiver.socket.detach();
        }
        receiver.socket.into()
    }
}

/// Takes over a bound UDP socket, with the memberships that it has: from a supervisor that opened it, say.
///
/// One that is bound to an interface (`SO_BINDTODEVICE`) stays so: joining elsewhere is no error, since the kernel allows it, but
/// brings nothing.
///
/// # Errors
/// [`ErrorKind::NotUdp`].
impl TryFrom<OwnedFd> for Receiver {
    type Error = Error;

    fn try_from(fd: OwnedFd) -> Result<Self> {
        let (socket, address, sharing) = Socket::adopt(fd)?;
        let mut receiver =
            Self::new(socket, Always, family_of(&address), Group::try_from(address).ok(), Look::at(&address))?;
        receiver.guard_against(sharing, &address)?;
        // Another descriptor of the same socket may be a listener's: then the guard is shared.
        receiver.adopt_guard(family_of(&address));
        receiver.longer_way = Some(Self::recv_looked_at);
        Ok(receiver)
    }
}

/// What the buffer holds of a datagram of this length.
#[inline(always)]
fn whole_or_cut(buffer: &[u8], length: usize) -> &[u8] {
    buffer.get(..length).unwrap_or(buffer)
}

#[cold]
fn short_buffer() -> Error {
    Error::custom(
        ErrorKind::InvalidInput,
        "receive: the buffer is shorter than the mtu that the kernel's filter was made for: give a longer one, or turn kernel_filter off",
    )
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
