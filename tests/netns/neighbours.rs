//! Listeners beside other programs on their port: each receives all that it joined, and takes nothing from the others. In a private
//! network: see `make test`.

use crate::common;
use crate::common::link::{Pair, named, run};
use crate::common::{
    Python, assert_quiet, expect_packet, has_another_user, next_within, require_private_network, send_all, unique_group,
    unique_v6_group,
};
use multicast::filter::kernel::Instruction;
use multicast::{
    Bind, ErrorKind, Family, Group, Interface, Links, ListenOptions, Listener, Membership, Memberships, Outcome, SendOptions,
};

/// Joins a group on an interface, and prints each packet. It shares its port by the options of these names, and is bound to `bound`.
const NEIGHBOUR: &str = r#"
import socket, struct, sys
group, port, name, options, bound = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4].split("+"), sys.argv[5]
v6 = ":" in group
s = socket.socket(socket.AF_INET6 if v6 else socket.AF_INET, socket.SOCK_DGRAM)
for option in options:
    s.setsockopt(socket.SOL_SOCKET, getattr(socket, "SO_" + option), 1)
index = socket.if_nametoindex(name)
if v6:
    s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    s.setsockopt(socket.IPPROTO_IPV6, 29, 0)  # IPV6_MULTICAST_ALL
else:
    s.setsockopt(socket.IPPROTO_IP, 49, 0)  # IP_MULTICAST_ALL
try:
    s.bind((bound, port, 0, index if bound == group else 0) if v6 else (bound, port))
except OSError as error:
    print(error.strerror)
    sys.exit()
if v6:
    s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, socket.inet_pton(socket.AF_INET6, group) + struct.pack("=I", index))
else:
    s.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, socket.inet_aton(group) + struct.pack("=4si", bytes(4), index))
print("ready")
while True:
    print(s.recv(2000).decode())
"#;

const SHARED: [&str; 3] = ["REUSEADDR", "REUSEPORT", "REUSEADDR+REUSEPORT"];
pub(super) const COUNT: usize = 40;

pub(super) fn groups() -> [Group; 3] {
    [unique_group(), unique_v6_group(2), unique_v6_group(5)]
}

fn wildcard(group: Group) -> &'static str {
    if group.address().is_ipv4() { "" } else { "::" }
}

fn start(group: Group, interface: &str, options: &str, bound: &str) -> Result<Python, String> {
    let arguments = [&group.address().to_string(), &group.port().to_string(), interface, options, bound];
    let mut neighbour = Python::start(NEIGHBOUR, &arguments);
    match neighbour.line().as_str() {
        "ready" => Ok(neighbour),
        refused => Err(refused.to_owned()),
    }
}

/// Sends 40 packets, each from a port of its own, as 40 programs would.
pub(super) fn send_from_many(interface: &str, group: Group, payload: &str) {
    for _ in 0..COUNT {
        let mut caster = SendOptions::new().interface(named(interface)).packets(group, [payload]).unwrap();
        common::step_one(&mut caster);
    }
}

/// What has arrived at the listener, how often.
pub(super) fn counted(listener: &mut Listener<64>, expected: &[(&str, usize)], said: &str) {
    let mut left = expected.to_vec();
    for _ in 0..expected.iter().map(|(_, count)| count).sum() {
        let packet = next_within(listener, common::PATIENCE).unwrap_or_else(|| panic!("missing: {left:?}, {said}"));
        let text = String::from_utf8(packet).unwrap();
        let entry = left.iter_mut().find(|(payload, _)| *payload == text);
        entry.unwrap_or_else(|| panic!("{text} came, and was not joined: {said}")).1 -= 1;
    }
    if let Some(packet) = next_within(listener, common::QUIET / 10) {
        panic!("{} came too often: {said}", String::from_utf8_lossy(&packet));
    }
}

/// The neighbour must hear this 40 times. Over IPv6 it also hears the group on other interfaces: `IPV6_MULTICAST_ALL` does not look at
/// the interface.
pub(super) fn heard(neighbour: &mut Python, group: Group, payload: &str, said: &str) {
    for _ in 0..COUNT {
        let mut line = neighbour.line();
        while line != payload && group.address().is_ipv6() {
            line = neighbour.line();
        }
        assert_eq!(line, payload, "{said}");
    }
}

fn unicast_to(pair: &Pair, group: Group) {
    let address = match group.address().is_ipv4() {
        true => std::net::IpAddr::V4(pair.addresses[1]),
        false => pair.v6_addresses()[1].into(),
    };
    for _ in 0..COUNT {
        let socket = std::net::UdpSocket::bind((address, 0)).unwrap();
        socket.send_to(b"unicast", (address, group.port())).unwrap();
    }
}

pub(super) fn bind(place: impl Into<Bind>) -> Listener<64> {
    ListenOptions::new().bind(place).unwrap()
}

#[test]
fn listeners_of_one_group_and_their_neighbours_receive_all_of_their_own() {
    let (one, two, theirs) = (Pair::new(), Pair::new(), Pair::new());
    for group in groups() {
        for options in SHARED {
            for is_wildcard in [true, false] {
                for before in [true, false] {
                    let said = format!("{group}, neighbour with {options}, wildcard: {is_wildcard}, before: {before}");
                    let of_group = group.address().to_string();
                    let bound = if is_wildcard { wildcard(group) } else { &of_group };
                    let neighbour =
                        || start(group, &theirs.b, options, bound).unwrap_or_else(|error| panic!("{error}: {said}"));
                    let early = before.then(neighbour);
                    let on = |pair: &Pair| Membership::any(group).on(named(&pair.b));
                    let mut here = bind(on(&one));
                    let mut here_too = bind(Bind::Interface(on(&one)));
                    let mut there = bind(Bind::Later(group));
                    let mut nowhere = bind(Bind::Later(group));
                    there.join(&on(&two)).unwrap();
                    let mut on_lo = bind(Membership::any(group).on(Interface::LOOPBACK));
                    let mut neighbour = early.unwrap_or_else(neighbour);
                    // As a program that is started again. The first one has not ended yet.
                    if !before {
                        neighbour =
                            start(group, &theirs.b, options, bound).unwrap_or_else(|error| panic!("{error}: {said}"));
                    }

                    send_from_many(&one.a, group, "one");
                    send_from_many(&two.a, group, "two");
                    send_from_many(&theirs.a, group, "theirs");
                    send_all(group, ["lo"]);
                    heard(&mut neighbour, group, "theirs", &said);
                    if is_wildcard {
                        unicast_to(&theirs, group);
                        heard(&mut neighbour, group, "unicast", &said);
                    }
                    counted(&mut here, &[("one", COUNT)], &said);
                    counted(&mut here_too, &[("one", COUNT)], &said);
                    counted(&mut there, &[("two", COUNT)], &said);
                    counted(&mut on_lo, &[("lo", 1)], &said);
                    counted(&mut nowhere, &[], &said);
                }
            }
        }
    }
}

#[test]
fn listeners_on_several_interfaces_and_their_neighbours_receive_all_of_their_own() {
    let (one, two, theirs) = (Pair::new(), Pair::new(), Pair::new());
    for group in groups() {
        for options in SHARED {
            for (before, is_wildcard) in [(true, true), (true, false), (false, true), (false, false)] {
                let said = format!("{group}, neighbour with {options}, wildcard: {is_wildcard}, before: {before}");
                let of_group = group.address().to_string();
                let bound = if is_wildcard { wildcard(group) } else { &of_group };
                let early = before.then(|| start(group, &theirs.b, options, bound).unwrap());
                let on = |pair: &Pair| Membership::any(group).on(named(&pair.b));
                let mut on_lo = bind(Membership::any(group).on(Interface::LOOPBACK));
                let mut later = bind(Bind::Later(group));
                let mut both = bind(on(&one));
                for pair in [&one, &two] {
                    later.join(&on(pair)).unwrap();
                    both.join(&on(pair)).unwrap();
                }
                let mut single = bind(on(&two));
                let neighbour = early.map_or_else(|| start(group, &theirs.b, options, bound), Ok);
                let mut neighbour = match neighbour {
                    Ok(neighbour) => neighbour,
                    Err(refused) => {
                        let expected = (true, "REUSEPORT", "Address already in use");
                        assert_eq!((group.address().is_ipv4(), options, refused.as_str()), expected, "{said}");
                        continue;
                    }
                };
                send_from_many(&one.a, group, "one");
                send_from_many(&two.a, group, "two");
                send_from_many(&theirs.a, group, "theirs");
                heard(&mut neighbour, group, "theirs", &said);
                if is_wildcard {
                    unicast_to(&theirs, group);
                    heard(&mut neighbour, group, "unicast", &said);
                }
                counted(&mut later, &[("one", COUNT), ("two", COUNT)], &said);
                counted(&mut both, &[("one", COUNT), ("two", COUNT)], &said);
                counted(&mut single, &[("two", COUNT)], &said);
                counted(&mut on_lo, &[], &said);
            }
        }
    }
}

#[test]
fn listeners_by_port_and_their_neighbours_receive_all_multicast_of_their_own() {
    let (ours, theirs) = (Pair::new(), Pair::new());
    for group in groups() {
        let other = groups().into_iter().find(|other| other.address().is_ipv4() == group.address().is_ipv4()).unwrap();
        let other = Group::new(other.address(), group.port()).unwrap();
        for options in SHARED {
            for before in [true, false] {
                let said = format!("{group}, neighbour with {options}, before: {before}");
                let early = before.then(|| start(other, &theirs.b, options, wildcard(group)).unwrap());
                let mut listener = bind(Bind::Port(group.port(), group.family()));
                listener.join(&Membership::any(group).on(named(&ours.b))).unwrap();
                let mut neighbour = match early {
                    Some(neighbour) => neighbour,
                    None => match start(other, &theirs.b, options, wildcard(group)) {
                        Ok(neighbour) => neighbour,
                        Err(refused) => {
                            assert_eq!((options, refused.as_str()), ("REUSEPORT", "Address already in use"), "{said}");
                            continue;
                        }
                    },
                };
                send_from_many(&ours.a, group, "ours");
                send_from_many(&theirs.a, other, "theirs");
                heard(&mut neighbour, group, "theirs", &said);
                neighbour.assert_quiet();
                counted(&mut listener, &[("ours", COUNT)], &said);
            }
        }
    }
}

#[test]
fn beside_a_sender_with_a_port_of_its_own_any_neighbour_starts_and_receives_all_of_its_own() {
    let pair = Pair::new();
    for group in groups() {
        for options in SHARED {
            let send = SendOptions::new().interface(named(&pair.a)).source_port(group.port());
            let _before = send.open(group.family()).unwrap();
            let mut neighbour = start(group, &pair.b, options, wildcard(group)).unwrap();
            let _after = send.open(group.family()).unwrap();
            let mut second = start(group, &pair.b, options, wildcard(group)).unwrap();
            send_from_many(&pair.a, group, "theirs");
            for neighbour in [&mut neighbour, &mut second] {
                heard(neighbour, group, "theirs", options);
            }
        }
    }
}

#[test]
fn a_pinned_listener_joins_again_on_the_same_socket_after_its_interface_was_created_again() {
    for group in groups() {
        let (pair, mut links, mut book) = (Pair::new(), Links::watch().unwrap(), Memberships::<2>::new());
        let membership = Membership::any(group).on(named(&pair.b));
        for place in [Bind::Group(membership), Bind::Interface(membership), Bind::Later(group)] {
            let mut listener = bind(place);
            book.join(membership, &mut listener).unwrap();
            for round in ["one", "two"] {
                pair.replace();
                loop {
                    let followed = links.follow(&mut book.with(&mut listener)).unwrap();
                    assert_eq!(followed.failed, None, "{place:?}");
                    if !followed.more {
                        break;
                    }
                }
                send_from_many(&pair.a, group, round);
                counted(&mut listener, &[(round, COUNT)], &format!("{place:?}"));
            }
            // No guard, and no check of each packet: it is still pinned.
            if !matches!(place, Bind::Later(_)) {
                assert_eq!(listener.kernel_program(&mut [Instruction::ZERO; 256]).unwrap().to_string(), "");
                assert!(format!("{listener:?}").contains("the socket's address"), "{listener:?}");
            }
            let restarted = start(group, &pair.b, "REUSEPORT", wildcard(group));
            assert!(restarted.is_ok(), "{place:?}");
            book.leave(&membership, &mut listener).unwrap();
        }
    }
}

#[test]
fn a_listener_that_joins_on_a_second_interface_refuses_what_others_joined_elsewhere() {
    let (one, two, theirs) = (Pair::new(), Pair::new(), Pair::new());
    for group in groups() {
        let mut listener = bind(Membership::any(group).on(named(&one.b)));
        let mut neighbour = start(group, &theirs.b, "REUSEADDR", wildcard(group)).unwrap();
        listener.join(&Membership::any(group).on(named(&two.b))).unwrap();
        for (pair, payload) in [(&theirs, "theirs"), (&one, "one"), (&two, "two")] {
            send_from_many(&pair.a, group, payload);
        }
        heard(&mut neighbour, group, "theirs", "");
        counted(&mut listener, &[("one", COUNT), ("two", COUNT)], &group.to_string());
        // The first membership ends with its interface; the other one stays.
        run(&format!("ip link delete {}", one.a));
        send_from_many(&two.a, group, "two");
        counted(&mut listener, &[("two", COUNT)], &group.to_string());
        one.create();
    }
}

#[test]
fn a_sender_of_a_listener_on_one_interface_sends_on_another_and_the_listener_still_refuses_others() {
    let (one, two) = (Pair::new(), Pair::new());
    for group in groups() {
        let mut listener = bind(Membership::any(group).on(named(&one.b)));
        let mut elsewhere = bind(Membership::any(group).on(named(&two.b)));
        let mut sender = listener.sender(SendOptions::new().interface(named(&two.a))).unwrap();
        assert_eq!(sender.send(b"from the port of the listener", group).unwrap(), Outcome::Sent);
        assert_eq!(expect_packet(&mut elsewhere), b"from the port of the listener");
        assert_quiet(&mut listener);
        send_from_many(&one.a, group, "one");
        counted(&mut listener, &[("one", COUNT)], &group.to_string());
    }
}

#[test]
fn a_pinned_listener_hears_this_host_and_works_on_macvlan_and_is_deaf_on_a_port_of_a_bridge() {
    require_private_network();
    let pair = Pair::new();
    let macvlan = format!("m{}", pair.b);
    run(&format!("ip link add {macvlan} link {} type macvlan mode bridge", pair.b));
    std::fs::write(format!("/proc/sys/net/ipv4/conf/{macvlan}/accept_local"), "1").unwrap();
    run(&format!("ip link set {macvlan} up"));
    common::wait_until("it is up", || run(&format!("ip -o link show dev {macvlan}")).contains("state UP"));
    for group in groups() {
        // This host's own packets, on the interface that they leave on.
        let mut own = bind(Membership::any(group).on(named(&pair.b)));
        let address = Interface::Address(pair.addresses[1].into());
        let interface = if group.address().is_ipv4() { address } else { named(&pair.b) };
        let mut caster = SendOptions::new().interface(interface).packets(group, ["own"]).unwrap();
        common::step_one(&mut caster);
        assert_eq!(expect_packet(&mut own), b"own", "{group}");
        let mut above = bind(Membership::any(group).on(named(&macvlan)));
        send_from_many(&pair.a, group, "above");
        counted(&mut above, &[("above", COUNT)], &group.to_string());
    }
    run(&format!("ip link delete {macvlan}"));
    let bridge = format!("b{}", pair.b);
    run(&format!("ip link add {bridge} type bridge mcast_snooping 0"));
    run(&format!("ip link set {} master {bridge}", pair.b));
    std::fs::write(format!("/proc/sys/net/ipv4/conf/{bridge}/accept_local"), "1").unwrap();
    run(&format!("ip link set {bridge} up"));
    for group in groups() {
        let mut port = bind(Membership::any(group).on(named(&pair.b)));
        let mut whole = bind(Membership::any(group).on(named(&bridge)));
        common::wait_until_mut("the bridge forwards", || {
            send_from_many(&pair.a, group, "bridged");
            next_within(&mut whole, common::QUIET).is_some()
        });
        assert_quiet(&mut port);
    }
    run(&format!("ip link delete {bridge}"));
}

#[test]
fn a_port_of_another_user_is_in_use_and_the_message_says_so() {
    const HOLDER: &str = r#"
import os, socket, sys
os.setuid(65534)
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
s.bind(("", int(sys.argv[1])))
print("ready")
sys.stdin.readline()
"#;
    require_private_network();
    if !has_another_user() {
        return;
    }
    let group = unique_group();
    let mut holder = Python::start(HOLDER, &[&group.port().to_string()]);
    assert_eq!(holder.line(), "ready");
    for place in [Bind::Later(group), Bind::Port(group.port(), Family::V4)] {
        let error = ListenOptions::new().bind::<64>(place).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AddressInUse);
        let rule =
            "a socket shares with SO_REUSEADDR if both have it, with SO_REUSEPORT if both have it and belong to one user";
        assert!(error.to_string().contains(rule), "{error}");
    }
}
