//! Interfaces with alternative names, ports of bridges, rules and next hops that move routes, and lists that cannot be read at the
//! moment. In a private network: see `make test`.

use std::io::Write;
use std::process::{Command, Stdio};

use crate::common;
use crate::common::changes::{all, is_link, until};
use crate::common::link::{Pair, index_of, is_alone, named, run};
use crate::common::{assert_quiet, expect_packet, unique_group, unique_v6_group};
use multicast::{
    Bind, Change, ErrorKind, Group, Interface, Links, ListenOptions, Listener, Membership, Memberships, SendOptions,
};

/// Without a copy for this host, which would also arrive on the sender's interface.
fn send(from: &str, group: Group, text: &str) {
    let options = SendOptions::new().interface(named(from)).loopback(false);
    common::send_with(options, group, [text]);
}

fn later(group: Group) -> Listener<64> {
    ListenOptions::new().bind(Bind::Later(group)).unwrap()
}

#[test]
fn an_alternative_name_is_followed_as_the_name_is() {
    let (pair, group) = (Pair::new(), unique_group());
    let (near, far) = ("enp3s0", "enp3s1");
    let give = || {
        run(&format!("ip link property add dev {} altname {near}", pair.a));
        run(&format!("ip link property add dev {} altname {far}", pair.b));
    };
    give();
    let mut links = Links::watch().unwrap();
    let (mut listener, mut book) = (later(group), Memberships::<1>::new());
    book.join(Membership::any(group).on(named(far)), &mut listener).unwrap();
    let options = SendOptions::new().interface(named(near)).loopback(false).later();
    let mut sender = options.open(group.family()).unwrap();
    for round in 0..3 {
        while links.follow(&mut (book.with(&mut listener), &mut sender)).unwrap().more {}
        let _ = sender.send(b"there", group).unwrap();
        assert_eq!(expect_packet(&mut listener), b"there", "round {round}");
        pair.replace();
        let followed = links.follow(&mut (book.with(&mut listener), &mut sender)).unwrap();
        assert_eq!(followed.applied.pending, 2, "round {round}");
        give();
    }
}

#[test]
fn a_name_that_is_too_long_says_what_to_write() {
    let error = "enp3s0f1np1-with-a-long-alternative-name".parse::<Interface>().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Syntax);
    assert!(
        error.to_string().contains("write a name of 1 to 15 bytes (of alternative names only such are supported)"),
        "{error}"
    );
}

#[test]
fn a_link_tells_its_mtu_and_its_master_and_whether_that_takes_its_packets() {
    if !is_alone("a_link_tells_its_mtu_and_its_master_and_whether_that_takes_its_packets") {
        return;
    }
    let pair = Pair::new();
    run("ip link add br0 type bridge");
    let (port, bridge) = (index_of(&pair.b), index_of("br0"));
    let mut links = Links::watch().unwrap();
    let told = all(&mut links);
    assert!(
        told.iter().any(|change| is_link(change, port, |link| link.master.is_none() && !link.is_port && link.mtu == 1500))
    );
    run(&format!("ip link set {} master br0", pair.b));
    until(&mut links, |change| is_link(change, port, |link| link.master == Some(bridge) && link.is_port));
    // Also for who asks later.
    let told = all(&mut Links::watch().unwrap());
    assert!(told.iter().any(|change| is_link(change, port, |link| link.master == Some(bridge) && link.is_port)));
    run(&format!("ip link set {} mtu 1400", pair.b));
    until(&mut links, |change| is_link(change, port, |link| link.mtu == 1400));
    run(&format!("ip link set {} nomaster", pair.b));
    until(&mut links, |change| is_link(change, port, |link| link.master.is_none() && !link.is_port));
}

/// As virtual private networks do it: a table of their own, and a rule that leads there.
#[test]
fn the_default_interface_follows_policy_rules_and_next_hops() {
    if !is_alone("the_default_interface_follows_policy_rules_and_next_hops") {
        return;
    }
    let (first, second) = (Pair::new(), Pair::new());
    let group: Group = "239.88.1.1:4288".parse().unwrap();
    run(&format!("ip route add 239.88.0.0/16 dev {}", first.b));
    run(&format!("ip route add 239.88.0.0/16 dev {} table 88", second.b));
    let mut links = Links::watch().unwrap();
    let (mut listener, mut book) = (later(group), Memberships::<1>::new());
    book.join(Membership::any(group), &mut listener).unwrap();
    while links.follow(&mut book.with(&mut listener)).unwrap().more {}
    let mut heard_on = |pair: &Pair, listener: &mut Listener<64>, book: &mut Memberships<1>, when: &str| {
        let followed = links.follow(&mut book.with(listener)).unwrap();
        assert_eq!((followed.applied.joined, followed.applied.left), (1, 1), "{when}");
        send(&pair.a, group, when);
        assert_eq!(expect_packet(listener), when.as_bytes());
    };
    run("ip rule add to 239.88.0.0/16 table 88");
    heard_on(&second, &mut listener, &mut book, "a rule");
    run("ip rule del to 239.88.0.0/16 table 88");
    heard_on(&first, &mut listener, &mut book, "no rule");
    run(&format!("ip nexthop add id 88 dev {}", second.b));
    run("ip route add 239.88.1.0/24 nhid 88");
    heard_on(&second, &mut listener, &mut book, "a next hop");
    // With it goes its route, of which nothing is reported.
    run("ip nexthop del id 88");
    heard_on(&first, &mut listener, &mut book, "no next hop");
}

/// One interface whose names do not fit into one answer, so that all are asked about one by one.
fn give_very_many_names(interface: &str) {
    let mut batch = Command::new("ip").args(["-batch", "-"]).stdin(Stdio::piped()).spawn().unwrap();
    let lines: String =
        (0..90).map(|number| format!("link property add dev {interface} altname {number:0>120}\n")).collect();
    batch.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
    assert!(batch.wait().unwrap().success());
}

#[test]
fn interfaces_beside_one_with_very_many_names_are_found() {
    if !is_alone("interfaces_beside_one_with_very_many_names_are_found") {
        return;
    }
    let pairs: Vec<Pair> = (0..6).map(|_| Pair::new()).collect();
    give_very_many_names(&pairs[0].a);
    let told = all(&mut Links::watch().unwrap());
    for pair in &pairs {
        for (end, address) in [(&pair.a, pair.addresses[0]), (&pair.b, pair.addresses[1])] {
            let index = index_of(end);
            let is_told = told.iter().any(|change| is_link(change, index, |link| link.name == common::changes::name(end)));
            assert!(is_told && told.contains(&Change::Address { index, address: address.into() }), "{end}");
        }
    }
    let group = unique_group();
    let mut listener = ListenOptions::new().bind::<64>(Membership::any(group).on(Interface::All)).unwrap();
    for pair in &pairs {
        for end in [&pair.a, &pair.b] {
            send(end, group, end);
            assert_eq!(expect_packet(&mut listener), end.as_bytes());
        }
    }
    // A report about that interface alone is longer than the buffer, too.
    let mut links = Links::watch().unwrap();
    all(&mut links);
    run(&format!("ip link set {} mtu 1400", pairs[0].a));
    let index = index_of(&pairs[0].a);
    until(&mut links, |change| is_link(change, index, |link| link.mtu == 1400));
}

/// No descriptor is left for a moment, so that nobody can say which interfaces there are.
#[test]
fn no_membership_is_left_while_the_kernel_cannot_be_asked() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    if !is_alone("no_membership_is_left_while_the_kernel_cannot_be_asked") {
        return;
    }
    for group in [unique_group(), unique_v6_group(5)] {
        for interface in [Interface::All, Interface::Default] {
            let (pair, other) = (Pair::new(), Pair::new());
            if interface == Interface::Default && group.family() == multicast::Family::V6 {
                continue;
            }
            if interface == Interface::Default {
                run(&format!("ip route replace {} dev {}", group.address(), pair.b));
            }
            let (mut links, mut listener, mut book) = (Links::watch().unwrap(), later(group), Memberships::<1>::new());
            let joined = book.join(Membership::any(group).on(interface), &mut listener).unwrap().joined;
            while links.follow(&mut book.with(&mut listener)).unwrap().more {}
            run(&format!("ip link set {} alias changed", other.a));
            let before = getrlimit(Resource::Nofile);
            setrlimit(Resource::Nofile, Rlimit { current: Some(0), ..before }).unwrap();
            let followed = links.follow(&mut book.with(&mut listener)).unwrap();
            setrlimit(Resource::Nofile, before).unwrap();
            let error = followed.failed.expect("a report");
            assert!(error.to_string().contains("too many open file descriptors"), "{error}");
            assert_eq!(followed.applied.left, 0, "of {joined}");
            send(&pair.a, group, "heard");
            assert_eq!(expect_packet(&mut listener), b"heard");
            // The next change is followed again.
            run(&format!("ip link set {} alias again", other.a));
            assert_eq!(links.follow(&mut book.with(&mut listener)).unwrap().failed, None);
            assert_quiet(&mut listener);
        }
    }
}

/// Opens files until the process may open no more. They are closed with the list.
fn use_up_descriptors() -> Vec<std::fs::File> {
    let limit = rustix::process::Rlimit { current: Some(200), maximum: Some(200) };
    rustix::process::setrlimit(rustix::process::Resource::Nofile, limit).unwrap();
    std::iter::from_fn(|| std::fs::File::open("/dev/null").ok()).collect()
}

#[test]
fn interfaces_that_cannot_be_asked_about_are_asked_about_again_and_hold_nothing_up() {
    if !is_alone("interfaces_that_cannot_be_asked_about_are_asked_about_again_and_hold_nothing_up") {
        return;
    }
    let pairs: Vec<Pair> = (0..6).map(|_| Pair::new()).collect();
    give_very_many_names(&pairs[0].a);
    let mut links = Links::watch().unwrap();
    let files = use_up_descriptors();
    let is_told = |told: &[Change], pair: &Pair| {
        let (index, name) = (index_of(&pair.b), common::changes::name(&pair.b));
        told.iter().any(|change| is_link(change, index, |link| link.name == name))
    };
    let mut told = Vec::new();
    let error = loop {
        match links.next() {
            Ok(Some(change)) => told.push(change),
            Ok(None) => panic!("no error"),
            Err(error) => break error,
        }
    };
    assert_eq!((error.kind(), error.raw_os_error()), (ErrorKind::LimitReached, Some(24)), "{error}");
    // The addresses came, whose lists are behind.
    let addresses = |told: &[Change]| told.iter().filter(|change| matches!(change, Change::Address { .. })).count();
    assert!(addresses(&told) >= 24, "{told:?}");
    // The error lasts, and makes nobody who waits spin.
    assert!(links.next().is_err());
    let (poller, mut events) = (multicast::Poller::new(), multicast::Events::<1>::new());
    drop(files);
    let poller = poller.or_else(|_| multicast::Poller::new()).unwrap();
    poller.register(&links, multicast::Token(0), multicast::Interest::READABLE).unwrap();
    assert_eq!(poller.poll(&mut events, std::time::Duration::ZERO).unwrap().count(), 0);
    assert!(!pairs[1..].iter().all(|pair| is_told(&told, pair)), "this shows nothing: all were in the list");
    let told = all(&mut links);
    for pair in &pairs {
        assert!(is_told(&told, pair), "{}: {told:?}", pair.b);
    }
    assert_eq!(links.next(), Ok(None));
}

/// The guard's program sees the interface below a virtual routing domain, the socket the one above.
#[test]
fn with_sockets_for_all_routing_domains_no_guard_is_attached() {
    if !is_alone("with_sockets_for_all_routing_domains_no_guard_is_attached") {
        return;
    }
    let group = unique_group();
    for (setting, has_guard) in [("1", false), ("0", true)] {
        std::fs::write("/proc/sys/net/ipv4/udp_l3mdev_accept", setting).unwrap();
        let listener = ListenOptions::new().bind::<64>(Bind::Port(group.port(), group.family())).unwrap();
        let mut room = [multicast::filter::kernel::Instruction::ZERO; 64];
        let listing = listener.kernel_program(&mut room).unwrap().to_string();
        assert_eq!(!listing.is_empty(), has_guard, "{setting}: {listing}");
    }
}
