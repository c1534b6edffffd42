//! Sets a sender's interface and source address again, on the same socket.

use super::multicaster::Multicaster;
use super::opening::{asked_about, leave_on, no_way, nobody};
use super::segments::Segments;
use super::socket::Sender;
use super::way::{Named, bound_elsewhere, leave_as_routed, with_index};
use crate::error::Result;
use crate::group::{Group, Interface};
use crate::route::{self, Route, may_come};

impl Sender {
    /// The interface that the options named.
    pub(crate) const fn interface(&self) -> Interface {
        self.interface
    }

    /// The index of its interface, or of the last one that it had; 0 if it is not known.
    pub(crate) const fn index(&self) -> u32 {
        self.index
    }

    /// Whether it cannot send before its interface, address or route exists.
    pub(crate) const fn waits(&self) -> bool {
        self.lacks.is_some()
    }

    /// Finds the way of packets to groups again, and sets it. Returns whether it has changed. Of an interface that is named by its IPv4
    /// address, only the kernel knows the index: the caller says whether an interface has lost this address.
    ///
    /// If the interface, its address or the route is missing, nothing is sent until it is there. After an error, nothing has changed.
    pub(crate) fn renew(&mut self, is_address_lost: bool) -> Result<bool> {
        // As when it was created: the group of the listener whose socket it uses.
        let group = self.socket.local_addr().ok().filter(|local| *local != nobody(self.family, local.port()).internet());
        self.renew_for(group.and_then(|local| local.try_into().ok()), is_address_lost)
    }

    fn renew_for(&mut self, group: Option<Group>, is_address_lost: bool) -> Result<bool> {
        // As the routing table decides for each packet.
        let Some(to) = asked_about(self.family, group, self.interface) else { return Ok(false) };
        let found = route::egress_of_any(to, self.interface).map_err(|error| no_way(error, group, self.interface));
        match found.and_then(|route| self.set(route, group, is_address_lost)) {
            Ok(is_new) => Ok(is_new),
            Err(error) if may_come(error.kind()) => {
                self.lacks = Some(error.kind());
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    fn set(&mut self, route: Route, group: Option<Group>, is_address_lost: bool) -> Result<bool> {
        let is_moved = route.interface == 0 && is_address_lost;
        let (route, source) = match self.named {
            Named::Nothing => (route, self.socket.egress_source(self.family)),
            named => (with_index(route), named.source(self.interface).filter(|_| route.source.is_some())),
        };
        let has_changed = is_moved || route.interface != self.index || route.source != source;
        leave_on(&self.socket, self.family, route, group, self.interface)
            .map_err(|error| bound_elsewhere(&self.socket, route.interface, self.interface).unwrap_or(error))?;
        if self.named != Named::Nothing {
            leave_as_routed(&self.socket, self.family);
            self.named = Named::of(route);
        }
        self.index = route.interface;
        let is_new = self.lacks.take().is_some() || has_changed;
        if is_new {
            // Listeners on the new interface have no copy of a packet that the old one refused.
            self.settle();
        }
        Ok(is_new)
    }
}

impl<I: Iterator, const BATCH: usize> Multicaster<I, BATCH> {
    /// As [`Sender::renew`], for its group.
    pub(crate) fn renew(&mut self, is_address_lost: bool) -> Result<bool> {
        let group = self.group();
        let is_new = self.sender.renew_for(Some(group), is_address_lost)?;
        if is_new {
            self.aim_at(group);
            self.copied = 0;
            // The limits of the interface before say nothing about this one.
            self.segments = Self::segments_of(&self.sender);
        }
        Ok(is_new)
    }

    /// The sizes of segments to try first.
    #[inline(always)]
    pub(super) fn segments_of(sender: &Sender) -> Segments {
        let mut segments = Segments::new();
        if BATCH > 1 && !sender.socket.can_segment() {
            segments.unsupported();
        }
        segments
    }
}
