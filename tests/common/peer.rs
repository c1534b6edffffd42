//! Independent peers: Python's sockets, in separate processes.

// Each test file compiles its own copy and uses a part of it.
#![allow(dead_code, unreachable_pub)]

use multicast::Group;

use super::Python;

/// Joins a group on an interface. For each packet it prints hop limit, traffic class, sender and payload.
const RECEIVER: &str = r#"
import socket, struct, sys
group, port, name = sys.argv[1], int(sys.argv[2]), sys.argv[3]
v6 = ":" in group
index = socket.if_nametoindex(name)
s = socket.socket(socket.AF_INET6 if v6 else socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
if v6:
    s.bind(("::", port))
    s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVHOPLIMIT, 1)
    s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVTCLASS, 1)
    s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, socket.inet_pton(socket.AF_INET6, group) + struct.pack("=I", index))
else:
    s.bind((group, port))
    s.setsockopt(socket.IPPROTO_IP, 12, 1)  # IP_RECVTTL
    s.setsockopt(socket.IPPROTO_IP, 13, 1)  # IP_RECVTOS
    s.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, socket.inet_aton(group) + struct.pack("=4si", bytes(4), index))
print("ready")
while True:
    data, control, _, source = s.recvmsg(65535, 1024)
    hops = tclass = -1
    for level, kind, value in control:
        number = value[0] if len(value) == 1 else struct.unpack("=i", value[:4])[0]
        if (level, kind) in ((0, 2), (41, 52)):
            hops = number
        if (level, kind) in ((0, 1), (41, 67)):
            tclass = number
    print(hops, tclass, source[0].split("%")[0], "." + data.hex())
"#;

/// Sends each line of its input as one packet; the lines are in hexadecimal digits.
const SENDER: &str = r#"
import socket, struct, sys
group, port, name, address = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4]
v6 = ":" in group
index = socket.if_nametoindex(name)
s = socket.socket(socket.AF_INET6 if v6 else socket.AF_INET, socket.SOCK_DGRAM)
if v6:
    s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index)
    to = (group, port, 0, index)
else:
    s.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, struct.pack("=4s4si", bytes(4), socket.inet_aton(address), index))
    to = (group, port)
print("ready")
for line in sys.stdin:
    s.sendto(bytes.fromhex(line.strip()), to)
    print("sent", s.getsockname()[1])
"#;

/// What the peer reports about a packet.
#[derive(Debug, PartialEq, Eq)]
pub struct Seen {
    pub hops: i32,
    pub traffic_class: i32,
    pub source: String,
    pub payload: Vec<u8>,
}

/// A Python program that has joined the group on the interface with this name.
pub struct Receiver(Python);

impl Receiver {
    pub fn join(group: Group, interface: &str) -> Self {
        let mut python = Python::start(RECEIVER, &[&group.address().to_string(), &group.port().to_string(), interface]);
        assert_eq!(python.line(), "ready");
        Self(python)
    }

    /// It must receive nothing for a while.
    pub fn assert_quiet(&mut self) {
        self.0.assert_quiet();
    }

    /// The next packet, which must arrive.
    pub fn next(&mut self) -> Seen {
        let line = self.0.line();
        let mut words = line.split(' ');
        let mut word = || words.next().unwrap();
        let (hops, traffic_class) = (word().parse().unwrap(), word().parse().unwrap());
        let source = word().to_owned();
        Seen { hops, traffic_class, source, payload: from_hex(word().strip_prefix('.').unwrap()) }
    }
}

/// A Python program that sends to the group on the interface with this name; for IPv4 with this source address.
pub struct Sender(Python);

impl Sender {
    pub fn start(group: Group, interface: &str, address: &str) -> Self {
        let mut python =
            Python::start(SENDER, &[&group.address().to_string(), &group.port().to_string(), interface, address]);
        assert_eq!(python.line(), "ready");
        Self(python)
    }

    /// Sends one packet, and returns the port that it came from.
    pub fn send(&mut self, payload: &[u8]) -> u16 {
        self.0.say(&hex(payload));
        self.0.line().strip_prefix("sent ").unwrap().parse().unwrap()
    }
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub fn from_hex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

/// The payloads that every pair of peers must exchange: all byte values, one byte, the longest without fragments, with fragments,
/// and the longest of IPv4.
pub fn payloads() -> Vec<Vec<u8>> {
    let counted = |length: usize| (0..length).map(|at| (at % 251) as u8).collect::<Vec<_>>();
    vec![(0..=255).collect(), vec![0], counted(1472), counted(8000), counted(65_507)]
}
