//! Waits for changes that `Links` reports, and recognises them.

// Each test file compiles its own copy and uses a part of it.
#![allow(dead_code, unreachable_pub)]

use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use multicast::{Change, Events, Interest, Link, Links, Name, Poller, Token};

use super::PATIENCE;

/// Reads changes until one is wanted, and returns it. It waits with a poller, as a program does.
pub fn until(links: &mut Links, wanted: impl Fn(&Change) -> bool) -> Change {
    let poller = Poller::new().unwrap();
    poller.register(&*links, Token(0), Interest::READABLE).unwrap();
    let mut events = Events::<1>::new();
    let end = Instant::now() + PATIENCE;
    loop {
        while let Some(change) = links.next().unwrap() {
            if wanted(&change) {
                return change;
            }
        }
        assert!(Instant::now() < end, "the change was not reported");
        poller.poll(&mut events, Duration::from_millis(100)).unwrap();
    }
}

/// Reads all changes that are queued.
pub fn all(links: &mut Links) -> Vec<Change> {
    std::iter::from_fn(|| links.next().unwrap()).collect()
}

pub fn name(text: &str) -> Option<Name> {
    Some(text.parse().unwrap())
}

pub fn is_link(change: &Change, index: NonZeroU32, like: impl Fn(&Link) -> bool) -> bool {
    matches!(change, Change::Link(link) if link.index == index && like(link))
}
