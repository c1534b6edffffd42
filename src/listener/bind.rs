//! Where a listener listens.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::group::{Family, Group, Membership};

/// Where to listen: the argument of [`ListenOptions::bind`](crate::ListenOptions::bind),
/// [`bind_receiver`](crate::ListenOptions::bind_receiver) and [`bind_coalescing`](crate::ListenOptions::bind_coalescing).
///
/// A [`Membership`] converts into [`Bind::Group`], so you can pass it directly.
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
    /// Binds to the group of the membership, and joins it. The listener can join the same group on more interfaces later.
    ///
    /// It takes no unicast, and leaves other programs on the port alone. While it is joined on one interface, the socket is *pinned* to
    /// it (`SO_BINDTOIFINDEX`, `socket(7)`): then the kernel alone keeps to group and interface, without a guard and a check of each
    /// packet. It is unpinned as soon as it joins on a second interface, or as it gets a [sender](crate::Listener::sender), and pinned
    /// again after [`Memberships`](crate::Memberships) found its interface created again. Where the kernel does not allow to pin (before
    /// Linux 5.7 without `CAP_NET_RAW`, and in a process that `ip vrf exec` confines), an IPv6 listener has a guard instead.
    ///
    /// While its interface is a port of a bridge, the listener receives nothing: join on the bridge. A program whose socket has
    /// `SO_REUSEPORT` and not `SO_REUSEADDR` cannot be bound after an IPv4 listener that is not pinned: with that option, the kernel would
    /// distribute multicast among both (Linux 6.6 and later; of 40 packets the listener got 16 to 22). For IPv6 it distributes none: there it can, unless
    /// the kernel did not allow to pin the listener at all.
    Group(Membership),
    /// Binds to the group, and joins nothing yet. Use it with [`Memberships`](crate::Memberships) if the network may not be up
    /// yet: the book joins as soon as the interface exists. It is pinned as with [`Bind::Group`]; an IPv6 listener has a guard, too.
    Later(Group),
    /// As [`Bind::Group`], but always pinned to the interface of the membership, or not created at all. With
    /// [`reuse_port(false)`](crate::ListenOptions::reuse_port) and without metadata, a program for IPv6 is about 5,000 bytes smaller,
    /// since it has neither guard nor check.
    ///
    /// Joining on another interface returns [`ErrorKind::OneInterface`](crate::ErrorKind::OneInterface) while it is a member on its
    /// own. If the interface is created again under the same name, [`Memberships`](crate::Memberships) pin it to the new one.
    Interface(Membership),
    /// Binds to a port, and joins nothing yet: [`join`](crate::ListeningSocket::join) any groups of that port and family. With
    /// port 0 the kernel chooses a port that nobody has; [`ErrorKind::LimitReached`](crate::ErrorKind::LimitReached) if none is free.
    ///
    /// The kernel runs a guard for the listener: a program that checks the destination of each packet.
    ///
    /// **It takes unicast away from other programs on the port**: the kernel gives each unicast packet to one socket alone, usually the one
    /// that was bound last, before any filter or guard runs. Where an mDNS or SSDP daemon runs, use one listener for each group instead
    /// ([`Bind::Group`]), which takes none. A program whose socket has `SO_REUSEPORT` and not `SO_REUSEADDR` cannot be bound after this
    /// listener.
    Port(u16, Family),
}

impl From<Membership> for Bind {
    fn from(membership: Membership) -> Self {
        Self::Group(membership)
    }
}

/// The parts of a [`Bind`] as plain values, so that one function creates the socket for all variants. A call in each arm of a
/// `match` would link the code of all variants into programs that use one.
#[derive(Clone, Copy)]
pub(super) struct Place {
    /// The address to bind to, with the port.
    pub(super) address: IpAddr,
    pub(super) port: u16,
    /// Whether the kernel must choose the port.
    pub(super) needs_port: bool,
    pub(super) group: Option<Group>,
    /// What to join right after the bind.
    pub(super) membership: Option<Membership>,
    /// Whether the socket must be pinned to the membership's interface.
    pub(super) needs_pin: bool,
}

impl Bind {
    // Inlined for the reason that `ListenOptions::bind` has: without it two-listeners is 19,472 bytes larger.
    #[inline(always)]
    pub(super) fn place(self) -> Place {
        match self {
            Self::Group(membership) => Place::of(membership.group(), Some(membership), false),
            Self::Later(group) => Place::of(group, None, false),
            Self::Interface(membership) => Place::of(membership.group(), Some(membership), true),
            Self::Port(port, family) => {
                let address = match family {
                    Family::V4 => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
                    Family::V6 => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
                };
                Place { address, port, needs_port: port == 0, group: None, membership: None, needs_pin: false }
            }
        }
    }
}

impl Place {
    #[inline]
    const fn of(group: Group, membership: Option<Membership>, needs_pin: bool) -> Self {
        Self { address: group.address(), port: group.port(), needs_port: false, group: Some(group), membership, needs_pin }
    }

    /// Whether the kernel binds to the address only together with an interface: a link-local IPv6 group, unless it is pinned.
    // Inlined for the same reason: without it two-listeners is 5,672 bytes larger.
    #[inline(always)]
    pub(super) fn needs_scope(&self) -> bool {
        !self.needs_pin && self.group.is_some_and(Group::is_link_local)
    }

    /// Whether the kernel would deliver packets that this socket did not join, so that a guard or a check is needed, unless the
    /// socket is pinned to its interface.
    ///
    /// A socket that is bound to an IPv4 group receives only that group, and with `IP_MULTICAST_ALL` off only on the interfaces
    /// on which it joined. `IPV6_MULTICAST_ALL` does not check the interface. A socket that is bound to the wildcard address also
    /// receives unicast.
    #[inline]
    pub(super) const fn needs_guard(&self) -> bool {
        let is_ipv4_group = self.group.is_some() && self.address.is_ipv4();
        !is_ipv4_group && !self.needs_pin
    }
}
