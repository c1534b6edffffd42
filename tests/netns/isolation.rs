//! Listeners refuse packets that they did not join: IPv6, and several interfaces. In a private network: see `make test`.

use std::net::{IpAddr, Ipv6Addr, UdpSocket};

use crate::common;
use crate::common::link::{Pair, named};
use crate::common::{
    assert_quiet, expect_packet, on_lo, peer, require_private_network, send_all, unique_group, unique_v6_group,
};
use multicast::{Bind, Family, Group, Interface, ListenOptions, Listener, Membership, Received, SendOptions};

/// The kinds of listeners of one group. They need different guards.
#[derive(Clone, Copy, Debug)]
enum Kind {
    BoundV4,
    OpenedV4,
    /// Link-local: bound to the group, and for a moment to an interface.
    BoundV6LinkLocal,
    /// Site-local: bound to the group.
    BoundV6,
    OpenedV6,
}

use Kind::{BoundV4, BoundV6, BoundV6LinkLocal, OpenedV4, OpenedV6};

const ALL: [Kind; 5] = [BoundV4, OpenedV4, BoundV6LinkLocal, BoundV6, OpenedV6];
const V6: [Kind; 3] = [BoundV6LinkLocal, BoundV6, OpenedV6];

impl Kind {
    fn group(self) -> Group {
        match self {
            BoundV4 | OpenedV4 => unique_group(),
            BoundV6LinkLocal => unique_v6_group(2),
            BoundV6 | OpenedV6 => unique_v6_group(5),
        }
    }

    fn listen(self, group: Group, interface: Interface) -> Listener<64> {
        let membership = Membership::any(group).on(interface);
        match self {
            BoundV4 | BoundV6LinkLocal | BoundV6 => ListenOptions::new().bind(membership).unwrap(),
            OpenedV4 | OpenedV6 => {
                let mut listener = ListenOptions::new().bind(Bind::Port(group.port(), group.family())).unwrap();
                listener.join(&membership).unwrap();
                listener
            }
        }
    }
}

fn send_on(interface: Interface, group: Group, payload: &str) {
    let mut caster = SendOptions::new().interface(interface).packets(group, [payload]).unwrap();
    common::step_one(&mut caster);
}

/// Another group of the same kind on the port of this one.
fn neighbour(kind: Kind, group: Group) -> Group {
    Group::new(kind.group().address(), group.port()).unwrap()
}

#[test]
fn every_kind_of_listener_receives_its_group() {
    require_private_network();
    for kind in ALL {
        let group = kind.group();
        let mut listener = kind.listen(group, Interface::LOOPBACK);
        send_all(group, ["hello"]);
        let Received::Packet(packet) = listener.recv().unwrap() else { panic!("{kind:?}") };
        assert_eq!(packet.payload(), b"hello");
        let lo = if group.address().is_ipv4() { "127.0.0.1" } else { "::1" };
        assert_eq!(packet.source().ip(), lo.parse::<IpAddr>().unwrap(), "{kind:?}");
        listener.leave(&on_lo(group)).unwrap();
        send_all(group, ["left"]);
        assert_quiet(&mut listener);
    }
}

#[test]
fn packets_of_a_group_that_another_process_joined_are_refused() {
    require_private_network();
    for kind in V6 {
        let ours = kind.group();
        let theirs = neighbour(kind, ours);
        let mut listener = kind.listen(ours, Interface::LOOPBACK);
        let mut peer = peer::Receiver::join(theirs, "lo");
        send_all(theirs, ["theirs"]);
        assert_eq!(peer.next().payload, b"theirs");
        assert_quiet(&mut listener);
        send_all(ours, ["ours"]);
        assert_eq!(expect_packet(&mut listener), b"ours");
        assert_eq!(listener.counters().received, 1, "{kind:?}");
    }
}

#[test]
fn packets_on_an_interface_that_another_process_joined_are_refused() {
    let pair = Pair::new();
    for kind in ALL {
        let group = kind.group();
        let mut listener = kind.listen(group, Interface::LOOPBACK);
        let mut peer = peer::Receiver::join(group, &pair.b);
        send_on(named(&pair.a), group, "on the link");
        assert_eq!(peer.next().payload, b"on the link", "{kind:?}");
        assert_quiet(&mut listener);
        send_all(group, ["on lo"]);
        assert_eq!(expect_packet(&mut listener), b"on lo", "{kind:?}");
        // After joining there, too, it receives both: no kind is bound to its first interface.
        listener.join(&Membership::any(group).on(named(&pair.b))).unwrap();
        send_on(named(&pair.a), group, "on the link again");
        assert_eq!(expect_packet(&mut listener), b"on the link again", "{kind:?}");
        send_all(group, ["on lo again"]);
        assert_eq!(expect_packet(&mut listener), b"on lo again", "{kind:?}");
        // After leaving there, it receives only on `lo`.
        listener.leave(&Membership::any(group).on(named(&pair.b))).unwrap();
        send_on(named(&pair.a), group, "left");
        assert_quiet(&mut listener);
        send_all(group, ["on lo still"]);
        assert_eq!(expect_packet(&mut listener), b"on lo still", "{kind:?}");
    }
}

#[test]
fn unicast_to_the_port_is_refused() {
    require_private_network();
    for kind in ALL {
        let group = kind.group();
        let mut listener = kind.listen(group, Interface::LOOPBACK);
        let lo = if group.address().is_ipv4() { "127.0.0.1" } else { "::1" };
        let sender = UdpSocket::bind((lo, 0)).unwrap();
        for _ in 0..3 {
            let _ = sender.send_to(b"unicast", (lo, group.port()));
        }
        assert_quiet(&mut listener);
        send_all(group, ["multicast"]);
        assert_eq!(expect_packet(&mut listener), b"multicast", "{kind:?}");
        assert_eq!(listener.counters().received, 1, "{kind:?}");
    }
}

#[test]
fn an_ipv6_listener_does_not_use_its_port_for_ipv4() {
    require_private_network();
    let mut listener = ListenOptions::new().bind::<64>(Bind::Port(0, Family::V6)).unwrap();
    let port = listener.local_addr().unwrap().port();
    // This bind does not share the port: it would fail if the listener used the port for IPv4 as well.
    let v4 = UdpSocket::bind(("127.0.0.1", port)).unwrap();
    v4.send_to(b"to itself", ("127.0.0.1", port)).unwrap();
    assert_quiet(&mut listener);
    assert_eq!(listener.counters().foreign, 0);
}

#[test]
fn two_listeners_of_one_ipv6_group_both_receive_every_packet() {
    require_private_network();
    for kind in V6 {
        let group = kind.group();
        let mut ours = kind.listen(group, Interface::LOOPBACK);
        let mut also_ours = OpenedV6.listen(group, Interface::LOOPBACK);
        let mut peer = peer::Receiver::join(group, "lo");
        for payload in ["one", "two", "three"] {
            send_all(group, [payload]);
            assert_eq!(expect_packet(&mut ours), payload.as_bytes());
            assert_eq!(expect_packet(&mut also_ours), payload.as_bytes());
            assert_eq!(peer.next().payload, payload.as_bytes());
        }
    }
}

#[test]
fn the_address_of_a_link_local_sender_has_its_interface() {
    let pair = Pair::new();
    common::link::run(&format!("ip -6 addr add fe80::1/64 dev {} nodad", pair.a));
    let group = unique_v6_group(2);
    let mut listener = ListenOptions::new().bind::<64>(Membership::any(group).on(named(&pair.b))).unwrap();
    send_on(named(&pair.a), group, "from a link-local address");
    let Received::Packet(packet) = listener.recv().unwrap() else { panic!("no packet") };
    let std::net::SocketAddr::V6(source) = packet.source() else { panic!("not of IPv6") };
    assert_eq!(source.ip(), &"fe80::1".parse::<Ipv6Addr>().unwrap());
    assert_eq!(source.scope_id(), common::link::index_of(&pair.b).get());
}

#[test]
fn listeners_that_share_a_port_receive_all_packets_of_their_groups() {
    // Since Linux 6.6, the kernel distributes IPv4 packets that match one socket among all sockets that share by SO_REUSEPORT,
    // even those that did not join. It never does so on `lo`.
    let pair = Pair::new();
    let ours = unique_group();
    let theirs = neighbour(OpenedV4, ours);
    let mut listener = OpenedV4.listen(ours, named(&pair.b));
    let mut other = OpenedV4.listen(theirs, named(&pair.b));
    let mut bound_there = BoundV4.listen(ours, named(&pair.b));
    let mut bound_on_lo = BoundV4.listen(ours, Interface::LOOPBACK);
    for _ in 0..20 {
        // Each new socket has a new source port, by which the kernel chooses.
        send_on(named(&pair.a), ours, "ours");
        send_on(named(&pair.a), theirs, "theirs");
        assert_eq!(expect_packet(&mut listener), b"ours");
        assert_eq!(expect_packet(&mut bound_there), b"ours");
        assert_eq!(expect_packet(&mut other), b"theirs");
    }
    assert_quiet(&mut bound_on_lo);
}

#[test]
fn another_socket_with_so_reuseport_only_takes_and_adds_no_packets() {
    const NEIGHBOUR: &str = r#"
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
s.bind((sys.argv[1], int(sys.argv[2])))
s.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, socket.inet_aton(sys.argv[1]) + socket.inet_aton(sys.argv[3]))
s.setsockopt(socket.IPPROTO_IP, 49, 0)  # IP_MULTICAST_ALL
print("ready")
sys.stdin.readline()
"#;
    let (theirs, ours) = (Pair::new(), Pair::new());
    let group = unique_group();
    let (address, port) = (group.address().to_string(), group.port().to_string());
    let mut neighbour = common::Python::start(NEIGHBOUR, &[&address, &port, &theirs.addresses[1].to_string()]);
    assert_eq!(neighbour.line(), "ready");
    let mut listener = BoundV4.listen(group, named(&ours.b));
    for _ in 0..20 {
        send_on(named(&theirs.a), group, "theirs");
        send_on(named(&ours.a), group, "ours");
        assert_eq!(expect_packet(&mut listener), b"ours");
    }
    assert_quiet(&mut listener);
    assert_eq!(listener.counters().received, 20);
}
