//! The one room with `unsafe`: the system calls that rustix lacks, or that it could not make without a panic path or an
//! out-of-line call in the hot receive.
//!
//! Each function takes and gives safe types. Bytes that the kernel wrote are never trusted for their length: what it reports is
//! cut at the length of the buffer that it was given. Structures cross as byte arrays or as the generated types of
//! `linux-raw-sys`.

#![allow(unsafe_code)]

mod address;
mod fd;

// One of the two makes the calls: inline assembly where we know the processor, the C library elsewhere.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "arm", target_arch = "riscv64"))]
#[path = "assembly.rs"]
mod call;
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "arm", target_arch = "riscv64")))]
#[path = "c_library.rs"]
mod call;

use core::ffi::{c_int, c_uint, c_void};

use linux_raw_sys::general::{EFD_CLOEXEC, EFD_NONBLOCK, EPOLL_CLOEXEC, O_CLOEXEC, O_NONBLOCK, iovec};
use linux_raw_sys::net::{MSG_DONTWAIT, MSG_ERRQUEUE, MSG_TRUNC, msghdr};

pub(crate) use address::{Address, put};
pub(crate) use fd::Fd;

use crate::error::Errno;

/// What `SO_MEMINFO` writes: words of 32 bits. Missing in the generated bindings; from `linux/sock_diag.h`.
pub(crate) const SK_MEMINFO_VARS: usize = 9;
/// The word that counts the datagrams that the socket dropped, likewise.
pub(crate) const SK_MEMINFO_DROPS: usize = 8;
/// The option of datagrams that the kernel puts together, likewise; from `linux/udp.h`.
pub(crate) const UDP_GRO: u32 = 104;

/// What a system call returned: a number, or an errno where it is -4095 to -1.
#[inline]
fn checked(returned: isize) -> Result<usize, Errno> {
    match returned {
        -4095..=-1 => Err(Errno(returned.unsigned_abs() as u16)),
        _ => Ok(returned.unsigned_abs()),
    }
}

/// `socket(2)`, close-on-exec and non-blocking.
pub(crate) fn socket(domain: u32, kind: u32, protocol: u32) -> Result<Fd, Errno> {
    // SOCK_CLOEXEC and SOCK_NONBLOCK are the same bits as these (socket(2), linux/net.h).
    let kind = kind | O_CLOEXEC | O_NONBLOCK;
    // SAFETY: no pointer is passed.
    let returned = unsafe { call::socket(domain as c_int, kind as c_int, protocol as c_int) };
    // SAFETY: where the call succeeded, it made this descriptor, and nobody else has it.
    checked(returned).map(|raw| unsafe { Fd::own(raw) })
}

/// `epoll_create1(2)`, close-on-exec.
pub(crate) fn epoll_create() -> Result<Fd, Errno> {
    // SAFETY: no pointer is passed.
    let returned = unsafe { call::epoll_create1(EPOLL_CLOEXEC as c_int) };
    // SAFETY: where the call succeeded, it made this descriptor, and nobody else has it.
    checked(returned).map(|raw| unsafe { Fd::own(raw) })
}

/// `eventfd(2)` with a count of 0, close-on-exec and non-blocking.
pub(crate) fn eventfd() -> Result<Fd, Errno> {
    // SAFETY: no pointer is passed.
    let returned = unsafe { call::eventfd2(0, (EFD_CLOEXEC | EFD_NONBLOCK) as c_int) };
    // SAFETY: where the call succeeded, it made this descriptor, and nobody else has it.
    checked(returned).map(|raw| unsafe { Fd::own(raw) })
}

/// `setsockopt(2)` with an option that is these bytes.
pub(crate) fn setsockopt(fd: &Fd, level: u32, name: u32, value: &[u8]) -> Result<(), Errno> {
    // SAFETY: `optval` points to `optlen` readable bytes; the kernel reads no more of them, and keeps no pointer.
    let returned =
        unsafe { call::setsockopt(fd.raw(), level as c_int, name as c_int, value.as_ptr().cast(), value.len() as c_uint) };
    checked(returned).map(drop)
}

/// `setsockopt(2)` with an option that is an `int`.
pub(crate) fn setsockopt_int(fd: &Fd, level: u32, name: u32, value: u32) -> Result<(), Errno> {
    setsockopt(fd, level, name, &value.to_ne_bytes())
}

/// `getsockopt(2)` into `value`; gives the length of what was written. What is in `value` is passed in, too: some options
/// (`MCAST_MSFILTER`) are questions.
pub(crate) fn getsockopt(fd: &Fd, level: u32, name: u32, value: &mut [u8]) -> Result<usize, Errno> {
    let mut length = value.len() as c_uint;
    // SAFETY: `optval` points to `*optlen` bytes that may be written; `optlen` to an initialised `socklen_t`, and both outlive
    // the call. All bytes are initialised, and any value is valid for a byte.
    let returned =
        unsafe { call::getsockopt(fd.raw(), level as c_int, name as c_int, value.as_mut_ptr().cast(), &raw mut length) };
    checked(returned).map(|_| value.len().min(length as usize))
}

/// `getsockopt(2)` of an option that is an `int`.
pub(crate) fn getsockopt_int(fd: &Fd, level: u32, name: u32) -> Result<u32, Errno> {
    let mut value = [0; 4];
    getsockopt(fd, level, name, &mut value)?;
    Ok(u32::from_ne_bytes(value))
}

/// `getsockname(2)`.
pub(crate) fn getsockname(fd: &Fd) -> Result<Address, Errno> {
    let mut address = Address::EMPTY;
    let mut length = Address::CAPACITY as c_uint;
    // SAFETY: `addr` points to `*addrlen` writable bytes, `addrlen` to an initialised `socklen_t`; both outlive the call.
    let returned = unsafe { call::getsockname(fd.raw(), address.as_mut_ptr(), &raw mut length) };
    checked(returned).map(|_| address)
}

/// `recvfrom(2)`, never blocking: the length of the whole datagram, of which `buffer` holds what fits, and its source.
///
/// Always inlined: an out-of-line call around the system call costs more than batching would gain.
#[inline(always)]
pub(crate) fn recvfrom(fd: &Fd, buffer: &mut [u8], source: &mut Address) -> Result<usize, Errno> {
    let mut length = Address::CAPACITY as c_uint;
    // SAFETY: `buf` points to `len` writable bytes, `src_addr` to `*addrlen` writable bytes, `addrlen` to an initialised
    // `socklen_t`; all outlive the call, and the kernel writes past none of them, however long the datagram is.
    let returned = unsafe {
        call::recvfrom(
            fd.raw(),
            buffer.as_mut_ptr().cast(),
            buffer.len(),
            (MSG_DONTWAIT | MSG_TRUNC) as c_int,
            source.as_mut_ptr(),
            &raw mut length,
        )
    };
    checked(returned)
}

/// `recvfrom(2)` of one record of the socket's error queue, which is thrown away.
pub(crate) fn take_error_record(fd: &Fd) -> Result<(), Errno> {
    // SAFETY: `buf` has a length of 0 and is not written to; `src_addr` and `addrlen` may be null, and nothing is written then.
    let returned = unsafe {
        call::recvfrom(
            fd.raw(),
            core::ptr::null_mut(),
            0,
            (MSG_DONTWAIT | MSG_ERRQUEUE) as c_int,
            core::ptr::null_mut(),
            core::ptr::null_mut(),
        )
    };
    checked(returned).map(drop)
}

/// What [`recvmsg`] brought, beside the bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Message {
    /// The length of the whole datagram, of which the buffer holds what fits.
    pub(crate) length: usize,
    /// How many bytes of control messages were written.
    pub(crate) control: usize,
}

/// `recvmsg(2)`, never blocking: like [`recvfrom`], and with the control messages that were asked for.
pub(crate) fn recvmsg(fd: &Fd, buffer: &mut [u8], source: &mut Address, control: &mut [u8]) -> Result<Message, Errno> {
    let mut bytes = iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() as _ };
    let mut header = msghdr {
        msg_name: source.as_mut_ptr(),
        msg_namelen: Address::CAPACITY as c_int,
        msg_iov: (&raw mut bytes).cast(),
        msg_iovlen: 1,
        msg_control: control.as_mut_ptr().cast(),
        msg_controllen: control.len(),
        msg_flags: 0,
    };
    // SAFETY: `msg` points to an initialised `msghdr` that may be written. Each of its pointers goes with the length of the
    // exclusive borrow that it was made from (`msg_iov` with 1), and all outlive the call.
    let returned = unsafe { call::recvmsg(fd.raw(), &raw mut header, (MSG_DONTWAIT | MSG_TRUNC) as c_int) };
    checked(returned).map(|length| Message { length, control: control.len().min(header.msg_controllen) })
}

/// `write(2)` of one count to an eventfd.
pub(crate) fn notify(fd: &Fd) -> Result<(), Errno> {
    let one = 1_u64.to_ne_bytes();
    // SAFETY: `buf` points to `count` readable bytes; the kernel keeps no pointer.
    let returned = unsafe { call::write(fd.raw(), one.as_ptr().cast::<c_void>(), one.len()) };
    checked(returned).map(drop)
}
