//! Only filters: the cost of rejecting a packet, and of attaching a program.

use std::hint::black_box;
use std::net::{Ipv4Addr, SocketAddr};

use multicast::filter::{Filter, Prefix, Regex};
use multicast::{ListenOptions, Listener};

use crate::Peer;
use crate::place::{BUFFER, Outcome, Place, Tally};

const WANTED: &str = "NOTIFY ";

/// Rejects the same packet again and again.
struct Refusing<C> {
    refuses: C,
    size: usize,
}

impl<C: FnMut(&[u8]) -> bool> Peer for Refusing<C> {
    fn work(&mut self, count: u64) -> Outcome<Tally> {
        // Like real packets: readable text, in which more than the first byte differs.
        let payload = vec![b'M'; self.size];
        for _ in 0..count {
            if (self.refuses)(black_box(&payload)) {
                return Err("accepted".into());
            }
        }
        Ok(Tally::sent(count, self.size))
    }
}

fn refusing(place: &Place, mut filter: impl Filter + 'static) -> Outcome<Box<dyn Peer>> {
    filter.prepare(place.size);
    let source = SocketAddr::from((Ipv4Addr::LOCALHOST, 4242));
    Ok(Box::new(Refusing { refuses: move |payload: &[u8]| filter.accepts(payload, source), size: place.size }))
}

/// `Prefix`.
pub(crate) fn prefix(place: &Place) -> Outcome<Box<dyn Peer>> {
    refusing(place, Prefix(WANTED))
}

/// `Regex` with a pattern that begins with text.
pub(crate) fn regex(place: &Place) -> Outcome<Box<dyn Peer>> {
    refusing(place, Regex::new(r"NOTIFY \* HTTP/1\.[01]")?)
}

/// `Regex` with a pattern that can match anywhere.
pub(crate) fn regex_anywhere(place: &Place) -> Outcome<Box<dyn Peer>> {
    refusing(place, Regex::new(r"(?s).*NOTIFY \* HTTP/1\.[01]")?)
}

/// Only `regex-lite`, for the first of the two.
pub(crate) fn regex_lite(place: &Place) -> Outcome<Box<dyn Peer>> {
    alone(place, r"\ANOTIFY \* HTTP/1\.[01]")
}

/// Only `regex-lite`, for the second.
pub(crate) fn regex_lite_anywhere(place: &Place) -> Outcome<Box<dyn Peer>> {
    alone(place, r"(?s)\A.*NOTIFY \* HTTP/1\.[01]")
}

fn alone(place: &Place, pattern: &str) -> Outcome<Box<dyn Peer>> {
    let regex = regex_lite::Regex::new(pattern)?;
    let refuses = move |payload: &[u8]| std::str::from_utf8(payload).is_ok_and(|text| regex.is_match(text));
    Ok(Box::new(Refusing { refuses, size: place.size }))
}

/// Compiles a filter and attaches its program, again and again.
pub(crate) struct Attaching(Listener<BUFFER, Prefix<&'static str>>);

impl Attaching {
    pub(crate) fn open(place: &Place) -> Outcome<Box<dyn Peer>> {
        let options = ListenOptions::new().filter(Prefix(WANTED));
        Ok(Box::new(Self(options.bind(place.membership(place.port)?)?)))
    }
}

impl Peer for Attaching {
    fn work(&mut self, count: u64) -> Outcome<Tally> {
        for round in 0..count {
            // Five loads and comparisons, and two returns: 12 instructions.
            self.0.replace_filter(Prefix(if round % 2 == 0 { "NOTIFY * HTTP/1.1\r\n" } else { "NOTIFY * HTTP/1.0\r\n" }))?;
        }
        Ok(Tally::sent(count, 0))
    }
}
