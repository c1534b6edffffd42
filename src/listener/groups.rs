//! Joining and leaving: what is checked before, and how the guard follows.
//!
//! The guard lets a group through before it is joined, so that no packet is lost, and not any more after it was left. What the kernel
//! had queued until then is looked at one by one.

use core::net::IpAddr;
use core::num::NonZeroU32;

use super::receiver::Receiver;
use crate::error::{Error, ErrorKind, Operation, Result};
use crate::filter::Filter;
use crate::group::Membership;
use crate::socket::{Guard, family_of};

impl<F: Filter> Receiver<F> {
    /// Joins a group on an interface (`MCAST_JOIN_GROUP`, `ip(7)`). To have joined it before is fine.
    ///
    /// A listener that is bound to one group can join that group on further interfaces, unless it is
    /// [bound to its interface](crate::ListenOptions::bind_to_interface), too. One that was opened on a port joins any
    /// group of that port and of its family.
    ///
    /// # Errors
    /// [`ErrorKind::BoundToGroup`], [`ErrorKind::OneInterface`], [`ErrorKind::PortMismatch`] and [`ErrorKind::FamilyMismatch`] where
    /// its packets would never arrive; [`ErrorKind::NoSuchInterface`]; [`ErrorKind::NoAddress`] where the interface has no IPv6, as
    /// with an MTU of less than 1,280; [`ErrorKind::Unreachable`] where no interface was named and there is no route;
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
        let Self { socket, state, .. } = self;
        let joined = socket.join(membership, |interface| state.admit(socket, membership, interface));
        self.undo_unless(membership, joined)
    }

    /// What was let through in advance is not to be, where joining failed.
    fn undo_unless(&mut self, membership: &Membership, joined: Result<()>) -> Result<()> {
        if joined.is_err() {
            self.left(membership);
        }
        joined
    }

    /// Some membership ended: its packets that are queued, and those to come, are to be refused.
    fn left(&mut self, membership: &Membership) {
        // The remembered answer may be another one now.
        self.last.interface = None;
        if self.state.guards() {
            self.state.look = self.state.look.guarded(true);
            if self.socket.prune(membership.group().family()) == Guard::Lost {
                self.state.unguarded();
            }
        }
    }

    /// Leaves a group on an interface (`MCAST_LEAVE_GROUP`, `ip(7)`). Not to be a member is fine.
    ///
    /// Packets that the kernel had queued before may still come, but on a listener that has a guard: with a wildcard or
    /// IPv6 address, and not bound to its interface.
    ///
    /// # Errors
    /// As [`join`](Self::join).
    #[doc(alias = "MCAST_LEAVE_GROUP")]
    #[doc(alias = "IP_DROP_MEMBERSHIP")]
    pub fn leave(&mut self, membership: &Membership) -> Result<()> {
        self.check_source(membership, membership.only_source(), Operation::Leave)?;
        let left = self.socket.leave(membership);
        self.left(membership);
        left
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
        self.state.admit(&self.socket, membership, index)?;
        let joined = self.socket.join_on(membership, index);
        self.undo_unless(membership, joined)
    }

    /// Forgets the group on the interface of this index, which may exist no more.
    pub(crate) fn forget(&mut self, membership: &Membership, index: NonZeroU32) {
        self.socket.forget(membership, index);
        self.left(membership);
    }

    /// Whether it is a member of the group on the interface of this index, as the kernel says.
    pub(crate) fn is_member(&self, group: IpAddr, index: NonZeroU32) -> bool {
        self.socket.is_member(group, index)
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
        if self.state.one_group() && (self.last.destination, local.port()) != (Some(group.address()), group.port()) {
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
}
