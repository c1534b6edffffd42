//! What must not grow: descriptors, memory, sockets and memberships.

use std::alloc::System;
use std::fmt;
use std::time::{Duration, Instant};

use cap::Cap;

#[global_allocator]
static HEAP: Cap<System> = Cap::new(System, usize::MAX);

/// How much the heap may differ from one look to the next: buffers of std, and the rows of the result.
const HEAP_SLACK: usize = 64 << 10;
/// How much memory the allocator and the stacks may take more than at the first look.
const MEMORY_SLACK: u64 = 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    pub descriptors: usize,
    /// Bytes.
    pub heap: usize,
    /// kB, of smaps_rollup: all of it; and without what files back.
    pub resident: u64,
    pub anonymous: u64,
    /// UDP sockets in this network namespace.
    pub sockets: usize,
    /// Lines of the kernel's lists of memberships.
    pub memberships: usize,
}

fn text(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

fn number_after(text: &str, word: &str) -> u64 {
    let rest = text.split_once(word).map_or("", |(_, rest)| rest);
    rest.split_whitespace().next().and_then(|number| number.parse().ok()).unwrap_or(0)
}

pub fn look() -> Look {
    let memory = text("/proc/self/smaps_rollup");
    let lines = |path: &str| text(path).lines().count();
    Look {
        descriptors: std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count),
        heap: HEAP.allocated(),
        resident: number_after(&memory, "Rss:"),
        anonymous: number_after(&memory, "Anonymous:"),
        sockets: lines("/proc/thread-self/net/udp") + lines("/proc/thread-self/net/udp6"),
        memberships: lines("/proc/thread-self/net/igmp") + lines("/proc/thread-self/net/igmp6"),
    }
}

/// Looks again, for some seconds, until all is as at the first look: a link that was created again gets its own memberships (the
/// solicited-node groups of its addresses) from a worker of the kernel, a short time later.
pub fn look_again_until_flat(first: Option<&Look>) -> Look {
    let end = Instant::now() + Duration::from_secs(5);
    loop {
        let now = look();
        if first.is_none_or(|first| now.differs_from(first).is_none()) || Instant::now() > end {
            return now;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

impl Look {
    /// What has grown, or is different, since this first look.
    pub fn differs_from(&self, first: &Self) -> Option<String> {
        let exact = [
            ("descriptors", self.descriptors, first.descriptors),
            ("sockets", self.sockets, first.sockets),
            ("memberships", self.memberships, first.memberships),
        ];
        let changed = exact.iter().find(|(_, now, first)| now != first);
        if let Some((what, now, first)) = changed {
            return Some(format!("{now} {what}, and {first} at the first look"));
        }
        if self.heap > first.heap + HEAP_SLACK {
            return Some(format!("{} bytes of heap, and {} at the first look", self.heap, first.heap));
        }
        (self.anonymous > first.anonymous + MEMORY_SLACK)
            .then(|| format!("{} kB of memory, and {} at the first look", self.anonymous, first.anonymous))
    }
}

impl fmt::Display for Look {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { descriptors, heap, resident, anonymous, sockets, memberships } = self;
        write!(f, "{descriptors:>11} {heap:>9} {anonymous:>12} {resident:>8} {sockets:>7} {memberships:>11}")
    }
}

/// The names of what `Display` writes.
pub const HEAD: &str = "descriptors heap in B anonymous kB  RSS kB sockets memberships";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_descriptor_and_memory_that_stay_are_found() {
        let first = look();
        assert_eq!(first.differs_from(&first), None);
        let file = std::fs::File::open("/dev/null").unwrap();
        assert!(look().differs_from(&first).unwrap().contains("descriptors"));
        drop(file);
        let kept = vec![1_u8; 1 << 20];
        assert!(look().differs_from(&first).unwrap().contains("heap"));
        drop(kept);
    }
}
