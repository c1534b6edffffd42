//! Waking a poller from another thread.

use crate::error::{Error, Object, Operation, Result};
use crate::sys::{self, Fd};

/// Wakes a [`Poller`](crate::Poller) from any thread (`eventfd(2)`).
#[derive(Debug)]
pub struct Waker {
    eventfd: Fd,
}

impl Waker {
    pub(super) fn new(eventfd: &Fd) -> Result<Self> {
        match sys::duplicate(eventfd) {
            Ok(eventfd) => Ok(Self { eventfd }),
            Err(errno) => Err(Error::system(Operation::Open, Object::Named("a waker"), errno)),
        }
    }

    /// Makes the current poll, or else the next one, return at once with [`Events::woken`](crate::Events::woken).
    /// Several wakes before that poll count as one. If several threads wait in one poller, one of them wakes up.
    ///
    /// # Errors
    /// What the kernel reports; none is known.
    pub fn wake(&self) -> Result<()> {
        match rustix::io::write(&self.eventfd, &1_u64.to_ne_bytes()) {
            // The count is at its maximum, after 2^64 wakes. The poller was woken by then.
            Ok(_) | Err(rustix::io::Errno::WOULDBLOCK) => Ok(()),
            Err(errno) => Err(Error::system(Operation::Wake, Object::Nothing, errno.into())),
        }
    }

    /// Creates a second handle to the same poller.
    ///
    /// # Errors
    /// [`ErrorKind::LimitReached`](crate::ErrorKind::LimitReached) if the process has too many open descriptors.
    pub fn try_clone(&self) -> Result<Self> {
        Self::new(&self.eventfd)
    }
}
