//! System calls by inline assembly, for the processors of most small machines. Each function is the system call of its name,
//! and returns what the kernel returned: an errno as a negative number.

use core::arch::asm;
use core::ffi::{c_int, c_uint, c_void};

use linux_raw_sys::general::{self as number, epoll_event};
use linux_raw_sys::net::msghdr;

/// One system call of up to six arguments.
///
/// # Safety
/// The arguments are what the system call of this number wants, pointers included: see its man page.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
unsafe fn syscall(number: u32, [a, b, c, d, e, f]: [usize; 6]) -> isize {
    let returned;
    // SAFETY: `syscall` takes number and arguments in these registers, and destroys rcx and r11 (syscall(2)). Memory may be
    // written, so neither `readonly` nor `nomem` is said.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") number as usize => returned,
            in("rdi") a, in("rsi") b, in("rdx") c, in("r10") d, in("r8") e, in("r9") f,
            lateout("rcx") _, lateout("r11") _,
            options(nostack, preserves_flags),
        );
    }
    returned
}

/// # Safety
/// As on x86-64.
#[cfg(target_arch = "aarch64")]
#[inline(always)]
unsafe fn syscall(number: u32, [a, b, c, d, e, f]: [usize; 6]) -> isize {
    let returned;
    // SAFETY: `svc 0` takes the number in x8 and the arguments in x0 to x5, and changes x0 alone (syscall(2)).
    unsafe {
        asm!(
            "svc 0",
            in("x8") number as usize,
            inlateout("x0") a => returned,
            in("x1") b, in("x2") c, in("x3") d, in("x4") e, in("x5") f,
            options(nostack, preserves_flags),
        );
    }
    returned
}

/// # Safety
/// As on x86-64.
#[cfg(target_arch = "riscv64")]
#[inline(always)]
unsafe fn syscall(number: u32, [a, b, c, d, e, f]: [usize; 6]) -> isize {
    let returned;
    // SAFETY: `ecall` takes the number in a7 and the arguments in a0 to a5, and changes a0 alone (syscall(2)).
    unsafe {
        asm!(
            "ecall",
            in("a7") number as usize,
            inlateout("a0") a => returned,
            in("a1") b, in("a2") c, in("a3") d, in("a4") e, in("a5") f,
            options(nostack, preserves_flags),
        );
    }
    returned
}

/// # Safety
/// As on x86-64.
#[cfg(target_arch = "arm")]
#[inline(always)]
unsafe fn syscall(number: u32, [a, b, c, d, e, f]: [usize; 6]) -> isize {
    let returned;
    // SAFETY: `svc 0` takes the number in r7 and the arguments in r0 to r5, and changes r0 alone (syscall(2)). r7 may be the
    // frame pointer in Thumb code, which assembly must not name as an operand: it is kept aside in a register of the
    // compiler's choice, which cannot be one of those named.
    unsafe {
        asm!(
            "mov {kept}, r7",
            "mov r7, {number}",
            "svc 0",
            "mov r7, {kept}",
            kept = out(reg) _,
            number = in(reg) number,
            inout("r0") a => returned,
            in("r1") b, in("r2") c, in("r3") d, in("r4") e, in("r5") f,
            options(nostack, preserves_flags),
        );
    }
    returned
}

/// Makes a function of each line: a system call's number, its arguments, and a 0 for each register that it leaves unused.
macro_rules! system_calls {
    ($($name:ident = $number:path => ($($argument:ident: $kind:ty),* $(; $($unused:literal),*)?);)*) => {$(
        /// # Safety
        /// What the man page of the system call demands of its arguments.
        #[inline(always)]
        pub(super) unsafe fn $name($($argument: $kind),*) -> isize {
            // SAFETY: the caller vouches for the arguments; the number is that of this call.
            unsafe { syscall($number, [$($argument as usize,)* $($($unused),*)?]) }
        }
    )*};
}

/// Where files have 64-bit offsets only by the newer call, that is the one.
#[cfg(target_pointer_width = "32")]
const FCNTL: u32 = number::__NR_fcntl64;
#[cfg(target_pointer_width = "64")]
const FCNTL: u32 = number::__NR_fcntl;

system_calls! {
    socket = number::__NR_socket => (domain: c_int, kind: c_int, protocol: c_int; 0, 0, 0);
    epoll_create1 = number::__NR_epoll_create1 => (flags: c_int; 0, 0, 0, 0, 0);
    fcntl = FCNTL => (fd: c_int, command: c_int, argument: c_int; 0, 0, 0);
    epoll_pwait = number::__NR_epoll_pwait => (
        fd: c_int, events: *mut epoll_event, room: c_int, milliseconds: c_int, mask: *const c_void; 0
    );
    eventfd2 = number::__NR_eventfd2 => (count: c_uint, flags: c_int; 0, 0, 0, 0);
    setsockopt = number::__NR_setsockopt => (fd: c_int, level: c_int, name: c_int, value: *const c_void, length: c_uint; 0);
    getsockopt = number::__NR_getsockopt => (fd: c_int, level: c_int, name: c_int, value: *mut c_void, length: *mut c_uint; 0);
    getsockname = number::__NR_getsockname => (fd: c_int, address: *mut c_void, length: *mut c_uint; 0, 0, 0);
    recvfrom = number::__NR_recvfrom => (
        fd: c_int, buffer: *mut c_void, length: usize, flags: c_int, address: *mut c_void, address_length: *mut c_uint
    );
    recvmsg = number::__NR_recvmsg => (fd: c_int, message: *mut msghdr, flags: c_int; 0, 0, 0);
    openat = number::__NR_openat => (folder: c_int, path: *const c_void, flags: c_int, mode: c_uint; 0, 0);
    ioctl = number::__NR_ioctl => (fd: c_int, request: c_uint, argument: *mut c_void; 0, 0, 0);
    read = number::__NR_read => (fd: c_int, buffer: *mut c_void, length: usize; 0, 0, 0);
    bind = number::__NR_bind => (fd: c_int, address: *const c_void, length: c_uint; 0, 0, 0);
    sendto = number::__NR_sendto => (
        fd: c_int, buffer: *const c_void, length: usize, flags: c_int, address: *const c_void, address_length: c_uint
    );
    sendmsg = number::__NR_sendmsg => (fd: c_int, message: *mut msghdr, flags: c_int; 0, 0, 0);
    clock_gettime = number::__NR_clock_gettime => (clock: c_int, time: *mut c_void; 0, 0, 0, 0);
    write = number::__NR_write => (fd: c_int, buffer: *const c_void, length: usize; 0, 0, 0);
}
