//! System calls by the C library's functions, for processors whose system call instruction we do not know. Each returns what
//! the kernel returned: an errno as a negative number.

use core::ffi::{c_int, c_uint, c_ulong, c_void};

use linux_raw_sys::general::epoll_event;
use linux_raw_sys::net::msghdr;

/// The C library's functions of these names, with its own types of the same size.
mod symbol {
    use super::{c_int, c_uint, c_ulong, c_void, epoll_event, msghdr};

    unsafe extern "C" {
        pub(super) fn __errno_location() -> *mut c_int;
        pub(super) fn socket(domain: c_int, kind: c_int, protocol: c_int) -> c_int;
        pub(super) fn epoll_create1(flags: c_int) -> c_int;
        pub(super) fn fcntl(fd: c_int, command: c_int, ...) -> c_int;
        pub(super) fn epoll_pwait(
            fd: c_int,
            events: *mut epoll_event,
            room: c_int,
            milliseconds: c_int,
            mask: *const c_void,
        ) -> c_int;
        pub(super) fn eventfd(count: c_uint, flags: c_int) -> c_int;
        pub(super) fn setsockopt(fd: c_int, level: c_int, name: c_int, value: *const c_void, length: c_uint) -> c_int;
        pub(super) fn getsockopt(fd: c_int, level: c_int, name: c_int, value: *mut c_void, length: *mut c_uint) -> c_int;
        pub(super) fn getsockname(fd: c_int, address: *mut c_void, length: *mut c_uint) -> c_int;
        pub(super) fn recvfrom(
            fd: c_int,
            buffer: *mut c_void,
            length: usize,
            flags: c_int,
            address: *mut c_void,
            address_length: *mut c_uint,
        ) -> isize;
        pub(super) fn recvmsg(fd: c_int, message: *mut msghdr, flags: c_int) -> isize;
        pub(super) fn openat(folder: c_int, path: *const c_void, flags: c_int, ...) -> c_int;
        pub(super) fn ioctl(fd: c_int, request: c_ulong, ...) -> c_int;
        pub(super) fn read(fd: c_int, buffer: *mut c_void, length: usize) -> isize;
        pub(super) fn bind(fd: c_int, address: *const c_void, length: c_uint) -> c_int;
        pub(super) fn sendto(
            fd: c_int,
            buffer: *const c_void,
            length: usize,
            flags: c_int,
            address: *const c_void,
            address_length: c_uint,
        ) -> isize;
        pub(super) fn sendmsg(fd: c_int, message: *mut msghdr, flags: c_int) -> isize;
        pub(super) fn write(fd: c_int, buffer: *const c_void, length: usize) -> isize;
    }
}

/// What the kernel returned, from what the C library made of it.
fn returned(value: isize) -> isize {
    if value != -1 {
        return value;
    }
    // SAFETY: the C library's function returns a pointer to this thread's errno, which is always valid.
    let errno = unsafe { *symbol::__errno_location() };
    0_isize.saturating_sub_unsigned(errno.unsigned_abs() as usize)
}

macro_rules! functions {
    ($($name:ident = $symbol:ident($($argument:ident: $kind:ty),*);)*) => {$(
        /// # Safety
        /// What the man page of the function demands of its arguments.
        pub(super) unsafe fn $name($($argument: $kind),*) -> isize {
            // SAFETY: the caller vouches for the arguments.
            returned(unsafe { symbol::$symbol($($argument),*) } as isize)
        }
    )*};
}

functions! {
    socket = socket(domain: c_int, kind: c_int, protocol: c_int);
    epoll_create1 = epoll_create1(flags: c_int);
    fcntl = fcntl(fd: c_int, command: c_int, argument: c_int);
    epoll_pwait = epoll_pwait(fd: c_int, events: *mut epoll_event, room: c_int, milliseconds: c_int, mask: *const c_void);
    eventfd2 = eventfd(count: c_uint, flags: c_int);
    setsockopt = setsockopt(fd: c_int, level: c_int, name: c_int, value: *const c_void, length: c_uint);
    getsockopt = getsockopt(fd: c_int, level: c_int, name: c_int, value: *mut c_void, length: *mut c_uint);
    getsockname = getsockname(fd: c_int, address: *mut c_void, length: *mut c_uint);
    recvfrom = recvfrom(
        fd: c_int, buffer: *mut c_void, length: usize, flags: c_int, address: *mut c_void, address_length: *mut c_uint
    );
    recvmsg = recvmsg(fd: c_int, message: *mut msghdr, flags: c_int);
    openat = openat(folder: c_int, path: *const c_void, flags: c_int, mode: c_uint);
    ioctl = ioctl(fd: c_int, request: c_ulong, argument: *mut c_void);
    read = read(fd: c_int, buffer: *mut c_void, length: usize);
    bind = bind(fd: c_int, address: *const c_void, length: c_uint);
    sendto = sendto(
        fd: c_int, buffer: *const c_void, length: usize, flags: c_int, address: *const c_void, address_length: c_uint
    );
    sendmsg = sendmsg(fd: c_int, message: *mut msghdr, flags: c_int);
    write = write(fd: c_int, buffer: *const c_void, length: usize);
}
