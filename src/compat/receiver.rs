//! A receiver, and the book that keeps it a member of its group when interfaces change.

use std::boxed::Box;
use std::vec;

use super::options::ListenOptions;
use super::poller::Poller;
use super::slot::Keep;
use crate::filter::Filter;
use crate::{Change, Interface, Memberships, Receiver, Result};

/// The core's receiver, and the book that its poller applies changes to.
pub(super) struct OwnedReceiver<F> {
    pub(super) receiver: Receiver<F>,
    /// Its membership, if it must be kept.
    book: Memberships<1>,
    is_kept: bool,
}

impl<F: Filter> OwnedReceiver<F> {
    /// Joins the group of the options, now or as soon as that is possible. Returns a buffer for its packets as well.
    pub(super) fn open(options: ListenOptions<F>, poller: &Poller) -> Result<(Self, Box<[u8]>)> {
        let membership = options.membership();
        // A membership by index always means the same interface, so it need not be kept.
        let is_kept = !matches!(membership.interface(), Interface::Index(_));
        if is_kept {
            poller.watch_links()?;
        }
        let (mut receiver, mtu) = options.receiver()?;
        let mut book = Memberships::new();
        match is_kept {
            true => book.join(membership, &mut receiver).map(|_| ())?,
            false => receiver.join(&membership)?,
        }
        Ok((Self { receiver, book, is_kept }, vec![0; mtu].into_boxed_slice()))
    }

    /// How the poller keeps the membership of a handler with this receiver.
    pub(super) fn kept_by<T>(&self, keep: Keep<T>) -> Option<Keep<T>> {
        self.is_kept.then_some(keep)
    }

    pub(super) fn keep(&mut self, change: &Change) -> Result<()> {
        self.book.apply(change, &mut self.receiver).map(|_| ())
    }
}

impl<F> OwnedReceiver<F> {
    /// Whether it waits for its interface, address or route.
    pub(super) fn is_waiting(&self) -> bool {
        self.book.pending().next().is_some()
    }
}
