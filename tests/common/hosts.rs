//! Another host: a Python program in a network namespace of its own, with two links to that of the test.

// Each test file compiles its own copy and uses a part of it.
#![allow(dead_code, unreachable_pub)]

use std::net::{IpAddr, SocketAddr};
use std::process::Command;

use multicast::Group;

use super::Python;
use super::link::Pair;

/// Reads commands, a line each. `ask` and `tell` open a new socket, bound to a source address; `answer` waits for a datagram on the last
/// one, and prints where it came from and in.
const PROGRAM: &str = r#"
import socket, struct, sys
print("ready")
for line in sys.stdin:
    command, *words = line.strip().split(" ", 5)
    if command == "answer":
        data, control, _, source = s.recvmsg(1500, 256)
        for level, kind, value in control:
            if (level, kind) == (socket.IPPROTO_IP, 8):
                index = struct.unpack("=i", value[:4])[0]
            if (level, kind) == (socket.IPPROTO_IPV6, socket.IPV6_PKTINFO):
                index = struct.unpack("=i", value[16:20])[0]
        print(socket.if_indextoname(index), source[0].split("%")[0], source[1], data.decode())
        continue
    source, link, to, port, payload = words
    v6, index = ":" in to, socket.if_nametoindex(link)
    s = socket.socket(socket.AF_INET6 if v6 else socket.AF_INET, socket.SOCK_DGRAM)
    s.settimeout(10)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
    if v6:
        s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
        s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index)
        s.bind((source, 0, 0, index))
    else:
        s.setsockopt(socket.IPPROTO_IP, 8, 1)
        s.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, struct.pack("=4s4si", bytes(4), socket.inet_aton(source), index))
        s.bind((source, 0))
    if command == "tell":
        # By this link, whatever the routes say.
        s.setsockopt(socket.SOL_SOCKET, 25, link.encode() + b"\0")
    s.sendto(payload.encode(), (to, int(port), 0, index) if v6 else (to, int(port)))
    s.setsockopt(socket.SOL_SOCKET, 25, b"")
    print(s.getsockname()[1])
"#;

/// A datagram that came to the other host.
#[derive(Debug, PartialEq, Eq)]
pub struct Arrival {
    pub payload: String,
    /// The name of the other host's interface.
    pub link: String,
    pub source: SocketAddr,
}

/// Gives an interface an address, and waits until packets to it are received: the kernel has no route to itself before.
pub fn give(run: impl Fn(&str) -> String, address: IpAddr, bits: u8, interface: &str) {
    let (family, more) = if address.is_ipv4() { ("-4", "") } else { ("-6", " nodad") };
    run(&format!("ip {family} addr add {address}/{bits} dev {interface}{more}"));
    let route = format!("local {address} dev {interface} ");
    super::wait_until("the address is there", || run(&format!("ip {family} route show table local")).contains(&route));
}

/// The other host. `links` have the end `a` here, and the end `b` there.
pub struct Host {
    python: Python,
    pub links: [Pair; 2],
}

impl Host {
    /// Both links are up, with addresses of both families at both ends.
    pub fn new() -> Self {
        super::require_private_network();
        let mut python = Python::start_on_another_host(PROGRAM, &[]);
        assert_eq!(python.line(), "ready");
        let host = Self { python, links: [Pair::bare(), Pair::bare()] };
        for (number, link) in (7..).zip(&host.links) {
            super::link::run(&format!("ip link set {} netns {}", link.b, host.python.id()));
            host.run(&format!("ip link set {} addrgenmode none up", link.b));
            let ([ours, theirs], v6) = (link.addresses.map(IpAddr::from), link.v6_addresses().map(IpAddr::from));
            for (address, bits) in [(ours, 24), (v6[0], 64), (format!("fe80::{number}:1").parse().unwrap(), 64)] {
                give(super::link::run, address, bits, &link.a);
            }
            // The last one is the same on both links, as is allowed.
            for (address, bits) in [(theirs, 24), (v6[1], 64), ("fe80::2".parse().unwrap(), 64)] {
                host.give(address, bits, &link.b);
            }
        }
        // Packets are received whatever the routes to their source are.
        for interface in ["all", &host.links[0].a, &host.links[1].a] {
            std::fs::write(format!("/proc/sys/net/ipv4/conf/{interface}/rp_filter"), "0").unwrap();
        }
        host.run_words(&["sh", "-c", "for each in /proc/sys/net/ipv4/conf/*/rp_filter; do echo 0 > $each; done"]);
        host.run("ip link set lo up");
        for link in &host.links {
            super::wait_until("the link is up at both ends", || {
                let here = super::link::run(&format!("ip -o link show dev {}", link.a));
                let there = host.run(&format!("ip -o link show dev {}", link.b));
                here.contains("state UP") && there.contains("state UP")
            });
        }
        host
    }

    /// Gives an interface there an address.
    pub fn give(&self, address: IpAddr, bits: u8, interface: &str) {
        give(|command| self.run(command), address, bits, interface);
    }

    /// Runs a command there, given as words separated by spaces. It must succeed. Returns its output.
    pub fn run(&self, command: &str) -> String {
        self.run_words(&command.split(' ').collect::<Vec<_>>())
    }

    /// A program that runs there, not started yet.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["-t", &self.python.id().to_string(), "-n", program]);
        command
    }

    fn run_words(&self, words: &[&str]) -> String {
        let output = self.command(words[0]).args(&words[1..]).output().unwrap();
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// The number of a process that is in its network namespace.
    pub fn process(&self) -> u32 {
        self.python.id()
    }

    /// Sends to a group on this link, from a new socket with this source address.
    pub fn ask(&mut self, source: IpAddr, link: usize, group: Group, payload: &str) -> SocketAddr {
        self.send("ask", source, link, group.into(), payload)
    }

    /// Sends to an address by this link, whatever the routes say.
    pub fn tell(&mut self, source: IpAddr, link: usize, to: SocketAddr, payload: &str) -> SocketAddr {
        self.send("tell", source, link, to, payload)
    }

    fn send(&mut self, how: &str, source: IpAddr, link: usize, to: SocketAddr, payload: &str) -> SocketAddr {
        self.python.say(&format!("{how} {source} {} {} {} {payload}", self.links[link].b, to.ip(), to.port()));
        SocketAddr::new(source, self.python.line().parse().unwrap())
    }

    /// The next datagram to the socket that sent last.
    pub fn answer(&mut self) -> Arrival {
        self.python.say("answer");
        let line = self.python.line();
        let words: Vec<_> = line.splitn(4, ' ').collect();
        let [link, address, port, payload] = words[..] else { panic!("{line}") };
        let source = SocketAddr::new(address.parse().unwrap(), port.parse().unwrap());
        Arrival { payload: payload.to_owned(), link: link.to_owned(), source }
    }
}
