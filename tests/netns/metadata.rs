//! Metadata of packets over a link, IPv4 and IPv6, compared with the headers that a Python packet socket reads.

use core::net::{Ipv4Addr, Ipv6Addr};
use core::num::NonZeroU32;
use core::time::Duration;

use crate::common;
use crate::common::link::{Pair, index_of, named};
use crate::common::segments::Sender;
use crate::common::{PATIENCE, Python, unique_group, unique_v6_group};
use multicast::{
    Bind, Events, Family, Group, Interest, ListenOptions, Listener, Membership, Metadata, Poller, Progress, Received,
    SendOptions, Token, Ttl,
};

/// Reads all UDP packets to a port on an interface. It prints fields of their headers, and when the kernel received them.
const WIRE: &str = r#"
import socket, struct, sys
name, port = sys.argv[1], int(sys.argv[2])
s = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(3))
s.setsockopt(socket.SOL_SOCKET, 35, 1)  # SO_TIMESTAMPNS
s.bind((name, 3))
print("ready", flush=True)
while True:
    data, control, _, source = s.recvmsg(65535, 1024)
    if source[2] == 4:  # PACKET_OUTGOING
        continue
    if data[0] >> 4 == 4:
        if data[9] != 17: continue
        hops, tclass, to, udp = data[8], data[1], socket.inet_ntop(2, data[16:20]), data[(data[0] & 15) * 4:]
    else:
        if data[6] != 17: continue
        first = struct.unpack("!I", data[:4])[0]
        hops, tclass, to, udp = data[7], first >> 20 & 255, socket.inet_ntop(10, data[24:40]), data[40:]
    if struct.unpack("!H", udp[2:4])[0] != port: continue
    seconds, nanoseconds = struct.unpack("=qq", control[0][2])
    print(hops, tclass, to, socket.if_nametoindex(source[0]), seconds, nanoseconds)
"#;

struct Wire(Python);

impl Wire {
    fn on(interface: &str, port: u16) -> Self {
        let mut python = Python::start(WIRE, &[interface, &port.to_string()]);
        assert_eq!(python.line(), "ready");
        Self(python)
    }

    /// The next packet's hop limit, traffic class, destination, interface and time.
    fn next(&mut self) -> (u8, u8, String, u32, Duration) {
        let line = self.0.line();
        let words: Vec<_> = line.split(' ').collect();
        let time = Duration::new(words[4].parse().unwrap(), words[5].parse().unwrap());
        (words[0].parse().unwrap(), words[1].parse().unwrap(), words[2].into(), words[3].parse().unwrap(), time)
    }
}

/// The metadata of the next packet, which must arrive.
fn next(listener: &mut Listener<64>) -> Metadata {
    let (poller, mut events) = (Poller::new().unwrap(), Events::<1>::new());
    poller.register(listener, Token(0), Interest::READABLE).unwrap();
    assert_eq!(poller.poll(&mut events, PATIENCE).unwrap().count(), 1);
    let Received::Packet(packet) = listener.recv().unwrap() else { panic!("no packet") };
    *packet.metadata().expect("metadata was asked for")
}

/// A listener that is bound to the group, and one that is bound to its port.
fn both_kinds(group: Group, interface: &str) -> [Listener<64>; 2] {
    let (options, membership) = (ListenOptions::new().metadata(), Membership::any(group).on(named(interface)));
    let mut opened = options.bind(Bind::Port(group.port(), group.family())).unwrap();
    opened.join(&membership).unwrap();
    [options.bind(membership).unwrap(), opened]
}

#[test]
fn metadata_is_what_is_on_the_wire() {
    let pair = Pair::new();
    for group in [unique_group(), unique_v6_group(2), unique_v6_group(5), unique_v6_group(0xe)] {
        let mut wire = Wire::on(&pair.b, group.port());
        let mut listeners = both_kinds(group, &pair.b);
        let mut sender = Sender::to(&group.address().to_string(), group.port(), &pair.a, &pair.addresses[0].to_string());
        for (hops, class) in [(1, 0), (255, 0xfc), (33, 0xb9), (64, 0x02)] {
            sender.mark(hops, class);
            sender.send(b"x");
            let seen = wire.next();
            assert_eq!((seen.0, seen.1), (hops, class), "the sender did not set its options");
            for listener in &mut listeners {
                let metadata = next(listener);
                assert_eq!(metadata.destination.map(|address| address.to_string()), Some(seen.2.clone()));
                assert_eq!(metadata.destination, Some(group.address()));
                assert_eq!(metadata.interface.map(NonZeroU32::get), Some(seen.3));
                assert_eq!(metadata.interface, Some(index_of(&pair.b)));
                assert_eq!((metadata.hop_limit, metadata.traffic_class), (Some(seen.0), Some(seen.1)), "{group}");
                assert_eq!(metadata.ecn(), Some(class & 3));
                // The kernel uses one time stamp for both, so they are equal to the nanosecond.
                assert_eq!(metadata.received_at(), Some(seen.4));
            }
        }
    }
}

#[test]
fn our_options_are_on_the_wire_and_in_the_metadata() {
    let pair = Pair::new();
    for group in [unique_group(), unique_v6_group(5)] {
        let mut wire = Wire::on(&pair.b, group.port());
        let [mut listener, _] = both_kinds(group, &pair.b);
        let options = SendOptions::new().interface(named(&pair.a)).ttl(Ttl::REGION).traffic_class(0xb8);
        let mut caster = options.packets(group, ["x"]).unwrap();
        common::step_one(&mut caster);
        let seen = wire.next();
        assert_eq!((seen.0, seen.1), (64, 0xb8));
        let metadata = next(&mut listener);
        assert_eq!((metadata.hop_limit, metadata.traffic_class), (Some(64), Some(0xb8)));
    }
}

#[test]
fn each_packet_has_its_own_interface() {
    let pairs = [Pair::new(), Pair::new()];
    for (group, family) in [(unique_group(), Family::V4), (unique_v6_group(2), Family::V6)] {
        let mut listener = ListenOptions::new().metadata().bind::<64>(Bind::Port(group.port(), family)).unwrap();
        for pair in &pairs {
            listener.join(&Membership::any(group).on(named(&pair.b))).unwrap();
        }
        for which in [0, 1, 1, 0] {
            let pair = &pairs[which];
            let options = SendOptions::new().interface(named(&pair.a));
            assert_eq!(options.packets(group, ["x"]).unwrap().step().unwrap(), Progress::Sent(1));
            assert_eq!(next(&mut listener).interface, Some(index_of(&pair.b)));
        }
    }
}

#[test]
fn metadata_is_absent_over_ipv6_unless_it_was_asked_for() {
    let pair = Pair::new();
    let groups: [Group; 2] =
        [Group::new(Ipv4Addr::new(239, 1, 2, 3), 4711), Group::new(Ipv6Addr::new(0xff05, 0, 0, 0, 0, 0, 1, 2), 4711)]
            .map(Result::unwrap);
    for group in groups {
        let mut listener = ListenOptions::new().bind::<64>(Membership::any(group).on(named(&pair.b))).unwrap();
        let mut caster = SendOptions::new().interface(named(&pair.a)).packets(group, ["x"]).unwrap();
        common::step_one(&mut caster);
        common::wait_until_mut("it has come", || match listener.recv().unwrap() {
            Received::Packet(packet) => {
                assert_eq!(packet.metadata(), None);
                true
            }
            _ => false,
        });
    }
}
