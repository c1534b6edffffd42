//! One UDP socket: opens, configures, binds, joins, receives and sends, without `unsafe`.
//!
//! It turns off unwanted defaults of the kernel: see [`Socket::listening`] and [`Socket::try_sending`].

mod asking;
mod binding;
mod guard;
mod membership;
mod sending;

use core::net::SocketAddr;
use core::time::Duration;

pub(crate) use binding::LOOPBACK;
pub(crate) use guard::{Guard, Unicast};
use linux_raw_sys::net as linux;
pub(crate) use membership::{Elsewhere, each_interface_to_join};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
pub(crate) use sending::{TICKS, drop_queued_errors, queued_or, send_buffer_or, set_copies, take_reports, ticks};

use crate::address::Address;
use crate::cmsg::{self, Arrival, Layout, UDP_GRO};
use crate::error::{Errno, Error, ErrorKind, Object, Operation, Result};
use crate::group::Family;
use crate::packet::Metadata;
pub(crate) use crate::sys::raw_fd;
use crate::sys::{self, Fd, SK_MEMINFO_DROPS, SK_MEMINFO_VARS};

/// The option levels (`ip(7)`, `ipv6(7)`), in the type that the calls take.
const IP: u32 = linux::IPPROTO_IP as u32;
const IPV6: u32 = linux::IPPROTO_IPV6 as u32;
const UDP: u32 = linux::IPPROTO_UDP as u32;
const SOCKET: u32 = linux::SOL_SOCKET;

/// Options that an adopted socket must not have. The control messages of most of them come before the packet information, and
/// would take its space in the buffer. `UDP_GRO` returns several packets as one datagram. With `UDP_CORK` no packet leaves, and
/// `UDP_SEGMENT` cuts each into several (`udp(7)`).
const UNWANTED: [(u32, u32); 8] = [
    (SOCKET, linux::SO_TIMESTAMP_OLD),
    (SOCKET, linux::SO_TIMESTAMPING_OLD),
    (SOCKET, linux::SO_RXQ_OVFL),
    (SOCKET, linux::SO_RCVMARK),
    (SOCKET, linux::SO_RCVPRIORITY),
    (UDP, UDP_GRO),
    (UDP, 1), // UDP_CORK, which linux-raw-sys does not have
    (UDP, sys::UDP_SEGMENT),
];

/// More groups than a guard can have.
const MEMBERSHIPS: u32 = 1000;
/// More packets than a receive buffer of 2 GB holds.
const QUEUED: u32 = 1 << 22;
/// More errors one after another than the network's reports cause.
const REPORTS: u32 = 1000;

/// One UDP socket, close-on-exec and non-blocking.
#[derive(Debug)]
pub(crate) struct Socket {
    fd: Fd,
}

/// A datagram that was received into a buffer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Datagram {
    /// The length as it was sent; it may be longer than the buffer.
    pub(crate) length: usize,
    /// The sender's address, IPv4 or IPv6.
    pub(crate) source: Address,
}

impl Socket {
    fn open(family: Family) -> Result<Self> {
        let noun = match family {
            Family::V4 => "an IPv4 socket",
            Family::V6 => "an IPv6 socket",
        };
        Self::try_open(family).map_err(|errno| Error::system(Operation::Open, Object::Named(noun), errno))
    }

    fn try_open(family: Family) -> core::result::Result<Self, Errno> {
        let domain = match family {
            Family::V4 => linux::AF_INET,
            Family::V6 => linux::AF_INET6,
        };
        Ok(Self { fd: sys::socket(domain, linux::SOCK_DGRAM, UDP)? })
    }

    /// A socket to listen on, not bound yet. It shares its port with every other socket that shares, and receives only groups
    /// that it joins itself.
    pub(crate) fn listening(family: Family) -> Result<Self> {
        let socket = Self::open(family)?;
        socket.share_port()?;
        if family == Family::V6 {
            socket.set(IPV6, linux::IPV6_V6ONLY, "IPV6_V6ONLY", 1)?;
        }
        socket.turn_off_multicast_all(family)?;
        Ok(socket)
    }

    /// By default, Linux delivers packets of every group that any socket of the machine joined. This turns that off.
    fn turn_off_multicast_all(&self, family: Family) -> Result<()> {
        let name = match family {
            Family::V4 => "IP_MULTICAST_ALL",
            Family::V6 => "IPV6_MULTICAST_ALL",
        };
        let failed = |errno| Error::system(Operation::Configure, Object::Named(name), errno);
        self.try_turn_off_multicast_all(family).map_err(failed)
    }

    fn try_turn_off_multicast_all(&self, family: Family) -> core::result::Result<(), Errno> {
        match family {
            Family::V4 => sys::setsockopt_int(&self.fd, IP, linux::IP_MULTICAST_ALL, 0),
            // Linux before 4.20 does not have this option. There the guard of IPv6 listeners refuses other groups.
            Family::V6 => match sys::setsockopt_int(&self.fd, IPV6, linux::IPV6_MULTICAST_ALL, 0) {
                Err(Errno::NO_OPTION) => Ok(()),
                result => result,
            },
        }
    }

    /// Asks for a receive buffer of this many bytes. It may exceed the system's limit if the process has `CAP_NET_ADMIN`.
    pub(crate) fn set_receive_buffer(&self, bytes: usize) -> Result<()> {
        self.set_buffer(bytes, linux::SO_RCVBUFFORCE, linux::SO_RCVBUF, "SO_RCVBUF")
    }

    fn set_buffer(&self, bytes: usize, forced: u32, plain: u32, called: &'static str) -> Result<()> {
        // The kernel doubles it in an `int`.
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX).min(i32::MAX.cast_unsigned() / 2);
        match sys::setsockopt_int(&self.fd, SOCKET, forced, bytes) {
            Ok(()) => Ok(()),
            Err(_) => self.set(SOCKET, plain, called, bytes),
        }
    }

    /// The size of the receive buffer in bytes, as the kernel counts it: twice the requested size, including its own overhead.
    pub(crate) fn receive_buffer(&self) -> Result<usize> {
        match sys::getsockopt_int(&self.fd, SOCKET, linux::SO_RCVBUF) {
            Ok(bytes) => Ok(bytes as usize),
            Err(errno) => Err(Error::system(Operation::Count, Object::Nothing, errno)),
        }
    }

    /// Moves the socket out. What stays is only fit to be dropped.
    pub(crate) fn take(&mut self) -> Self {
        Self { fd: self.fd.take() }
    }

    /// A second descriptor of the same socket.
    pub(crate) fn duplicate(&self) -> Result<Self> {
        match sys::duplicate(&self.fd) {
            Ok(fd) => Ok(Self { fd }),
            Err(errno) => Err(Error::system(Operation::Open, Object::Named("a second descriptor"), errno)),
        }
    }

    /// Shares the port with every other socket that shares it. To be called before the bind.
    pub(crate) fn share_port(&self) -> Result<()> {
        self.set(SOCKET, linux::SO_REUSEADDR, "SO_REUSEADDR", 1)
    }

    /// Asks for destination and interface of each datagram, for [`recv_with_arrival`](Self::recv_with_arrival).
    pub(crate) fn want_packet_info(&self, family: Family) -> Result<()> {
        match family {
            Family::V4 => self.set(IP, linux::IP_PKTINFO, "IP_PKTINFO", 1),
            Family::V6 => self.set(IPV6, linux::IPV6_RECVPKTINFO, "IPV6_RECVPKTINFO", 1),
        }
    }

    /// Asks for the hop limit, or time to live, of each datagram, for [`recv_with_arrival`](Self::recv_with_arrival).
    pub(crate) fn want_hop_limit(&self, family: Family) -> Result<()> {
        match family {
            Family::V4 => self.set(IP, linux::IP_RECVTTL, "IP_RECVTTL", 1),
            Family::V6 => self.set(IPV6, linux::IPV6_RECVHOPLIMIT, "IPV6_RECVHOPLIMIT", 1),
        }
    }

    /// Asks for everything that the kernel reports about a datagram.
    pub(crate) fn want_metadata(&self, family: Family) -> Result<()> {
        self.want_packet_info(family)?;
        self.want_hop_limit(family)?;
        match family {
            Family::V4 => self.set(IP, linux::IP_RECVTOS, "IP_RECVTOS", 1)?,
            Family::V6 => self.set(IPV6, linux::IPV6_RECVTCLASS, "IPV6_RECVTCLASS", 1)?,
        }
        // The older time stamp overflows in 2038 on 32-bit systems; the newer one needs Linux 5.1.
        match self.set(SOCKET, linux::SO_TIMESTAMPNS_NEW, "SO_TIMESTAMPNS", 1) {
            Err(_) => self.set(SOCKET, linux::SO_TIMESTAMPNS_OLD, "SO_TIMESTAMPNS", 1),
            Ok(()) => Ok(()),
        }
    }

    /// Lets the kernel coalesce packets of one sender (`UDP_GRO`, `udp(7)`, Linux 5.0).
    pub(crate) fn want_coalesced(&self) -> Result<()> {
        self.set(UDP, UDP_GRO, "UDP_GRO", 1)
    }

    /// Receives payload and source: the fast path.
    // Inlined down to the system call (see `Inner::recv_into`): without it there is one more call a packet, and
    // tiny-mcast is 8 bytes larger.
    #[inline(always)]
    pub(crate) fn recv(&self, buffer: &mut [u8]) -> core::result::Result<Datagram, Errno> {
        let mut source = Address::EMPTY;
        let length = sys::recvfrom(&self.fd, buffer, &mut source)?;
        if source.is_internet() { Ok(Datagram { length, source }) } else { Err(Errno::PROTOCOL) }
    }

    /// Receives payload, source and control messages.
    pub(crate) fn recv_with_arrival(&self, buffer: &mut [u8]) -> core::result::Result<(Datagram, Arrival), Errno> {
        let mut source = Address::EMPTY;
        let mut control = Control([0; cmsg::SPACE]);
        let message = sys::recvmsg(&self.fd, buffer, &mut source, &mut control.0)?;
        let written = control.0.get(..message.control).unwrap_or(&[]);
        let arrival = Arrival::read(written, Layout::NATIVE);
        if !source.is_internet() {
            return Err(Errno::PROTOCOL);
        }
        Ok((Datagram { length: message.length, source }, arrival))
    }

    /// Receives payload, source, and what the packet information says, which is all that was asked for.
    pub(crate) fn recv_with_way(&self, buffer: &mut [u8]) -> core::result::Result<(Datagram, Metadata), Errno> {
        let mut source = Address::EMPTY;
        let mut control = Control([0; cmsg::PACKET_INFO_SPACE]);
        let message = sys::recvmsg(&self.fd, buffer, &mut source, &mut control.0)?;
        let written = control.0.get(..message.control).unwrap_or(&[]);
        let metadata = Metadata::of_packet_info(written, Layout::NATIVE);
        if source.is_internet() { Ok((Datagram { length: message.length, source }, metadata)) } else { Err(Errno::PROTOCOL) }
    }

    /// Stops receiving for all descriptors of the socket: refuses new packets, leaves all groups as far as they are known, and discards
    /// the queued packets.
    pub(crate) fn stop_receiving(&self) {
        if let Ok(address) = self.local_addr() {
            let family = family_of(&address);
            match address.ip().is_multicast() {
                true => self.leave_everywhere(address.ip()),
                false => {
                    // The guard's list is the only one.
                    for _ in 0..MEMBERSHIPS {
                        let Some((group, index)) = self.first_entry(family) else { break };
                        let _ = self.leave_group(group, index);
                        if self.prune(family, true).is_err() {
                            break;
                        }
                    }
                }
            }
        }
        self.refuse_all();
        let (mut nobody, mut failures) = (Address::EMPTY, 0_u32);
        for _ in 0..QUEUED {
            match sys::recvfrom(&self.fd, &mut [], &mut nobody) {
                Ok(_) => failures = 0,
                Err(Errno::WOULD_BLOCK) => break,
                // Another error is a report of the network: packets may be queued behind it. But not without an end.
                Err(_) if failures == REPORTS => break,
                Err(_) => failures = failures.saturating_add(1),
            }
        }
    }

    /// How many datagrams the kernel dropped because the buffer was full or their checksum was wrong, or refused by a program;
    /// `None` before Linux 4.12.
    pub(crate) fn dropped(&self) -> Option<u32> {
        let mut words = [0; SK_MEMINFO_VARS * 4];
        let length = sys::getsockopt(&self.fd, SOCKET, linux::SO_MEMINFO, &mut words).ok()?;
        let word = words.get(..length)?.chunks_exact(4).nth(SK_MEMINFO_DROPS)?;
        word.first_chunk::<4>().map(|bytes| u32::from_ne_bytes(*bytes))
    }

    pub(crate) fn family(&self) -> core::result::Result<Family, Errno> {
        let address = sys::getsockname(&self.fd)?.decode();
        address.map(|address| family_of(&address)).ok_or(Errno::PROTOCOL)
    }

    pub(crate) fn local_addr(&self) -> Result<SocketAddr> {
        let failed = |errno| Error::system(Operation::Resolve, Object::Named("the local address"), errno);
        let address = sys::getsockname(&self.fd).map_err(failed)?;
        address.decode().ok_or_else(|| failed(Errno::PROTOCOL))
    }

    /// Takes over a bound UDP socket that another process or library opened. Returns its address as well.
    ///
    /// It becomes non-blocking, and receives only groups that it has joined itself. Options that coalesce packets, or take the
    /// space of the packet information, are turned off.
    pub(crate) fn adopt(fd: OwnedFd) -> Result<(Self, SocketAddr)> {
        let failed = |kind| Error::new(Operation::Open, Object::Named("a received descriptor"), kind);
        let socket = Self { fd: Fd::from(fd) };
        // A raw socket may have this protocol, too.
        for (name, expected) in [(linux::SO_PROTOCOL, UDP), (linux::SO_TYPE, linux::SOCK_DGRAM)] {
            if sys::getsockopt_int(&socket.fd, SOCKET, name) != Ok(expected) {
                return Err(failed(ErrorKind::NotUdp));
            }
        }
        let address = sys::getsockname(&socket.fd).ok().and_then(|address| address.decode());
        let address = address.ok_or_else(|| failed(ErrorKind::NotUdp))?;
        configured("O_NONBLOCK", rustix::io::ioctl_fionbio(&socket, true))?;
        socket.turn_off_multicast_all(family_of(&address))?;
        for (level, name) in UNWANTED {
            // If the kernel does not know an option, it is not on.
            let _ = sys::setsockopt_int(&socket.fd, level, name, 0);
        }
        Ok((socket, address))
    }

    /// Whether an IPv6 socket that is bound to this address receives IPv4 packets, too (`IPV6_V6ONLY`, `ipv6(7)`).
    pub(crate) fn takes_ipv4(&self, address: &SocketAddr) -> bool {
        let is_only_v6 = sys::getsockopt_int(&self.fd, IPV6, linux::IPV6_V6ONLY) != Ok(0);
        !is_only_v6 && (address.ip().is_unspecified() || address.ip().to_canonical().is_ipv4())
    }

    fn set(&self, level: u32, name: u32, called: &'static str, value: u32) -> Result<()> {
        match sys::setsockopt_int(&self.fd, level, name, value) {
            Ok(()) => Ok(()),
            Err(errno) => Err(Error::system(Operation::Configure, Object::Named(called), errno)),
        }
    }
}

/// Control messages are aligned to words.
#[repr(C, align(8))]
struct Control<const SPACE: usize>([u8; SPACE]);

fn configured(called: &'static str, result: rustix::io::Result<()>) -> Result<()> {
    match result {
        Ok(()) => Ok(()),
        Err(errno) => Err(Error::system(Operation::Configure, Object::Named(called), errno.into())),
    }
}

/// The time of a clock that cannot be set (`CLOCK_MONOTONIC`, `clock_gettime(2)`).
pub(crate) fn monotonic_time() -> Result<Duration> {
    match sys::now() {
        Ok((seconds, nanoseconds)) => {
            Ok(Duration::from_secs(seconds).saturating_add(Duration::from_nanos(nanoseconds.into())))
        }
        Err(errno) => Err(Error::system(Operation::Read, Object::Named("the clock"), errno)),
    }
}

#[inline]
pub(crate) const fn family_of(address: &SocketAddr) -> Family {
    match address {
        SocketAddr::V4(_) => Family::V4,
        SocketAddr::V6(_) => Family::V6,
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl From<Socket> for OwnedFd {
    fn from(socket: Socket) -> Self {
        socket.fd.into()
    }
}
