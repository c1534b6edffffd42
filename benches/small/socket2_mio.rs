//! The same as tiny-listen, with `std`, socket2 and mio.

use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddrV4};

use mio::{Events, Interest, Poll, Token};
use socket2::{Domain, InterfaceIndexOrAddress, Protocol, Socket, Type};

const GROUP: Ipv4Addr = Ipv4Addr::new(239, 1, 2, 3);

fn main() -> io::Result<()> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM.nonblocking(), Some(Protocol::UDP))?;
    socket.set_reuse_address(true)?;
    socket.set_multicast_all_v4(false)?;
    socket.bind(&SocketAddrV4::new(GROUP, 5000).into())?;
    // The index of lo.
    socket.join_multicast_v4_n(&GROUP, &InterfaceIndexOrAddress::Index(1))?;
    let mut socket = mio::net::UdpSocket::from_std(socket.into());
    let (mut poll, mut events) = (Poll::new()?, Events::with_capacity(1));
    poll.registry().register(&mut socket, Token(0), Interest::READABLE)?;
    let (mut buffer, mut left) = ([0; 1500], 3);
    while left > 0 {
        poll.poll(&mut events, None)?;
        while left > 0 {
            let length = match socket.recv_from(&mut buffer) {
                Ok((length, _)) => length,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            };
            if buffer[..length].starts_with(b"NOTIFY ") {
                io::stdout().write_all(&buffer[..length])?;
                io::stdout().write_all(b"\n")?;
                left -= 1;
            }
        }
    }
    Ok(())
}
