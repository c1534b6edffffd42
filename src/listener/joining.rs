//! Joining and leaving: the checks before, and the changes of the guard.
//!
//! The guard is changed before a group is joined, so that no packet is lost, and after a group was left. The listener then checks
//! the packets that were queued before.

use core::net::IpAddr;
use core::num::NonZeroU32;

use super::receiving::{Admits, Inner};
use super::socket::ListeningSocket;
use crate::error::{Errno, Error, ErrorKind, Object, Operation, Result};
use crate::filter::Filter;
use crate::group::{Family, Interface, Membership};
use crate::socket::{Elsewhere, each_interface_to_join, family_of};

impl<B, F: Filter> ListeningSocket<B, F> {
    /// Joins a group on an interface (`MCAST_JOIN_GROUP`, `ip(7)`). It does nothing if the listener is a member already.
    ///
    /// A listener that is bound to one group can join that group on more interfaces, unless it was created with
    /// [`Bind::Interface`](crate::Bind::Interface). One that is bound to a port can join any group of that port and of its family.
    ///
    /// # Errors
    /// [`ErrorKind::BoundToGroup`], [`ErrorKind::OneInterface`], [`ErrorKind::PortMismatch`] and [`ErrorKind::FamilyMismatch`] if
    /// the group's packets would never arrive; [`ErrorKind::NoSuchInterface`]; [`ErrorKind::NoAddress`] if the interface has no
    /// IPv6, as with an MTU of less than 1,280; [`ErrorKind::Unreachable`] if no interface is named and there is no route;
    /// [`ErrorKind::InterfaceNeeded`] for a link-local group without an interface; [`ErrorKind::LimitReached`] and
    /// [`ErrorKind::SourceLimitReached`]; [`ErrorKind::MixedSources`] if the group is joined on that interface from any source,
    /// and this membership names one, or the other way round: the kernel would replace the first membership;
    /// [`ErrorKind::SourcesOnOneInterface`] for an IPv6 group on two interfaces if either membership names a source;
    /// [`ErrorKind::Denied`] if somebody else has locked the guard (`SO_LOCK_FILTER`), which would refuse the group's packets.
    ///
    /// After an error on [`Interface::All`], the interfaces that were joined before it stay joined. If a limit is
    /// reached there, all interfaces that fit are joined, and it is reported each time.
    /// [`Memberships`](crate::Memberships) also joins on interfaces that appear later or are created again.
    #[doc(alias = "MCAST_JOIN_GROUP")]
    #[doc(alias = "MCAST_JOIN_SOURCE_GROUP")]
    #[doc(alias = "IP_ADD_MEMBERSHIP")]
    pub fn join(&mut self, membership: &Membership) -> Result<()> {
        self.inner.join(membership)
    }

    /// Leaves a group on an interface (`MCAST_LEAVE_GROUP`, `ip(7)`). It does nothing if the listener is not a member.
    ///
    /// Packets that the kernel has queued before may still arrive, except on a listener with a guard: one that is bound to a port,
    /// or to an IPv6 group and not [pinned](crate::Bind::Group) to an interface.
    ///
    /// [`Interface::All`] means every interface here, also one that is down. If the default route has moved, the
    /// group is left on the interface where it is joined.
    ///
    /// # Errors
    /// As [`join`](Self::join); [`ErrorKind::InterfaceNeeded`] if the default route has moved, and the group is joined on several others.
    #[doc(alias = "MCAST_LEAVE_GROUP")]
    #[doc(alias = "IP_DROP_MEMBERSHIP")]
    pub fn leave(&mut self, membership: &Membership) -> Result<()> {
        self.inner.leave(membership)
    }

    /// Stops receiving from this source of a group that was joined from any source (`MCAST_BLOCK_SOURCE`, `ip(7)`). It does
    /// nothing if the source is blocked already. On [`Interface::All`] and on the default interface it acts as
    /// [`leave`](Self::leave).
    ///
    /// # Errors
    /// As [`leave`](Self::leave); [`ErrorKind::NotJoined`]; [`ErrorKind::MixedSources`] if the group was joined from named sources:
    /// [leave](Self::leave) the source instead; [`ErrorKind::SourceLimitReached`].
    #[doc(alias = "MCAST_BLOCK_SOURCE")]
    pub fn block(&mut self, membership: &Membership, source: IpAddr) -> Result<()> {
        self.inner.check_source(membership, Some(source), Operation::Block)?;
        self.inner.socket.set_blocked(membership, source, true)
    }

    /// Receives from a blocked source again (`MCAST_UNBLOCK_SOURCE`, `ip(7)`). It does nothing if the source is not blocked.
    ///
    /// # Errors
    /// As [`block`](Self::block).
    #[doc(alias = "MCAST_UNBLOCK_SOURCE")]
    pub fn unblock(&mut self, membership: &Membership, source: IpAddr) -> Result<()> {
        self.inner.check_source(membership, Some(source), Operation::Unblock)?;
        self.inner.socket.set_blocked(membership, source, false)
    }
}

impl<F: Filter> Inner<F> {
    pub(super) fn join(&mut self, membership: &Membership) -> Result<()> {
        match self.join_within_limits(membership)? {
            Some(limit) => Err(limit),
            None => Ok(()),
        }
    }

    /// Joins. On all interfaces, some are enough: then the limit that kept the others out is returned.
    pub(super) fn join_within_limits(&mut self, membership: &Membership) -> Result<Option<Error>> {
        self.check_source(membership, membership.only_source(), Operation::Join)?;
        let joined = each_interface_to_join(membership, |index| {
            self.admit(membership, index)?;
            self.socket.join_on(membership, index, self.elsewhere())
        });
        self.undo_unless(membership, joined)
    }

    pub(crate) fn leave(&mut self, membership: &Membership) -> Result<()> {
        self.check_source(membership, membership.only_source(), Operation::Leave)?;
        let left = self.socket.leave(membership);
        self.left(membership);
        left
    }

    /// Joins the membership's group on the interface of this index, whichever interface it names.
    pub(crate) fn join_on(&mut self, membership: &Membership, index: NonZeroU32) -> Result<()> {
        self.check_source(membership, membership.only_source(), Operation::Join)?;
        self.admit(membership, index)?;
        let joined = self.socket.join_on(membership, index, self.elsewhere());
        self.undo_unless::<Error>(membership, joined.map(|()| None)).map(drop)
    }

    /// Leaves the group on the interface of this index, which may no longer exist.
    pub(crate) fn forget(&mut self, membership: &Membership, index: NonZeroU32) {
        self.socket.forget(membership, index);
        self.left(membership);
    }

    /// Whether the kernel says that it is no member of the group on the interface of this index. An error is no answer.
    pub(crate) fn has_lost(&self, group: IpAddr, index: NonZeroU32) -> bool {
        self.socket.is_member(group, index) == Ok(false)
    }

    /// The index of the interface that the membership names.
    pub(crate) fn index_of(&self, membership: &Membership) -> Result<NonZeroU32> {
        self.socket.index_of_any(membership, Operation::Join)
    }

    /// Whether this is the interface that the membership names. An error is no answer.
    pub(crate) fn is_named(&self, membership: &Membership, index: NonZeroU32) -> bool {
        matches!(membership.interface(), Interface::Name(_)) && self.index_of(membership) == Ok(index)
    }

    /// Whether the kernel says that there is no interface with this index.
    pub(crate) fn is_gone(&self, index: NonZeroU32) -> bool {
        self.socket.is_gone(index)
    }

    /// Makes the guard pass the group, which is joined next on this interface. If the guard cannot be changed, the listener
    /// checks each packet from now on. It is an error if the group's packets would never arrive.
    fn admit(&mut self, membership: &Membership, interface: NonZeroU32) -> Result<()> {
        if matches!(self.state.admits, Admits::JoinedOnOne | Admits::JoinedPinned) {
            self.move_pin(membership, interface)?;
        }
        if self.state.admits == Admits::Unicast && !self.gatekeeper.has_guard() {
            self.guard_replies(membership.group().family());
        }
        if self.gatekeeper.has_guard() {
            match self.socket.admit(membership.group().address(), interface, self.gatekeeper.owns_guard()) {
                Ok(guard) => self.guard_changed(guard),
                Err(errno) => return Err(Error::system(Operation::Join, membership.object(), errno)),
            }
        }
        Ok(())
    }

    /// Where else the socket may be a member. A pinned one is none elsewhere: see [`move_pin`](Self::move_pin).
    fn elsewhere(&self) -> Elsewhere {
        match self.state.admits {
            Admits::JoinedOnOne | Admits::JoinedPinned => Elsewhere::Nowhere,
            _ => Elsewhere::Anywhere,
        }
    }

    /// Before a pinned socket joins on this interface: pins it there if it is no longer a member where it is pinned, as after an
    /// interface was created again. If it is one, it will be a member on two interfaces, so it is unpinned.
    fn move_pin(&mut self, membership: &Membership, interface: NonZeroU32) -> Result<()> {
        let pinned = self.socket.bound_interface();
        if pinned == Some(interface) {
            return Ok(());
        }
        // A membership on a deleted interface is dead, and nobody can leave it by name.
        if let Some(gone) = pinned.filter(|pinned| self.socket.is_gone(*pinned)) {
            self.socket.forget(membership, gone);
        }
        // If the kernel cannot tell, it may be one.
        let group = membership.group().address();
        if pinned.is_some_and(|pinned| self.socket.is_member(group, pinned).unwrap_or(true)) {
            return match self.state.admits {
                Admits::JoinedOnOne => Err(Error::new(Operation::Join, membership.object(), ErrorKind::OneInterface)),
                _ => self.end_pin(),
            };
        }
        // The socket is a member of nothing, so it receives nothing until it is pinned again.
        let moved = if pinned.is_some() { self.socket.unpin() } else { Ok(()) };
        let moved = moved.and_then(|()| self.socket.pin(interface));
        moved.map_err(|errno| Error::system(Operation::Join, membership.object(), errno))
    }

    /// Unpins the socket. For IPv6, the kernel then delivers the group also on interfaces on which other processes joined it, so the
    /// listener checks each packet from now on.
    pub(super) fn end_pin(&mut self) -> Result<()> {
        let family = self.socket.family().map_err(not_unpinned)?;
        match family {
            Family::V4 => self.socket.unpin_and_stay_alone(),
            Family::V6 => {
                self.check_each(family)?;
                self.socket.unpin()
            }
        }
        .map_err(not_unpinned)?;
        self.state.admits = Admits::Joined;
        Ok(())
    }

    /// If joining failed, if only on some interfaces, the guard refuses the group again there.
    fn undo_unless<T>(&mut self, membership: &Membership, joined: Result<Option<T>>) -> Result<Option<T>> {
        if !matches!(joined, Ok(None)) {
            self.left(membership);
        }
        joined
    }

    /// A membership has ended: its packets are refused from now on, queued ones and later ones.
    fn left(&mut self, membership: &Membership) {
        // The last answer about membership may be wrong now.
        self.last_is_admitted = false;
        self.gatekeeper.membership_ended(Self::recv_checked);
        if self.gatekeeper.has_guard() {
            match self.socket.prune(membership.group().family(), self.gatekeeper.owns_guard()) {
                Ok(guard) => self.guard_changed(guard),
                Err(_) => self.gatekeeper.guard_locked(Self::recv_checked),
            }
        }
    }

    fn check_source(&self, membership: &Membership, source: Option<IpAddr>, operation: Operation) -> Result<()> {
        let refused = |kind| Err(Error::new(operation, membership.object(), kind));
        let group = membership.group();
        if source.is_some_and(|source| source.is_ipv4() != group.is_ipv4()) {
            return refused(ErrorKind::FamilyMismatch);
        }
        let local = self.socket.local_addr()?;
        if local.ip().is_multicast() && (local.ip(), local.port()) != (group.address(), group.port()) {
            return refused(ErrorKind::BoundToGroup);
        }
        if family_of(&local) != group.family() {
            return refused(ErrorKind::FamilyMismatch);
        }
        if local.port() != group.port() {
            let object = Object::OtherPort { group, port: local.port() };
            return Err(Error::new(operation, object, ErrorKind::PortMismatch));
        }
        Ok(())
    }
}

#[cold]
const fn not_unpinned(errno: Errno) -> Error {
    Error::system(Operation::Configure, Object::Named("SO_BINDTOIFINDEX"), errno)
}
