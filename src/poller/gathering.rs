//! Returns events at most once in an interval.

use core::time::Duration;

use super::time::{nanoseconds, now, rest};
use super::{Events, Iter, Poller, reported};
use crate::error::{Errno, Result};
use crate::sys;

impl Poller {
    /// Returns this poller with another way to wait: it reports events at most once in each `interval`, so that packets gather in the
    /// receive buffers meanwhile. A process that wakes up once for ten packets uses much less processor time than one that wakes
    /// up ten times.
    ///
    /// The setting belongs to the returned value: keep it, since a new one reports its first events at once. [`Poller::poll`] does not
    /// gather. A timeout that is shorter than the interval also ends it.
    ///
    /// ```no_run
    /// # use multicast::{Events, Group, Interest, Listener, Membership, Poller, Received, Token};
    /// # use core::time::Duration;
    /// # let mut listener = Listener::bind(Membership::any(Group::DEFAULT))?;
    /// let (poller, mut events) = (Poller::new()?, Events::<16>::new());
    /// poller.register(&listener, Token(7), Interest::READABLE)?;
    /// let mut gathering = poller.gather(Duration::from_millis(1));
    /// loop {
    ///     for _event in gathering.poll(&mut events, None)? {
    ///         loop {
    ///             match listener.recv()? {
    ///                 Received::Packet(packet) => println!("{:?}", packet.payload()),
    ///                 Received::Paused => continue,
    ///                 Received::Empty => break,
    ///             }
    ///         }
    ///     }
    /// }
    /// # #[allow(unreachable_code)]
    /// # Ok::<(), multicast::Error>(())
    /// ```
    ///
    /// What it costs:
    /// - **Latency**: an event is reported up to `interval` later, half of it on average. After a pause of `interval` the first event is
    ///   reported at once. This includes wakes by a [`Waker`](crate::Waker), timers, and whatever else is registered.
    /// - **Receive buffer**: it must hold what comes within `interval`, in addition to what comes while the process is busy
    ///   ([`ListenOptions::receive_buffer`](crate::ListenOptions::receive_buffer)).
    /// - **Room for events**: if more than `N` descriptors are ready, the others are reported one interval later. So choose `N` as
    ///   the number of descriptors that are busy at the same time.
    ///
    /// Read each listener until [`Received::Empty`](crate::Received::Empty): what you leave waits for an interval more.
    pub const fn gather(&self, interval: Duration) -> Gathering<'_> {
        Gathering { poller: self, interval, last: None }
    }
}

/// A [`Poller`] that reports events at most once in each interval: [`Poller::gather`].
#[derive(Debug)]
#[must_use = "it only gathers in its own `poll`"]
pub struct Gathering<'p> {
    poller: &'p Poller,
    interval: Duration,
    /// When it last reported events, in nanoseconds.
    last: Option<u64>,
}

impl Gathering<'_> {
    /// As [`Poller::poll`], but sleeps first until the interval since it last reported events is over.
    ///
    /// The timeout includes this sleep. If the timeout ends first, it reports what is ready then; so [`Duration::ZERO`] asks once,
    /// without waiting. A signal ends the sleep as it ends a poll: without events.
    ///
    /// Where the clock cannot be read, as under a filter for system calls, it does not gather.
    ///
    /// # Errors
    /// As [`Poller::poll`].
    pub fn poll<'e, const N: usize>(
        &mut self,
        events: &'e mut Events<N>,
        timeout: impl Into<Option<Duration>>,
    ) -> Result<Iter<'e>> {
        events.clear();
        let waited = self.wait(events, timeout.into());
        reported(events, waited)
    }

    fn wait<const N: usize>(
        &mut self,
        events: &mut Events<N>,
        timeout: Option<Duration>,
    ) -> core::result::Result<(), Errno> {
        let left = self.left();
        let left = timeout.map_or(left, |timeout| left.min(nanoseconds(timeout)));
        if left > 0 {
            sys::sleep(Duration::from_nanos(left))?;
        }
        self.poller.wait(events, rest(timeout, left))?;
        if !events.is_empty() {
            self.last = now();
        }
        Ok(())
    }

    /// What is left of the interval, in nanoseconds.
    fn left(&self) -> u64 {
        match (self.last, now()) {
            (Some(last), Some(now)) => nanoseconds(self.interval).saturating_sub(now.saturating_sub(last)),
            _ => 0,
        }
    }
}
