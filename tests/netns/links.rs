//! What `Links` reports when interfaces are created, deleted and changed. In a private network: see `make test`.

use crate::common::changes::{all, is_link, name, until};
use crate::common::link::{Pair, index_of, is_alone, run};
use crate::common::{QUIET, wait_until_mut};
use multicast::{Change, Link, Links};

#[test]
fn existing_interfaces_are_reported_first() {
    let pair = Pair::new();
    let index = index_of(&pair.a);
    let told = all(&mut Links::watch().unwrap());
    assert!(told.iter().any(|change| is_link(change, index, |link| {
        link.name == name(&pair.a) && link.is_up && link.is_running && link.is_multicast
    })));
    assert!(told.iter().any(|change| is_link(change, 1.try_into().unwrap(), |lo| lo.is_up && !lo.is_multicast)));
    for address in [pair.addresses[0].into(), pair.v6_addresses()[0].into()] {
        assert!(told.contains(&Change::Address { index, address }), "{address}");
    }
}

#[test]
fn every_change_of_an_interface_is_reported_until_it_is_deleted() {
    let pair = Pair::planned();
    let mut links = Links::watch().unwrap();
    all(&mut links);
    pair.create_bare();
    let made = until(&mut links, |change| matches!(change, Change::Link(link) if link.name == name(&pair.a)));
    let Change::Link(Link { index, .. }) = made else { unreachable!() };
    assert_eq!(index, index_of(&pair.a));
    until(&mut links, |change| is_link(change, index, |link| link.is_up && link.is_running));

    pair.give_addresses();
    for address in [pair.addresses[0].into(), pair.v6_addresses()[0].into()] {
        until(&mut links, |change| *change == Change::Address { index, address });
    }
    let address = pair.addresses[0];
    run(&format!("ip addr delete {address}/24 dev {}", pair.a));
    until(&mut links, |change| *change == Change::AddressGone { index, address: address.into() });

    run(&format!("ip link set {} down", pair.a));
    until(&mut links, |change| is_link(change, index, |link| !link.is_up));
    run(&format!("ip link set {} name renamed0", pair.a));
    until(&mut links, |change| is_link(change, index, |link| link.name == name("renamed0")));

    run("ip link delete renamed0");
    let gone = until(&mut links, |change| matches!(change, Change::Gone { index: its, .. } if *its == index));
    assert_eq!(gone, Change::Gone { index, name: name("renamed0") });
}

/// A router may learn thousands of them in a second, and whoever follows a route to a group asks the kernel for it at each change.
#[test]
fn of_routes_only_those_that_packets_to_groups_can_take_are_reported() {
    if !is_alone("of_routes_only_those_that_packets_to_groups_can_take_are_reported") {
        return;
    }
    let pair = Pair::new();
    let mut links = Links::watch().unwrap();
    let mut routes = || all(&mut links).into_iter().filter(|change| *change == Change::Route).count();
    // The kernel adds routes of its own to links that are new.
    wait_until_mut("the kernel adds no more routes", || {
        std::thread::sleep(QUIET);
        routes() == 0
    });
    for (ip, to_groups, to_others) in [
        ("ip", ["239.77.0.0/16", "192.0.0.0/2", "default"], ["198.51.100.0/24", "192.0.0.0/3"]),
        ("ip -6", ["ff3e:77::/32", "fe00::/7", "default"], ["2001:db8::/32", "fe00::/8"]),
    ] {
        for verb in ["add", "delete"] {
            for to in to_others {
                run(&format!("{ip} route {verb} {to} dev {} proto static", pair.a));
                assert_eq!(routes(), 0, "{verb} {to}");
            }
            for to in to_groups {
                run(&format!("{ip} route {verb} {to} dev {} proto static", pair.a));
                assert_eq!(routes(), 1, "{verb} {to}");
            }
        }
    }
    // The kernel's own are reported: with the last address of an interface, other routes go without a message.
    run(&format!("ip addr flush dev {}", pair.a));
    assert!(routes() > 0);
}

#[test]
fn routes_are_reported_and_a_port_that_leaves_a_bridge_is_not_gone() {
    let pair = Pair::new();
    let index = index_of(&pair.a);
    let mut links = Links::watch().unwrap();
    all(&mut links);
    for verb in ["add", "delete"] {
        // No test has a group in this network.
        run(&format!("ip route {verb} 238.77.0.0/16 dev {}", pair.a));
        until(&mut links, |change| *change == Change::Route);
    }

    let bridge = format!("br{}", std::process::id());
    run(&format!("ip link add {bridge} type bridge"));
    run(&format!("ip link set {} master {bridge}", pair.a));
    run(&format!("ip link set {} nomaster", pair.a));
    run(&format!("ip link delete {bridge}"));
    let mut told = Vec::new();
    let its_end = |change: &Change| matches!(change, Change::Gone { name: its, .. } if *its == name(&bridge));
    while !told.iter().any(its_end) {
        told.push(until(&mut links, |_| true));
    }
    assert!(!told.iter().any(|change| matches!(change, Change::Gone { index: its, .. } if *its == index)), "{told:?}");
}
