//! The sending side of a socket: on which interface packets leave, with which options, and the send calls.

use core::net::{IpAddr, Ipv4Addr};

use linux_raw_sys::net as linux;
use rustix::fd::BorrowedFd;

use super::{Control, IP, IPV6, SOCKET, Socket, UDP};
use crate::address::Address;
use crate::cmsg::{self, Layout, Origin, Outgoing, Way};
use crate::error::{Errno, Error, Object, Operation, Result};
use crate::group::{Family, Ttl};
use crate::route::Route;
use crate::sys::{self, UDP_SEGMENT};

/// How many queued errors are read at once.
const QUEUED_ERRORS: u32 = 64;

impl Socket {
    /// A socket to send with, bound to this address, which nobody sends to. It shares the port if asked to.
    pub(crate) fn try_sending(family: Family, address: &Address, shares: bool) -> core::result::Result<Self, Errno> {
        let socket = Self::try_open(family)?;
        socket.try_turn_off_multicast_all(family)?;
        socket.try_prepare_to_send(family)?;
        socket.bind_to_send(address, shares)?;
        Ok(socket)
    }

    fn bind_to_send(&self, address: &Address, shares: bool) -> core::result::Result<(), Errno> {
        if !shares {
            return self.bind(address);
        }
        sys::setsockopt_int(&self.fd, SOCKET, linux::SO_REUSEADDR, 1)?;
        self.bind_to_nobody(address)
    }

    /// As [`try_sending`](Self::try_sending) for IPv6, with packets from this address, which has port 0.
    ///
    /// The kernel keeps the address of the first bind as the source of packets when the socket is released from its port, and bound
    /// again to a group: so no packet needs a control message. [`Errno::INVALID`] if it does not.
    pub(crate) fn try_sending_from(source: &Address, address: &Address, shares: bool) -> core::result::Result<Self, Errno> {
        let socket = Self::try_open(Family::V6)?;
        socket.try_turn_off_multicast_all(Family::V6)?;
        socket.try_prepare_to_send(Family::V6)?;
        // The address may be missing at the moment.
        let _ = sys::setsockopt_int(&socket.fd, IPV6, linux::IPV6_FREEBIND, 1);
        socket.bind(source)?;
        sys::disconnect(&socket.fd)?;
        socket.bind_to_send(address, shares)?;
        Ok(socket)
    }

    /// A socket to send with and to receive answers, not bound yet.
    pub(crate) fn answered(family: Family) -> Result<Self> {
        let socket = Self::open(family)?;
        if family == Family::V6 {
            socket.set(IPV6, linux::IPV6_V6ONLY, "IPV6_V6ONLY", 1)?;
        }
        socket.turn_off_multicast_all(family)?;
        Ok(socket)
    }

    /// What every socket that sends needs: see [`try_prepare_to_send`](Self::try_prepare_to_send).
    pub(crate) fn prepare_to_send(&self, family: Family) -> Result<()> {
        let name = match family {
            Family::V4 => "IP_RECVERR",
            Family::V6 => "IPV6_RECVERR",
        };
        let failed = |errno| Error::system(Operation::Configure, Object::Named(name), errno);
        self.try_prepare_to_send(family).map_err(failed)
    }

    /// Makes the kernel report packets that a device's queue refuses: without it, it drops them, and reports success. It then also
    /// reports what the network says about packets that have left: see [`take_reports`].
    ///
    /// And makes it ignore what routers, or those who pretend to be one, say about the path MTU. Else one forged ICMP message would for
    /// ten minutes cut all packets of a route into pieces, and refuse all batches.
    fn try_prepare_to_send(&self, family: Family) -> core::result::Result<(), Errno> {
        let (level, errors, mtu, omit) = match family {
            Family::V4 => (IP, linux::IP_RECVERR, linux::IP_MTU_DISCOVER, linux::IP_PMTUDISC_OMIT),
            Family::V6 => (IPV6, linux::IPV6_RECVERR, linux::IPV6_MTU_DISCOVER, linux::IPV6_PMTUDISC_OMIT),
        };
        // Linux before 3.15 does not know it, and sends all the same.
        let _ = sys::setsockopt_int(&self.fd, level, mtu, omit);
        sys::setsockopt_int(&self.fd, level, errors, 1)
    }

    /// Whether the kernel reports such errors.
    pub(crate) fn wants_errors(&self, family: Family) -> bool {
        let (level, name) = match family {
            Family::V4 => (IP, linux::IP_RECVERR),
            Family::V6 => (IPV6, linux::IPV6_RECVERR),
        };
        sys::getsockopt_int(&self.fd, level, name).is_ok_and(|on| on != 0)
    }

    /// The interface that multicast packets leave on, and for IPv4 their source address.
    ///
    /// IPv4 needs both: with only the index, packets could leave with the source 0.0.0.0; with only the address, on another interface
    /// that has the same address.
    pub(crate) fn set_egress(&self, family: Family, route: Route) -> core::result::Result<(), Errno> {
        match family {
            Family::V4 => {
                let source = match route.source {
                    Some(IpAddr::V4(source)) => source,
                    _ => Ipv4Addr::UNSPECIFIED,
                };
                sys::setsockopt(&self.fd, IP, linux::IP_MULTICAST_IF, &interface_request(source, route.interface))
            }
            Family::V6 => sys::setsockopt_int(&self.fd, IPV6, linux::IPV6_MULTICAST_IF, route.interface),
        }
    }

    /// The source address of IPv4 multicast packets, if one is set.
    pub(crate) fn egress_source(&self, family: Family) -> Option<IpAddr> {
        let mut source = [0; 4];
        match family {
            Family::V4 => sys::getsockopt(&self.fd, IP, linux::IP_MULTICAST_IF, &mut source).ok()?,
            Family::V6 => return None,
        };
        Some(IpAddr::from(source)).filter(|source| !source.is_unspecified())
    }

    /// The interface that IPv6 multicast packets leave on; 0 if none is set. For IPv4 the kernel does not tell.
    pub(crate) fn egress_index(&self, family: Family) -> u32 {
        match family {
            Family::V4 => 0,
            Family::V6 => sys::getsockopt_int(&self.fd, IPV6, linux::IPV6_MULTICAST_IF).unwrap_or(0),
        }
    }

    /// How far unicast packets go.
    pub(crate) fn set_unicast_ttl(&self, family: Family, hops: u8) -> Result<()> {
        match family {
            Family::V4 => self.set(IP, linux::IP_TTL, "IP_TTL", hops.into()),
            Family::V6 => self.set(IPV6, linux::IPV6_UNICAST_HOPS, "IPV6_UNICAST_HOPS", hops.into()),
        }
    }

    /// Sets the priority in the device's queue, and returns the one before.
    pub(crate) fn exchange_priority(&self, priority: u32) -> Result<u32> {
        let before = sys::getsockopt_int(&self.fd, SOCKET, linux::SO_PRIORITY).unwrap_or(0);
        self.set(SOCKET, linux::SO_PRIORITY, "SO_PRIORITY", priority)?;
        Ok(before)
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

    /// Whether listeners on this machine get copies. The default of the kernel if it does not tell.
    pub(crate) fn makes_copies(&self, family: Family) -> bool {
        let (level, name) = match family {
            Family::V4 => (IP, linux::IP_MULTICAST_LOOP),
            Family::V6 => (IPV6, linux::IPV6_MULTICAST_LOOP),
        };
        sys::getsockopt_int(&self.fd, level, name).unwrap_or(1) != 0
    }

    pub(crate) fn set_traffic_class(&self, family: Family, class: u8) -> Result<()> {
        match family {
            Family::V4 => self.set(IP, linux::IP_TOS, "IP_TOS", class.into()),
            Family::V6 => self.set(IPV6, linux::IPV6_TCLASS, "IPV6_TCLASS", class.into()),
        }
    }

    /// Makes the kernel refuse datagrams that are too long, instead of sending them in fragments. For IPv4 the MTU of the interface
    /// counts, whatever ICMP messages say. For IPv6 that of the path does: its routers do not fragment.
    pub(crate) fn discover_mtu(&self, family: Family) -> Result<()> {
        match family {
            Family::V4 => self.set(IP, linux::IP_MTU_DISCOVER, "IP_MTU_DISCOVER", linux::IP_PMTUDISC_PROBE),
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

    /// Sends one packet on this way: not as the options say, nor as the routing table says.
    pub(crate) fn send_on(&self, payload: &[u8], to: &Address, way: Way) -> core::result::Result<(), Errno> {
        let control = Outgoing::packet_info(way, to.is_ipv4(), Layout::NATIVE);
        sys::sendmsg(&self.fd, payload, to, control.as_bytes())
    }

    /// Discards the pending error, which the next call would return.
    pub(crate) fn drop_pending_error(&self) {
        let _ = sys::getsockopt_int(&self.fd, SOCKET, linux::SO_ERROR);
    }
}

/// Reads queued errors of a socket (the error queue, `ip(7)`), so that pollers no longer report an error on it. Bounded: if there are
/// more, the next call returns an error, and they are read then.
///
/// Returns how many of them the network reported: an ICMP message of any host, about a packet that has left. Such a report makes
/// an unrelated later call fail once.
#[cold]
pub(crate) fn take_reports(socket: BorrowedFd<'_>) -> u16 {
    let mut reports = 0_u16;
    for _ in 0..QUEUED_ERRORS {
        let mut control = Control([0; cmsg::ERROR_SPACE]);
        let Ok(length) = sys::take_queued_error(socket, &mut control.0) else { break };
        let written = control.0.get(..length).unwrap_or(&[]);
        if Origin::read(written, Layout::NATIVE) == Some(Origin::Network) {
            reports = reports.saturating_add(1);
        }
    }
    reports
}

/// Discards queued errors of a socket without reading them. Returns whether there may be more.
#[cold]
pub(crate) fn drop_queued_errors(socket: BorrowedFd<'_>) -> bool {
    for _ in 0..QUEUED_ERRORS {
        if sys::drop_queued_error(socket).is_err() {
            return false;
        }
    }
    true
}

/// How many ticks a second has.
pub(crate) const TICKS: u16 = 1 << 7;

/// The time in ticks, of a clock that begins again after 512 seconds; `None` if it cannot be read.
// With shifts alone, to keep small programs small: a second has 119 ticks of 8.4 milliseconds, and the last one is longer.
pub(crate) fn ticks() -> Option<u16> {
    let (seconds, nanoseconds) = sys::now().ok()?;
    Some((seconds << 7) as u16 | (nanoseconds >> 23) as u16)
}

/// How many bytes of this socket's packets have not left yet (`SIOCOUTQ`, `udp(7)`); `unknown` if the kernel does not tell.
pub(crate) fn queued_or(unknown: u32, socket: BorrowedFd<'_>) -> u32 {
    sys::queued_or(unknown, socket)
}

/// The size of the send buffer in bytes, as the kernel counts it; `unknown` if it does not tell.
pub(crate) fn send_buffer_or(unknown: u32, socket: BorrowedFd<'_>) -> u32 {
    sys::getsockopt_or(unknown, socket, SOCKET, linux::SO_SNDBUF)
}

/// Turns the copies for listeners on this machine on or off for a while. If that fails, the listeners receive a copy too many.
#[inline(never)]
pub(crate) fn set_copies(socket: BorrowedFd<'_>, family: Family, on: bool) {
    let (level, name) = match family {
        Family::V4 => (IP, linux::IP_MULTICAST_LOOP),
        Family::V6 => (IPV6, linux::IPV6_MULTICAST_LOOP),
    };
    let _ = sys::setsockopt_of(socket, level, name, &u32::from(on).to_ne_bytes());
}

/// A `struct ip_mreqn` (`ip(7)`) without a group: address and index of an interface.
const fn interface_request(address: Ipv4Addr, index: u32) -> [u8; 12] {
    let ([a, b, c, d], [i, j, k, l]) = (address.octets(), index.to_ne_bytes());
    [0, 0, 0, 0, a, b, c, d, i, j, k, l]
}
