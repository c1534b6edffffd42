//! The goals of the ratios.

use std::fmt;

use crate::measure::Spread;

/// The name of a subject's allocations per packet among its ratios.
pub(crate) const ALLOCATIONS: &str = "allocations";

/// The name of a subject's own figure among its ratios, if it has a goal.
pub(crate) const NANOSECONDS: &str = "nanoseconds";

/// The highest ratio that meets the goal.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Goal(f64);

impl Goal {
    pub(crate) fn is_met(self, ratio: Spread) -> bool {
        ratio.median <= self.0
    }
}

impl fmt::Display for Goal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "goal<={}", self.0)
    }
}

/// The case, the peer that its subject is compared with, and the goal.
pub(crate) const GOALS: &[(&str, &str, Goal)] = &[
    // What the abstraction costs.
    ("drain/64", "rustix", Goal(1.03)),
    ("drain/64", "c-recvfrom", Goal(0.87)),
    ("drain/64", "mio", Goal(0.90)),
    ("drain/64", "mcrx-core", Goal(0.80)),
    ("drain-z/64", "c-recvfrom", Goal(0.90)),
    ("drain-coalesced/64", "c-recvfrom", Goal(0.03)),
    ("drain-coalesced/1400", "c-recvfrom", Goal(0.15)),
    ("burst-4/64", "mio", Goal(0.90)),
    ("send/64", "c-sendto", Goal(0.85)),
    ("send/64", "mio", Goal(0.85)),
    ("send/64", "mctx-core", Goal(0.85)),
    ("send-coalesced/64", "c-sendto", Goal(0.03)),
    ("send-coalesced-drained/64", "c-sendto", Goal(0.25)),
    // No measurable difference: waking up takes the time.
    ("round-trip/64", "c-epoll", Goal(1.05)),
    ("registered-1000/64", "ours-with-1", Goal(1.10)),
    ("registered-10000/64", "ours-with-1", Goal(1.10)),
    // Other ways to wait.
    ("round-trip-spin/64", "c-epoll", Goal(0.30)),
    ("rate-10k-1ms/64", "ours", Goal(0.25)),
    ("rate-10k-5ms/64", "ours", Goal(0.12)),
    ("compat-drain/64", "ours", Goal(1.15)),
    ("compat-send/64", "ours", Goal(1.15)),
    // Unwanted packets.
    ("flood/64", "user", Goal(0.0002)),
    ("flood-10k/64", "user", Goal(0.0002)),
    ("flood-wakes/64", "user", Goal(0.0)),
    ("flood-wakes-10k/64", "user", Goal(0.0)),
    ("refuse-prefix/64", NANOSECONDS, Goal(5.0)),
    ("refuse-regex/64", NANOSECONDS, Goal(8.0)),
    ("attach", NANOSECONDS, Goal(60_000.0)),
    ("drain/64", ALLOCATIONS, Goal(0.0)),
    ("send/64", ALLOCATIONS, Goal(0.0)),
    ("compat-drain/64", ALLOCATIONS, Goal(0.0)),
    ("compat-send/64", ALLOCATIONS, Goal(0.0)),
];

pub(crate) fn goal(case: &str, peer: &str) -> Option<Goal> {
    GOALS.iter().find(|(a_case, a_peer, _)| *a_case == case && *a_peer == peer).map(|(_, _, goal)| *goal)
}
