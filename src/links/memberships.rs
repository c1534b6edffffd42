//! A book of memberships, which keeps a listener joined when interfaces change.

use core::num::NonZeroU32;

use heapless::Vec;

use super::change::Change;
use crate::error::{Error, ErrorKind, Operation, Result};
use crate::filter::Filter;
use crate::group::{Interface, Membership};
use crate::listener::{Inner, ListeningSocket};
use crate::route::{self, may_come};

/// On how many interfaces one membership is joined at most: by default the kernel allows a socket 20 memberships.
const INTERFACES: usize = 20;

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
}

/// A book of the memberships that one listener should have, at most `N`. It keeps the listener joined when interfaces are
/// created, deleted or changed.
///
/// If an interface is deleted, the memberships on it are lost, and the kernel reports no error; an interface that is created
/// again under the same name is a new one to the kernel. The book joins again, and makes joins that were not possible before. For
/// this it must get every [`Change`]: use [`Links::follow`](crate::Links::follow).
///
/// The book is separate from the listener, so its code is not linked into programs that do not use it. Create the listener with
/// [`Bind::Port`](crate::Bind::Port) or [`Bind::Later`](crate::Bind::Later), and join all its groups through the book.
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
    /// or route is not an error, since it may appear later. After an error the membership is not in the book.
    pub fn join<B, F: Filter>(&mut self, membership: Membership, listener: &mut ListeningSocket<B, F>) -> Result<Applied> {
        let listener = listener.inner_mut();
        let mut applied = Applied::default();
        if !self.entries.iter().any(|entry| entry.membership == membership) {
            let mut entry = Entry { membership, joined: Vec::new() };
            if self.entries.is_full() {
                return Err(Error::custom(
                    ErrorKind::LimitReached,
                    "join: the book of memberships is full: create it with a larger N",
                ));
            }
            entry.reconcile(listener, &mut applied)?;
            // There is room: this was checked above.
            let _ = self.entries.push(entry);
        }
        applied.pending = self.pending().count();
        Ok(applied)
    }

    /// Leaves a membership, and removes it from the book. It does nothing if the membership is not in the book.
    ///
    /// # Errors
    /// As [`ListeningSocket::leave`]. The membership is removed from the book even then.
    pub fn leave<B, F: Filter>(&mut self, membership: &Membership, listener: &mut ListeningSocket<B, F>) -> Result<Applied> {
        let listener = listener.inner_mut();
        let (mut applied, mut result) = (Applied::default(), Ok(()));
        if let Some(place) = self.entries.iter().position(|entry| entry.membership == *membership) {
            let Entry { membership, joined } = self.entries.swap_remove(place);
            for index in &joined {
                let left = listener.leave(&membership.on(Interface::Index(*index)));
                applied.left = applied.left.saturating_add(1);
                result = result.and(left);
            }
        }
        if applied.left > 0 {
            result = result.and(self.check_all(listener, &mut applied));
        }
        applied.pending = self.pending().count();
        result.map(|()| applied)
    }

    /// Applies a change: leaves on interfaces that are gone, and joins on those that have appeared.
    /// [`Links::follow`](crate::Links::follow) does this for several books.
    ///
    /// # Errors
    /// The first error of joining: see [`ListeningSocket::join`]. The other memberships are still handled. The failed one is
    /// tried again at the next change that concerns it.
    pub fn apply<B, F: Filter>(&mut self, change: &Change, listener: &mut ListeningSocket<B, F>) -> Result<Applied> {
        let mut applied = Applied::default();
        self.apply_to(change, listener.inner_mut(), &mut applied)?;
        applied.pending = self.pending().count();
        Ok(applied)
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
            if let Change::Gone { index, .. } = change {
                // First: an interface that is created again with the same index would seem to be joined.
                entry.forget_where(listener, applied, |joined| joined == *index);
            }
            if entry.is_concerned_by(change) {
                result = result.and(entry.reconcile(listener, applied));
            }
        }
        if applied.left > left_before { result.and(self.check_all(listener, applied)) } else { result }
    }

    /// Checks all entries after the listener has left a group: two entries may name the same interface in different ways, and the
    /// kernel keeps one membership for both.
    fn check_all<F: Filter>(&mut self, listener: &mut Inner<F>, applied: &mut Applied) -> Result<()> {
        let mut result = Ok(());
        for entry in &mut self.entries {
            let (group, before) = (entry.membership.group().address(), entry.joined.len());
            entry.joined.retain(|index| listener.is_member(group, *index));
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
}

impl Entry {
    /// Whether the change can affect this membership. The check saves system calls on routers, where thousands of routes change.
    fn is_concerned_by(&self, change: &Change) -> bool {
        match (self.membership.interface(), change) {
            (_, Change::Gone { .. } | Change::Overrun) | (Interface::All, Change::Link(_)) => true,
            (Interface::Default, Change::Link(_) | Change::Route) => true,
            (Interface::Index(index), Change::Link(link)) => link.index == index,
            (Interface::Name(name), Change::Link(link)) => link.name == Some(name) || self.joined.contains(&link.index),
            (
                Interface::Address(address),
                Change::Address { address: its, .. } | Change::AddressGone { address: its, .. },
            ) => address == *its,
            _ => false,
        }
    }

    /// Joins and leaves until the entry is joined exactly where it should be.
    fn reconcile<F: Filter>(&mut self, listener: &mut Inner<F>, applied: &mut Applied) -> Result<()> {
        let group = self.membership.group();
        match self.membership.interface() {
            Interface::All => {
                // A link that is down keeps its membership: the kernel reports it again when it is up.
                self.forget_where(listener, applied, |index| !route::exists(index));
                let mut wanted = Vec::<NonZeroU32, INTERFACES>::new();
                let mut is_too_many = false;
                route::each_multicast_interface(Operation::Join, |index| {
                    is_too_many |= !wanted.contains(&index) && wanted.push(index).is_err();
                    Ok(())
                })?;
                for index in &wanted {
                    self.join(*index, listener, applied)?;
                }
                match is_too_many {
                    true => Err(Error::custom(
                        ErrorKind::LimitReached,
                        "join on all interfaces: there are more than 20, and only 20 were joined: name the interfaces instead",
                    )),
                    false => Ok(()),
                }
            }
            interface => match route::index(group.address(), interface, Operation::Join) {
                Ok(wanted) => {
                    // The interface was created again or renamed, or the route has changed.
                    self.forget_where(listener, applied, |index| index != wanted);
                    self.join(wanted, listener, applied)
                }
                Err(error) if may_come(error.kind()) => {
                    // A missing name means that the interface is gone. If an address or a route is missing, it may come back to
                    // an interface that still exists.
                    let is_by_name = matches!(interface, Interface::Name(_));
                    self.forget_where(listener, applied, |index| is_by_name || !route::exists(index));
                    Ok(())
                }
                Err(error) => Err(error),
            },
        }
    }

    fn join<F: Filter>(&mut self, index: NonZeroU32, listener: &mut Inner<F>, applied: &mut Applied) -> Result<()> {
        if self.joined.contains(&index) {
            return Ok(());
        }
        match listener.join_on(&self.membership, index) {
            Ok(()) => {
                applied.joined = applied.joined.saturating_add(1);
                // There is room: the wanted interfaces fit, and all others were removed before.
                let _ = self.joined.push(index);
                Ok(())
            }
            // It has gone since it was found.
            Err(error) if may_come(error.kind()) => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn forget_where<F: Filter>(
        &mut self,
        listener: &mut Inner<F>,
        applied: &mut Applied,
        is_dead: impl Fn(NonZeroU32) -> bool,
    ) {
        let membership = self.membership;
        self.joined.retain(|index| {
            let is_kept = !is_dead(*index);
            if !is_kept {
                listener.forget(&membership, *index);
                applied.left = applied.left.saturating_add(1);
            }
            is_kept
        });
    }
}
