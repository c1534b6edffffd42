//! A file descriptor that we own, without the panics of `OwnedFd` on targets without `std`.

use core::fmt;
use core::mem::ManuallyDrop;

use super::call::call;
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd};

/// A file descriptor that is closed when it is dropped.
///
/// It holds a `BorrowedFd`, since rustix takes one, and since creating one for each call would add its assertion to the program.
pub(crate) struct Fd {
    /// Open until `drop`: nothing else closes it. Borrowed for no longer than `self`.
    open: BorrowedFd<'static>,
}

/// Stands for a descriptor that was moved out. The kernel allows no descriptor of this number.
const NONE: i32 = i32::MAX;

impl Fd {
    /// # Safety
    /// `raw` is what a system call that creates a descriptor returned on success, and nothing else owns it.
    pub(super) unsafe fn own(raw: usize) -> Self {
        // Descriptors are numbers up to `c_int::MAX`; masking tells the compiler that it is never -1.
        let raw = (raw & i32::MAX as usize) as i32;
        // SAFETY: it is not -1, and stays open until we close it in `drop`.
        Self { open: unsafe { BorrowedFd::borrow_raw(raw) } }
    }

    /// Moves the descriptor out. What stays is only fit to be dropped.
    pub(crate) fn take(&mut self) -> Self {
        // SAFETY: nothing but `drop` uses it, where closing it does nothing.
        core::mem::replace(self, Self { open: unsafe { BorrowedFd::borrow_raw(NONE) } })
    }

    /// The descriptor as a system call's argument.
    #[inline]
    pub(super) fn word(&self) -> usize {
        self.raw() as usize
    }

    #[inline]
    pub(super) fn raw(&self) -> i32 {
        self.open.as_raw_fd()
    }
}

impl AsFd for Fd {
    #[inline]
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.open
    }
}

impl Drop for Fd {
    fn drop(&mut self) {
        // Not by rustix, which asserts that the descriptor was open. An error could not be handled: the descriptor is closed all the same.
        // SAFETY: the descriptor is ours, and nothing uses it after this; or it is NONE, which is never open.
        let _ = unsafe { call(linux_raw_sys::general::__NR_close, [self.word(), 0, 0, 0, 0, 0]) };
    }
}

impl From<OwnedFd> for Fd {
    fn from(fd: OwnedFd) -> Self {
        // SAFETY: the descriptor was owned, so it is open; now it is ours.
        unsafe { Self::own(fd.into_raw_fd().unsigned_abs() as usize) }
    }
}

impl From<Fd> for OwnedFd {
    fn from(fd: Fd) -> Self {
        // Masked as above, which removes the assertion of `OwnedFd`.
        let raw = ManuallyDrop::new(fd).raw() & i32::MAX;
        // SAFETY: it is open and ours, and `ManuallyDrop` prevents us from closing what the caller owns now.
        unsafe { Self::from_raw_fd(raw) }
    }
}

/// Gives a type the raw descriptor that `std` and runtimes ask for, beside its `AsFd` and its `OwnedFd::from`: with the feature
/// `std`. The generic parameters stand in front: `raw_fd!([const N: usize, F: Filter] Owner<N, F>)`.
macro_rules! raw_fd {
    ([$($parameters:tt)*] $owner:ty) => {
        #[cfg(feature = "std")]
        impl<$($parameters)*> std::os::fd::AsRawFd for $owner {
            fn as_raw_fd(&self) -> std::os::fd::RawFd {
                std::os::fd::AsRawFd::as_raw_fd(&rustix::fd::AsFd::as_fd(self))
            }
        }

        #[cfg(feature = "std")]
        impl<$($parameters)*> std::os::fd::IntoRawFd for $owner {
            fn into_raw_fd(self) -> std::os::fd::RawFd {
                std::os::fd::IntoRawFd::into_raw_fd(rustix::fd::OwnedFd::from(self))
            }
        }
    };
    ($owner:ty) => {
        raw_fd!([] $owner);
    };
}

pub(crate) use raw_fd;

impl fmt::Debug for Fd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.raw().fmt(f)
    }
}
