//! The parameters of a peer, the sockets that all peers set up in the same way, and the results of their work.

use std::error::Error;
use std::hint::black_box;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::time::Duration;

use multicast::{Group, Interface, ListenOptions, Listener, Membership, SendOptions};
use rustix::net::sockopt;
use socket2::{Domain, InterfaceIndexOrAddress, Protocol, Socket, Type};

pub(crate) type Outcome<T> = Result<T, Box<dyn Error>>;

/// The buffer of every peer, except those that receive coalesced packets.
pub(crate) const BUFFER: usize = 2048;
/// The receive buffer that every socket asks the kernel for.
pub(crate) const RECEIVE_BUFFER: usize = 4 << 20;
/// How long a peer waits for a packet that should come.
pub(crate) const PATIENCE: Duration = Duration::from_secs(1);
/// The same where a packet that does not come ends the case: on a busy machine the kernel delivers some more than a second late.
pub(crate) const LONG_PATIENCE: Duration = Duration::from_secs(5);
/// After this time without a packet, the missing ones are lost.
pub(crate) const SILENCE: Duration = Duration::from_millis(300);
/// The index of `lo` in every network.
const LOOPBACK_INDEX: u32 = 1;

pub(crate) struct Place {
    pub(crate) group: Ipv4Addr,
    pub(crate) port: u16,
    pub(crate) size: usize,
    pub(crate) number: usize,
}

impl Place {
    pub(crate) fn parse([group, port, size, number]: [&str; 4]) -> Outcome<Self> {
        Ok(Self { group: group.parse()?, port: port.parse()?, size: size.parse()?, number: number.parse()? })
    }

    pub(crate) fn address(&self, port: u16) -> SocketAddr {
        SocketAddrV4::new(self.group, port).into()
    }

    /// The payload of packets to send, for as long as the process lives.
    pub(crate) fn payload(&self) -> &'static [u8] {
        vec![0; self.size].leak()
    }

    /// As many payloads side by side.
    pub(crate) fn buffer(&self, packets: usize) -> &'static [u8] {
        vec![0; packets * self.size].leak()
    }

    /// The measured crate's listener.
    pub(crate) fn listener(&self, port: u16) -> Outcome<Listener<BUFFER>> {
        Ok(self.listen_options().bind(self.membership(port)?)?)
    }

    pub(crate) fn listen_options(&self) -> ListenOptions {
        ListenOptions::new().receive_buffer(RECEIVE_BUFFER)
    }

    pub(crate) fn membership(&self, port: u16) -> Outcome<Membership> {
        Ok(Membership::any(self.group(port)?).on(Interface::LOOPBACK))
    }

    pub(crate) fn group(&self, port: u16) -> Outcome<Group> {
        Ok(Group::new(self.group, port)?)
    }

    /// The measured crate's options for sending.
    pub(crate) fn send_options(&self) -> SendOptions {
        SendOptions::new().interface(Interface::LOOPBACK)
    }

    /// A socket with the options that the measured crate sets, for the other peers.
    pub(crate) fn receiver(&self, port: u16) -> Outcome<Socket> {
        let socket = Socket::new(Domain::IPV4, Type::DGRAM.nonblocking(), Some(Protocol::UDP))?;
        socket.set_reuse_address(true)?;
        socket.set_reuse_port(true)?;
        socket.set_multicast_all_v4(false)?;
        widen(&socket)?;
        socket.bind(&self.address(port).into())?;
        socket.join_multicast_v4_n(&self.group, &InterfaceIndexOrAddress::Index(LOOPBACK_INDEX))?;
        Ok(socket)
    }

    pub(crate) fn sender(&self) -> Outcome<Socket> {
        let socket = Socket::new(Domain::IPV4, Type::DGRAM.nonblocking(), Some(Protocol::UDP))?;
        socket.set_multicast_if_v4(&Ipv4Addr::LOCALHOST)?;
        Ok(socket)
    }
}

/// Asks for the receive buffer of every socket.
pub(crate) fn widen(socket: impl rustix::fd::AsFd) -> Outcome<()> {
    if sockopt::set_socket_recv_buffer_size_force(&socket, RECEIVE_BUFFER).is_err() {
        sockopt::set_socket_recv_buffer_size(&socket, RECEIVE_BUFFER)?;
    }
    Ok(())
}

/// The common methods of the sockets of `std` and `mio`, so that the peers differ only in the type.
pub(crate) trait PlainSocket {
    fn recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)>;
    fn send_to(&self, payload: &[u8], to: SocketAddr) -> io::Result<usize>;
}

impl PlainSocket for std::net::UdpSocket {
    #[inline(always)]
    fn recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.recv_from(buffer)
    }

    #[inline(always)]
    fn send_to(&self, payload: &[u8], to: SocketAddr) -> io::Result<usize> {
        self.send_to(payload, to)
    }
}

impl PlainSocket for mio::net::UdpSocket {
    #[inline(always)]
    fn recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.recv_from(buffer)
    }

    #[inline(always)]
    fn send_to(&self, payload: &[u8], to: SocketAddr) -> io::Result<usize> {
        self.send_to(payload, to)
    }
}

/// The result of a piece of work.
#[derive(Clone, Copy, Default)]
pub(crate) struct Tally {
    pub(crate) packets: u64,
    pub(crate) bytes: u64,
    /// Set if the result is not CPU time.
    pub(crate) nanoseconds: Option<u64>,
    /// Set if some allocations, before the first packet, do not count.
    pub(crate) allocations: Option<u64>,
}

impl Tally {
    pub(crate) fn sent(packets: u64, size: usize) -> Self {
        Self { packets, bytes: packets * size as u64, ..Self::default() }
    }

    /// Counts a packet, and reads what any program would read of it.
    #[inline(always)]
    pub(crate) fn see(&mut self, payload: &[u8], source: SocketAddr) {
        self.packets += 1;
        self.bytes += payload.len() as u64;
        black_box((payload.first().copied(), source.port()));
    }
}
