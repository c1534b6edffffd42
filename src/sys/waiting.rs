//! The system calls that wait.

use core::time::Duration;

use linux_raw_sys::general::{self as number, __kernel_old_timespec, POLLIN, epoll_event, pollfd};

use super::call::call;
use super::fd::Fd;
use crate::error::Errno;

/// `epoll_wait(2)`: returns how many events were written to the beginning of `events`. -1 milliseconds waits without a limit.
///
/// Not with rustix's event type: it may hold a pointer, so it is neither `Send` nor `Sync`.
pub(crate) fn epoll_wait(fd: &Fd, events: &mut [epoll_event], milliseconds: i32) -> Result<usize, Errno> {
    let room = i32::try_from(events.len()).unwrap_or(i32::MAX);
    let arguments = [fd.word(), events.as_mut_ptr() as usize, room as usize, milliseconds as usize, 0, 0];
    // SAFETY: `events` points to at least `maxevents` structures that may be written, and any bytes are valid for one; the
    // kernel keeps no pointer. `sigmask` is null, so the signal mask does not change: the call is then the same as epoll_wait,
    // which newer processors lack.
    unsafe { call(number::__NR_epoll_pwait, arguments) }
}

/// `ppoll(2)`: waits until a descriptor can be read, for at most this time; returns whether it can. The time has nanoseconds.
///
/// It is the kernel's first call of this name, with two words for the time: which one libraries use on 32-bit processors differs
/// with their age.
pub(crate) fn wait_readable(fd: &Fd, time: Duration) -> Result<bool, Errno> {
    let mut descriptor = pollfd { fd: fd.raw(), events: POLLIN as _, revents: 0 };
    let mut left = timespec(time);
    let arguments = [&raw mut descriptor as usize, 1, &raw mut left as usize, 0, 0, 0];
    // SAFETY: `fds` points to one structure that may be written, `tmo_p` to a `timespec` of the words that this call has, in
    // which the kernel may write the remaining time; `sigmask` is null. Both outlive the call.
    unsafe { call(number::__NR_ppoll, arguments).map(|ready| ready > 0) }
}

/// `ppoll(2)` of no descriptor: sleeps for this time. A signal ends it with [`Errno::INTERRUPTED`].
pub(crate) fn sleep(time: Duration) -> Result<(), Errno> {
    let mut left = timespec(time);
    // SAFETY: `nfds` is 0, so `fds` is not read; `tmo_p` points to a `timespec` as in `wait_readable`; `sigmask` is null.
    unsafe { call(number::__NR_ppoll, [0, 0, &raw mut left as usize, 0, 0, 0]).map(drop) }
}

/// The time as `ppoll` takes it. One that the kernel's word cannot hold is as good as endless.
#[inline(always)]
fn timespec(time: Duration) -> __kernel_old_timespec {
    __kernel_old_timespec { tv_sec: time.as_secs().try_into().unwrap_or(isize::MAX as _), tv_nsec: time.subsec_nanos() as _ }
}
