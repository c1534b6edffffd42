//! Independent peers that send and receive batches: Python's sockets with `UDP_SEGMENT` and `UDP_GRO`, in separate processes.

// Each test file compiles its own copy and uses a part of it.
#![allow(dead_code, unreachable_pub)]

use multicast::Group;

use super::{Python, peer};

/// Sends each line of its input: the method, the size of the segments, a dot, and the payload in hexadecimal digits.
const SENDER: &str = r#"
import socket, struct, sys
group, port, name, address = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4]
SOL_UDP, UDP_SEGMENT = 17, 103
v6 = ":" in group
index = socket.if_nametoindex(name)
s = socket.socket(socket.AF_INET6 if v6 else socket.AF_INET, socket.SOCK_DGRAM)
if v6:
    s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index)
    to = (group, port, 0, index)
    hops, traffic_class = (41, socket.IPV6_MULTICAST_HOPS), (41, socket.IPV6_TCLASS)
else:
    if group.startswith("2"):
        s.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, struct.pack("=4s4si", bytes(4), socket.inet_aton(address), index))
    to = (group, port)
    hops, traffic_class = (0, socket.IP_MULTICAST_TTL), (0, socket.IP_TOS)
print("ready")
for line in sys.stdin:
    how, number, payload = line.strip().split(" ")
    number, payload = int(number), bytes.fromhex(payload[1:])
    if how == "hops":
        s.setsockopt(*hops, number)
    elif how == "class":
        s.setsockopt(*traffic_class, number)
    elif how == "message":
        s.setsockopt(SOL_UDP, UDP_SEGMENT, 0)
        s.sendmsg([payload], [(SOL_UDP, UDP_SEGMENT, struct.pack("=H", number))], 0, to)
    else:
        # 0 turns it off.
        s.setsockopt(SOL_UDP, UDP_SEGMENT, number)
        s.sendto(payload, to)
    print("sent", s.getsockname()[1])
"#;

/// Joins a group, and receives packets as the kernel coalesced them. It prints the size of the segments, or 0 if there is none,
/// and the payload.
const RECEIVER: &str = r#"
import socket, struct, sys
group, port, name = sys.argv[1], int(sys.argv[2]), sys.argv[3]
v6 = ":" in group
index = socket.if_nametoindex(name)
s = socket.socket(socket.AF_INET6 if v6 else socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
s.setsockopt(17, 104, 1)  # UDP_GRO
if v6:
    s.bind(("::", port))
    s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, socket.inet_pton(socket.AF_INET6, group) + struct.pack("=I", index))
else:
    s.bind((group, port))
    s.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, socket.inet_aton(group) + struct.pack("=4si", bytes(4), index))
print("ready")
while True:
    data, control, _, _ = s.recvmsg(65535, 1024)
    sizes = [struct.unpack("=i", value[:4])[0] for level, kind, value in control if (level, kind) == (17, 104)]
    print(sizes[0] if sizes else 0, "." + data.hex())
"#;

/// How the peer tells the kernel the size of the segments.
#[derive(Clone, Copy, Debug)]
pub enum How {
    /// An option of the socket.
    Option,
    /// A control message.
    Message,
}

/// A Python program that sends on the interface with this name; for IPv4 with this source address.
pub struct Sender(Python);

impl Sender {
    pub fn on_lo(group: Group) -> Self {
        Self::to(&group.address().to_string(), group.port(), "lo", "127.0.0.1")
    }

    /// Sends to any address, which need not be that of a group.
    pub fn to(address: &str, port: u16, interface: &str, source: &str) -> Self {
        let mut python = Python::start(SENDER, &[address, &port.to_string(), interface, source]);
        assert_eq!(python.line(), "ready");
        Self(python)
    }

    /// Sends this as one packet, and returns the port that it came from.
    pub fn send(&mut self, payload: &[u8]) -> u16 {
        self.say("plain", 0, payload)
    }

    /// Sends this in one call as packets of `size` bytes; the last may be shorter.
    pub fn send_segments(&mut self, how: How, size: usize, payload: &[u8]) -> u16 {
        let how = match how {
            How::Option => "option",
            How::Message => "message",
        };
        self.say(how, size, payload)
    }

    /// Sets time to live or hop limit, and traffic class, of the following packets.
    pub fn mark(&mut self, hops: u8, traffic_class: u8) {
        self.say("hops", hops.into(), b"");
        self.say("class", traffic_class.into(), b"");
    }

    fn say(&mut self, how: &str, number: usize, payload: &[u8]) -> u16 {
        self.0.say(&format!("{how} {number} .{}", peer::hex(payload)));
        self.0.line().strip_prefix("sent ").unwrap().parse().unwrap()
    }
}

/// A Python program with `UDP_GRO` that has joined the group on the interface with this name.
pub struct Receiver(Python);

impl Receiver {
    pub fn join(group: Group, interface: &str) -> Self {
        let mut python = Python::start(RECEIVER, &[&group.address().to_string(), &group.port().to_string(), interface]);
        assert_eq!(python.line(), "ready");
        Self(python)
    }

    /// The next datagram, which must arrive: the size of its segments, 0 if it is one packet, and its payload.
    pub fn next(&mut self) -> (usize, Vec<u8>) {
        let line = self.0.line();
        let (size, payload) = line.split_once(" .").unwrap();
        (size.parse().unwrap(), peer::from_hex(payload))
    }

    /// The next datagram, split into its packets.
    pub fn next_packets(&mut self) -> Vec<Vec<u8>> {
        let (size, payload) = self.next();
        if size == 0 { vec![payload] } else { payload.chunks(size).map(<[u8]>::to_vec).collect() }
    }
}

/// Packets of one size, each filled with its own number, and then one of `last` bytes, unless that is 0.
pub fn numbered(count: usize, size: usize, last: usize) -> Vec<Vec<u8>> {
    let mut packets: Vec<_> = (0..count).map(|number| vec![number as u8; size]).collect();
    if last > 0 {
        packets.push(vec![count as u8; last]);
    }
    packets
}

/// Compares packets. On failure it prints their lengths and first bytes, not all of their contents.
#[track_caller]
pub fn assert_same(seen: &[Vec<u8>], expected: &[Vec<u8>]) {
    let brief =
        |packets: &[Vec<u8>]| packets.iter().map(|packet| (packet.len(), packet.first().copied())).collect::<Vec<_>>();
    assert!(seen == expected, "\nseen     {:?}\nexpected {:?}", brief(seen), brief(expected));
}
