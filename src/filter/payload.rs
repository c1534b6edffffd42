//! Filters on the payload.

use core::net::SocketAddr;
use core::ops::{Bound, RangeBounds};

use super::Filter;
use super::kernel::{Assembler, Fit};

/// Accepts packets whose payload begins with these bytes. The empty prefix accepts every packet.
///
/// ```
/// # use multicast::filter::{Filter, Prefix};
/// # let source = "192.0.2.1:1900".parse().unwrap();
/// assert!(Prefix(b"NOTIFY ").accepts(b"NOTIFY * HTTP/1.1\r\n", source));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Prefix<T>(pub T);

impl<T: AsRef<[u8]>> Filter for Prefix<T> {
    #[inline]
    fn accepts(&mut self, payload: &[u8], _source: SocketAddr) -> bool {
        payload.starts_with(self.0.as_ref())
    }

    fn compile(&self, code: &mut Assembler<'_>) -> Fit {
        code.bytes(0, self.0.as_ref())
    }
}

/// Accepts packets whose payload, cut at the length of the listener's buffer, ends with these bytes. The empty suffix accepts
/// every packet.
///
/// ```
/// # use multicast::filter::{Filter, Suffix};
/// # let source = "192.0.2.1:1900".parse().unwrap();
/// assert!(Suffix(b"\r\n\r\n").accepts(b"NOTIFY * HTTP/1.1\r\n\r\n", source));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Suffix<T>(pub T);

impl<T: AsRef<[u8]>> Filter for Suffix<T> {
    #[inline]
    fn accepts(&mut self, payload: &[u8], _source: SocketAddr) -> bool {
        payload.ends_with(self.0.as_ref())
    }

    fn compile(&self, code: &mut Assembler<'_>) -> Fit {
        code.ending(self.0.as_ref())
    }
}

/// Accepts packets that have these bytes somewhere in their payload. An empty `Contains` accepts every packet.
///
/// The kernel decides only whether the packet is long enough: combine it with a [`Prefix`] or a [`Length`] where you can.
///
/// ```
/// # use multicast::filter::{Contains, Filter};
/// # let source = "192.0.2.1:1900".parse().unwrap();
/// assert!(Contains(b"ssdp:alive").accepts(b"NOTIFY * HTTP/1.1\r\nNTS: ssdp:alive\r\n", source));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Contains<T>(pub T);

impl<T: AsRef<[u8]>> Filter for Contains<T> {
    fn accepts(&mut self, payload: &[u8], _source: SocketAddr) -> bool {
        contains(payload, self.0.as_ref())
    }

    fn compile(&self, code: &mut Assembler<'_>) -> Fit {
        match self.0.as_ref().len() {
            0 => Fit::Exact,
            length => code.length(length, usize::MAX).and(Fit::Superset),
        }
    }
}

/// Whether these bytes are somewhere in the payload.
pub(super) fn contains(payload: &[u8], wanted: &[u8]) -> bool {
    let Some((first, rest)) = wanted.split_first() else { return true };
    // Searching for one byte is fast; the others are compared only where it is found.
    let mut left = payload.iter();
    while left.any(|byte| byte == first) {
        if left.as_slice().starts_with(rest) {
            return true;
        }
    }
    false
}

/// Accepts packets whose payload has these bytes at this offset, counted from 0.
///
/// ```
/// # use multicast::filter::{At, Filter};
/// # let source = "192.0.2.1:5353".parse().unwrap();
/// // An mDNS response: the two bytes of flags after the two bytes of the identifier.
/// assert!(At(2, b"\x84\x00").accepts(b"\0\0\x84\0\0\0\0\x01", source));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct At<T>(pub usize, pub T);

impl<T: AsRef<[u8]>> Filter for At<T> {
    #[inline]
    fn accepts(&mut self, payload: &[u8], _source: SocketAddr) -> bool {
        let wanted = self.1.as_ref();
        wanted.is_empty() || payload.get(self.0..).is_some_and(|rest| rest.starts_with(wanted))
    }

    fn compile(&self, code: &mut Assembler<'_>) -> Fit {
        code.bytes(self.0, self.1.as_ref())
    }
}

/// `Masked(offset, mask, value)` accepts packets whose payload equals the value from the offset on, in the bits where the mask
/// has ones.
///
/// The payload must be long enough for the whole value. A mask shorter than the value is extended with zeros; if it is longer,
/// the rest is ignored.
///
/// ```
/// # use multicast::filter::{Filter, Masked};
/// # let source = "192.0.2.1:5004".parse().unwrap();
/// // RTP: version 2 in the upper two bits, payload type 33 in the lower seven bits of the second byte.
/// let mut video = Masked(0, [0xc0, 0x7f], [0x80, 33]);
/// assert!(video.accepts(b"\x80\xa1\x00\x01", source));
/// assert!(!video.accepts(b"\x40\xa1\x00\x01", source));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Masked<M, V>(pub usize, pub M, pub V);

impl<M: AsRef<[u8]>, V: AsRef<[u8]>> Filter for Masked<M, V> {
    #[inline]
    fn accepts(&mut self, payload: &[u8], _source: SocketAddr) -> bool {
        let (mask, value) = (self.1.as_ref(), self.2.as_ref());
        let Some(end) = self.0.checked_add(value.len()) else { return false };
        let Some(found) = payload.get(self.0..end) else { return value.is_empty() };
        found.iter().zip(value).zip(mask).all(|((found, value), mask)| (found ^ value) & mask == 0)
    }

    fn compile(&self, code: &mut Assembler<'_>) -> Fit {
        code.masked(self.0, self.1.as_ref(), self.2.as_ref())
    }
}

/// Accepts packets whose payload, cut at the length of the listener's buffer, has a length in this range, in bytes.
///
/// ```
/// # use multicast::filter::{Filter, Length};
/// # let source = "192.0.2.1:1900".parse().unwrap();
/// assert!(Length(4..=8).accepts(b"hello", source));
/// assert!(!Length(..4).accepts(b"hello", source));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Length<R>(pub R);

impl<R: RangeBounds<usize>> Filter for Length<R> {
    #[inline]
    fn accepts(&mut self, payload: &[u8], _source: SocketAddr) -> bool {
        self.0.contains(&payload.len())
    }

    fn compile(&self, code: &mut Assembler<'_>) -> Fit {
        let least = match self.0.start_bound() {
            Bound::Included(least) => Some(*least),
            Bound::Excluded(less) => less.checked_add(1),
            Bound::Unbounded => Some(0),
        };
        let most = match self.0.end_bound() {
            Bound::Included(most) => Some(*most),
            Bound::Excluded(more) => more.checked_sub(1),
            Bound::Unbounded => Some(usize::MAX),
        };
        match (least, most) {
            (Some(least), Some(most)) => code.length(least, most),
            _ => code.reject(),
        }
    }
}
