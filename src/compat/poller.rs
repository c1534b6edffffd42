//! The poller that owns and calls handlers, and the default one of each thread.

use core::cell::OnceCell;
use core::fmt;
use core::time::Duration;
use std::rc::Rc;
use std::sync::Arc;
use std::thread_local;

use super::dispatch::{Shared, gone};
use super::handle::Handle;
use super::handler::{Flags, Handler};
use super::stop::Stopper;
use crate::{Error, ErrorKind, Result};

/// Owns [handlers](Handler), waits for their descriptors, and calls them (`epoll(7)`).
///
/// Clones are the same poller. It stays in its thread. When the last clone is dropped, so are its handlers. A handler that holds
/// a clone of its own poller keeps both alive until it is unregistered.
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
    pub(super) shared: Rc<Shared>,
}

impl Poller {
    /// A poller without handlers.
    ///
    /// # Errors
    /// [`ErrorKind::LimitReached`] if the process has too many open descriptors.
    pub fn new() -> Result<Self> {
        Ok(Self { shared: Rc::new(Shared::new()?) })
    }

    /// Registers a handler: the poller owns it, and calls it when something happens that it waits for. `flags` are added to its
    /// own [`interest`](Handler::interest).
    ///
    /// # Errors
    /// [`ErrorKind::AlreadyRegistered`] if another handler of this poller has the same descriptor; [`ErrorKind::NotPollable`] for
    /// regular files and directories; [`ErrorKind::LimitReached`]. The handler is dropped.
    pub fn register<T: Handler>(&self, handler: T, flags: Flags) -> Result<Handle<T>> {
        self.shared.check_open()?;
        if handler.follows() {
            self.shared.watch_links_if_allowed()?;
        }
        self.shared.registry.register(handler, flags).map(|slot| Handle::new(&self.shared, &slot))
    }

    /// Removes a handler, and returns it. Events that were not reported to it yet are dropped.
    ///
    /// Returns `None` if it is running right now, as when it unregisters itself: then it is dropped when its call returns. Also
    /// `None` if it is not registered any more: unregistering a finished handler is not an error.
    ///
    /// # Errors
    /// [`ErrorKind::NotRegistered`] for a handle of another poller.
    pub fn unregister<T: Handler>(&self, handle: &Handle<T>) -> Result<Option<T>> {
        self.check_own(handle)?;
        Ok(handle.slot().and_then(|slot| self.shared.registry.unregister(&slot)))
    }

    /// Arms a handler again that was registered with [`Flags::ONESHOT`]: now, or at the end of its call if it is running. It has
    /// no effect on other handlers, and on one that is not registered any more.
    ///
    /// # Errors
    /// [`ErrorKind::NotRegistered`] for a handle of another poller, and as [`Handle::with`].
    pub fn rearm<T: Handler>(&self, handle: &Handle<T>) -> Result<()> {
        self.check_own(handle)?;
        handle.slot().map_or(Ok(()), |slot| self.shared.registry.rearm(&slot))
    }

    fn check_own<T: Handler>(&self, handle: &Handle<T>) -> Result<()> {
        if handle.is_of(&self.shared) {
            return Ok(());
        }
        Err(Error::custom(ErrorKind::NotRegistered, "use a handle: its handler is registered with another poller"))
    }

    /// Waits until something happens, for `timeout` at most, calls the handlers that wait for it, and returns how many it called.
    ///
    /// [`Duration::ZERO`] does not wait, `None` waits without limit. It returns 0 after the timeout, and when a signal or a
    /// [`Stopper`] interrupted it. It calls up to 64 handlers, each once; the next poll calls the others.
    ///
    /// A handler may poll, too: this calls the other handlers, and none that is running.
    ///
    /// # Errors
    /// The first error of a handler, at once. A handler that [stays](Handler::stays_after_error), as listeners and multicasters do, is
    /// tried again later, and further errors of the same kind are not returned until it has succeeded. Any other is removed and
    /// dropped. The next poll calls the handlers that were not called because of the error.
    pub fn poll(&self, timeout: impl Into<Option<Duration>>) -> Result<usize> {
        self.shared.poll(timeout.into())
    }

    /// Polls, each time for `timeout` at most, and sleeps for `interval` between polls, until [`polling`](Self::polling) is false
    /// or no handler is left that could be called. (In Python it is called `loop`, which is a keyword in Rust.)
    ///
    /// Most programs want `run(None, Duration::ZERO)`. With zero and zero it polls without a pause.
    ///
    /// [`stop`](Self::stop) or a [`Stopper`] ends it, also if it was called before. If loops are nested, all of them end.
    ///
    /// # Errors
    /// As [`poll`](Self::poll), at once. It may be called again.
    pub fn run(&self, timeout: impl Into<Option<Duration>>, interval: Duration) -> Result<()> {
        self.shared.run(timeout.into(), interval)
    }

    /// Ends [`run`](Self::run) after the current poll. If none is running, the next one ends at once. The listener that calls it
    /// gets no further packet in this poll: the packets stay in the kernel's buffer.
    pub fn stop(&self) {
        self.shared.stop.request();
        self.shared.registry.turns.end();
    }

    /// Whether [`run`](Self::run) is running and was not stopped.
    #[must_use]
    pub fn polling(&self) -> bool {
        self.shared.is_polling()
    }

    /// A value that stops this poller from any thread.
    ///
    /// # Errors
    /// [`ErrorKind::LimitReached`] if the process has too many open descriptors.
    pub fn stopper(&self) -> Result<Stopper> {
        Ok(Stopper::new(Arc::clone(&self.shared.stop), self.shared.registry.core.waker()?))
    }
}

impl fmt::Debug for Poller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Poller").field("core", &self.shared.registry.core).finish_non_exhaustive()
    }
}

/// The default poller of this thread, which the functions of this module use. The first call creates it. When its thread ends its
/// handlers are dropped.
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
