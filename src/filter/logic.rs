//! Filters that combine other filters.

use core::net::SocketAddr;

use super::Filter;
use super::kernel::{Assembler, Fit};

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
        code.refuse()
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
        !self.0.accepts(payload, source)
    }

    fn prepare(&mut self, mtu: usize) {
        self.0.prepare(mtu);
    }

    fn compile(&self, code: &mut Assembler<'_>) -> Fit {
        code.not(|code| self.0.compile(code))
    }
}
