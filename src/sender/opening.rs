//! How a sender's socket is opened and configured.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use core::num::NonZeroU32;

use super::options::SendOptions;
use super::rate::Rate;
use super::socket::Sender;
use crate::address::Address;
use crate::error::{Errno, Error, ErrorKind, Object, Operation, Result};
use crate::group::{Family, Group, Interface};
use crate::route::{self, Route, may_come};
use crate::socket::Socket;

/// Where packets to groups leave.
pub(super) enum Egress {
    On(Route),
    /// As the routing table decides for each packet.
    Routed,
    /// Nowhere yet, for this reason.
    Later(ErrorKind),
}

impl SendOptions {
    /// A sender that is not bound yet, for one group or for all of a family.
    // Inlined, so that a program which knows group and interface links only what those need: without it tiny-mcast is 4,792 bytes
    // larger.
    #[inline(always)]
    pub(super) fn create(&self, family: Family, group: Option<Group>) -> Result<Sender> {
        let rate = self.checked_rate()?;
        let egress = self.egress(family, group)?;
        self.configure(Socket::sending(family)?, family, group, egress, rate)
    }

    /// Makes a sender of a socket.
    // Inlined for the same reason.
    #[inline(always)]
    pub(super) fn configure(
        &self,
        socket: Socket,
        family: Family,
        group: Option<Group>,
        egress: Egress,
        rate: Option<Rate>,
    ) -> Result<Sender> {
        let mut sender = Sender::new(socket, family, self.interface, 0, rate);
        match egress {
            Egress::On(route) => sender.leave_on(route, group)?,
            Egress::Routed => {}
            Egress::Later(kind) => sender.lacks = Some(kind),
        }
        let socket = &sender.socket;
        socket.want_errors(family)?;
        socket.set_ttl(family, self.ttl)?;
        socket.set_loopback(family, self.loopback)?;
        if let Some(hops) = self.unicast_ttl {
            socket.set_unicast_ttl(family, hops)?;
        }
        if let Some(class) = self.traffic_class {
            socket.set_traffic_class(family, class)?;
        }
        // After the traffic class, which sets a priority, too.
        if let Some(priority) = self.priority {
            socket.set_priority(priority)?;
        }
        if let Some(bytes) = self.send_buffer {
            socket.set_send_buffer(bytes)?;
        }
        if self.mtu_discover {
            socket.discover_mtu(family)?;
        }
        Ok(sender)
    }

    /// Where packets leave.
    // Inlined for the same reason.
    #[inline(always)]
    pub(super) fn egress(&self, family: Family, group: Option<Group>) -> Result<Egress> {
        match egress(family, group, self.interface) {
            Err(error) if self.later && may_come(error.kind()) => Ok(Egress::Later(error.kind())),
            result => result,
        }
    }

    pub(super) fn checked_rate(&self) -> Result<Option<Rate>> {
        if self.unicast_ttl == Some(0) {
            return Err(Error::new(Operation::Configure, Object::Named("unicast_ttl"), ErrorKind::Zero));
        }
        match self.rate.map(|(packets, burst)| (NonZeroU32::new(packets), NonZeroU32::new(burst))) {
            None => Ok(None),
            Some((Some(packets), Some(burst))) => Ok(Some(Rate::new(packets, burst))),
            Some(_) => Err(Error::new(Operation::Configure, Object::Named("rate and burst"), ErrorKind::Zero)),
        }
    }

    /// Binds to an address from which no answer comes: a group that is never joined. A wildcard address would take unicast packets
    /// away from other sockets on the port, and anybody's ICMP message would make a send fail.
    #[inline]
    pub(super) fn bind_without_answers(&self, sender: &Sender) -> Result<()> {
        let nobody = match sender.family {
            Family::V4 => IpAddr::V4(Ipv4Addr::new(224, 0, 0, 0)),
            Family::V6 => IpAddr::V6(Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0)),
        };
        self.bind_to(sender, SocketAddr::new(nobody, self.source_port))
    }

    /// Binds to this address, with a port of its own if the port is 0.
    #[inline]
    pub(super) fn bind_to(&self, sender: &Sender, address: SocketAddr) -> Result<()> {
        let to = Address::to(&address);
        let bound = match address.port() {
            0 => sender.socket.bind(&to),
            _ => bind_shared(&sender.socket, &to)?,
        };
        bound.map_err(|errno| Error::system(Operation::Bind, Object::Port(address.port()), errno))
    }
}

/// Binds to a port that others may hold, too.
#[cold]
fn bind_shared(socket: &Socket, address: &Address) -> Result<core::result::Result<(), Errno>> {
    socket.share_port()?;
    let bound = socket.bind(address);
    Ok(if bound.is_err() { socket.bind_beside(bound, address).map(drop) } else { bound })
}

/// Where packets to the group, or to all groups of the family, leave.
// Inlined for the reason that `SendOptions::create` has.
#[inline(always)]
pub(super) fn egress(family: Family, group: Option<Group>, interface: Interface) -> Result<Egress> {
    match (group, interface) {
        (Some(group), _) => route::egress(group.address(), interface).map(Egress::On),
        (None, Interface::Default) => Ok(Egress::Routed),
        // The answer for these groups, which exist on every link, is the answer for all groups.
        (None, _) => {
            let all_hosts = match family {
                Family::V4 => IpAddr::V4(Ipv4Addr::new(224, 0, 0, 1)),
                Family::V6 => IpAddr::V6(Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1)),
            };
            match route::egress(all_hosts, interface) {
                Ok(route) => Ok(Egress::On(route)),
                Err(error) => Err(error.about(Object::On(interface))),
            }
        }
    }
}

impl Sender {
    /// Makes packets to groups leave on this route.
    // Inlined for the reason that `SendOptions::create` has.
    #[inline(always)]
    pub(super) fn leave_on(&mut self, route: Route, group: Option<Group>) -> Result<()> {
        match self.socket.set_egress(self.family, route) {
            Ok(()) => {
                self.index = route.interface;
                self.lacks = None;
                Ok(())
            }
            Err(errno) => Err(not_set(errno, group, self.interface)),
        }
    }
}

#[cold]
fn not_set(errno: Errno, group: Option<Group>, interface: Interface) -> Error {
    let object = match group {
        Some(group) => Object::Membership { group: group.address(), interface },
        None => Object::On(interface),
    };
    match errno {
        // No interface has this address.
        Errno::NOT_AVAILABLE => Error::new(Operation::Send, object, ErrorKind::NoSuchInterface),
        _ => Error::system(Operation::Send, object, errno),
    }
}
