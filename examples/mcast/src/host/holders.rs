//! Who holds a membership: which sockets have joined a group on an interface.
//!
//! Linux lists groups and sockets, and not which belong together. A socket that is bound to the group names itself. Of the others, each
//! that takes all groups may have joined. For an exact answer the socket itself must be asked, which works with a second descriptor of it
//! (`pidfd_getfd(2)`): for the sockets of the same user where the system allows it, for all with `CAP_SYS_PTRACE`.

use std::fs::File;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::num::NonZeroU32;
use std::os::unix::fs::MetadataExt;

use multicast::{Group, Interface, Membership};
use rustix::net::AddressFamily;
use rustix::net::sockopt::socket_domain;
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};

use super::groups::Joined;
use super::owners::{Owners, Process};
use super::sockets::{Kind, Socket, raw_sockets, sockets};

/// What is known about a socket and a membership.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Certainty {
    /// The socket was asked, and has joined.
    Exact,
    /// It is bound to the group. `Some(false)`: it was asked, and has not joined, but hears what others have joined.
    Bound { has_joined: Option<bool> },
    /// It takes all groups, and may have joined this one.
    Candidate,
}

/// A socket that holds a membership, or may.
#[derive(Debug)]
pub(crate) struct Holder<'c> {
    pub(crate) certainty: Certainty,
    pub(crate) socket: &'c Socket,
    /// The processes that have it. None if that is not known.
    pub(crate) processes: Vec<&'c Process>,
}

/// All sockets that may hold memberships, and their answers.
pub(crate) struct Census {
    sockets: Vec<Counted>,
    owners: Owners,
    /// Every socket was asked about every membership.
    pub(crate) is_exact: bool,
}

struct Counted {
    socket: Socket,
    /// For each membership: whether it has joined, if it could be asked.
    answers: Vec<Option<bool>>,
}

impl Census {
    /// Asks all sockets of this host about these memberships.
    #[inline(never)]
    pub(crate) fn take(memberships: &[Joined]) -> Result<Self, String> {
        let mut found = sockets()?;
        found.extend(raw_sockets()?);
        // After the sockets: the processes that have them are then still there, or the sockets are closed.
        let owners = Owners::look()?;
        let mut counted = Vec::with_capacity(found.len());
        let mut is_exact = owners.is_complete;
        for socket in found {
            // Each of them has the same socket, and may have ended since.
            let copy = owners.of(socket.inode).find_map(|process| second_descriptor(process, socket.inode));
            let ask = |joined: &Joined| match &copy {
                _ if !may_join(&socket, joined.group) => Some(false),
                Some(copy) => has_joined(copy, joined),
                // No process has it, so none joined with it.
                None => (socket.inode == 0).then_some(false),
            };
            let answers = memberships.iter().map(ask).collect::<Vec<_>>();
            is_exact &= !answers.contains(&None);
            counted.push(Counted { socket, answers });
        }
        let is_found = |(place, joined): (usize, &Joined)| {
            let found = counted.iter().filter(|counted| counted.answers.get(place) == Some(&Some(true))).count();
            joined.is_of_the_kernel() || found as u64 >= joined.users
        };
        if !memberships.iter().enumerate().all(is_found) {
            let without_a_port = without_a_port(&owners, &counted, memberships);
            counted.extend(without_a_port);
        }
        Ok(Self { sockets: counted, owners, is_exact })
    }

    /// The holders of the membership at this place, the surest first.
    #[inline(never)]
    pub(crate) fn holders(&self, place: usize, joined: &Joined) -> Vec<Holder<'_>> {
        let certainty = |socket: &Socket, answers: &[Option<bool>]| {
            let has_joined = answers.get(place).copied().flatten();
            match has_joined {
                Some(true) => Some(Certainty::Exact),
                _ if socket.is_bound_to(joined.group, joined.index) => Some(Certainty::Bound { has_joined }),
                // The kernel's own have no holders.
                None if joined.is_of_the_kernel() => None,
                None if socket.is_wildcard_for(joined.group, joined.index) => Some(Certainty::Candidate),
                _ => None,
            }
        };
        let mut holders = Vec::new();
        for Counted { socket, answers } in &self.sockets {
            if let Some(certainty) = certainty(socket, answers) {
                holders.push(Holder { certainty, socket, processes: self.owners.of(socket.inode).collect() });
            }
        }
        // If all who joined are found, the others have not.
        let exact = holders.iter().filter(|holder| holder.certainty == Certainty::Exact).count();
        if exact as u64 >= joined.users {
            holders.retain(|holder| holder.certainty != Certainty::Candidate);
        }
        holders.sort_by_key(|holder| match holder.certainty {
            Certainty::Exact => 0,
            Certainty::Bound { .. } => 1,
            Certainty::Candidate => 2,
        });
        holders
    }
}

/// Sockets that have joined without being bound, which the kernel does not list. They receive nothing: some programs use them to make a
/// group come to this host.
#[inline(never)]
fn without_a_port(owners: &Owners, listed: &[Counted], memberships: &[Joined]) -> Vec<Counted> {
    let Ok(own_namespace) = std::fs::read_link("/proc/self/ns/net") else { return Vec::new() };
    let mut seen = listed.iter().map(|counted| counted.socket.inode).collect::<Vec<_>>();
    seen.sort_unstable();
    let mut found = Vec::new();
    // Interfaces elsewhere have other indexes.
    let mut last = (0, false);
    let mut is_here = |pid| {
        if last.0 != pid {
            let namespace = std::fs::read_link(format!("/proc/{pid}/ns/net"));
            last = (pid, namespace.is_ok_and(|namespace| namespace == own_namespace));
        }
        last.1
    };
    for (inode, process) in owners.all() {
        let Err(place) = seen.binary_search(&inode) else { continue };
        if !is_here(process.pid) {
            continue;
        }
        let Some(socket) = second_descriptor(process, inode) else { continue };
        seen.insert(place, inode);
        let Some(local) = address_of(&socket) else { continue };
        let answers = memberships.iter().map(|joined| has_joined(&socket, joined)).collect::<Vec<_>>();
        if answers.contains(&Some(true)) {
            let uid = socket.metadata().map_or(u32::MAX, |socket| socket.uid());
            let remote = SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), 0);
            let socket = Socket { kind: Kind::Other, local, remote, uid, inode, drops: 0, queued: 0, details: None };
            found.push(Counted { socket, answers });
        }
    }
    found
}

impl Joined {
    /// Whether only the kernel itself has joined: it does so on every interface.
    pub(crate) fn is_of_the_kernel(&self) -> bool {
        match self.group {
            IpAddr::V4(group) => self.users == 1 && group.octets() == [224, 0, 0, 1],
            IpAddr::V6(group) => match group.segments() {
                [0xff01 | 0xff02, 0, 0, 0, 0, 0, 0, 1] => self.users == 1,
                // One for the end of each of its own addresses.
                [0xff02, 0, 0, 0, 0, 1, high, _] => high >> 8 == 0xff,
                _ => false,
            },
        }
    }
}

/// Whether a socket can have joined the group, whatever it is bound to.
fn may_join(socket: &Socket, group: IpAddr) -> bool {
    match group {
        // IPv6 sockets can join groups of IPv4, raw ones not.
        IpAddr::V4(_) => socket.local.is_ipv4() || socket.kind == Kind::Udp,
        IpAddr::V6(_) => socket.local.is_ipv6(),
    }
}

/// A second descriptor of another process's socket. It is a file only by its type: nothing is read from it.
#[inline(never)]
fn second_descriptor(process: &Process, inode: u64) -> Option<File> {
    let pid = Pid::from_raw(process.pid.try_into().ok()?)?;
    let descriptor = process.descriptor.try_into().ok()?;
    let of = pidfd_open(pid, PidfdFlags::empty()).ok()?;
    let copy = File::from(pidfd_getfd(of, descriptor, PidfdGetfdFlags::empty()).ok()?);
    // The number may be another descriptor's by now.
    (copy.metadata().ok()?.ino() == inode).then_some(copy)
}

/// Whether the socket has joined. `None` if it does not tell.
fn has_joined(socket: &File, joined: &Joined) -> Option<bool> {
    // The port is not compared.
    let group = Group::new(joined.group, 1).ok()?;
    let on = Interface::Index(NonZeroU32::new(joined.index)?);
    Membership::any(group).on(on).is_held_by(socket).ok()
}

/// The address of an internet socket.
fn address_of(socket: &File) -> Option<SocketAddr> {
    match socket_domain(socket) {
        Ok(AddressFamily::INET | AddressFamily::INET6) => SocketAddr::try_from(rustix::net::getsockname(socket).ok()?).ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, UdpSocket};
    use std::os::fd::AsRawFd;

    use rustix::net::SocketType;

    use super::*;
    use crate::host::groups::joined;

    fn inode(socket: &impl AsRawFd) -> u64 {
        std::fs::metadata(format!("/proc/self/fd/{}", socket.as_raw_fd())).unwrap().ino()
    }

    /// The membership in this group on `lo`, and the holders among these sockets.
    fn holders_of(group: Ipv4Addr, sockets: &[u64]) -> Vec<(u64, Certainty)> {
        let joined = joined().unwrap().into_iter().filter(|joined| joined.group == group).collect::<Vec<_>>();
        let census = Census::take(&joined).unwrap();
        let holders = census.holders(0, joined.first().unwrap());
        let ours = holders.iter().filter(|holder| sockets.contains(&holder.socket.inode));
        ours.map(|holder| {
            assert!(holder.processes.iter().any(|process| process.pid == std::process::id()));
            (holder.socket.inode, holder.certainty)
        })
        .collect()
    }

    #[test]
    fn a_socket_that_can_be_asked_is_a_holder_only_if_it_has_joined() {
        let [a, b, ..] = std::process::id().to_ne_bytes();
        let group = Ipv4Addr::new(239, 77, a, b);
        let joins = UdpSocket::bind("0.0.0.0:0").unwrap();
        joins.join_multicast_v4(&group, &Ipv4Addr::LOCALHOST).unwrap();
        let other = UdpSocket::bind("0.0.0.0:0").unwrap();
        let bound = UdpSocket::bind((group, 0)).unwrap();
        let without_a_port = rustix::net::socket(AddressFamily::INET, SocketType::DGRAM, None).unwrap();
        let without_a_port = UdpSocket::from(without_a_port);
        without_a_port.join_multicast_v4(&group, &Ipv4Addr::LOCALHOST).unwrap();
        let sockets = [&joins, &other, &bound, &without_a_port].map(inode);
        let expected = [
            (inode(&joins), Certainty::Exact),
            (inode(&without_a_port), Certainty::Exact),
            (inode(&bound), Certainty::Bound { has_joined: Some(false) }),
        ];
        assert_eq!(holders_of(group, &sockets), expected);
        bound.join_multicast_v4(&group, &Ipv4Addr::LOCALHOST).unwrap();
        joins.leave_multicast_v4(&group, &Ipv4Addr::LOCALHOST).unwrap();
        let expected = [(inode(&bound), Certainty::Exact), (inode(&without_a_port), Certainty::Exact)];
        assert_eq!(holders_of(group, &sockets), expected);
    }

    #[test]
    fn the_kernels_own_memberships_are_known() {
        let joined = |group: &str, users| {
            let group = group.parse().unwrap();
            Joined { index: 1, interface: "lo".to_owned(), group, users, version: None }.is_of_the_kernel()
        };
        assert!(joined("224.0.0.1", 1) && joined("ff02::1", 1) && joined("ff01::1", 1) && joined("ff02::1:ff00:2", 3));
        assert!(!joined("224.0.0.1", 2) && !joined("224.0.0.251", 1) && !joined("ff02::1", 2) && !joined("ff02::fb", 1));
    }
}
