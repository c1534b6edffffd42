//! What a poller waits for, and the events that it returns.

use core::fmt;
use core::ops::BitOr;

use linux_raw_sys::general::epoll_event;
use rustix::event::epoll;

use crate::error::Errno;

/// The token of the poller's own waker, as epoll carries it.
pub(super) const WAKER: u64 = u64::MAX;

/// Identifies the source of an event: any number except `u64::MAX`, which is reserved for the waker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(pub u64);

/// What to wait for on a file descriptor.
///
/// Default: level-triggered: each poll returns an event as long as the descriptor is ready. [`edge`](Self::edge) and
/// [`oneshot`](Self::oneshot) change that. Errors and hang-ups are always reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[must_use]
pub struct Interest(epoll::EventFlags);

impl Interest {
    /// Something can be read: `EPOLLIN` and `EPOLLPRI`.
    #[doc(alias = "EPOLLIN")]
    #[doc(alias = "EPOLLPRI")]
    pub const READABLE: Self = Self(epoll::EventFlags::IN.union(epoll::EventFlags::PRI));
    /// Something can be written: `EPOLLOUT`.
    #[doc(alias = "EPOLLOUT")]
    pub const WRITABLE: Self = Self(epoll::EventFlags::OUT);

    /// Edge-triggered (`EPOLLET`): one event when the descriptor becomes ready, and none while it stays ready. So read or write
    /// until the call would block ([`Received::Empty`](crate::Received::Empty)).
    #[doc(alias = "EPOLLET")]
    pub const fn edge(self) -> Self {
        Self(self.0.union(epoll::EventFlags::ET))
    }

    /// One event, then no more until [`Poller::reregister`](crate::Poller::reregister) (`EPOLLONESHOT`).
    #[doc(alias = "EPOLLONESHOT")]
    pub const fn oneshot(self) -> Self {
        Self(self.0.union(epoll::EventFlags::ONESHOT))
    }

    pub(super) const fn flags(self) -> epoll::EventFlags {
        self.0
    }
}

impl BitOr for Interest {
    type Output = Self;

    /// Waits for both.
    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// What epoll reports whatever the interest is, and whoever reads or writes must meet.
const FAILED: epoll::EventFlags = epoll::EventFlags::ERR.union(epoll::EventFlags::HUP);

/// A file descriptor is ready.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Event {
    token: Token,
    flags: epoll::EventFlags,
}

impl Event {
    /// The token with which it was registered.
    #[must_use]
    pub const fn token(&self) -> Token {
        self.token
    }

    /// A read does not block: something can be read (`EPOLLIN`, `EPOLLPRI`), or the read returns the [error](Self::is_error) or
    /// the end ([hang-up](Self::is_hang_up)).
    ///
    /// Errors and hang-ups count, so that a loop that only reads meets them. If it skipped them, the poller would report them
    /// again and again.
    #[must_use]
    pub const fn is_readable(&self) -> bool {
        self.flags.intersects(FAILED.union(epoll::EventFlags::IN).union(epoll::EventFlags::PRI))
    }

    /// A write does not block: something can be written (`EPOLLOUT`), or the write returns the [error](Self::is_error). Errors and
    /// hang-ups count, as for [`is_readable`](Self::is_readable).
    #[must_use]
    pub const fn is_writable(&self) -> bool {
        self.flags.intersects(FAILED.union(epoll::EventFlags::OUT))
    }

    /// An error is pending (`EPOLLERR`): the next read or write reports it. The event is also readable and writable.
    #[must_use]
    pub const fn is_error(&self) -> bool {
        self.flags.contains(epoll::EventFlags::ERR)
    }

    /// The other side was closed (`EPOLLHUP`), for example of a pipe; there may still be something to read. The event is also
    /// readable and writable.
    #[must_use]
    pub const fn is_hang_up(&self) -> bool {
        self.flags.contains(epoll::EventFlags::HUP)
    }
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Event").field("token", &self.token.0).field("flags", &self.flags).finish()
    }
}

/// A buffer for the events of one poll, at most `N`. `Events<16>` has at most 272 bytes.
pub struct Events<const N: usize> {
    list: [epoll_event; N],
    count: usize,
    woken: bool,
}

impl<const N: usize> Events<N> {
    const NONE: epoll_event = epoll_event { events: 0, data: WAKER };

    /// An empty buffer.
    #[must_use]
    pub const fn new() -> Self {
        const { assert!(N >= 1, "a poll needs room for at least one event") };
        Self { list: [Self::NONE; N], count: 0, woken: false }
    }

    /// The events of the last poll.
    #[must_use]
    pub fn iter(&self) -> Iter<'_> {
        Iter { list: self.list.get(..self.count).unwrap_or(&[]).iter() }
    }

    /// Whether a [`Waker`](crate::Waker) woke the last poll.
    #[must_use]
    pub const fn woken(&self) -> bool {
        self.woken
    }

    /// Whether the last poll reported anything, a wake included.
    pub(super) const fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub(super) const fn clear(&mut self) {
        self.count = 0;
        self.woken = false;
    }

    pub(super) fn fill(&mut self, wait: impl FnOnce(&mut [epoll_event]) -> Result<usize, Errno>) -> Result<(), Errno> {
        self.count = wait(&mut self.list)?.min(N);
        self.woken = self.list.iter().take(self.count).any(is_wake);
        Ok(())
    }
}

const fn is_wake(event: &epoll_event) -> bool {
    event.data == WAKER
}

impl<const N: usize> Default for Events<N> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const N: usize> fmt::Debug for Events<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events").field("woken", &self.woken).field("events", &self.iter()).finish()
    }
}

impl<'e, const N: usize> IntoIterator for &'e Events<N> {
    type Item = Event;
    type IntoIter = Iter<'e>;

    fn into_iter(self) -> Iter<'e> {
        self.iter()
    }
}

/// The events of a poll.
#[derive(Clone)]
pub struct Iter<'e> {
    list: core::slice::Iter<'e, epoll_event>,
}

impl Iterator for Iter<'_> {
    type Item = Event;

    fn next(&mut self) -> Option<Event> {
        let event = self.list.find(|event| !is_wake(event))?;
        Some(Event { token: Token(event.data), flags: epoll::EventFlags::from_bits_retain(event.events) })
    }
}

impl core::iter::FusedIterator for Iter<'_> {}

impl fmt::Debug for Iter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.clone()).finish()
    }
}
