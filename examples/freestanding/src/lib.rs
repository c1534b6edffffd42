//! What a program without a C library needs: its entry point, printing, ending, and the memory functions that the compiler uses.
//! The only `unsafe` of the programs is in this file.
//!
//! # Panic-free, proven by the linker
//! The panic handler calls a function that does not exist. If the compiler cannot remove every path to it, the program does not
//! link: `undefined symbol: a_panic_path_is_left`.
#![no_std]
#![allow(unsafe_code)]

use core::arch::{asm, naked_asm};
use core::ffi::CStr;
use core::panic::PanicInfo;

#[cfg(not(all(target_arch = "x86_64", target_os = "linux")))]
compile_error!("the freestanding programs are for Linux on x86-64: start code and system calls are in its assembly");

/// `write` and `exit_group` (`syscalls(2)`).
const WRITE: usize = 1;
const EXIT_GROUP: usize = 231;

/// Standard output and standard error, `stdout(3)`.
#[derive(Clone, Copy, Debug)]
pub enum Stream {
    /// For results.
    Output = 1,
    /// For errors.
    Error = 2,
}

/// Writes all of `bytes`, or as much as the other end takes (`write(2)`). Errors are ignored: they could not be printed.
pub fn print(stream: Stream, bytes: &[u8]) {
    let mut rest = bytes;
    while !rest.is_empty() {
        let written: isize;
        // SAFETY: `write` reads `count` bytes from `buf`, which are those of the slice, and keeps no pointer. The instruction
        // changes rcx and r11 beside the result (syscall(2)).
        unsafe {
            asm!(
                "syscall",
                inlateout("rax") WRITE => written,
                in("rdi") stream as usize, in("rsi") rest.as_ptr(), in("rdx") rest.len(),
                lateout("rcx") _, lateout("r11") _,
                options(nostack, readonly, preserves_flags),
            );
        }
        rest = match usize::try_from(written).ok().and_then(|written| rest.get(written..)) {
            Some(rest) => rest,
            None => return,
        };
    }
}

/// Ends the program with this status (`exit_group(2)`).
pub fn exit(status: u8) -> ! {
    // SAFETY: the call takes a number, and does not return.
    unsafe { asm!("syscall", in("rax") EXIT_GROUP, in("rdi") usize::from(status), options(noreturn, nostack)) }
}

/// The words of the command line, without the program's name.
#[derive(Clone, Debug)]
pub struct Arguments {
    /// The next of the pointers that the kernel put on the stack, the last of which is null.
    next: *const *const u8,
}

impl Arguments {
    /// # Safety
    /// `stack` is the stack pointer at the program's entry.
    unsafe fn new(stack: *const usize) -> Self {
        // SAFETY: there are the number of words, pointers to them, and a null (execve(2), the System V ABI). So two words on is
        // either the second pointer or the null. A program may be run without a name: then the null is skipped, and the
        // environment follows.
        match unsafe { *stack } {
            0 => Self { next: stack.wrapping_add(1).cast() },
            _ => Self { next: stack.wrapping_add(2).cast() },
        }
    }
}

impl Iterator for Arguments {
    type Item = &'static [u8];

    // With a copy of the iterator: if a call borrowed it, the compiler would have to reload it afterwards.
    #[inline(always)]
    fn next(&mut self) -> Option<&'static [u8]> {
        let mut copy = self.clone();
        let word = copy.next_word();
        *self = copy;
        word
    }
}

impl Arguments {
    #[inline(never)]
    fn next_word(&mut self) -> Option<&'static [u8]> {
        // SAFETY: `next` is one of the pointers or the null at their end, never beyond it; nothing writes there.
        let word = unsafe { *self.next };
        if word.is_null() {
            return None;
        }
        self.next = self.next.wrapping_add(1);
        // SAFETY: the kernel put words there that end with a zero. They exist as long as the program, and nothing writes to them.
        Some(unsafe { CStr::from_ptr(word.cast()) }.to_bytes())
    }
}

/// Returns the value, or ends the program with status 1. The kernel closes what is open, so nothing is dropped.
#[inline(always)]
pub fn or_exit<T, E>(result: Result<T, E>) -> T {
    match result {
        Ok(value) => value,
        Err(_) => exit(1),
    }
}

/// Runs `main` with the words of the command line: see [`program`].
///
/// # Safety
/// `stack` is the stack pointer at the program's entry.
#[inline(always)]
pub unsafe fn run(stack: *const usize, main: fn(Arguments) -> !) -> ! {
    // SAFETY: guaranteed by the caller.
    main(unsafe { Arguments::new(stack) })
}

/// Makes a function `fn(Arguments) -> !` the program's entry point.
#[macro_export]
macro_rules! program {
    ($main:path) => {
        /// Called when the stack is aligned as the compiler expects.
        #[allow(unsafe_code)]
        #[unsafe(no_mangle)]
        unsafe extern "C" fn begin(stack: *const usize) -> ! {
            // SAFETY: only `_start` calls this, with the stack pointer at the program's entry.
            unsafe { $crate::run(stack, $main) }
        }
    };
}

/// The entry point for the kernel. It aligns the stack to 16 bytes, as a `call` expects; rbp 0 marks the outermost frame. `begin`
/// does not return.
#[unsafe(no_mangle)]
#[unsafe(naked)]
unsafe extern "C" fn _start() -> ! {
    naked_asm!("xor ebp, ebp", "mov rdi, rsp", "call begin")
}

/// `memcpy(3)`, in the fewest bytes.
///
/// # Safety
/// `to` and `from` point to `length` bytes that do not overlap.
#[unsafe(no_mangle)]
#[unsafe(naked)]
unsafe extern "C" fn memcpy(to: *mut u8, from: *const u8, length: usize) -> *mut u8 {
    naked_asm!("mov rax, rdi", "mov rcx, rdx", "rep movsb", "ret")
}

/// `memmove(3)`: copies backwards if the target is behind the source, so that nothing is overwritten before it is read.
///
/// # Safety
/// `to` and `from` point to `length` bytes, which may overlap.
#[unsafe(no_mangle)]
#[unsafe(naked)]
unsafe extern "C" fn memmove(to: *mut u8, from: *const u8, length: usize) -> *mut u8 {
    naked_asm!(
        "mov rax, rdi",
        "mov rcx, rdx",
        "cmp rdi, rsi",
        "jbe 2f",
        "lea rdi, [rdi + rdx - 1]",
        "lea rsi, [rsi + rdx - 1]",
        "std",
        "2:",
        "rep movsb",
        "cld",
        "ret",
    )
}

/// `memset(3)`.
///
/// # Safety
/// `to` points to `length` bytes that may be written.
#[unsafe(no_mangle)]
#[unsafe(naked)]
unsafe extern "C" fn memset(to: *mut u8, byte: i32, length: usize) -> *mut u8 {
    naked_asm!("mov r8, rdi", "mov eax, esi", "mov rcx, rdx", "rep stosb", "mov rax, r8", "ret")
}

/// `memcmp(3)`: less than, equal to, or greater than 0 as the first differing byte of `a` is to that of `b`.
///
/// # Safety
/// `a` and `b` point to `length` bytes.
#[unsafe(no_mangle)]
#[unsafe(naked)]
unsafe extern "C" fn memcmp(a: *const u8, b: *const u8, length: usize) -> i32 {
    // `xchg`, since the instruction compares rsi's byte with rdi's. With length 0 the flags stay as `xor` set them: equal.
    naked_asm!(
        "xchg rdi, rsi",
        "mov rcx, rdx",
        "xor eax, eax",
        "repe cmpsb",
        "seta al",
        "setb cl",
        "sub al, cl",
        "movsx eax, al",
        "ret",
    )
}

/// `bcmp(3)`, which comparing slices calls: 0 if they are equal.
///
/// # Safety
/// As [`memcmp`].
#[unsafe(no_mangle)]
#[unsafe(naked)]
unsafe extern "C" fn bcmp(a: *const u8, b: *const u8, length: usize) -> i32 {
    naked_asm!("mov rcx, rdx", "xor eax, eax", "repe cmpsb", "setne al", "ret")
}

/// `strlen(3)`.
///
/// # Safety
/// `text` points to bytes that end with a zero.
#[unsafe(no_mangle)]
#[unsafe(naked)]
unsafe extern "C" fn strlen(text: *const u8) -> usize {
    // rcx counts down from -1, including the zero.
    naked_asm!("xor eax, eax", "or rcx, -1", "repne scasb", "sub rax, rcx", "sub rax, 2", "ret")
}

#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    unsafe extern "C" {
        /// Does not exist.
        safe fn a_panic_path_is_left() -> !;
    }
    a_panic_path_is_left()
}
