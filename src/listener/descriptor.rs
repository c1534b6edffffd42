//! Conversions between listeners and file descriptors.

use core::num::NonZeroU32;

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};

use super::bind::Place;
use super::gatekeeper::Wants;
use super::receiving::{Admits, Asks, Inner, Mode, Offload, State};
use super::socket::{Listener, ListeningSocket, Own, Receiver};
use crate::error::{Error, Result};
use crate::filter::{Always, Filter};
use crate::group::Group;
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
        if inner.gatekeeper.has_guard() || inner.state.offload == Offload::Filter {
            // The new owner may join other groups and use no filter. We attached the program ourselves, so removing it does not
            // fail.
            let _ = socket.detach();
        }
        socket.into()
    }
}

/// Takes over a bound UDP socket with its memberships, for example from a supervisor that opened it.
///
/// A socket that is bound to an interface (`SO_BINDTODEVICE`) stays bound. The kernel allows it to join on another interface, but
/// no packets arrive from there.
///
/// Whether a [sender](ListeningSocket::sender) uses the same socket is not known here. So if this listener is dropped before that sender,
/// it does not stop receiving: the socket stays open and joined, and packets queue up in it, until the sender is dropped, too.
///
/// # Errors
/// [`ErrorKind::NotUdp`](crate::ErrorKind::NotUdp).
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
    let (group, port) = (Group::try_from(address).ok(), address.port());
    let place = Place { address: address.ip(), port, group, membership: None, needs_pin: false };
    let family = family_of(&address);
    let mut gatekeeper = Inner::gatekeeper(&socket, family, place.needs_guard(), Wants::Payload, Asks::default())?;
    if socket.wants_errors(family) {
        gatekeeper.reports_wanted(Inner::recv_checked);
    }
    let shares = socket.has_reuse_port();
    let mut inner = Inner::new(socket, Always, gatekeeper, State::new(usize::MAX, 0, Admits::Joined), Mode::Plain);
    if shares {
        // The kernel may deliver packets that another socket with this option joined.
        inner.check_each(family)?;
    }
    // Another listener may hold a descriptor of the same socket. Then both share its guard.
    inner.adopt_guard(family);
    Ok(inner)
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

    /// Makes the socket fit to send: packets of a sender may leave on any interface.
    pub(crate) fn unpin_to_send(&mut self) -> Result<()> {
        if self.state.admits == Admits::JoinedPinned { self.end_pin() } else { Ok(()) }
    }

    /// A sender uses a second descriptor of the socket. From now on reports of the network may come, and dropping the listener stops
    /// receiving.
    pub(crate) fn share_to_send(&mut self) {
        self.mode = Mode::Sends;
        self.gatekeeper.reports_wanted(Self::recv_checked);
    }
}

raw_fd!([B, F] ListeningSocket<B, F>);
