//! Source-specific memberships: two senders and a listener on one segment.

use multicast::{ErrorKind, ListenOptions, Listener, Membership};

use crate::network::{Host, interface, switch};
use crate::peers::{Kind, hear_exactly, join};
use crate::trial::{Case, Trial};

pub fn cases() -> Vec<Case> {
    let case = |name, off, run| Case { name, off, run };
    let any = "any source is joined instead of one";
    let unblocked = "nothing is blocked";
    vec![
        case("sources/only-the-included-ipv4", any, |trial| only_the_included(trial, Kind::V4)),
        case("sources/only-the-included-ipv6-link-local", any, |trial| only_the_included(trial, Kind::LinkLocal)),
        case("sources/only-the-included-ipv6", any, |trial| only_the_included(trial, Kind::SiteLocal)),
        case("sources/several-and-one-left-ipv4", any, |trial| several_and_one_left(trial, Kind::V4)),
        case("sources/several-and-one-left-ipv6", any, |trial| several_and_one_left(trial, Kind::SiteLocal)),
        case("sources/blocked-and-unblocked-ipv4", unblocked, |trial| blocked_and_unblocked(trial, Kind::V4)),
        case("sources/blocked-and-unblocked-ipv6", unblocked, |trial| blocked_and_unblocked(trial, Kind::SiteLocal)),
        case("sources/by-port-ipv4", any, |trial| by_port(trial, Kind::V4)),
        case("sources/by-port-ipv6", any, |trial| by_port(trial, Kind::SiteLocal)),
        case("sources/beside-a-listener-to-any", any, beside_a_listener_to_any),
        case("sources/the-kinds-do-not-mix", "they are joined by two listeners", the_kinds_do_not_mix),
    ]
}

/// Two senders with the numbers 1 and 2, and a listener, on one switch that forwards to all ports.
struct Segment {
    _switch: Host,
    first: Host,
    second: Host,
    listener: Host,
}

impl Segment {
    fn new() -> Self {
        let (first, second, listener) = (Host::new("first"), Host::new("second"), Host::new("listener"));
        let switch = switch("mcast_snooping 0", &[&first, &second, &listener]);
        Self { _switch: switch, first, second, listener }
    }

    fn send(&self, kind: Kind, text: &str) {
        for (host, name) in [(&self.first, "first"), (&self.second, "second")] {
            host.send(kind.group(), &[format!("{name} {text}")]);
        }
    }
}

fn any(kind: Kind) -> Membership {
    Membership::any(kind.group()).on(interface(0))
}

/// A membership for only the sender with this number.
fn from(kind: Kind, number: u8) -> Membership {
    Membership::source(kind.group(), kind.address(0, number)).on(interface(0))
}

fn only_the_included(trial: &Trial, kind: Kind) {
    let net = Segment::new();
    let mut listener = join(&net.listener, trial.pick(from(kind, 2), any(kind)));
    net.send(kind, "a");
    net.send(kind, "b");
    hear_exactly(&mut listener, &["second a", "second b"]);
}

fn several_and_one_left(trial: &Trial, kind: Kind) {
    let net = Segment::new();
    let mut listener = join(&net.listener, trial.pick(from(kind, 7), any(kind)));
    net.send(kind, "unheard");
    if trial.works() {
        net.listener.within(|| listener.join(&from(kind, 1)).unwrap());
        net.listener.within(|| listener.join(&from(kind, 2)).unwrap());
    }
    net.send(kind, "both");
    net.listener.within(|| listener.leave(&from(kind, 1)).unwrap());
    // A datagram of the source that was left may still be queued; all later ones are from the other.
    net.send(kind, "one");
    hear_exactly(&mut listener, &["first both", "second both", "second one"]);
}

fn blocked_and_unblocked(trial: &Trial, kind: Kind) {
    let net = Segment::new();
    let (mut listener, first) = (join(&net.listener, any(kind)), kind.address(0, 1));
    net.send(kind, "open");
    if trial.works() {
        net.listener.within(|| listener.block(&any(kind), first).unwrap());
    }
    net.send(kind, "blocked");
    net.listener.within(|| listener.unblock(&any(kind), first).unwrap());
    net.send(kind, "again");
    hear_exactly(&mut listener, &["first open", "second open", "second blocked", "first again", "second again"]);
}

/// The same with a listener by port: each group has its own sources.
fn by_port(trial: &Trial, kind: Kind) {
    let net = Segment::new();
    let (one, other) = (kind.group(), kind.group_of(2));
    let mut listener: Listener<64> = net.listener.within(|| {
        let mut listener = ListenOptions::new().bind::<64>(multicast::Bind::Port(one.port(), one.family())).unwrap();
        listener.join(&trial.pick(from(kind, 1), any(kind))).unwrap();
        listener.join(&Membership::source(other, kind.address(0, 2)).on(interface(0))).unwrap();
        listener
    });
    net.send(kind, "to one");
    net.first.send(other, &["first to the other"]);
    net.second.send(other, &["second to the other"]);
    hear_exactly(&mut listener, &["first to one", "second to the other"]);
}

/// What other listeners join, in this program or another, does not change what a listener receives.
fn beside_a_listener_to_any(trial: &Trial) {
    let net = Segment::new();
    for kind in Kind::ALL {
        let mut all = join(&net.listener, any(kind));
        let mut one = join(&net.listener, trial.pick(from(kind, 1), any(kind)));
        net.send(kind, "x");
        hear_exactly(&mut all, &["first x", "second x"]);
        hear_exactly(&mut one, &["first x"]);
    }
}

fn the_kinds_do_not_mix(trial: &Trial) {
    let net = Segment::new();
    for kind in [Kind::V4, Kind::SiteLocal] {
        let mut listener = join(&net.listener, any(kind));
        let mut other = join(&net.listener, from(kind, 1));
        let mixed = net.listener.within(|| {
            let second = if trial.works() { &mut listener } else { &mut other };
            (
                second.join(&from(kind, 1)).err().map(|error| error.kind()),
                second.join(&any(kind)).err().map(|error| error.kind()),
            )
        });
        assert_eq!(mixed, (Some(ErrorKind::MixedSources), None));
        // The error did not change the listener.
        net.send(kind, "x");
        hear_exactly(&mut listener, &["first x", "second x"]);
    }
}
