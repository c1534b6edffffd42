//! All that the doctor knows of one case: what was asked, what the machine said before and after, and what was tried.

use std::net::IpAddr;
use std::time::Duration;

use multicast::{ErrorKind, Group, Interface};
use rustix::io::Errno;

use super::ears::{Heard, Looped};
use super::evidence::{Snapshot, Span, Told};
use crate::host::groups::Source;
use crate::host::links::Link;
use crate::host::owners::Owners;
use crate::host::routes::Way;
use crate::host::rules::Chain;
use crate::host::sockets::Socket;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    /// Why does nothing arrive?
    From,
    /// Why does nothing leave?
    To,
}

/// What was asked.
pub(super) struct Order {
    pub(super) direction: Direction,
    pub(super) group: Group,
    pub(super) source: Option<IpAddr>,
    pub(super) interface: Interface,
    pub(super) time: Duration,
}

/// The interface that the order means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// 0 if there is none.
    pub(super) index: u32,
    pub(super) name: String,
}

/// What the kernel would do with packets that it does not have.
#[derive(Default)]
pub(super) struct Ways {
    /// Where would a packet to the group leave, if no interface was named?
    pub(super) unnamed: Option<Result<Way, Errno>>,
    /// The same by this interface.
    pub(super) out: Option<Result<Way, Errno>>,
    /// Would it take one from the sender? And from a neighbour on the interface's own network?
    pub(super) sender: Option<Result<Way, Errno>>,
    pub(super) neighbour: Option<Result<Way, Errno>>,
}

pub(super) struct Case {
    pub(super) order: Order,
    pub(super) place: Place,
    pub(super) start: Snapshot,
    /// Before the doctor joined, and after. Packets that come between are of neither time.
    pub(super) join: Snapshot,
    pub(super) listen: Snapshot,
    pub(super) end: Snapshot,
    pub(super) joined: multicast::Result<()>,
    /// Why the doctor hears nothing, although it joined: a program holds the port and does not share it.
    pub(super) deaf: Option<multicast::Error>,
    pub(super) heard: Heard,
    /// The sockets of the doctor itself, by inode.
    pub(super) own: Vec<u64>,
    /// The packet to itself, and what the machine said before and after it.
    pub(super) looped: Option<(Snapshot, Looped, Snapshot)>,
    /// What came from sources that were not named, if that was tried.
    pub(super) others: Option<Heard>,
    /// What came in on other interfaces, if that was tried.
    pub(super) elsewhere: Vec<(u32, Heard)>,
    /// The sources that programs of this host have named or blocked.
    pub(super) sources: Told<Vec<Source>>,
    pub(super) ways: Ways,
    pub(super) owners: Told<Owners>,
    /// The chains of nftables, which only an administrator can read.
    pub(super) chains: Result<Vec<Chain>, Errno>,
    /// Whether the device coalesces packets (GRO).
    pub(super) coalesces: Told<bool>,
}

impl Case {
    pub(super) fn address(&self) -> IpAddr {
        self.order.group.address()
    }

    pub(super) fn is_ipv6(&self) -> bool {
        self.address().is_ipv6()
    }

    /// The time before the doctor joined, and the time after.
    pub(super) fn quiet(&self) -> Span<'_> {
        Span { before: &self.start, after: &self.join }
    }

    pub(super) fn listening(&self) -> Span<'_> {
        Span { before: &self.listen, after: &self.end }
    }

    /// The time in which the reports of the doctor's membership leave: from before the join on.
    pub(super) fn reporting(&self) -> Span<'_> {
        Span { before: &self.join, after: &self.end }
    }

    pub(super) fn whole(&self) -> Span<'_> {
        Span { before: &self.start, after: &self.end }
    }

    pub(super) fn link(&self) -> Option<&Link> {
        self.end.link(self.place.index)
    }

    pub(super) fn interface_of(&self, index: u32) -> String {
        self.end.link(index).map_or_else(|| format!("interface {index}"), |link| link.name.clone())
    }

    /// The family as the names of settings have it.
    pub(super) fn family(&self) -> &'static str {
        if self.is_ipv6() { "ipv6" } else { "ipv4" }
    }

    /// Whether somebody else had joined the group on the interface.
    pub(super) fn was_joined(&self) -> Option<bool> {
        self.start.is_joined(self.address(), self.place.index)
    }

    /// The interfaces on which others have joined the group.
    pub(super) fn joined_by_others(&self) -> Told<Vec<u32>> {
        let joined = self.start.joined.as_ref().map_err(Clone::clone)?;
        Ok(joined.iter().filter(|joined| joined.group == self.address()).map(|joined| joined.index).collect())
    }

    /// Whether a socket of somebody else takes packets of the group.
    pub(super) fn takes_the_group(&self, socket: &Socket) -> bool {
        let (group, interface) = (self.address(), self.place.index);
        let is_bound = socket.is_bound_to(group, interface) || socket.is_wildcard_for(group, interface);
        socket.local.port() == self.order.group.port() && is_bound && !self.own.contains(&socket.inode)
    }

    /// The sockets of others that take the group.
    pub(super) fn takers(&self) -> Told<Vec<&Socket>> {
        let sockets = self.end.sockets.as_ref().map_err(Clone::clone)?;
        Ok(sockets.iter().filter(|socket| self.takes_the_group(socket)).collect())
    }

    /// Who a socket belongs to, as far as it can be seen.
    pub(super) fn owner_of(&self, socket: &Socket) -> String {
        let process = self.owners.as_ref().ok().and_then(|owners| owners.of(socket.inode).next());
        match process {
            Some(process) => format!("{} (pid {}, fd {})", process.program, process.pid, process.descriptor),
            None => format!("uid {}, inode {}", socket.uid, socket.inode),
        }
    }

    pub(super) fn join_kind(&self) -> Option<ErrorKind> {
        self.joined.as_ref().err().map(multicast::Error::kind)
    }

    /// What the doctor's own packet to itself moved.
    pub(super) fn loop_span(&self) -> Option<Span<'_>> {
        self.looped.as_ref().map(|(before, _, after)| Span { before, after })
    }

    pub(super) fn looped(&self) -> Option<&Looped> {
        self.looped.as_ref().map(|(_, looped, _)| looped)
    }
}
