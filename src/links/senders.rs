//! Senders that follow their interface.

use core::num::NonZeroU32;

use super::change::Change;
use super::follow::{Followed, sealed};
use crate::error::Result;
use crate::group::Interface;
use crate::sender::{Multicaster, Sender};

/// Whether the change can affect this sender. The check saves system calls on routers, where thousands of routes change.
fn is_concerned(sender: &Sender, change: &Change) -> bool {
    let is_own = |index: NonZeroU32| index.get() == sender.index();
    match (sender.interface(), change) {
        // An index means that the route to one group was asked for when it was created. For other packets, the kernel asks each time.
        (Interface::Default, _) => sender.index() != 0 || sender.waits(),
        (_, Change::Gone { .. } | Change::Overrun) => true,
        (Interface::Index(index), Change::Link(link)) => link.index == index,
        // Or it may be an alternative name.
        (Interface::Name(name), Change::Link(link)) => link.name == Some(name) || is_own(link.index) || sender.waits(),
        (Interface::Address(_), Change::Link(link)) => sender.waits() || is_own(link.index),
        // Another address of the interface may be the source, too.
        (interface, Change::Address { index, address } | Change::AddressGone { index, address }) => {
            interface == Interface::Address(*address) || sender.waits() || is_own(*index)
        }
        _ => false,
    }
}

/// Whether an interface has lost the address that names the sender's interface.
fn is_address_lost(sender: &Sender, change: &Change) -> bool {
    matches!(change, Change::AddressGone { address, .. } if sender.interface() == Interface::Address(*address))
}

fn note(result: Result<bool>, followed: &mut Followed) {
    match result {
        Ok(is_new) => followed.renewed = followed.renewed.saturating_add(is_new.into()),
        Err(error) if followed.failed.is_none() => followed.failed = Some(error),
        Err(_) => {}
    }
}

impl sealed::Follows for Sender {
    fn follow(&mut self, change: &Change, followed: &mut Followed) {
        if is_concerned(self, change) {
            note(self.renew(is_address_lost(self, change)), followed);
        }
    }

    fn retry(&mut self, followed: &mut Followed) {
        note(self.renew(false), followed);
    }

    fn pending(&self) -> usize {
        self.waits().into()
    }
}

impl<I: Iterator, const BATCH: usize> sealed::Follows for Multicaster<I, BATCH> {
    fn follow(&mut self, change: &Change, followed: &mut Followed) {
        if is_concerned(self.plain(), change) {
            note(self.renew(is_address_lost(self.plain(), change)), followed);
        }
    }

    fn retry(&mut self, followed: &mut Followed) {
        note(self.renew(false), followed);
    }

    fn pending(&self) -> usize {
        self.plain().waits().into()
    }
}
