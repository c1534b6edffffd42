//! A forged ICMP message that lowers the path MTU of a route: senders neither fragment nor refuse. In a private network: see
//! `make test`.

use std::net::{IpAddr, SocketAddr, UdpSocket};

use crate::common;
use crate::common::link::{Pair, is_alone, named, run};
use crate::common::{Python, expect_packet, unique_group, unique_v6_group};
use multicast::{
    ErrorKind, Family, Group, ListenOptions, Listener, Membership, Outcome, OwnedFd, Progress, SendOptions, Sender,
};

/// Sends one message that says: the packet from this address and port to this group was longer than this MTU.
const FORGER: &str = r#"
import socket, struct, sys
def checksum(data):
    total = sum(struct.unpack("!%dH" % (len(data) // 2), data))
    while total >> 16: total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff
source, port, group, mtu = sys.argv[1], int(sys.argv[2]), sys.argv[3], int(sys.argv[4])
udp = struct.pack("!HHHH", port, 9, 16, 0) + bytes(8)
if ":" in source:
    inner = struct.pack("!IHBB", 6 << 28, len(udp), 17, 64) + socket.inet_pton(10, source) + socket.inet_pton(10, group) + udp
    socket.socket(socket.AF_INET6, socket.SOCK_RAW, 58).sendto(struct.pack("!BBHI", 2, 0, 0, mtu) + inner, (source, 0))
else:
    inner = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(udp), 1, 0, 64, 17, 0) + socket.inet_aton(source) + socket.inet_aton(group)
    inner = inner[:10] + struct.pack("!H", checksum(inner)) + inner[12:] + udp
    message = struct.pack("!BBHI", 3, 4, 0, mtu) + inner
    socket.socket(socket.AF_INET, socket.SOCK_RAW, 1).sendto(message[:2] + struct.pack("!H", checksum(message)) + message[4:], (source, 0))
print("sent")
"#;

/// The longest payload that leaves in one piece, at an MTU of 1,500.
const fn whole(family: Family) -> usize {
    match family {
        Family::V4 => 1472,
        Family::V6 => 1452,
    }
}

/// A link with a route to all groups, of which a stranger has lowered the path MTU.
fn poisoned(family: Family) -> (Pair, Group, Listener<2000>) {
    let pair = Pair::new();
    let (group, source, mtu): (_, IpAddr, _) = match family {
        Family::V4 => (unique_group(), pair.addresses[0].into(), 600),
        Family::V6 => (unique_v6_group(5), pair.v6_addresses()[0].into(), 1280),
    };
    // While the message is read, there is one route for all groups, which it is about.
    let route_of_b = |change: &str| {
        run(&format!("ip -6 route {change} multicast ff00::/8 dev {} table local metric 256", pair.b));
    };
    match family {
        Family::V4 => drop(run(&format!("ip route add 224.0.0.0/4 dev {}", pair.a))),
        Family::V6 => route_of_b("del"),
    }
    // Any socket will do: the message needs one that could have sent the packet.
    let socket = UdpSocket::bind((source, 0)).unwrap();
    let port = socket.local_addr().unwrap().port();
    let words = [&source.to_string(), &port.to_string(), &group.address().to_string(), &mtu.to_string()];
    assert_eq!(Python::start(FORGER, &words.map(String::as_str)).line(), "sent");
    let route = || run(&format!("ip route get {} oif {}", group.address(), pair.a));
    common::wait_until("the path MTU is lowered", || route().contains(&format!("mtu {mtu}")));
    if family == Family::V6 {
        route_of_b("append");
    }
    let there = ListenOptions::new().bind(Membership::any(group).on(named(&pair.b))).unwrap();
    (pair, group, there)
}

/// How many fragments this network namespace has made.
fn fragments(family: Family) -> u64 {
    match family {
        Family::V4 => {
            let text = std::fs::read_to_string("/proc/thread-self/net/snmp").unwrap();
            let mut lines = text.lines().filter(|line| line.starts_with("Ip:"));
            let names = lines.next().unwrap().split(' ');
            let mut values = names.zip(lines.next().unwrap().split(' '));
            values.find(|(name, _)| *name == "FragCreates").unwrap().1.parse().unwrap()
        }
        Family::V6 => {
            let text = std::fs::read_to_string("/proc/thread-self/net/snmp6").unwrap();
            let line = text.lines().find(|line| line.starts_with("Ip6FragCreates")).unwrap();
            line.split_whitespace().nth(1).unwrap().parse().unwrap()
        }
    }
}

#[test]
fn packets_stay_whole_whatever_path_mtu_a_stranger_tells() {
    if !is_alone("packets_stay_whole_whatever_path_mtu_a_stranger_tells") {
        return;
    }
    for family in [Family::V4, Family::V6] {
        let (pair, group, mut there) = poisoned(family);
        let options = SendOptions::new().interface(named(&pair.a));
        let mut listener = ListenOptions::new().bind::<2000>(Membership::any(group).on(named(&pair.a))).unwrap();
        let (with_replies, _replies) = options.open_with_replies::<100>(family).unwrap();
        let adopted = Sender::try_from(OwnedFd::from(options.open(family).unwrap())).unwrap();
        let senders = [options.open(family).unwrap(), with_replies, listener.sender(options).unwrap(), adopted];
        let before = fragments(family);
        for (number, mut sender) in (0..).zip(senders) {
            assert_eq!(sender.send(&vec![number; whole(family)], group).unwrap(), Outcome::Sent, "{family:?} {number}");
            assert_eq!(expect_packet(&mut there), vec![number; whole(family)], "{family:?}");
        }
        let packets: Vec<_> = (0..16).map(|number| vec![number; whole(family)]).collect();
        let mut caster = options.batches::<8, _>(group, packets.clone()).unwrap();
        assert_eq!([(); 2].map(|()| caster.step().unwrap()), [Progress::Sent(8); 2], "{family:?}");
        packets.iter().for_each(|packet| assert_eq!(expect_packet(&mut there), *packet));
        assert_eq!(fragments(family), before, "{family:?}");
        // What is longer than the interface's MTU still leaves in fragments.
        let mut sender = options.open(family).unwrap();
        assert_eq!(sender.send(&vec![1; whole(family) + 1], group).unwrap(), Outcome::Sent);
        assert_eq!(expect_packet(&mut there).len(), whole(family) + 1);
        assert_eq!(fragments(family), before + 2, "{family:?}");
    }
}

#[test]
fn with_mtu_discover_the_interface_decides_for_ipv4_and_the_path_for_ipv6() {
    if !is_alone("with_mtu_discover_the_interface_decides_for_ipv4_and_the_path_for_ipv6") {
        return;
    }
    for family in [Family::V4, Family::V6] {
        let (pair, group, mut there) = poisoned(family);
        let mut sender = SendOptions::new().interface(named(&pair.a)).mtu_discover().open(family).unwrap();
        let longest = match family {
            Family::V4 => whole(family),
            Family::V6 => 1280 - 48,
        };
        assert_eq!(sender.send(&vec![1; longest], group).unwrap(), Outcome::Sent, "{family:?}");
        assert_eq!(expect_packet(&mut there).len(), longest);
        let error = sender.send(&vec![1; longest + 1], group).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TooLong, "{family:?}");
        let said = "longer than the path MTU, and fragmentation is off";
        assert_eq!(error.to_string(), format!("send {} bytes to {}: {said}", longest + 1, SocketAddr::from(group)));
    }
}
