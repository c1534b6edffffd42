//! A receiver, and the book that keeps it a member of its group when interfaces change.

use core::ops::ControlFlow;
use std::boxed::Box;
use std::vec;

use super::handler::{Flags, Handler};
use super::options::ListenOptions;
use super::poller::Poller;
use crate::filter::Filter;
use crate::{AsFd, Bind, BorrowedFd, Change, Group, Interface, Membership, Memberships, Received, Receiver, Result};

/// The core's receiver, its book, and how many packets it may still return.
///
/// As a handler, it records once that it has become readable, and then waits until it is armed again. So a packet that was not taken yet
/// costs no processor time.
pub(super) struct OwnedReceiver<F> {
    pub(super) receiver: Receiver<F>,
    book: Memberships<1>,
    pub(super) left: Option<u64>,
    pub(super) is_ready: bool,
}

impl<F: Filter> OwnedReceiver<F> {
    /// Joins the group of the options, now or as soon as that is possible. Returns a buffer for its packets as well.
    pub(super) fn open(options: ListenOptions<F>, poller: &Poller) -> Result<(Self, Box<[u8]>)> {
        let ListenOptions { core, group, interface, mtu, limit, unicast, .. } = options;
        let place = if unicast { Bind::Port(group.port(), group.family()) } else { Bind::Later(group) };
        let (membership, mut book) = (Membership::any(group).on(interface), Memberships::new());
        let mut receiver = core.bind_receiver(place, mtu)?;
        // Before it joins, so that no change is missed.
        let watched = poller.shared.watch_links();
        // For an index that no interface has, this is an error.
        if matches!(interface, Interface::Index(_)) {
            receiver.join(&membership)?;
        }
        if book.join(membership, &mut receiver)?.pending > 0 {
            watched?;
        }
        Ok((Self { receiver, book, left: limit, is_ready: false }, vec![0; mtu].into_boxed_slice()))
    }

    /// Receives, and counts what it returns.
    // Inlined, as the core's call is: a return after a system call is slow on processors that guard returns.
    #[inline(always)]
    pub(super) fn recv<'b>(&'b mut self, buffer: &'b mut [u8]) -> Result<Received<'b>> {
        let received = self.receiver.recv_into(buffer)?;
        if let (Received::Packet(_), Some(left)) = (&received, &mut self.left) {
            *left = left.saturating_sub(1);
        }
        Ok(received)
    }
}

impl<F> OwnedReceiver<F> {
    /// Whether it has returned as many packets as it may.
    #[inline]
    pub(super) fn is_over(&self) -> bool {
        self.left == Some(0)
    }

    /// Whether it waits for its interface, address or route.
    pub(super) fn is_waiting(&self) -> bool {
        self.book.pending().next().is_some()
    }
}

impl<F: Filter + 'static> Handler for OwnedReceiver<F> {
    fn interest(&self) -> Flags {
        Flags::READ | Flags::ONESHOT
    }

    fn handle_read(&mut self) -> Result<ControlFlow<()>> {
        self.is_ready = true;
        Ok(ControlFlow::Continue(()))
    }

    fn follows(&self) -> bool {
        true
    }

    fn route_to(&self) -> Option<Group> {
        let membership = self.book.iter().next()?;
        (membership.interface() == Interface::Default).then(|| membership.group())
    }

    fn follow(&mut self, change: &Change) -> Result<()> {
        self.book.apply(change, &mut self.receiver).map(|_| ())
    }
}

impl<F> AsFd for OwnedReceiver<F> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.receiver.as_fd()
    }
}
