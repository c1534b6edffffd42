//! How packets that this listener did not join are refused.

use core::fmt;

/// What refuses packets that this listener did not join. Each variant is a legal state.
///
/// Such packets reach a socket in several ways (see [`Socket::listening`](crate::socket::Socket::listening)). If the socket
/// itself or a program in the kernel refuses them, packets are received by the cheapest call. If the listener checks them itself,
/// the state holds the function that does so, of type `P`. So no state can require the check and lack the function.
///
/// The transitions into those states take the function as an argument. So it is linked only into programs that can need it.
pub(super) enum Gatekeeper<P> {
    /// The socket refuses them, by its address and its options. With the function if more than the payload is wanted.
    Bind(Option<P>, Wants),
    /// The guard refuses them, a program in the kernel. With the function if more than the payload is wanted.
    Guard(Option<P>, Wants),
    /// The guard checks packets that arrive. The listener checks those that were queued before a membership ended.
    Draining(P, Wants),
    /// The guard refuses most of them, and the listener checks each packet as well: the guard passes all unicast, since it cannot see
    /// where that came in; or somebody else has locked it, so that it still passes what the listener has left.
    Both(P, Wants),
    /// The same, and the guard was there when the socket was adopted. Another listener may hold a descriptor of the same socket, and
    /// rely on it: so it is never detached here.
    Shared(P, Wants),
    /// The listener checks each packet.
    We(P, Wants),
}

/// What is wanted of each packet. Each includes those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Wants {
    Payload,
    /// The same. But the socket is also used to send, and what the network reports about its packets must be read.
    Reports,
    /// By the filter, beside the payload.
    HopLimit,
    /// By the caller; the hop limit is part of it.
    Metadata,
}

impl Wants {
    /// The function for a state in which the listener does not check.
    pub(super) const fn path<P: Copy>(self, path: P) -> Option<P> {
        match self {
            Self::Reports | Self::HopLimit | Self::Metadata => Some(path),
            Self::Payload => None,
        }
    }
}

impl<P: Copy> Gatekeeper<P> {
    /// The function that receives if payload and source are not enough; `None` is the fast path.
    #[inline]
    pub(super) const fn path(&self) -> Option<P> {
        match self {
            Self::Bind(path, _) | Self::Guard(path, _) => *path,
            Self::Draining(path, _) | Self::Both(path, _) | Self::Shared(path, _) | Self::We(path, _) => Some(*path),
        }
    }

    /// Whether the listener checks each packet's destination and interface.
    pub(super) const fn checks_here(&self) -> bool {
        matches!(self, Self::Draining(..) | Self::Both(..) | Self::Shared(..) | Self::We(..))
    }

    /// Whether the kernel runs the guard.
    pub(super) const fn has_guard(&self) -> bool {
        self.owns_guard() || matches!(self, Self::Shared(..))
    }

    /// Whether this listener attached the guard.
    pub(super) const fn owns_guard(&self) -> bool {
        matches!(self, Self::Guard(..) | Self::Draining(..) | Self::Both(..))
    }

    pub(super) const fn wants(&self) -> Wants {
        match self {
            Self::Bind(_, wants)
            | Self::Guard(_, wants)
            | Self::Draining(_, wants)
            | Self::Both(_, wants)
            | Self::Shared(_, wants)
            | Self::We(_, wants) => *wants,
        }
    }

    /// The kernel has accepted the guard, so the listener need not check.
    pub(super) const fn guard_attached(&mut self) {
        if let Self::We(path, wants) = *self {
            *self = Self::Guard(wants.path(path), wants);
        }
    }

    /// The socket was adopted with a guard.
    pub(super) const fn guard_found(&mut self) {
        if let Self::We(path, wants) = *self {
            *self = Self::Shared(path, wants);
        }
    }

    /// The kernel runs the guard, and the guard passes more than this listener joined.
    pub(super) const fn guard_passes_unicast(&mut self, path: P) {
        if let Self::Guard(_, wants) = *self {
            *self = Self::Both(path, wants);
        }
    }

    /// A membership has ended. The guard has passed its packets until now, and some may be queued.
    pub(super) const fn membership_ended(&mut self, path: P) {
        if let Self::Guard(_, wants) = *self {
            *self = Self::Draining(path, wants);
        }
    }

    /// All queued packets have been read.
    #[inline]
    pub(super) const fn queue_read(&mut self) {
        if let Self::Draining(path, wants) = *self {
            *self = Self::Guard(wants.path(path), wants);
        }
    }

    /// A membership has ended, and the guard still passes its packets.
    pub(super) const fn guard_locked(&mut self, path: P) {
        if self.owns_guard() {
            *self = Self::Both(path, self.wants());
        }
    }

    /// The guard is lost: the kernel had no room for a changed one, or another process removed it.
    pub(super) const fn guard_lost(&mut self, path: P) {
        if self.has_guard() {
            *self = Self::We(path, self.wants());
        }
    }

    /// The address is shared, so that the kernel may deliver packets that other sockets joined. A guard refuses them; a bind does
    /// not.
    pub(super) const fn address_shared(&mut self, path: P) {
        if let Self::Bind(_, wants) = *self {
            *self = Self::We(path, wants);
        }
    }

    /// The filter needs the hop limit of each packet from now on.
    pub(super) fn hop_limit_wanted(&mut self, path: P) {
        self.want(Wants::HopLimit, path);
    }

    /// The socket is used to send, too, from now on.
    pub(super) fn reports_wanted(&mut self, path: P) {
        self.want(Wants::Reports, path);
    }

    /// Wants this, or more if more was wanted before.
    fn want(&mut self, wanted: Wants, path: P) {
        let more = self.wants().max(wanted);
        match self {
            Self::Bind(with, wants) | Self::Guard(with, wants) => (*with, *wants) = (more.path(path), more),
            Self::Draining(_, wants) | Self::Both(_, wants) | Self::Shared(_, wants) | Self::We(_, wants) => *wants = more,
        }
    }

    /// The same state with another function.
    pub(super) const fn with_path<Q: Copy>(&self, path: Q) -> Gatekeeper<Q> {
        match self {
            Self::Bind(_, wants) => Gatekeeper::Bind(wants.path(path), *wants),
            Self::Guard(_, wants) => Gatekeeper::Guard(wants.path(path), *wants),
            Self::Draining(_, wants) => Gatekeeper::Draining(path, *wants),
            Self::Both(_, wants) => Gatekeeper::Both(path, *wants),
            Self::Shared(_, wants) => Gatekeeper::Shared(path, *wants),
            Self::We(_, wants) => Gatekeeper::We(path, *wants),
        }
    }
}

impl<P: Copy> fmt::Debug for Gatekeeper<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bind(..) => "the socket's address",
            Self::Guard(..) => "the guard",
            Self::Draining(..) => "the guard, and a check of queued packets",
            Self::Both(..) | Self::Shared(..) => "the guard, and a check of each packet",
            Self::We(..) => "a check of each packet",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Keeper = Gatekeeper<char>;

    const STATES: [fn(Wants) -> Keeper; 6] = [
        |wants| Keeper::Bind(wants.path('p'), wants),
        |wants| Keeper::Guard(wants.path('p'), wants),
        |wants| Keeper::Draining('p', wants),
        |wants| Keeper::Both('p', wants),
        |wants| Keeper::We('p', wants),
        |wants| Keeper::Shared('p', wants),
    ];

    const ALL: [Wants; 4] = [Wants::Payload, Wants::Reports, Wants::HopLimit, Wants::Metadata];

    /// The number of a state, as in `STATES`.
    fn number<P>(keeper: &Gatekeeper<P>) -> usize {
        match keeper {
            Gatekeeper::Bind(..) => 0,
            Gatekeeper::Guard(..) => 1,
            Gatekeeper::Draining(..) => 2,
            Gatekeeper::Both(..) => 3,
            Gatekeeper::We(..) => 4,
            Gatekeeper::Shared(..) => 5,
        }
    }

    #[test]
    fn each_event_leads_from_each_state_to_the_expected_state() {
        const BIND: usize = 0;
        const GUARD: usize = 1;
        const DRAINING: usize = 2;
        const BOTH: usize = 3;
        const WE: usize = 4;
        const SHARED: usize = 5;
        type Event = (&'static str, fn(&mut Keeper), [usize; 6]);
        let table: [Event; 8] = [
            // In the state:                                                  Bind  Guard     Draining  Both  We      Shared
            ("guard attached", |keeper| keeper.guard_attached(), [BIND, GUARD, DRAINING, BOTH, GUARD, SHARED]),
            ("guard found", |keeper| keeper.guard_found(), [BIND, GUARD, DRAINING, BOTH, SHARED, SHARED]),
            ("guard passes unicast", |keeper| keeper.guard_passes_unicast('p'), [BIND, BOTH, DRAINING, BOTH, WE, SHARED]),
            ("membership ended", |keeper| keeper.membership_ended('p'), [BIND, DRAINING, DRAINING, BOTH, WE, SHARED]),
            ("queue read", |keeper| keeper.queue_read(), [BIND, GUARD, GUARD, BOTH, WE, SHARED]),
            ("guard locked", |keeper| keeper.guard_locked('p'), [BIND, BOTH, BOTH, BOTH, WE, SHARED]),
            ("guard lost", |keeper| keeper.guard_lost('p'), [BIND, WE, WE, WE, WE, WE]),
            ("address shared", |keeper| keeper.address_shared('p'), [WE, GUARD, DRAINING, BOTH, WE, SHARED]),
        ];
        for (event, happens, expected) in table {
            for (from, state) in STATES.iter().enumerate() {
                for wants in ALL {
                    let mut keeper = state(wants);
                    happens(&mut keeper);
                    assert_eq!((number(&keeper), keeper.wants()), (expected[from], wants), "{event}, in state {from}");
                }
            }
        }
    }

    #[test]
    fn more_can_be_wanted_in_each_state_and_never_less() {
        type More = (fn(&mut Keeper), Wants);
        let more: [More; 2] = [
            (|keeper| keeper.hop_limit_wanted('p'), Wants::HopLimit),
            (|keeper| keeper.reports_wanted('p'), Wants::Reports),
        ];
        for (from, state) in STATES.iter().enumerate() {
            for wants in ALL {
                for (want, wanted) in more {
                    let mut keeper = state(wants);
                    want(&mut keeper);
                    let expected = if wants > wanted { wants } else { wanted };
                    assert_eq!((number(&keeper), keeper.wants(), keeper.path()), (from, expected, Some('p')));
                }
            }
        }
    }

    #[test]
    fn every_state_that_checks_has_the_function_that_checks() {
        let expected = [(false, false), (false, true), (true, true), (true, true), (true, false), (true, true)];
        for (state, (checks, guard)) in STATES.iter().zip(expected) {
            for wants in ALL {
                let keeper = state(wants);
                assert_eq!((keeper.checks_here(), keeper.has_guard()), (checks, guard), "{keeper:?}");
                assert_eq!(keeper.path().is_some(), checks || wants != Wants::Payload, "{keeper:?}");
                let other = keeper.with_path(1);
                assert_eq!((number(&other), other.wants()), (number(&keeper), wants));
                assert_eq!(other.path(), keeper.path().map(|_| 1));
            }
        }
    }
}
