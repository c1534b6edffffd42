//! Source-specific memberships and blocked sources: what is received, and which errors are returned. In a private network: see
//! `make test`.

use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6, UdpSocket};

use crate::common;
use crate::common::link::{Pair, index_of, named, run};
use crate::common::{assert_quiet, expect_packet, unique_group, unique_v6_group};
use multicast::{Bind, ErrorKind, Group, Interface, Links, ListenOptions, Membership, Memberships};
use rustix::net::sockopt;

/// A link whose end `a` has two addresses of each family.
struct TwoSources {
    pair: Pair,
    v4: [IpAddr; 2],
    v6: [IpAddr; 2],
}

impl TwoSources {
    fn new() -> Self {
        let pair = Pair::new();
        let [_, high, low, _] = pair.addresses[0].octets();
        let second: IpAddr = [10, high, low, 3].into();
        let [first_v6, _] = pair.v6_addresses();
        let mut segments = first_v6.segments();
        segments[7] = 3;
        let second_v6 = Ipv6Addr::from(segments);
        run(&format!("ip addr add {second}/24 dev {}", pair.a));
        run(&format!("ip -6 addr add {second_v6}/64 dev {} nodad", pair.a));
        let (v4, v6) = ([pair.addresses[0].into(), second], [first_v6.into(), second_v6.into()]);
        Self { pair, v4, v6 }
    }

    /// Groups of both families, each with its two sources.
    fn groups(&self) -> [(Group, [IpAddr; 2]); 3] {
        [(unique_group(), self.v4), (unique_v6_group(2), self.v6), (unique_v6_group(5), self.v6)]
    }

    fn here(&self) -> Interface {
        named(&self.pair.b)
    }

    fn any(&self, group: Group) -> Membership {
        Membership::any(group).on(self.here())
    }

    fn from(&self, group: Group, source: IpAddr) -> Membership {
        Membership::source(group, source).on(self.here())
    }

    /// Sends a packet with this source address.
    fn send(&self, source: IpAddr, group: Group, text: &str) {
        let socket = UdpSocket::bind((source, 0)).unwrap();
        let index = index_of(&self.pair.a).get();
        let to = match (source, group.address()) {
            (IpAddr::V4(source), _) => {
                sockopt::set_ip_multicast_if_with_ifindex(&socket, &[0, 0, 0, 0].into(), &source, index).unwrap();
                SocketAddr::from(group)
            }
            (_, IpAddr::V6(address)) => {
                sockopt::set_ipv6_multicast_if(&socket, index).unwrap();
                SocketAddrV6::new(address, group.port(), 0, index).into()
            }
            _ => unreachable!(),
        };
        socket.send_to(text.as_bytes(), to).unwrap();
    }

    fn send_from_both(&self, (group, sources): (Group, [IpAddr; 2]), text: &str) {
        for (source, which) in sources.into_iter().zip(["first", "second"]) {
            self.send(source, group, &format!("{which} {text}"));
        }
    }
}

/// Whether any socket here is a member of the group on the interface.
fn is_joined(group: Group, interface: &str) -> bool {
    let address = group.address().to_string();
    run(&format!("ip maddr show dev {interface}")).split_whitespace().any(|word| word == address)
}

#[test]
fn only_the_named_sources_are_received() {
    let net = TwoSources::new();
    for (group, sources) in net.groups() {
        let mut listener = ListenOptions::new().bind::<64>(net.from(group, sources[1])).unwrap();
        // Another socket of this host joins from any source, so the host accepts packets from all.
        let mut all = ListenOptions::new().bind::<64>(net.any(group)).unwrap();
        net.send_from_both((group, sources), "a");
        assert_eq!(expect_packet(&mut listener), b"second a", "{group}");
        assert_quiet(&mut listener);
        assert_eq!([expect_packet(&mut all), expect_packet(&mut all)], [b"first a".to_vec(), b"second a".to_vec()]);
        listener.join(&net.from(group, sources[0])).unwrap();
        net.send_from_both((group, sources), "b");
        assert_eq!(
            [expect_packet(&mut listener), expect_packet(&mut listener)],
            [b"first b".to_vec(), b"second b".to_vec()]
        );
        drop(all);
        listener.leave(&net.from(group, sources[1])).unwrap();
        net.send_from_both((group, sources), "c");
        assert_eq!(expect_packet(&mut listener), b"first c");
        assert_quiet(&mut listener);
        // Leaving the last source leaves the group.
        assert!(is_joined(group, &net.pair.b));
        listener.leave(&net.from(group, sources[0])).unwrap();
        assert!(!is_joined(group, &net.pair.b), "{group}");
        listener.join(&net.from(group, sources[1])).unwrap();
        net.send_from_both((group, sources), "d");
        assert_eq!(expect_packet(&mut listener), b"second d");
        assert_quiet(&mut listener);
    }
}

#[test]
fn joining_or_leaving_a_source_twice_is_the_same_as_once() {
    let net = TwoSources::new();
    for (group, sources) in net.groups() {
        let from = net.from(group, sources[0]);
        let mut listener = ListenOptions::new().bind::<64>(Bind::Port(group.port(), group.family())).unwrap();
        listener.leave(&from).unwrap();
        listener.join(&from).unwrap();
        listener.join(&from).unwrap();
        net.send_from_both((group, sources), "a");
        assert_eq!(expect_packet(&mut listener), b"first a");
        assert_quiet(&mut listener);
        // A source that was never joined, while another one is joined.
        listener.leave(&net.from(group, sources[1])).unwrap();
        listener.leave(&from).unwrap();
        listener.leave(&from).unwrap();
        assert!(!is_joined(group, &net.pair.b));
    }
}

#[test]
fn a_blocked_source_is_not_received_until_it_is_unblocked() {
    let net = TwoSources::new();
    for (group, sources) in net.groups() {
        let any = net.any(group);
        let mut listener = ListenOptions::new().bind::<64>(any).unwrap();
        for _ in 0..2 {
            listener.block(&any, sources[0]).unwrap();
        }
        net.send_from_both((group, sources), "blocked");
        assert_eq!(expect_packet(&mut listener), b"second blocked", "{group}");
        assert_quiet(&mut listener);
        for _ in 0..2 {
            listener.unblock(&any, sources[0]).unwrap();
        }
        net.send_from_both((group, sources), "again");
        assert_eq!(expect_packet(&mut listener), b"first again");
        assert_eq!(expect_packet(&mut listener), b"second again");
        assert_quiet(&mut listener);
    }
}

#[test]
fn a_listener_cannot_join_from_any_source_and_from_named_ones() {
    let net = TwoSources::new();
    for (group, sources) in net.groups() {
        let (any, from) = (net.any(group), net.from(group, sources[0]));
        let said = format!(
            "{} on {}: a listener joins a group on an interface from any source or from named ones: leave the group first, or use \
             two listeners",
            group.address(),
            net.pair.b
        );
        for (first, second, heard) in [(any, from, 2), (from, any, 1)] {
            let mut listener = ListenOptions::new().bind::<64>(first).unwrap();
            let error = listener.join(&second).unwrap_err();
            assert_eq!((error.kind(), error.to_string()), (ErrorKind::MixedSources, format!("join {said}")));
            assert_eq!(error.raw_os_error(), None);
            // The first membership has not changed.
            net.send_from_both((group, sources), "x");
            for _ in 0..heard {
                expect_packet(&mut listener);
            }
            assert_quiet(&mut listener);
            // After leaving, the other kind can be joined.
            listener.leave(&first).unwrap();
            listener.join(&second).unwrap();
        }
        let mut listener = ListenOptions::new().bind::<64>(from).unwrap();
        for (error, verb) in [
            (listener.block(&any, sources[1]).unwrap_err(), "block"),
            (listener.unblock(&any, sources[1]).unwrap_err(), "unblock"),
            (listener.block(&from, sources[1]).unwrap_err(), "block"),
        ] {
            assert_eq!((error.kind(), error.to_string()), (ErrorKind::MixedSources, format!("{verb} a source of {said}")));
        }
    }
}

#[test]
fn what_cannot_be_blocked_is_an_error() {
    let net = TwoSources::new();
    for (group, sources) in net.groups() {
        let any = net.any(group);
        let mut listener = ListenOptions::new().bind::<64>(any).unwrap();
        listener.leave(&any).unwrap();
        let error = listener.block(&any, sources[0]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotJoined);
        let said =
            format!("block a source of {} on {}: the group is not joined on this interface", group.address(), net.pair.b);
        assert_eq!(error.to_string(), said);
        let of_other_family = if group.address().is_ipv4() { net.v6[0] } else { net.v4[0] };
        assert_eq!(listener.block(&any, of_other_family).unwrap_err().kind(), ErrorKind::FamilyMismatch);
        let from = net.from(group, of_other_family);
        assert_eq!(listener.join(&from).unwrap_err().kind(), ErrorKind::FamilyMismatch);
        assert_eq!(ListenOptions::new().bind::<64>(from).unwrap_err().kind(), ErrorKind::FamilyMismatch);
    }
}

#[test]
fn the_limit_of_sources_is_an_error_that_names_the_setting_and_the_count() {
    let net = TwoSources::new();
    for (group, _) in net.groups() {
        let (setting, path) = match group.address().is_ipv4() {
            true => ("net.ipv4.igmp_max_msf", "/proc/sys/net/ipv4/igmp_max_msf"),
            false => ("net.ipv6.mld_max_msf, net.core.optmem_max", "/proc/sys/net/ipv6/mld_max_msf"),
        };
        // The kernel shows the limit of IPv6 only in the first network namespace; its default is 64.
        let shown = std::fs::read_to_string(path).ok();
        let limit: u16 = shown.as_deref().unwrap_or("64").trim().parse().unwrap();
        let count = if shown.is_some() { format!(", set to {limit}") } else { String::new() };
        let source = |number: u16| -> IpAddr {
            let [high, low] = number.to_be_bytes();
            if group.address().is_ipv4() {
                [10, 99, high, low].into()
            } else {
                Ipv6Addr::new(0xfd99, 0, 0, 0, 0, 0, 0, number).into()
            }
        };
        let mut listener = ListenOptions::new().bind::<64>(net.from(group, source(1))).unwrap();
        for number in 2..=limit {
            listener.join(&net.from(group, source(number))).unwrap();
        }
        let error = listener.join(&net.from(group, source(limit + 1))).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::SourceLimitReached, "{group}");
        let said = format!("source limit of the group reached ({setting}){count}");
        assert_eq!(error.to_string(), format!("join {} on {}: {said}", group.address(), net.pair.b));
        // Leaving one makes room. The same limit applies to blocked sources.
        listener.leave(&net.from(group, source(1))).unwrap();
        listener.join(&net.from(group, source(limit + 1))).unwrap();

        let mut listener = ListenOptions::new().bind::<64>(net.any(group)).unwrap();
        for number in 1..=limit {
            listener.block(&net.any(group), source(number)).unwrap();
        }
        let error = listener.block(&net.any(group), source(limit + 1)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::SourceLimitReached, "{group}");
        assert!(error.to_string().ends_with(&said), "{error}");
    }
}

#[test]
fn the_limit_of_ipv6_groups_is_an_error_that_names_the_setting_and_the_count() {
    let pair = Pair::new();
    let limit = std::fs::read_to_string("/proc/sys/net/core/optmem_max").unwrap();
    let group = unique_v6_group(5);
    let mut listener = ListenOptions::new().bind::<64>(Bind::Port(group.port(), group.family())).unwrap();
    let IpAddr::V6(address) = group.address() else { unreachable!() };
    let error = (0..20_000_u16).find_map(|number| {
        let mut segments = address.segments();
        segments[5] = number;
        let group = Group::new(Ipv6Addr::from(segments), group.port()).unwrap();
        listener.join(&Membership::any(group).on(named(&pair.b))).err()
    });
    let error = error.expect("20,000 groups are no limit");
    assert_eq!(error.kind(), ErrorKind::LimitReached);
    let said = format!("group limit reached (net.core.optmem_max), set to {}", limit.trim());
    assert!(error.to_string().ends_with(&said), "{error}");
}

/// Leaving the whole group would be seen by routers, and by nobody here: the book would join the other source again.
#[test]
fn a_source_that_is_left_on_an_interface_that_has_lost_its_name_takes_no_other_source_with_it() {
    let pair = Pair::new();
    for (group, [first, second]) in
        [(unique_group(), pair.addresses.map(IpAddr::V4)), (unique_v6_group(5), pair.v6_addresses().map(IpAddr::V6))]
    {
        let by_index = Membership::source(group, first).on(Interface::Index(index_of(&pair.b)));
        let by_name = Membership::source(group, second).on(named(&pair.b));
        let mut listener = ListenOptions::new().bind::<64>(Bind::Later(group)).unwrap();
        let (mut links, mut book) = (Links::watch().unwrap(), Memberships::<2>::new());
        for membership in [by_index, by_name] {
            book.join(membership, &mut listener).unwrap();
        }
        while links.follow(&mut book.with(&mut listener)).unwrap().more {}
        for command in [format!("{} down", pair.b), format!("{} name other1", pair.b), "other1 up".to_owned()] {
            run(&format!("ip link set {command}"));
        }
        pair_is_up("other1");
        let (mut left, mut joined) = (0, 0);
        loop {
            let followed = links.follow(&mut book.with(&mut listener)).unwrap();
            assert_eq!(followed.failed, None);
            (left, joined) = (left + followed.applied.left, joined + followed.applied.joined);
            if !followed.more {
                break;
            }
        }
        assert_eq!((left, joined), (1, 0), "{group}");
        assert_eq!(book.pending().collect::<Vec<_>>(), [&by_name]);
        run("ip link set other1 down");
        run(&format!("ip link set other1 name {}", pair.b));
        run(&format!("ip link set {} up", pair.b));
        // The kernel removes the IPv6 addresses of an interface that is down.
        run(&format!("ip -6 addr replace {}/64 dev {} nodad", pair.v6_addresses()[1], pair.b));
        pair.wait_until_up();
    }
}

fn pair_is_up(end: &str) {
    common::wait_until("the link is up", || run(&format!("ip -o link show dev {end}")).contains("state UP"));
}

/// With `SO_REUSEPORT` the kernel distributes the packets among both: a neighbour that is pinned before it is bound forms a group with a
/// listener that shares its port so. The documentation of `reuse_port` says so.
#[test]
fn a_listener_without_reuse_port_receives_all_of_its_source_beside_a_pinned_neighbour_of_another_source() {
    const NEIGHBOUR: &str = r#"
import socket, struct, sys
group, port, device, address, source = sys.argv[1:]
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for option in (socket.SO_REUSEADDR, socket.SO_REUSEPORT):
    s.setsockopt(socket.SOL_SOCKET, option, 1)
s.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device.encode() + b"\0")
s.bind((group, int(port)))
request = map(socket.inet_aton, (group, address, source))
s.setsockopt(socket.IPPROTO_IP, 39, struct.pack("4s4s4s", *request))  # IP_ADD_SOURCE_MEMBERSHIP
print("ready")
while True:
    print(s.recv(2000).decode())
"#;
    let pair = Pair::new();
    let [ours, there] = pair.addresses.map(|address| address.to_string());
    let group = unique_group();
    let membership = Membership::source(group, pair.addresses[0].into()).on(named(&pair.b));
    let mut listener = ListenOptions::new().reuse_port(false).bind::<64>(Bind::Group(membership)).unwrap();
    let arguments = [&group.address().to_string(), &group.port().to_string(), &pair.b, &there, "192.0.2.77"];
    let mut neighbour = common::Python::start(NEIGHBOUR, &arguments);
    assert_eq!(neighbour.line(), "ready");
    // Each from a port of its own: that decides who would get it.
    for _ in 0..40 {
        common::send_with(multicast::SendOptions::new().interface(named(&pair.a)), group, ["ours"]);
        assert_eq!(expect_packet(&mut listener), b"ours", "from {ours}");
    }
    neighbour.assert_quiet();
}
