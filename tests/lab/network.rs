//! Hosts, and the links between them.

use std::fs::File;
use std::io::Write;
use std::os::fd::AsFd;
use std::panic::resume_unwind;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use multicast::Interface;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

pub use crate::common::link::{named, run};
use crate::common::wait_until;
use crate::trial::helper;

/// A host: a network namespace. It is deleted when it is dropped.
pub struct Host {
    name: String,
    namespace: File,
}

impl Host {
    /// A host with nothing but `lo`.
    pub fn new(name: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("{name}{}", COUNT.fetch_add(1, Ordering::Relaxed));
        run(&format!("ip netns add {name}"));
        let namespace = File::open(format!("/run/netns/{name}")).unwrap();
        let host = Self { name, namespace };
        // For one second the kernel checks its own link-local addresses for duplicates; so each link gets one from us instead.
        host.within(|| std::fs::write("/proc/sys/net/ipv6/conf/default/addr_gen_mode", "1").unwrap());
        host.ip(&["link set lo up"]);
        host
    }

    /// Runs a closure on this host. The sockets and processes that it creates stay on the host.
    pub fn within<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        let namespace = self.namespace.as_fd();
        let on_host = move || {
            move_into_link_name_space(namespace, Some(LinkNameSpaceType::Network)).unwrap();
            work()
        };
        std::thread::scope(|scope| helper().spawn_scoped(scope, on_host).unwrap().join())
            .unwrap_or_else(|panic| resume_unwind(panic))
    }

    /// Runs commands of `ip` on this host; all of them must succeed.
    pub fn ip(&self, commands: &[&str]) {
        let mut ip = Command::new("ip")
            .args(["-n", &self.name, "-batch", "-"])
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the package iproute2 is needed");
        writeln!(ip.stdin.take().unwrap(), "{}", commands.join("\n")).unwrap();
        let output = ip.wait_with_output().unwrap();
        assert!(output.status.success(), "ip {commands:?}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// Runs a command on this host, which must succeed, and returns its output.
    pub fn run(&self, command: &str) -> String {
        self.within(|| run(command))
    }

    /// Sets a kernel parameter, such as `net/ipv4/igmp_max_memberships`.
    pub fn set(&self, setting: &str, value: &str) {
        let path = format!("/proc/sys/{setting}");
        self.within(|| std::fs::write(&path, value).unwrap_or_else(|error| panic!("{path}: {error}")));
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// Sends packets on `eth0`, one step for each.
    pub fn send<P: AsRef<[u8]> + Send + Sync>(&self, group: multicast::Group, packets: &[P]) {
        self.send_with(multicast::SendOptions::new().interface(named("eth0")), group, packets);
    }

    /// Like `send`, with options of the caller.
    pub fn send_with<P>(&self, options: multicast::SendOptions, group: multicast::Group, packets: &[P])
    where
        P: AsRef<[u8]> + Send + Sync,
    {
        self.within(|| {
            let mut caster = options.packets(group, packets).unwrap();
            while caster.step().unwrap() != multicast::Progress::Done {}
        });
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "delete", &self.name]).output();
    }
}

/// One end of a link: a host, and the name of its interface.
pub type End<'h> = (&'h Host, &'h str);

/// Connects two hosts with a cable in this subnet. The first gets the addresses 10.0.SUBNET.1, fd00:SUBNET::1 and fe80::1, the
/// second those that end in 2. Both ends are up.
pub fn cable(subnet: u8, first: End<'_>, second: End<'_>) {
    bare_cable(first, second);
    address(subnet, 1, first);
    address(subnet, 2, second);
}

/// Like [`cable`], without addresses.
pub fn bare_cable(first: End<'_>, second: End<'_>) {
    let ((host, interface), (peer, its_interface)) = (first, second);
    host.ip(&[&format!("link add {interface} type veth peer name {its_interface} netns {}", peer.name)]);
    host.ip(&[&format!("link set {interface} up")]);
    peer.ip(&[&format!("link set {its_interface} up")]);
    wait_until_up(first);
    wait_until_up(second);
}

/// Waits until a link is up. The kernel discards packets until some time after the link was switched on and has a carrier.
pub fn wait_until_up((host, interface): End<'_>) {
    host.within(|| {
        wait_until("the link is up", || run(&format!("ip -o link show dev {interface}")).contains("state UP"));
    });
}

/// Gives an interface the addresses of this number in this subnet.
pub fn address(subnet: u8, number: u8, (host, interface): End<'_>) {
    host.ip(&[
        &format!("addr add 10.0.{subnet}.{number}/24 dev {interface}"),
        &format!("addr add fd00:{subnet}::{number}/64 dev {interface} nodad"),
        &format!("addr add fe80::{number}/64 dev {interface} nodad"),
    ]);
}

/// A switch: a bridge on its own host. The hosts are connected to it with their `eth0`, in subnet 0, with the numbers 1, 2, ..
/// `options` are those of a bridge in `ip-link(8)`.
pub fn switch(options: &str, hosts: &[&Host]) -> Host {
    let switch = Host::new("switch");
    switch.ip(&[&format!("link add bridge type bridge {options}"), "link set bridge up"]);
    for (port, host) in hosts.iter().enumerate() {
        plug_in(&switch, port, host, "eth0");
        address(0, port as u8 + 1, (host, "eth0"));
    }
    switch
}

/// Connects an interface of a host to a port of a switch.
pub fn plug_in(switch: &Host, port: usize, host: &Host, interface: &str) {
    let port = format!("port{port}");
    bare_cable((switch, &port), (host, interface));
    switch.ip(&[&format!("link set {port} master bridge")]);
    wait_until("the port forwards", || switch.run(&format!("ip -d link show dev {port}")).contains("state forwarding"));
}

/// The interface of this number, by name.
pub fn interface(number: u8) -> Interface {
    named(&format!("eth{number}"))
}
