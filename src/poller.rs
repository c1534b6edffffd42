//! Waiting: a [`Poller`] on epoll without callbacks. It returns events; the caller routes them by [`Token`].

mod event;
mod gathering;
mod spinning;
mod time;
mod waker;

use core::time::Duration;

use rustix::event::epoll;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};

pub use event::{Event, Events, Interest, Iter, Token};
pub use gathering::Gathering;
pub use spinning::Spinning;
pub use waker::Waker;

use crate::error::{Errno, Error, ErrorKind, Object, Operation, Result};
use crate::sys::{self, Fd, raw_fd};

/// Waits for many file descriptors at once (`epoll(7)`).
///
/// ```no_run
/// # use multicast::{Events, Group, Interest, Listener, Membership, Poller, Received, Token};
/// let poller = Poller::new()?;
/// let mut listener = Listener::bind(Membership::any(Group::DEFAULT))?;
/// poller.register(&listener, Token(7), Interest::READABLE)?;
///
/// let mut events = Events::<16>::new();
/// loop {
///     for event in poller.poll(&mut events, None)? {
///         if event.token() == Token(7) {
///             loop {
///                 match listener.recv()? {
///                     Received::Packet(packet) => println!("{:?}", packet.payload()),
///                     Received::Paused => continue,
///                     Received::Empty => break,
///                 }
///             }
///         }
///     }
/// }
/// # Ok::<(), multicast::Error>(())
/// ```
///
/// [`spin`](Self::spin) and [`gather`](Self::gather) wait in other ways: for less delay, or with less CPU time.
///
/// A poller is a file descriptor itself, readable while something that it waits for is ready. So it can be registered with
/// another poller, or with any runtime.
#[derive(Debug)]
pub struct Poller {
    epoll: Fd,
    /// An eventfd, registered edge-triggered: each wake is an edge, so it need not be read. Its count cannot overflow in
    /// practice.
    waker: Fd,
}

impl Poller {
    /// Creates a poller that waits only for its own waker (`epoll_create1(2)`, `eventfd(2)`; both close-on-exec).
    ///
    /// # Errors
    /// [`ErrorKind::LimitReached`] if the process has too many open descriptors.
    #[doc(alias = "epoll_create1")]
    pub fn new() -> Result<Self> {
        let failed = |errno| Error::system(Operation::Open, Object::Named("a poller"), errno);
        let poller = Self { epoll: sys::epoll_create().map_err(failed)?, waker: sys::eventfd().map_err(failed)? };
        epoll::add(
            &poller.epoll,
            &poller.waker,
            epoll::EventData::new_u64(event::WAKER),
            epoll::EventFlags::IN | epoll::EventFlags::ET,
        )
        .map_err(|errno| failed(errno.into()))?;
        Ok(poller)
    }

    /// Registers `source` (`epoll_ctl(2)`, `EPOLL_CTL_ADD`). Its events carry `token`.
    ///
    /// Unregister it before you close it: as long as another descriptor of the same open file exists, its events keep coming.
    ///
    /// # Errors
    /// [`ErrorKind::AlreadyRegistered`]; [`ErrorKind::NotPollable`] for regular files and directories;
    /// [`ErrorKind::ReservedToken`] for `Token(u64::MAX)`; [`ErrorKind::LimitReached`].
    #[doc(alias = "epoll_ctl")]
    pub fn register(&self, source: &impl AsFd, token: Token, interest: Interest) -> Result<()> {
        let data = data(token, Operation::Register)?;
        ctl(Operation::Register, epoll::add(&self.epoll, source, data, interest.flags()))
    }

    /// Changes the token and the interest of `source`, and arms it again if it was one-shot (`epoll_ctl(2)`, `EPOLL_CTL_MOD`).
    ///
    /// # Errors
    /// [`ErrorKind::NotRegistered`]; [`ErrorKind::ReservedToken`].
    pub fn reregister(&self, source: &impl AsFd, token: Token, interest: Interest) -> Result<()> {
        let data = data(token, Operation::Reregister)?;
        ctl(Operation::Reregister, epoll::modify(&self.epoll, source, data, interest.flags()))
    }

    /// Stops waiting for `source` (`epoll_ctl(2)`, `EPOLL_CTL_DEL`).
    ///
    /// An event that the last poll already returned is still delivered, with its token: if you reuse tokens, be ready for one
    /// late event.
    ///
    /// # Errors
    /// [`ErrorKind::NotRegistered`].
    pub fn unregister(&self, source: &impl AsFd) -> Result<()> {
        ctl(Operation::Unregister, epoll::delete(&self.epoll, source))
    }

    /// Waits until something is ready, for at most `timeout`, and returns the events (`epoll_wait(2)`).
    ///
    /// `None` waits without a limit, [`Duration::ZERO`] does not wait. The timeout is exact to the microsecond, not rounded to
    /// milliseconds. The call may return without any event: at the timeout, after a [`Waker`] woke it ([`Events::woken`]), or
    /// when a signal interrupted it.
    ///
    /// If more than `N` descriptors are ready, the next call returns the others first. The events borrow only `events`, so the
    /// body of the loop may register and unregister.
    ///
    /// # Errors
    /// What the kernel reports; none is known.
    #[doc(alias = "epoll_wait")]
    pub fn poll<'e, const N: usize>(
        &self,
        events: &'e mut Events<N>,
        timeout: impl Into<Option<Duration>>,
    ) -> Result<Iter<'e>> {
        events.clear();
        let waited = self.wait(events, timeout.into());
        reported(events, waited)
    }

    fn wait<const N: usize>(&self, events: &mut Events<N>, timeout: Option<Duration>) -> core::result::Result<(), Errno> {
        let milliseconds = match timeout {
            None => -1,
            Some(timeout) => match whole_milliseconds(timeout) {
                Some(milliseconds) => milliseconds,
                // epoll_wait counts in milliseconds, and epoll_pwait2 is missing before Linux 5.11. So ppoll waits on the epoll
                // descriptor itself.
                None => {
                    if !sys::wait_readable(&self.epoll, timeout)? {
                        return Ok(());
                    }
                    0
                }
            },
        };
        events.fill(|list| sys::epoll_wait(&self.epoll, list, milliseconds))
    }

    /// Creates a handle that wakes this poller from any thread. After the poller is dropped, it has no effect.
    ///
    /// # Errors
    /// [`ErrorKind::LimitReached`] if the process has too many open descriptors.
    pub fn waker(&self) -> Result<Waker> {
        Waker::new(&self.waker)
    }
}

impl AsFd for Poller {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }
}

/// Gives the epoll descriptor away, and all that is registered there with it. From then on a [`Waker`] has no effect.
impl From<Poller> for OwnedFd {
    fn from(poller: Poller) -> Self {
        poller.epoll.into()
    }
}

raw_fd!(Poller);

/// The events of a poll. One that a signal interrupted has none.
#[inline(always)]
fn reported<const N: usize>(events: &Events<N>, waited: core::result::Result<(), Errno>) -> Result<Iter<'_>> {
    match waited {
        Ok(()) | Err(Errno::INTERRUPTED) => Ok(events.iter()),
        Err(errno) => Err(Error::system(Operation::Poll, Object::Nothing, errno)),
    }
}

fn data(token: Token, operation: Operation) -> Result<epoll::EventData> {
    if token.0 == event::WAKER {
        return Err(Error::new(operation, Object::Named("a file descriptor"), ErrorKind::ReservedToken));
    }
    Ok(epoll::EventData::new_u64(token.0))
}

fn ctl(operation: Operation, result: rustix::io::Result<()>) -> Result<()> {
    match result {
        Ok(()) => Ok(()),
        Err(errno) => Err(Error::system(operation, Object::Named("a file descriptor"), errno.into())),
    }
}

/// The timeout as `epoll_wait` takes it; `None` if it is not in whole milliseconds, or more than an `int` holds.
fn whole_milliseconds(timeout: Duration) -> Option<i32> {
    let (milliseconds, nanoseconds) = (timeout.subsec_millis(), timeout.subsec_nanos());
    if milliseconds.wrapping_mul(1_000_000) != nanoseconds {
        return None;
    }
    let seconds = i32::try_from(timeout.as_secs()).ok()?;
    seconds.checked_mul(1000)?.checked_add_unsigned(milliseconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn poller_and_events_are_small() {
        assert!(size_of::<Poller>() <= 16, "{}", size_of::<Poller>());
        assert!(size_of::<Events<16>>() <= 272, "{}", size_of::<Events<16>>());
    }

    #[test]
    fn only_whole_milliseconds_go_to_epoll() {
        assert!(whole_milliseconds(Duration::ZERO).is_some());
        assert!(whole_milliseconds(Duration::from_millis(1500)).is_some());
        assert!(whole_milliseconds(Duration::from_micros(1500)).is_none());
        assert!(whole_milliseconds(Duration::MAX).is_none());
        assert!(whole_milliseconds(Duration::from_millis(1 << 31)).is_none());
    }
}
