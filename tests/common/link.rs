//! Links of a private network: pairs of virtual Ethernet ends, both in the namespace of the test.

// Each test file compiles its own copy and uses a part of it.
#![allow(dead_code, unreachable_pub)]

use std::io::Write;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU8, Ordering};

use multicast::Interface;

/// A pair: packets that leave `a` arrive at `b`, and the other way round. It is deleted when it is dropped.
pub struct Pair {
    pub a: String,
    pub b: String,
    /// The addresses of both ends.
    pub addresses: [Ipv4Addr; 2],
}

impl Pair {
    /// Both ends up, with addresses of both families.
    pub fn new() -> Self {
        let pair = Self::planned();
        pair.create();
        pair
    }

    /// Both ends up, without any address.
    pub fn bare() -> Self {
        let pair = Self::planned();
        pair.create_bare();
        pair
    }

    /// Names and addresses of a pair that does not exist yet.
    pub fn planned() -> Self {
        static COUNT: AtomicU8 = AtomicU8::new(1);
        super::require_private_network();
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let process = std::process::id() as u8;
        let addresses = [1, 2].map(|host| Ipv4Addr::new(10, process, count, host));
        Self { a: format!("va{process}x{count}"), b: format!("vb{process}x{count}"), addresses }
    }

    /// Creates it with addresses: for the first time, or again after it was deleted.
    pub fn create(&self) {
        self.create_bare();
        self.give_addresses();
    }

    /// The IPv6 addresses of both ends.
    pub fn v6_addresses(&self) -> [Ipv6Addr; 2] {
        self.addresses.map(|address| {
            let [_, high, low, host] = address.octets().map(|byte| format!("{byte}"));
            format!("fd42:{high}:{low}::{host}").parse().unwrap()
        })
    }

    pub fn give_addresses(&self) {
        for (end, (address, v6)) in [&self.a, &self.b].into_iter().zip(self.addresses.into_iter().zip(self.v6_addresses())) {
            run(&format!("ip addr add {address}/24 dev {end}"));
            run(&format!("ip -6 addr add {v6}/64 dev {end} nodad"));
        }
    }

    pub fn create_bare(&self) {
        self.create_bare_without_waiting();
        self.set_up();
    }

    /// Creates both ends, switched off.
    pub fn create_bare_without_waiting(&self) {
        run(&format!("ip link add {} type veth peer name {}", self.a, self.b));
    }

    /// Switches both ends on, without addresses.
    pub fn set_up(&self) {
        let (a, b) = (&self.a, &self.b);
        for end in [a, b] {
            // Addresses that the kernel generates itself are unusable for a second, during duplicate address detection.
            run(&format!("ip link set {end} addrgenmode none"));
            // Both ends are in one namespace, so every packet has a local source address.
            std::fs::write(format!("/proc/sys/net/ipv4/conf/{end}/accept_local"), "1").unwrap();
            run(&format!("ip link set {end} up"));
        }
        self.wait_until_up();
    }

    /// The kernel switches the carrier on a short time after an end was set up; until then the ends drop packets without an
    /// error.
    pub fn wait_until_up(&self) {
        for end in [&self.a, &self.b] {
            super::wait_until("the link is up", || run(&format!("ip -o link show dev {end}")).contains("state UP"));
        }
    }

    /// Deletes both ends.
    pub fn delete(&self) {
        run(&format!("ip link delete {}", self.a));
    }

    /// Deletes both ends and creates them again, with the same names and addresses. To the kernel they are new interfaces.
    pub fn replace(&self) {
        self.delete();
        self.create();
    }

    /// Lets `a` send this many bits per second, and queue this many bytes. Queued packets count against the send buffer of their
    /// socket.
    pub fn throttle(&self, bits_a_second: u32, queue: u32) {
        let a = &self.a;
        run(&format!("tc qdisc add dev {a} root tbf rate {bits_a_second} burst 3000 limit {queue}"));
    }

    /// How many packets the queue of `a` sent, and how many it refused.
    pub fn queue_counters(&self) -> (u64, u64) {
        let text = run(&format!("tc -s qdisc show dev {}", self.a));
        let words = text.split([' ', ',', '(']).collect::<Vec<_>>();
        let beside = |word: &str, step: isize| {
            let at = words.iter().position(|found| *found == word).unwrap();
            words[at.checked_add_signed(step).unwrap()].parse().unwrap()
        };
        (beside("pkt", -1), beside("dropped", 1))
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        // A test may have deleted it already.
        let _ = Command::new("ip").args(["link", "delete", &self.a]).output();
    }
}

/// Runs this test of the calling file in its own network namespace: for tests that see all interfaces, including those of other
/// tests. Returns true inside that namespace. Otherwise the test has already run there, in its own process, and the caller must
/// return.
pub fn is_alone(test: &str) -> bool {
    const ALONE: &str = "MULTICAST_TEST_ALONE";
    super::require_private_network();
    if std::env::var_os(ALONE).is_some() {
        run("ip link set lo up");
        return true;
    }
    let output = Command::new("unshare")
        .arg("-n")
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", &super::full_name(test), "--nocapture"])
        .env(ALONE, "1")
        .output()
        .unwrap();
    let [said, complained] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
    assert!(output.status.success() && said.contains("1 passed"), "{said}{complained}");
    false
}

/// Lets `lo` carry multicast in the network of a test that [is alone](is_alone), as tests/in-namespace.sh does in that of the others.
pub fn route_groups_to_lo() {
    run("ip route add 224.0.0.0/4 dev lo src 127.0.0.1");
    run("ip -6 route add local ff00::/8 dev lo table local metric 1");
}

/// The interface with this name.
pub fn named(name: &str) -> Interface {
    name.parse().unwrap()
}

/// The index of the interface with this name.
pub fn index_of(name: &str) -> std::num::NonZeroU32 {
    let text = run(&format!("ip -o link show dev {name}"));
    text.split(':').next().unwrap().parse().unwrap()
}

/// More changes than the socket's buffer holds.
pub fn flood(interface: &str) {
    for verb in ["add", "delete"] {
        let mut batch = Command::new("ip").args(["-batch", "-"]).stdin(Stdio::piped()).spawn().unwrap();
        let lines: String = (0..2_000)
            .map(|number| format!("addr {verb} 10.100.{}.{}/32 dev {interface}\n", number / 256, number % 256))
            .collect();
        batch.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
        assert!(batch.wait().unwrap().success());
    }
}

/// Runs a command, given as words separated by spaces. It must succeed. Returns its output.
pub fn run(command: &str) -> String {
    let mut words = command.split(' ');
    let output = Command::new(words.next().unwrap()).args(words).output();
    let output = output.unwrap_or_else(|error| panic!("{command}: {error} (the package iproute2 is needed)"));
    assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}
