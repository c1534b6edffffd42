//! What a program needs that has no C library under it: where it starts, how it prints and ends, and the memory functions that
//! the compiler takes for granted. The only `unsafe` of the programs is in this file.
//!
//! # Panic-free, proven by the linker
//! The panic handler calls a function that exists nowhere. If the compiler could not remove every path that leads to it, the
//! program does not link: `undefined symbol: a_panic_path_is_left`.
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
    /// For what a program is asked for.
    Output = 1,
    /// For what went wrong.
    Error = 2,
}

/// Writes all of `bytes`, or as much as the other end takes (`write(2)`): where it is gone there is nobody to tell.
pub fn print(stream: Stream, bytes: &[u8]) {
    let mut rest = bytes;
    while !rest.is_empty() {
        let written: isize;
        // SAFETY: `write` reads `count` bytes from `buf`, which are those of the slice, and keeps no pointer. The instruction
        // destroys rcx and r11 beside the result (syscall(2)).
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
    // SAFETY: the call takes a number, and does not come back.
    unsafe { asm!("syscall", in("rax") EXIT_GROUP, in("rdi") usize::from(status), options(noreturn, nostack)) }
}

/// The words of the command line, the program's own name left out.
#[derive(Clone, Debug)]
pub struct Arguments {
    /// The next of the pointers that the kernel put on the stack, the last of which is null.
    next: *const *const u8,
}

impl Arguments {
    /// # Safety
    /// `stack` is what the stack pointer was when the program began.
    unsafe fn new(stack: *const usize) -> Self {
        // SAFETY: there lie the number of words, pointers to them, and a null (execve(2), the System V ABI); so two words on is
        // either the second pointer or the null. A program may be run without even a name: then it is the null that is passed
        // over, and behind it begins the environment.
        match unsafe { *stack } {
            0 => Self { next: stack.wrapping_add(1).cast() },
            _ => Self { next: stack.wrapping_add(2).cast() },
        }
    }
}

impl Iterator for Arguments {
    type Item = &'static [u8];

    // By a copy: an iterator that is part of something is not lent to a call, behind which the compiler would trust nothing of it.
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
        // SAFETY: `next` is one of the pointers or the null at their end, never past it; nobody writes there.
        let word = unsafe { *self.next };
        if word.is_null() {
            return None;
        }
        self.next = self.next.wrapping_add(1);
        // SAFETY: the kernel put words there that end with a zero. They stay as long as the program, and nobody writes to them.
        Some(unsafe { CStr::from_ptr(word.cast()) }.to_bytes())
    }
}

/// The value, or the end of the program with status 1. What is open then the kernel closes: there is nothing to drop.
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
/// `stack` is what the stack pointer was when the program began.
#[inline(always)]
pub unsafe fn run(stack: *const usize, main: fn(Arguments) -> !) -> ! {
    // SAFETY: the caller's word.
    main(unsafe { Arguments::new(stack) })
}

/// Makes a function `fn(Arguments) -> !` the program's beginning.
#[macro_export]
macro_rules! program {
    ($main:path) => {
        /// Where the program goes on when the stack is as the compiler wants it.
        #[allow(unsafe_code)]
        #[unsafe(no_mangle)]
        unsafe extern "C" fn begin(stack: *const usize) -> ! {
            // SAFETY: only `_start` calls this, with the stack pointer that the program began with.
            unsafe { $crate::run(stack, $main) }
        }
    };
}

/// Where the kernel begins. The stack is aligned to 16 bytes, as a `call` wants it; rbp 0 marks the outermost frame. `begin`
/// does not come back.
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

/// `memmove(3)`: backwards where it goes forwards, so that nothing is overwritten before it is read.
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
    // `xchg` since the instruction compares rsi's byte with rdi's; comparing nothing leaves the flags as `xor` set them: equal.
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

/// `bcmp(3)`, which comparing slices calls: 0 where they are equal.
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
    // rcx counts down from -1, the zero with it.
    naked_asm!("xor eax, eax", "or rcx, -1", "repne scasb", "sub rax, rcx", "sub rax, 2", "ret")
}

#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    unsafe extern "C" {
        /// Exists nowhere.
        safe fn a_panic_path_is_left() -> !;
    }
    a_panic_path_is_left()
}
