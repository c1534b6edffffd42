//! Listeners that are pinned to their interface receive nothing else, without a guard, and return errors for other joins. In a private network: see `make test`.

use std::net::UdpSocket;
use std::num::NonZeroU32;

use crate::common;
use crate::common::link::{Pair, index_of, named, run};
use crate::common::refusing::refusing;
use crate::common::{
    assert_quiet, expect_packet, on_lo, peer, require_private_network, send_all, unique_group, unique_v6_group,
};
use multicast::filter::Prefix;
use multicast::filter::kernel::Instruction;
use multicast::{Bind, Counters, ErrorKind, Group, Interface, ListenOptions, Listener, Membership, Received, SendOptions};

/// IPv4, and IPv6 of link-local and site-local scope.
fn groups() -> [Group; 3] {
    [unique_group(), unique_v6_group(2), unique_v6_group(5)]
}

fn bind(group: Group, interface: Interface) -> Listener<64> {
    ListenOptions::new().bind(Bind::Interface(Membership::any(group).on(interface))).unwrap()
}

fn send_on(interface: Interface, group: Group, payload: &str) {
    common::send_with(SendOptions::new().interface(interface), group, [payload]);
}

#[test]
fn a_listener_bound_to_its_interface_receives_its_group_without_a_guard() {
    let pair = Pair::new();
    for group in groups() {
        let mut on_link = bind(group, named(&pair.b));
        let mut on_lo = bind(group, Interface::LOOPBACK);
        send_on(named(&pair.a), group, "on the link");
        send_all(group, ["on lo"]);
        assert_eq!(expect_packet(&mut on_link), b"on the link");
        assert_eq!(expect_packet(&mut on_lo), b"on lo");
        for listener in [&mut on_link, &mut on_lo] {
            assert_quiet(listener);
            let program = &mut [Instruction::ZERO; 256];
            assert_eq!(listener.kernel_program(program).unwrap().to_string(), "");
            let Counters { received, foreign, kernel_refuses, .. } = listener.counters();
            assert_eq!((received, foreign, kernel_refuses), (1, 0, false));
        }
    }
}

#[test]
fn packets_on_an_interface_that_another_process_joined_are_refused() {
    let (ours, theirs) = (Pair::new(), Pair::new());
    for group in groups() {
        let mut listener = bind(group, named(&ours.b));
        let mut peer = peer::Receiver::join(group, &theirs.b);
        for _ in 0..10 {
            send_on(named(&theirs.a), group, "theirs");
            assert_eq!(peer.next().payload, b"theirs", "{group}");
        }
        for _ in 0..10 {
            send_on(named(&ours.a), group, "ours");
            assert_eq!(expect_packet(&mut listener), b"ours", "{group}");
        }
        assert_quiet(&mut listener);
        assert_eq!((listener.counters().received, listener.counters().foreign), (10, 0), "{group}");
    }
}

#[test]
fn other_groups_of_the_port_and_unicast_are_refused() {
    let pair = Pair::new();
    for group in groups() {
        let mut listener = bind(group, named(&pair.b));
        let theirs = groups().into_iter().find(|other| other.address().is_ipv4() == group.address().is_ipv4()).unwrap();
        let theirs = Group::new(theirs.address(), group.port()).unwrap();
        let mut peer = peer::Receiver::join(theirs, &pair.b);
        send_on(named(&pair.a), theirs, "theirs");
        assert_eq!(peer.next().payload, b"theirs", "{group}");
        let own =
            if group.address().is_ipv4() { pair.addresses[1].into() } else { std::net::IpAddr::V6(pair.v6_addresses()[1]) };
        let _ = UdpSocket::bind((own, 0)).unwrap().send_to(b"unicast", (own, group.port()));
        assert_quiet(&mut listener);
        send_on(named(&pair.a), group, "ours");
        assert_eq!(expect_packet(&mut listener), b"ours", "{group}");
    }
}

#[test]
fn a_group_that_was_left_is_refused_and_can_be_joined_again() {
    let pair = Pair::new();
    for group in groups() {
        let membership = Membership::any(group).on(named(&pair.b));
        let mut listener = bind(group, named(&pair.b));
        let mut peer = peer::Receiver::join(group, &pair.b);
        listener.leave(&membership).unwrap();
        send_on(named(&pair.a), group, "left");
        assert_eq!(peer.next().payload, b"left", "{group}");
        assert_quiet(&mut listener);
        listener.join(&membership).unwrap();
        send_on(named(&pair.a), group, "joined again");
        assert_eq!(expect_packet(&mut listener), b"joined again", "{group}");
    }
}

#[test]
fn joining_on_another_interface_is_an_error_and_changes_nothing() {
    let (ours, other) = (Pair::new(), Pair::new());
    for group in groups() {
        let mut listener = bind(group, named(&ours.b));
        let there = Membership::any(group).on(named(&other.b));
        let error = listener.join(&there).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::OneInterface);
        let said = "this listener stays on its interface (Bind::Interface), and this is another one: leave the group first, or use \
                    Bind::Group";
        assert_eq!(error.to_string(), format!("join {} on {}: {said}", group.address(), other.b));
        let everywhere = Membership::any(group).on(Interface::All);
        assert_eq!(listener.join(&everywhere).unwrap_err().kind(), ErrorKind::OneInterface);
        // Leaving does nothing if the listener is not a member, as with every listener.
        listener.leave(&there).unwrap();
        let another = groups().into_iter().find(|other| other.address().is_ipv4() == group.address().is_ipv4()).unwrap();
        let another = Group::new(another.address(), group.port()).unwrap();
        let error = listener.join(&Membership::any(another).on(named(&ours.b))).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BoundToGroup);
        send_on(named(&ours.a), group, "still here");
        assert_eq!(expect_packet(&mut listener), b"still here", "{group}");
    }
}

#[test]
fn binding_to_no_single_interface_is_an_error() {
    require_private_network();
    let missing = Interface::Index(NonZeroU32::new(9999).unwrap());
    for group in groups() {
        for (interface, kind) in [
            (Interface::All, ErrorKind::OneInterface),
            (missing, ErrorKind::NoSuchInterface),
            (named("nowhere"), ErrorKind::NoSuchInterface),
        ] {
            let bound = ListenOptions::new().bind::<64>(Bind::Interface(Membership::any(group).on(interface)));
            assert_eq!(bound.unwrap_err().kind(), kind, "{group} on {interface}");
        }
    }
}

#[test]
fn binding_fails_if_the_kernel_cannot_bind_to_the_interface() {
    require_private_network();
    // SO_BINDTOIFINDEX: EPERM without the privilege before Linux 5.7, ENOPROTOOPT before Linux 5.0.
    let sets = ["setsockopt:1:2=62", "setsockopt:92:2=62"];
    let name = "binding_fails_if_the_kernel_cannot_bind_to_the_interface";
    let Some(rules) = refusing(name, &sets) else { return };
    let kind = if rules == sets[0] { ErrorKind::Denied } else { ErrorKind::Unsupported };
    for group in groups() {
        let bound = ListenOptions::new().bind::<64>(Bind::Interface(on_lo(group)));
        assert_eq!(bound.unwrap_err().kind(), kind, "{group}");
        // `Bind::Group` does not need this option. IPv6 has a guard instead.
        for place in [Bind::Group(on_lo(group)), Bind::Later(group)] {
            let mut listener = ListenOptions::new().bind::<64>(place).unwrap();
            listener.join(&on_lo(group)).unwrap();
            send_all(group, ["guarded"]);
            assert_eq!(expect_packet(&mut listener), b"guarded");
            let program = &mut [Instruction::ZERO; 256];
            let has_guard = !listener.kernel_program(program).unwrap().to_string().is_empty();
            assert_eq!(has_guard, group.address().is_ipv6(), "{place:?}");
        }
    }
}

/// Not all that offer the calls of Linux also do what they say.
#[test]
fn a_socket_that_was_not_pinned_though_the_kernel_says_so_has_a_guard_or_is_not_made() {
    require_private_network();
    let name = "a_socket_that_was_not_pinned_though_the_kernel_says_so_has_a_guard_or_is_not_made";
    // SO_BINDTOIFINDEX: success.
    if refusing(name, &["setsockopt:0:2=62"]).is_none() {
        return;
    }
    let (ours, theirs) = (Pair::new(), Pair::new());
    for group in groups() {
        let membership = Membership::any(group).on(named(&ours.b));
        let bound = ListenOptions::new().bind::<64>(Bind::Interface(membership));
        let error = bound.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Denied);
        assert!(error.to_string().starts_with(&format!("bind {} on {}: ", group.address(), ours.b)), "{error}");
        let mut peer = peer::Receiver::join(group, &theirs.b);
        for place in [Bind::Group(membership), Bind::Later(group)] {
            let mut listener = ListenOptions::new().bind::<64>(place).unwrap();
            listener.join(&membership).unwrap();
            send_on(named(&theirs.a), group, "theirs");
            // It hears the group on each link.
            while peer.next().payload != b"theirs" {}
            send_on(named(&ours.a), group, "ours");
            assert_eq!(expect_packet(&mut listener), b"ours", "{place:?}");
            assert_quiet(&mut listener);
            assert_eq!(format!("{listener:?}").contains("the guard"), group.address().is_ipv6(), "{listener:?}");
        }
    }
}

#[test]
fn the_kernel_runs_the_filter_and_it_can_be_replaced() {
    let pair = Pair::new();
    for group in groups() {
        let options = ListenOptions::new().reuse_port(false).filter(Prefix("NOTIFY"));
        let mut listener = options.bind::<64>(Bind::Interface(Membership::any(group).on(named(&pair.b)))).unwrap();
        send_on(named(&pair.a), group, "M-SEARCH");
        send_on(named(&pair.a), group, "NOTIFY one");
        assert_eq!(expect_packet(&mut listener), b"NOTIFY one", "{group}");
        let Counters { received, rejected, dropped, .. } = listener.counters();
        assert_eq!((received, rejected, dropped), (1, 0, Some(1)), "{group}");
        listener.replace_filter(Prefix("M-")).unwrap();
        send_on(named(&pair.a), group, "NOTIFY two");
        send_on(named(&pair.a), group, "M-SEARCH two");
        assert_eq!(expect_packet(&mut listener), b"M-SEARCH two", "{group}");
        assert_eq!(listener.counters().dropped, Some(2), "{group}");
    }
}

#[test]
fn a_single_source_and_metadata_work() {
    let pair = Pair::new();
    for group in groups() {
        let [ours, theirs] = pair.addresses;
        let source = if group.address().is_ipv4() { ours.into() } else { std::net::IpAddr::V6(pair.v6_addresses()[0]) };
        let other = if group.address().is_ipv4() { theirs.into() } else { std::net::IpAddr::V6(pair.v6_addresses()[1]) };
        let membership = |source| Membership::source(group, source).on(named(&pair.b));
        let options = ListenOptions::new().metadata();
        let mut named_source = options.bind::<64>(Bind::Interface(membership(source))).unwrap();
        let mut other_source = options.bind::<64>(Bind::Interface(membership(other))).unwrap();
        send_on(named(&pair.a), group, "from a");
        let Received::Packet(packet) = named_source.recv().unwrap() else { panic!("{group}: no packet") };
        let metadata = packet.metadata().unwrap();
        assert_eq!(metadata.destination, Some(group.address()));
        assert_eq!(metadata.interface, Some(index_of(&pair.b)));
        assert_quiet(&mut other_source);
    }
}

#[test]
fn binding_to_an_interface_without_ipv6_is_an_error() {
    let pair = Pair::new();
    run(&format!("ip link set {} mtu 1000", pair.b));
    let group = unique_v6_group(5);
    let bound = ListenOptions::new().bind::<64>(Bind::Interface(Membership::any(group).on(named(&pair.b))));
    assert_eq!(bound.unwrap_err().kind(), ErrorKind::NoAddress);
}

/// `ip vrf exec` confines a process to an interface. A listener that could leave it would hear nothing of it.
#[cfg(feature = "std")]
#[test]
fn a_process_that_is_confined_to_an_interface_stays_there() {
    use common::confined::confined;
    use multicast::AsFd;
    use std::process::Command;

    const BOUND_TO: &str = "import socket; print(socket.socket(fileno=0).getsockopt(socket.SOL_SOCKET, 62))";
    let pair = std::cell::OnceCell::new();
    let test = "a_process_that_is_confined_to_an_interface_stays_there";
    let Some(name) = confined(test, || pair.get_or_init(Pair::new).b.clone()) else { return };
    for group in groups() {
        let membership = Membership::any(group).on(named(&name));
        for place in [Bind::Group(membership), Bind::Later(group), Bind::Port(group.port(), group.family())] {
            let mut listener = ListenOptions::new().bind::<64>(place).unwrap();
            let stays = |listener: &Listener<64>| {
                let socket = listener.as_fd().try_clone_to_owned().unwrap();
                let output = Command::new("python3").args(["-c", BOUND_TO]).stdin(socket).output().unwrap();
                assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), index_of(&name).to_string(), "{place:?}");
            };
            stays(&listener);
            listener.join(&membership).unwrap();
            stays(&listener);
            send_on(named(&name), group, "from its interface");
            assert_eq!(expect_packet(&mut listener), b"from its interface", "{place:?}");
            assert_eq!(listener.local_addr().unwrap().ip().is_multicast(), !matches!(place, Bind::Port(..)));
        }
    }
}

/// Also without a book: nobody can leave by name what was joined on a deleted interface. Done more often than the kernel allows
/// memberships.
#[test]
fn an_interface_that_was_created_again_can_be_joined_by_hand() {
    let ways: [fn(Membership) -> Bind; 2] = [Bind::Interface, Bind::Group];
    let mut failed = Vec::new();
    for group in groups() {
        for way in ways {
            let pair = Pair::new();
            let membership = Membership::any(group).on(named(&pair.b));
            let mut listener = ListenOptions::new().bind::<64>(way(membership)).unwrap();
            let joined = (0..25).try_for_each(|_| {
                pair.replace();
                listener.join(&membership)
            });
            if let Err(error) = joined {
                failed.push(error);
                continue;
            }
            send_on(named(&pair.a), group, "heard");
            assert_eq!(expect_packet(&mut listener), b"heard");
        }
    }
    assert_eq!(failed, []);
}

/// A neighbour that is pinned to `lo`, where a listener is pinned for the moment of its bind. The kernel would distribute packets among
/// the two, also those that only one has joined.
#[test]
fn a_listener_by_port_receives_all_of_its_own_beside_a_neighbour_that_is_pinned_to_lo() {
    const PINNED: &str = r#"
import socket, struct, sys
family, port = sys.argv[1], int(sys.argv[2])
s = socket.socket(socket.AF_INET if family == "4" else socket.AF_INET6, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
s.setsockopt(socket.SOL_SOCKET, 62, 1)  # SO_BINDTOIFINDEX
s.bind(("", port))
print("ready")
while True:
    print(s.recv(2000).decode())
"#;
    let pair = Pair::new();
    for group in groups() {
        let number = if group.address().is_ipv4() { "4" } else { "6" };
        let mut neighbours = [(); 3].map(|()| common::Python::start(PINNED, &[number, &group.port().to_string()]));
        for neighbour in &mut neighbours {
            assert_eq!(neighbour.line(), "ready");
        }
        let mut listener = ListenOptions::new().bind::<64>(Bind::Port(group.port(), group.family())).unwrap();
        listener.join(&Membership::any(group).on(named(&pair.b))).unwrap();
        // Each from a port of its own: that decides who would get it.
        for _ in 0..40 {
            send_on(named(&pair.a), group, "ours");
            assert_eq!(expect_packet(&mut listener), b"ours", "{group}");
        }
        let [mut neighbour, ..] = neighbours;
        neighbour.assert_quiet();
    }
}

/// A socket that is bound to an interface sends on no other.
#[test]
fn a_sender_on_another_interface_than_the_listeners_own_is_an_error_that_says_so() {
    let (one, two) = (Pair::new(), Pair::new());
    for group in groups() {
        let mut listener = bind(group, named(&one.b));
        let v4 = Interface::Address(two.addresses[0].into());
        let v6 = Interface::Address(two.v6_addresses()[0].into());
        for there in [named(&two.a), Interface::Index(index_of(&two.a)), if group.address().is_ipv4() { v4 } else { v6 }] {
            let error = listener.sender(SendOptions::new().interface(there)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::OneInterface, "{error}");
            assert!(error.to_string().starts_with(&format!("send on {there}: packets leave on one interface")), "{error}");
        }
        send_on(named(&one.a), group, "still");
        assert_eq!(expect_packet(&mut listener), b"still");
        assert!(listener.sender(SendOptions::new().interface(named(&one.b))).is_ok());
    }
}
