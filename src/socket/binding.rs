//! How a socket is bound beside others on its port, and how it is pinned to an interface.
//!
//! | option at the bind | shares the port with |
//! |---|---|
//! | `SO_REUSEADDR` | sockets that have it, too |
//! | `SO_REUSEPORT` | sockets of the same user that have it, too |
//!
//! Sockets that are bound to the same address and interface with `SO_REUSEPORT` form a group, among which the kernel distributes
//! packets (`SO_REUSEPORT`, `socket(7)`). Since Linux 6.6 it also distributes some IPv4 multicast packets: those that arrive over a
//! real link and match only one socket. Another socket of the group may then receive a packet that it did not join, and the socket
//! that joined does not. A socket that is pinned to an interface after the bind leaves its group, and enters none of sockets that are
//! not pinned. So `SO_REUSEPORT` is on while a socket is pinned, and off while it is not. It stays on for a socket on an IPv6 group that was
//! pinned once: it receives no unicast, and the kernel gives its packets to all.

use core::num::NonZeroU32;

use linux_raw_sys::net as linux;

use rustix::fd::AsFd;

use super::{SOCKET, Socket};
use crate::address::Address;
use crate::error::{Errno, Error, Operation, Result};
use crate::group::{Group, Interface, Membership};
use crate::sys;

/// The index of `lo`, in every network namespace.
pub(crate) const LOOPBACK: NonZeroU32 = NonZeroU32::MIN;

type Bound = core::result::Result<(), Errno>;

impl Socket {
    /// `bind(2)`.
    pub(crate) fn bind(&self, address: &Address) -> Bound {
        sys::bind(&self.fd, address)
    }

    /// Pins to the interface of this index (`SO_BINDTOIFINDEX`, `socket(7)`), and checks it. From then on the socket receives only there.
    /// Errors name `interface`.
    pub(crate) fn pin_first(&self, group: Group, interface: Interface, index: NonZeroU32) -> Result<()> {
        let pinned = self.try_to_pin(index).and_then(|()| self.check_pin(index));
        match pinned {
            Ok(()) => Ok(()),
            Err(errno) => Err(Error::system(Operation::Bind, Membership::any(group).on(interface).object(), errno)),
        }
    }

    fn try_to_pin(&self, index: NonZeroU32) -> Bound {
        sys::setsockopt_int(&self.fd, SOCKET, linux::SO_BINDTOIFINDEX, index.get())
    }

    /// Pins to the interface of this index, and checks that the kernel did it: not all that offer the calls of Linux do. It is an
    /// error if it is pinned elsewhere: `ip vrf exec` pins sockets as soon as they are opened, and there they must stay.
    #[inline(never)]
    pub(crate) fn pin(&self, index: NonZeroU32) -> Bound {
        if self.pinned_to() == 0 {
            self.try_to_pin(index)?;
        }
        self.check_pin(index)
    }

    /// Checks that it is pinned to the interface of this index.
    // By this call, which programs that send contain anyway: with the other one tiny-mcast is 80 bytes larger.
    fn check_pin(&self, index: NonZeroU32) -> Bound {
        let pinned_to = sys::getsockopt_or(0, self.as_fd(), SOCKET, linux::SO_BINDTOIFINDEX);
        if pinned_to == index.get() { Ok(()) } else { Err(Errno::NOT_PERMITTED) }
    }

    /// Receives on all interfaces again, and stays bound to address and port.
    pub(crate) fn unpin(&self) -> Bound {
        sys::disconnect(&self.fd)?;
        if self.pinned_to() == 0 { Ok(()) } else { Err(Errno::NOT_PERMITTED) }
    }

    /// The index of the interface that it is pinned to, or 0.
    fn pinned_to(&self) -> u32 {
        sys::getsockopt_int(&self.fd, SOCKET, linux::SO_BINDTOIFINDEX).unwrap_or(0)
    }

    /// The interface that it is pinned to.
    pub(crate) fn bound_interface(&self) -> Option<NonZeroU32> {
        NonZeroU32::new(self.pinned_to())
    }

    /// Binds to an address that nobody sends to. Other sockets that share the port, by whichever option, can be bound before and after.
    pub(crate) fn bind_to_nobody(&self, address: &Address) -> Bound {
        self.bind_beside_all(address, None)?;
        self.share_with_reuse_port(1)
    }

    /// Binds beside all sockets that share the port. With `pinned`, it is pinned to that interface, and will be.
    #[inline(never)]
    fn bind_beside_all(&self, address: &Address, pinned: Option<NonZeroU32>) -> Bound {
        match self.bind(address) {
            Err(Errno::IN_USE) => self.bind_with_reuse_port(address, pinned)?,
            bound => bound?,
        }
        self.share_with_reuse_port(pinned.is_some().into())
    }

    /// Binds to a port that the kernel chooses. It chooses one that nobody has only as long as the socket shares with nobody, so it is
    /// shared afterwards.
    #[cold]
    #[inline(never)]
    pub(crate) fn bind_to_free_port(&self, address: &Address) -> Bound {
        let share = |on| sys::setsockopt_int(&self.fd, SOCKET, linux::SO_REUSEADDR, on);
        share(0)?;
        self.bind(address)?;
        share(1)
    }

    /// Binds to the address of a group, or to the wildcard address. With `pinned`, the socket is pinned to this interface. A link-local
    /// group needs a scope if it is not.
    #[inline(always)]
    pub(crate) fn bind_to(
        &self,
        address: &Address,
        needs_scope: bool,
        pinned: Option<NonZeroU32>,
        reuse_port: bool,
    ) -> Bound {
        if needs_scope && pinned.is_none() {
            return self.bind_with_scope(address, reuse_port);
        }
        if reuse_port { self.bind_beside_all(address, pinned) } else { self.bind(address) }
    }

    /// Binds to the address of a link-local group. The kernel does that only together with an interface, and pins the socket to it.
    #[inline(never)]
    fn bind_with_scope(&self, address: &Address, reuse_port: bool) -> Bound {
        let stays_on = self.bound_interface();
        let address = address.with_scope(stays_on.unwrap_or(LOOPBACK).get());
        if reuse_port {
            self.bind_beside_all(&address, None)?
        } else {
            self.bind(&address)?
        }
        if stays_on.is_none() { self.unpin() } else { Ok(()) }
    }

    /// Binds beside sockets that share the port by `SO_REUSEPORT` alone. It is pinned elsewhere than they are at that time, so the
    /// bind enters no group of theirs.
    #[cold]
    #[inline(never)]
    fn bind_with_reuse_port(&self, address: &Address, pinned: Option<NonZeroU32>) -> Bound {
        if pinned.is_some() {
            self.unpin()?;
        }
        let can_move = self.pin(LOOPBACK).is_ok();
        self.share_with_reuse_port(1)?;
        self.bind(address)?;
        if can_move {
            self.unpin()?;
            // A group with others on `lo` is left when it is pinned once more, also there. A socket that will not be pinned need not leave
            // it: on the wildcard address it has left when it was unpinned (since Linux 5.6), and of groups only those of IPv4 are
            // distributed.
            if let Some(index) = pinned {
                self.pin(index)?;
            }
        }
        Ok(())
    }

    /// Unpins a socket of IPv4. From then on, sockets that have `SO_REUSEPORT` and not `SO_REUSEADDR` cannot be bound beside it.
    pub(crate) fn unpin_and_stay_alone(&self) -> Bound {
        self.share_with_reuse_port(0)?;
        self.unpin()
    }

    fn share_with_reuse_port(&self, on: u32) -> Bound {
        sys::setsockopt_int(&self.fd, SOCKET, linux::SO_REUSEPORT, on)
    }
}
