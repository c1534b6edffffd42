//! Guards and filters in the kernel over IPv6, several interfaces and many groups. In a private network: see `make test`.

use std::net::{Ipv6Addr, SocketAddr, UdpSocket};

use crate::bpf::{Bytes, Program, Sent, Tree, World, noise, run};
use crate::common;
use crate::common::link::{Pair, is_alone, named, route_groups_to_lo, run as command};
use crate::common::{
    OnePacket, assert_quiet, expect_packet, on_lo, require_private_network, send_all, unique_group, unique_v6_group,
};
use multicast::filter::kernel::Instruction;
use multicast::filter::{Always, Filter, Length, Port, Prefix};
use multicast::{
    Bind, COALESCING_BUFFER, Family, Group, Interface, ListenOptions, Listener, Membership, OwnedFd, Received, SendOptions,
};

const NOTHING: [Instruction; 512] = [Instruction::ZERO; 512];

fn send_on(interface: Interface, group: Group, payload: &str) {
    let mut caster = SendOptions::new().interface(interface).packets(group, [payload]).unwrap();
    common::step_one(&mut caster);
}

/// The number of entries in the guard of a listener without a filter, if each has `each` instructions.
fn entries<const MTU: usize>(listener: &Listener<MTU>, each: usize) -> Option<usize> {
    match listener.kernel_program(&mut NOTHING.clone()).unwrap().0.len() {
        0 => None,
        length => Some((length - 4) / each),
    }
}

#[test]
fn the_kernel_decides_as_the_interpreter_over_ipv6() {
    require_private_network();
    let group = unique_v6_group(5);
    let senders: Vec<(UdpSocket, SocketAddr)> = (0..2)
        .map(|_| {
            let caster = SendOptions::new().interface(Interface::LOOPBACK).packets(group, [""; 0]).unwrap();
            let socket = UdpSocket::from(OwnedFd::from(caster));
            socket.send_to(b"", SocketAddr::from(group)).unwrap();
            let port = socket.local_addr().unwrap().port();
            (socket, SocketAddr::new(Ipv6Addr::LOCALHOST.into(), port))
        })
        .collect();
    let world =
        World { sources: senders.iter().map(|sender| sender.1).collect(), destination: group.address(), ..World::v6() };
    let (mut accepted_in_all, mut refused_by_kernel) = (0, 0);
    for seed in 0..500_u64 {
        let noise = noise(seed, 300);
        let mut bytes = Bytes(&noise);
        let mut tree = Tree::grow(&mut bytes, &world, 3);
        let program = Program::of(&tree, 64, 100, Family::V6);
        let mut listener = ListenOptions::new().filter(tree.clone()).bind::<100>(on_lo(group)).unwrap();
        let packets: Vec<Sent> = (0..6).map(|_| world.packet(&mut bytes)).collect();
        for packet in &packets {
            let sender = senders.iter().find(|sender| sender.1 == packet.source).unwrap();
            rustix::net::sockopt::set_ipv6_multicast_hops(&sender.0, packet.hop_limit.into()).unwrap();
            sender.0.send_to(&packet.payload, SocketAddr::from(group)).unwrap();
        }
        let seen = |packet: &Sent| packet.payload[..packet.payload.len().min(100)].to_vec();
        let accepted: Vec<_> = packets
            .iter()
            .filter(|packet| tree.accepts_with_hop_limit(&seen(packet), packet.source, packet.hop_limit))
            .map(seen)
            .collect();
        let passed = packets.iter().filter(|packet| run(&program.instructions, packet) != 0).count();
        let mut received = Vec::new();
        while let Received::Packet(packet) = listener.recv().unwrap() {
            received.push(packet.payload().to_vec());
        }
        assert_eq!(received, accepted, "{tree:?}\n{program}");
        assert_eq!(listener.counters().dropped, Some((packets.len() - passed) as u64), "{tree:?}\n{program}");
        accepted_in_all += accepted.len();
        refused_by_kernel += packets.len() - passed;
    }
    assert!(accepted_in_all > 300 && refused_by_kernel > 300, "{accepted_in_all}, {refused_by_kernel}");
}

#[test]
fn the_guard_follows_joins_and_leaves_on_several_interfaces() {
    let pair = Pair::new();
    for (family, each) in [(Family::V4, 4), (Family::V6, 10)] {
        let [one, two] = [(); 2].map(|()| if family == Family::V4 { unique_group() } else { unique_v6_group(5) });
        let two = Group::new(two.address(), one.port()).unwrap();
        let mut listener = ListenOptions::new().bind::<64>(Bind::Port(one.port(), family)).unwrap();
        assert_eq!(entries(&listener, each), Some(0));
        let all = [one, two].map(|group| [named(&pair.b), Interface::LOOPBACK].map(|on| Membership::any(group).on(on)));
        let all = all.as_flattened();
        for (count, membership) in all.iter().enumerate() {
            listener.join(membership).unwrap();
            listener.join(membership).unwrap();
            assert_eq!(entries(&listener, each), Some(count + 1), "{family:?}");
        }
        let hears = |listener: &mut Listener<64>, membership: &Membership| {
            // Packets that are sent on `a` arrive on `b`.
            let by = if membership.interface() == Interface::LOOPBACK { Interface::LOOPBACK } else { named(&pair.a) };
            send_on(by, membership.group(), "hello");
            common::next_within(listener, common::QUIET).is_some()
        };
        for membership in all {
            assert!(hears(&mut listener, membership), "{membership}");
        }
        // The order of leaving moves first, last and middle entries to other places.
        for (left, place) in [1, 0, 3, 2].into_iter().enumerate() {
            listener.leave(&all[place]).unwrap();
            assert_eq!(entries(&listener, each), Some(3 - left), "{family:?}");
            for (other, membership) in all.iter().enumerate() {
                let is_joined = ![1, 0, 3, 2][..=left].contains(&other);
                assert_eq!(hears(&mut listener, membership), is_joined, "{membership}");
            }
        }
    }
}

#[test]
fn packets_that_were_queued_when_a_group_was_left_are_refused() {
    let pair = Pair::new();
    for group in [unique_group(), unique_v6_group(2), unique_v6_group(5)] {
        let mut listener = ListenOptions::new().bind::<64>(Bind::Port(group.port(), group.family())).unwrap();
        let [here, there] = [Interface::LOOPBACK, named(&pair.b)].map(|on| Membership::any(group).on(on));
        listener.join(&here).unwrap();
        listener.join(&there).unwrap();
        send_on(Interface::LOOPBACK, group, "kept");
        send_on(named(&pair.a), group, "left");
        send_on(Interface::LOOPBACK, group, "kept, too");
        common::wait_until("all are queued", || listener.counters().dropped == Some(0));
        listener.leave(&there).unwrap();
        send_on(named(&pair.a), group, "left");
        assert_eq!(expect_packet(&mut listener), b"kept");
        assert_eq!(expect_packet(&mut listener), b"kept, too");
        assert_quiet(&mut listener);
        assert_eq!(listener.counters().foreign, 1, "the packet that was queued");
        // From here on only the guard checks packets.
        send_on(named(&pair.a), group, "left");
        send_on(Interface::LOOPBACK, group, "still");
        assert_eq!(expect_packet(&mut listener), b"still");
        assert_eq!(listener.counters().foreign, 1);
    }
}

#[test]
fn leaving_a_group_elsewhere_keeps_the_membership_on_a_link_that_is_down() {
    let pair = Pair::new();
    for group in [unique_group(), unique_v6_group(5), unique_v6_group(2)] {
        let mut listener = ListenOptions::new().bind::<64>(Bind::Port(group.port(), group.family())).unwrap();
        listener.join(&Membership::any(group).on(named(&pair.b))).unwrap();
        listener.join(&on_lo(group)).unwrap();
        command(&format!("ip link set {} down", pair.b));
        listener.leave(&on_lo(group)).unwrap();
        command(&format!("ip link set {} up", pair.b));
        common::wait_until_mut("packets come over the link", || {
            // Sending fails until both ends are up again.
            let options = SendOptions::new().interface(named(&pair.a));
            let _ = options.packets(group, ["up again"]).and_then(|mut caster| caster.step());
            common::next_within(&mut listener, common::QUIET).is_some()
        });
        send_all(group, ["left"]);
        while let Some(payload) = common::next_within(&mut listener, common::QUIET) {
            assert_eq!(payload, b"up again");
        }
    }
}

#[test]
fn with_more_groups_than_fit_the_guard_the_listener_checks_each_packet() {
    // The limit is one of the whole network namespace.
    if !is_alone("with_more_groups_than_fit_the_guard_the_listener_checks_each_packet") {
        return;
    }
    route_groups_to_lo();
    std::fs::write("/proc/sys/net/ipv4/igmp_max_memberships", "100").unwrap();
    for (family, most) in [(Family::V4, 64), (Family::V6, 26)] {
        let first = if family == Family::V4 { unique_group() } else { unique_v6_group(5) };
        let group = |count: u8| match family {
            Family::V4 => Group::new([239, 7, 7, count], first.port()).unwrap(),
            Family::V6 => Group::new(Ipv6Addr::new(0xff05, 0, 0, 0, 0, 0, 7, count.into()), first.port()).unwrap(),
        };
        let mut listener = ListenOptions::new().filter(Prefix("yes")).bind::<16>(Bind::Port(first.port(), family)).unwrap();
        let mut buffer = NOTHING;
        for count in 0..70 {
            send_all(group(0), [if count == 0 { "yes, too early" } else { "yes, queued" }]);
            listener.join(&on_lo(group(count))).unwrap();
            let length = listener.kernel_program(&mut buffer).unwrap().0.len();
            let entry = if family == Family::V4 { 4 } else { 10 };
            let expected = if usize::from(count) < most { 2 + entry * (usize::from(count) + 1) + 6 } else { 6 };
            assert_eq!(length, expected, "{count} {family:?}");
        }
        for _ in 1..70 {
            assert_eq!(expect_packet(&mut listener), b"yes, queued");
        }
        for count in 0..70 {
            send_all(group(count), ["no", "yes"]);
            assert_eq!(expect_packet(&mut listener), b"yes");
        }
        UdpSocket::bind(("::1", 0)).unwrap().send_to(b"yes, unicast", ("::1", first.port())).ok();
        UdpSocket::bind("127.0.0.1:0").unwrap().send_to(b"yes, unicast", ("127.0.0.1", first.port())).ok();
        for count in (0..70).step_by(2) {
            listener.leave(&on_lo(group(count))).unwrap();
        }
        for count in 0..70 {
            send_all(group(count), ["yes"]);
            if count % 2 == 1 {
                assert_eq!(expect_packet(&mut listener), b"yes", "group {count}");
            }
        }
        assert_quiet(&mut listener);
        assert_eq!(listener.counters().foreign, 1, "unicast");
    }
}

/// Where the kernel has no room for the guard and none for the filter alone, no program is left, and nothing depends on one.
#[test]
fn a_filter_that_goes_with_the_guard_runs_here_whatever_the_buffer() {
    if !is_alone("a_filter_that_goes_with_the_guard_runs_here_whatever_the_buffer") {
        return;
    }
    command("ip route add 224.0.0.0/4 dev lo src 127.0.0.1");
    let limit = |bytes: &str| std::fs::write("/proc/sys/net/core/optmem_max", bytes).unwrap();
    for is_joined in [true, false] {
        let group = unique_group();
        let options = ListenOptions::new().filter(Prefix("yes"));
        let mut receiver = options.bind_receiver(Bind::Port(group.port(), Family::V4), 64).unwrap();
        receiver.join(&on_lo(group)).unwrap();
        assert!(receiver.recv_into(&mut [0; 8]).is_err(), "the kernel's filter sees 64 bytes");
        limit("600");
        match is_joined {
            true => receiver.join(&on_lo(Group::new([239, 7, 7, 7], group.port()).unwrap())).unwrap(),
            false => drop(receiver.replace_filter(Prefix("yes")).unwrap()),
        }
        limit("131072");
        assert_eq!(receiver.kernel_program(&mut NOTHING.clone()).unwrap().0, []);
        send_all(group, ["no", "yes, here"]);
        assert_eq!(receiver.recv_into(&mut [0; 8]).unwrap().packet().unwrap().payload(), b"yes, her", "{is_joined}");
    }
}

#[test]
fn after_a_failed_join_the_guard_refuses_the_group() {
    require_private_network();
    for (group, each) in [(unique_group(), 4), (unique_v6_group(5), 10)] {
        let mut listener = ListenOptions::new().bind::<64>(Bind::Port(group.port(), group.family())).unwrap();
        listener.join(&on_lo(group)).unwrap();
        // Only the join itself finds out that this interface does not exist.
        let nowhere = Interface::Index(1_999_999_999.try_into().unwrap());
        assert!(listener.join(&Membership::any(group).on(nowhere)).is_err());
        assert_eq!(entries(&listener, each), Some(1));
        send_all(group, ["still"]);
        assert_eq!(expect_packet(&mut listener), b"still");
    }
}

#[test]
fn ip_options_and_fragments_do_not_change_what_a_program_decides() {
    const SENDER: &str = r#"
import socket, sys
address, port, length = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
v6 = ":" in address
s = socket.socket(socket.AF_INET6 if v6 else socket.AF_INET, socket.SOCK_DGRAM)
if v6:
    s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, socket.if_nametoindex(sys.argv[4]))
    # Destination options: one PadN of four bytes.
    s.setsockopt(socket.IPPROTO_IPV6, 59, bytes([0, 0, 1, 4, 0, 0, 0, 0]))
else:
    s.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(sys.argv[5]))
    # A record-route option with room for two addresses.
    s.setsockopt(socket.IPPROTO_IP, socket.IP_OPTIONS, bytes([7, 11, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0]))
s.bind(("", 0))
port_of_mine = s.getsockname()[1]
print(port_of_mine)
sys.stdin.readline()
for first in (b"no", b"yes"):
    s.sendto(first + b"x" * (length - len(first)), (address, port))
print("sent")
sys.stdin.readline()
"#;
    let pair = Pair::new();
    for length in [64, 1400, 9000] {
        for group in [unique_group(), unique_v6_group(5), unique_v6_group(2)] {
            let arguments = [
                group.address().to_string(),
                group.port().to_string(),
                length.to_string(),
                pair.a.to_string(),
                pair.addresses[0].to_string(),
            ];
            let mut python = common::Python::start(SENDER, &arguments.each_ref().map(String::as_str));
            let port: u16 = python.line().parse().unwrap();
            let filter = Prefix("yes").and(Port(port)).and(Length(length..=length));
            let mut listener =
                ListenOptions::new().filter(filter).bind::<9000>(Bind::Port(group.port(), group.family())).unwrap();
            listener.join(&Membership::any(group).on(named(&pair.b))).unwrap();
            python.say("go");
            assert_eq!(python.line(), "sent");
            assert_eq!(expect_packet(&mut listener).len(), length, "{group}");
            let counters = listener.counters();
            assert_eq!((counters.rejected, counters.dropped), (0, Some(1)), "{group} {length}");
        }
    }
}

#[test]
fn a_guarded_listener_with_metadata_or_coalescing_receives_its_groups() {
    require_private_network();
    for group in [unique_group(), unique_v6_group(5)] {
        let mut listener = ListenOptions::new().metadata().bind::<64>(Bind::Port(group.port(), group.family())).unwrap();
        listener.join(&on_lo(group)).unwrap();
        let mut buffer = Box::new([0; COALESCING_BUFFER]);
        let mut coalescing = ListenOptions::new()
            .filter(Prefix("y"))
            .bind_coalescing(Bind::Port(group.port(), group.family()), COALESCING_BUFFER, &mut buffer)
            .unwrap();
        coalescing.join(&on_lo(group)).unwrap();
        assert_eq!(
            coalescing.kernel_program(&mut NOTHING.clone()).unwrap().0.len(),
            if group.address().is_ipv4() { 8 } else { 14 }
        );
        send_all(group, ["n", "y"]);
        let packet = listener.recv().unwrap().packet().unwrap();
        assert_eq!(packet.metadata().unwrap().destination, Some(group.address()));
        assert_eq!(coalescing.recv().unwrap().packet().unwrap().payload(), b"y");
        assert_eq!(coalescing.counters().rejected, 1);
        let mut coalescing = coalescing.with_filter(Always).unwrap();
        send_all(group, ["n"]);
        assert_eq!(coalescing.recv().unwrap().packet().unwrap().payload(), b"n");
    }
}
