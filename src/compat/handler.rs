//! Handlers, which a poller calls, and the flags that say what they wait for.

use core::fmt;
use core::ops::{BitOr, BitOrAssign, ControlFlow};
use std::time::Instant;

use crate::{AsFd, Change, Error, ErrorKind, Group, Interest, Result};

/// An object with a file descriptor that a [`Poller`](super::Poller) calls when something happens on it.
///
/// ```no_run
/// use std::net::UdpSocket;
/// use std::ops::ControlFlow;
/// use std::os::fd::{AsFd, BorrowedFd};
/// use multicast::compat::{Flags, Handler, register};
///
/// struct Echo(UdpSocket);
///
/// impl AsFd for Echo {
///     fn as_fd(&self) -> BorrowedFd<'_> {
///         self.0.as_fd()
///     }
/// }
///
/// impl Handler for Echo {
///     fn interest(&self) -> Flags {
///         Flags::READ
///     }
///
///     fn handle_read(&mut self) -> multicast::Result<ControlFlow<()>> {
///         let mut buffer = [0; 1500];
///         let (length, source) = self.0.recv_from(&mut buffer)?;
///         self.0.send_to(&buffer[..length], source)?;
///         Ok(ControlFlow::Continue(()))
///     }
/// }
///
/// let handle = register(Echo(UdpSocket::bind("127.0.0.1:0")?), Flags::NONE)?;
/// # Ok::<(), multicast::Error>(())
/// ```
///
/// After [`ControlFlow::Break`] or an error its poller removes and drops the handler, unless it
/// [stays after errors](Self::stays_after_error). A handler may call everything in this
/// module, and unregister itself; it gets no events while it runs.
///
/// The poller asks for its descriptor and its interest when it is registered and after each call, so both may change. The
/// descriptor should be non-blocking: there may be nothing to read after an event, as when two processes share a socket.
///
/// Every handler must say what it waits for:
///
/// ```compile_fail,E0046
/// # use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
/// # struct Writer(OwnedFd);
/// # impl AsFd for Writer {
/// #     fn as_fd(&self) -> BorrowedFd<'_> {
/// #         self.0.as_fd()
/// #     }
/// # }
/// impl multicast::compat::Handler for Writer {
///     // Not all trait items are implemented: `interest` is missing.
/// }
/// ```
pub trait Handler: AsFd + 'static {
    /// What it waits for, [`Flags::READ`] or [`Flags::WRITE`] or both. With [`Flags::NONE`] it is not called at all.
    fn interest(&self) -> Flags;

    /// Called if the handler waits to read, when something can be read (`EPOLLIN` or `EPOLLPRI`), and after errors and hang-ups.
    ///
    /// It is called again as long as there is something to read, so it must read.
    ///
    /// # Errors
    /// The handler's own error: it is removed, unless it [stays](Self::stays_after_error), and [`poll`](super::Poller::poll) or
    /// [`run`](super::Poller::run) returns the error. Without this method, a handler that waits to read ends with [`ErrorKind::InvalidInput`].
    fn handle_read(&mut self) -> Result<ControlFlow<()>> {
        Err(Error::custom(
            ErrorKind::InvalidInput,
            "call a handler: it waits to read and has no handle_read: write one, or take READ out of its interest and flags",
        ))
    }

    /// Called if the handler waits to write, when something can be written (`EPOLLOUT`), and after errors and hang-ups. If it
    /// also waits to read, [`handle_read`](Self::handle_read) is called first.
    ///
    /// # Errors
    /// As with [`handle_read`](Self::handle_read). Without this method, a handler that waits to write ends with
    /// [`ErrorKind::InvalidInput`].
    fn handle_write(&mut self) -> Result<ControlFlow<()>> {
        Err(Error::custom(
            ErrorKind::InvalidInput,
            "call a handler: it waits to write and has no handle_write: write one, or take WRITE out of its interest and flags",
        ))
    }

    /// Until when it waits for no events: for a sender that waits for a time, and not for its descriptor. The poller asks when it
    /// is registered and after each call. `None` means no pause.
    ///
    /// So does a time in the past, and it also makes a new edge: an [edge-triggered](Flags::EDGE) handler that returns one is called
    /// again if its descriptor is still ready. Return it if a call ends before it has read or written everything.
    fn paused_until(&self) -> Option<Instant> {
        None
    }

    /// Whether it stays registered after `handle_read` or `handle_write` returned an error. The poller asks after each error.
    ///
    /// The poller pauses a handler that stays: for 100 ms after the first error, and twice as long after each further one, up to a
    /// second. It returns the error once; the next one is returned if it is of another kind, or if a call succeeded meanwhile. If the
    /// handler itself returns a time from [`paused_until`](Self::paused_until), that holds instead, and each error is returned.
    fn stays_after_error(&self) -> bool {
        false
    }

    /// Whether it wants to know what changes about interfaces, addresses and routes. The poller asks when it is registered.
    fn follows(&self) -> bool {
        false
    }

    /// The group whose route it follows, if any. In place of [`Change::Route`] it then gets [`Change::RouteTo`], for which the poller asks
    /// the kernel once for all handlers of the group, unless the kernel cannot tell. A handler that failed and follows the change again
    /// later has a question of its own.
    fn route_to(&self) -> Option<Group> {
        None
    }

    /// Called with each change from then on, if it [`follows`](Self::follows), and perhaps with what exists already. If more than one
    /// route has changed, one call is made for all. What changes while it runs comes afterwards: as
    /// [`Change::Overrun`], if it is more than one change. Where the kernel lets nobody watch, as without `AF_NETLINK`, it is never called.
    ///
    /// # Errors
    /// It stays registered. Its poller returns the error once, and calls this method with the same change again: after 100 ms, and then
    /// after twice the time before, up to a second.
    fn follow(&mut self, change: &Change) -> Result<()> {
        let _ = change;
        Ok(())
    }
}

/// What a handler waits for, and how: [`Handler::interest`] returns it, and [`register`](super::register) adds to it.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
#[must_use]
pub struct Flags(u8);

impl Flags {
    /// Nothing, or nothing to add.
    pub const NONE: Self = Self(0);
    /// `handle_read` is called when something can be read (`EPOLLIN`, `EPOLLPRI`; `epoll_ctl(2)`).
    #[doc(alias = "EPOLLIN")]
    #[doc(alias = "EPOLLPRI")]
    pub const READ: Self = Self(1);
    /// `handle_write` is called when something can be written (`EPOLLOUT`).
    #[doc(alias = "EPOLLOUT")]
    pub const WRITE: Self = Self(2);
    /// One call when the descriptor becomes ready, and none while it stays ready (`EPOLLET`): read or write until the kernel
    /// refuses, or return a time in the past from [`paused_until`](Handler::paused_until).
    #[doc(alias = "EPOLLET")]
    pub const EDGE: Self = Self(4);
    /// One call, and then none until [`rearm`](super::Poller::rearm) (`EPOLLONESHOT`).
    #[doc(alias = "EPOLLONESHOT")]
    pub const ONESHOT: Self = Self(8);

    /// Whether all of `other` is in it.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    pub(super) const fn is_none(self) -> bool {
        self.0 == 0
    }

    /// The interest for the core's poller; `None` if there is nothing to wait for.
    ///
    /// Without [`EDGE`](Self::EDGE) it is one-shot, so that a running handler gets no events: see [`registry`](super::registry).
    pub(super) fn as_interest(self) -> Option<Interest> {
        let what = match (self.contains(Self::READ), self.contains(Self::WRITE)) {
            (true, true) => Interest::READABLE | Interest::WRITABLE,
            (true, false) => Interest::READABLE,
            (false, true) => Interest::WRITABLE,
            (false, false) => return None,
        };
        Some(if self.stays_armed() { what.edge() } else { what.oneshot() })
    }

    /// Whether the kernel continues to report events after the first.
    pub(super) const fn stays_armed(self) -> bool {
        self.contains(Self::EDGE) && !self.contains(Self::ONESHOT)
    }
}

impl BitOr for Flags {
    type Output = Self;

    /// Both.
    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl BitOrAssign for Flags {
    fn bitor_assign(&mut self, other: Self) {
        *self = *self | other;
    }
}

impl fmt::Debug for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = [(Self::READ, "READ"), (Self::WRITE, "WRITE"), (Self::EDGE, "EDGE"), (Self::ONESHOT, "ONESHOT")];
        f.write_str("Flags(")?;
        let mut separator = "";
        for (_, name) in names.iter().filter(|(flag, _)| self.contains(*flag)) {
            write!(f, "{separator}{name}")?;
            separator = " | ";
        }
        f.write_str(")")
    }
}
