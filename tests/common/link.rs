//! Links of a private network: pairs of virtual Ethernet ends, both in the namespace of the test.

// Each test file compiles its own copy and uses a part of it.
#![allow(dead_code, unreachable_pub)]

use std::net::Ipv4Addr;
use std::process::Command;
use std::sync::atomic::{AtomicU8, Ordering};

use multicast::Interface;

/// A pair: what leaves `a` comes in at `b`, and the other way round. It is deleted when it is dropped.
pub struct Pair {
    pub a: String,
    pub b: String,
    /// The addresses of both ends.
    pub addresses: [Ipv4Addr; 2],
}

impl Pair {
    /// Both ends up, with addresses of both families.
    pub fn new() -> Self {
        let pair = Self::bare();
        for (end, address) in [&pair.a, &pair.b].into_iter().zip(pair.addresses) {
            run(&format!("ip addr add {address}/24 dev {end}"));
            let [_, subnet_high, subnet_low, host] = address.octets();
            run(&format!("ip -6 addr add fd42:{subnet_high}:{subnet_low}::{host}/64 dev {end} nodad"));
        }
        pair
    }

    /// Both ends up, without any address.
    pub fn bare() -> Self {
        static COUNT: AtomicU8 = AtomicU8::new(1);
        super::require_private_network();
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let process = std::process::id() as u8;
        let (a, b) = (format!("va{process}x{count}"), format!("vb{process}x{count}"));
        run(&format!("ip link add {a} type veth peer name {b}"));
        for end in [&a, &b] {
            // Addresses that the kernel makes itself are not usable for a second, while it looks for duplicates.
            run(&format!("ip link set {end} addrgenmode none"));
            // Both ends are in one namespace, so that every packet comes from an address of our own.
            std::fs::write(format!("/proc/sys/net/ipv4/conf/{end}/accept_local"), "1").unwrap();
            run(&format!("ip link set {end} up"));
        }
        for end in [&a, &b] {
            // The kernel sees to it a while later; until then the ends swallow what is sent.
            super::wait_until("the link is up", || run(&format!("ip -o link show dev {end}")).contains("state UP"));
        }
        let addresses = [1, 2].map(|host| Ipv4Addr::new(10, process, count, host));
        Self { a, b, addresses }
    }

    /// Lets `a` send this many bits a second, and queue this many bytes: what is queued is charged to its sender.
    pub fn throttle(&self, bits_a_second: u32, queue: u32) {
        let a = &self.a;
        run(&format!("tc qdisc add dev {a} root tbf rate {bits_a_second} burst 3000 limit {queue}"));
    }

    /// How many packets `a`'s queue let through and refused.
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

/// The interface of this name.
pub fn named(name: &str) -> Interface {
    name.parse().unwrap()
}

/// The index of the interface of this name.
pub fn index_of(name: &str) -> std::num::NonZeroU32 {
    let text = run(&format!("ip -o link show dev {name}"));
    text.split(':').next().unwrap().parse().unwrap()
}

/// Runs a command of blank-separated words, which must go well, and gives its output.
pub fn run(command: &str) -> String {
    let mut words = command.split(' ');
    let output = Command::new(words.next().unwrap()).args(words).output();
    let output = output.unwrap_or_else(|error| panic!("{command}: {error} (the package iproute2 is needed)"));
    assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}
