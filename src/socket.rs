//! One datagram socket, safe: opened, configured, bound, joined, and read from or sent on.
//!
//! What the kernel does by default and nobody wants is turned off here: see [`Socket::listening`] and [`Socket::sending`].

mod guard;
mod membership;
mod sending;

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use core::time::Duration;

pub(crate) use guard::Guard;
use linux_raw_sys::net as linux;
pub(crate) use membership::each_interface_to_join;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};

use crate::address::Address;
use crate::cmsg::{self, Arrival, Layout, UDP_GRO};
use crate::error::{Errno, Error, ErrorKind, Object, Operation, Result};
use crate::group::Family;
pub(crate) use crate::sys::raw_fd;
use crate::sys::{self, Fd, SK_MEMINFO_DROPS, SK_MEMINFO_VARS};

/// The option levels (`ip(7)`, `ipv6(7)`), as the calls want them.
const IP: u32 = linux::IPPROTO_IP as u32;
const IPV6: u32 = linux::IPPROTO_IPV6 as u32;
const UDP: u32 = linux::IPPROTO_UDP as u32;
const SOCKET: u32 = linux::SOL_SOCKET;

/// Options that an adopted socket must not have: those whose control messages come before the packet information and would take
/// its room, and the one that hands out several datagrams as one.
const UNWANTED: [(u32, u32); 6] = [
    (SOCKET, linux::SO_TIMESTAMP_OLD),
    (SOCKET, linux::SO_TIMESTAMPING_OLD),
    (SOCKET, linux::SO_RXQ_OVFL),
    (SOCKET, linux::SO_RCVMARK),
    (SOCKET, linux::SO_RCVPRIORITY),
    (UDP, UDP_GRO),
];

/// One UDP socket, close-on-exec and non-blocking.
#[derive(Debug)]
pub(crate) struct Socket {
    fd: Fd,
}

/// How a socket shares its port with the others that are bound to the same address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sharing {
    /// Each gets what it joined.
    Everything,
    /// The kernel may give it what another one joined.
    Distribution,
}

/// A datagram that was received into a buffer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Datagram {
    /// The true length, of which the buffer holds what fits.
    pub(crate) length: usize,
    /// Where it came from: an internet address.
    pub(crate) source: Address,
}

impl Socket {
    fn open(family: Family) -> Result<Self> {
        let (domain, noun) = match family {
            Family::V4 => (linux::AF_INET, "an IPv4 socket"),
            Family::V6 => (linux::AF_INET6, "an IPv6 socket"),
        };
        match sys::socket(domain, linux::SOCK_DGRAM, UDP) {
            Ok(fd) => Ok(Self { fd }),
            Err(errno) => Err(Error::system(Operation::Open, Object::Named(noun), errno)),
        }
    }

    /// A socket to listen on, not bound yet: it shares its port with every other socket that shares, and hears no group but
    /// those that it joins itself.
    pub(crate) fn listening(family: Family) -> Result<Self> {
        let socket = Self::open(family)?;
        socket.set(SOCKET, linux::SO_REUSEADDR, "SO_REUSEADDR", 1)?;
        if family == Family::V6 {
            socket.set(IPV6, linux::IPV6_V6ONLY, "IPV6_V6ONLY", 1)?;
        }
        socket.hear_only_own_groups(family)?;
        Ok(socket)
    }

    /// Turns off what Linux does by default: to deliver the groups that any other socket of the machine joined.
    fn hear_only_own_groups(&self, family: Family) -> Result<()> {
        match family {
            Family::V4 => self.set(IP, linux::IP_MULTICAST_ALL, "IP_MULTICAST_ALL", 0),
            // Kernels before 4.20 lack it. The guard of IPv6 listeners refuses foreign groups there, at the cost of a look.
            Family::V6 => match self.set(IPV6, linux::IPV6_MULTICAST_ALL, "IPV6_MULTICAST_ALL", 0) {
                Err(error) if error.kind() == ErrorKind::Unsupported => Ok(()),
                result => result,
            },
        }
    }

    /// Asks for a receive buffer of this many bytes: past the limit of the system where we may, up to it where not.
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

    /// The size of the receive buffer in bytes, as the kernel counts it: twice what was asked for, with its own bookkeeping in it.
    pub(crate) fn receive_buffer(&self) -> Result<usize> {
        match sys::getsockopt_int(&self.fd, SOCKET, linux::SO_RCVBUF) {
            Ok(bytes) => Ok(bytes as usize),
            Err(errno) => Err(Error::system(Operation::Count, Object::Nothing, errno)),
        }
    }

    /// `bind(2)`.
    pub(crate) fn bind(&self, address: &Address) -> core::result::Result<(), Errno> {
        sys::bind(&self.fd, address)
    }

    /// Ends the bind to an interface, and keeps that to address and port: `connect(2)` with no address, which otherwise undoes a
    /// connection.
    pub(crate) fn unbind_from_interface(&self) -> core::result::Result<(), Errno> {
        Ok(rustix::net::connect_unspec(&self.fd)?)
    }

    /// Binds where another socket has refused it; says how the port is shared then.
    #[cold]
    pub(crate) fn bind_beside(
        &self,
        refused: core::result::Result<(), Errno>,
        address: &Address,
    ) -> core::result::Result<Sharing, Errno> {
        // A socket that has SO_REUSEPORT alone, and not SO_REUSEADDR, shares with its like only.
        if refused != Err(Errno::IN_USE) {
            return refused.map(|()| Sharing::Everything);
        }
        sys::setsockopt_int(&self.fd, SOCKET, linux::SO_REUSEPORT, 1)?;
        self.bind(address)?;
        self.leave_distribution()
    }

    /// Keeps the kernel from giving packets of ours to another socket.
    ///
    /// Since Linux 6.6 an IPv4 multicast packet that one socket alone is to get, and that came over a real link, goes to any of
    /// those that share the address by SO_REUSEPORT: to one that has not joined, and not to the one that has. With the option
    /// off our packets stay ours, but those of the others may still come here.
    fn leave_distribution(&self) -> core::result::Result<Sharing, Errno> {
        match sys::getsockopt_int(&self.fd, SOCKET, linux::SO_REUSEPORT)? {
            0 => Ok(Sharing::Everything),
            _ => sys::setsockopt_int(&self.fd, SOCKET, linux::SO_REUSEPORT, 0).map(|()| Sharing::Distribution),
        }
    }

    /// Asks for where each datagram was sent to and where it came in, which [`recv_with_arrival`](Self::recv_with_arrival)
    /// reads.
    pub(crate) fn want_packet_info(&self, family: Family) -> Result<()> {
        match family {
            Family::V4 => self.set(IP, linux::IP_PKTINFO, "IP_PKTINFO", 1),
            Family::V6 => self.set(IPV6, linux::IPV6_RECVPKTINFO, "IPV6_RECVPKTINFO", 1),
        }
    }

    /// Asks for all that the kernel tells of a datagram.
    pub(crate) fn want_metadata(&self, family: Family) -> Result<()> {
        self.want_packet_info(family)?;
        match family {
            Family::V4 => {
                self.set(IP, linux::IP_RECVTTL, "IP_RECVTTL", 1)?;
                self.set(IP, linux::IP_RECVTOS, "IP_RECVTOS", 1)?;
            }
            Family::V6 => {
                self.set(IPV6, linux::IPV6_RECVHOPLIMIT, "IPV6_RECVHOPLIMIT", 1)?;
                self.set(IPV6, linux::IPV6_RECVTCLASS, "IPV6_RECVTCLASS", 1)?;
            }
        }
        // The older stamp ends in 2038 where a word has 32 bits; the newer one is missing before Linux 5.1.
        match self.set(SOCKET, linux::SO_TIMESTAMPNS_NEW, "SO_TIMESTAMPNS", 1) {
            Err(_) => self.set(SOCKET, linux::SO_TIMESTAMPNS_OLD, "SO_TIMESTAMPNS", 1),
            Ok(()) => Ok(()),
        }
    }

    /// Lets the kernel put datagrams of one sender together (`UDP_GRO`, `udp(7)`, Linux 5.0).
    pub(crate) fn want_coalesced(&self) -> Result<()> {
        self.set(UDP, UDP_GRO, "UDP_GRO", 1)
    }

    /// The hot receive.
    // Inlined down to the system call (see `Inner::recv_into`): without it tiny-listen is 16 bytes larger, with `#[inline]` 72.
    #[inline(always)]
    pub(crate) fn recv(&self, buffer: &mut [u8]) -> core::result::Result<Datagram, Errno> {
        let mut source = Address::EMPTY;
        let length = sys::recvfrom(&self.fd, buffer, &mut source)?;
        if source.is_internet() { Ok(Datagram { length, source }) } else { Err(Errno::PROTOCOL) }
    }

    /// The receive of listeners that asked for more than the payload.
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

    /// How many datagrams the kernel dropped because there was no room or because their checksum was wrong; `None` before
    /// Linux 4.12.
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

    /// Takes over a bound UDP socket that somebody else opened; with it, its address.
    ///
    /// It is made non-blocking, and hears no group any more but those that it has joined. Options of its former owner that would
    /// change what a packet is, or hide where it was sent to, are turned off.
    pub(crate) fn adopt(fd: OwnedFd) -> Result<(Self, SocketAddr, Sharing)> {
        let failed = |kind| Error::new(Operation::Open, Object::Named("a received descriptor"), kind);
        let socket = Self { fd: Fd::from(fd) };
        match sys::getsockopt_int(&socket.fd, SOCKET, linux::SO_PROTOCOL) {
            Ok(UDP) => {}
            _ => return Err(failed(ErrorKind::NotUdp)),
        }
        let address = sys::getsockname(&socket.fd).ok().and_then(|address| address.decode());
        let address = address.ok_or_else(|| failed(ErrorKind::NotUdp))?;
        configured("O_NONBLOCK", rustix::io::ioctl_fionbio(&socket, true))?;
        socket.hear_only_own_groups(family_of(&address))?;
        for (level, name) in UNWANTED {
            // A kernel that does not know an option has not turned it on.
            let _ = sys::setsockopt_int(&socket.fd, level, name, 0);
        }
        let sharing = socket.leave_distribution();
        let sharing = sharing.map_err(|errno| Error::system(Operation::Configure, Object::Named("SO_REUSEPORT"), errno))?;
        Ok((socket, address, sharing))
    }

    fn set(&self, level: u32, name: u32, called: &'static str, value: u32) -> Result<()> {
        match sys::setsockopt_int(&self.fd, level, name, value) {
            Ok(()) => Ok(()),
            Err(errno) => Err(Error::system(Operation::Configure, Object::Named(called), errno)),
        }
    }
}

/// Control messages begin at multiples of a word.
#[repr(C, align(8))]
struct Control([u8; cmsg::SPACE]);

fn configured(called: &'static str, result: rustix::io::Result<()>) -> Result<()> {
    match result {
        Ok(()) => Ok(()),
        Err(errno) => Err(Error::system(Operation::Configure, Object::Named(called), errno.into())),
    }
}

/// The time of a clock that nobody sets (`CLOCK_MONOTONIC`, `clock_gettime(2)`).
pub(crate) fn monotonic_time() -> Duration {
    sys::now()
}

#[inline]
pub(crate) const fn family_of(address: &SocketAddr) -> Family {
    match address {
        SocketAddr::V4(_) => Family::V4,
        SocketAddr::V6(_) => Family::V6,
    }
}

/// The wildcard address of a family, with a port.
#[inline]
pub(crate) const fn wildcard(family: Family, port: u16) -> SocketAddr {
    match family {
        Family::V4 => SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port),
        Family::V6 => SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), port),
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
