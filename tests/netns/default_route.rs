//! The interface that the routing table names, if the user names none. In a private network, whose route leads to `lo`: see
//! `make test`.

use crate::common;
use crate::common::{assert_quiet, expect_packet, on_lo, require_private_network, unique_group, unique_v6_group};
use multicast::{Bind, ErrorKind, Interface, ListenOptions, Listener, Membership, SendOptions};

#[test]
fn without_an_interface_the_routing_table_decides() {
    require_private_network();
    for group in [unique_group(), unique_v6_group(5), unique_v6_group(8)] {
        let mut bound = ListenOptions::new().bind::<64>(Membership::any(group)).unwrap();
        let mut opened = ListenOptions::new().bind::<64>(Bind::Port(group.port(), group.family())).unwrap();
        opened.join(&Membership::any(group).on(Interface::Default)).unwrap();
        for listener in [&mut bound, &mut opened] {
            let mut caster = SendOptions::new().packets(group, ["by route"]).unwrap();
            common::step_one(&mut caster);
            assert_eq!(expect_packet(listener), b"by route");
            // The route leads to `lo`, so this is the same membership.
            listener.leave(&on_lo(group)).unwrap();
            let mut caster = SendOptions::new().packets(group, ["left"]).unwrap();
            common::step_one(&mut caster);
        }
        assert_quiet(&mut bound);
    }
}

#[test]
fn without_a_route_the_error_says_to_name_an_interface() {
    require_private_network();
    // This network has routes for 224.0.0.0/4 and ff00::/8. A more specific route takes precedence.
    common::link::run("ip route add prohibit 238.3.0.0/16");
    common::link::run("ip route add unreachable 238.4.0.0/16");
    let unreachable = "238.4.1.1:4242".parse().unwrap();
    let error = Listener::bind(Membership::any(unreachable)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unreachable);
    let said =
        "238.4.1.1 on default: its route is of the type unreachable (ip route get): name an interface, or change the route";
    assert_eq!(error.to_string(), format!("join {said}"));
    let error = SendOptions::new().packets(unreachable, [""]).unwrap_err();
    assert_eq!((error.kind(), error.to_string()), (ErrorKind::Unreachable, format!("send {said}")));
    let prohibited = "238.3.1.1:4242".parse().unwrap();
    assert_eq!(SendOptions::new().packets(prohibited, [""]).unwrap_err().kind(), ErrorKind::Denied);
}

#[test]
fn sending_ipv4_fails_until_the_interface_of_the_route_has_an_address() {
    // Alone in its namespace: otherwise the kernel uses the address of another link.
    if !common::link::is_alone("sending_ipv4_fails_until_the_interface_of_the_route_has_an_address") {
        return;
    }
    let pair = common::link::Pair::bare();
    common::link::run(&format!("ip route add 239.79.0.0/16 dev {}", pair.a));
    let group = "239.79.1.1:4242".parse().unwrap();
    let error = SendOptions::new().packets(group, ["x"]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NoAddress, "{error}");
    let said = "send 239.79.1.1 on default: the interface has no address of this family: add one, or try again later";
    assert_eq!(error.to_string(), said);
    pair.give_addresses();
    let mut listener = ListenOptions::new().bind::<64>(Membership::any(group).on(common::link::named(&pair.b))).unwrap();
    let mut caster = SendOptions::new().packets(group, ["x"]).unwrap();
    common::step_one(&mut caster);
    assert_eq!(expect_packet(&mut listener), b"x");
}

#[test]
fn an_interface_without_an_address_cannot_send_ipv4() {
    require_private_network();
    let pair = common::link::Pair::bare();
    let group = unique_group();
    let options = SendOptions::new().interface(common::link::named(&pair.a));
    let error = options.packets(group, ["x"]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NoAddress);
    let said = format!(
        "send {} on {}: the interface has no address of this family: add one, or try again later",
        group.address(),
        pair.a
    );
    assert_eq!(error.to_string(), said);
    // Also if another interface has an address, which the kernel would use.
    let _other = common::link::Pair::new();
    assert_eq!(options.packets(group, ["x"]).unwrap_err().kind(), ErrorKind::NoAddress);
    // Listening needs no address.
    ListenOptions::new().bind::<64>(Membership::any(group).on(common::link::named(&pair.a))).unwrap();
}
