//! More interfaces than a membership can have. Apart from other tests, which listen on all interfaces. In a private network: see
//! `make test`.

mod common;

use common::link::{Pair, named};
use common::{expect_packet, unique_v6_group};
use multicast::{ErrorKind, Interface, ListenOptions, Listener, Membership, Memberships, SendOptions};

#[test]
fn no_interface_at_all_and_more_than_20_are_errors_in_words() {
    common::require_private_network();
    let group = unique_v6_group(5);
    let on_all = Membership::any(group).on(Interface::All);
    let error = Listener::<64>::bind(on_all).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NoSuchInterface);
    // A book waits for one.
    let mut listener = ListenOptions::new().bind_to::<64>(group).unwrap();
    let mut book = Memberships::<1>::new();
    assert_eq!(book.join(on_all, &mut listener).unwrap().pending, 1);

    let pairs: Vec<Pair> = (0..11).map(|_| Pair::new()).collect();
    let mut book = Memberships::<1>::new();
    let error = book.join(on_all, &mut listener).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::LimitReached);
    let said = "join on all interfaces: there are more than 20, and 20 were joined: name the interfaces instead";
    assert_eq!(error.to_string(), said);
    // IPv4 meets the kernel's own limit without a book, and IPv6 none.
    let v4 = common::unique_group();
    let error = Listener::<64>::bind(Membership::any(v4).on(Interface::All)).unwrap_err();
    assert!(error.to_string().contains("group limit reached (net.ipv4.igmp_max_memberships), set to 20"), "{error}");
    let mut listener = Listener::<64>::bind(on_all).unwrap();
    let last = &pairs[10];
    SendOptions::new().interface(named(&last.a)).loopback(false).packets(group, ["x"]).unwrap().step().unwrap();
    assert_eq!(expect_packet(&mut listener), b"x");
}
