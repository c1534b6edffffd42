//! What belongs to this machine: its addresses, and the indexes of its interfaces.

use std::net::IpAddr;
use std::num::NonZeroU32;

use multicast::{Change, Interface, Name};

/// Kept from the changes that [`note`](Self::note) is given.
#[derive(Default)]
pub(super) struct Own {
    addresses: Vec<(NonZeroU32, IpAddr)>,
    links: Vec<(NonZeroU32, Name)>,
}

impl Own {
    pub(super) fn note(&mut self, change: &Change) {
        match *change {
            Change::Link(link) => {
                self.links.retain(|(index, _)| *index != link.index);
                self.links.extend(link.name.map(|name| (link.index, name)));
            }
            Change::Gone { index, .. } => {
                self.links.retain(|(known, _)| *known != index);
                self.addresses.retain(|(known, _)| *known != index);
            }
            Change::Address { index, address } => {
                // It may be known: a change of its lifetime is reported as well.
                self.addresses.retain(|known| *known != (index, address));
                self.addresses.push((index, address));
            }
            Change::AddressGone { index, address } => self.addresses.retain(|known| *known != (index, address)),
            // All that exists is reported again.
            Change::Overrun => *self = Self::default(),
            _ => {}
        }
    }

    pub(super) fn has(&self, address: IpAddr) -> bool {
        self.addresses.iter().any(|(_, own)| *own == address)
    }

    /// The index of an interface that is named by name, index or address; `None` if there is none, or the routing table decides.
    pub(super) fn index_of(&self, interface: Interface) -> Option<NonZeroU32> {
        match interface {
            Interface::Index(index) => Some(index),
            Interface::Name(name) => self.links.iter().find(|(_, known)| *known == name).map(|(index, _)| *index),
            Interface::Address(address) => self.addresses.iter().find(|(_, own)| *own == address).map(|(index, _)| *index),
            _ => None,
        }
    }
}
