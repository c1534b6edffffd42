//! Resolves an [`Interface`] to an index and a source address, by asking the kernel (`netdevice(7)`, `rtnetlink(7)`).
//!
//! The kernel decides, so nothing is guessed: for a group, it reports the interface of the route and the source address that it
//! would choose. Names, and the addresses of a named interface, need no netlink, which sandboxes often forbid.

mod asking;
pub(crate) mod netlink;
mod own;

use core::net::{IpAddr, Ipv4Addr};
use core::num::NonZeroU32;

use linux_raw_sys::net::{AF_INET, AF_INET6, IP_ADD_MEMBERSHIP, IP_DROP_MEMBERSHIP, IPPROTO_IP, SOCK_DGRAM};

use crate::address::is_link_local;
use crate::error::{Errno, Error, ErrorKind, Object, Operation, Result};
use crate::group::{Interface, Name};
use crate::sys::{self, Fd};
pub(crate) use asking::{PIECE, link_of, open};
use asking::{ask, each_link};
use netlink::{Answer, Question};

const UP_AND_MULTICAST: u32 =
    linux_raw_sys::net::net_device_flags::IFF_UP as u32 | linux_raw_sys::net::net_device_flags::IFF_MULTICAST as u32;

/// The route to a group: the index of the interface, and the source address of packets if the kernel reported one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Route {
    /// 0 means the interface that has the source address; the kernel finds it. Without a source either, it means the one that the
    /// routing table names for each packet.
    pub(crate) interface: u32,
    pub(crate) source: Option<IpAddr>,
}

/// Resolves the interface for packets to or from `to`, mostly a group, to its index. An open socket, if there is one, is used to look up
/// a name. Errors name `operation`.
// Inlined, so that a program which names its kind of interface links only that way to find it: without it tiny-mcast is 3,032
// bytes larger.
#[inline(always)]
pub(crate) fn index(socket: Option<&Fd>, to: IpAddr, interface: Interface, operation: Operation) -> Result<NonZeroU32> {
    let object = Object::Membership { group: to, interface };
    let found = match interface {
        Interface::Index(index) => Ok(Some(index)),
        Interface::Name(name) => match socket {
            Some(socket) => by_name_of(socket, &name),
            None => by_name(&name, to.is_ipv4()),
        }
        .map(Some),
        Interface::Address(address) => by_address(address),
        // A link-local address exists on every link, so the choice of the routing table would be arbitrary.
        Interface::Default if is_link_local(to) => {
            return Err(Error::new(operation, object, ErrorKind::InterfaceNeeded));
        }
        Interface::Default => by_route(to).map(|route| NonZeroU32::new(route.interface)),
        Interface::All => return Err(Error::new(operation, object, ErrorKind::OneInterface)),
    };
    match found {
        Ok(Some(index)) => Ok(index),
        Ok(None) => Err(Error::new(operation, object, ErrorKind::NoSuchInterface)),
        Err(errno) => Err(Error::system(operation, object, errno)),
    }
}

/// Like [`index`], but surely with an open socket.
// Inlined for the reason that `index` has: without it two-listeners is 2,968 bytes larger, and tiny-mcast 80 if it calls only `index`.
#[inline(always)]
pub(crate) fn index_by(socket: &Fd, to: IpAddr, interface: Interface, operation: Operation) -> Result<NonZeroU32> {
    let Interface::Name(name) = interface else { return index(None, to, interface, operation) };
    by_name_of(socket, &name).map_err(|errno| Error::system(operation, Object::Membership { group: to, interface }, errno))
}

/// Like [`index`], for callers that know the interface only when the program runs: they share this copy, which makes mcast 1,344 bytes
/// smaller.
#[inline(never)]
pub(crate) fn index_of_any(
    socket: Option<&Fd>,
    to: IpAddr,
    interface: Interface,
    operation: Operation,
) -> Result<NonZeroU32> {
    index(socket, to, interface, operation)
}

/// An interface, as far as [`Interface::All`] concerns it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Listed {
    pub(crate) index: NonZeroU32,
    /// Whether `All` means it at the moment: it is up, supports multicast, and no bridge or bond takes its packets.
    pub(crate) is_meant: bool,
    /// Whether a bridge or bond takes its packets.
    pub(crate) is_port: bool,
}

/// Calls `each` with each interface. Stops at the first error.
pub(crate) fn each_interface(operation: Operation, mut each: impl FnMut(Listed) -> Result<()>) -> Result<()> {
    let mut result = Ok(());
    let asked = each_link(&mut |link| {
        if let Answer::Link { interface, flags, is_port, .. } = link {
            let is_meant = flags & UP_AND_MULTICAST == UP_AND_MULTICAST && !is_port;
            result = NonZeroU32::new(interface).map_or(Ok(()), |index| each(Listed { index, is_meant, is_port }));
        }
        result.is_err()
    });
    match (result, asked) {
        (Err(error), _) => Err(error),
        (Ok(()), Err(errno)) => Err(Error::system(operation, Object::Named("interfaces"), errno)),
        (Ok(()), Ok(())) => Ok(()),
    }
}

/// Whether the kernel says that there is no interface with this index (any more). Any kind of socket can be used to ask for it.
pub(crate) fn is_gone(socket: &Fd, index: NonZeroU32) -> bool {
    matches!(sys::interface_name(socket, index.get()), Err(Errno::NO_DEVICE))
}

/// The route for packets to this address.
///
/// # Errors
/// [`ErrorKind::NoAddress`] if IPv4 packets would leave on an interface that has no address.
// Inlined for the reason that `index` has: without it tiny-mcast is 4,448 bytes larger.
#[inline(always)]
pub(crate) fn egress(to: IpAddr, interface: Interface) -> Result<Route> {
    match egress_without_index(to, interface) {
        Some(found) => found,
        None => egress_on(index(None, to, interface, Operation::Send)?, to, interface),
    }
}

/// Like [`egress`], for the reason that [`index_of_any`] has.
#[inline(never)]
pub(crate) fn egress_of_any(to: IpAddr, interface: Interface) -> Result<Route> {
    match egress_without_index(to, interface) {
        Some(found) => found,
        None => egress_on(index_of_any(None, to, interface, Operation::Send)?, to, interface),
    }
}

/// The route, where it takes no index to find it.
#[inline(always)]
fn egress_without_index(to: IpAddr, interface: Interface) -> Option<Result<Route>> {
    match (to, interface) {
        (IpAddr::V4(_), Interface::Address(IpAddr::V4(address))) => {
            // The kernel finds the interface. It would take the unspecified address for any; the next one, 0.0.0.1, is none of an
            // interface.
            let address = Ipv4Addr::from_bits(address.to_bits().max(1));
            Some(Ok(Route { interface: 0, source: Some(IpAddr::V4(address)) }))
        }
        (_, Interface::Default) if !is_link_local(to) => Some(default_egress(to)),
        _ => None,
    }
}

/// The route on the interface of this index, which `interface` names.
#[inline(always)]
fn egress_on(index: NonZeroU32, to: IpAddr, interface: Interface) -> Result<Route> {
    let source = match to {
        // IPv6 chooses the source for each packet (RFC 6724), so only the index is needed.
        IpAddr::V6(_) => return Ok(Route { interface: index.get(), source: None }),
        IpAddr::V4(_) => source_on(to, index),
    };
    let object = Object::Membership { group: to, interface };
    match source {
        Ok(Some(source)) => Ok(Route { interface: index.get(), source: Some(source) }),
        Ok(None) => Err(Error::new(Operation::Send, object, ErrorKind::NoAddress)),
        Err(errno) => Err(Error::system(Operation::Send, object, errno)),
    }
}

/// As the routing table says.
fn default_egress(to: IpAddr) -> Result<Route> {
    let object = Object::Membership { group: to, interface: Interface::Default };
    match (by_route(to), to) {
        (Ok(Route { source: None, .. }), IpAddr::V4(_)) => Err(Error::new(Operation::Send, object, ErrorKind::NoAddress)),
        (Ok(route), IpAddr::V4(_)) => Ok(route),
        (Ok(route), IpAddr::V6(_)) => Ok(Route { source: None, ..route }),
        // Without netlink, the kernel decides for each packet.
        (Err(Errno::NO_FAMILY), _) => Ok(Route { interface: 0, source: None }),
        (Err(errno), _) => Err(Error::system(Operation::Send, object, errno)),
    }
}

/// The address of ours on this interface in whose network this address is, if there is one: then it is reached without a router.
pub(crate) fn address_in_network_of(
    interface: NonZeroU32,
    neighbour: IpAddr,
) -> core::result::Result<Option<IpAddr>, Errno> {
    let mut found = None;
    let asked = ask::<PIECE>(&Question::addresses_on(interface, neighbour.is_ipv4()), &mut |message| {
        if let Some(Answer::Address { interface: its, address, network: Some(network), prefix, .. }) = message.address() {
            if its == interface.get() && shares_prefix(network, neighbour, prefix) {
                found = address;
            }
        }
        found.is_some()
    });
    match asked {
        // It is gone.
        Err(Errno::NO_DEVICE) => Ok(None),
        asked => asked.map(|()| found),
    }
}

/// The source of an IPv6 packet to this address that leaves on this interface and names none; `None` if there is no route. It is not
/// the source of one that leaves by another route.
pub(crate) fn source_without_name(interface: NonZeroU32, to: IpAddr) -> core::result::Result<Option<IpAddr>, Errno> {
    match ask_for_route(&Question::route(to, Some(interface))) {
        Ok(Route { interface: its, source }) => Ok(source.filter(|_| its == interface.get())),
        Err(errno) if errno.is_no_route() || errno == Errno::NO_DEVICE => Ok(None),
        Err(errno) => Err(errno),
    }
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

/// The source address for packets that leave on an interface that the user named.
///
/// It is the interface's own first address in the kernel's order, which is the one that the kernel would choose. If it has none, the
/// kernel would choose an address of any other interface, and answers would go there. So that is done only where the administrator
/// wrote it into the route to the group (`src`), as on links without a number.
fn source_on(to: IpAddr, interface: NonZeroU32) -> core::result::Result<Option<IpAddr>, Errno> {
    let socket = any_socket(true)?;
    if !sys::is_interface_up(&socket, interface.get())? {
        return Err(Errno::UNREACHABLE);
    }
    match sys::interface_address(&socket, interface.get()) {
        Ok(own) => Ok(Some(IpAddr::V4(own))),
        Err(Errno::NOT_AVAILABLE) => source_without_own(to, interface),
        Err(errno) => Err(errno),
    }
}

#[cold]
fn source_without_own(to: IpAddr, interface: NonZeroU32) -> core::result::Result<Option<IpAddr>, Errno> {
    // The call before does not see addresses whose label is not the interface's name.
    let mut own = None;
    each_address(true, &mut |index, address| {
        if index == interface {
            own = own.or(Some(address));
        }
    })?;
    if own.is_some() {
        return Ok(own);
    }
    let written = match ask_for_route(&Question::written_route(to)) {
        Ok(written) => written,
        Err(errno) if errno.is_no_route() => return Ok(None),
        Err(errno) => return Err(errno),
    };
    Ok(if written.interface == interface.get() { written.source } else { None })
}

impl Name {
    /// The current index of the interface with this name (`if_nametoindex(3)`).
    ///
    /// # Errors
    /// [`ErrorKind::NoSuchInterface`] if there is none.
    #[doc(alias = "if_nametoindex")]
    pub fn index(&self) -> Result<NonZeroU32> {
        by_name(self, true).map_err(|errno| Error::system(Operation::Resolve, Object::Interface(*self), errno))
    }
}

/// The index of the interface with this name.
fn by_name(name: &Name, is_ipv4: bool) -> core::result::Result<NonZeroU32, Errno> {
    by_name_of(&any_socket(is_ipv4)?, name)
}

/// Any kind of socket can be used to ask for it.
fn by_name_of(socket: &Fd, name: &Name) -> core::result::Result<NonZeroU32, Errno> {
    NonZeroU32::new(sys::interface_index(socket, name.as_c_bytes())?).ok_or(Errno::PROTOCOL)
}

/// A socket to ask about interfaces, of the family that the process uses anyway: a sandbox may forbid the other one.
fn any_socket(is_ipv4: bool) -> core::result::Result<Fd, Errno> {
    sys::socket(if is_ipv4 { AF_INET } else { AF_INET6 }, SOCK_DGRAM, 0)
}

/// The index of the interface with this address. If several have it: of IPv4 the one that the kernel means by it, where it takes an
/// address for an interface (`ip_mreq`, `ip(7)`), so that listeners and senders agree; of IPv6 the lowest index.
fn by_address(address: IpAddr) -> core::result::Result<Option<NonZeroU32>, Errno> {
    let (mut lowest, mut others) = (None, false);
    if address.is_unspecified() {
        return Ok(None);
    }
    let is_ipv4 = address.is_ipv4();
    each_address(is_ipv4, &mut |index, its| {
        if its == address {
            others |= lowest.is_some_and(|lowest| lowest != index);
            lowest = Some(lowest.map_or(index, |lowest: NonZeroU32| lowest.min(index)));
        }
    })?;
    match address {
        IpAddr::V4(address) if others => Ok(meant_by(address)?.or(lowest)),
        _ => Ok(lowest),
    }
}

/// Which of several interfaces with this address the kernel means by it: the one on which it joins a group. All hosts are in this
/// group, so that nothing is sent for it (RFC 3376, section 6).
fn meant_by(address: Ipv4Addr) -> core::result::Result<Option<NonZeroU32>, Errno> {
    const ALL_HOSTS: [u8; 4] = [224, 0, 0, 1];
    // A `struct ip_mreqn`: group, address, index.
    let request = |[a, b, c, d]: [u8; 4], index: u32| {
        let ([g, h, i, j], [k, l, m, n]) = (ALL_HOSTS, index.to_ne_bytes());
        [g, h, i, j, a, b, c, d, k, l, m, n]
    };
    let socket = sys::socket(AF_INET, SOCK_DGRAM, 0)?;
    let set = |name, value: [u8; 12]| sys::setsockopt(&socket, IPPROTO_IP as u32, name, &value);
    set(IP_ADD_MEMBERSHIP, request(address.octets(), 0))?;
    let mut found = None;
    each_address(true, &mut |index, its| {
        if its == address && found.is_none() && set(IP_DROP_MEMBERSHIP, request([0; 4], index.get())).is_ok() {
            found = Some(index);
        }
    })?;
    Ok(found)
}

/// Calls `each` with each address, and the index of its interface, in the kernel's order.
fn each_address(of_ipv4: bool, each: &mut dyn FnMut(NonZeroU32, IpAddr)) -> core::result::Result<(), Errno> {
    ask::<PIECE>(&Question::addresses(of_ipv4), &mut |message| {
        if let Some(Answer::Address { interface, address: Some(address), .. }) = message.address() {
            if let Some(index) = NonZeroU32::new(interface) {
                each(index, address);
            }
        }
        false
    })
}

/// The route that the kernel would choose to `group`.
fn by_route(group: IpAddr) -> core::result::Result<Route, Errno> {
    ask_for_route(&Question::route(group, None))
}

fn ask_for_route(question: &Question) -> core::result::Result<Route, Errno> {
    let mut found = None;
    ask::<512>(question, &mut |message| {
        if let Some(Answer::Route { interface: Some(interface @ 1..), source }) = message.route() {
            found = Some(Route { interface, source: source.filter(|address| !address.is_unspecified()) });
        }
        found.is_some()
    })?;
    found.ok_or(Errno::PROTOCOL)
}
