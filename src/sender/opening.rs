//! How a sender's socket is opened and configured.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use core::num::NonZeroU32;

use super::options::SendOptions;
use super::rate::Rate;
use super::socket::Sender;
use super::way::Named;
use crate::address::{Address, is_link_local};
use crate::error::{Errno, Error, ErrorKind, Object, Operation, Result};
use crate::group::{Family, Group, Interface, Ttl};
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

/// The options of a socket, before ours are set.
pub(super) enum Options {
    /// As the kernel creates it.
    Default,
    /// Somebody may have set others.
    Unknown,
}

/// A configured socket, and what is known of its interface.
pub(super) struct Configured {
    pub(super) socket: Socket,
    /// The index of its interface; 0 if the routing table or an address decides.
    pub(super) index: u32,
    /// Why it cannot send yet.
    pub(super) lacks: Option<ErrorKind>,
}

impl SendOptions {
    /// A sender without answers, for one group or for all of a family.
    // Inlined, so that a program which knows group and interface links only what those need: without it tiny-mcast is 4,792 bytes
    // larger.
    #[inline(always)]
    pub(super) fn open_for(&self, family: Family, group: Option<Group>) -> Result<Sender> {
        let rate = self.checked_rate()?;
        let egress = self.egress(family, group)?;
        let opened = match self.interface {
            Interface::Address(IpAddr::V6(source)) if matches!(family, Family::V6) => {
                let index = if let Egress::On(Route { interface, .. }) = egress { interface } else { 0 };
                from_source(source, index, self.source_port)?
            }
            _ => without_answers(family, self.source_port).map_err(|errno| not_opened(self.source_port, errno))?,
        };
        let Configured { socket, index, lacks } = self.configure(opened, Options::Default, family, group, egress)?;
        // Made last, of plain values: so the compiler knows that no reports can come.
        Ok(Sender {
            socket,
            interface: self.interface,
            index,
            named: Named::Nothing,
            reports: None,
            family,
            lacks,
            rate,
            refusal: self.no_refusal(),
            refused_packet: 0,
        })
    }

    /// Sets the options of the socket. First those that the kernel may refuse, so that an error has changed nothing: a listener may go on
    /// with the socket.
    // Inlined for the same reason.
    #[inline(always)]
    pub(super) fn configure(
        &self,
        socket: Socket,
        options: Options,
        family: Family,
        group: Option<Group>,
        egress: Egress,
    ) -> Result<Configured> {
        let priority_before = match self.priority {
            Some(priority) => Some(socket.exchange_priority(priority)?),
            None => None,
        };
        let (index, lacks) = match egress {
            Egress::On(route) => {
                if let Err(error) = leave_on(&socket, family, route, group, self.interface) {
                    if let Some(before) = priority_before {
                        let _ = socket.exchange_priority(before);
                    }
                    return Err(error);
                }
                (route.interface, None)
            }
            Egress::Routed => (0, None),
            Egress::Later(kind) => (0, Some(kind)),
        };
        // The defaults of the kernel are ours.
        let is_set = matches!(options, Options::Unknown);
        if is_set || self.ttl != Ttl::SUBNET {
            socket.set_ttl(family, self.ttl)?;
        }
        if is_set || !self.loopback {
            socket.set_loopback(family, self.loopback)?;
        }
        if let Some(hops) = self.unicast_ttl {
            socket.set_unicast_ttl(family, hops)?;
        }
        if let Some(class) = self.traffic_class {
            socket.set_traffic_class(family, class)?;
            // It sets a priority, too.
            if let Some(priority) = self.priority {
                socket.exchange_priority(priority)?;
            }
        }
        if let Some(bytes) = self.send_buffer {
            socket.set_send_buffer(bytes)?;
        }
        if self.mtu_discover {
            socket.discover_mtu(family)?;
        }
        Ok(Configured { socket, index, lacks })
    }

    /// Where packets leave.
    // Inlined for the same reason.
    #[inline(always)]
    pub(super) fn egress(&self, family: Family, group: Option<Group>) -> Result<Egress> {
        let Some(to) = asked_about(family, group, self.interface) else { return Ok(Egress::Routed) };
        match route::egress(to, self.interface) {
            Ok(route) => Ok(Egress::On(route)),
            Err(error) if self.later && may_come(error.kind()) => Ok(Egress::Later(error.kind())),
            Err(error) => Err(no_way(error, group, self.interface)),
        }
    }

    #[inline(always)]
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
}

/// A socket that is bound to an address from which no answer comes: a group that is never joined. A wildcard address would take
/// unicast packets away from other sockets on the port, and anybody's ICMP message would make a send fail.
// Not inlined, and with one error for all calls: so programs for both families have it once, and small.
#[inline(never)]
fn without_answers(family: Family, port: u16) -> core::result::Result<Socket, Errno> {
    Socket::try_sending(family, &nobody(family, port), port != 0)
}

/// The same for IPv6, with packets from this address. It may appear later, except a link-local one, which needs its interface.
#[inline(never)]
fn from_source(source: Ipv6Addr, index: u32, port: u16) -> Result<Socket> {
    let scope = if is_link_local(IpAddr::V6(source)) { index } else { 0 };
    let source = Address::to(&SocketAddr::new(IpAddr::V6(source), 0)).with_scope(scope);
    match Socket::try_sending_from(&source, &nobody(Family::V6, port), port != 0) {
        Err(Errno::INVALID) => without_answers(Family::V6, port),
        opened => opened,
    }
    .map_err(|errno| not_opened(port, errno))
}

/// The address from which no answer comes.
#[inline(always)]
pub(super) fn nobody(family: Family, port: u16) -> Address {
    let nobody = match family {
        Family::V4 => IpAddr::V4(Ipv4Addr::new(224, 0, 0, 0)),
        Family::V6 => IpAddr::V6(Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0)),
    };
    Address::to(&SocketAddr::new(nobody, port))
}

#[cold]
const fn not_opened(port: u16, errno: Errno) -> Error {
    match port {
        0 => Error::system(Operation::Open, Object::Named("a socket to send"), errno),
        _ => Error::system(Operation::Bind, Object::Port(port), errno),
    }
}

/// Binds to this wildcard address: to a port of its own if the port is 0, else beside all that share the port.
pub(super) fn bind(socket: &Socket, address: IpAddr, port: u16) -> Result<()> {
    let address = Address::to(&SocketAddr::new(address, port));
    let bound = match port {
        0 => socket.bind(&address),
        _ => {
            socket.share_port()?;
            socket.bind_to(&address, false, None, true)
        }
    };
    bound.map_err(|errno| Error::system(Operation::Bind, Object::Port(port), errno))
}

/// To which address to ask for the way of packets to the group, or to all groups of the family. `None`: the routing table decides for
/// each packet.
// Inlined for the reason that `SendOptions::open_for` has.
#[inline(always)]
pub(super) fn asked_about(family: Family, group: Option<Group>, interface: Interface) -> Option<IpAddr> {
    match (group, interface, family) {
        (Some(group), ..) => Some(group.address()),
        (None, Interface::Default, _) => None,
        // The answer for these groups, which exist on every link, is the answer for all groups.
        (None, _, Family::V4) => Some(IpAddr::V4(Ipv4Addr::new(224, 0, 0, 1))),
        (None, _, Family::V6) => Some(IpAddr::V6(Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1))),
    }
}

/// The error of that question: of a group, or of the interface.
#[inline(always)]
pub(super) fn no_way(error: Error, group: Option<Group>, interface: Interface) -> Error {
    if group.is_some() { error } else { error.about(Object::On(interface)) }
}

/// Makes packets to groups leave on this route.
// Inlined for the reason that `SendOptions::open_for` has.
#[inline(always)]
pub(super) fn leave_on(
    socket: &Socket,
    family: Family,
    route: Route,
    group: Option<Group>,
    interface: Interface,
) -> Result<()> {
    socket.set_egress(family, route).map_err(|errno| not_set(errno, group, interface))
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
