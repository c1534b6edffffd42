//! Resolves an [`Interface`] to an index and a source address, by asking the kernel over rtnetlink (`rtnetlink(7)`).
//!
//! The kernel decides, so nothing is guessed: for a group, it reports the interface of the route and the source address that it
//! would choose. Questions and answers are small; only the search for an address reads a list.

pub(crate) mod netlink;
mod own;

use core::net::IpAddr;
use core::num::NonZeroU32;

use linux_raw_sys::net::AF_NETLINK;
use rustix::net::SendFlags;

use crate::address::{Address, is_link_local};
use crate::error::{Errno, Error, ErrorKind, Object, Operation, Result};
use crate::group::{Interface, Name};
use crate::sys::{self, Fd};
use netlink::{Answer, Message, Question};

/// The buffer for one read of an answer: the kernel writes lists in pieces of at most this size (`NLMSG_GOODSIZE`).
const PIECE: usize = 8192;
const UP_AND_MULTICAST: u32 =
    linux_raw_sys::net::net_device_flags::IFF_UP as u32 | linux_raw_sys::net::net_device_flags::IFF_MULTICAST as u32;
/// The most pieces of a list that are read: about 100,000 addresses.
const PIECES: usize = 1000;
/// How often a list is requested if it changes while it is read.
const ATTEMPTS: u32 = 10;

/// The route to a group: the index of the interface, and the source address of packets if the kernel reported one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Route {
    /// 0 means the interface that has the source address; the kernel finds it.
    pub(crate) interface: u32,
    pub(crate) source: Option<IpAddr>,
}

/// Resolves the interface for packets to or from `to`, mostly a group, to its index. Errors name `operation`.
// Inlined, so that a program which names its kind of interface links only that way to find it: without it tiny-mcast is 3,032
// bytes larger.
#[inline(always)]
pub(crate) fn index(to: IpAddr, interface: Interface, operation: Operation) -> Result<NonZeroU32> {
    let object = Object::Membership { group: to, interface };
    let found = match interface {
        Interface::Index(index) => Ok(Some(index)),
        Interface::Name(name) => by_name(&name).map(Some),
        Interface::Address(address) => {
            find_address(address.is_ipv4(), |_, its| its == address).map(|found| found.map(|(index, _)| index))
        }
        // A link-local address exists on every link, so the choice of the routing table would be arbitrary.
        Interface::Default if is_link_local(to) => {
            return Err(Error::new(operation, object, ErrorKind::InterfaceNeeded));
        }
        Interface::Default => by_route(to, None).map(|route| NonZeroU32::new(route.interface)),
        Interface::All => return Err(Error::new(operation, object, ErrorKind::OneInterface)),
    };
    match found {
        Ok(Some(index)) => Ok(index),
        Ok(None) => Err(Error::new(operation, object, ErrorKind::NoSuchInterface)),
        Err(errno) => Err(Error::system(operation, object, errno)),
    }
}

/// Like [`index`], but uses an open socket to look up a name.
// Inlined for the reason that `index` has: without it two-listeners is 2,968 bytes larger.
#[inline(always)]
pub(crate) fn index_by(socket: &Fd, to: IpAddr, interface: Interface, operation: Operation) -> Result<NonZeroU32> {
    let Interface::Name(name) = interface else { return index(to, interface, operation) };
    by_name_of(socket, &name).map_err(|errno| Error::system(operation, Object::Membership { group: to, interface }, errno))
}

/// Calls `each` with the index of each interface that [`Interface::All`] currently means. Stops at the first error.
pub(crate) fn each_multicast_interface(operation: Operation, mut each: impl FnMut(NonZeroU32) -> Result<()>) -> Result<()> {
    let mut result = Ok(());
    let asked = ask::<PIECE>(&Question::links(), &mut |message| {
        if let Some(Answer::Link { interface, flags, .. }) = message.link() {
            if flags & UP_AND_MULTICAST == UP_AND_MULTICAST {
                result = NonZeroU32::new(interface).map_or(Ok(()), &mut each);
            }
        }
        result.is_err()
    });
    asked.map_err(|errno| Error::system(operation, Object::Named("interfaces"), errno))?;
    result
}

/// Calls `each` with the index of each interface, as far as the kernel lists them.
pub(crate) fn each_interface(mut each: impl FnMut(NonZeroU32)) {
    // Nobody could handle an error.
    let _ = ask::<PIECE>(&Question::links(), &mut |message| {
        if let Some(Answer::Link { interface, .. }) = message.link() {
            if let Some(interface) = NonZeroU32::new(interface) {
                each(interface);
            }
        }
        false
    });
}

/// Whether there is an interface with this index.
pub(crate) fn exists(index: NonZeroU32) -> bool {
    let mut found = false;
    let asked = ask::<512>(&Question::link_of(index), &mut |message| {
        found = message.link().is_some();
        found
    });
    asked.is_ok() && found
}

/// The route for packets to this address.
///
/// # Errors
/// [`ErrorKind::NoAddress`] if IPv4 packets would leave on an interface that has no address.
// Inlined for the reason that `index` has: without it tiny-mcast is 4,448 bytes larger.
#[inline(always)]
pub(crate) fn egress(to: IpAddr, interface: Interface) -> Result<Route> {
    if let (IpAddr::V4(_), Interface::Address(address @ IpAddr::V4(_))) = (to, interface) {
        return Ok(Route { interface: 0, source: Some(address) });
    }
    let index = index(to, interface, Operation::Send)?;
    let source = match (to, interface) {
        // IPv6 chooses the source for each packet (RFC 6724), so only the index is needed.
        (IpAddr::V6(_), _) => return Ok(Route { interface: index.get(), source: None }),
        (_, Interface::Default) => source_by_route(to, index),
        _ => source_on(to, index),
    };
    let object = Object::Membership { group: to, interface };
    match source {
        Ok(Some(source)) => Ok(Route { interface: index.get(), source: Some(source) }),
        Ok(None) => Err(Error::new(Operation::Send, object, ErrorKind::NoAddress)),
        Err(errno) => Err(Error::system(Operation::Send, object, errno)),
    }
}

/// The address of ours on this interface in whose network this address is, if there is one: then it is reached without a router.
pub(crate) fn address_in_network_of(
    interface: NonZeroU32,
    neighbour: IpAddr,
) -> core::result::Result<Option<IpAddr>, Errno> {
    let mut found = None;
    ask::<PIECE>(&Question::addresses(neighbour.is_ipv4()), &mut |message| {
        if let Some(Answer::Address { interface: its, address, network: Some(network), prefix, .. }) = message.address() {
            if its == interface.get() && shares_prefix(network, neighbour, prefix) {
                found = address;
            }
        }
        found.is_some()
    })?;
    Ok(found)
}

/// Whether the first bits of two addresses are the same.
fn shares_prefix(one: IpAddr, other: IpAddr, bits: u8) -> bool {
    let different = match (one, other) {
        (IpAddr::V4(one), IpAddr::V4(other)) => u128::from(one.to_bits() ^ other.to_bits()) << 96,
        (IpAddr::V6(one), IpAddr::V6(other)) => one.to_bits() ^ other.to_bits(),
        _ => return false,
    };
    different.leading_zeros() >= bits.into()
}

/// Whether the missing interface, address or route may still appear.
pub(crate) const fn may_come(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::NoSuchInterface | ErrorKind::Unreachable | ErrorKind::NoAddress)
}

/// The source address that the routing table names for the group, if the route still leads to this interface; else one of the
/// interface's own addresses.
fn source_by_route(group: IpAddr, interface: NonZeroU32) -> core::result::Result<Option<IpAddr>, Errno> {
    match by_route(group, None) {
        Ok(Route { interface: found, source: Some(source) }) if found == interface.get() => Ok(Some(source)),
        _ => source_on(group, interface),
    }
}

/// The source address for packets that leave on an interface that the user named: one of its own addresses, or none.
///
/// If it has several, the kernel chooses. But if it has none, or none with a scope beyond this host (such as `lo`), the kernel
/// would choose an address of another interface, and answers would go there; so only the interface's own addresses are used.
fn source_on(group: IpAddr, interface: NonZeroU32) -> core::result::Result<Option<IpAddr>, Errno> {
    let chosen = by_route(group, Some(interface))?.source;
    let address = |found: Option<(NonZeroU32, IpAddr)>| found.map(|(_, address)| address);
    match address(find_address(true, |its_interface, its| its_interface == interface && Some(its) == chosen)?) {
        Some(chosen) => Ok(Some(chosen)),
        None => find_address(true, |its_interface, _| its_interface == interface).map(address),
    }
}

impl Name {
    /// The current index of the interface with this name (`if_nametoindex(3)`).
    ///
    /// # Errors
    /// [`ErrorKind::NoSuchInterface`] if there is none.
    #[doc(alias = "if_nametoindex")]
    pub fn index(&self) -> Result<NonZeroU32> {
        by_name(self).map_err(|errno| Error::system(Operation::Resolve, Object::Interface(*self), errno))
    }
}

/// The index of the interface with this name. Any kind of socket can be used to ask for it.
fn by_name(name: &Name) -> core::result::Result<NonZeroU32, Errno> {
    let socket = sys::socket(AF_NETLINK, linux_raw_sys::net::SOCK_DGRAM, linux_raw_sys::netlink::NETLINK_ROUTE)?;
    by_name_of(&socket, name)
}

fn by_name_of(socket: &Fd, name: &Name) -> core::result::Result<NonZeroU32, Errno> {
    NonZeroU32::new(sys::interface_index(socket, name.as_c_bytes())?).ok_or(Errno::PROTOCOL)
}

/// The first address in the kernel's order that is wanted, with the index of its interface.
fn find_address(
    of_ipv4: bool,
    is_wanted: impl Fn(NonZeroU32, IpAddr) -> bool,
) -> core::result::Result<Option<(NonZeroU32, IpAddr)>, Errno> {
    let mut found = None;
    ask::<PIECE>(&Question::addresses(of_ipv4), &mut |message| {
        if let Some(Answer::Address { interface, address: Some(address), .. }) = message.address() {
            found = NonZeroU32::new(interface)
                .filter(|interface| is_wanted(*interface, address))
                .map(|interface| (interface, address));
        }
        found.is_some()
    })?;
    Ok(found)
}

/// The route that the kernel would choose to `group`, on this interface or on any.
fn by_route(group: IpAddr, interface: Option<NonZeroU32>) -> core::result::Result<Route, Errno> {
    let mut found = None;
    ask::<512>(&Question::route(group, interface), &mut |message| {
        if let Some(Answer::Route { interface: Some(interface @ 1..), source }) = message.route() {
            found = Some(Route { interface, source: source.filter(|address| !address.is_unspecified()) });
        }
        found.is_some()
    })?;
    found.ok_or(Errno::PROTOCOL)
}

/// Sends a question to the kernel, and calls `is_enough` with each message of the answer until it returns true. A list that
/// changes while it is read is requested again, so some messages may come twice.
fn ask<const ROOM: usize>(
    question: &Question,
    is_enough: &mut dyn FnMut(Message<'_>) -> bool,
) -> core::result::Result<(), Errno> {
    let mut buffer = [0; ROOM];
    for _ in 0..ATTEMPTS {
        match ask_once(question, &mut buffer, is_enough) {
            Err(Errno::INTERRUPTED) => {}
            result => return result,
        }
    }
    Err(Errno::INTERRUPTED)
}

// Out of line and with a `dyn`, so that all questions share one copy.
fn ask_once(
    question: &Question,
    buffer: &mut [u8],
    is_enough: &mut dyn FnMut(Message<'_>) -> bool,
) -> core::result::Result<(), Errno> {
    let socket: Fd = sys::socket(AF_NETLINK, linux_raw_sys::net::SOCK_DGRAM, linux_raw_sys::netlink::NETLINK_ROUTE)?;
    // An unconnected netlink socket sends to port 0: the kernel, which answers before the call returns.
    rustix::net::send(&socket, question.as_bytes(), SendFlags::empty())?;
    for _ in 0..PIECES {
        let mut from = Address::EMPTY;
        let length = match sys::recvfrom(&socket, buffer, &mut from) {
            Err(Errno::INTERRUPTED) => continue,
            other => other?,
        };
        if from.netlink_port() != 0 {
            continue;
        }
        let mut rest = buffer.get(..length).unwrap_or(buffer);
        while let Some((message, after)) = Message::first(rest) {
            rest = after;
            match message.end() {
                Some(Answer::Failed(errno)) => return Err(errno),
                Some(_) => return Ok(()),
                None if is_enough(message) => return Ok(()),
                None => {}
            }
        }
    }
    Err(Errno::PROTOCOL)
}
