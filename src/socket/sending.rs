//! The sending side of a socket: on which interface packets leave, with which options, and the send calls.

use core::net::{IpAddr, Ipv4Addr};

use linux_raw_sys::net as linux;

use super::{IP, IPV6, SOCKET, Socket, UDP};
use crate::address::Address;
use crate::error::{Errno, Error, ErrorKind, Object, Operation, Result};
use crate::group::{Family, Group, Interface, Ttl};
use crate::route;
use crate::sys::{self, UDP_SEGMENT};

/// More errors than a socket's memory can hold.
const QUEUED_ERRORS: u32 = 1000;

impl Socket {
    /// Opens a socket that sends to `group` on `interface`. Also returns the scope id for the group's address, 0 if it needs
    /// none.
    // Inlined, so that a program which knows group and interface links only that route: without it tiny-mcast is 4,792 bytes larger.
    #[inline(always)]
    pub(crate) fn sending(group: Group, interface: Interface) -> Result<(Self, u32)> {
        let route = route::egress(group, interface)?;
        let socket = Self::open(group.family())?;
        let index = route.interface;
        match group.family() {
            Family::V4 => {
                // Both are needed: with only the index, packets could leave with the source 0.0.0.0; with only the address, on
                // another interface that has the same address.
                let source = match route.source {
                    Some(IpAddr::V4(source)) => source,
                    _ => Ipv4Addr::UNSPECIFIED,
                };
                match sys::setsockopt(&socket.fd, IP, linux::IP_MULTICAST_IF, &interface_request(source, index)) {
                    Ok(()) => {}
                    // No interface has this address.
                    Err(Errno::NOT_AVAILABLE) => {
                        let object = Object::Membership { group: group.address(), interface };
                        return Err(Error::new(Operation::Send, object, ErrorKind::NoSuchInterface));
                    }
                    Err(errno) => {
                        return Err(Error::system(Operation::Configure, Object::Named("IP_MULTICAST_IF"), errno));
                    }
                }
                // Without it, the kernel drops packets that do not fit into its queue, and reports success.
                socket.set(IP, linux::IP_RECVERR, "IP_RECVERR", 1)?;
            }
            Family::V6 => {
                socket.set(IPV6, linux::IPV6_MULTICAST_IF, "IPV6_MULTICAST_IF", index)?;
                socket.set(IPV6, linux::IPV6_RECVERR, "IPV6_RECVERR", 1)?;
            }
        }
        Ok((socket, if group.is_link_local() { index } else { 0 }))
    }

    pub(crate) fn set_ttl(&self, family: Family, ttl: Ttl) -> Result<()> {
        let hops = u32::from(ttl.get());
        match family {
            Family::V4 => self.set(IP, linux::IP_MULTICAST_TTL, "IP_MULTICAST_TTL", hops),
            Family::V6 => self.set(IPV6, linux::IPV6_MULTICAST_HOPS, "IPV6_MULTICAST_HOPS", hops),
        }
    }

    pub(crate) fn set_loopback(&self, family: Family, on: bool) -> Result<()> {
        match family {
            Family::V4 => self.set(IP, linux::IP_MULTICAST_LOOP, "IP_MULTICAST_LOOP", on.into()),
            Family::V6 => self.set(IPV6, linux::IPV6_MULTICAST_LOOP, "IPV6_MULTICAST_LOOP", on.into()),
        }
    }

    pub(crate) fn set_traffic_class(&self, family: Family, class: u8) -> Result<()> {
        match family {
            Family::V4 => self.set(IP, linux::IP_TOS, "IP_TOS", class.into()),
            Family::V6 => self.set(IPV6, linux::IPV6_TCLASS, "IPV6_TCLASS", class.into()),
        }
    }

    /// Makes the kernel refuse datagrams that are longer than the path MTU, instead of sending them in fragments.
    pub(crate) fn discover_mtu(&self, family: Family) -> Result<()> {
        match family {
            Family::V4 => self.set(IP, linux::IP_MTU_DISCOVER, "IP_MTU_DISCOVER", linux::IP_PMTUDISC_DO),
            Family::V6 => self.set(IPV6, linux::IPV6_MTU_DISCOVER, "IPV6_MTU_DISCOVER", linux::IPV6_PMTUDISC_DO),
        }
    }

    /// Asks for a send buffer of this size.
    pub(crate) fn set_send_buffer(&self, bytes: usize) -> Result<()> {
        self.set_buffer(bytes, linux::SO_SNDBUFFORCE, linux::SO_SNDBUF, "SO_SNDBUF")
    }

    /// The hot send: `sendto(2)`.
    // Inlined down to the system call, as `sys::sendto` is.
    #[inline(always)]
    pub(crate) fn send(&self, payload: &[u8], to: &Address) -> core::result::Result<(), Errno> {
        sys::sendto(&self.fd, payload, to)
    }

    /// Sends these parts in one call. All except the last have the size of a segment, and the kernel cuts them into one packet
    /// each (`UDP_SEGMENT`, `udp(7)`, Linux 4.18).
    pub(crate) fn send_segments<'p>(
        &self,
        parts: impl Iterator<Item = &'p [u8]>,
        segment: u16,
        to: &Address,
    ) -> core::result::Result<(), Errno> {
        sys::send_segments(&self.fd, parts, segment, to)
    }

    /// Whether the kernel supports segments. One that does not would ignore the control message, and send all parts as one
    /// packet.
    pub(crate) fn can_segment(&self) -> bool {
        sys::getsockopt_int(&self.fd, UDP, UDP_SEGMENT).is_ok()
    }

    /// Discards the queued errors, so that pollers no longer report an error on the socket. Bounded: more errors than these can
    /// only arrive while this runs.
    pub(crate) fn forget_errors(&self) {
        for _ in 0..QUEUED_ERRORS {
            if sys::take_queued_error(&self.fd).is_err() {
                break;
            }
        }
        // Also the pending error, which the next call would report.
        let _ = sys::getsockopt_int(&self.fd, SOCKET, linux::SO_ERROR);
    }
}

/// A `struct ip_mreqn` (`ip(7)`) without a group: address and index of an interface.
const fn interface_request(address: Ipv4Addr, index: u32) -> [u8; 12] {
    let ([a, b, c, d], [i, j, k, l]) = (address.octets(), index.to_ne_bytes());
    [0, 0, 0, 0, a, b, c, d, i, j, k, l]
}
