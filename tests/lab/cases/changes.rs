//! Interfaces that go down, are removed, created again, created late, or renamed; addresses and routes that come late.

use std::time::{Duration, Instant};

use multicast::{
    ErrorKind, Group, Interface, Links, ListenOptions, Listener, Membership, Memberships, Progress, SendOptions,
};

use crate::network::{Host, address, bare_cable, cable, interface, named};
use crate::peers::{Kind, PATIENCE, hear_exactly, hear_nothing, listen, peer, plain_sender};
use crate::trial::{Case, Trial};

/// How often an interface is created again: more often than a socket may have groups (`igmp_max_memberships`, 20).
const TIMES: u32 = 25;

pub fn cases() -> Vec<Case> {
    let case = |name, off, run| Case { name, off, run };
    let unapplied = "changes are not applied";
    vec![
        case("changes/down-and-up-ipv4", "the group is left in between", |trial| down_and_up(trial, Kind::V4)),
        case("changes/down-and-up-ipv6-link-local", "the group is left in between", |trial| {
            down_and_up(trial, Kind::LinkLocal)
        }),
        case("changes/down-and-up-ipv6", "the group is left in between", |trial| down_and_up(trial, Kind::SiteLocal)),
        case("changes/recreated-25-times-ipv4", unapplied, |trial| recreated(trial, Kind::V4)),
        case("changes/recreated-25-times-ipv6-link-local", unapplied, |trial| recreated(trial, Kind::LinkLocal)),
        case("changes/recreated-25-times-ipv6", unapplied, |trial| recreated(trial, Kind::SiteLocal)),
        case("changes/recreated-at-the-group-limit", unapplied, recreated_at_the_group_limit),
        case(
            "changes/recreated-and-nothing-else-comes-in",
            "the other interface is joined, too",
            recreated_and_nothing_else_comes_in,
        ),
        case("changes/appears-after-start-ipv4", unapplied, |trial| appears_after_start(trial, Kind::V4)),
        case("changes/appears-after-start-ipv6-link-local", unapplied, |trial| appears_after_start(trial, Kind::LinkLocal)),
        case("changes/appears-after-start-ipv6", unapplied, |trial| appears_after_start(trial, Kind::SiteLocal)),
        case("changes/all-joins-what-appears", unapplied, all_joins_what_appears),
        case("changes/listening-on-a-late-address", unapplied, listening_on_a_late_address),
        case("changes/sending-before-the-address", "a plain socket sends", sending_before_the_address),
        case("changes/renamed", unapplied, renamed),
        case("changes/default-route-comes-late-and-moves", unapplied, default_route),
        case("changes/a-sender-continues-on-a-new-interface", "the old sender is used again", a_sender_continues),
    ]
}

/// A listener by port, and its memberships; changes are applied to them or not.
struct Follower {
    listener: Listener<64>,
    links: Links,
    book: Memberships<20>,
    is_applied: bool,
}

impl Follower {
    /// On a host: joins these memberships, at once or as soon as possible.
    fn new(trial: &Trial, host: &Host, memberships: &[Membership]) -> Self {
        host.within(|| {
            let group = memberships[0].group();
            let links = Links::watch().unwrap();
            let mut listener = ListenOptions::new().bind::<64>(multicast::Bind::Port(group.port(), group.family())).unwrap();
            let mut book = Memberships::new();
            for membership in memberships {
                book.join(*membership, &mut listener).unwrap();
            }
            Self { listener, links, book, is_applied: trial.works() }
        })
    }

    /// Applies changes until this many memberships are pending.
    fn follow(&mut self, host: &Host, pending: usize) {
        let end = Instant::now() + PATIENCE;
        host.within(|| {
            loop {
                while let Some(change) = self.links.next().unwrap() {
                    if self.is_applied {
                        self.book.apply(&change, &mut self.listener).unwrap();
                    }
                }
                if !self.is_applied || self.book.pending().count() == pending {
                    return;
                }
                assert!(Instant::now() < end, "{:?} wait", self.book.pending().collect::<Vec<_>>());
                std::thread::sleep(Duration::from_millis(1));
            }
        });
    }
}

/// A sender and a host, with a cable between their `eth0`.
struct Cable {
    sender: Host,
    host: Host,
}

impl Cable {
    fn new() -> Self {
        let unplugged = Self::unplugged();
        unplugged.plug_in();
        unplugged
    }

    fn unplugged() -> Self {
        Self { sender: Host::new("sender"), host: Host::new("host") }
    }

    fn plug_in(&self) {
        cable(0, (&self.sender, "eth0"), (&self.host, "eth0"));
    }

    /// Deletes both ends, and creates them again with the same names: to the kernel these are other interfaces.
    fn replace(&self) {
        self.host.ip(&["link delete eth0"]);
        self.plug_in();
    }
}

fn on_eth0(kind: Kind) -> Membership {
    Membership::any(kind.group()).on(interface(0))
}

fn down_and_up(trial: &Trial, kind: Kind) {
    let net = Cable::new();
    let mut listener = listen(&net.host, kind.group(), interface(0));
    for round in ["one", "two", "three"] {
        net.host.ip(&["link set eth0 down"]);
        if !trial.works() {
            net.host.within(|| listener.leave(&on_eth0(kind)).unwrap());
        }
        net.host.ip(&["link set eth0 up"]);
        crate::network::wait_until_up((&net.host, "eth0"));
        crate::network::wait_until_up((&net.sender, "eth0"));
        net.sender.send(kind.group(), &[round]);
        hear_exactly(&mut listener, &[round]);
    }
}

fn recreated(trial: &Trial, kind: Kind) {
    let net = Cable::new();
    let mut follower = Follower::new(trial, &net.host, &[on_eth0(kind)]);
    for round in 0..=TIMES {
        if round > 0 {
            net.replace();
            follower.follow(&net.host, 0);
        }
        let text = format!("round {round}");
        net.sender.send(kind.group(), &[&text]);
        assert_eq!(crate::common::next_within(&mut follower.listener, PATIENCE), Some(text.into_bytes()), "round {round}");
    }
    hear_nothing(&mut follower.listener);
}

/// As many groups as the kernel allows: a lost membership must be left before a new one can be joined.
fn recreated_at_the_group_limit(trial: &Trial) {
    let net = Cable::new();
    let groups: Vec<Group> = (1..=20).map(|number| Kind::V4.group_of(number)).collect();
    let memberships: Vec<_> = groups.iter().map(|group| Membership::any(*group).on(interface(0))).collect();
    let mut follower = Follower::new(trial, &net.host, &memberships);
    for round in 0..3 {
        net.replace();
        follower.follow(&net.host, 0);
        let texts: Vec<String> = (0..groups.len()).map(|number| format!("{round} to group {number}")).collect();
        for (group, text) in groups.iter().zip(&texts) {
            net.sender.send(*group, &[text]);
        }
        hear_exactly(&mut follower.listener, &texts.iter().map(String::as_str).collect::<Vec<_>>());
    }
}

fn recreated_and_nothing_else_comes_in(trial: &Trial) {
    let (net, other) = (Cable::new(), Host::new("other"));
    cable(1, (&other, "eth0"), (&net.host, "eth1"));
    for kind in Kind::ALL {
        let mut follower = Follower::new(trial, &net.host, &[on_eth0(kind)]);
        if !trial.works() {
            follower.is_applied = true;
            net.host.within(|| follower.listener.join(&Membership::any(kind.group()).on(interface(1))).unwrap());
        }
        net.replace();
        follower.follow(&net.host, 0);
        // Other programs join the group on another interface, and another group on this one.
        let _elsewhere = net.host.within(|| peer::Receiver::join(kind.group(), "eth1"));
        let _another = net.host.within(|| peer::Receiver::join(kind.group_of(2), "eth0"));
        other.send(kind.group(), &["by another interface"]);
        net.sender.send(kind.group_of(2), &["to another group"]);
        let to = std::net::SocketAddr::from((kind.address(0, 2), kind.group().port()));
        if kind != Kind::LinkLocal {
            let any = if kind == Kind::V4 { "0.0.0.0" } else { "::" };
            net.sender.within(|| std::net::UdpSocket::bind((any, 0)).unwrap().send_to(b"unicast", to).unwrap());
        }
        net.sender.send(kind.group(), &["ours"]);
        hear_exactly(&mut follower.listener, &["ours"]);
    }
}

fn appears_after_start(trial: &Trial, kind: Kind) {
    let net = Cable::unplugged();
    let mut follower = Follower::new(trial, &net.host, &[on_eth0(kind)]);
    follower.follow(&net.host, 1);
    net.plug_in();
    follower.follow(&net.host, 0);
    net.sender.send(kind.group(), &["at last"]);
    hear_exactly(&mut follower.listener, &["at last"]);
}

fn all_joins_what_appears(trial: &Trial) {
    let (net, other) = (Cable::new(), Host::new("other"));
    for kind in Kind::ALL {
        let mut follower = Follower::new(trial, &net.host, &[Membership::any(kind.group()).on(Interface::All)]);
        net.sender.send(kind.group(), &["by eth0"]);
        hear_exactly(&mut follower.listener, &["by eth0"]);
        cable(1, (&other, "eth0"), (&net.host, "eth1"));
        follower.follow(&net.host, 0);
        net.sender.send(kind.group(), &["by eth0"]);
        other.send(kind.group(), &["by eth1"]);
        hear_exactly(&mut follower.listener, &["by eth0", "by eth1"]);
        net.host.ip(&["link delete eth1"]);
        follower.follow(&net.host, 0);
        net.sender.send(kind.group(), &["by eth0 still"]);
        hear_exactly(&mut follower.listener, &["by eth0 still"]);
    }
}

fn listening_on_a_late_address(trial: &Trial) {
    for kind in [Kind::V4, Kind::SiteLocal] {
        let net = Cable::unplugged();
        let membership = Membership::any(kind.group()).on(Interface::Address(kind.address(0, 2)));
        let mut follower = Follower::new(trial, &net.host, &[membership]);
        bare_cable((&net.sender, "eth0"), (&net.host, "eth0"));
        address(0, 1, (&net.sender, "eth0"));
        follower.follow(&net.host, 1);
        address(0, 2, (&net.host, "eth0"));
        follower.follow(&net.host, 0);
        net.sender.send(kind.group(), &["at last"]);
        hear_exactly(&mut follower.listener, &["at last"]);
    }
}

/// No packet has the source 0.0.0.0.
fn sending_before_the_address(trial: &Trial) {
    let net = Cable::unplugged();
    bare_cable((&net.sender, "eth0"), (&net.host, "eth0"));
    let group = Kind::V4.group();
    let mut python = net.host.within(|| peer::Receiver::join(group, "eth0"));
    let attempt = || {
        net.sender.within(|| {
            if !trial.works() {
                plain_sender("eth0").send_to(b"x", std::net::SocketAddr::from(group)).unwrap();
                return None;
            }
            let made = SendOptions::new().interface(interface(0)).packets(group, ["x"]);
            made.and_then(|mut caster| caster.step()).err().map(|error| error.kind())
        })
    };
    let before = attempt();
    address(0, 1, (&net.sender, "eth0"));
    let after = attempt();
    assert_eq!(python.next().source, "10.0.0.1");
    assert_eq!((before, after), (Some(ErrorKind::NoAddress), None));
}

/// The user gave a name, so the interface that has the name now is used.
fn renamed(trial: &Trial) {
    let (net, other) = (Cable::new(), Host::new("other"));
    cable(1, (&other, "eth0"), (&net.host, "eth1"));
    // Twice: the second time they get their first names back.
    for (its, host) in [(&net.sender, &other), (&other, &net.sender)] {
        let mut followers = Kind::ALL.map(|kind| Follower::new(trial, &net.host, &[on_eth0(kind)]));
        for (kind, follower) in Kind::ALL.into_iter().zip(&mut followers) {
            its.send(kind.group(), &["before"]);
            host.send(kind.group(), &["by the other"]);
            hear_exactly(&mut follower.listener, &["before"]);
        }
        // Each gets the name of the other.
        for command in ["eth0 name spare", "eth1 name eth0", "spare name eth1"] {
            let (from, _) = command.split_once(' ').unwrap();
            net.host.ip(&[&format!("link set {from} down"), &format!("link set {command}")]);
        }
        for end in ["eth0", "eth1"] {
            net.host.ip(&[&format!("link set {end} up")]);
        }
        for end in [(&net.host, "eth0"), (&net.host, "eth1"), (&net.sender, "eth0"), (&other, "eth0")] {
            crate::network::wait_until_up(end);
        }
        for (kind, follower) in Kind::ALL.into_iter().zip(&mut followers) {
            follower.follow(&net.host, 0);
            its.send(kind.group(), &["by what was eth0"]);
            host.send(kind.group(), &["by what is eth0 now"]);
            hear_exactly(&mut follower.listener, &["by what is eth0 now"]);
        }
    }
}

fn default_route(trial: &Trial) {
    let (net, other) = (Cable::unplugged(), Host::new("other"));
    let membership = Membership::any(Kind::V4.group());
    let mut follower = Follower::new(trial, &net.host, &[membership]);
    follower.follow(&net.host, 1);
    net.plug_in();
    cable(1, (&other, "eth0"), (&net.host, "eth1"));
    net.host.ip(&["route add default via 10.0.0.1"]);
    follower.follow(&net.host, 0);
    let both = || {
        net.sender.send(Kind::V4.group(), &["by eth0"]);
        other.send(Kind::V4.group(), &["by eth1"]);
    };
    both();
    hear_exactly(&mut follower.listener, &["by eth0"]);
    net.host.ip(&["route replace default via 10.0.1.1"]);
    follower.follow(&net.host, 0);
    both();
    hear_exactly(&mut follower.listener, &["by eth1"]);
}

/// A sender stays on the interface that it was created for. It returns the packets that it has not sent, for the next sender.
fn a_sender_continues(trial: &Trial) {
    let net = Cable::new();
    for kind in Kind::ALL {
        let options = SendOptions::new().interface(named("eth0"));
        let mut caster = net.sender.within(|| options.packets(kind.group(), ["one", "two", "three"]).unwrap());
        let mut listener = listen(&net.host, kind.group(), interface(0));
        assert_eq!(net.sender.within(|| caster.step().unwrap()), Progress::Sent(1));
        hear_exactly(&mut listener, &["one"]);
        drop(listener);
        net.replace();
        let mut listener = listen(&net.host, kind.group(), interface(0));
        let refused = net.sender.within(|| caster.step().unwrap_err());
        assert!(matches!(refused.kind(), ErrorKind::Unreachable | ErrorKind::NoSuchInterface), "{refused:?}");
        if trial.works() {
            let (rest, staged) = caster.into_parts();
            let all: Vec<&str> = staged.chain(rest).collect();
            net.sender.send(kind.group(), &all);
        } else {
            while net.sender.within(|| caster.step()).is_ok_and(|progress| progress != Progress::Done) {}
        }
        hear_exactly(&mut listener, &["two", "three"]);
    }
}
