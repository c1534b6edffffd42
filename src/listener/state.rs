//! What a receiver knows of itself beside socket, filter and counters, in six bytes.

use core::net::SocketAddr;
use core::num::NonZeroU32;

use crate::error::{Error, ErrorKind, Operation, Result};
use crate::group::Membership;
use crate::socket::{Guard, Socket};

/// What is looked at, what the kernel does in our stead, and where packets are cut.
#[derive(Clone, Copy, Debug)]
pub(super) struct State {
    /// At how many bytes the filter sees packets cut. Its program knows.
    pub(super) mtu: u16,
    pub(super) look: Look,
    flags: u16,
}

impl State {
    /// Bound to one group: no other destination is ever admitted.
    const ONE_GROUP: u16 = 1;
    /// The kernel looks at destination and interface: then we need not, but at those of what it had queued when a group was left.
    const GUARDS: u16 = 2;
    /// The kernel runs the filter's program.
    const FILTERS: u16 = 4;
    /// The kernel may have refused packets, which it counts as dropped.
    const HAS_REFUSED: u16 = 8;
    /// Bound to one interface: it can be joined on no other one.
    const ONE_INTERFACE: u16 = 16;
    /// Above these, how many instructions the filter's program may have, as a power of two; 0 where it is to have none.
    const ROOM: u32 = 5;

    /// The kernel does nothing yet, and packets are not cut.
    pub(super) const fn new(one_group: bool, look: Look) -> Self {
        Self { mtu: u16::MAX, look, flags: if one_group { Self::ONE_GROUP } else { 0 } }
    }

    pub(super) const fn one_group(self) -> bool {
        self.flags & Self::ONE_GROUP != 0
    }

    const fn one_interface(self) -> bool {
        self.flags & Self::ONE_INTERFACE != 0
    }

    pub(super) const fn set_one_interface(&mut self) {
        self.flags |= Self::ONE_INTERFACE;
    }

    pub(super) const fn guards(self) -> bool {
        self.flags & Self::GUARDS != 0
    }

    #[inline(always)]
    pub(super) const fn filters(self) -> bool {
        self.flags & Self::FILTERS != 0
    }

    pub(super) const fn has_refused(self) -> bool {
        self.flags & Self::HAS_REFUSED != 0
    }

    /// How many instructions the filter's program may have.
    pub(super) const fn room(self) -> usize {
        match self.flags >> Self::ROOM {
            0 => 0,
            power => 1 << power,
        }
    }

    pub(super) const fn set_room(&mut self, instructions: usize) {
        // The next power of two, 4,096 at most.
        let power = usize::BITS.saturating_sub(instructions.saturating_sub(1).leading_zeros());
        self.flags = self.flags & 0x1f | (power as u16) << Self::ROOM;
    }

    /// What the kernel does from now on. It may have refused packets as soon as it did anything.
    pub(super) const fn set_kernel(&mut self, guards: bool, filters: bool) {
        self.flags &= !(Self::GUARDS | Self::FILTERS);
        if guards {
            self.flags |= Self::GUARDS | Self::HAS_REFUSED;
        }
        if filters {
            self.flags |= Self::FILTERS | Self::HAS_REFUSED;
        }
    }

    /// The kernel has no guard any more: we look for ourselves.
    pub(super) const fn unguarded(&mut self) {
        self.flags &= !Self::GUARDS;
        self.look = self.look.guarded(true);
    }

    /// Lets the group, which is to be joined on this interface, through the guard. Where that cannot be, we look for ourselves from
    /// now on. Where its packets would never arrive, it is an error.
    pub(super) fn admit(&mut self, socket: &Socket, membership: &Membership, interface: NonZeroU32) -> Result<()> {
        if self.one_interface() && !socket.is_bound_to_interface(interface) {
            return Err(Error::new(Operation::Join, membership.object(), ErrorKind::OneInterface));
        }
        if self.guards() && socket.admit(membership.group().address(), interface) == Guard::Lost {
            self.unguarded();
        }
        Ok(())
    }
}

/// What is looked at beside the payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Look(u8);

impl Look {
    const GUARDED: u8 = 1;
    const METADATA: u8 = 2;
    const COALESCED: u8 = 4;

    /// Nothing but payload and source: the fast path.
    pub(super) const NOTHING: Self = Self(0);

    pub(super) const fn new(is_guarded: bool, wants_metadata: bool, is_coalesced: bool) -> Self {
        let metadata = if wants_metadata { Self::METADATA } else { 0 };
        let coalesced = if is_coalesced { Self::COALESCED } else { 0 };
        Self(metadata | coalesced).guarded(is_guarded)
    }

    /// What a socket with this address calls for.
    pub(super) const fn at(bound: &SocketAddr) -> Self {
        let is_own_group_only = matches!(bound, SocketAddr::V4(bound) if bound.ip().is_multicast());
        Self::new(!is_own_group_only, false, false)
    }

    /// Destination and interface of each datagram, since the kernel would let through what was not joined: the guard.
    ///
    /// A socket that is bound to an IPv4 group gets just that group, and with `IP_MULTICAST_ALL` off only on the interfaces on
    /// which it joined. On the wildcard address unicast comes, too; and the option's IPv6 twin is blind for interfaces.
    pub(super) const fn is_guarded(self) -> bool {
        self.0 & Self::GUARDED != 0
    }

    /// All that the kernel tells, for the caller.
    pub(super) const fn wants_metadata(self) -> bool {
        self.0 & Self::METADATA != 0
    }

    /// Datagrams may be several packets that the kernel put together.
    pub(super) const fn is_coalesced(self) -> bool {
        self.0 & Self::COALESCED != 0
    }

    pub(super) const fn guarded(self, is_guarded: bool) -> Self {
        Self(if is_guarded { self.0 | Self::GUARDED } else { self.0 & !Self::GUARDED })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_kept_as_the_next_power_of_two() {
        let mut state = State::new(true, Look::NOTHING);
        assert_eq!((state.room(), size_of::<State>()), (0, 6));
        for (instructions, room) in [(2, 2), (3, 4), (64, 64), (65, 128), (4095, 4096), (4096, 4096)] {
            state.set_room(instructions);
            assert_eq!(state.room(), room);
            assert!(state.one_group() && !state.guards() && !state.filters());
        }
    }

    #[test]
    fn what_the_kernel_did_once_is_remembered() {
        let mut state = State::new(false, Look::new(false, true, false));
        state.set_room(64);
        state.set_kernel(true, true);
        assert!(state.guards() && state.filters() && state.has_refused() && !state.one_group());
        state.unguarded();
        assert!(!state.guards() && state.filters() && state.look.is_guarded() && state.look.wants_metadata());
        state.set_kernel(false, false);
        assert!(state.has_refused() && !state.filters() && state.room() == 64);
        assert_eq!(Look::new(true, false, false).guarded(false), Look::NOTHING);
    }
}
