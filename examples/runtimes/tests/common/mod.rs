//! Programs that the tests run, and links between two hosts. Everything stays in private network namespaces.

// Each test file compiles its own copy and uses a part of it.
#![allow(dead_code, missing_docs, unreachable_pub)]

use std::io::{BufRead, BufReader, Read};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use multicast::{Group, Interface, Progress, SendOptions};
use rustix::process::{Pid, Signal, kill_process};

/// How long a test waits for something that must happen.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// The program in each runtime: its path, its arguments, and the name with which it speaks.
pub const RUNTIMES: [(&str, &[&str], &str); 6] = [
    (env!("CARGO_BIN_EXE_in-poll"), &[], "poll"),
    (env!("CARGO_BIN_EXE_in-mio"), &[], "mio"),
    (env!("CARGO_BIN_EXE_in-calloop"), &[], "calloop"),
    (env!("CARGO_BIN_EXE_in-async-io"), &[], "async-io"),
    (env!("CARGO_BIN_EXE_in-tokio"), &[], "tokio"),
    (env!("CARGO_BIN_EXE_in-tokio"), &["--multi-thread"], "tokio-multi"),
];

/// One test for each of [`RUNTIMES`], by its number there: so a failure names it.
#[macro_export]
macro_rules! for_each_runtime {
    ($($(#[$doc:meta])* $test:ident)+) => {$(
        mod $test {
            #[test]
            fn with_poll() { super::$test(0); }
            #[test]
            fn in_mio() { super::$test(1); }
            #[test]
            fn in_calloop() { super::$test(2); }
            #[test]
            fn in_async_io() { super::$test(3); }
            #[test]
            fn in_tokio() { super::$test(4); }
            #[test]
            fn in_tokio_on_many_threads() { super::$test(5); }
        }
    )+};
}

/// A number that no other test has at the moment.
fn unique() -> [u8; 3] {
    static COUNT: AtomicU8 = AtomicU8::new(1);
    let [.., high, low] = std::process::id().to_be_bytes();
    [high, low, COUNT.fetch_add(1, Ordering::Relaxed)]
}

/// A group that no other test uses. The port is not one that the kernel chooses by itself.
pub fn unique_group() -> Group {
    require_private_network();
    let [a, b, c] = unique();
    Group::new(Ipv4Addr::new(239, a, b, c), 10_000 + u16::from(c)).unwrap()
}

pub fn unique_v6_group() -> Group {
    require_private_network();
    let [a, b, c] = unique();
    let words = [u16::from_be_bytes([a, b]), c.into()];
    Group::new(Ipv6Addr::new(0xff05, 0, 0, 0, 0, 0, words[0], words[1]), 10_000 + words[1]).unwrap()
}

fn require_private_network() {
    let network = std::env::var("MULTICAST_TEST_NETWORK");
    assert_eq!(network.as_deref(), Ok("private"), "these tests need a network of their own: run `make runtimes`");
}

/// Sends these packets to the group on `lo`.
pub fn send_all<P: IntoIterator<Item: AsRef<[u8]>>>(group: Group, packets: P) {
    let mut caster = SendOptions::new().interface(Interface::LOOPBACK).packets(group, packets).unwrap();
    while caster.step().unwrap() != Progress::Done {}
}

/// Whether a process of this network namespace has joined the group.
pub fn is_joined(group: Group) -> bool {
    let (file, address) = match group.address() {
        IpAddr::V4(_) => ("/proc/thread-self/net/igmp", in_list(group)),
        IpAddr::V6(address) => ("/proc/thread-self/net/igmp6", format!(" {:032x} ", u128::from(address))),
    };
    std::fs::read_to_string(file).unwrap().contains(&address)
}

/// How the kernel writes an IPv4 group in its list of memberships.
fn in_list(group: Group) -> String {
    let IpAddr::V4(address) = group.address() else { panic!("{group} is not of IPv4") };
    format!("{:08X} ", u32::from_ne_bytes(address.octets()))
}

/// Waits until this many sockets of this network namespace are bound to the group's port.
pub fn wait_for_listeners(group: Group, count: usize) {
    let (file, local) = match group.address() {
        IpAddr::V4(_) => ("/proc/thread-self/net/udp", format!(":{:04X}", group.port())),
        IpAddr::V6(_) => ("/proc/thread-self/net/udp6", format!(":{:04X}", group.port())),
    };
    let end = Instant::now() + PATIENCE;
    let is_bound = |line: &str| line.split_whitespace().nth(1).is_some_and(|address| address.ends_with(&local));
    while std::fs::read_to_string(file).unwrap().lines().filter(|line| is_bound(line)).count() < count || !is_joined(group) {
        assert!(Instant::now() < end, "too few listen to {group}");
        std::thread::yield_now();
    }
}

/// How many packets the kernel dropped in front of all receivers (`net.core.netdev_max_backlog`), on all processors and for all network
/// namespaces.
pub fn backlog_drops() -> u64 {
    let lines = std::fs::read_to_string("/proc/net/softnet_stat").unwrap();
    lines.lines().map(|line| u64::from_str_radix(line.split(' ').nth(1).unwrap(), 16).unwrap()).sum()
}

/// Runs a command, given as words separated by spaces. It must succeed. Returns its output.
pub fn run(command: &str) -> String {
    let mut words = command.split(' ');
    let output = Command::new(words.next().unwrap()).args(words).output().unwrap();
    assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// A running program. It is killed when this is dropped.
#[derive(Debug)]
pub struct Running {
    child: Child,
    lines: Receiver<String>,
    /// What it has printed, for the message of a test that fails.
    seen: Vec<String>,
}

impl Running {
    /// Runs a command with this standard input.
    pub fn start(command: &mut Command, input: Stdio) -> Self {
        let mut child = command.stdin(input).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (output, errors) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        let (send, lines) = channel();
        let of_errors = send.clone();
        forward(output, send);
        forward(errors, of_errors);
        Self { child, lines, seen: Vec::new() }
    }

    /// The program in this runtime, with arguments.
    pub fn runtime(number: usize, group: Group, interface: &str, period: Duration, readings: u32) -> Self {
        let (program, flags, _) = RUNTIMES[number];
        let mut command = Command::new(program);
        let (group, period, readings) = (group.to_string(), period.as_millis().to_string(), readings.to_string());
        Self::start(command.args(flags).args([&group, interface, &period, &readings]), Stdio::null())
    }

    /// The next line that it prints, on either output; `None` if it prints none in this time.
    pub fn line_within(&mut self, time: Duration) -> Option<String> {
        let line = self.lines.recv_timeout(time).ok()?;
        self.seen.push(line.clone());
        Some(line)
    }

    /// The next line for which this is true. It must come.
    #[track_caller]
    pub fn line_that(&mut self, is_it: impl Fn(&str) -> bool) -> String {
        let end = Instant::now() + PATIENCE;
        loop {
            let line = self.line_within(end.saturating_duration_since(Instant::now()));
            let Some(line) = line else { panic!("the line did not come after {:#?}", self.seen) };
            if is_it(&line) {
                return line;
            }
        }
    }

    /// The next line that begins so: the rest of it. It must come.
    #[track_caller]
    pub fn line(&mut self, begin: &str) -> String {
        self.line_that(|line| line.starts_with(begin))[begin.len()..].to_owned()
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Stops it, so that packets queue up.
    pub fn pause(&self) {
        self.signal(Signal::STOP);
        let end = Instant::now() + PATIENCE;
        let state = || {
            let text = std::fs::read_to_string(format!("/proc/{}/stat", self.id())).unwrap();
            text.rsplit(") ").next().unwrap().starts_with('T')
        };
        while !state() {
            assert!(Instant::now() < end, "it does not stop");
            std::thread::yield_now();
        }
    }

    /// Asks it to end. It must end well. Returns what it counted: each word with its number.
    #[track_caller]
    pub fn end(self) -> Ended {
        let mut counts = Vec::new();
        for line in self.stop() {
            let words = line.split(' ').collect::<Vec<_>>();
            if line.starts_with("received ") || line.starts_with("turns ") {
                counts.extend(words.chunks(2).map(|pair| (pair[0].to_owned(), pair[1].parse().unwrap())));
            }
        }
        Ended(counts)
    }

    /// Asks it to end. It must end well. Returns its last lines.
    #[track_caller]
    pub fn stop(mut self) -> Vec<String> {
        self.signal(Signal::TERM);
        let lines = std::iter::from_fn(|| self.line_within(PATIENCE)).collect();
        let status = self.child.wait().unwrap();
        assert!(status.success(), "{status} after {:#?}", self.seen);
        lines
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a program counted.
#[derive(Debug)]
pub struct Ended(Vec<(String, u32)>);

impl Ended {
    #[track_caller]
    pub fn count(&self, word: &str) -> u32 {
        self.0.iter().find(|(found, _)| found == word).unwrap_or_else(|| panic!("{word}: {self:?}")).1
    }
}

/// A thread reads the lines, so that a test can wait for them with a time-out. It ends with the output.
fn forward(output: impl Read + Send + 'static, lines: std::sync::mpsc::Sender<String>) {
    std::thread::spawn(move || {
        for line in BufReader::new(output).lines() {
            let Ok(line) = line else { return };
            if lines.send(line).is_err() {
                return;
            }
        }
    });
}

/// A host: a network namespace of its own, with `lo`.
#[derive(Debug)]
pub struct Host {
    /// A process that holds the namespace. It ends when its input is closed.
    holder: Child,
    _input: ChildStdin,
}

impl Host {
    fn new() -> Self {
        let mut command = Command::new("unshare");
        let mut holder = command.args(["-n", "cat"]).stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        let host = Self { _input: holder.stdin.take().unwrap(), holder };
        let (own, id, end) = (std::fs::read_link("/proc/self/ns/net").unwrap(), host.id(), Instant::now() + PATIENCE);
        // Until `unshare` has made the namespace and become `cat`.
        let is_ready = || {
            let its = std::fs::read_link(format!("/proc/{id}/ns/net")).unwrap();
            its != own && std::fs::read_to_string(format!("/proc/{id}/comm")).unwrap() == "cat\n"
        };
        while !is_ready() {
            assert!(Instant::now() < end, "no namespace");
            std::thread::yield_now();
        }
        host.run("ip link set lo up");
        host
    }

    fn id(&self) -> u32 {
        self.holder.id()
    }

    fn here(&self, command: &str) -> String {
        format!("nsenter -t {} -n {command}", self.id())
    }

    fn run(&self, command: &str) -> String {
        run(&self.here(command))
    }

    /// The program in this runtime, on the interface `eth0`.
    pub fn start(&self, number: usize, group: Group, period: Duration, readings: u32) -> Running {
        let (program, flags, _) = RUNTIMES[number];
        let command = self.here(&format!("{program} {group} eth0 {} {readings}", period.as_millis()));
        let mut words = command.split(' ');
        Running::start(Command::new(words.next().unwrap()).args(words).args(flags), Stdio::null())
    }

    /// Waits until a program has joined the group.
    pub fn wait_for_member(&self, group: Group) {
        let end = Instant::now() + PATIENCE;
        while !self.run("cat /proc/net/igmp").contains(&in_list(group)) {
            assert!(Instant::now() < end, "nobody joined {group}");
        }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

/// Two hosts, with a link between their interfaces `eth0`.
#[derive(Debug)]
pub struct Link {
    pub near: Host,
    pub far: Host,
}

impl Link {
    pub fn new() -> Self {
        require_private_network();
        let link = Self { near: Host::new(), far: Host::new() };
        link.create();
        let end = Instant::now() + PATIENCE;
        while [&link.near, &link.far].iter().any(|host| !host.run("ip -o link show dev eth0").contains("state UP")) {
            assert!(Instant::now() < end, "the link does not come up");
        }
        link
    }

    /// Creates it: for the first time, or again. To the kernels, the ends are new interfaces.
    pub fn create(&self) {
        self.near.run(&format!("ip link add eth0 type veth peer name eth0 netns {}", self.far.id()));
        for (host, number) in [(&self.near, 1), (&self.far, 2)] {
            host.run(&format!("ip addr add 10.99.0.{number}/24 dev eth0"));
            // Without an IPv6 address, which the kernel would report a second later: that would wake a program that waits.
            host.run("ip link set eth0 addrgenmode none up");
        }
    }

    pub fn delete(&self) {
        self.near.run("ip link delete eth0");
    }

    /// Lets the near host send 256 kilobits per second, and queue this many bytes.
    pub fn throttle(&self, queue: u32) {
        self.near.run(&format!("tc qdisc add dev eth0 root tbf rate 256kbit burst 3000 limit {queue}"));
    }
}
