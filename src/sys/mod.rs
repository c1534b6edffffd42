//! The only module with `unsafe`: the system calls that rustix lacks, or that it could not make without a panic path or an
//! out-of-line call in the hot receive.
//!
//! Each function takes and returns safe types. A length that the kernel reports is not trusted: it is limited to the length of
//! the buffer that the kernel was given. Structures are passed as bytes or as the types of `linux-raw-sys`.

#![allow(unsafe_code)]

mod call;
mod fd;
mod interface;
mod parts;
mod waiting;

use core::ffi::{CStr, c_int, c_uint, c_void};

use linux_raw_sys::general::{
    self as number, __kernel_old_timespec, AT_FDCWD, CLOCK_MONOTONIC, EFD_CLOEXEC, EFD_NONBLOCK, EPOLL_CLOEXEC,
    F_DUPFD_CLOEXEC, O_CLOEXEC, O_NONBLOCK, O_RDONLY, iovec,
};
use linux_raw_sys::ioctl::TIOCOUTQ;
use linux_raw_sys::net::{
    MSG_DONTWAIT, MSG_ERRQUEUE, MSG_TRUNC, SO_ATTACH_FILTER, SO_GET_FILTER, SOL_SOCKET, cmsghdr, msghdr,
};

pub(crate) use fd::{Fd, raw_fd};
pub(crate) use interface::{interface_address, interface_index, interface_name, is_interface_up};
use rustix::fd::{AsFd, AsRawFd, BorrowedFd};
pub(crate) use waiting::{epoll_wait, sleep, wait_readable};

use crate::address::Address;
use crate::error::Errno;
use crate::filter::kernel::Instruction;
use call::call;
use parts::Parts;

/// How many words of 32 bits `SO_MEMINFO` writes. Missing in the generated bindings; from `linux/sock_diag.h`.
pub(crate) const SK_MEMINFO_VARS: usize = 9;
/// The index of the word that counts the datagrams that the socket dropped. From `linux/sock_diag.h`.
pub(crate) const SK_MEMINFO_DROPS: usize = 8;
/// The control message, and the option, for the size of segments. Missing in the generated bindings; from `linux/udp.h`.
pub(crate) const UDP_SEGMENT: u32 = 103;
const UDP: u32 = linux_raw_sys::net::IPPROTO_UDP as u32;

/// `fcntl(2)`; of two versions the one with 64-bit offsets.
#[cfg(target_pointer_width = "32")]
const NR_FCNTL: u32 = number::__NR_fcntl64;
#[cfg(target_pointer_width = "64")]
const NR_FCNTL: u32 = number::__NR_fcntl;

/// A system call that creates a descriptor.
///
/// # Safety
/// As [`call()`]; and on success it returns a new descriptor.
unsafe fn call_for_fd(number: u32, arguments: [usize; 6]) -> Result<Fd, Errno> {
    // SAFETY: the caller guarantees that number and arguments are right; the descriptor is new, so nothing else owns it.
    unsafe { call(number, arguments).map(|raw| Fd::own(raw)) }
}

/// `socket(2)`, close-on-exec and non-blocking.
pub(crate) fn socket(domain: u32, kind: u32, protocol: u32) -> Result<Fd, Errno> {
    // SOCK_CLOEXEC and SOCK_NONBLOCK are the same bits as these (socket(2), linux/net.h).
    let kind = kind | O_CLOEXEC | O_NONBLOCK;
    // SAFETY: no pointer is passed, and a descriptor returned.
    unsafe { call_for_fd(number::__NR_socket, [domain as usize, kind as usize, protocol as usize, 0, 0, 0]) }
}

/// `epoll_create1(2)`, close-on-exec.
pub(crate) fn epoll_create() -> Result<Fd, Errno> {
    // SAFETY: no pointer is passed, and a descriptor returned.
    unsafe { call_for_fd(number::__NR_epoll_create1, [EPOLL_CLOEXEC as usize, 0, 0, 0, 0, 0]) }
}

/// `eventfd(2)` with a count of 0, close-on-exec and non-blocking.
pub(crate) fn eventfd() -> Result<Fd, Errno> {
    // SAFETY: no pointer is passed, and a descriptor returned.
    unsafe { call_for_fd(number::__NR_eventfd2, [0, (EFD_CLOEXEC | EFD_NONBLOCK) as usize, 0, 0, 0, 0]) }
}

/// `fcntl(2)`, `F_DUPFD_CLOEXEC`: a second descriptor for the same open file, close-on-exec.
pub(crate) fn duplicate(fd: &Fd) -> Result<Fd, Errno> {
    // SAFETY: this command takes no pointer, and a descriptor is returned.
    unsafe { call_for_fd(NR_FCNTL, [fd.word(), F_DUPFD_CLOEXEC as usize, 0, 0, 0, 0]) }
}

/// `setsockopt(2)` with an option that is these bytes.
#[inline(always)]
pub(crate) fn setsockopt(fd: &Fd, level: u32, name: u32, value: &[u8]) -> Result<(), Errno> {
    setsockopt_of(fd.as_fd(), level, name, value)
}

/// `setsockopt(2)` with an option that is these bytes.
// The descriptor is passed as a value: see `take_queued_error`.
pub(crate) fn setsockopt_of(fd: BorrowedFd<'_>, level: u32, name: u32, value: &[u8]) -> Result<(), Errno> {
    let arguments = [fd.as_raw_fd() as usize, level as usize, name as usize, value.as_ptr() as usize, value.len(), 0];
    // SAFETY: `optval` points to `optlen` readable bytes; the kernel reads no more of them, and keeps no pointer.
    unsafe { call(number::__NR_setsockopt, arguments).map(drop) }
}

/// `setsockopt(2)` with an option that is an `int`.
pub(crate) fn setsockopt_int(fd: &Fd, level: u32, name: u32, value: u32) -> Result<(), Errno> {
    setsockopt(fd, level, name, &value.to_ne_bytes())
}

/// `getsockopt(2)` of an option that is an `int`; `unknown` if the kernel does not tell.
// The descriptor is passed as a value: see `take_queued_error`.
pub(crate) fn getsockopt_or(unknown: u32, fd: BorrowedFd<'_>, level: u32, name: u32) -> u32 {
    let (mut value, mut length) = (unknown, size_of::<u32>() as c_uint);
    let (value_at, length_at) = (&raw mut value as usize, &raw mut length as usize);
    let arguments = [fd.as_raw_fd() as usize, level as usize, name as usize, value_at, length_at, 0];
    // SAFETY: `optval` points to `*optlen` bytes that may be written; `optlen` to an initialised `socklen_t`, and both outlive the call.
    let _ = unsafe { call(number::__NR_getsockopt, arguments) };
    value
}

/// `ioctl(2)`, `SIOCOUTQ`, which is `TIOCOUTQ` (`udp(7)`): how many bytes of the socket's packets have not left yet, with the kernel's
/// own overhead; `unknown` if the kernel does not tell.
pub(crate) fn queued_or(unknown: u32, fd: BorrowedFd<'_>) -> u32 {
    let mut bytes = unknown;
    // SAFETY: `argp` points to an `int` that may be written; the kernel keeps no pointer.
    let _ =
        unsafe { call(number::__NR_ioctl, [fd.as_raw_fd() as usize, TIOCOUTQ as usize, &raw mut bytes as usize, 0, 0, 0]) };
    bytes
}

/// `getsockopt(2)` into `value`; returns how many bytes were written. The kernel also reads `value`: some options
/// (`MCAST_MSFILTER`) take their question from it.
pub(crate) fn getsockopt(fd: &impl AsFd, level: u32, name: u32, value: &mut [u8]) -> Result<usize, Errno> {
    let mut length = value.len() as c_uint;
    let fd = fd.as_fd().as_raw_fd() as usize;
    let arguments = [fd, level as usize, name as usize, value.as_mut_ptr() as usize, &raw mut length as usize, 0];
    // SAFETY: `optval` points to `*optlen` bytes that may be written; `optlen` to an initialised `socklen_t`, and both outlive
    // the call. All bytes are initialised, and any value is valid for a byte.
    unsafe { call(number::__NR_getsockopt, arguments)? };
    Ok(value.len().min(length as usize))
}

/// `getsockopt(2)` of an option that is an `int`.
pub(crate) fn getsockopt_int(fd: &Fd, level: u32, name: u32) -> Result<u32, Errno> {
    let mut value = [0; 4];
    getsockopt(fd, level, name, &mut value)?;
    Ok(u32::from_ne_bytes(value))
}

/// `setsockopt(2)`, `SO_ATTACH_FILTER` (`socket(7)`): the kernel runs this program for every datagram from now on, in place of
/// the one before it. It refuses an invalid program with `EINVAL`.
pub(crate) fn attach_filter(fd: &Fd, program: &[Instruction]) -> Result<(), Errno> {
    /// `struct sock_fprog` (`linux/filter.h`). Missing in the generated bindings.
    #[repr(C)]
    struct Program {
        length: u16,
        instructions: *const Instruction,
    }
    let length = u16::try_from(program.len()).map_err(|_| Errno::INVALID)?;
    let program = Program { length, instructions: program.as_ptr() };
    let (program_at, size) = (&raw const program as usize, size_of::<Program>());
    let arguments = [fd.word(), SOL_SOCKET as usize, SO_ATTACH_FILTER as usize, program_at, size, 0];
    // SAFETY: `optval` points to `optlen` readable bytes, which are a `sock_fprog`. Its pointer comes with the number
    // of instructions that it points to, each laid out as a `sock_filter`; the kernel copies them, and keeps no pointer.
    unsafe { call(number::__NR_setsockopt, arguments).map(drop) }
}

/// `getsockopt(2)`, `SO_GET_FILTER` (Linux 3.8): returns the number of instructions of the attached program, 0 if there is
/// none, and writes them to the beginning of `program`. `program` must have room for all of them, or be empty to get only the
/// number.
pub(crate) fn attached_filter(fd: &Fd, program: &mut [Instruction]) -> Result<usize, Errno> {
    let mut length = program.len() as c_uint;
    let (program_at, length_at) = (program.as_mut_ptr() as usize, &raw mut length as usize);
    let arguments = [fd.word(), SOL_SOCKET as usize, SO_GET_FILTER as usize, program_at, length_at, 0];
    // SAFETY: here `*optlen` counts instructions, not bytes, and `optval` points to that many, which may be written. Any bytes
    // are valid for one. Both outlive the call.
    unsafe { call(number::__NR_getsockopt, arguments)? };
    Ok(length as usize)
}

/// `getsockname(2)`.
pub(crate) fn getsockname(fd: &Fd) -> Result<Address, Errno> {
    let mut address = Address::EMPTY;
    let mut length = Address::CAPACITY as c_uint;
    let arguments = [fd.word(), address.as_mut_bytes().as_mut_ptr() as usize, &raw mut length as usize, 0, 0, 0];
    // SAFETY: `addr` points to `*addrlen` writable bytes, `addrlen` to an initialised `socklen_t`; both outlive the call.
    unsafe { call(number::__NR_getsockname, arguments)? };
    Ok(address)
}

/// `recvfrom(2)`, never blocking: writes what fits into `buffer`, and the source; returns the length of the whole datagram.
// Inlined, as `call` is: without it there is one more call a packet, and tiny-listen is 16 bytes larger.
#[inline(always)]
pub(crate) fn recvfrom(fd: &Fd, buffer: &mut [u8], source: &mut Address) -> Result<usize, Errno> {
    let mut length = Address::CAPACITY as c_uint;
    let (source_at, length_at) = (source.as_mut_bytes().as_mut_ptr() as usize, &raw mut length as usize);
    let flags = (MSG_DONTWAIT | MSG_TRUNC) as usize;
    let arguments = [fd.word(), buffer.as_mut_ptr() as usize, buffer.len(), flags, source_at, length_at];
    // SAFETY: `buf` points to `len` writable bytes, `src_addr` to `*addrlen` writable bytes, `addrlen` to an initialised
    // `socklen_t`; all outlive the call, and the kernel writes past none of them, however long the datagram is.
    unsafe { call(number::__NR_recvfrom, arguments) }
}

/// What [`recvmsg`] returned, beside the bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Message {
    /// The length of the whole datagram, of which the buffer holds what fits.
    pub(crate) length: usize,
    /// How many bytes of control messages were written.
    pub(crate) control: usize,
}

/// `recvmsg(2)`, never blocking: like [`recvfrom`], and with the control messages that were asked for.
pub(crate) fn recvmsg(fd: &Fd, buffer: &mut [u8], source: &mut Address, control: &mut [u8]) -> Result<Message, Errno> {
    recvmsg_from(MSG_TRUNC, fd.word(), buffer, source, control)
}

/// `recvmsg(2)` of the error queue (`MSG_ERRQUEUE`, `ip(7)`), never blocking: removes one error from it. Returns how many bytes of
/// control messages were written, which describe it.
// The descriptor is passed as a value: after a reference to a field has been passed on, the compiler would no longer know what its
// neighbours hold.
pub(crate) fn take_queued_error(fd: BorrowedFd<'_>, control: &mut [u8]) -> Result<usize, Errno> {
    let mut nobody = Address::EMPTY;
    recvmsg_from(MSG_ERRQUEUE, fd.as_raw_fd() as usize, &mut [], &mut nobody, control).map(|message| message.control)
}

/// `recvfrom(2)` of the error queue, never blocking: removes one error from it without reading it.
pub(crate) fn drop_queued_error(fd: BorrowedFd<'_>) -> Result<(), Errno> {
    let flags = (MSG_DONTWAIT | MSG_ERRQUEUE) as usize;
    // SAFETY: `len` is 0, so nothing is written to `buf`; `src_addr` and `addrlen` may be null.
    unsafe { call(number::__NR_recvfrom, [fd.as_raw_fd() as usize, 0, 0, flags, 0, 0]).map(drop) }
}

/// `recvmsg(2)`; the flag selects the queue.
// Inlined, as `call` is: with `#[inline]`, there is one more call a packet at opt-level "z". It saves no bytes.
#[inline(always)]
fn recvmsg_from(
    flag: u32,
    fd: usize,
    buffer: &mut [u8],
    source: &mut Address,
    control: &mut [u8],
) -> Result<Message, Errno> {
    let mut bytes = iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() as _ };
    let mut header = msghdr {
        msg_name: source.as_mut_bytes().as_mut_ptr().cast(),
        msg_namelen: Address::CAPACITY as c_int,
        msg_iov: (&raw mut bytes).cast(),
        msg_iovlen: 1,
        msg_control: control.as_mut_ptr().cast(),
        msg_controllen: control.len(),
        msg_flags: 0,
    };
    let arguments = [fd, &raw mut header as usize, (MSG_DONTWAIT | flag) as usize, 0, 0, 0];
    // SAFETY: `msg` points to an initialised `msghdr` that may be written. Each of its pointers comes with the length of the
    // exclusive borrow that it was made from (`msg_iov` with 1), and all outlive the call.
    let length = unsafe { call(number::__NR_recvmsg, arguments)? };
    Ok(Message { length, control: control.len().min(header.msg_controllen) })
}

/// `sendto(2)`, never blocking: one datagram.
// Inlined, as `call` is: without it there is one more call a packet, with `#[inline]` still at opt-level "z". It saves no bytes.
#[inline(always)]
pub(crate) fn sendto(fd: &Fd, payload: &[u8], to: &Address) -> Result<(), Errno> {
    let address = to.as_internet_bytes();
    let (payload_at, address_at) = (payload.as_ptr() as usize, address.as_ptr() as usize);
    let arguments = [fd.word(), payload_at, payload.len(), MSG_DONTWAIT as usize, address_at, address.len()];
    // SAFETY: `buf` points to `len` readable bytes, `dest_addr` to `addrlen` readable bytes; the kernel keeps no pointer.
    unsafe { call(number::__NR_sendto, arguments).map(drop) }
}

/// `sendmsg(2)`, never blocking: one datagram with control messages, which are as `cmsg(3)` wants them.
pub(crate) fn sendmsg(fd: &Fd, payload: &[u8], to: &Address, control: &[u8]) -> Result<(), Errno> {
    // The kernel only reads from it. The pointer is not `const` because readv(2) uses the same structure.
    let mut part = iovec { iov_base: payload.as_ptr().cast_mut().cast(), iov_len: payload.len() as _ };
    // SAFETY: `part` holds pointer and length of a slice that outlives the call.
    unsafe { sendmsg_of(fd, core::slice::from_mut(&mut part), control.as_ptr() as usize, control.len(), to) }
}

/// `sendmsg(2)`, never blocking: the parts in one datagram, which the kernel cuts into segments of this size.
pub(crate) fn send_segments<'p>(
    fd: &Fd,
    slices: impl Iterator<Item = &'p [u8]>,
    segment: u16,
    to: &Address,
) -> Result<(), Errno> {
    let mut parts = Parts::none();
    parts.gather(slices);
    let control = SegmentSize::new(segment);
    // SAFETY: each part holds pointer and length of slices side by side that outlive the call; the control message comes with its size.
    unsafe { sendmsg_of(fd, parts.as_mut_slice(), &raw const control as usize, size_of::<SegmentSize>(), to) }
}

/// `sendmsg(2)`, never blocking.
///
/// # Safety
/// Each part holds pointer and length of readable bytes, and `control_at` is the address of `control_length` readable bytes. All
/// outlive the call.
unsafe fn sendmsg_of(
    fd: &Fd,
    parts: &mut [iovec],
    control_at: usize,
    control_length: usize,
    to: &Address,
) -> Result<(), Errno> {
    let mut to = *to;
    let mut header = msghdr {
        msg_name: to.as_mut_bytes().as_mut_ptr().cast(),
        msg_namelen: Address::CAPACITY as c_int,
        msg_iov: parts.as_mut_ptr().cast(),
        msg_iovlen: parts.len(),
        msg_control: control_at as *mut c_void,
        msg_controllen: control_length,
        msg_flags: 0,
    };
    // SAFETY: `msg` points to an initialised `msghdr`. `msg_iov` points to `msg_iovlen` initialised structures, which the caller
    // guarantees, as it does for the control messages; the name comes with its size. The kernel only reads them, and keeps no
    // pointer.
    unsafe { call(number::__NR_sendmsg, [fd.word(), &raw mut header as usize, MSG_DONTWAIT as usize, 0, 0, 0]).map(drop) }
}

/// The control message `UDP_SEGMENT` (`udp(7)`).
#[repr(C)]
struct SegmentSize {
    header: cmsghdr,
    size: u16,
}

impl SegmentSize {
    /// It ends behind the size, not behind the padding.
    const LENGTH: usize = size_of::<cmsghdr>() + size_of::<u16>();

    const fn new(size: u16) -> Self {
        Self { header: cmsghdr { cmsg_len: Self::LENGTH, cmsg_level: UDP as c_int, cmsg_type: UDP_SEGMENT as c_int }, size }
    }
}

/// `open(2)` and `read(2)`: reads the beginning of one of the kernel's files; returns how many bytes were read.
pub(crate) fn read_file(path: &CStr, buffer: &mut [u8]) -> Result<usize, Errno> {
    let arguments = [AT_FDCWD as usize, path.as_ptr() as usize, (O_RDONLY | O_CLOEXEC) as usize, 0, 0, 0];
    // SAFETY: `pathname` points to bytes that end with a zero, of which the kernel keeps no pointer; a descriptor is returned.
    let fd = unsafe { call_for_fd(number::__NR_openat, arguments)? };
    // SAFETY: `buf` points to `count` bytes that may be written.
    unsafe { call(number::__NR_read, [fd.word(), buffer.as_mut_ptr() as usize, buffer.len(), 0, 0, 0]) }
}

/// `bind(2)`; also binds a netlink socket to multicast groups (`netlink(7)`), so that the kernel reports changes to it.
pub(crate) fn bind(fd: &Fd, address: &Address) -> Result<(), Errno> {
    let bytes = address.as_bytes();
    // SAFETY: `addr` points to `addrlen` readable bytes, of which the first are the address; the kernel keeps no pointer.
    unsafe { call(number::__NR_bind, [fd.word(), bytes.as_ptr() as usize, bytes.len(), 0, 0, 0]).map(drop) }
}

/// `connect(2)` with `AF_UNSPEC`: dissolves an association, here with an interface.
pub(crate) fn disconnect(fd: &Fd) -> Result<(), Errno> {
    // AF_UNSPEC is 0.
    let family = [0_u8; size_of::<u16>()];
    // SAFETY: `addr` points to `addrlen` readable bytes, which the address family fills; the kernel keeps no pointer.
    unsafe { call(number::__NR_connect, [fd.word(), family.as_ptr() as usize, family.len(), 0, 0, 0]).map(drop) }
}

/// `clock_gettime(2)` of the clock that cannot be set (`CLOCK_MONOTONIC`): seconds, and nanoseconds below one second. It fails only where
/// a filter for system calls forbids it.
// Inlined: a program without a rate has one place that asks.
#[inline(always)]
pub(crate) fn now() -> Result<(u64, u32), Errno> {
    let mut time = __kernel_old_timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `tp` points to a `timespec` that may be written, of the words that this call has.
    unsafe { call(number::__NR_clock_gettime, [CLOCK_MONOTONIC as usize, &raw mut time as usize, 0, 0, 0, 0])? };
    Ok((time.tv_sec as u64, time.tv_nsec as u32))
}
