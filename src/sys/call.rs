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

/// Defines the function `syscall` from one processor's assembly: the options that hold there, the instructions, and the registers of
/// the number, the arguments and the returned value (`syscall(2)`). The kernel may write memory, so neither `readonly` nor `nomem` is
/// given. It runs on a stack of its own, so `nostack` is.
///
/// Vector registers that the kernel does not keep are named although the compiler may not use them: whoever builds with vectors
/// (`-Ctarget-cpu`), or calls us from a function that has them, gets this function inlined. A register that is an output without a place
/// (`lateout("v0") _`) needs no target feature.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "arm", target_arch = "riscv64"))]
macro_rules! by_assembly {
    ($options:tt, $number:ident, [$($argument:ident),*], $returned:ident, $($assembly:tt)*) => {
        /// # Safety
        /// As [`call`].
        #[inline]
        unsafe fn syscall($number: u32, [$($argument),*]: [usize; 6]) -> isize {
            let $returned;
            // SAFETY: the caller guarantees that number and arguments are right. They are passed in the registers that this
            // processor's lines below name, and every register that the kernel changes is named there as an output.
            unsafe { core::arch::asm!($($assembly)*, options $options) };
            $returned
        }
    };
}

// `syscall` puts the address to return to into rcx, and the flags into r11, from which the kernel restores them. All others are kept, the
// vector registers and their masks, too (System V ABI of x86-64, A.2.1).
#[cfg(target_arch = "x86_64")]
by_assembly! { (nostack, preserves_flags), number, [a, b, c, d, e, f], returned,
    "syscall",
    inlateout("rax") number as usize => returned,
    in("rdi") a, in("rsi") b, in("rdx") c, in("r10") d, in("r8") e, in("r9") f,
    lateout("rcx") _, lateout("r11") _
}

// `svc 0` changes x0, and keeps the other general registers, the flags and v0 to v31. Of the registers of SVE it does not keep p0 to p15
// and ffr, nor the bits of z0 to z31 beyond v0 to v31 (`Documentation/arch/arm64/sve.rst`, section 3). The longer registers have no names
// of their own in assembly, so the whole registers are named; that costs eight instructions in a function that makes system calls. The
// compiler keeps nothing in ffr.
#[cfg(target_arch = "aarch64")]
by_assembly! { (nostack, preserves_flags), number, [a, b, c, d, e, f], returned,
    "svc 0",
    in("x8") number as usize,
    inlateout("x0") a => returned,
    in("x1") b, in("x2") c, in("x3") d, in("x4") e, in("x5") f,
    lateout("p0") _, lateout("p1") _, lateout("p2") _, lateout("p3") _,
    lateout("p4") _, lateout("p5") _, lateout("p6") _, lateout("p7") _,
    lateout("p8") _, lateout("p9") _, lateout("p10") _, lateout("p11") _,
    lateout("p12") _, lateout("p13") _, lateout("p14") _, lateout("p15") _,
    lateout("v0") _, lateout("v1") _, lateout("v2") _, lateout("v3") _,
    lateout("v4") _, lateout("v5") _, lateout("v6") _, lateout("v7") _,
    lateout("v8") _, lateout("v9") _, lateout("v10") _, lateout("v11") _,
    lateout("v12") _, lateout("v13") _, lateout("v14") _, lateout("v15") _,
    lateout("v16") _, lateout("v17") _, lateout("v18") _, lateout("v19") _,
    lateout("v20") _, lateout("v21") _, lateout("v22") _, lateout("v23") _,
    lateout("v24") _, lateout("v25") _, lateout("v26") _, lateout("v27") _,
    lateout("v28") _, lateout("v29") _, lateout("v30") _, lateout("v31") _
}

// `ecall` changes a0, and keeps the other general and all floating-point registers. It does not keep v0 to v31, nor vl, vtype and vstart
// (`Documentation/arch/riscv/vector.rst`, section 3). The last three have no names here: the compiler takes them for changed because
// `preserves_flags` is missing.
#[cfg(target_arch = "riscv64")]
by_assembly! { (nostack), number, [a, b, c, d, e, f], returned,
    "ecall",
    in("a7") number as usize,
    inlateout("a0") a => returned,
    in("a1") b, in("a2") c, in("a3") d, in("a4") e, in("a5") f,
    lateout("v0") _, lateout("v1") _, lateout("v2") _, lateout("v3") _,
    lateout("v4") _, lateout("v5") _, lateout("v6") _, lateout("v7") _,
    lateout("v8") _, lateout("v9") _, lateout("v10") _, lateout("v11") _,
    lateout("v12") _, lateout("v13") _, lateout("v14") _, lateout("v15") _,
    lateout("v16") _, lateout("v17") _, lateout("v18") _, lateout("v19") _,
    lateout("v20") _, lateout("v21") _, lateout("v22") _, lateout("v23") _,
    lateout("v24") _, lateout("v25") _, lateout("v26") _, lateout("v27") _,
    lateout("v28") _, lateout("v29") _, lateout("v30") _, lateout("v31") _
}

// `svc 0` takes the number in r7, and changes only r0: the kernel restores r1 to r14, the flags, and the registers of VFP and NEON. In
// Thumb code r7 may be the frame pointer, which assembly must not name as an operand. So r7 is saved in a register that the compiler
// chooses, which cannot be one of those named.
#[cfg(target_arch = "arm")]
by_assembly! { (nostack, preserves_flags), number, [a, b, c, d, e, f], returned,
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
