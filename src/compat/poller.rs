//! The poller of the documented API, and the default one of each thread.

use core::cell::OnceCell;
use core::fmt;
use core::time::Duration;
use std::rc::Rc;
use std::sync::Arc;
use std::thread_local;

use super::dispatch::{Shared, gone};
use super::handler::{Flags, Handle, Handler};
use super::stop::Stopper;
use super::turn;
use super::watch::{self, Keep, Keeps};
use crate::{Error, ErrorKind, Membership, Result};

/// Owns [handlers](Handler), waits for their descriptors, and calls them (`epoll(7)`).
///
/// Clones are the same poller. It stays in its thread, and with its last clone it drops its handlers. A handler that holds a clone
/// of its own poller keeps both alive until it is unregistered.
///
/// ```no_run
/// use multicast::compat::{ListenOptions, MulticastListener, Poller};
/// use std::{net::SocketAddr, ops::ControlFlow, time::Duration};
///
/// let poller = Poller::new()?;
/// let print = |packet: &[u8], source: SocketAddr| {
///     println!("{source}: {packet:?}");
///     ControlFlow::Continue(())
/// };
/// MulticastListener::new(print, ListenOptions::new().poller(&poller))?;
/// poller.run(None, Duration::ZERO)?;
/// # Ok::<(), multicast::Error>(())
/// ```
#[derive(Clone)]
pub struct Poller {
    shared: Rc<Shared>,
}

impl Poller {
    /// A poller without handlers.
    ///
    /// # Errors
    /// [`ErrorKind::LimitReached`] where the process has too many descriptors open.
    pub fn new() -> Result<Self> {
        Ok(Self { shared: Rc::new(Shared::new()?) })
    }

    /// Takes over a handler, and calls it from now on when what it waits for happens. `flags` add to its own
    /// [`interest`](Handler::interest).
    ///
    /// # Errors
    /// [`ErrorKind::AlreadyRegistered`] where another handler of this poller has the same descriptor;
    /// [`ErrorKind::NotPollable`] for regular files and folders; [`ErrorKind::LimitReached`]. The handler is dropped.
    pub fn register<T: Handler>(&self, handler: T, flags: Flags) -> Result<Handle<T>> {
        self.shared.register(handler, flags, None)
    }

    /// The same for a handler that is a member of groups: its memberships are kept while interfaces come and go, where they have to be.
    pub(super) fn register_member<T: Keeps>(&self, handler: T, flags: Flags, membership: &Membership) -> Result<Handle<T>> {
        let keep: Keep = watch::keep::<T>;
        self.shared.register(handler, flags, watch::is_needed(membership).then_some(keep))
    }

    /// Gets ready to keep a membership, before it is joined.
    pub(super) fn watch(&self, membership: &Membership) -> Result<()> {
        if watch::is_needed(membership) { self.shared.watch() } else { Ok(()) }
    }

    /// Gives a handler back. Events that it has not been told of are dropped.
    ///
    /// `None` where it is running right now, as when it unregisters itself: it is dropped when its call returns. `None`, too, where
    /// it has left already: a listener that breaks in time is no error to who meant to end it.
    ///
    /// # Errors
    /// [`ErrorKind::NotRegistered`] for a handle of another poller.
    pub fn unregister<T: Handler>(&self, handle: &Handle<T>) -> Result<Option<T>> {
        self.check_own(handle)?;
        Ok(self.shared.unregister(handle.key()))
    }

    /// Waits for a handler again that was registered with [`Flags::ONESHOT`]: from now on, or from the end of its call where it is
    /// running. Others are waited for anyway; on one that has left it has no effect.
    ///
    /// # Errors
    /// [`ErrorKind::NotRegistered`] for a handle of another poller, and what [`register`](Self::register) says of its descriptor: then
    /// it was removed and dropped.
    pub fn rearm<T: Handler>(&self, handle: &Handle<T>) -> Result<()> {
        self.check_own(handle)?;
        self.shared.rearm(handle.key())
    }

    fn check_own<T: Handler>(&self, handle: &Handle<T>) -> Result<()> {
        if core::ptr::eq(handle.poller().as_ptr(), Rc::as_ptr(&self.shared)) {
            return Ok(());
        }
        Err(Error::custom(ErrorKind::NotRegistered, "use a handle: its handler is registered with another poller"))
    }

    /// Waits until something happens, for `timeout` at most, calls the handlers that it concerns, and says how many it called.
    ///
    /// [`Duration::ZERO`] does not wait, `None` waits without end. It returns 0 at the time-out, where a signal interrupted it, and
    /// where a [`Stopper`] did. Up to 64 handlers are called, each once; the others at the next poll.
    ///
    /// A handler may poll, too: then the others are served meanwhile, and those that are running are not.
    ///
    /// # Errors
    /// The first error of a handler, at once. That handler is removed and dropped; what it keeps from the others comes at the
    /// next poll.
    pub fn poll(&self, timeout: impl Into<Option<Duration>>) -> Result<usize> {
        self.shared.poll(timeout.into())
    }

    /// Polls, each time for `timeout` at most, and sleeps for `interval` between polls, until [`polling`](Self::polling) is false or
    /// nothing is left registered that could be called. (The document calls it `loop`, which is a keyword in Rust.)
    ///
    /// `run(None, Duration::ZERO)` is what most programs want. The document's defaults, zero and zero, poll without a pause.
    ///
    /// It ends by [`stop`](Self::stop) or a [`Stopper`], also by one that came before it. Where loops are nested all of them end.
    ///
    /// # Errors
    /// As [`poll`](Self::poll), at once. It may be called again.
    pub fn run(&self, timeout: impl Into<Option<Duration>>, interval: Duration) -> Result<()> {
        self.shared.run(timeout.into(), interval)
    }

    /// Ends [`run`](Self::run) after the poll that it is in; where none runs, the next one ends at once. The listener that calls it
    /// gets no further packet in this poll: it stays in the kernel's buffer.
    pub fn stop(&self) {
        self.shared.stop.request();
        turn::end();
    }

    /// Whether [`run`](Self::run) is running, and nobody has stopped it.
    #[must_use]
    pub fn polling(&self) -> bool {
        self.shared.is_polling()
    }

    /// Something that stops it from any thread.
    ///
    /// # Errors
    /// [`ErrorKind::LimitReached`] where the process has too many descriptors open.
    pub fn stopper(&self) -> Result<Stopper> {
        Ok(Stopper::new(Arc::clone(&self.shared.stop), self.shared.core.waker()?))
    }
}

impl fmt::Debug for Poller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Poller").field("core", &self.shared.core).finish_non_exhaustive()
    }
}

/// The default poller of this thread, which the functions of this module use: the document's `_defaultPoller`. It is made when it is
/// first asked for. When its thread ends its handlers are dropped.
///
/// # Errors
/// As [`Poller::new`]; [`ErrorKind::InvalidInput`] while the thread ends and the poller is gone.
pub fn default_poller() -> Result<Poller> {
    DEFAULT.try_with(DefaultPoller::get).unwrap_or_else(|_| Err(gone()))
}

thread_local! {
    static DEFAULT: DefaultPoller = const { DefaultPoller(OnceCell::new()) };
}

struct DefaultPoller(OnceCell<Poller>);

impl DefaultPoller {
    fn get(&self) -> Result<Poller> {
        if let Some(poller) = self.0.get() {
            return Ok(poller.clone());
        }
        let made = Poller::new()?;
        Ok(self.0.get_or_init(|| made).clone())
    }
}

impl Drop for DefaultPoller {
    fn drop(&mut self) {
        // Handlers may hold clones of the poller, which would keep it and them from being dropped.
        if let Some(poller) = self.0.take() {
            poller.shared.close();
        }
    }
}
