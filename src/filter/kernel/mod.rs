//! Filters in the kernel, as programs of classic BPF (`SO_ATTACH_FILTER`, `socket(7)`).
//!
//! The kernel drops the packets that a program rejects, so the process does not wake up for them. A listener compiles its
//! filter when it is created, and attaches the program before it binds the socket. The filter itself checks every packet that
//! passes the program, so the result is always the filter's. A program may pass more packets than the filter accepts
//! ([`Superset`](Fit::Superset)), but never fewer.
//!
//! The program of a filter can be printed without a socket:
//!
//! ```
//! use multicast::Family;
//! use multicast::filter::{Filter, Prefix, kernel::{Assembler, Fit, INSTRUCTIONS, Instruction, Listing}};
//!
//! let mut buffer = [Instruction::ZERO; INSTRUCTIONS];
//! let mut code = Assembler::new(&mut buffer, 1500, Family::V4);
//! assert_eq!(Prefix(b"NOTI").compile(&mut code), Fit::Exact);
//! assert_eq!(
//!     Listing(code.instructions()).to_string(),
//!     "(000) ld [8]\n\
//!      (001) jeq #0x4e4f5449 jt 2 jf 3\n\
//!      (002) ret #0xffffffff\n\
//!      (003) ret #0\n"
//! );
//! ```
//!
//! # Writing `compile` for a filter of your own
//! [`Filter::compile`](super::Filter::compile) writes tests into an [`Assembler`]. The kernel lets a packet through if all of
//! them hold. Use the `compile` of this crate's filters for this: it adds the filter's tests, and returns whether they decide
//! exactly what the filter does. Two tests that the crate has no filter for are methods of the assembler:
//! [`byte_in`](Assembler::byte_in), and [`port`](Assembler::port) for a range of ports.
//!
//! A packet passes unless a test rejects it. So it is always correct to test less, and then to return [`Fit::Superset`].
//!
//! ```
//! use core::net::SocketAddr;
//! use multicast::filter::{Filter, Length, Prefix, kernel::{Assembler, Fit}};
//!
//! /// Version 2 of a protocol: a header of eight bytes at least, and a checksum over the whole.
//! struct Frames;
//!
//! impl Filter for Frames {
//!     fn accepts(&mut self, payload: &[u8], _source: SocketAddr) -> bool {
//!         let sum = payload.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte));
//!         payload.len() >= 8 && payload.starts_with(b"FR\x02") && sum == 0
//!     }
//!
//!     fn compile(&self, code: &mut Assembler<'_>) -> Fit {
//!         // One after the other: both must hold. For other combinations use `Or(..)` and `Not(..)`.
//!         let _ = Length(8..).compile(code).and(Prefix(b"FR\x02").compile(code));
//!         // The kernel cannot compute the sum.
//!         Fit::Superset
//!     }
//! }
//! ```
//!
//! A filter that writes tests must decide by the packet alone: the program is built once, and does not know any state that
//! `accepts` keeps between packets.

mod assembler;
mod listing;
mod piece;

pub use assembler::Assembler;
pub use listing::Listing;

/// How many instructions a filter's program may have by default.
pub const INSTRUCTIONS: usize = 64;
/// The most instructions that the kernel accepts (`BPF_MAXINSNS`).
pub const MAX_INSTRUCTIONS: usize = 4096;

/// How a program compares with its filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a filter that ignores it may return `Exact` where that is wrong"]
pub enum Fit {
    /// It passes exactly the packets that the filter accepts.
    Exact,
    /// It passes all packets that the filter accepts, and possibly more.
    Superset,
}

impl Fit {
    /// The fit of two tests that must both hold.
    pub const fn and(self, other: Self) -> Self {
        match self {
            Self::Exact => other,
            Self::Superset => Self::Superset,
        }
    }
}

/// One instruction of classic BPF: the kernel's `struct sock_filter` (`linux/filter.h`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Instruction {
    pub(crate) code: u16,
    pub(crate) if_true: u8,
    pub(crate) if_false: u8,
    pub(crate) operand: u32,
}

impl Instruction {
    /// Fills an empty buffer.
    pub const ZERO: Self = Self::new(0, 0);

    pub(crate) const fn new(code: u16, operand: u32) -> Self {
        Self { code, if_true: 0, if_false: 0, operand }
    }

    pub(crate) const fn jump(code: u16, operand: u32, if_true: u8, if_false: u8) -> Self {
        Self { code, if_true, if_false, operand }
    }

    /// Creates an instruction from its parts, as in `struct sock_filter`: `code`, `jt`, `jf` and `k`.
    #[must_use]
    pub const fn from_parts((code, if_true, if_false, operand): (u16, u8, u8, u32)) -> Self {
        Self { code, if_true, if_false, operand }
    }

    /// The parts of the instruction, in the same order.
    #[must_use]
    pub const fn parts(self) -> (u16, u8, u8, u32) {
        (self.code, self.if_true, self.if_false, self.operand)
    }
}

/// Calls `work` with room for this many instructions: with a buffer of `SMALL` instructions if that is enough, else with one of
/// 32 KiB, in a separate function that alone needs this much stack.
pub(crate) fn with_buffer<const SMALL: usize, R>(instructions: usize, work: impl FnOnce(&mut [Instruction]) -> R) -> R {
    if instructions <= SMALL { work(&mut [Instruction::ZERO; SMALL]) } else { with_large_buffer(work) }
}

#[inline(never)]
fn with_large_buffer<R>(work: impl FnOnce(&mut [Instruction]) -> R) -> R {
    work(&mut [Instruction::ZERO; MAX_INSTRUCTIONS])
}

/// The codes of the instructions that we use, and offsets into the packet (`linux/bpf_common.h`, `linux/filter.h`).
pub(crate) mod code {
    /// Load a word, half a word, a byte from a fixed offset.
    pub(crate) const LOAD_WORD: u16 = 0x20;
    pub(crate) const LOAD_HALF: u16 = 0x28;
    pub(crate) const LOAD_BYTE: u16 = 0x30;
    /// The same from an offset relative to X.
    pub(crate) const LOAD_WORD_AT_X: u16 = 0x40;
    pub(crate) const LOAD_HALF_AT_X: u16 = 0x48;
    pub(crate) const LOAD_BYTE_AT_X: u16 = 0x50;
    pub(crate) const LOAD_NUMBER: u16 = 0x00;
    pub(crate) const LOAD_LENGTH: u16 = 0x80;
    pub(crate) const LOAD_X_NUMBER: u16 = 0x01;
    pub(crate) const AND: u16 = 0x54;
    pub(crate) const COPY_TO_X: u16 = 0x07;
    pub(crate) const JUMP: u16 = 0x05;
    pub(crate) const JUMP_EQUAL: u16 = 0x15;
    pub(crate) const JUMP_GREATER: u16 = 0x25;
    pub(crate) const JUMP_AT_LEAST: u16 = 0x35;
    pub(crate) const RETURN: u16 = 0x06;

    /// The interface's index (`SKF_AD_OFF + SKF_AD_IFINDEX`).
    pub(crate) const INTERFACE: u32 = 0xffff_f000 + 8;
    /// The network header (`SKF_NET_OFF`); independent of options and extension headers.
    pub(crate) const NETWORK: u32 = 0xfff0_0000;
    /// Passes the packet uncut, whatever its length.
    pub(crate) const ALL: u32 = u32::MAX;
    /// The length of the UDP header. Offset 0 of a program is the first byte of this header.
    pub(crate) const UDP_HEADER: u32 = 8;
}
