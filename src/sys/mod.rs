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

use core::ffi::{CStr, c_int, c_uint, c_void};
use core::net::SocketAddr;
use core::ptr::null_mut;
use core::time::Duration;

use linux_raw_sys::general::{
    __kernel_old_timespec, AT_FDCWD, CLOCK_MONOTONIC, EFD_CLOEXEC, EFD_NONBLOCK, EPOLL_CLOEXEC, F_DUPFD_CLOEXEC, O_CLOEXEC,
    O_NONBLOCK, O_RDONLY, epoll_event, iovec,
};
use linux_raw_sys::ioctl::SIOCGIFINDEX;
use linux_raw_sys::net::{IFNAMSIZ, MSG_DONTWAIT, MSG_ERRQUEUE, MSG_TRUNC, cmsghdr, msghdr};

pub(crate) use address::{Address, put};
pub(crate) use fd::Fd;

use crate::error::Errno;

/// What `SO_MEMINFO` writes: words of 32 bits. Missing in the generated bindings; from `linux/sock_diag.h`.
pub(crate) const SK_MEMINFO_VARS: usize = 9;
/// The word that counts the datagrams that the socket dropped, likewise.
pub(crate) const SK_MEMINFO_DROPS: usize = 8;
/// How many segments one datagram may have at most, on every kernel that knows them. From `linux/udp.h`.
pub(crate) const SEGMENTS: usize = 64;
/// The control message, and option, that tells their size. Missing in the generated bindings; from `linux/udp.h`.
pub(crate) const UDP_SEGMENT: u32 = 103;
const UDP: u32 = linux_raw_sys::net::IPPROTO_UDP as u32;

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

/// `epoll_wait(2)`: how many events were written to the beginning of `events`. -1 milliseconds is without end.
///
/// rustix's event could hold a pointer, and with it could neither be sent to another thread nor shared.
pub(crate) fn epoll_wait(fd: &Fd, events: &mut [epoll_event], milliseconds: i32) -> Result<usize, Errno> {
    let room = i32::try_from(events.len()).unwrap_or(i32::MAX);
    // SAFETY: `events` points to at least `maxevents` structures that may be written, and any bytes are valid for one; the
    // kernel keeps no pointer. `sigmask` is null, which leaves the signal mask alone: the call is then epoll_wait, which newer
    // processors lack.
    let returned = unsafe { call::epoll_pwait(fd.raw(), events.as_mut_ptr(), room, milliseconds, core::ptr::null()) };
    checked(returned)
}

/// `eventfd(2)` with a count of 0, close-on-exec and non-blocking.
pub(crate) fn eventfd() -> Result<Fd, Errno> {
    // SAFETY: no pointer is passed.
    let returned = unsafe { call::eventfd2(0, (EFD_CLOEXEC | EFD_NONBLOCK) as c_int) };
    // SAFETY: where the call succeeded, it made this descriptor, and nobody else has it.
    checked(returned).map(|raw| unsafe { Fd::own(raw) })
}

/// `fcntl(2)`, `F_DUPFD_CLOEXEC`: a second descriptor for the same open file, close-on-exec.
pub(crate) fn duplicate(fd: &Fd) -> Result<Fd, Errno> {
    // SAFETY: no pointer is passed.
    let returned = unsafe { call::fcntl(fd.raw(), F_DUPFD_CLOEXEC as c_int, 0) };
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

/// `recvmsg(2)` of the error queue (`MSG_ERRQUEUE`, `ip(7)`), never blocking: takes one error off, and forgets what it said.
pub(crate) fn take_queued_error(fd: &Fd) -> Result<(), Errno> {
    let mut header = msghdr {
        msg_name: null_mut(),
        msg_namelen: 0,
        msg_iov: null_mut(),
        msg_iovlen: 0,
        msg_control: null_mut(),
        msg_controllen: 0,
        msg_flags: 0,
    };
    // SAFETY: `msg` points to an initialised `msghdr` that may be written; all its lengths are 0, so that its null pointers are
    // not followed.
    let returned = unsafe { call::recvmsg(fd.raw(), &raw mut header, (MSG_DONTWAIT | MSG_ERRQUEUE) as c_int) };
    checked(returned).map(drop)
}

/// `sendmsg(2)`, never blocking: the parts in one datagram, which the kernel cuts into segments of this size.
pub(crate) fn send_segments<'p>(
    fd: &Fd,
    parts: impl Iterator<Item = &'p [u8]>,
    segment: u16,
    to: &SocketAddr,
) -> Result<(), Errno> {
    let mut to = Address::to(to);
    let mut gathered = [const { iovec { iov_base: null_mut(), iov_len: 0 } }; SEGMENTS];
    let mut count = 0_usize;
    for (place, part) in gathered.iter_mut().zip(parts) {
        // The kernel only reads from it; the structure serves readv(2), too, and has no `const`.
        *place = iovec { iov_base: part.as_ptr().cast_mut().cast(), iov_len: part.len() as _ };
        count = count.saturating_add(1);
    }
    let mut control = SegmentSize::new(segment);
    let mut header = msghdr {
        msg_name: to.as_mut_ptr(),
        msg_namelen: Address::CAPACITY as c_int,
        msg_iov: gathered.as_mut_ptr().cast(),
        msg_iovlen: count,
        msg_control: (&raw mut control).cast(),
        msg_controllen: size_of::<SegmentSize>(),
        msg_flags: 0,
    };
    // SAFETY: `msg` points to an initialised `msghdr`. `msg_iov` points to `msg_iovlen` initialised structures, each of which
    // holds pointer and length of a slice that outlives the call; name and control go with their sizes. The kernel reads them
    // all, and keeps no pointer.
    let returned = unsafe { call::sendmsg(fd.raw(), &raw mut header, MSG_DONTWAIT as c_int) };
    checked(returned).map(drop)
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

/// `ioctl(2)`, `SIOCGIFINDEX` (`netdevice(7)`): the index of the interface of this name, by way of any socket.
pub(crate) fn interface_index(fd: &Fd, name: &[u8; IFNAMSIZ as usize]) -> Result<u32, Errno> {
    let mut request = InterfaceRequest { name: *name, value: [0; 6] };
    // SAFETY: `argp` points to a structure of the size of `struct ifreq` that may be written; the kernel keeps no pointer.
    let returned = unsafe { call::ioctl(fd.raw(), SIOCGIFINDEX as _, (&raw mut request).cast()) };
    checked(returned).map(|_| request.value[0])
}

/// `struct ifreq`: a name, and a union of which an `int` at its beginning is read. Its size is 32 or 40 bytes.
#[repr(C, align(8))]
struct InterfaceRequest {
    name: [u8; IFNAMSIZ as usize],
    value: [u32; 6],
}

/// `open(2)` and `read(2)`: the beginning of a file of the kernel's; gives the length of what was read.
pub(crate) fn read_file(path: &CStr, buffer: &mut [u8]) -> Result<usize, Errno> {
    // SAFETY: `pathname` points to bytes that end with a zero; the kernel keeps no pointer.
    let returned = unsafe { call::openat(AT_FDCWD, path.as_ptr().cast(), (O_RDONLY | O_CLOEXEC) as c_int, 0) };
    // SAFETY: where the call succeeded, it made this descriptor, and nobody else has it.
    let fd = checked(returned).map(|raw| unsafe { Fd::own(raw) })?;
    // SAFETY: `buf` points to `count` bytes that may be written.
    let returned = unsafe { call::read(fd.raw(), buffer.as_mut_ptr().cast(), buffer.len()) };
    checked(returned)
}

/// `bind(2)`.
pub(crate) fn bind(fd: &Fd, address: &SocketAddr) -> Result<(), Errno> {
    let mut to = Address::to(address);
    // SAFETY: `addr` points to at least `addrlen` readable bytes; the kernel keeps no pointer.
    let returned = unsafe { call::bind(fd.raw(), to.as_mut_ptr(), Address::length(address)) };
    checked(returned).map(drop)
}

/// `sendto(2)`, never blocking.
#[inline]
pub(crate) fn sendto(fd: &Fd, payload: &[u8], address: &SocketAddr) -> Result<(), Errno> {
    let mut to = Address::to(address);
    // SAFETY: `buf` points to `len` readable bytes, `dest_addr` to at least `addrlen`; the kernel keeps no pointer.
    let returned = unsafe {
        call::sendto(
            fd.raw(),
            payload.as_ptr().cast(),
            payload.len(),
            MSG_DONTWAIT as c_int,
            to.as_mut_ptr(),
            Address::length(address),
        )
    };
    checked(returned).map(drop)
}

/// `bind(2)` of a netlink socket to multicast groups (`netlink(7)`): the kernel tells it what changes.
pub(crate) fn subscribe(fd: &Fd, groups: u32) -> Result<(), Errno> {
    let mut address = Address::EMPTY;
    address.set_netlink_groups(groups);
    // SAFETY: `addr` points to at least `addrlen` readable bytes, which are a `sockaddr_nl`; the kernel keeps no pointer.
    let returned = unsafe { call::bind(fd.raw(), address.as_mut_ptr(), Address::NETLINK as c_uint) };
    checked(returned).map(drop)
}

/// `clock_gettime(2)` of the clock that no one sets (`CLOCK_MONOTONIC`).
pub(crate) fn now() -> Duration {
    let mut time = __kernel_old_timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `tp` points to a `timespec` that may be written, of the words that this call has.
    let _always_0 = unsafe { call::clock_gettime(CLOCK_MONOTONIC as c_int, (&raw mut time).cast()) };
    Duration::from_secs(time.tv_sec as u64).saturating_add(Duration::from_nanos(time.tv_nsec as u64))
}

/// `write(2)` of one count to an eventfd.
pub(crate) fn notify(fd: &Fd) -> Result<(), Errno> {
    let one = 1_u64.to_ne_bytes();
    // SAFETY: `buf` points to `count` readable bytes; the kernel keeps no pointer.
    let returned = unsafe { call::write(fd.raw(), one.as_ptr().cast::<c_void>(), one.len()) };
    checked(returned).map(drop)
}
