//! Shared by the tests. Everything here stays on `lo`.

// Each test file compiles its own copy and uses a part of it.
#![allow(dead_code, unreachable_pub)]

pub mod changes;
pub mod confined;
pub mod forger;
pub mod hosts;
pub mod link;
pub mod peer;
pub mod refusing;
pub mod segments;

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use multicast::filter::Filter;
use multicast::{Events, Group, Interest, Interface, Listener, Membership, Packet, Poller, Received, SendOptions, Token};

/// The result of one call, if a test knows that it is a packet or nothing.
pub trait OnePacket<'a> {
    fn packet(self) -> Option<Packet<'a>>;
}

impl<'a> OnePacket<'a> for Received<'a> {
    fn packet(self) -> Option<Packet<'a>> {
        match self {
            Received::Packet(packet) => Some(packet),
            Received::Empty | Received::Paused => None,
        }
    }
}

/// The interface of all tests: packets do not leave the machine.
pub const LO: Interface = Interface::LOOPBACK;

/// How long a test waits for something that must happen.
pub const PATIENCE: Duration = Duration::from_secs(10);
/// How long a test waits to see that nothing happens.
pub const QUIET: Duration = Duration::from_millis(150);

/// A port that no socket uses at the moment. It is outside `ip_local_port_range`, so the kernel does not choose it for a sender
/// of another test.
pub fn free_port() -> u16 {
    const FIRST: u16 = 10_000;
    const COUNT: u16 = 20_000;
    loop {
        let (process, count) = unique();
        let port = FIRST + process.wrapping_mul(61).wrapping_add(count) % COUNT;
        if !is_bound(port) {
            return port;
        }
    }
}

/// Whether a UDP socket in the network namespace of this thread is bound to the port, according to the kernel's list. Trying to
/// bind would hold the port too long: a process that another thread is starting has a copy of each descriptor until its `exec`.
pub fn is_bound(port: u16) -> bool {
    let local = format!(":{port:04X}");
    ["/proc/thread-self/net/udp", "/proc/thread-self/net/udp6"].iter().any(|list| {
        // Without IPv6 the second list does not exist.
        let list = std::fs::read_to_string(list).unwrap_or_default();
        list.lines().skip(1).any(|line| line.split_whitespace().nth(1).is_some_and(|address| address.ends_with(&local)))
    })
}

/// Two numbers that no other test has: one for the process, and a counter.
fn unique() -> (u16, u16) {
    static COUNT: AtomicU16 = AtomicU16::new(1);
    (std::process::id() as u16, COUNT.fetch_add(1, Ordering::Relaxed))
}

/// An IPv4 group, with a port, that no other test uses.
pub fn unique_group() -> Group {
    let (process, count) = unique();
    let [a, b] = process.to_be_bytes();
    Group::new(Ipv4Addr::new(239, a, b, count as u8), free_port()).unwrap()
}

/// An IPv6 group of this scope that no other test uses: 2 is link-local, 5 is site-local.
pub fn unique_v6_group(scope: u16) -> Group {
    let (process, count) = unique();
    Group::new(Ipv6Addr::new(0xff00 | scope, 0, 0, 0, 0, 0, process, count), free_port()).unwrap()
}

/// A membership in the group, on `lo`.
pub fn on_lo(group: Group) -> Membership {
    Membership::any(group).on(LO)
}

/// Options to send on `lo`.
pub fn send_on_lo() -> SendOptions {
    SendOptions::new().interface(LO)
}

/// Sends all of these packets on `lo`.
pub fn send_all<P: IntoIterator<Item: AsRef<[u8]>>>(group: Group, packets: P) {
    send_with(send_on_lo(), group, packets);
}

/// Sends all of these packets. On a busy machine the other end of a link refuses one at times: then it is sent again.
pub fn send_with<P: IntoIterator<Item: AsRef<[u8]>>>(options: SendOptions, group: Group, packets: P) {
    let mut caster = options.packets(group, packets).unwrap();
    while caster.step().unwrap() != multicast::Progress::Done {}
}

/// Sends one packet. On a busy machine the other end of a link refuses it at times: then it is sent again.
pub fn send_one(sender: &mut multicast::Sender, payload: &[u8], to: impl Into<multicast::Destination>) {
    let to = to.into();
    while sender.send(payload, to).unwrap() != multicast::Outcome::Sent {}
}

/// As [`send_one`], the next packet of a multicaster.
pub fn step_one<I: Iterator<Item: AsRef<[u8]>>, const BATCH: usize>(caster: &mut multicast::Multicaster<I, BATCH>) {
    while caster.step().unwrap() != multicast::Progress::Sent(1) {}
}

/// The payload of the next packet, or `None` if none arrives in this time.
pub fn next_within<const MTU: usize, F: Filter>(listener: &mut Listener<MTU, F>, time: Duration) -> Option<Vec<u8>> {
    let poller = Poller::new().unwrap();
    poller.register(&*listener, Token(0), Interest::READABLE).unwrap();
    let mut events = Events::<1>::new();
    let end = Instant::now() + time;
    loop {
        match listener.recv().unwrap() {
            Received::Packet(packet) => return Some(packet.payload().to_vec()),
            Received::Paused => continue,
            Received::Empty => {}
        }
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return None;
        }
        poller.poll(&mut events, left).unwrap();
    }
}

/// The payload of the next packet, which must arrive.
pub fn expect_packet<const MTU: usize, F: Filter>(listener: &mut Listener<MTU, F>) -> Vec<u8> {
    next_within(listener, PATIENCE).expect("a packet")
}

/// No packet may arrive for a while.
pub fn assert_quiet<const MTU: usize, F: Filter>(listener: &mut Listener<MTU, F>) {
    assert_eq!(next_within(listener, QUIET), None);
}

/// A Python program that reads and prints lines. Dropping this ends it.
pub struct Python {
    child: Child,
    input: ChildStdin,
    lines: Receiver<String>,
}

impl Python {
    /// Starts the program. It should print a line when it is ready: see [`Self::line`].
    pub fn start(program: &str, arguments: &[&str]) -> Self {
        Self::start_by(Command::new("python3"), program, arguments)
    }

    /// Starts the program on a host of its own: in a new network namespace.
    pub fn start_on_another_host(program: &str, arguments: &[&str]) -> Self {
        let mut unshare = Command::new("unshare");
        unshare.args(["-n", "python3"]);
        Self::start_by(unshare, program, arguments)
    }

    /// Its process, whose namespaces are those of its host.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    fn start_by(mut command: Command, program: &str, arguments: &[&str]) -> Self {
        let mut child = command
            .args(["-u", "-c", program])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3 is needed for the tests against peers: install it");
        let input = child.stdin.take().unwrap();
        let lines = lines_of(child.stdout.take().unwrap());
        Self { child, input, lines }
    }

    /// The next line that it prints, without the newline. It must print one.
    pub fn line(&mut self) -> String {
        self.lines.recv_timeout(PATIENCE).expect("a line of the Python peer")
    }

    /// It must not print anything for a while.
    pub fn assert_quiet(&mut self) {
        assert_eq!(self.lines.recv_timeout(QUIET).ok(), None);
    }

    /// Writes a line to its input.
    pub fn say(&mut self, line: &str) {
        writeln!(self.input, "{line}").unwrap();
        self.input.flush().unwrap();
    }
}

/// The lines of another process's output. A thread reads them, so that a test can wait for them with a time-out. It ends with the
/// output.
pub fn lines_of(output: ChildStdout) -> Receiver<String> {
    let (send, lines) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(output).lines() {
            let Ok(line) = line else { return };
            if send.send(line).is_err() {
                return;
            }
        }
    });
    lines
}

impl Drop for Python {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The name of this test of the running program, with the modules that it is in: for `--exact`, to run it again in a process of its own.
pub fn full_name(test: &str) -> String {
    let output = Command::new(std::env::current_exe().unwrap()).args(["--list", "--format", "terse"]).output().unwrap();
    let list = String::from_utf8(output.stdout).unwrap();
    let mut names = list.lines().filter_map(|line| line.strip_suffix(": test"));
    let is_it = |name: &&str| name.rsplit("::").next() == test.rsplit("::").next();
    names.find(is_it).unwrap_or_else(|| panic!("no test is called {test}")).to_owned()
}

/// Whether this program, the peer of a test, is installed. If not, the test must return: `make test` names it at its end, with the
/// command that installs the program. In CI it fails instead.
pub fn is_installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file()) || leave_out(program)
}

/// Whether a process of this test may become the user 65534. In the network that a user makes without root, there is no second user.
pub fn has_another_user() -> bool {
    // Lines of a first user here, a first one outside, and how many.
    let map = std::fs::read_to_string("/proc/self/uid_map").unwrap();
    let mut rows =
        map.lines().map(|line| line.split_whitespace().map(|word| word.parse::<u64>().unwrap()).collect::<Vec<_>>());
    rows.any(|row| (row[0]..row[0] + row[2]).contains(&65_534)) || leave_out("root")
}

/// Notes that the test which runs is left out, since this is missing. Returns false.
fn leave_out(missing: &str) -> bool {
    assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "{missing} is missing, and CI leaves out no test");
    let thread = std::thread::current();
    let line = format!("{missing} {}\n", thread.name().unwrap_or("a test"));
    eprint!("left out, without {line}");
    if let Some(list) = std::env::var_os("MULTICAST_TEST_LEFT_OUT") {
        let mut list = std::fs::File::options().append(true).create(true).open(list).unwrap();
        list.write_all(line.as_bytes()).unwrap();
    }
    false
}

/// Panics if packets could leave the machine: for tests that use the default route.
pub fn require_private_network() {
    let network = std::env::var("MULTICAST_TEST_NETWORK");
    assert_eq!(network.as_deref(), Ok("private"), "this test needs a network of its own: run `make test`");
}

/// Whether any socket of this network namespace is a member of the IPv4 group on `lo`, according to the kernel's list.
pub fn lo_is_in(group: Group) -> bool {
    let std::net::IpAddr::V4(address) = group.address() else { panic!("{group} is not of IPv4") };
    let wanted = format!("{:08X}", u32::from_ne_bytes(address.octets()));
    let list = std::fs::read_to_string("/proc/net/igmp").unwrap();
    // The line of an interface begins with its index. Its groups follow, each indented.
    let mut of_lo = list.lines().skip_while(|line| !line.contains("\tlo ")).skip(1);
    of_lo.by_ref().take_while(|line| line.starts_with('\t')).any(|line| line.trim_start().starts_with(&wanted))
}

/// Whether any socket of this network namespace is a member of the group: for IPv4 on `lo`.
pub fn is_joined(group: Group) -> bool {
    match group.address() {
        std::net::IpAddr::V4(_) => lo_is_in(group),
        std::net::IpAddr::V6(address) => {
            let wanted = address.octets().map(|byte| format!("{byte:02x}")).concat();
            std::fs::read_to_string("/proc/net/igmp6").unwrap().contains(&wanted)
        }
    }
}

/// Waits until the condition is true.
pub fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    wait_until_mut(what, is_so);
}

/// As [`wait_until`], for a condition that changes something.
pub fn wait_until_mut(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < end, "waited too long until {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
