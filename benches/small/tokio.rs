//! The same as tiny-listen, with tokio on one thread, and a socket from socket2.

use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddrV4};

use socket2::{Domain, InterfaceIndexOrAddress, Protocol, Socket, Type};

const GROUP: Ipv4Addr = Ipv4Addr::new(239, 1, 2, 3);

fn main() -> io::Result<()> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM.nonblocking(), Some(Protocol::UDP))?;
    socket.set_reuse_address(true)?;
    socket.set_multicast_all_v4(false)?;
    socket.bind(&SocketAddrV4::new(GROUP, 5000).into())?;
    // The index of lo.
    socket.join_multicast_v4_n(&GROUP, &InterfaceIndexOrAddress::Index(1))?;
    tokio::runtime::Builder::new_current_thread().enable_io().build()?.block_on(async {
        let socket = tokio::net::UdpSocket::from_std(socket.into())?;
        let (mut buffer, mut left) = ([0; 1500], 3);
        while left > 0 {
            let (length, _) = socket.recv_from(&mut buffer).await?;
            if buffer[..length].starts_with(b"NOTIFY ") {
                io::stdout().write_all(&buffer[..length])?;
                io::stdout().write_all(b"\n")?;
                left -= 1;
            }
        }
        Ok(())
    })
}
