//! Which packets a listener hands out: filters are values that a listener owns and asks once a packet.
//!
//! A filter sees the payload as far as it fits into the listener's buffer, and the sender's address. What it refuses is counted
//! as rejected, and never reaches the caller.

#[cfg(feature = "regex")]
mod regex;

use core::net::SocketAddr;

#[cfg(feature = "regex")]
pub use regex::Regex;

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
}

/// Accepts every packet: what a listener without a filter has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Always;

impl Filter for Always {
    #[inline]
    fn accepts(&mut self, _payload: &[u8], _source: SocketAddr) -> bool {
        true
    }
}

/// Accepts packets whose payload begins with these bytes. The empty prefix accepts every packet.
///
/// ```
/// # use multicast::filter::{Filter, Prefix};
/// # let source = "192.0.2.1:1900".parse().unwrap();
/// assert!(Prefix(b"NOTIFY ").accepts(b"NOTIFY * HTTP/1.1\r\n", source));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prefix<T>(pub T);

impl<T: AsRef<[u8]>> Filter for Prefix<T> {
    #[inline]
    fn accepts(&mut self, payload: &[u8], _source: SocketAddr) -> bool {
        payload.starts_with(self.0.as_ref())
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
}

#[cfg(feature = "std")]
impl<F: Filter + ?Sized> Filter for std::boxed::Box<F> {
    fn accepts(&mut self, payload: &[u8], source: SocketAddr) -> bool {
        (**self).accepts(payload, source)
    }

    fn prepare(&mut self, mtu: usize) {
        (**self).prepare(mtu);
    }
}
