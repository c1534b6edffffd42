//! Changes of interfaces, their addresses, and routes.

use core::net::IpAddr;
use core::num::NonZeroU32;

use linux_raw_sys::net::net_device_flags;

use crate::error::Operation;
use crate::group::{Group, Interface, Name};
use crate::route::{self, netlink::Answer};

/// A change of an interface, an address or a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Change {
    /// The interface exists: it is listed at the beginning, is new, or was changed (for example its name).
    Link(Link),
    /// The interface with this index was removed. A new one with the same name gets another index.
    Gone {
        /// The index that it had.
        index: NonZeroU32,
        /// The name that it had; `None` if it was not UTF-8.
        name: Option<Name>,
    },
    /// An interface has this address.
    Address {
        /// The index of the interface.
        index: NonZeroU32,
        /// The address.
        address: IpAddr,
    },
    /// An interface no longer has this address.
    AddressGone {
        /// The index of the interface.
        index: NonZeroU32,
        /// The address that it had.
        address: IpAddr,
    },
    /// A route that packets to groups can take, a policy rule (`ip rule`) or a next hop (`ip nexthop`) was added or removed:
    /// [`Interface::Default`] may now mean another interface. A route to a unicast network is not reported,
    /// unless the kernel itself made it, for an address: so followers ask nothing while a routing daemon writes thousands of them.
    Route,
    /// What [`Route`](Self::Route) means for one group: the answer of [`for_group`](Self::for_group).
    RouteTo {
        /// The address of the group.
        group: IpAddr,
        /// The index of the interface that the routing table names; `None` if it names none.
        interface: Option<NonZeroU32>,
    },
    /// Changes came faster than they were read, and some are lost. All existing links and addresses are reported again; those
    /// that are not reported no longer exist.
    Overrun,
}

/// An interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Link {
    /// Its index.
    pub index: NonZeroU32,
    /// Its name; `None` if it is not UTF-8.
    pub name: Option<Name>,
    /// Whether it is switched on (`IFF_UP`, `netdevice(7)`).
    pub is_up: bool,
    /// Whether it has a carrier, and can send packets (`IFF_RUNNING`).
    pub is_running: bool,
    /// Whether it supports multicast (`IFF_MULTICAST`).
    pub is_multicast: bool,
    /// The longest packet in bytes (`SIOCGIFMTU`, `netdevice(7)`); 0 if it is not known. Below 1,280 the kernel removes IPv6 from the
    /// interface, and with it all IPv6 memberships there.
    pub mtu: u32,
    /// The index of the bridge, bond, routing domain (VRF) or other interface that it belongs to (`IFLA_MASTER`, `rtnetlink(7)`).
    pub master: Option<NonZeroU32>,
    /// Whether its master is a bridge, or another one that takes all its packets. As long as this is so, nothing that arrives here
    /// reaches a listener on this interface: join on its [`master`](Self::master).
    pub is_port: bool,
}

impl Change {
    /// If this is [`Route`](Self::Route), asks the kernel what it means for this group, so that not each of many listeners of the group on
    /// [`Interface::Default`] asks: [apply](Self::apply) the result to all of them, at once, since the next
    /// change makes it wrong. Any other change is returned as it is. So is this one if the kernel cannot tell: then each asks.
    ///
    /// ```no_run
    /// # use multicast::{Change, Group, Links, Listener, Memberships};
    /// # fn all(group: Group, links: &mut Links, books: &mut [(Memberships<1>, Listener)]) -> multicast::Result<()> {
    /// while let Some(change) = links.next()? {
    ///     let change = change.for_group(group);
    ///     for (book, listener) in &mut *books {
    ///         book.apply(&change, listener)?;
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn for_group(self, group: Group) -> Self {
        if self != Self::Route {
            return self;
        }
        let group = group.address();
        match route::index_of_any(None, group, Interface::Default, Operation::Join) {
            Ok(index) => Self::RouteTo { group, interface: Some(index) },
            Err(error) if route::may_come(error.kind()) => Self::RouteTo { group, interface: None },
            Err(_) => self,
        }
    }

    /// The change that an answer of the kernel reports, if any.
    pub(super) fn of(answer: Answer) -> Option<Self> {
        match answer {
            Answer::Link { interface, name, is_gone: true, .. } => {
                Some(Self::Gone { index: NonZeroU32::new(interface)?, name })
            }
            Answer::Link { interface, flags, name, mtu, master, is_port, is_gone: false } => {
                let has = |flag: net_device_flags| flags & flag as u32 != 0;
                Some(Self::Link(Link {
                    index: NonZeroU32::new(interface)?,
                    name,
                    is_up: has(net_device_flags::IFF_UP),
                    is_running: has(net_device_flags::IFF_RUNNING),
                    is_multicast: has(net_device_flags::IFF_MULTICAST),
                    mtu,
                    master: NonZeroU32::new(master),
                    is_port,
                }))
            }
            Answer::Address { interface, address, is_gone, .. } => {
                let (index, address) = (NonZeroU32::new(interface)?, address?);
                Some(if is_gone { Self::AddressGone { index, address } } else { Self::Address { index, address } })
            }
            Answer::Route { .. } => Some(Self::Route),
            Answer::Counters { .. } | Answer::Failed(_) | Answer::Done | Answer::Other => None,
        }
    }
}
