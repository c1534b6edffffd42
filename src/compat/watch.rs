//! What a poller does so that its listeners stay members of their groups, whatever happens to interfaces.
//!
//! One [`Links`] serves all listeners of a poller. It is made with the first that needs it, and let go when the last has left. It is no
//! handler: [`run`](super::Poller::run) does not go on for its sake, and [`poll`](super::Poller::poll) neither returns for it nor counts
//! it.
//!
//! A listener to an interface by index needs none: an index never comes to mean another interface.

use core::any::Any;

use super::dispatch::Shared;
use super::handler::Handler;
use super::table::Removed;
use crate::filter::Filter;
use crate::{Change, Interest, Interface, Links, Membership, Memberships, Receiver, Result, Token};

/// No slot has this index: see `Table::reserve`.
pub(super) const LINKS: Token = Token(u32::MAX as u64);

/// A handler whose memberships its poller keeps.
pub(super) trait Keeps: Handler {
    /// Does what a change of the interfaces calls for. It must call nobody else's code.
    fn keep(&mut self, change: &Change) -> Result<()>;
}

/// [`Keeps::keep`] of a handler of some type: what a slot holds of it.
pub(super) type Keep = fn(&mut dyn Handler, &Change) -> Result<()>;

/// The [`Keep`] of a type.
pub(super) fn keep<T: Keeps>(handler: &mut dyn Handler, change: &Change) -> Result<()> {
    let handler: &mut dyn Any = handler;
    handler.downcast_mut::<T>().map_or(Ok(()), |handler| handler.keep(change))
}

/// Whether a membership has to be kept.
pub(super) const fn is_needed(membership: &Membership) -> bool {
    !matches!(membership.interface(), Interface::Index(_))
}

/// The membership of one listener, in its book where it has to be kept.
pub(super) type Book = Memberships<1>;

/// Joins, now or as soon as there is a way.
pub(super) fn join<F: Filter>(membership: Membership, receiver: &mut Receiver<F>) -> Result<Book> {
    let mut book = Book::new();
    match is_needed(&membership) {
        true => book.join(membership, receiver).map(|_| ())?,
        false => receiver.join(&membership)?,
    }
    Ok(book)
}

impl Shared {
    /// Watches the interfaces from now on. Called before a listener joins, so that it misses nothing.
    pub(super) fn watch(&self) -> Result<()> {
        let mut watch = self.links.borrow_mut();
        if watch.is_none() {
            let links = std::boxed::Box::new(Links::watch()?);
            self.core.register(&*links, LINKS, Interest::READABLE)?;
            *watch = Some(links);
        }
        Ok(())
    }

    /// Tells all that keep memberships what has changed. One that fails is removed, like a handler that fails, and the first error is
    /// returned when all are told.
    pub(super) fn keep_memberships(&self) -> Result<()> {
        let mut result = Ok(());
        loop {
            let mut watch = self.links.borrow_mut();
            let Some(links) = watch.as_deref_mut() else { return result };
            if self.table.borrow().kept() == 0 {
                // It may be gone from the set already: nothing depends on it.
                let _ = self.core.unregister(links);
                *watch = None;
                return result;
            }
            let Some(change) = links.next()? else { return result };
            drop(watch);
            result = result.and(self.tell(&change));
        }
    }

    fn tell(&self, change: &Change) -> Result<()> {
        let mut result = Ok(());
        let mut from = 0;
        loop {
            // Statements of their own, so that the table is free again before a handler is dropped.
            let failed = self.table.borrow_mut().keep_from(from, change);
            let Some((key, error)) = failed else { return result };
            from = key.place().saturating_add(1);
            let removed = self.table.borrow_mut().remove(key);
            if let Removed::Idle(handler, arming) = removed {
                self.forget(&*handler, &arming);
            }
            result = result.and(Err(error));
        }
    }
}
