//! What the machine says at one moment, and what has changed between two moments.

use std::net::IpAddr;

use crate::host::counters::Counters;
use crate::host::groups::{self, HardwareAddress, Joined};
use crate::host::links::{self, Address, Forwarded, Link, Queue, Traffic};
use crate::host::netlink::Netlink;
use crate::host::sockets::{self, Socket};

/// What could be read, or why it could not.
pub(super) type Told<T> = Result<T, String>;

/// What the machine says at one moment.
pub(super) struct Snapshot {
    pub(super) counters: Counters,
    pub(super) links: Told<Vec<Link>>,
    pub(super) addresses: Told<Vec<Address>>,
    pub(super) queues: Told<Vec<Queue>>,
    pub(super) forwarded: Told<Vec<Forwarded>>,
    pub(super) joined: Told<Vec<Joined>>,
    pub(super) hardware: Told<Vec<HardwareAddress>>,
    pub(super) sockets: Told<Vec<Socket>>,
    /// Of the tracker of connections: how many there are.
    pub(super) connections: Option<u64>,
    /// What this host routes, if it is a multicast router: the text of `ip_mr_cache` or `ip6_mr_cache`.
    pub(super) routed: Option<String>,
}

impl Snapshot {
    /// Reads everything. `interface` is the one that matters.
    pub(super) fn take(netlink: &mut Told<Netlink>, interface: &str, is_ipv6: bool) -> Self {
        // Counters first: what follows takes time.
        let counters = Counters::read(interface);
        Self {
            counters,
            links: ask(netlink, "RTM_GETLINK", links::links),
            addresses: ask(netlink, "RTM_GETADDR", links::addresses),
            queues: ask(netlink, "RTM_GETQDISC", links::queues),
            forwarded: ask(netlink, "RTM_GETMDB", links::forwarded),
            joined: groups::joined(),
            hardware: groups::hardware_addresses(),
            sockets: sockets::sockets(),
            routed: std::fs::read_to_string(if is_ipv6 { "/proc/net/ip6_mr_cache" } else { "/proc/net/ip_mr_cache" }).ok(),
            connections: setting("net/netfilter/nf_conntrack_count").and_then(|count| count.parse().ok()),
        }
    }

    pub(super) fn link(&self, index: u32) -> Option<&Link> {
        self.links.as_ref().ok()?.iter().find(|link| link.index == index)
    }

    pub(super) fn traffic(&self, index: u32) -> Option<Traffic> {
        self.link(index)?.traffic
    }

    /// Whether somebody has joined the group on the interface; `None` if that cannot be read.
    pub(super) fn is_joined(&self, group: IpAddr, index: u32) -> Option<bool> {
        let joined = self.joined.as_ref().ok()?;
        Some(joined.iter().any(|joined| joined.group == group && joined.index == index))
    }

    /// What packets passed on their way in that IP did not see: dropped by `clsact` and `ingress`.
    pub(super) fn ingress_drops(&self, index: u32) -> Option<u64> {
        let queues = self.queues.as_ref().ok()?;
        let of_ingress = queues.iter().filter(|queue| queue.index == index && is_ingress(queue));
        Some(of_ingress.filter_map(|queue| queue.drops).fold(0, u64::saturating_add))
    }
}

pub(super) fn is_ingress(queue: &Queue) -> bool {
    matches!(queue.kind.as_str(), "clsact" | "ingress")
}

/// Asks the kernel; an error names the question.
pub(super) fn ask<T>(
    netlink: &mut Told<Netlink>,
    question: &str,
    ask: impl Fn(&mut Netlink) -> Result<T, rustix::io::Errno>,
) -> Told<T> {
    let netlink = netlink.as_mut().map_err(|error| error.clone())?;
    ask(netlink).map_err(|error| format!("{question}: {error}"))
}

/// The value of a kernel setting such as `net/ipv4/igmp_max_msf`; `None` if it cannot be read.
pub(super) fn setting(name: &str) -> Option<String> {
    std::fs::read_to_string(format!("/proc/sys/{name}")).ok().map(|text| text.trim().to_owned())
}

/// The value of a kernel setting of an interface, such as `rp_filter`.
pub(super) fn setting_of(family: &str, interface: &str, name: &str) -> Option<String> {
    // The file system takes any name that an interface can have.
    setting(&format!("net/{family}/conf/{interface}/{name}"))
}

/// What has changed from one moment to another.
#[derive(Clone, Copy)]
pub(super) struct Span<'s> {
    pub(super) before: &'s Snapshot,
    pub(super) after: &'s Snapshot,
}

impl Span<'_> {
    /// How much a counter has grown; `None` if the kernel does not have it.
    pub(super) fn grown(&self, counter: &str) -> Option<u64> {
        difference(self.before.counters.of(counter), self.after.counters.of(counter))
    }

    /// The same of the interface's own counters.
    pub(super) fn grown_here(&self, counter: &str) -> Option<u64> {
        difference(self.before.counters.of_interface(counter), self.after.counters.of_interface(counter))
    }

    /// How much a figure of an interface has grown.
    pub(super) fn traffic(&self, index: u32, figure: impl Fn(&Traffic) -> u64) -> Option<u64> {
        let (before, after) = (self.before.traffic(index)?, self.after.traffic(index)?);
        Some(figure(&after).saturating_sub(figure(&before)))
    }

    /// How many packets each socket has dropped that was there all the time.
    pub(super) fn drops(&self) -> Vec<(Socket, u64)> {
        let (Ok(before), Ok(after)) = (&self.before.sockets, &self.after.sockets) else { return Vec::new() };
        let drops = |after: &Socket| {
            let before = before.iter().find(|before| before.inode == after.inode && after.inode != 0);
            // A socket that was opened since has dropped all of them since.
            let drops = after.drops.saturating_sub(before.map_or(0, |before| before.drops));
            (drops > 0).then(|| (after.clone(), drops))
        };
        after.iter().filter_map(drops).collect()
    }
}

fn difference(before: Option<u64>, after: Option<u64>) -> Option<u64> {
    // One that was set back counts as not grown.
    Some(after?.saturating_sub(before?))
}
