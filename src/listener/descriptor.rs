//! Conversions between listeners and file descriptors.

use core::num::NonZeroU32;

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};

use super::gatekeeper::Wants;
use super::receiving::{Admits, Asks, Inner, Mode, Offload, State};
use super::socket::{Listener, ListeningSocket, Own, Receiver};
use crate::error::{Error, ErrorKind, Result};
use crate::filter::{Always, Filter};
use crate::group::Family;
use crate::socket::{Socket, family_of, raw_fd};

impl<B, F> AsFd for ListeningSocket<B, F> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inner.socket.as_fd()
    }
}

/// Returns the socket: bound, joined, non-blocking, and without a program in the kernel.
impl<B, F> From<ListeningSocket<B, F>> for OwnedFd {
    fn from(listener: ListeningSocket<B, F>) -> Self {
        let mut inner = listener.inner;
        let socket = inner.take_socket();
        if inner.gatekeeper.owns_guard() || inner.state.offload == Offload::Filter {
            // The new owner may join other groups and use no filter. We attached the program ourselves, so removing it does not
            // fail.
            let _ = socket.detach();
        }
        socket.into()
    }
}

/// Takes over a bound UDP socket with its memberships, for example from a supervisor that opened it.
///
/// A socket that is bound to an interface (`SO_BINDTODEVICE`), as that of a [pinned](crate::Bind::Group) listener, stays bound. The
/// kernel allows it to join on another interface, but no packets arrive from there. `SO_REUSEPORT` stays as it is.
///
/// The listener checks each packet, as one with [`answers`](crate::ListenOptions::answers): also what was queued before, which may be
/// of groups that other sockets joined. Of a socket on the IPv4 wildcard address, queued packets are refused, unless `IP_PKTINFO` was
/// set before: the kernel does not know where they came in.
///
/// The descriptor may be a second one of another listener's socket. Then both share its memberships and its guard.
///
/// Whether a [sender](ListeningSocket::sender) uses the same socket is not known here. So if this listener is dropped before that sender,
/// it does not stop receiving: the socket stays open and joined, and packets queue up in it, until the sender is dropped, too.
///
/// # Errors
/// [`ErrorKind::NotUdp`]. [`ErrorKind::FamilyMismatch`] for an IPv6 socket
/// that takes IPv4 packets, too.
impl TryFrom<OwnedFd> for Receiver {
    type Error = Error;

    fn try_from(fd: OwnedFd) -> Result<Self> {
        Ok(Self { inner: adopt(fd)?, buffer: () })
    }
}

/// Takes over a bound UDP socket with its memberships, as for a [`Receiver`].
impl<const MTU: usize> TryFrom<OwnedFd> for Listener<MTU> {
    type Error = Error;

    fn try_from(fd: OwnedFd) -> Result<Self> {
        Ok(Self { inner: adopt(fd)?, buffer: Own::new() })
    }
}

fn adopt(fd: OwnedFd) -> Result<Inner<Always>> {
    let (socket, address) = Socket::adopt(fd)?;
    // A listener that was dropped before its sender has stopped this socket, of which somebody has kept a descriptor.
    socket.admit_again();
    let family = family_of(&address);
    if family == Family::V6 && socket.takes_ipv4(&address) {
        return Err(dual_stack());
    }
    // The listener checks each packet: what was queued before may be of any group, and another program may have bound a socket to the
    // same address with SO_REUSEPORT.
    let mut gatekeeper = Inner::gatekeeper(&socket, family, true, Wants::Payload, Asks::default())?;
    if socket.wants_errors(family) {
        gatekeeper.reports_wanted(Inner::recv_checked);
    }
    let has_joined = address.is_ipv4() && address.ip().is_multicast() && socket.is_member_somewhere(address.ip());
    let admits = if has_joined { Admits::JoinedAndQueued } else { Admits::Joined };
    let mut inner = Inner::new(socket, Always, gatekeeper, State::new(usize::MAX, 0, admits), Mode::Plain);
    inner.adopt_guard(family);
    Ok(inner)
}

#[cold]
const fn dual_stack() -> Error {
    Error::custom(
        ErrorKind::FamilyMismatch,
        "open a received descriptor: this IPv6 socket takes IPv4 packets, too, and their groups cannot be joined: set IPV6_V6ONLY before \
         it is bound (systemd: BindIPv6Only=ipv6-only), and use one socket per family",
    )
}

impl<F: Filter> Inner<F> {
    pub(crate) const fn socket(&self) -> &Socket {
        &self.socket
    }

    /// The interface that it is pinned to, and stays so.
    pub(crate) fn only_interface(&self) -> Option<NonZeroU32> {
        match self.state.admits {
            Admits::JoinedPinned => None,
            _ => self.socket.bound_interface(),
        }
    }

    /// Makes the socket fit to send: packets of a sender may leave on any interface, and reports of the network may come, also if no sender
    /// can be made.
    pub(crate) fn prepare_to_send(&mut self) -> Result<()> {
        self.gatekeeper.reports_wanted(Self::recv_checked);
        if self.state.admits == Admits::JoinedPinned { self.end_pin() } else { Ok(()) }
    }

    /// A sender uses a second descriptor of the socket. From now on dropping the listener stops receiving.
    pub(crate) const fn share_to_send(&mut self) {
        self.mode = Mode::Sends;
    }
}

raw_fd!([B, F] ListeningSocket<B, F>);
