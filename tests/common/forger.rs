//! Forged reports of the network, and forged packets.

// Each test file compiles its own copy and uses a part of it.
#![allow(dead_code, unreachable_pub)]

use std::fmt::Display;

use multicast::Family;

use super::Python;

/// Writes UDP packets with any source to the wire of the interface that is its argument: for each line of its input
/// `SOURCE PORT GROUP PORT PAYLOAD`.
pub const WIRE_FORGER: &str = r#"
import socket, struct, sys
name = sys.argv[1]
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
s.bind((name, 0))
own = s.getsockname()[4]
def checksum(data):
    data += bytes(len(data) % 2)
    total = sum(struct.unpack("!%dH" % (len(data) // 2), data))
    while total >> 16: total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff
print("ready")
for line in sys.stdin:
    source, port, to, to_port, payload = line.split()
    payload = payload.encode()
    v6 = ":" in to
    family = socket.AF_INET6 if v6 else socket.AF_INET
    source, to = socket.inet_pton(family, source), socket.inet_pton(family, to)
    length = 8 + len(payload)
    udp = struct.pack("!HHHH", int(port), int(to_port), length, 0) + payload
    pseudo = source + to + (struct.pack("!II", length, 17) if v6 else struct.pack("!HH", 17, length))
    udp = udp[:6] + struct.pack("!H", checksum(pseudo + udp) or 0xffff) + udp[8:]
    if v6:
        packet = struct.pack("!IHBB", 6 << 28, length, 17, 255) + source + to + udp
        mac, kind = b"\x33\x33" + to[12:], 0x86dd
    else:
        head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + length, 1, 0, 255, 17, 0) + source + to
        packet = head[:10] + struct.pack("!H", checksum(head)) + head[12:] + udp
        mac, kind = b"\x01\x00\x5e" + bytes([to[1] & 127]) + to[2:], 0x0800
    s.send(mac + own + struct.pack("!H", kind) + packet)
    print("sent")
"#;

/// Sends forged ICMP messages on `lo`: for each line of its input, one of this type and code, about a UDP packet from this address
/// and port, this many times.
const FORGER: &str = r#"
import socket, struct, sys
def checksum(data):
    total = sum(struct.unpack("!%dH" % (len(data) // 2), data))
    while total >> 16: total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff
s4 = socket.socket(socket.AF_INET, socket.SOCK_RAW, 1)
s6 = socket.socket(socket.AF_INET6, socket.SOCK_RAW, 58)
print("ready")
for line in sys.stdin:
    kind, code, source, port, count = line.split()
    kind, code, port, count = int(kind), int(code), int(port), int(count)
    udp = struct.pack("!HHHH", port, 9, 16, 0) + bytes(8)
    if ":" in source:
        inner = struct.pack("!IHBB", 6 << 28, len(udp), 17, 64) + socket.inet_pton(10, source) + socket.inet_pton(10, "fd00::99") + udp
        message = struct.pack("!BBHI", kind, code, 0, 1280) + inner
        for _ in range(count): s6.sendto(message, ("::1", 0))
    else:
        inner = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(udp), 1, 0, 64, 17, 0) + socket.inet_aton(source) + socket.inet_aton("10.99.99.99")
        inner = inner[:10] + struct.pack("!H", checksum(inner)) + inner[12:] + udp
        message = struct.pack("!BBHI", kind, code, 0, 1400) + inner
        message = message[:2] + struct.pack("!H", checksum(message)) + message[4:]
        for _ in range(count): s4.sendto(message, ("127.0.0.1", 0))
    print("sent")
"#;

/// The program, which runs.
pub struct Forger(Python);

impl Forger {
    pub fn start() -> Self {
        let mut python = Python::start(FORGER, &[]);
        assert_eq!(python.line(), "ready");
        Self(python)
    }

    pub fn send(&mut self, (kind, code): (u8, u8), from: impl Display, port: u16, count: u32) {
        self.0.say(&format!("{kind} {code} {from} {port} {count}"));
        assert_eq!(self.0.line(), "sent");
    }
}

/// Unreachable network, host, protocol and port; too long; forbidden; time exceeded; wrong header.
const ICMP: [(u8, u8); 9] = [(3, 0), (3, 1), (3, 2), (3, 3), (3, 4), (3, 9), (3, 13), (11, 0), (12, 0)];
const ICMP6: [(u8, u8); 8] = [(1, 0), (1, 1), (1, 3), (1, 4), (1, 5), (2, 0), (3, 0), (4, 0)];

/// Types and codes.
pub fn reports(family: Family) -> &'static [(u8, u8)] {
    match family {
        Family::V4 => &ICMP,
        Family::V6 => &ICMP6,
    }
}
