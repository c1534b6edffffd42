//! A queue refuses the packet of one sender while others send from the same socket: they, and those who use the socket later, are not
//! concerned. In a private network: see `make test`.

use crate::common::link::{Pair, named, run};
use crate::common::{QUIET, expect_packet, next_within, unique_group, unique_v6_group};
use multicast::{AsFd, Bind, Family, Group, ListenOptions, Listener, Membership, Outcome, OwnedFd, SendOptions, Sender};
use rustix::net::sockopt::{ip_multicast_loop, ipv6_multicast_loop};

/// A link on which long packets never leave, and short ones do: its shaper has a bucket of 900 bytes.
fn shaped() -> Pair {
    let pair = Pair::new();
    run(&format!("tc qdisc add dev {} root tbf rate 8mbit burst 900 limit 100000", pair.a));
    pair
}

fn is_refused(sender: &mut Sender, group: Group) {
    let outcome = sender.send(&[b'L'; 1000], group).unwrap();
    assert!(matches!(outcome, Outcome::Wait(_)), "{outcome:?}");
}

fn makes_copies(socket: &impl AsFd, family: Family) -> bool {
    match family {
        Family::V4 => ip_multicast_loop(socket).unwrap(),
        Family::V6 => ipv6_multicast_loop(socket).unwrap(),
    }
}

fn local(pair: &Pair, group: Group) -> Listener<2000> {
    ListenOptions::new().bind(Membership::any(group).on(named(&pair.a))).unwrap()
}

#[test]
fn a_sender_of_a_listener_makes_copies_while_the_packet_of_another_one_is_refused() {
    let pair = shaped();
    for group in [unique_group(), unique_v6_group(5)] {
        let mut here = local(&pair, group);
        let mut listener = ListenOptions::new().bind::<64>(Bind::Port(group.port(), group.family())).unwrap();
        let options = SendOptions::new().interface(named(&pair.a));
        let mut refused = listener.sender(options).unwrap();
        let mut sender = listener.sender(options).unwrap();
        is_refused(&mut refused, group);
        assert_eq!(expect_packet(&mut here), [b'L'; 1000]);
        for _ in 0..3 {
            crate::common::send_one(&mut sender, b"short", group);
            assert_eq!(expect_packet(&mut here), b"short", "{group}");
            is_refused(&mut refused, group);
        }
        assert_eq!(next_within(&mut here, QUIET), None, "{group}: one copy is enough");
        drop(refused);
        assert!(makes_copies(&listener, group.family()));
        crate::common::send_one(&mut sender, b"short", group);
        assert_eq!(expect_packet(&mut here), b"short", "{group}");
    }
}

/// A supervisor keeps a descriptor of the socket, and gives it to the next instance of the program.
#[test]
fn a_sender_that_is_dropped_while_its_packet_is_refused_leaves_the_socket_as_it_was() {
    let pair = shaped();
    for group in [unique_group(), unique_v6_group(5)] {
        let mut here = local(&pair, group);
        let first = SendOptions::new().interface(named(&pair.a)).open(group.family()).unwrap();
        let supervised = OwnedFd::from(first);
        for _ in 0..2 {
            let mut sender = Sender::try_from(supervised.try_clone().unwrap()).unwrap();
            is_refused(&mut sender, group);
            assert_eq!(expect_packet(&mut here), [b'L'; 1000]);
            is_refused(&mut sender, group);
            assert_eq!(next_within(&mut here, QUIET), None, "{group}: one copy is enough");
            drop(sender);
            assert!(makes_copies(&supervised, group.family()), "{group}");
        }
    }
}
