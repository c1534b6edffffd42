//! The system call itself, by its number: inline assembly on the processors of most small machines, the C library on others.

use crate::error::Errno;

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "arm", target_arch = "riscv64")))]
use by_library::syscall;

/// Makes one system call with up to six arguments, 0 for each unused one. Returns what the kernel returned, or the errno.
///
/// # Safety
/// The arguments are what the system call of this number wants, pointers included: see its man page.
// Inlined: an out-of-line call around the system call costs more than batching would save. Without it tiny-listen is 408 bytes
// larger, and tiny-send 264.
#[inline(always)]
pub(super) unsafe fn call(number: u32, arguments: [usize; 6]) -> Result<usize, Errno> {
    // SAFETY: the caller guarantees that number and arguments are right.
    checked(unsafe { syscall(number, arguments) })
}

/// Splits what the kernel returned: -4095 to -1 is an errno, all else a number.
#[inline]
fn checked(returned: isize) -> Result<usize, Errno> {
    match returned {
        -4095..=-1 => Err(Errno(returned.unsigned_abs() as u16)),
        _ => Ok(returned.unsigned_abs()),
    }
}

/// Defines the function `syscall` from one processor's assembly: the instructions, and the registers of the number, the arguments
/// and the returned value (`syscall(2)`). The kernel may write memory, so neither `readonly` nor `nomem` is given.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "arm", target_arch = "riscv64"))]
macro_rules! by_assembly {
    ($number:ident, [$($argument:ident),*], $returned:ident, $($assembly:tt)*) => {
        /// # Safety
        /// As [`call`].
        #[inline]
        unsafe fn syscall($number: u32, [$($argument),*]: [usize; 6]) -> isize {
            let $returned;
            // SAFETY: the caller guarantees that number and arguments are right. They are passed in the registers that this
            // processor's lines below name, and every register that the kernel changes is named there as an output.
            unsafe { core::arch::asm!($($assembly)*, options(nostack, preserves_flags)) };
            $returned
        }
    };
}

// `syscall` destroys rcx and r11.
#[cfg(target_arch = "x86_64")]
by_assembly! { number, [a, b, c, d, e, f], returned,
    "syscall",
    inlateout("rax") number as usize => returned,
    in("rdi") a, in("rsi") b, in("rdx") c, in("r10") d, in("r8") e, in("r9") f,
    lateout("rcx") _, lateout("r11") _
}

// `svc 0` changes only x0.
#[cfg(target_arch = "aarch64")]
by_assembly! { number, [a, b, c, d, e, f], returned,
    "svc 0",
    in("x8") number as usize,
    inlateout("x0") a => returned,
    in("x1") b, in("x2") c, in("x3") d, in("x4") e, in("x5") f
}

// `ecall` changes only a0.
#[cfg(target_arch = "riscv64")]
by_assembly! { number, [a, b, c, d, e, f], returned,
    "ecall",
    in("a7") number as usize,
    inlateout("a0") a => returned,
    in("a1") b, in("a2") c, in("a3") d, in("a4") e, in("a5") f
}

// `svc 0` takes the number in r7, and changes only r0. In Thumb code r7 may be the frame pointer, which assembly must not name
// as an operand. So r7 is saved in a register that the compiler chooses, which cannot be one of those named.
#[cfg(target_arch = "arm")]
by_assembly! { number, [a, b, c, d, e, f], returned,
    "mov {kept}, r7",
    "mov r7, {number}",
    "svc 0",
    "mov r7, {kept}",
    kept = out(reg) _,
    number = in(reg) number,
    inout("r0") a => returned,
    in("r1") b, in("r2") c, in("r3") d, in("r4") e, in("r5") f
}

/// The system call by the C library's `syscall(2)`, which passes number and arguments unchanged.
///
/// Tests compile it beside the assembly, so that it is also tested on the processors that have both.
#[cfg(any(test, not(any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "arm", target_arch = "riscv64"))))]
mod by_library {
    use core::ffi::{c_int, c_long};

    mod library {
        use super::{c_int, c_long};

        unsafe extern "C" {
            pub(super) fn __errno_location() -> *mut c_int;
            pub(super) fn syscall(number: c_long, ...) -> c_long;
        }
    }

    /// # Safety
    /// As [`call`](super::call).
    pub(super) unsafe fn syscall(number: u32, [a, b, c, d, e, f]: [usize; 6]) -> isize {
        // SAFETY: the caller guarantees that number and arguments are right; they are words, as this function takes them.
        let returned = unsafe { library::syscall(number as c_long, a, b, c, d, e, f) } as isize;
        if returned != -1 {
            return returned;
        }
        // SAFETY: the C library returns a pointer to this thread's errno, which is always valid.
        let errno = unsafe { *library::__errno_location() };
        0_isize.saturating_sub_unsigned(errno.unsigned_abs() as usize)
    }
}

#[cfg(test)]
mod tests;
