//! Where one packet goes, and on which way.

use core::net::{IpAddr, SocketAddr};
use core::num::NonZeroU32;

use crate::address::{Address, is_link_local};
use crate::cmsg::Way;
use crate::error::{Errno, Error, ErrorKind, Object, Operation, Result};
use crate::group::{Group, Interface};
use crate::packet::Packet;
use crate::route;

/// Where [`Sender::send`](crate::Sender::send) sends one packet: a group, or any unicast address. A [`Group`] and a `SocketAddr`
/// convert into it, so you can pass them directly.
///
/// By default, packets to groups leave on the sender's interface, and the routing table chooses the way of unicast packets. Name
/// another way for this packet alone with [`on`](Self::on) and [`from_address`](Self::from_address) (`IP_PKTINFO`, `ip(7)`;
/// `IPV6_PKTINFO`, `ipv6(7)`). A destination is a plain value: make it once, and send to it many times.
///
/// ```no_run
/// # use multicast::{Destination, Family, Group, Interface, Outcome, SendOptions};
/// let group: Group = "239.1.2.3:5000".parse()?;
/// let mut sender = SendOptions::new().interface(Interface::LOOPBACK).open(Family::V4)?;
/// assert_eq!(sender.send(b"on the sender's interface", group)?, Outcome::Sent);
/// let elsewhere = Destination::from(group).on("eth1".parse()?)?;
/// assert_eq!(sender.send(b"on another one", elsewhere)?, Outcome::Sent);
/// # Ok::<(), multicast::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Destination {
    pub(super) to: Address,
    /// `None`: as the sender's options say.
    pub(super) way: Option<Way>,
}

impl Destination {
    /// The packet leaves on this interface, with an address of this interface as its source. The interface is looked up now: if it is
    /// deleted and created again, make a new destination. An old one sends IPv6 packets on another interface that got its index, if there
    /// is one.
    ///
    /// # Errors
    /// [`ErrorKind::NoSuchInterface`]; [`ErrorKind::NoAddress`] if the interface has no IPv4 address;
    /// [`ErrorKind::OneInterface`] for [`Interface::All`]. If the sender's socket is bound to another interface, sending returns
    /// [`ErrorKind::OneInterface`].
    pub fn on(mut self, interface: Interface) -> Result<Self> {
        let to = self.to.internet();
        let source = self.way.and_then(|way| way.source);
        let (index, own) = match interface {
            // With an address alone, the kernel would choose the interface of the sender, or one of the routing table.
            Interface::Address(address @ IpAddr::V4(_)) if to.is_ipv4() => {
                (route::index_of_any(None, to.ip(), interface, Operation::Send)?.get(), Some(address))
            }
            _ => {
                let found = route::egress_of_any(to.ip(), interface)?;
                (found.interface, found.source)
            }
        };
        let source = source.or(own);
        if is_link_local(to.ip()) {
            self.to = self.to.with_scope(index);
        }
        self.way = Some(Way { interface: index, source });
        Ok(self)
    }

    /// The packet's source is this address, which must be one of this machine's own. An IPv6 packet to a unicast address that is not
    /// link-local may then leave on another interface than that of [`on`](Self::on), if the routing table says so.
    #[must_use]
    pub const fn from_address(mut self, source: IpAddr) -> Self {
        let interface = match self.way {
            Some(way) => way.interface,
            None => 0,
        };
        self.way = Some(Way { interface, source: Some(source) });
        self
    }

    /// Why the kernel would send the packet to another host, or from another address.
    // Inlined for the reason that `Sender::send_as_named` has.
    #[inline(always)]
    pub(super) fn misunderstood(&self) -> Option<ErrorKind> {
        let to = self.to.internet().ip();
        match self.way {
            // It means this machine itself.
            _ if to.is_unspecified() => Some(ErrorKind::Unreachable),
            // It would be ignored.
            Some(Way { source: Some(source), .. }) if source.is_ipv4() != to.is_ipv4() => Some(ErrorKind::FamilyMismatch),
            _ => None,
        }
    }

    /// The way back to the sender of this packet: to its source; from the address that it was sent to, if that is one of this
    /// machine's own; and on the interface that it came in on, if the source is link-local or in a network of that interface. A source
    /// farther away is reached as the routing table says. [`Sender::reply`](crate::Sender::reply) does this at once; with the destination you
    /// can answer later.
    ///
    /// One case is left to the routing table: an IPv6 packet that was sent to one of several addresses of an interface, but not to the one
    /// that the kernel itself takes as the source there for packets to the asker (RFC 6724). The kernel then keeps to the address, not to
    /// the interface.
    ///
    /// If the interface is gone, or has lost its addresses, the routing table decides as well.
    ///
    /// It asks the kernel for the addresses of the interface (`rtnetlink(7)`), unless the source is link-local in IPv6. So a reply takes 4
    /// times as long as a [`send`](crate::Sender::send), and 20 times if the interface has 200 addresses (before Linux 4.20, if the machine
    /// has). To send several packets to one source, keep the destination: then each takes 1.2 times as long as a `send`. But an interface
    /// or an address may change, so make it again for the next question.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] if the listener does not ask the kernel for destination and interface: create it with
    /// [`ListenOptions::answers`](crate::ListenOptions::answers). [`ErrorKind::Unreachable`] if the packet's source is 0.0.0.0 or `::`,
    /// which hosts without an address have, and anybody can forge. What the kernel reports when it is asked for the interface's
    /// addresses.
    ///
    /// Do not let such an error, nor one of sending, end your program: anybody can cause it, by a packet with a forged source.
    pub fn answering(packet: &Packet<'_>) -> Result<Self> {
        let asked_for = packet.metadata().and_then(|metadata| Some((metadata, metadata.destination?, metadata.interface?)));
        let Some((metadata, sent_to, interface)) = asked_for else { return Err(no_way_back()) };
        let source = packet.source();
        // The kernel would take it for an address of this machine, and give the answer to whoever is bound to the port here.
        if source.ip().is_unspecified() {
            return Err(no_source());
        }
        let from = if metadata.is_to_us { Some(sent_to) } else { None };
        let way = match neighbour(interface, source.ip())? {
            Neighbour::InNetworkOf(own) if own.is_ipv4() => Way { interface: interface.get(), source: from.or(Some(own)) },
            // In IPv6, a packet that names its source need not leave on its interface: the route may name another one. If it names none it
            // must, and the kernel chooses a source of this interface, of the longest common prefix (RFC 6724).
            Neighbour::InNetworkOf(_) => {
                Way { interface: interface.get(), source: not_chosen(from, interface, source.ip())? }
            }
            Neighbour::LinkLocal => Way { interface: interface.get(), source: from },
            Neighbour::No => Way { interface: 0, source: from },
        };
        Ok(Self { to: Address::to(&source), way: Some(way) })
    }
}

/// This source, if the kernel would choose another one for a packet to this address on this interface.
fn not_chosen(from: Option<IpAddr>, interface: NonZeroU32, to: IpAddr) -> Result<Option<IpAddr>> {
    if from.is_none() {
        return Ok(None);
    }
    match route::source_without_name(interface, to) {
        Ok(chosen) => Ok(from.filter(|_| chosen != from)),
        Err(errno) => Err(not_asked(interface, errno)),
    }
}

#[cold]
const fn not_asked(interface: NonZeroU32, errno: Errno) -> Error {
    Error::system(Operation::Send, Object::On(Interface::Index(interface)), errno)
}

enum Neighbour {
    /// It is in the network of this address of ours.
    InNetworkOf(IpAddr),
    LinkLocal,
    /// Behind a router, or on another link.
    No,
}

/// Whether this address is reached on this interface without a router. Where it is not, naming the interface would ask there for an
/// address that nobody has.
fn neighbour(interface: NonZeroU32, address: IpAddr) -> Result<Neighbour> {
    if is_link_local(address) {
        // The kernel chooses a source of this link.
        return Ok(Neighbour::LinkLocal);
    }
    match route::address_in_network_of(interface, address) {
        Ok(Some(own)) => Ok(Neighbour::InNetworkOf(own)),
        Ok(None) => Ok(match address {
            IpAddr::V4(address) if address.is_link_local() => Neighbour::LinkLocal,
            _ => Neighbour::No,
        }),
        Err(errno) => Err(not_asked(interface, errno)),
    }
}

#[cold]
const fn no_way_back() -> Error {
    Error::custom(
        ErrorKind::InvalidInput,
        "reply: the listener does not know where packets were sent to: create it with ListenOptions::answers",
    )
}

#[cold]
const fn no_source() -> Error {
    Error::custom(ErrorKind::Unreachable, "reply: the packet has no source address: nobody can be answered")
}

impl From<Group> for Destination {
    #[inline]
    fn from(group: Group) -> Self {
        Self::from(SocketAddr::from(group))
    }
}

impl From<SocketAddr> for Destination {
    #[inline]
    fn from(to: SocketAddr) -> Self {
        Self { to: Address::to(&to), way: None }
    }
}
