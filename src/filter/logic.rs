//! The trait of all filters, and filters that combine others.

use core::net::SocketAddr;

use super::kernel::{Assembler, Fit};

/// Decides which packets a listener returns.
///
/// A closure becomes a filter with [`by`](super::by).
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a filter",
    note = "a closure becomes a filter with `multicast::filter::by(closure)`, a pattern with `multicast::filter::Regex::new(pattern)`"
)]
pub trait Filter {
    /// Whether the filter accepts a packet with this payload, cut at the length of the listener's buffer, from this sender.
    fn accepts(&mut self, payload: &[u8], source: SocketAddr) -> bool;

    /// Whether the filter needs the hop limit of a packet, as [`Hops`](super::Hops) does. If so, a listener asks the kernel for
    /// it, and calls [`accepts_with_hop_limit`](Self::accepts_with_hop_limit). It asks this when it is created and when its
    /// filter is replaced, so the answer must not change.
    ///
    /// Default: false. A filter of your own that contains others must pass on both calls to them.
    fn needs_hop_limit(&self) -> bool {
        false
    }

    /// As [`accepts`](Self::accepts), for a packet that arrived with this hop limit (IPv6) or time to live (IPv4).
    ///
    /// `accepts` is called if the hop limit is unknown. It must then accept only packets that this function accepts with any hop
    /// limit: if in doubt, it rejects. The filters of this crate do so; [`Not`] rejects all if the filter in it needs
    /// the hop limit.
    ///
    /// Default: calls `accepts`.
    fn accepts_with_hop_limit(&mut self, payload: &[u8], source: SocketAddr, hop_limit: u8) -> bool {
        let _ = hop_limit;
        self.accepts(payload, source)
    }

    /// Called once, when the listener is created: no payload will be longer than `mtu` bytes. Reserve memory here, so that
    /// `accepts` needs none.
    fn prepare(&mut self, mtu: usize) {
        let _ = mtu;
    }

    /// Writes tests for the kernel, which drops every packet that fails one. Each packet that `accepts` accepts must pass them.
    /// Returns whether they decide exactly what `accepts` does; see
    /// [how to write it](super::kernel#writing-compile-for-a-filter-of-your-own).
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
    /// Default: no tests, so the kernel passes every packet.
    fn compile(&self, code: &mut Assembler<'_>) -> Fit {
        let _ = code;
        Fit::Superset
    }

    /// Accepts packets that both filters accept.
    fn and<G: Filter>(self, other: G) -> And<Self, G>
    where
        Self: Sized,
    {
        And(self, other)
    }

    /// Accepts packets that at least one of the two filters accepts.
    fn or<G: Filter>(self, other: G) -> Or<Self, G>
    where
        Self: Sized,
    {
        Or(self, other)
    }

    /// Accepts packets that this filter rejects.
    fn not(self) -> Not<Self>
    where
        Self: Sized,
    {
        Not(self)
    }
}

/// Accepts every packet. This is the filter of a listener by default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Always;

impl Filter for Always {
    #[inline]
    fn accepts(&mut self, _payload: &[u8], _source: SocketAddr) -> bool {
        true
    }

    fn compile(&self, _code: &mut Assembler<'_>) -> Fit {
        Fit::Exact
    }
}

/// Accepts no packet: the listener only keeps its memberships.
///
/// ```
/// # use multicast::filter::{Filter, Never};
/// assert!(!Never.accepts(b"anything", "192.0.2.1:1900".parse().unwrap()));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Never;

impl Filter for Never {
    #[inline]
    fn accepts(&mut self, _payload: &[u8], _source: SocketAddr) -> bool {
        false
    }

    fn compile(&self, code: &mut Assembler<'_>) -> Fit {
        code.reject()
    }
}

/// Accepts packets that both filters accept. Calls the second only if the first accepts. See also [`Filter::and`].
///
/// ```
/// # use multicast::filter::{And, Filter, Port, Prefix};
/// # let (upnp, other) = ("192.0.2.1:1900".parse().unwrap(), "192.0.2.1:5353".parse().unwrap());
/// let mut both = And(Prefix(b"NOTIFY "), Port(1900));
/// assert!(both.accepts(b"NOTIFY *", upnp));
/// assert!(!both.accepts(b"NOTIFY *", other));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct And<A, B>(pub A, pub B);

impl<A: Filter, B: Filter> Filter for And<A, B> {
    #[inline]
    fn accepts(&mut self, payload: &[u8], source: SocketAddr) -> bool {
        self.0.accepts(payload, source) && self.1.accepts(payload, source)
    }

    #[inline]
    fn needs_hop_limit(&self) -> bool {
        self.0.needs_hop_limit() || self.1.needs_hop_limit()
    }

    #[inline]
    fn accepts_with_hop_limit(&mut self, payload: &[u8], source: SocketAddr, hop_limit: u8) -> bool {
        self.0.accepts_with_hop_limit(payload, source, hop_limit)
            && self.1.accepts_with_hop_limit(payload, source, hop_limit)
    }

    fn prepare(&mut self, mtu: usize) {
        self.0.prepare(mtu);
        self.1.prepare(mtu);
    }

    fn compile(&self, code: &mut Assembler<'_>) -> Fit {
        // The kernel runs the last one written first.
        let second = self.1.compile(code);
        self.0.compile(code).and(second)
    }
}

/// Accepts packets that at least one of the two filters accepts. Calls the second only if the first rejects. See also
/// [`Filter::or`].
///
/// ```
/// # use multicast::filter::{Filter, Or, Prefix};
/// # let source = "192.0.2.1:1900".parse().unwrap();
/// let mut one = Or(Prefix(b"NOTIFY "), Prefix(b"M-SEARCH "));
/// assert!(one.accepts(b"M-SEARCH *", source));
/// assert!(!one.accepts(b"HTTP/1.1 200 OK", source));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Or<A, B>(pub A, pub B);

impl<A: Filter, B: Filter> Filter for Or<A, B> {
    #[inline]
    fn accepts(&mut self, payload: &[u8], source: SocketAddr) -> bool {
        self.0.accepts(payload, source) || self.1.accepts(payload, source)
    }

    #[inline]
    fn needs_hop_limit(&self) -> bool {
        self.0.needs_hop_limit() || self.1.needs_hop_limit()
    }

    #[inline]
    fn accepts_with_hop_limit(&mut self, payload: &[u8], source: SocketAddr, hop_limit: u8) -> bool {
        self.0.accepts_with_hop_limit(payload, source, hop_limit)
            || self.1.accepts_with_hop_limit(payload, source, hop_limit)
    }

    fn prepare(&mut self, mtu: usize) {
        self.0.prepare(mtu);
        self.1.prepare(mtu);
    }

    fn compile(&self, code: &mut Assembler<'_>) -> Fit {
        code.either(|code| self.0.compile(code), |code| self.1.compile(code))
    }
}

/// Accepts packets that the inner filter rejects. See also [`Filter::not`].
///
/// ```
/// # use multicast::filter::{Contains, Filter, Not};
/// # let source = "192.0.2.1:1900".parse().unwrap();
/// let mut others = Not(Contains(b"byebye"));
/// assert!(others.accepts(b"NTS: ssdp:alive", source));
/// assert!(!others.accepts(b"NTS: ssdp:byebye", source));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Not<F>(pub F);

impl<F: Filter> Filter for Not<F> {
    #[inline]
    fn accepts(&mut self, payload: &[u8], source: SocketAddr) -> bool {
        // That it rejects a packet with an unknown hop limit does not mean that it would reject it with the real one.
        !self.0.needs_hop_limit() && !self.0.accepts(payload, source)
    }

    #[inline]
    fn needs_hop_limit(&self) -> bool {
        self.0.needs_hop_limit()
    }

    #[inline]
    fn accepts_with_hop_limit(&mut self, payload: &[u8], source: SocketAddr, hop_limit: u8) -> bool {
        !self.0.accepts_with_hop_limit(payload, source, hop_limit)
    }

    fn prepare(&mut self, mtu: usize) {
        self.0.prepare(mtu);
    }

    fn compile(&self, code: &mut Assembler<'_>) -> Fit {
        code.not(|code| self.0.compile(code))
    }
}

impl<F: Filter + ?Sized> Filter for &mut F {
    #[inline]
    fn accepts(&mut self, payload: &[u8], source: SocketAddr) -> bool {
        (**self).accepts(payload, source)
    }

    fn needs_hop_limit(&self) -> bool {
        (**self).needs_hop_limit()
    }

    fn accepts_with_hop_limit(&mut self, payload: &[u8], source: SocketAddr, hop_limit: u8) -> bool {
        (**self).accepts_with_hop_limit(payload, source, hop_limit)
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

    fn needs_hop_limit(&self) -> bool {
        (**self).needs_hop_limit()
    }

    fn accepts_with_hop_limit(&mut self, payload: &[u8], source: SocketAddr, hop_limit: u8) -> bool {
        (**self).accepts_with_hop_limit(payload, source, hop_limit)
    }

    fn prepare(&mut self, mtu: usize) {
        (**self).prepare(mtu);
    }

    fn compile(&self, code: &mut Assembler<'_>) -> Fit {
        (**self).compile(code)
    }
}
