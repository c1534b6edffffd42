//! A host with two interfaces on separate segments: what comes in on each, and what leaves on each.

use std::net::UdpSocket;

use multicast::{Family, Group, Interface, ListenOptions, Listener, Membership, SendOptions};

use crate::network::{Host, cable, interface, named, plug_in, switch};
use crate::peers::{Kind, PATIENCE, hear_exactly, listen, peer};
use crate::trial::{Case, Trial};

pub fn cases() -> Vec<Case> {
    let case = |name, off, run| Case { name, off, run };
    let both = "both interfaces are joined";
    let one = "only eth0 is joined instead of all";
    let other = "eth0 is named instead of eth1";
    vec![
        case("interfaces/joined-on-one-ipv4", both, |trial| joined_on_one(trial, Kind::V4, false)),
        case("interfaces/joined-on-one-ipv6-link-local", both, |trial| joined_on_one(trial, Kind::LinkLocal, false)),
        case("interfaces/joined-on-one-ipv6", both, |trial| joined_on_one(trial, Kind::SiteLocal, false)),
        case("interfaces/joined-on-one-by-port-ipv4", both, |trial| joined_on_one(trial, Kind::V4, true)),
        case("interfaces/joined-on-one-by-port-ipv6", both, |trial| joined_on_one(trial, Kind::SiteLocal, true)),
        case("interfaces/all-hears-each-once-ipv4", one, |trial| all_hears_each_once(trial, Kind::V4)),
        case("interfaces/all-hears-each-once-ipv6-link-local", one, |trial| all_hears_each_once(trial, Kind::LinkLocal)),
        case("interfaces/all-hears-each-once-ipv6", one, |trial| all_hears_each_once(trial, Kind::SiteLocal)),
        case("interfaces/all-on-one-segment-hears-twice", one, all_on_one_segment),
        case("interfaces/egress-as-chosen-ipv4", other, |trial| egress_as_chosen(trial, Kind::V4)),
        case("interfaces/egress-as-chosen-ipv6-link-local", other, |trial| egress_as_chosen(trial, Kind::LinkLocal)),
        case("interfaces/egress-as-chosen-ipv6", other, |trial| egress_as_chosen(trial, Kind::SiteLocal)),
        case("interfaces/egress-by-routing-table", "the route leads to eth0", egress_by_routing_table),
        case("interfaces/nothing-that-was-not-joined", "a plain socket is used", nothing_that_was_not_joined),
    ]
}

/// A host between two segments: `left` is at its `eth0`, `right` at its `eth1`.
struct Middle {
    middle: Host,
    left: Host,
    right: Host,
}

impl Middle {
    fn new() -> Self {
        let (middle, left, right) = (Host::new("middle"), Host::new("left"), Host::new("right"));
        cable(0, (&middle, "eth0"), (&left, "eth0"));
        cable(1, (&middle, "eth1"), (&right, "eth0"));
        Self { middle, left, right }
    }

    fn send_from_both(&self, group: Group) {
        self.left.send(group, &["from the left"]);
        self.right.send(group, &["from the right"]);
    }
}

fn joined_on_one(trial: &Trial, kind: Kind, by_port: bool) {
    let net = Middle::new();
    let group = kind.group();
    // Another program joins on both, so that the host receives everything.
    let _others = ["eth0", "eth1"].map(|interface| net.middle.within(|| peer::Receiver::join(group, interface)));
    for (joined, expected) in [(0, "from the left"), (1, "from the right")] {
        let membership = Membership::any(group);
        let mut listener: Listener<64> = net.middle.within(|| {
            let membership = membership.on(interface(joined));
            match by_port {
                false => ListenOptions::new().bind(membership).unwrap(),
                true => {
                    let mut listener =
                        ListenOptions::new().bind::<64>(multicast::Bind::Port(group.port(), group.family())).unwrap();
                    listener.join(&membership).unwrap();
                    listener
                }
            }
        });
        if !trial.works() {
            net.middle.within(|| listener.join(&membership.on(interface(1 - joined))).unwrap());
        }
        net.send_from_both(group);
        hear_exactly(&mut listener, &[expected]);
    }
}

fn all_hears_each_once(trial: &Trial, kind: Kind) {
    let net = Middle::new();
    let mut listener = listen(&net.middle, kind.group(), trial.pick(Interface::All, interface(0)));
    net.send_from_both(kind.group());
    hear_exactly(&mut listener, &["from the left", "from the right"]);
}

/// A packet that arrives on two interfaces counts as two: the crate does not guess.
fn all_on_one_segment(trial: &Trial) {
    let (sender, host) = (Host::new("sender"), Host::new("host"));
    let switch = switch("mcast_snooping 0", &[&sender, &host]);
    plug_in(&switch, 2, &host, "eth1");
    for kind in Kind::ALL {
        let mut listener = listen(&host, kind.group(), trial.pick(Interface::All, interface(0)));
        sender.send(kind.group(), &["one"]);
        hear_exactly(&mut listener, &["one", "one"]);
    }
}

fn egress_as_chosen(trial: &Trial, kind: Kind) {
    let net = Middle::new();
    let group = kind.group();
    let [mut left, mut right] = [&net.left, &net.right].map(|host| host.within(|| peer::Receiver::join(group, "eth0")));
    let index = net.middle.within(|| crate::common::link::index_of("eth1"));
    let ways = [named("eth1"), Interface::Index(index), Interface::Address(kind.address(1, 1))];
    for way in ways {
        // Both interfaces have the same link-local address.
        if kind == Kind::LinkLocal && matches!(way, Interface::Address(_)) {
            continue;
        }
        net.middle.send_with(SendOptions::new().interface(trial.pick(way, interface(0))), group, &["chosen"]);
        let seen = right.next();
        assert_eq!((&*seen.payload, seen.source), (&b"chosen"[..], kind.address(1, 1).to_string()), "{way}");
        left.assert_quiet();
    }
}

fn egress_by_routing_table(trial: &Trial) {
    let net = Middle::new();
    let route = trial.pick("eth1", "eth0");
    net.middle.ip(&[&format!("route add 224.0.0.0/4 dev {route}"), &format!("route add ff05::/16 dev {route} table local")]);
    for kind in [Kind::V4, Kind::SiteLocal] {
        let mut right = net.right.within(|| peer::Receiver::join(kind.group(), "eth0"));
        net.middle.send_with(SendOptions::new(), kind.group(), &["by the table"]);
        let seen = right.next();
        assert_eq!((&*seen.payload, seen.source), (&b"by the table"[..], kind.address(1, 1).to_string()));
        // The same routing table decides where to listen.
        let mut listener = listen(&net.middle, kind.group(), Interface::Default);
        net.send_from_both(kind.group());
        hear_exactly(&mut listener, &["from the right"]);
    }
}

/// Groups of other programs on the same port, and unicast: Linux would deliver all of it.
fn nothing_that_was_not_joined(trial: &Trial) {
    let net = Middle::new();
    for kind in [Kind::V4, Kind::SiteLocal] {
        let (ours, theirs) = (kind.group(), kind.group_of(2));
        let mut listener = net.middle.within(|| {
            let mut listener = ListenOptions::new().bind::<64>(multicast::Bind::Port(ours.port(), ours.family())).unwrap();
            listener.join(&Membership::any(ours).on(interface(0))).unwrap();
            listener
        });
        let plain = net.middle.within(|| plain_socket(ours));
        let _other = net.middle.within(|| peer::Receiver::join(theirs, "eth0"));
        net.left.send(theirs, &["theirs"]);
        let to = (kind.address(0, 1), ours.port());
        net.left.within(|| {
            let any = wildcard(ours);
            UdpSocket::bind((any, 0)).unwrap().send_to(b"unicast", to).unwrap();
        });
        net.left.send(ours, &["ours"]);
        match trial.works() {
            true => hear_exactly(&mut listener, &["ours"]),
            false => {
                let mut buffer = [0; 64];
                let length = plain.recv(&mut buffer).unwrap();
                assert_eq!(String::from_utf8_lossy(&buffer[..length]), "ours");
            }
        }
    }
}

fn wildcard(group: Group) -> &'static str {
    if group.family() == Family::V4 { "0.0.0.0" } else { "::" }
}

/// A plain socket, as in most programs: bound to the port, joined to the group.
fn plain_socket(group: Group) -> UdpSocket {
    use rustix::net::{AddressFamily, SocketType, bind, socket, sockopt};
    let family = if group.address().is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let fd = socket(family, SocketType::DGRAM, None).unwrap();
    sockopt::set_socket_reuseaddr(&fd, true).unwrap();
    let address: std::net::IpAddr = wildcard(group).parse().unwrap();
    bind(&fd, &std::net::SocketAddr::new(address, group.port())).unwrap();
    let socket = UdpSocket::from(fd);
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    match group.address() {
        std::net::IpAddr::V4(address) => socket.join_multicast_v4(&address, &[10, 0, 0, 1].into()).unwrap(),
        std::net::IpAddr::V6(address) => {
            socket.join_multicast_v6(&address, crate::common::link::index_of("eth0").get()).unwrap();
        }
    }
    socket
}
