//! Filters decide which packets a listener returns. A listener owns its filter, and calls it once per packet.
//!
//! A filter sees the payload, cut at the length of the listener's buffer, and the sender's address; [`Hops`] also sees the hop
//! limit. The caller never gets a packet that the filter rejects.
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
//! The kernel runs as much of a filter as it can: see [`kernel`]. A packet that the kernel drops does not wake the process.
//!
//! | filter | what the kernel decides |
//! |---|---|
//! | [`Always`], [`Never`], [`Prefix`], [`Suffix`], [`At`], [`Masked`], [`Length`], [`Source`], [`Port`], [`Hops`] | all of it |
//! | [`Contains`] | whether the packet is long enough |
//! | `Regex` | whether the packet begins as the pattern does, and is long enough |
//! | [`by`] | nothing |
//! | [`And`], [`Or`], [`Not`] | combines its decisions on the parts; [`Not`] of an inexact one passes every packet |
//!
//! A program has at most 64 instructions; [`max_instructions`](crate::ListenOptions::max_instructions) changes that. Four bytes
//! take two instructions, so a prefix of up to 96 bytes fits. The filter itself decides what does not fit.

mod hops;
pub mod kernel;
mod logic;
mod payload;
#[cfg(feature = "regex")]
mod regex;
mod sender;

use core::net::SocketAddr;

pub use hops::Hops;
pub use logic::{Always, And, Filter, Never, Not, Or};
pub use payload::{At, Contains, Length, Masked, Prefix, Suffix};
#[cfg(feature = "regex")]
pub use regex::Regex;
pub use sender::{Port, Source, Subnet};

/// A filter that calls a closure: see [`by`].
#[derive(Clone, Copy, Debug)]
pub struct By<C>(C);

/// Creates a filter from a closure that takes the payload and the sender's address.
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
