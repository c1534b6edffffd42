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

pub use logic::{Always, And, Filter, Never, Not, Or};
pub use payload::{At, Contains, Length, Masked, Prefix, Suffix};
#[cfg(feature = "regex")]
pub use regex::Regex;
pub use sender::{Port, Source, Subnet};

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

#[cfg(test)]
mod tests;
