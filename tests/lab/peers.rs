//! The programs on the hosts: our listeners, and programs of others.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use multicast::filter::Filter;
use multicast::{Group, Interface, Listener, Membership};

use crate::common::{is_bound, lines_of, next_within, wait_until};
use crate::network::{Host, interface, run};

pub use crate::common::peer;

/// How long to wait for a packet that must come. Long, since the machine may be busy.
pub const PATIENCE: Duration = Duration::from_secs(5);
/// How long to wait for a packet that must not come.
pub const QUIET: Duration = Duration::from_millis(200);

/// The kinds of groups that Linux treats differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    V4,
    /// IPv6, on one link only.
    LinkLocal,
    /// IPv6, with a wider scope.
    SiteLocal,
}

use Kind::{LinkLocal, SiteLocal, V4};

impl Kind {
    pub const ALL: [Self; 3] = [V4, LinkLocal, SiteLocal];

    pub fn group(self) -> Group {
        self.group_of(1)
    }

    /// One group of many, all on the same port.
    pub fn group_of(self, number: u16) -> Group {
        let [high, low] = number.to_be_bytes();
        match self {
            V4 => Group::new([239, 1, high, low], 5000),
            LinkLocal => Group::new([0xff02, 0, 0, 0, 0, 0, 0x4242, number], 5000),
            SiteLocal => Group::new([0xff05, 0, 0, 0, 0, 0, 0x4242, number], 5000),
        }
        .unwrap()
    }

    /// The address of the host with this number in this subnet; it sends from this one.
    pub fn address(self, subnet: u8, number: u8) -> std::net::IpAddr {
        let (subnet, number) = (subnet.into(), number.into());
        match self {
            V4 => [10, 0, subnet as u8, number as u8].into(),
            LinkLocal => [0xfe80, 0, 0, 0, 0, 0, 0, number].into(),
            SiteLocal => [0xfd00, subnet, 0, 0, 0, 0, 0, number].into(),
        }
    }
}

/// A listener on this host that is bound to the group, on an interface.
pub fn listen(host: &Host, group: Group, interface: Interface) -> Listener<65_535> {
    join(host, Membership::any(group).on(interface))
}

/// Like [`listener`], for a membership.
pub fn join(host: &Host, membership: Membership) -> Listener<65_535> {
    host.within(|| multicast::ListenOptions::new().bind(membership).unwrap())
}

/// The next packet, which must come.
pub fn hear<const MTU: usize, F: Filter>(listener: &mut Listener<MTU, F>) -> Vec<u8> {
    next_within(listener, PATIENCE).expect("no packet came")
}

/// Expects exactly these packets, in this order.
pub fn hear_exactly<const MTU: usize, F: Filter>(listener: &mut Listener<MTU, F>, packets: &[&str]) {
    let mut heard = Vec::new();
    while let Some(packet) = next_within(listener, if heard.len() < packets.len() { PATIENCE } else { QUIET }) {
        heard.push(String::from_utf8(packet).unwrap());
    }
    assert_eq!(heard, packets);
}

/// Expects no packet.
pub fn hear_nothing<const MTU: usize, F: Filter>(listener: &mut Listener<MTU, F>) {
    hear_exactly(listener, &[]);
}

/// A plain socket, as in most programs: it sends IPv4 on this interface, which it sets only by its index.
pub fn plain_sender(interface: &str) -> std::net::UdpSocket {
    let socket = std::net::UdpSocket::bind("0.0.0.0:0").unwrap();
    let (none, index) = (std::net::Ipv4Addr::UNSPECIFIED, crate::common::link::index_of(interface).get());
    rustix::net::sockopt::set_ip_multicast_if_with_ifindex(&socket, &none, &none, index).unwrap();
    socket
}

/// A process that is ended when it is dropped.
pub struct Process(pub Child);

impl Process {
    /// Starts a command of blank-separated words on a host, with pipes for all that it reads and writes.
    pub fn start(host: &Host, command: &str) -> Self {
        let mut words = command.split(' ');
        let program = words.next().unwrap();
        let mut start = Command::new(program);
        start.args(words).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Self(host.within(|| start.spawn()).unwrap_or_else(|error| panic!("{program}: {error}: it must be installed")))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Waits until the kernel lists a member of the group on this interface of the host.
pub fn wait_for_member(host: &Host, interface: &str, group: Group) {
    let address = group.address().to_string();
    host.within(|| {
        wait_until("somebody has joined", || {
            run(&format!("ip maddr show dev {interface}")).split_whitespace().any(|word| word == address)
        });
    });
}

/// What `socat` on this host receives from a group, up to the expected length, until the timeout.
pub fn socat_hears(host: &Host, group: Group, send: impl FnOnce(), length: usize) -> Vec<u8> {
    let (address, port) = (group.address(), group.port());
    let from = match group.address().is_ipv4() {
        true => format!("UDP4-RECV:{port},reuseaddr,ip-add-membership={address}:eth0"),
        false => format!("UDP6-RECV:{port},reuseaddr,ipv6-join-group=[{address}]:eth0"),
    };
    let mut socat = Process::start(host, &format!("socat -u -b 65535 -T 5 {from} STDOUT"));
    wait_for_member(host, "eth0", group);
    // It joins before it binds.
    host.within(|| wait_until("it is bound", || is_bound(port)));
    send();
    let mut heard = Vec::new();
    // Because of `-T`, it ends if nothing comes.
    socat.0.stdout.take().unwrap().take(length as u64).read_to_end(&mut heard).unwrap();
    heard
}

/// Sends one packet on `eth0` with `socat` on this host.
pub fn socat_sends(host: &Host, group: Group, source: &str, payload: &[u8]) {
    let (address, port) = (group.address(), group.port());
    let to = match group.address().is_ipv4() {
        true => format!("UDP4-DATAGRAM:{address}:{port},ip-multicast-if={source}"),
        // IPV6_MULTICAST_IF, for which socat has no name.
        false => {
            let index = host.within(|| crate::common::link::index_of("eth0"));
            format!("UDP6-DATAGRAM:[{address}]:{port},setsockopt-int=41:17:{index}")
        }
    };
    let mut socat = Process::start(host, &format!("socat -u -b 65535 STDIN {to}"));
    socat.0.stdin.take().unwrap().write_all(payload).unwrap();
    assert!(socat.0.wait().unwrap().success(), "socat could not send");
}

/// The packets on a host's interface, as `tshark` reads them: selected fields, one packet per line.
pub struct Tshark {
    _process: Process,
    lines: std::sync::mpsc::Receiver<String>,
}

impl Tshark {
    /// The port of markers, which show whether the capture has started.
    const MARKER: u16 = 9;

    /// Captures the packets that pass the filter (`pcap-filter(7)`); prints these fields of each, separated by tabs.
    pub fn start(host: &Host, sender: &Host, filter: &str, fields: &[&str]) -> Self {
        let mut start = Command::new("tshark");
        start.args(["-i", "eth0", "-l", "-n", "-Q", "-f", &format!("({filter}) or udp port {}", Self::MARKER)]);
        // All values of a field, separated by commas.
        start.args(["-T", "fields", "-E", "occurrence=a", "-e", "udp.dstport"]);
        for field in fields {
            start.args(["-e", field]);
        }
        start.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut process = Process(host.within(|| start.spawn()).expect("tshark is needed: install it"));
        let lines = lines_of(process.0.stdout.take().unwrap());
        let is_under_way = (0..600).any(|_| {
            sender.send(Group::new([239, 255, 255, 9], Self::MARKER).unwrap(), &["marker"]);
            lines.recv_timeout(Duration::from_millis(50)).is_ok()
        });
        assert!(is_under_way, "tshark captures nothing");
        Self { _process: process, lines }
    }

    /// The fields of the next packet; `None` if none comes within this time.
    pub fn next(&self, time: Duration) -> Option<Vec<String>> {
        let end = std::time::Instant::now() + time;
        loop {
            let line = self.lines.recv_timeout(end.saturating_duration_since(std::time::Instant::now())).ok()?;
            let mut fields = line.split('\t').map(str::to_owned);
            if fields.next().is_some_and(|port| port.is_empty()) {
                return Some(fields.collect());
            }
        }
    }
}

/// The interface that a case listens on: the right one, or `lo`, where nothing arrives.
pub fn ear(trial: &crate::trial::Trial) -> Interface {
    trial.pick(interface(0), Interface::LOOPBACK)
}

/// What a process wrote to its standard error, for the reason of a failure.
pub fn complaints(process: &mut Process) -> String {
    let lines = process.0.stderr.take().map(BufReader::new).into_iter().flat_map(BufRead::lines);
    lines.map_while(Result::ok).collect::<Vec<_>>().join("\n")
}
