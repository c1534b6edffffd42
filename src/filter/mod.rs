//! Which packets a listener hands out: filters are values that a listener owns and asks once a packet.
//!
//! A filter sees the payload as far as it fits into the listener's buffer, and the sender's address. What it refuses never reaches
//! the caller.
//!
//! ```
//! use multicast::filter::{Contains, Filter, Length, Prefix, Source};
//!
//! # fn main() -> multicast::Result<()> {
//! let mut wanted = Prefix(b"NOTIFY ").and(Source("192.0.2.0/24".parse()?)).and(Contains(b"ssdp:byebye").not());
//! assert!(wanted.accepts(b"NOTIFY * HTTP/1.1\r\n", "192.0.2.7:1900".parse().unwrap()));
//!
//! // Filters are plain values, also in constants.
//! const SMALL: Length<core::ops::RangeTo<usize>> = Length(..64);
//! # Ok(())
//! # }
//! ```
//!
//! # In the kernel
//! What a filter can decide without the process, the kernel decides: see [`kernel`]. A packet that is refused there costs the
//! process nothing at all.
//!
//! | filter | in the kernel |
//! |---|---|
//! | [`Always`], [`Never`], [`Prefix`], [`Suffix`], [`At`], [`Masked`], [`Length`], [`Source`], [`Port`] | exactly |
//! | [`Contains`] | whether the packet is long enough |
//! | `Regex` | whether the packet begins with what the pattern begins with, and is long enough |
//! | [`by`] | nothing |
//! | [`And`], [`Or`], [`Not`] | as their parts; the [`Not`] of what is not decided exactly lets all packets through |
//!
//! A program has 64 instructions, unless [`instructions`](crate::ListenOptions::instructions) says otherwise. Four bytes take two
//! of them: a prefix of up to 96 bytes fits. What does not fit is left to the filter itself.

pub mod kernel;
mod logic;
mod payload;
#[cfg(feature = "regex")]
mod regex;
mod sender;

use core::net::SocketAddr;

pub use logic::{Always, And, Never, Not, Or};
pub use payload::{At, Contains, Length, Masked, Prefix, Suffix};
#[cfg(feature = "regex")]
pub use regex::Regex;
pub use sender::{Port, Source, Subnet};

use kernel::{Assembler, Fit};

/// Decides which packets a listener hands out.
///
/// Closures become filters with [`by`], or with [`ListenOptions::filter_fn`](crate::ListenOptions::filter_fn).
pub trait Filter {
    /// Whether the packet of this payload, cut at the listener's buffer, from this sender is wanted.
    fn accepts(&mut self, payload: &[u8], source: SocketAddr) -> bool;

    /// Called once, when the listener is made: no payload will be longer than `mtu` bytes. The place to reserve memory, so that
    /// `accepts` needs none.
    fn prepare(&mut self, mtu: usize) {
        let _ = mtu;
    }

    /// Writes the tests that every packet passes which this filter accepts: the kernel refuses all others. The answer says whether
    /// that is all that `accepts` asks; see [how to write it](kernel#writing-compile-for-a-filter-of-your-own).
    ///
    /// A filter of your own is built from filters of this crate: call their `compile`.
    ///
    /// ```
    /// # use core::net::SocketAddr;
    /// # use multicast::filter::{Filter, Or, Prefix, kernel::{Assembler, Fit}};
    /// /// Queries of two kinds, and nothing else.
    /// struct Queries;
    ///
    /// impl Filter for Queries {
    ///     fn accepts(&mut self, payload: &[u8], _source: SocketAddr) -> bool {
    ///         payload.starts_with(b"Q1") || payload.starts_with(b"Q2")
    ///     }
    ///
    ///     fn compile(&self, code: &mut Assembler<'_>) -> Fit {
    ///         Or(Prefix(b"Q1"), Prefix(b"Q2")).compile(code)
    ///     }
    /// }
    /// ```
    ///
    /// Without it the kernel lets every packet through.
    fn compile(&self, code: &mut Assembler<'_>) -> Fit {
        let _ = code;
        Fit::Superset
    }

    /// Accepts what both accept.
    fn and<G: Filter>(self, other: G) -> And<Self, G>
    where
        Self: Sized,
    {
        And(self, other)
    }

    /// Accepts what one of them accepts at least.
    fn or<G: Filter>(self, other: G) -> Or<Self, G>
    where
        Self: Sized,
    {
        Or(self, other)
    }

    /// Accepts what this filter refuses.
    fn not(self) -> Not<Self>
    where
        Self: Sized,
    {
        Not(self)
    }
}

/// A filter that asks a closure: see [`by`].
#[derive(Clone, Copy, Debug)]
pub struct By<C>(C);

/// A filter that asks a closure of the payload and the sender's address.
pub const fn by<C: FnMut(&[u8], SocketAddr) -> bool>(closure: C) -> By<C> {
    By(closure)
}

impl<C: FnMut(&[u8], SocketAddr) -> bool> Filter for By<C> {
    #[inline]
    fn accepts(&mut self, payload: &[u8], source: SocketAddr) -> bool {
        (self.0)(payload, source)
    }
}

impl<F: Filter + ?Sized> Filter for &mut F {
    #[inline]
    fn accepts(&mut self, payload: &[u8], source: SocketAddr) -> bool {
        (**self).accepts(payload, source)
    }

    fn prepare(&mut self, mtu: usize) {
        (**self).prepare(mtu);
    }

    fn compile(&self, code: &mut Assembler<'_>) -> Fit {
        (**self).compile(code)
    }
}

#[cfg(feature = "std")]
impl<F: Filter + ?Sized> Filter for std::boxed::Box<F> {
    fn accepts(&mut self, payload: &[u8], source: SocketAddr) -> bool {
        (**self).accepts(payload, source)
    }

    fn prepare(&mut self, mtu: usize) {
        (**self).prepare(mtu);
    }

    fn compile(&self, code: &mut Assembler<'_>) -> Fit {
        (**self).compile(code)
    }
}

#[cfg(test)]
mod tests;
