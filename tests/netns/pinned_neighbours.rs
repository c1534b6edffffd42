//! Listeners that are pinned to an interface and move, and neighbours that are. In a private network: see `make test`.

use super::neighbours::{COUNT, bind, counted, groups, heard, send_from_many};
use crate::common::link::{Pair, named};
use crate::common::{Python, unique_group, unique_v6_group};
use multicast::{Bind, Interface, Membership};

/// A program that is pinned to `lo` when a listener binds, as the listener is for that moment, and unpinned later. The kernel would give
/// the listener a part of its packets.
#[test]
fn a_neighbour_that_was_pinned_to_lo_at_the_bind_of_a_listener_receives_all_of_its_own_when_it_is_unpinned() {
    const PINNED: &str = r#"
import ctypes, socket, struct, sys
group, port, name = sys.argv[1], int(sys.argv[2]), sys.argv[3]
v6 = ":" in group
s = socket.socket(socket.AF_INET6 if v6 else socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(*((socket.IPPROTO_IPV6, 29, 0) if v6 else (socket.IPPROTO_IP, 49, 0)))  # MULTICAST_ALL
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
s.setsockopt(socket.SOL_SOCKET, 62, 1)  # SO_BINDTOIFINDEX
s.bind((group, port))
print("bound")
sys.stdin.readline()
assert ctypes.CDLL(None).connect(s.fileno(), bytes(16), 16) == 0  # AF_UNSPEC
index = socket.if_nametoindex(name)
if v6:
    s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, socket.inet_pton(socket.AF_INET6, group) + struct.pack("=I", index))
else:
    s.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, socket.inet_aton(group) + struct.pack("=4si", bytes(4), index))
print("ready")
while True:
    print(s.recv(2000).decode())
"#;
    let (one, two, theirs) = (Pair::new(), Pair::new(), Pair::new());
    for group in [unique_group(), unique_v6_group(5)] {
        let on = |pair: &Pair| Membership::any(group).on(named(&pair.b));
        let places =
            [Bind::Later(group), Bind::Group(on(&one)), Bind::Group(Membership::any(group).on(Interface::LOOPBACK))];
        for place in places {
            let said = format!("{place:?}");
            let (address, port) = (group.address().to_string(), group.port().to_string());
            let mut neighbour = Python::start(PINNED, &[&address, &port, &theirs.b]);
            assert_eq!(neighbour.line(), "bound");
            let mut listener = bind(place);
            for pair in [&one, &two] {
                listener.join(&on(pair)).unwrap();
            }
            neighbour.say("");
            assert_eq!(neighbour.line(), "ready");
            send_from_many(&theirs.a, group, "theirs");
            heard(&mut neighbour, group, "theirs", &said);
            send_from_many(&one.a, group, "one");
            send_from_many(&two.a, group, "two");
            counted(&mut listener, &[("one", COUNT), ("two", COUNT)], &said);
        }
    }
}

#[test]
fn a_listener_that_left_moves_to_another_interface() {
    let (one, two) = (Pair::new(), Pair::new());
    for group in groups() {
        let [first, second] = [&one, &two].map(|pair| Membership::any(group).on(named(&pair.b)));
        for place in [Bind::Group(first), Bind::Interface(first)] {
            let mut listener = bind(place);
            listener.leave(&first).unwrap();
            listener.join(&second).unwrap();
            send_from_many(&one.a, group, "one");
            send_from_many(&two.a, group, "two");
            counted(&mut listener, &[("two", COUNT)], &format!("{place:?}"));
            assert!(format!("{listener:?}").contains("the socket's address"), "{listener:?}");
        }
    }
}
