//! Where a listener listens.

use core::net::{IpAddr, SocketAddr, SocketAddrV6};

use crate::group::{Family, Group, Membership};
use crate::socket::wildcard;

/// Where to listen: what [`ListenOptions::bind`](crate::ListenOptions::bind) and its two siblings are given.
///
/// A [`Membership`] turns into [`Bind::Group`], so that it can be given as it is.
///
/// ```no_run
/// # use multicast::{Bind, Family, Group, ListenOptions, Membership};
/// let group: Group = "239.1.2.3:5000".parse()?;
/// let eth0 = Membership::any(group).on("eth0".parse()?);
///
/// let one_group = ListenOptions::new().bind::<1500>(eth0)?;
/// let before_the_network_is_up = ListenOptions::new().bind::<1500>(Bind::Later(group))?;
/// let many_groups = ListenOptions::new().bind::<1500>(Bind::Port(5000, Family::V4))?;
/// # Ok::<(), multicast::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bind {
    /// Binds to the one group of the membership, and joins it. It can join the group on further interfaces later.
    Group(Membership),
    /// Binds to the one group, and joins nothing yet. Use it with [`Memberships`](crate::Memberships) where the network may not be up
    /// yet: that joins as soon as the interface is there.
    Later(Group),
    /// Binds to the one group of the membership *and* to its interface (`SO_BINDTOIFINDEX`, `socket(7)`, Linux 5.0), and joins it.
    ///
    /// It receives the same packets as [`Bind::Group`]. The kernel alone sees to that, in IPv6 as well: there is no guard, and no
    /// check of each packet. With [`reuse_port(false)`](crate::ListenOptions::reuse_port) and without metadata, a program for IPv6
    /// is some 5,000 bytes smaller.
    ///
    /// It stays bound to that interface until it is closed: joining on another interface is
    /// [`ErrorKind::OneInterface`](crate::ErrorKind::OneInterface). If the interface is deleted and created again under the same name,
    /// you must create a new listener; [`Memberships`](crate::Memberships) reports the same error then.
    Interface(Membership),
    /// Binds to a port, and joins nothing yet: [`join`](crate::ListeningSocket::join) any groups of that port and family. Port 0 lets
    /// the kernel choose a free one.
    ///
    /// The kernel runs a guard for it: a program that checks the destination of each packet.
    Port(u16, Family),
}

impl From<Membership> for Bind {
    fn from(membership: Membership) -> Self {
        Self::Group(membership)
    }
}

/// The kernel wants the scope of an IPv6 group that exists once on every link, and binds to that interface with it. `lo` is always there,
/// with index 1; it is taken off again as soon as the address is bound.
const ANY_INTERFACE: u32 = 1;

/// A [`Bind`] taken apart, so that one way of making a socket serves all of them: a call in each arm of a `match` would bring the code
/// of all into programs that need one.
#[derive(Clone, Copy)]
pub(super) struct Place {
    /// The address to bind to.
    pub(super) address: SocketAddr,
    pub(super) group: Option<Group>,
    /// What to join at once.
    pub(super) membership: Option<Membership>,
    /// Whether to bind to the membership's interface, too.
    pub(super) one_interface: bool,
}

impl Bind {
    #[inline]
    pub(super) fn place(self) -> Place {
        match self {
            Self::Group(membership) => Place::of(membership.group(), Some(membership), false),
            Self::Later(group) => Place::of(group, None, false),
            Self::Interface(membership) => Place::of(membership.group(), Some(membership), true),
            Self::Port(port, family) => {
                Place { address: wildcard(family, port), group: None, membership: None, one_interface: false }
            }
        }
    }
}

impl Place {
    // Inlined, so that a program which knows what it binds to links only what that needs: without it tiny-listen is 816 bytes
    // larger, and tiny-mcast 1,952.
    #[inline(always)]
    fn of(group: Group, membership: Option<Membership>, one_interface: bool) -> Self {
        let address = match group.address() {
            IpAddr::V6(address) if group.is_link_local() && !one_interface => {
                SocketAddr::V6(SocketAddrV6::new(address, group.port(), 0, ANY_INTERFACE))
            }
            _ => SocketAddr::from(group),
        };
        Self { address, group: Some(group), membership, one_interface }
    }

    /// Whether the kernel binds to an interface with the address, though the listener is to hear others, too.
    #[inline]
    pub(super) const fn must_unbind(&self) -> bool {
        matches!(&self.address, SocketAddr::V6(address) if address.scope_id() != 0)
    }

    /// Whether the kernel would bring what was not joined, so that a guard or a check is needed.
    ///
    /// A socket that is bound to an IPv4 group gets just that group, and with `IP_MULTICAST_ALL` off only on the interfaces on
    /// which it joined. The option's IPv6 twin does not look at interfaces. On the wildcard address unicast comes, too.
    #[inline]
    pub(super) const fn needs_guard(&self) -> bool {
        let is_ipv4_group = self.group.is_some() && matches!(self.address, SocketAddr::V4(_));
        !is_ipv4_group && !self.one_interface
    }
}
