//! A listener as a file descriptor: lent, given away, and made of one.

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};

use super::bind::Place;
use super::gatekeeper::Wants;
use super::receiving::{Inner, Setup};
use super::socket::{Listener, ListeningSocket, Own, Receiver};
use crate::error::{Error, Result};
use crate::filter::Always;
use crate::group::Group;
use crate::socket::{Socket, family_of, raw_fd};

impl<B, F> AsFd for ListeningSocket<B, F> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inner.socket.as_fd()
    }
}

/// Gives the socket away: bound, joined, non-blocking, and without a program in the kernel.
impl<B, F> From<ListeningSocket<B, F>> for OwnedFd {
    fn from(listener: ListeningSocket<B, F>) -> Self {
        let Inner { socket, gatekeeper, setup, .. } = listener.inner;
        if gatekeeper.has_guard() || setup.kernel_filters {
            // Its new owner may join other groups, and want other packets. The program is ours, so nothing can keep it from being
            // removed.
            let _ = socket.detach();
        }
        socket.into()
    }
}

/// Takes over a bound UDP socket, with the memberships that it has: from a supervisor that opened it, say.
///
/// If it is bound to an interface (`SO_BINDTODEVICE`), it stays so: joining elsewhere is no error, since the kernel allows it, but
/// brings nothing.
///
/// # Errors
/// [`ErrorKind::NotUdp`](crate::ErrorKind::NotUdp).
impl TryFrom<OwnedFd> for Receiver {
    type Error = Error;

    fn try_from(fd: OwnedFd) -> Result<Self> {
        Ok(Self { inner: adopt(fd)?, buffer: () })
    }
}

/// Takes over a bound UDP socket, as a [`Receiver`] does.
impl<const MTU: usize> TryFrom<OwnedFd> for Listener<MTU> {
    type Error = Error;

    fn try_from(fd: OwnedFd) -> Result<Self> {
        Ok(Self { inner: adopt(fd)?, buffer: Own::new() })
    }
}

fn adopt(fd: OwnedFd) -> Result<Inner<Always>> {
    let (socket, address, sharing) = Socket::adopt(fd)?;
    let place = Place { address, group: Group::try_from(address).ok(), membership: None, one_interface: false };
    let family = family_of(&address);
    let mut gatekeeper = Inner::gatekeeper(&socket, family, place.needs_guard(), Wants::Payload)?;
    Inner::guard_against(sharing, &socket, family, &mut gatekeeper)?;
    let mut inner = Inner::new(socket, Always, gatekeeper, Setup::new(usize::MAX, 0, false));
    // Another descriptor of the same socket may be a listener's: then the guard is shared.
    inner.adopt_guard(family);
    Ok(inner)
}

raw_fd!([B, F] ListeningSocket<B, F>);
