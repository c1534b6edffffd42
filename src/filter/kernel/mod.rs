//! What the kernel can decide about a packet: filters as programs of classic BPF (`SO_ATTACH_FILTER`, `socket(7)`).
//!
//! A packet that a program refuses wakes nobody. A listener compiles its filter when it is made, and gives the program to the
//! kernel before the socket is bound. What the program lets through is judged once more by the filter itself, so the outcome is
//! always the filter's: a program may be [`Superset`](Fit::Superset) than the filter, never narrower.
//!
//! Any filter can be looked at without a socket:
//!
//! ```
//! use multicast::Family;
//! use multicast::filter::{Prefix, kernel::{Fit, Program}};
//!
//! let program = Program::<64>::of(&Prefix(b"NOTI"), 1500, Family::V4);
//! assert_eq!(program.fit(), Fit::Exact);
//! assert_eq!(
//!     program.to_string(),
//!     "(000) ld [8]\n\
//!      (001) jeq #0x4e4f5449 jt 2 jf 3\n\
//!      (002) ret #0xffffffff\n\
//!      (003) ret #0\n"
//! );
//! ```
//!
//! # Writing `compile` for a filter of your own
//! [`Filter::compile`] is given an [`Assembler`]. Each of its tests ([`bytes`](Assembler::bytes), [`length`](Assembler::length) and
//! so on) must hold for the packet to be let through, and says whether the kernel decides it exactly. Whatever a filter does not
//! test lets packets through, so to test less is always right, and must be answered with [`Fit::Superset`].
//!
//! ```
//! use core::net::SocketAddr;
//! use multicast::filter::{Filter, kernel::{Assembler, Fit}};
//!
//! /// Version 2 of a protocol, with a checksum over the rest.
//! struct Frames;
//!
//! impl Filter for Frames {
//!     fn accepts(&mut self, payload: &[u8], _source: SocketAddr) -> bool {
//!         payload.starts_with(b"FR\x02") && payload.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte)) == 0
//!     }
//!
//!     fn compile(&self, code: &mut Assembler<'_>) -> Fit {
//!         let _ = code.bytes(0, b"FR\x02");
//!         // The sum is beyond the kernel.
//!         Fit::Superset
//!     }
//! }
//! ```
//!
//! The answer of a filter with a program must depend on the packet alone: the program is made once, and does not learn what
//! `accepts` remembers from one packet to the next.

mod assembler;
mod listing;
mod piece;

pub use assembler::Assembler;
pub use listing::Listing;

use super::Filter;
use crate::address::Family;

/// How many instructions a filter's program may have where nothing else is said.
pub const INSTRUCTIONS: usize = 64;
/// How many instructions the kernel takes at most (`BPF_MAXINSNS`).
pub const MAX_INSTRUCTIONS: usize = 4096;

/// How a program compares with the filter that it was made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a filter that drops it may claim to be exact where it is not"]
pub enum Fit {
    /// It lets through what the filter accepts, and nothing else.
    Exact,
    /// It lets through what the filter accepts, and maybe more.
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
    /// What a buffer is filled with before there is a program in it.
    pub const ZERO: Self = Self::new(0, 0);

    pub(crate) const fn new(code: u16, operand: u32) -> Self {
        Self { code, if_true: 0, if_false: 0, operand }
    }

    pub(crate) const fn jump(code: u16, operand: u32, if_true: u8, if_false: u8) -> Self {
        Self { code, if_true, if_false, operand }
    }

    /// An instruction of these parts, as in `struct sock_filter`: `code`, `jt`, `jf` and `k`.
    #[must_use]
    pub const fn from_parts((code, if_true, if_false, operand): (u16, u8, u8, u32)) -> Self {
        Self { code, if_true, if_false, operand }
    }

    /// Its parts.
    #[must_use]
    pub const fn parts(self) -> (u16, u8, u8, u32) {
        (self.code, self.if_true, self.if_false, self.operand)
    }
}

/// The codes of instructions that we use, and places that every packet has (`linux/bpf_common.h`, `linux/filter.h`).
pub(crate) mod code {
    /// Load a word, half a word, a byte from a fixed place.
    pub(crate) const LOAD_WORD: u16 = 0x20;
    pub(crate) const LOAD_HALF: u16 = 0x28;
    pub(crate) const LOAD_BYTE: u16 = 0x30;
    /// The same from a place counted from X.
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
    /// The network header (`SKF_NET_OFF`), whatever options or extension headers follow it.
    pub(crate) const NETWORK: u32 = 0xfff0_0000;
    /// All of the packet is let through, however long it is.
    pub(crate) const ALL: u32 = u32::MAX;
    /// The length of the UDP header, at which a program begins to see the packet.
    pub(crate) const UDP_HEADER: u32 = 8;
}

/// A filter's program in a buffer of its own, of `N` instructions: 2 to 4,096.
///
/// It is what [`ListenOptions`](crate::ListenOptions) gives to the kernel, without the guard.
#[derive(Clone, Copy, Debug)]
pub struct Program<const N: usize = INSTRUCTIONS> {
    buffer: [Instruction; N],
    /// Where in the buffer it begins; it ends where the buffer ends.
    start: u16,
    fit: Fit,
}

impl<const N: usize> Program<N> {
    /// The program of a filter for a listener of this family, whose packets are cut at `mtu` bytes.
    pub fn of<F: Filter + ?Sized>(filter: &F, mtu: usize, family: Family) -> Self {
        const { assert!(N >= 2 && N <= MAX_INSTRUCTIONS, "a program has 2 to 4,096 instructions") };
        let mut buffer = [Instruction::ZERO; N];
        let mut code = Assembler::new(&mut buffer, mtu, family);
        let fit = filter.compile(&mut code);
        let start = code.room() as u16;
        Self { buffer, start, fit }
    }

    /// How it compares with the filter.
    pub const fn fit(&self) -> Fit {
        self.fit
    }

    /// Its instructions.
    #[must_use]
    pub fn instructions(&self) -> &[Instruction] {
        self.buffer.get(usize::from(self.start)..).unwrap_or(&self.buffer)
    }
}

impl<const N: usize> core::fmt::Display for Program<N> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        Listing(self.instructions()).fmt(f)
    }
}
