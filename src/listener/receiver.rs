//! A [`Receiver`] reads into any buffer: socket, filter, counters, and the look at what must not come through.

use core::net::{IpAddr, SocketAddr};
use core::num::{NonZeroU32, NonZeroU64};

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};

use super::Counters;
use crate::error::{Errno, Error, ErrorKind, Object, Operation, Result};
use crate::filter::{Always, Filter};
use crate::group::{Group, Membership};
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
    filter: F,
    look: Look,
    /// Bound to one group, whose address `last` holds from the beginning: no other destination is ever admitted.
    one_group: bool,
    /// How the last admitted packet came in.
    last: Metadata,
    received: u64,
    rejected: u64,
    truncated: u64,
    foreign: u64,
}

/// What is looked at beside the payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Look {
    /// Destination and interface of each datagram, since the kernel would let through what was not joined: the guard.
    ///
    /// A socket that is bound to an IPv4 group gets just that group, and with `IP_MULTICAST_ALL` off only on the interfaces on
    /// which it joined. On the wildcard address unicast comes, too; and the option's IPv6 twin is blind for interfaces.
    pub(super) is_guarded: bool,
    /// All that the kernel tells, for the caller.
    pub(super) wants_metadata: bool,
    /// Datagrams may be several packets that the kernel put together.
    pub(super) is_coalesced: bool,
}

impl Look {
    /// Nothing but payload and source: the fast path.
    pub(super) const NOTHING: Self = Self { is_guarded: false, wants_metadata: false, is_coalesced: false };
}

impl<F: Filter> Receiver<F> {
    pub(super) fn new(socket: Socket, filter: F, bound: &SocketAddr, group: Option<Group>, wanted: Look) -> Result<Self> {
        let is_own_group_only = matches!(bound, SocketAddr::V4(bound) if bound.ip().is_multicast());
        let look = Look { is_guarded: !is_own_group_only, ..wanted };
        let family = family_of(bound);
        if look.wants_metadata {
            socket.want_metadata(family)?;
        } else if look.is_guarded {
            socket.want_packet_info(family)?;
        }
        if look.is_coalesced {
            socket.want_coalesced()?;
        }
        let last = Metadata { destination: group.map(Group::address), ..Metadata::default() };
        Ok(Self {
            socket,
            filter,
            look,
            one_group: group.is_some(),
            last,
            received: 0,
            rejected: 0,
            truncated: 0,
            foreign: 0,
        })
    }

    /// Looks at each packet's destination from now on, if the kernel may bring what others joined.
    pub(super) fn guard_against(&mut self, sharing: Sharing, address: &SocketAddr) -> Result<()> {
        if sharing == Sharing::Distribution && !self.look.is_guarded {
            if !self.look.wants_metadata {
                self.socket.want_packet_info(family_of(address))?;
            }
            self.look.is_guarded = true;
        }
        Ok(())
    }

    /// Receives one packet into `buffer`, which should be as long as the longest packet that is expected (`recvfrom(2)`,
    /// `recvmsg(2)`). It never blocks.
    ///
    /// Packets that the filter refuses are read, counted and passed over, 64 in one call at most.
    ///
    /// # Errors
    /// What the kernel reports of the socket. Nothing is lost by an error; call again. [`ErrorKind::InvalidInput`] where it is the
    /// receiver of a [`CoalescingListener`](crate::CoalescingListener), which alone can tell its packets apart.
    #[inline]
    pub fn recv_into<'b>(&'b mut self, buffer: &'b mut [u8]) -> Result<Received<'b>> {
        for _ in 0..BUDGET {
            let datagram = match self.next(buffer) {
                Ok(Some(datagram)) => datagram,
                Ok(None) | Err(Errno::INTERRUPTED) => continue,
                Err(Errno::WOULD_BLOCK) => return Ok(Received::Empty),
                Err(errno) => return Err(self.receive_error(errno)),
            };
            let Some(payload) = buffer.get(..datagram.length.min(buffer.len())) else { continue };
            if self.accepts(payload, datagram.length, datagram.source) {
                let length = payload.len();
                let payload = buffer.get(..length).unwrap_or(&[]);
                return Ok(Received::Packet(self.packet(payload, datagram.length, datagram.source)));
            }
        }
        Ok(Received::Paused)
    }

    /// Asks the filter, and counts.
    #[inline(always)]
    pub(super) fn accepts(&mut self, payload: &[u8], length: usize, source: SocketAddr) -> bool {
        let accepted = self.filter.accepts(payload, source);
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
    pub(super) const fn packet<'b>(&'b self, payload: &'b [u8], length: usize, source: SocketAddr) -> Packet<'b> {
        let metadata = if self.look.wants_metadata { Some(&self.last) } else { None };
        Packet::new(payload, source, length as u32, metadata)
    }

    /// The next datagram that is meant for this listener; `None` where it was not.
    #[inline(always)]
    fn next(&mut self, buffer: &mut [u8]) -> core::result::Result<Option<Datagram>, Errno> {
        if self.look == Look::NOTHING {
            return self.socket.recv(buffer).map(Some);
        }
        if self.look.is_coalesced {
            return Err(Errno::INVALID);
        }
        self.next_looked_at(buffer).map(|datagram| datagram.map(|(datagram, _)| datagram))
    }

    /// The same by the longer way; with it, the size of the packets that it is made of.
    pub(super) fn next_looked_at(
        &mut self,
        buffer: &mut [u8],
    ) -> core::result::Result<Option<(Datagram, Option<u32>)>, Errno> {
        let (datagram, arrival) = self.socket.recv_with_arrival(buffer)?;
        if self.look.is_guarded && !self.admits(&arrival.metadata) {
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
        let is_bound_elsewhere = self.one_group && self.last.destination != arrival.destination;
        !is_bound_elsewhere && destination.is_multicast() && self.socket.is_member(destination, interface)
    }

    #[cold]
    pub(super) fn receive_error(&self, errno: Errno) -> Error {
        if self.look.is_coalesced && errno == Errno::INVALID {
            return Error::custom(
                ErrorKind::InvalidInput,
                "receive: packets that were put together come by the listener's recv()",
            );
        }
        Error::system(Operation::Receive, Object::Nothing, errno)
    }

    /// Joins a group on an interface (`MCAST_JOIN_GROUP`, `ip(7)`). To have joined it before is fine.
    ///
    /// A listener that is bound to one group can join that group on further interfaces. One that was opened on a port joins any
    /// group of that port and of its family.
    ///
    /// # Errors
    /// [`ErrorKind::BoundToGroup`], [`ErrorKind::PortMismatch`] and [`ErrorKind::FamilyMismatch`] where its packets would never
    /// arrive; [`ErrorKind::NoSuchInterface`]; [`ErrorKind::NoAddress`] where the interface has no IPv6, as with an MTU of less than
    /// 1,280; [`ErrorKind::Unreachable`] where no interface was named and there is no route;
    /// [`ErrorKind::InterfaceNeeded`] for a link-local group without an interface; [`ErrorKind::LimitReached`] and
    /// [`ErrorKind::SourceLimitReached`]; [`ErrorKind::MixedSources`] where the group was joined there in the other way, from any
    /// source or from named ones: the kernel would turn the one into the other.
    ///
    /// On [`Interface::All`](crate::Interface::All) those interfaces that it could join before an error stay joined. Interfaces that appear later, and
    /// those that are made anew, are the business of [`Memberships`](crate::Memberships).
    #[doc(alias = "MCAST_JOIN_GROUP")]
    #[doc(alias = "MCAST_JOIN_SOURCE_GROUP")]
    #[doc(alias = "IP_ADD_MEMBERSHIP")]
    pub fn join(&mut self, membership: &Membership) -> Result<()> {
        self.check_source(membership, membership.only_source(), Operation::Join)?;
        self.socket.join(membership)
    }

    /// Leaves a group on an interface (`MCAST_LEAVE_GROUP`, `ip(7)`). Not to be a member is fine.
    ///
    /// Packets that the kernel had queued before may still come, but on a listener with a wildcard or IPv6 address.
    ///
    /// # Errors
    /// As [`join`](Self::join).
    #[doc(alias = "MCAST_LEAVE_GROUP")]
    #[doc(alias = "IP_DROP_MEMBERSHIP")]
    pub fn leave(&mut self, membership: &Membership) -> Result<()> {
        self.check_source(membership, membership.only_source(), Operation::Leave)?;
        // The remembered answer may be about to change.
        self.last.interface = None;
        self.socket.leave(membership)
    }

    /// Hears this source of a group no more, though the group is joined from any source (`MCAST_BLOCK_SOURCE`, `ip(7)`). To have
    /// blocked it before is fine.
    ///
    /// # Errors
    /// As [`join`](Self::join); [`ErrorKind::NotJoined`]; [`ErrorKind::MixedSources`] where the group was joined from named sources,
    /// of which one is [left](Self::leave) instead; [`ErrorKind::SourceLimitReached`].
    #[doc(alias = "MCAST_BLOCK_SOURCE")]
    pub fn block(&mut self, membership: &Membership, source: IpAddr) -> Result<()> {
        self.check_source(membership, Some(source), Operation::Block)?;
        self.socket.set_blocked(membership, source, true)
    }

    /// Hears a blocked source again (`MCAST_UNBLOCK_SOURCE`, `ip(7)`). Not to have blocked it is fine.
    ///
    /// # Errors
    /// As [`block`](Self::block).
    #[doc(alias = "MCAST_UNBLOCK_SOURCE")]
    pub fn unblock(&mut self, membership: &Membership, source: IpAddr) -> Result<()> {
        self.check_source(membership, Some(source), Operation::Unblock)?;
        self.socket.set_blocked(membership, source, false)
    }

    /// Joins what the membership says on the interface of this index, whichever it names.
    pub(crate) fn join_on(&mut self, membership: &Membership, index: NonZeroU32) -> Result<()> {
        self.check_source(membership, membership.only_source(), Operation::Join)?;
        self.socket.join_on(membership, index)
    }

    /// Forgets the group on the interface of this index, which may exist no more.
    pub(crate) fn forget(&mut self, membership: &Membership, index: NonZeroU32) {
        self.last.interface = None;
        self.socket.forget(membership, index);
    }

    fn check_source(&self, membership: &Membership, source: Option<IpAddr>, operation: Operation) -> Result<()> {
        if source.is_some_and(|source| source.is_ipv4() != membership.group().is_ipv4()) {
            return Err(Error::new(operation, membership.object(), ErrorKind::FamilyMismatch));
        }
        self.check(membership, operation)
    }

    fn check(&self, membership: &Membership, operation: Operation) -> Result<()> {
        let refused = |kind| Err(Error::new(operation, membership.object(), kind));
        let group = membership.group();
        let local = self.local_addr()?;
        if self.one_group && (self.last.destination, local.port()) != (Some(group.address()), group.port()) {
            return refused(ErrorKind::BoundToGroup);
        }
        if family_of(&local) != group.family() {
            return refused(ErrorKind::FamilyMismatch);
        }
        if local.port() != group.port() {
            return refused(ErrorKind::PortMismatch);
        }
        Ok(())
    }

    /// The filter.
    pub const fn filter(&self) -> &F {
        &self.filter
    }

    /// The filter, to be changed.
    pub const fn filter_mut(&mut self) -> &mut F {
        &mut self.filter
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
        }
    }

    /// Whether it is a member of the group on the interface of this index, as the kernel says.
    pub(crate) fn is_member(&self, group: IpAddr, index: NonZeroU32) -> bool {
        self.socket.is_member(group, index)
    }

    /// Memberships may have ended by another handle to the same socket: what is remembered of them is asked for again.
    #[cfg(feature = "std")]
    pub(crate) const fn recheck(&mut self) {
        self.last.interface = None;
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

/// Gives the socket away: bound, joined, non-blocking.
impl<F> From<Receiver<F>> for OwnedFd {
    fn from(receiver: Receiver<F>) -> Self {
        receiver.socket.into()
    }
}

/// Takes over a bound UDP socket, with the memberships that it has: from a supervisor that opened it, say.
///
/// # Errors
/// [`ErrorKind::NotUdp`].
impl TryFrom<OwnedFd> for Receiver {
    type Error = Error;

    fn try_from(fd: OwnedFd) -> Result<Self> {
        let (socket, address, sharing) = Socket::adopt(fd)?;
        let mut receiver = Self::new(socket, Always, &address, Group::try_from(address).ok(), Look::NOTHING)?;
        receiver.guard_against(sharing, &address)?;
        Ok(receiver)
    }
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
