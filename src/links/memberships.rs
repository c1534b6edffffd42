//! A book of memberships, which keeps a listener joined when interfaces change.

use core::num::NonZeroU32;

use heapless::Vec;

use super::change::Change;
use crate::error::{Error, ErrorKind, Operation, Result};
use crate::filter::Filter;
use crate::group::{Interface, Membership};
use crate::listener::{Inner, ListeningSocket};
use crate::route::{self, Listed, may_come};

/// On how many interfaces one membership is joined at most. By default the kernel allows a socket 20 memberships of IPv4.
const INTERFACES: usize = 64;
/// The shortest MTU with IPv6 (RFC 8200, section 5).
const IPV6_MTU: u32 = 1280;

/// What one call of [`Memberships`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Applied {
    /// How many interfaces were joined.
    pub joined: usize,
    /// How many interfaces were left, including deleted ones.
    pub left: usize,
    /// How many memberships wait for an interface, address or route.
    pub pending: usize,
    /// On how many interfaces of [`Interface::All`] a membership of the book is not joined, because a limit was reached: the kernel's
    /// (`net.ipv4.igmp_max_memberships`, by default 20 for each socket), or 64 for each membership. The others are joined, those
    /// with low indexes first. The rest is tried again at each change of an interface.
    pub over_limit: usize,
}

/// A book of the memberships that one listener should have, at most `N`. It keeps the listener joined when interfaces are
/// created, deleted or changed.
///
/// If an interface is deleted, the memberships on it are lost, and the kernel reports no error; an interface that is created
/// again under the same name is a new one to the kernel. The book joins again, and makes joins that were not possible before. For
/// this it must get every [`Change`]: use [`Links::follow`](crate::Links::follow).
///
/// It also joins again where it may have lost a membership: after [`Change::Overrun`], and where the MTU of an interface was too short
/// for IPv6. With [`Interface::All`] it leaves interfaces that become ports of a bridge, on which nothing can be received.
///
/// The book is separate from the listener, so its code is not linked into programs that do not use it. Create the listener with
/// any [`Bind`](crate::Bind), and join all its groups through the book, also the one that it was created with. With
/// [`Bind::Later`](crate::Bind::Later), the interface need not exist yet.
///
/// If a new interface got the index of the deleted one before the book learned of that, the kernel takes the book's leaving there for one
/// on the new interface, and can end the membership of another program. It does the same when a socket is closed.
///
/// The book does not keep blocked sources: if [`Applied::joined`] is not 0, [block](ListeningSocket::block) them again.
#[derive(Clone, Debug, Default)]
pub struct Memberships<const N: usize> {
    entries: Vec<Entry, N>,
}

#[derive(Clone, Debug)]
struct Entry {
    membership: Membership,
    /// The indexes of the interfaces on which it is joined, as far as we know.
    joined: Vec<NonZeroU32, INTERFACES>,
    /// On how many more interfaces it should be joined.
    over_limit: usize,
}

impl<const N: usize> Memberships<N> {
    /// An empty book.
    #[must_use]
    pub const fn new() -> Self {
        Self { entries: Vec::new() }
    }

    /// Adds a membership to the book, and joins it if that is possible now. It does nothing if the membership is in the book.
    ///
    /// # Errors
    /// [`ErrorKind::LimitReached`] if the book is full. Otherwise as [`ListeningSocket::join`], but a missing interface, address
    /// or route is not an error, since it may appear later; and if only some interfaces of [`Interface::All`] can be joined because of
    /// a limit, [`Applied::over_limit`] says so. After an error the membership is not in the book.
    pub fn join<B, F: Filter>(&mut self, membership: Membership, listener: &mut ListeningSocket<B, F>) -> Result<Applied> {
        let listener = listener.inner_mut();
        let mut applied = Applied::default();
        if !self.entries.iter().any(|entry| entry.membership == membership) {
            // In its place from the beginning: on the stack, too, it would take 300 bytes more.
            if self.entries.push(Entry { membership, joined: Vec::new(), over_limit: 0 }).is_err() {
                return Err(Error::custom(
                    ErrorKind::LimitReached,
                    "join: the book of memberships is full: create it with a larger N",
                ));
            }
            if let Some(entry) = self.entries.last_mut() {
                let result = entry.reconcile(listener, &mut applied);
                if result.is_err() && (entry.over_limit == 0 || entry.joined.is_empty()) {
                    self.entries.pop();
                    result?;
                }
            }
        }
        Ok(self.counted(applied))
    }

    /// Leaves a membership, and removes it from the book. It does nothing if the membership is not in the book.
    ///
    /// # Errors
    /// As [`ListeningSocket::leave`]. The membership is removed from the book even then.
    pub fn leave<B, F: Filter>(&mut self, membership: &Membership, listener: &mut ListeningSocket<B, F>) -> Result<Applied> {
        let listener = listener.inner_mut();
        let (mut applied, mut result) = (Applied::default(), Ok(()));
        if let Some(place) = self.entries.iter().position(|entry| entry.membership == *membership) {
            let Entry { membership, joined, .. } = self.entries.swap_remove(place);
            for index in &joined {
                let left = listener.leave(&membership.on(Interface::Index(*index)));
                applied.left = applied.left.saturating_add(1);
                result = result.and(left);
            }
        }
        if applied.left > 0 {
            result = result.and(self.check_all(listener, &mut applied));
        }
        result.map(|()| self.counted(applied))
    }

    /// Applies a change: leaves on interfaces that are gone, and joins on those that have appeared.
    /// [`Links::follow`](crate::Links::follow) does this for several books.
    ///
    /// # Errors
    /// The first error of joining: see [`ListeningSocket::join`]; [`ErrorKind::LimitReached`] if more interfaces than before are
    /// [over a limit](Applied::over_limit). The other memberships are still handled. The failed one stays joined where it was, and is
    /// tried again at the next change that concerns it.
    pub fn apply<B, F: Filter>(&mut self, change: &Change, listener: &mut ListeningSocket<B, F>) -> Result<Applied> {
        let mut applied = Applied::default();
        self.apply_to(change, listener.inner_mut(), &mut applied)?;
        Ok(self.counted(applied))
    }

    /// As [`apply`](Self::apply), but adds the result to `applied`.
    pub(super) fn apply_to<F: Filter>(
        &mut self,
        change: &Change,
        listener: &mut Inner<F>,
        applied: &mut Applied,
    ) -> Result<()> {
        let (mut result, left_before) = (Ok(()), applied.left);
        for entry in &mut self.entries {
            match change {
                // First: an interface that is created again with the same index would seem to be joined.
                Change::Gone { index, .. } => entry.forget_where(listener, applied, |_, joined| joined == *index),
                // The kernel has removed IPv6 from the interface. The socket's list still says that it is a member.
                Change::Link(link) if !entry.membership.group().is_ipv4() && (1..IPV6_MTU).contains(&link.mtu) => {
                    entry.forget_where(listener, applied, |_, joined| joined == link.index);
                }
                // Interfaces may have been created again with the same index.
                Change::Overrun => result = result.and(entry.join_anew(listener, applied)),
                _ => {}
            }
            if entry.is_concerned_by(change, listener) {
                result = result.and(match change {
                    Change::RouteTo { interface, .. } => entry.move_to(*interface, listener, applied),
                    _ => entry.reconcile(listener, applied),
                });
            }
        }
        if applied.left > left_before { result.and(self.check_all(listener, applied)) } else { result }
    }

    /// Joins and leaves wherever that failed before.
    pub(super) fn retry<F: Filter>(&mut self, listener: &mut Inner<F>, applied: &mut Applied) -> Result<()> {
        let (mut result, left_before) = (Ok(()), applied.left);
        for entry in &mut self.entries {
            result = result.and(entry.reconcile(listener, applied));
        }
        if applied.left > left_before { result.and(self.check_all(listener, applied)) } else { result }
    }

    /// Checks all entries after the listener has left a group: two entries may name the same interface in different ways, and the
    /// kernel keeps one membership for both.
    fn check_all<F: Filter>(&mut self, listener: &mut Inner<F>, applied: &mut Applied) -> Result<()> {
        let mut result = Ok(());
        for entry in &mut self.entries {
            let (group, before) = (entry.membership.group().address(), entry.joined.len());
            entry.joined.retain(|index| !listener.has_lost(group, *index));
            if entry.joined.len() < before {
                result = result.and(entry.reconcile(listener, applied));
            }
        }
        result
    }

    /// The memberships in the book.
    pub fn iter(&self) -> impl Iterator<Item = &Membership> {
        self.entries.iter().map(|entry| &entry.membership)
    }

    /// The memberships that wait for an interface, address or route.
    pub fn pending(&self) -> impl Iterator<Item = &Membership> {
        self.entries.iter().filter(|entry| entry.joined.is_empty()).map(|entry| &entry.membership)
    }

    /// On how many interfaces memberships are not joined because of a limit.
    pub(super) fn over_limit(&self) -> usize {
        self.entries.iter().fold(0, |sum, entry| sum.saturating_add(entry.over_limit))
    }

    fn counted(&self, applied: Applied) -> Applied {
        Applied { pending: self.pending().count(), over_limit: self.over_limit(), ..applied }
    }
}

impl Entry {
    /// Whether the change can affect this membership. The check saves system calls on routers, where thousands of routes change.
    fn is_concerned_by<F: Filter>(&self, change: &Change, listener: &Inner<F>) -> bool {
        match (self.membership.interface(), change) {
            (_, Change::Gone { .. } | Change::Overrun) | (Interface::All, Change::Link(_)) => true,
            (Interface::Default, Change::Link(_) | Change::Route) => true,
            (Interface::Default, Change::RouteTo { group, .. }) => self.membership.group().address() == *group,
            (Interface::Index(index), Change::Link(link)) => link.index == index,
            (Interface::Name(name), Change::Link(link)) => {
                let has_name = link.name == Some(name) || self.joined.contains(&link.index);
                // It may be an alternative name.
                has_name || self.joined.is_empty() && listener.is_named(&self.membership, link.index)
            }
            // The interface may have IPv6 again.
            (Interface::Address(_), Change::Link(_)) => self.joined.is_empty(),
            (
                Interface::Address(address),
                Change::Address { address: its, .. } | Change::AddressGone { address: its, .. },
            ) => address == *its,
            _ => false,
        }
    }

    /// Joins and leaves until the entry is joined exactly where it should be. After an error it stays joined where it was.
    fn reconcile<F: Filter>(&mut self, listener: &mut Inner<F>, applied: &mut Applied) -> Result<()> {
        if self.membership.interface() == Interface::All {
            return self.reconcile_all(listener, applied);
        }
        match listener.index_of(&self.membership) {
            Ok(wanted) => self.move_to(Some(wanted), listener, applied),
            Err(error) if may_come(error.kind()) => self.move_to(None, listener, applied),
            Err(error) => Err(error),
        }
    }

    /// Joins and leaves until the entry is joined only on this interface: the one that the membership names now, if there is one.
    fn move_to<F: Filter>(
        &mut self,
        wanted: Option<NonZeroU32>,
        listener: &mut Inner<F>,
        applied: &mut Applied,
    ) -> Result<()> {
        match wanted {
            Some(wanted) => {
                // The interface was created again or renamed, or the route has changed.
                self.forget_where(listener, applied, |_, index| index != wanted);
                self.join(wanted, listener, applied)
            }
            None => {
                // A missing name means that the interface is gone. If an address or a route is missing, it may come back to an interface
                // that still exists.
                let is_by_name = matches!(self.membership.interface(), Interface::Name(_));
                self.forget_where(listener, applied, |listener, index| is_by_name || listener.is_gone(index));
                Ok(())
            }
        }
    }

    fn reconcile_all<F: Filter>(&mut self, listener: &mut Inner<F>, applied: &mut Applied) -> Result<()> {
        self.forget_where(listener, applied, |listener, index| listener.is_gone(index));
        let (mut over_limit, mut limit) = (0_usize, None);
        route::each_interface(Operation::Join, |Listed { index, is_meant, is_port }| {
            // An interface that is down keeps its membership: the kernel uses it again when it is up.
            if is_port {
                self.forget_where(listener, applied, |_, joined| joined == index);
            }
            if !is_meant || self.joined.contains(&index) {
                return Ok(());
            }
            let joined = if limit.is_none() { self.join(index, listener, applied) } else { Ok(()) };
            match joined {
                Err(error) if error.kind() == ErrorKind::LimitReached => limit = Some(error),
                result => result?,
            }
            if limit.is_some() {
                over_limit = over_limit.saturating_add(1);
            }
            Ok(())
        })?;
        let is_worse = over_limit > self.over_limit;
        self.over_limit = over_limit;
        match limit {
            Some(error) if is_worse => Err(error),
            _ => Ok(()),
        }
    }

    fn join<F: Filter>(&mut self, index: NonZeroU32, listener: &mut Inner<F>, applied: &mut Applied) -> Result<()> {
        if self.joined.contains(&index) {
            return Ok(());
        }
        if self.joined.is_full() {
            return Err(Error::custom(
                ErrorKind::LimitReached,
                "join on all interfaces: there are more than 64, and only 64 were joined: name the interfaces instead",
            ));
        }
        match listener.join_on(&self.membership, index) {
            Ok(()) => {
                applied.joined = applied.joined.saturating_add(1);
                // There is room: this was checked above.
                let _ = self.joined.push(index);
                Ok(())
            }
            // It has gone since it was found.
            Err(error) if may_come(error.kind()) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Leaves and joins again on each interface where it is joined: nobody knows whether these are the same interfaces still.
    #[cold]
    #[inline(never)]
    fn join_anew<F: Filter>(&mut self, listener: &mut Inner<F>, applied: &mut Applied) -> Result<()> {
        let (before, mut result) = (self.joined.clone(), Ok(()));
        for index in &before {
            self.forget_where(listener, applied, |_, joined| joined == *index);
            result = result.and(self.join(*index, listener, applied));
        }
        result
    }

    fn forget_where<F: Filter>(
        &mut self,
        listener: &mut Inner<F>,
        applied: &mut Applied,
        is_dead: impl Fn(&Inner<F>, NonZeroU32) -> bool,
    ) {
        let membership = self.membership;
        self.joined.retain(|index| {
            let is_kept = !is_dead(listener, *index);
            if !is_kept {
                listener.forget(&membership, *index);
                applied.left = applied.left.saturating_add(1);
            }
            is_kept
        });
    }
}
