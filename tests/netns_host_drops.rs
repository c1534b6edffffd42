//! What the guide says of packets that this host discards before the socket: which counter of the kernel grows, and which does not.

mod common;

use std::collections::HashMap;
use std::process::{Command, Stdio};

use common::link::{self, Pair, named};
use common::{Python, QUIET, expect_packet, is_installed, next_within, unique_group, unique_v6_group};
use multicast::{Group, ListenOptions, Listener, Membership};

/// Sends one packet a line on a link: the line is its source address, and for IPv6 `0` or `1` for a checksum.
const FORGER: &str = r#"
import socket, struct, sys
dev, group, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
six = ":" in group
family, kind = (socket.AF_INET6, 0x86dd) if six else (socket.AF_INET, 0x0800)
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
s.bind((dev, 0))
to = socket.inet_pton(family, group)
def checksum(data):
    data += bytes(len(data) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16: total = (total & 0xffff) + (total >> 16)
    return struct.pack("!H", ~total & 0xffff)
print("ready")
for line in sys.stdin:
    source, *with_checksum = line.split()
    source = socket.inet_pton(family, source)
    udp = struct.pack("!HHHH", 999, port, 12, 0) + b"four"
    if six:
        if with_checksum == ["1"]:
            udp = udp[:6] + checksum(source + to + struct.pack("!IHBB", 12, 0, 0, 17) + udp) + udp[8:]
        packet = b"\x33\x33" + to[12:] + s.getsockname()[4] + b"\x86\xdd" + struct.pack("!IHBB", 0x60000000, 12, 17, 1) + source + to + udp
    else:
        head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 32, 1, 0, 1, 17, 0, source, to)
        packet = bytes([1, 0, 0x5e, to[1] & 127, to[2], to[3]]) + s.getsockname()[4] + b"\x08\x00" + head[:10] + checksum(head) + head[12:] + udp
    s.send(packet)
    print("sent")
"#;

/// The counters of this network, by the names that `nstat` prints.
fn counters() -> HashMap<String, u64> {
    let mut counters = HashMap::new();
    for file in ["snmp", "netstat"] {
        let text = std::fs::read_to_string(format!("/proc/self/net/{file}")).unwrap();
        let lines: Vec<_> = text.lines().collect();
        for pair in lines.chunks_exact(2) {
            let ((room, names), (_, values)) = (pair[0].split_once(": ").unwrap(), pair[1].split_once(": ").unwrap());
            for (name, value) in names.split(' ').zip(values.split(' ')) {
                // MaxConn of TCP is -1.
                counters.insert(format!("{room}{name}"), value.parse().unwrap_or(0));
            }
        }
    }
    for line in std::fs::read_to_string("/proc/self/net/snmp6").unwrap().lines() {
        let (name, value) = line.split_once(char::is_whitespace).unwrap();
        counters.insert(name.to_owned(), value.trim().parse().unwrap());
    }
    counters
}

fn set(name: &str, value: u8) {
    std::fs::write(format!("/proc/sys/net/ipv4/conf/{name}"), value.to_string()).unwrap();
}

struct Bench {
    listener: Listener<64>,
    forger: Python,
}

impl Bench {
    fn new(pair: &Pair, group: Group) -> Self {
        let listener = ListenOptions::new().bind(Membership::any(group).on(named(&pair.a))).unwrap();
        let mut forger = Python::start(FORGER, &[&pair.b, &group.address().to_string(), &group.port().to_string()]);
        assert_eq!(forger.line(), "ready");
        Self { listener, forger }
    }

    fn send(&mut self, packet: &str) {
        self.forger.say(packet);
        assert_eq!(self.forger.line(), "sent");
    }

    fn hears(&mut self, packet: &str) {
        self.send(packet);
        assert_eq!(expect_packet(&mut self.listener), b"four", "{packet}");
    }

    /// Five packets do not arrive. Of these counters, those of the first list grow by five or more, and those of the second do not.
    #[track_caller]
    fn is_deaf(&mut self, packet: &str, growing: &[&str], still: &[&str]) {
        let before = counters();
        for _ in 0..5 {
            self.send(packet);
        }
        assert_eq!(next_within(&mut self.listener, QUIET), None, "{packet}");
        let after = counters();
        for name in growing {
            assert!(after[*name] >= before[*name] + 5, "{packet}: {name} is {} after {}", after[*name], before[*name]);
        }
        for name in still {
            assert_eq!(after[*name], before[*name], "{packet}: {name}");
        }
        assert_eq!(self.listener.counters().dropped, Some(0));
    }
}

#[test]
fn counters_of_the_kernel_tell_what_the_guide_says() {
    if !is_installed("nft") {
        return;
    }
    if !link::is_alone("counters_of_the_kernel_tell_what_the_guide_says") {
        return;
    }
    let pair = Pair::new();
    let (group, reserved, six) = (unique_group(), "224.0.0.77:5000".parse().unwrap(), unique_v6_group(5));
    let mut bench = Bench::new(&pair, group);
    let below_ip = ["IpExtInMcastPkts", "IpInDelivers", "UdpInErrors", "UdpIgnoredMulti", "TcpExtIPReversePathFilter"];
    let stranger = "192.0.2.9";
    set("all/rp_filter", 0);
    set(&format!("{}/rp_filter", pair.a), 0);
    bench.hears(stranger);

    set(&format!("{}/rp_filter", pair.a), 1);
    bench.is_deaf(stranger, &["IpInReceives", "TcpExtIPReversePathFilter"], &["IpExtInMcastPkts", "IpInDelivers"]);
    set(&format!("{}/rp_filter", pair.a), 0);

    let own = pair.addresses[1].to_string();
    set(&format!("{}/accept_local", pair.a), 0);
    bench.is_deaf(&own, &["IpInReceives"], &below_ip);
    set(&format!("{}/accept_local", pair.a), 1);
    bench.hears(&own);

    bench.is_deaf("0.0.0.0", &["IpInReceives"], &below_ip);
    Bench::new(&pair, reserved).hears("0.0.0.0");

    bench.listener.leave(&Membership::any(group).on(named(&pair.a))).unwrap();
    bench.listener.join(&Membership::any(group).on(named(&pair.b))).unwrap();
    bench.is_deaf(stranger, &["IpInReceives"], &below_ip);
    bench.listener.join(&Membership::any(group).on(named(&pair.a))).unwrap();
    bench.hears(stranger);

    nft("table inet guide { chain in { type filter hook input priority 0; udp sport 999 drop; }; }");
    bench.is_deaf(stranger, &["IpInReceives", "IpExtInMcastPkts"], &["IpInDelivers"]);
    let mut bench = Bench::new(&pair, six);
    bench.is_deaf("fd99::9 1", &["Ip6InReceives", "Ip6InMcastPkts"], &["Ip6InDelivers"]);
    nft("delete table inet guide");
    // IPv6 has neither a reverse path filter nor a check for own addresses.
    bench.hears("fd99::9 1");
    bench.hears(&format!("{} 1", pair.v6_addresses()[1]));
    bench.is_deaf("fd99::9 0", &["Ip6InMcastPkts", "Udp6IgnoredMulti"], &["Udp6InCsumErrors"]);
}

/// Changes the firewall of this network.
fn nft(rules: &str) {
    let output = Command::new("nft").arg(rules).stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
