//! Senders whose socket does not say which way packets to groups leave, so that each packet says it.

use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use core::num::NonZeroU32;

use crate::address::Address;
use crate::cmsg::Way;
use crate::error::{Error, ErrorKind, Object, Operation};
use crate::group::{Family, Interface};
use crate::route::Route;
use crate::socket::Socket;

/// What each packet to a group names, beside the group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Named {
    /// Nothing: the socket's options say it.
    Nothing,
    /// The interface, and the source if that names the interface.
    Interface,
    /// Both.
    From(Ipv4Addr),
}

impl Named {
    pub(super) const fn of(route: Route) -> Self {
        match route.source {
            Some(IpAddr::V4(source)) => Self::From(source),
            _ => Self::Interface,
        }
    }

    /// The source that each packet to a group names, for a sender of this interface.
    pub(super) const fn source(self, interface: Interface) -> Option<IpAddr> {
        match (self, interface) {
            (Self::From(source), _) => Some(IpAddr::V4(source)),
            // Else the kernel chooses the source of an IPv6 packet.
            (Self::Interface, Interface::Address(source @ IpAddr::V6(_))) => Some(source),
            _ => None,
        }
    }

    /// Makes packets leave this way by the options of the socket.
    pub(super) fn leave_on(self, socket: &Socket, family: Family, interface: Interface, index: u32) {
        if self != Self::Nothing {
            let _ = socket.set_egress(family, Route { interface: index, source: self.source(interface) });
        }
    }

    /// The way of a packet whose destination names this one: as far as it names none, that of a sender of this interface, which has this
    /// index.
    // Inlined, so that nothing of it is linked for a sender whose socket says it.
    #[inline(always)]
    pub(super) fn way_to(self, to: &Address, way: Option<Way>, interface: Interface, index: u32) -> Option<Way> {
        let to = to.internet();
        if self == Self::Nothing || !to.ip().is_multicast() {
            return way;
        }
        match to {
            // The address names another interface.
            SocketAddr::V6(to) if ![0, index].contains(&to.scope_id()) => return way,
            _ => {}
        }
        match way {
            None => Some(Way { interface: index, source: self.source(interface) }),
            Some(Way { interface: 0, source }) => Some(Way { interface: index, source }),
            _ => way,
        }
    }
}

/// With the index of an interface that is named by its address. If nobody tells it, the kernel finds it by the source, as long as the
/// destination names no other one.
pub(super) fn with_index(route: Route) -> Route {
    match route {
        Route { interface: 0, source: Some(source) } => {
            Route { interface: Interface::Address(source).index().map_or(0, NonZeroU32::get), ..route }
        }
        _ => route,
    }
}

/// The reason why the kernel refuses an interface, if the socket is bound to another one: that of a listener by
/// [`Bind::Interface`](crate::Bind::Interface).
pub(super) fn bound_elsewhere(socket: &Socket, index: u32, interface: Interface) -> Option<Error> {
    let bound = socket.bound_interface().filter(|bound| index != 0 && bound.get() != index);
    bound.map(|_| Error::new(Operation::Send, Object::On(interface), ErrorKind::OneInterface))
}

/// After the kernel has accepted an interface: takes it back from the socket. So packets of other senders on it that name none leave as the
/// routing table says.
pub(super) fn leave_as_routed(socket: &Socket, family: Family) {
    let _ = socket.set_egress(family, Route { interface: 0, source: None });
}
