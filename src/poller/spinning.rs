//! Asks without waiting for some time before it sleeps.

use core::time::Duration;

use super::time::{nanoseconds, now, rest};
use super::{Events, Iter, Poller, reported};
use crate::error::{Errno, Result};

impl Poller {
    /// Returns this poller with another way to wait: it asks the kernel again and again, for up to `budget`, before it sleeps (busy
    /// polling). A process that does not sleep need not be woken up: it gets its packet some microseconds after the packet came. In
    /// return it uses its processor fully while it spins.
    ///
    /// The setting belongs to the returned value. [`Poller::poll`] does not spin.
    ///
    /// ```no_run
    /// # use multicast::{Events, Group, Interest, Listener, Membership, Poller, Received, Token};
    /// # use core::time::Duration;
    /// # let mut listener = Listener::bind(Membership::any(Group::DEFAULT))?;
    /// let (poller, mut events) = (Poller::new()?, Events::<16>::new());
    /// poller.register(&listener, Token(7), Interest::READABLE)?;
    /// let spinning = poller.spin(Duration::from_micros(200));
    /// loop {
    ///     for _event in spinning.poll(&mut events, None)? {
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
    /// Choose a budget somewhat longer than the usual pause between two packets. The process needs a processor of its own: if others
    /// wait for the same one, spinning delays them, and perhaps the sender of the packet. [`Gathering`](crate::Gathering) does the
    /// opposite: it saves processor time, and packets wait.
    #[doc(alias = "busy_poll")]
    #[doc(alias = "SO_BUSY_POLL")]
    pub const fn spin(&self, budget: Duration) -> Spinning<'_> {
        Spinning { poller: self, budget }
    }
}

/// A [`Poller`] that spins before it sleeps: [`Poller::spin`].
#[derive(Clone, Copy, Debug)]
#[must_use = "it only spins in its own `poll`"]
pub struct Spinning<'p> {
    poller: &'p Poller,
    budget: Duration,
}

impl Spinning<'_> {
    /// As [`Poller::poll`], but asks without sleeping for up to the budget first.
    ///
    /// It returns at once when something is ready or a [`Waker`](crate::Waker) wakes it. The timeout includes the budget: with a
    /// timeout shorter than the budget it never sleeps, and [`Duration::ZERO`] asks once.
    ///
    /// A signal ends the call only while it sleeps. If a handler of signals sets a variable that you look at, let the handler wake the
    /// poller, too, or register a `signalfd(2)`.
    ///
    /// Where the clock cannot be read, as under a filter for system calls, it does not spin.
    ///
    /// # Errors
    /// As [`Poller::poll`].
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
        let budget = nanoseconds(timeout.map_or(self.budget, |timeout| self.budget.min(timeout)));
        let mut passed = 0;
        if let Some(start) = now() {
            for _ in 0..budget / SHORTEST_ROUND {
                self.poller.wait(events, Some(Duration::ZERO))?;
                if !events.is_empty() {
                    return Ok(());
                }
                let Some(time) = now() else { break };
                passed = time.saturating_sub(start);
                if passed >= budget {
                    break;
                }
            }
        }
        self.poller.wait(events, rest(timeout, passed))
    }
}

/// Less than two system calls take on any processor, in nanoseconds. So a clock that stands still does not make it endless.
const SHORTEST_ROUND: u64 = 32;
