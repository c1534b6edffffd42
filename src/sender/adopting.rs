//! A sender from a socket that somebody else opened.

use core::num::{NonZeroU16, NonZeroU32};

use rustix::fd::OwnedFd;

use super::opening::nobody;
use super::refusal::{DEFAULT_LIMIT, Refusal};
use super::socket::Sender;
use super::way::Named;
use crate::error::{Error, Object, Operation, Result};
use crate::group::Interface;
use crate::socket::{Socket, family_of};

/// Takes over a UDP socket, for example from a supervisor that opened it, with all its options: it sends on the interface, with the
/// time to live, and so on, that were set.
///
/// It becomes non-blocking, receives only groups that it has joined itself, and reports packets that a device's queue has no room for.
/// Which interface an IPv4 socket sends on the kernel does not tell, so [`Links::follow`](crate::Links::follow) leaves that as it is.
/// To send from the socket of a listener, use [`sender`](crate::ListeningSocket::sender) instead: a listener that does not know of the
/// sender may return what the network reports about its packets (ICMP) as errors.
/// If it is not bound yet, it is bound as [`SendOptions::open`](crate::SendOptions::open) binds: to a free port, and without answers.
///
/// ```
/// # #[cfg(feature = "std")] {
/// # use multicast::{Error, ErrorKind, OwnedFd, Sender};
/// let socket = std::net::UdpSocket::bind("127.0.0.1:0")?;
/// let address = socket.local_addr()?;
/// let sender = Sender::try_from(OwnedFd::from(socket))?;
/// assert_eq!(sender.local_addr()?, address);
/// # }
/// # Ok::<(), multicast::Error>(())
/// ```
///
/// # Errors
/// [`ErrorKind::NotUdp`](crate::ErrorKind::NotUdp).
impl TryFrom<OwnedFd> for Sender {
    type Error = Error;

    fn try_from(fd: OwnedFd) -> Result<Self> {
        let (socket, address) = Socket::adopt(fd)?;
        let family = family_of(&address);
        socket.prepare_to_send(family)?;
        let reports = match address.port() {
            0 => {
                let bound = socket.bind(&nobody(family, 0));
                bound.map_err(|errno| Error::system(Operation::Open, Object::Named("a socket to send"), errno))?;
                None
            }
            _ => Some(NonZeroU16::MIN),
        };
        let index = socket.egress_index(family);
        let interface = NonZeroU32::new(index).map_or(Interface::Default, Interface::Index);
        let refusal = Refusal::none(DEFAULT_LIMIT, socket.makes_copies(family));
        Ok(Self {
            socket,
            interface,
            index,
            named: Named::Nothing,
            reports,
            family,
            lacks: None,
            rate: None,
            refusal,
            refused_packet: 0,
        })
    }
}
