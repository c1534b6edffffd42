//! What the guide says of packets that this host discards before the socket: which counter of the kernel grows, and which does not.

use std::collections::HashMap;
use std::process::{Command, Stdio};

use crate::common::link::{self, Pair, named};
use crate::common::{Python, QUIET, expect_packet, is_installed, next_within, unique_group, unique_v6_group};
use multicast::{Group, ListenOptions, Listener, Membership, SendOptions, Ttl};

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
    counters_of("self")
}

/// The counters of the network of this process.
fn counters_of(process: &str) -> HashMap<String, u64> {
    let mut counters = HashMap::new();
    for file in ["snmp", "netstat"] {
        let text = std::fs::read_to_string(format!("/proc/{process}/net/{file}")).unwrap();
        let lines: Vec<_> = text.lines().collect();
        for pair in lines.chunks_exact(2) {
            let ((room, names), (_, values)) = (pair[0].split_once(": ").unwrap(), pair[1].split_once(": ").unwrap());
            for (name, value) in names.split(' ').zip(values.split(' ')) {
                // MaxConn of TCP is -1.
                counters.insert(format!("{room}{name}"), value.parse().unwrap_or(0));
            }
        }
    }
    for line in std::fs::read_to_string(format!("/proc/{process}/net/snmp6")).unwrap().lines() {
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
        Self::at(pair, group, Membership::any(group).on(named(&pair.a)))
    }

    fn at(pair: &Pair, group: Group, membership: Membership) -> Self {
        let listener = listen_on(membership);
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

fn listen_on(membership: Membership) -> Listener<64> {
    ListenOptions::new().bind(membership).unwrap()
}

/// A container on a macvlan interface. It prints what comes to its group, and sends to it for each line.
const CONTAINER: &str = r#"
import select, socket, struct, sys
group, port, name = sys.argv[1], int(sys.argv[2]), sys.argv[3]
print("ready")
sys.stdin.readline()
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind((group, port))
request = struct.pack("=4s4si", socket.inet_aton(group), bytes(4), socket.if_nametoindex(name))
s.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, request)
s.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, bytes(4) + request[4:])
s.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, 0)
print("joined")
while True:
    for ready in select.select([s, sys.stdin], [], [])[0]:
        if ready is s:
            print(s.recv(2000).decode())
        else:
            s.sendto(sys.stdin.readline().strip().encode(), (group, port))
"#;

#[test]
fn a_host_and_its_container_on_macvlan_hear_the_network_and_not_each_other() {
    if !link::is_alone("a_host_and_its_container_on_macvlan_hear_the_network_and_not_each_other") {
        return;
    }
    let (pair, group) = (Pair::new(), unique_group());
    let [a, b, high, _] = pair.addresses[0].octets();
    let arguments = [&group.address().to_string(), &group.port().to_string(), "mv0"];
    let mut container = Python::start_on_another_host(CONTAINER, &arguments);
    assert_eq!(container.line(), "ready");
    let process = container.id().to_string();
    link::run(&format!("ip link add mv0 link {} netns {process} type macvlan mode bridge", pair.a));
    for command in [&format!("ip addr add {a}.{b}.{high}.3/24 dev mv0"), "ip link set mv0 up"] {
        link::run(&format!("nsenter -t {process} -n {command}"));
    }
    container.say("go");
    assert_eq!(container.line(), "joined");
    let [mut host, mut network] = [&pair.a, &pair.b].map(|end| listen_on(Membership::any(group).on(named(end))));
    let send = |end: &str, text: &str| {
        let mut sender = SendOptions::new().interface(named(end)).loopback(false).open(group.family()).unwrap();
        for _ in 0..5 {
            crate::common::send_one(&mut sender, text.as_bytes(), group);
        }
    };
    send(&pair.b, "network");
    for _ in 0..5 {
        assert_eq!(expect_packet(&mut host), b"network");
        assert_eq!(container.line(), "network");
    }
    // The host's own packets: the network hears them, and the container does not.
    let (here, there) = (counters(), counters_of(&process));
    send(&pair.a, "host");
    for _ in 0..5 {
        assert_eq!(expect_packet(&mut network), b"host");
    }
    container.assert_quiet();
    assert!(counters()["IpExtOutMcastPkts"] >= here["IpExtOutMcastPkts"] + 5);
    // Reports of IGMP do not count here.
    assert_eq!(counters_of(&process)["IpExtInMcastPkts"], there["IpExtInMcastPkts"]);
    // And the container's: the network hears them, and the host does not.
    let (received, there) = (counters()["IpExtInMcastPkts"], counters_of(&process));
    for _ in 0..5 {
        container.say("container");
        assert_eq!(expect_packet(&mut network), b"container");
    }
    assert_eq!(next_within(&mut host, QUIET), None);
    assert!(counters_of(&process)["IpExtOutMcastPkts"] >= there["IpExtOutMcastPkts"] + 5);
    // Five came in on the network's end, and none on the host's.
    assert_eq!(counters()["IpExtInMcastPkts"], received + 5);
}

#[test]
fn a_ttl_of_0_stays_on_the_host_only_if_somebody_has_joined_where_it_leaves() {
    if !link::is_alone("a_ttl_of_0_stays_on_the_host_only_if_somebody_has_joined_where_it_leaves") {
        return;
    }
    let pair = Pair::new();
    for group in [unique_group(), unique_v6_group(5)] {
        let mut network = listen_on(Membership::any(group).on(named(&pair.b)));
        let mut sender = SendOptions::new().interface(named(&pair.a)).ttl(Ttl::HOST).open(group.family()).unwrap();
        crate::common::send_one(&mut sender, b"leaves", group);
        assert_eq!(expect_packet(&mut network), b"leaves");
        let mut host = listen_on(Membership::any(group).on(named(&pair.a)));
        crate::common::send_one(&mut sender, b"stays", group);
        assert_eq!(expect_packet(&mut host), b"stays");
        assert_eq!(next_within(&mut network, QUIET), None, "{group}");
    }
}

/// Prints the reports of IGMP that leave the other end of a link: their type, the group, and the sources.
const ROUTER: &str = r#"
import socket, sys
s = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(0x0800))
s.bind((sys.argv[1], 0x0800))
group = socket.inet_aton(sys.argv[2])
print("ready")
while True:
    packet, address = s.recvfrom(2000)
    igmp = packet[(packet[0] & 15) * 4:]
    if address[2] == 4 or packet[9] != 2:  # PACKET_OUTGOING
        continue
    if igmp[0] == 0x16 and igmp[4:8] == group:
        print("V2")
    at = 8
    for _ in range(int.from_bytes(igmp[6:8], "big") if igmp[0] == 0x22 else 0):
        count = int.from_bytes(igmp[at + 2:at + 4], "big")
        sources = [socket.inet_ntoa(igmp[at + 8 + 4 * n:at + 12 + 4 * n]) for n in range(count)]
        if igmp[at + 4:at + 8] == group:
            print("V3", igmp[at], *sources)
        at += 8 + 4 * count + 4 * igmp[at + 1]
"#;

#[test]
fn reports_of_igmpv2_name_no_source_and_the_host_still_passes_only_the_named_ones() {
    if !link::is_alone("reports_of_igmpv2_name_no_source_and_the_host_still_passes_only_the_named_ones") {
        return;
    }
    let pair = Pair::new();
    let group: Group = "232.1.2.3:5000".parse().unwrap();
    let ours = "192.0.2.9";
    set("all/rp_filter", 0);
    set(&format!("{}/rp_filter", pair.a), 0);
    let mut router = Python::start(ROUTER, &[&pair.b, &group.address().to_string()]);
    assert_eq!(router.line(), "ready");
    // MODE_IS_INCLUDE and so on: 5 allows new sources, 6 blocks old ones.
    for (version, report) in [(0, "V3 5 192.0.2.9"), (2, "V2")] {
        set(&format!("{}/force_igmp_version", pair.a), version);
        let membership = Membership::source(group, ours.parse().unwrap()).on(named(&pair.a));
        let mut bench = Bench::at(&pair, group, membership);
        // Each report of IGMPv3 comes twice, the second one perhaps after the next report.
        let mut comes = |report: &str| while router.line() != report {};
        comes(report);
        let list = std::fs::read_to_string("/proc/net/igmp").unwrap();
        let line = list.lines().find(|line| line.contains(&format!("\t{}", pair.a))).unwrap().to_owned();
        assert_eq!(line.ends_with("V2"), version == 2, "{line}");
        let sources = std::fs::read_to_string("/proc/net/mcfilter").unwrap();
        assert!(sources.lines().any(|line| line.contains("0xe8010203 0xc0000209")), "{sources}");
        bench.hears(ours);
        // It counts as one that is not joined.
        // Not IpInDelivers: reports of IGMP come back to the host, too.
        bench.is_deaf("192.0.2.10", &["IpInReceives"], &["UdpIgnoredMulti", "UdpInErrors"]);
        drop(bench);
        if version == 0 {
            comes("V3 6 192.0.2.9");
        }
    }
}

#[test]
fn groups_of_232_are_joined_from_any_source_without_an_error_and_heard_on_the_link() {
    if !link::is_alone("groups_of_232_are_joined_from_any_source_without_an_error_and_heard_on_the_link") {
        return;
    }
    let pair = Pair::new();
    let group: Group = "232.1.2.3:5000".parse().unwrap();
    set("all/rp_filter", 0);
    set(&format!("{}/rp_filter", pair.a), 0);
    let mut router = Python::start(ROUTER, &[&pair.b, &group.address().to_string()]);
    assert_eq!(router.line(), "ready");
    let mut bench = Bench::new(&pair, group);
    // 4: from all sources except none. That is what a router ignores for these groups.
    assert_eq!(router.line(), "V3 4");
    bench.hears("192.0.2.9");
}

/// Changes the firewall of this network.
fn nft(rules: &str) {
    let output = Command::new("nft").arg(rules).stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
