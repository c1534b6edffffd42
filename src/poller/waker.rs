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

    /// Makes the poll that is waiting, or else the next one, return at once with [`Events::woken`](crate::Events::woken).
    /// Several wakes before that poll are one. Where several threads wait in one poller, one of them wakes.
    ///
    /// # Errors
    /// What the kernel reports: nothing, as far as is known.
    pub fn wake(&self) -> Result<()> {
        match rustix::io::write(&self.eventfd, &1_u64.to_ne_bytes()) {
            // Its count is as high as it goes, after 2^64 wakes: the poller has been woken often enough.
            Ok(_) | Err(rustix::io::Errno::WOULDBLOCK) => Ok(()),
            Err(errno) => Err(Error::system(Operation::Wake, Object::Nothing, errno.into())),
        }
    }

    /// A second handle to the same poller.
    ///
    /// # Errors
    /// [`ErrorKind::LimitReached`](crate::ErrorKind::LimitReached) where the process has too many descriptors open.
    pub fn try_clone(&self) -> Result<Self> {
        Self::new(&self.eventfd)
    }
}
