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

/// What is judged.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Aim {
    /// The median.
    Most(Goal),
    /// The interval of the median: it must reach 1. Nearly all of the time is the kernel's, and so is the noise.
    Even,
}

impl Aim {
    pub(crate) fn is_met(self, ratio: Spread) -> bool {
        match self {
            Self::Most(Goal(most)) => ratio.median <= most,
            Self::Even => ratio.low <= 1.0,
        }
    }
}

impl fmt::Display for Aim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Most(Goal(most)) => write!(f, "goal<={most}"),
            Self::Even => write!(f, "goal<=1-in-the-interval"),
        }
    }
}

/// The case, the peer that its subject is compared with, and the goal.
const GOALS: &[(&str, &str, Goal)] = &[
    // What the abstraction costs.
    ("drain/64", "mcrx-core", Goal(0.80)),
    ("drain-coalesced/64", "c-recvfrom", Goal(0.03)),
    ("drain-coalesced/1400", "c-recvfrom", Goal(0.15)),
    ("send-coalesced/64", "c-sendto", Goal(0.03)),
    ("send-coalesced-drained/64", "c-segment", Goal(1.05)),
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
    // The lower limit of one call a packet.
    ("floor-receive/64", "rustix", Goal(1.02)),
    ("floor-send/64", "rustix", Goal(1.02)),
    ("floor-send/64", "mctx-core", Goal(1.00)),
    ("floor-coalesced/64", "c-gro", Goal(1.05)),
    ("floor-coalesced/1400", "c-gro", Goal(1.05)),
    ("send-adjacent/64", "c-segment", Goal(1.10)),
    ("send-adjacent/1400", "c-segment", Goal(1.05)),
    ("live-16/64", "c-sendto", Goal(0.35)),
    ("live-16/1316", "c-sendto", Goal(0.35)),
    ("question/64", "c-epoll", Goal(1.03)),
    ("ordinary-sender/1316", "ours", Goal(0.50)),
    ("ordinary-sender/1316", "ours-gro-off", Goal(0.12)),
];

/// Cases in which no peer is faster, apart from noise.
const EVEN: &[(&str, &str)] = &[
    ("drain-z/64", "c-recvfrom"),
    ("floor-receive/64", "c-recvfrom"),
    ("floor-receive/64", "std"),
    ("floor-receive/64", "mio"),
    ("floor-send/64", "c-sendto"),
    ("floor-send/64", "std"),
    ("floor-send/64", "mio"),
    ("floor-burst-4/64", "mio"),
    ("floor-burst-4/64", "c-epoll"),
];

/// All goals: the case, the peer that its subject is compared with, and what is judged.
pub(crate) fn all() -> impl Iterator<Item = (&'static str, &'static str, Aim)> {
    let medians = GOALS.iter().map(|&(case, peer, goal)| (case, peer, Aim::Most(goal)));
    medians.chain(EVEN.iter().map(|&(case, peer)| (case, peer, Aim::Even)))
}

pub(crate) fn goal(case: &str, peer: &str) -> Option<Aim> {
    all().find(|(a_case, a_peer, _)| *a_case == case && *a_peer == peer).map(|(_, _, aim)| aim)
}
