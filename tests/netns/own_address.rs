//! A machine's own address on an interface, as protocols write it into their messages. In a private network: see `make test`.

use std::net::IpAddr;
use std::num::NonZeroU32;

use crate::common;
use crate::common::link::{Pair, index_of, named, run};
use crate::common::{LO, OnePacket, unique_group, unique_v6_group};
use multicast::{ErrorKind, Family, Interface, ListenOptions, Membership, Outcome, SendOptions};

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn an_interface_has_the_same_index_and_address_under_each_of_its_names() {
    let pair = Pair::new();
    let index = index_of(&pair.a);
    let (v4, v6) = (IpAddr::from(pair.addresses[0]), IpAddr::from(pair.v6_addresses()[0]));
    for interface in [named(&pair.a), index.into(), v4.into(), v6.into()] {
        assert_eq!(interface.index().unwrap(), index, "{interface}");
        assert_eq!(interface.address(Family::V4).unwrap(), v4, "{interface}");
        assert_eq!(interface.address(Family::V6).unwrap(), v6, "{interface}");
    }
    for (family, expected) in [(Family::V4, "127.0.0.1"), (Family::V6, "::1")] {
        assert_eq!(LO.address(family).unwrap(), address(expected));
    }
}

#[test]
fn of_several_addresses_it_is_the_source_of_packets_that_leave_there() {
    let pair = Pair::bare();
    // Outside of the namespace's other networks. The first one of IPv6 is not to be used for new conversations.
    for one in ["192.0.2.9/32", "198.51.100.7/24", "198.51.100.8/24"] {
        run(&format!("ip addr add {one} dev {}", pair.a));
    }
    for one in ["fe80::7/64 nodad", "2001:db8:9::1/64 nodad preferred_lft 0", "2001:db8:9::2/64 nodad"] {
        run(&format!("ip -6 addr add {one} dev {}", pair.a));
    }
    for group in [unique_group(), unique_v6_group(0xe)] {
        let mut listener = ListenOptions::new().bind::<64>(Membership::any(group).on(named(&pair.b))).unwrap();
        let mut sender = SendOptions::new().interface(named(&pair.a)).open(group.family()).unwrap();
        assert_eq!(sender.send(b"from", group).unwrap(), Outcome::Sent);
        common::wait_until_mut("the packet came", || {
            let Some(packet) = listener.recv().unwrap().packet() else { return false };
            assert_eq!(packet.source().ip(), named(&pair.a).address(group.family()).unwrap());
            true
        });
    }
    assert_eq!(named(&pair.a).address(Family::V6).unwrap(), address("2001:db8:9::2"));
    assert_eq!(Interface::Address(address("198.51.100.8")).address(Family::V4).unwrap(), address("198.51.100.8"));
}

#[test]
fn a_link_local_address_is_the_last_choice_and_an_interface_that_is_down_has_addresses_too() {
    let pair = Pair::bare();
    run(&format!("ip -6 addr add fe80::7/64 dev {} nodad", pair.a));
    assert_eq!(named(&pair.a).address(Family::V6).unwrap(), address("fe80::7"));
    assert_eq!(named(&pair.a).address(Family::V4).unwrap_err().kind(), ErrorKind::NoAddress);
    run(&format!("ip addr add 198.51.100.9/24 dev {}", pair.a));
    run(&format!("ip link set {} down", pair.a));
    assert_eq!(named(&pair.a).address(Family::V4).unwrap(), address("198.51.100.9"));
}

#[test]
fn what_is_no_interface_or_not_one_is_an_error_that_says_so() {
    common::require_private_network();
    let nowhere = [named("nosuch0"), Interface::Address(address("192.0.2.77"))];
    for interface in nowhere {
        assert_eq!(interface.index().unwrap_err().kind(), ErrorKind::NoSuchInterface);
    }
    let unused = NonZeroU32::new(1 << 30).unwrap();
    assert_eq!(Interface::Index(unused).index().unwrap(), unused);
    assert_eq!(Interface::Index(unused).address(Family::V4).unwrap_err().kind(), ErrorKind::NoSuchInterface);
    assert_eq!(Interface::Default.index().unwrap_err().kind(), ErrorKind::InterfaceNeeded);
    assert_eq!(Interface::All.address(Family::V6).unwrap_err().kind(), ErrorKind::OneInterface);
    let text = named("nosuch0").address(Family::V4).unwrap_err().to_string();
    assert_eq!(text, "find nosuch0: no such interface");
}
