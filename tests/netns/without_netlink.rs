//! A process that may not open netlink sockets (`RestrictAddressFamilies` of systemd, seccomp). In a private network: see `make test`.

use crate::common::link::{Pair, named};
use crate::common::refusing::refusing_with;
use crate::common::{expect_packet, require_private_network, unique_group, unique_v6_group};
use multicast::{
    Bind, Destination, ErrorKind, Interface, Links, ListenOptions, Listener, Membership, Memberships, SendOptions,
};

/// EAFNOSUPPORT, EPERM, EACCES for AF_NETLINK.
const SETS: [&str; 3] = ["socket:97:0=16", "socket:1:0=16", "socket:13:0=16"];
const CAUSE: &str =
    "AF_NETLINK is not allowed here (RestrictAddressFamilies of systemd, or seccomp): allow it, or name an interface";

/// The tools of the test need netlink, so the links are there before.
#[test]
fn names_and_indexes_need_no_netlink_and_the_rest_says_that_it_does() {
    require_private_network();
    if std::env::var_os("FIRST_END").is_none() {
        let pair = Pair::new();
        refusing_with(
            "names_and_indexes_need_no_netlink_and_the_rest_says_that_it_does",
            &SETS,
            &[("FIRST_END", &pair.a), ("SECOND_END", &pair.b), ("ADDRESS", &pair.addresses[0].to_string())],
        );
        return;
    }
    let of = |name| std::env::var(name).unwrap();
    let (a, b) = (of("FIRST_END"), of("SECOND_END"));
    let own: Interface = of("ADDRESS").parse().unwrap();
    let index = named_index(&a);
    for group in [unique_group(), unique_v6_group(5)] {
        let there = Membership::any(group).on(named(&b));
        let mut bound = ListenOptions::new().bind::<64>(there).unwrap();
        let mut opened = ListenOptions::new().bind::<64>(Bind::Port(group.port(), group.family())).unwrap();
        opened.join(&there).unwrap();
        let mut followed = ListenOptions::new().bind::<64>(Bind::Later(group)).unwrap();
        Memberships::<1>::new().join(there, &mut followed).unwrap();
        for interface in [named(&a), Interface::Index(index)] {
            SendOptions::new().interface(interface).packets(group, ["x"]).unwrap().step().unwrap();
            let mut sender = SendOptions::new().open(group.family()).unwrap();
            let _ = sender.send(b"x", Destination::from(group).on(interface).unwrap()).unwrap();
            for listener in [&mut bound, &mut opened, &mut followed] {
                assert_eq!(expect_packet(listener), b"x", "{group} on {interface}");
                assert_eq!(expect_packet(listener), b"x", "{group} on {interface}");
            }
        }
        // By the routing table: the kernel decides for each packet. The route of this network leads to `lo`.
        let mut at_lo = ListenOptions::new().bind::<64>(Membership::any(group).on(Interface::LOOPBACK)).unwrap();
        SendOptions::new().packets(group, ["by default"]).unwrap().step().unwrap();
        assert_eq!(expect_packet(&mut at_lo), b"by default");
        for interface in [Interface::Default, Interface::All, own] {
            let error = Listener::bind(Membership::any(group).on(interface)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
            assert!(error.to_string().starts_with("join ") && error.to_string().ends_with(CAUSE), "{error}");
        }
        opened.leave(&there).unwrap();
    }
    let error = Links::watch().unwrap_err();
    assert_eq!(error.to_string(), format!("watch the interfaces: {CAUSE}"));
}

fn named_index(name: &str) -> std::num::NonZeroU32 {
    let Interface::Name(name) = named(name) else { panic!("not a name") };
    name.index().unwrap()
}
