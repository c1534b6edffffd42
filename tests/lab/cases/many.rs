//! Limits, and many listeners.

use std::time::Instant;

use multicast::{
    ErrorKind, Events, Group, Interest, ListenOptions, Listener, Membership, Poller, Received, SendOptions, Token,
};

use crate::cases::hosts::two_hosts;
use crate::network::{Host, interface};
use crate::peers::{Kind, PATIENCE, hear_exactly, join};
use crate::trial::{Case, Trial};

/// How many listeners one poller serves.
const MANY: u16 = 2_000;

pub fn cases() -> Vec<Case> {
    let case = |name, off, run| Case { name, off, run };
    vec![
        case("many/the-21st-group", "one of the 20 is left first", the_21st_group),
        case("many/the-21st-group-with-a-higher-limit", "the limit stays", a_higher_limit),
        case("many/the-11th-source", "one of the 10 is left first", the_11th_source),
        case("many/the-limit-of-ipv6", "the limit is raised", the_limit_of_ipv6),
        case("many/2000-listeners-in-one-poller-ipv4", "one is not registered", |trial| one_poller(trial, Kind::V4)),
        case("many/2000-listeners-in-one-poller-ipv6", "one is not registered", |trial| one_poller(trial, Kind::SiteLocal)),
        case("many/2000-listeners-hear-only-their-own-group", "one joined its neighbour's, too", own_group_alone),
    ]
}

fn membership(kind: Kind, number: u16) -> Membership {
    Membership::any(kind.group_of(number)).on(interface(0))
}

/// A listener by port that has joined the groups 1 to this one.
fn with_groups(host: &Host, kind: Kind, count: u16) -> Listener<64> {
    host.within(|| {
        let mut listener =
            ListenOptions::new().bind::<64>(multicast::Bind::Port(kind.group().port(), kind.group().family())).unwrap();
        for number in 1..=count {
            listener.join(&membership(kind, number)).unwrap();
        }
        listener
    })
}

fn the_21st_group(trial: &Trial) {
    let (a, b) = two_hosts();
    let mut listener = with_groups(&b, Kind::V4, 20);
    if !trial.works() {
        b.within(|| listener.leave(&membership(Kind::V4, 1)).unwrap());
    }
    let error = b.within(|| listener.join(&membership(Kind::V4, 21)).unwrap_err());
    assert_eq!(error.kind(), ErrorKind::LimitReached);
    let said = "join 239.1.0.21 on eth0: group limit reached (net.ipv4.igmp_max_memberships), set to 20";
    assert_eq!(error.to_string(), said);
    // The 20 groups did not change.
    for number in 1..=21 {
        a.send(Kind::V4.group_of(number), &[number.to_string()]);
    }
    let expected: Vec<String> = (1..=20).map(|number: u16| number.to_string()).collect();
    hear_exactly(&mut listener, &expected.iter().map(String::as_str).collect::<Vec<_>>());
}

fn a_higher_limit(trial: &Trial) {
    let (a, b) = two_hosts();
    if trial.works() {
        b.set("net/ipv4/igmp_max_memberships", "21");
    }
    let mut listener = with_groups(&b, Kind::V4, 21);
    a.send(Kind::V4.group_of(21), &["the 21st"]);
    hear_exactly(&mut listener, &["the 21st"]);
    let error = b.within(|| listener.join(&membership(Kind::V4, 22)).unwrap_err());
    assert!(error.to_string().ends_with("(net.ipv4.igmp_max_memberships), set to 21"), "{error}");
}

fn the_11th_source(trial: &Trial) {
    let (a, b) = two_hosts();
    let from = |number| Membership::source(Kind::V4.group(), Kind::V4.address(0, number)).on(interface(0));
    let mut listener = join(&b, from(1));
    let error = b.within(|| {
        for number in 2..=10 {
            listener.join(&from(number)).unwrap();
        }
        if !trial.works() {
            listener.leave(&from(10)).unwrap();
        }
        listener.join(&from(11)).unwrap_err()
    });
    assert_eq!(error.kind(), ErrorKind::SourceLimitReached);
    assert!(error.to_string().contains("(net.ipv4.igmp_max_msf)"), "{error}");
    assert!(error.to_string().ends_with("set to 10"), "{error}");
    a.send(Kind::V4.group(), &["from the first"]);
    hear_exactly(&mut listener, &["from the first"]);
}

/// IPv6 has no limit of groups; the memory for options is the limit.
fn the_limit_of_ipv6(trial: &Trial) {
    let (_a, b) = two_hosts();
    b.set("net/core/optmem_max", trial.pick("20480", "204800"));
    let error = b.within(|| {
        let mut listener = ListenOptions::new().bind::<64>(multicast::Bind::Port(5000, multicast::Family::V6)).unwrap();
        (1..1_000).find_map(|number| listener.join(&membership(Kind::SiteLocal, number)).err())
    });
    let error = error.expect("1,000 groups are no limit");
    assert_eq!(error.kind(), ErrorKind::LimitReached);
    assert!(error.to_string().ends_with("group limit reached (net.core.optmem_max), set to 20480"), "{error}");
}

/// Each on its own group, all on one port.
fn listeners(host: &Host, kind: Kind) -> Vec<Listener<64>> {
    host.within(|| (0..MANY).map(|number| ListenOptions::new().bind(membership(kind, number)).unwrap()).collect())
}

fn send_to_each(host: &Host, groups: impl Iterator<Item = Group> + Send) {
    host.within(|| {
        for group in groups {
            let payload = group.address().to_string();
            let mut caster = SendOptions::new().interface(interface(0)).packets(group, [payload]).unwrap();
            caster.step().unwrap();
        }
    });
}

fn one_poller(trial: &Trial, kind: Kind) {
    let (a, b) = two_hosts();
    let mut listeners = listeners(&b, kind);
    let poller = Poller::new().unwrap();
    for (number, listener) in listeners.iter().enumerate() {
        if trial.works() || number != 1_234 {
            poller.register(listener, Token(number as u64), Interest::READABLE).unwrap();
        }
    }
    send_to_each(&a, (0..MANY).map(|number| kind.group_of(number)));
    let mut served = vec![0; listeners.len()];
    let end = Instant::now() + PATIENCE;
    let mut events = Events::<64>::new();
    while served.contains(&0) {
        assert!(Instant::now() < end, "{} were not served", served.iter().filter(|count| **count == 0).count());
        for event in poller.poll(&mut events, PATIENCE / 5).unwrap() {
            let number = event.token().0 as usize;
            while let Received::Packet(packet) = listeners[number].recv().unwrap() {
                let its_own = kind.group_of(number as u16).address().to_string();
                assert_eq!(packet.payload(), its_own.as_bytes());
                served[number] += 1;
            }
        }
    }
    assert_eq!(served, vec![1; listeners.len()], "each once");
}

/// Sends to a group and its neighbour: no listener may receive both.
fn own_group_alone(trial: &Trial) {
    let (a, b) = two_hosts();
    let mut listeners = listeners(&b, Kind::V4);
    if !trial.works() {
        let other = membership(Kind::V4, 1_235);
        listeners[1_234] = b.within(|| ListenOptions::new().bind(other).unwrap());
    }
    send_to_each(&a, [Kind::V4.group_of(1_234), Kind::V4.group_of(1_235)].into_iter());
    hear_exactly(&mut listeners[1_234], &["239.1.4.210"]);
    hear_exactly(&mut listeners[1_235], &["239.1.4.211"]);
    let silent = listeners.iter_mut().all(|listener| listener.recv().unwrap() == Received::Empty);
    assert!(silent, "another listener received it, too");
}
