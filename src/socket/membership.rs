//! Joining and leaving groups (RFC 3678, `ip(7)`).

use core::ffi::CStr;
use core::net::IpAddr;
use core::num::NonZeroU32;

use linux_raw_sys::net as linux;

use super::Socket;
use super::asking::{Hears, REQUEST, SOURCE_REQUEST, fill, hears, level};
use crate::address::{Address, put};
use crate::error::{Errno, Error, ErrorKind, Operation, Result};
use crate::group::{Group, Interface, Membership};
use crate::route::{self, Listed};
use crate::sys;

/// More memberships than a socket can have.
const MEMBERSHIPS: u32 = 10_000;

/// On which interfaces a socket may be a member of a group, beside the one on which it joins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Elsewhere {
    /// On no other one.
    Nowhere,
    /// Nobody knows.
    Anywhere,
}

impl Socket {
    /// The index of the interface that `interface` names for the group. Errors name `operation`.
    // Inlined for the reason that `route::index` has: without it two-listeners is 2,968 bytes larger.
    #[inline(always)]
    pub(crate) fn interface_index(&self, group: Group, interface: Interface, operation: Operation) -> Result<NonZeroU32> {
        route::index_by(&self.fd, group.address(), interface, operation)
    }

    /// The same, for callers that know the interface only when the program runs: see [`route::index_of_any`].
    pub(crate) fn index_of_any(&self, membership: &Membership, operation: Operation) -> Result<NonZeroU32> {
        route::index_of_any(Some(&self.fd), membership.group().address(), membership.interface(), operation)
    }

    /// Joins a group from any source on the interface of this index. The socket must not have joined anything yet: then the join
    /// cannot conflict with another membership or exceed a limit. Errors name `interface`.
    // Inlined: without it two-listeners is 176 bytes larger.
    #[inline(always)]
    pub(crate) fn join_first(&self, group: Group, interface: Interface, index: NonZeroU32) -> Result<()> {
        let mut request = [0; REQUEST];
        fill(&mut request, group.address(), index.get());
        match sys::setsockopt(&self.fd, level(group.address()), linux::MCAST_JOIN_GROUP, &request) {
            Ok(()) => Ok(()),
            Err(errno) => Err(Error::system(Operation::Join, Membership::any(group).on(interface).object(), errno)),
        }
    }

    /// Joins on the interface with this index.
    pub(crate) fn join_on(&self, membership: &Membership, index: NonZeroU32, elsewhere: Elsewhere) -> Result<()> {
        let refused = |errno| Error::system(Operation::Join, membership.object(), errno);
        let before = self.hears(membership.group().address(), index).map_err(refused)?;
        let (option, expected) = match membership.only_source() {
            None => (linux::MCAST_JOIN_GROUP, Hears::Any),
            Some(_) => (linux::MCAST_JOIN_SOURCE_GROUP, Hears::Named),
        };
        // The kernel would change the membership into the other kind, or report success and do nothing.
        if before.is_some_and(|before| before != expected) {
            return Err(Error::new(Operation::Join, membership.object(), ErrorKind::MixedSources));
        }
        // The kernel is asked about each interface of the machine, which takes milliseconds where there are hundreds.
        if before.is_none() && !membership.group().is_ipv4() && elsewhere == Elsewhere::Anywhere {
            self.check_other_interfaces(membership, index, expected)?;
        }
        match self.request(option, membership, membership.only_source(), index.get()) {
            // It is a member already: EADDRINUSE for a group, EADDRNOTAVAIL for a source.
            Ok(()) | Err(Errno::IN_USE) => Ok(()),
            Err(Errno::NOT_AVAILABLE) if before == Some(Hears::Named) => Ok(()),
            Err(errno) => Err(join_error(membership, errno, before)),
        }
    }

    /// Refuses what IPv6 sockets get wrong: of all memberships of a socket in a group, the kernel uses the sources of the latest one,
    /// on whichever interface a packet arrives.
    fn check_other_interfaces(&self, membership: &Membership, index: NonZeroU32, wanted: Hears) -> Result<()> {
        let group = membership.group().address();
        let mut mixes = false;
        // If the kernel does not list its interfaces, joining goes on: what is not known is no reason to refuse.
        let _ = route::each_interface(Operation::Join, |other| {
            let hears = if other.index == index { None } else { self.hears(group, other.index).unwrap_or(None) };
            mixes |= hears.is_some_and(|hears| wanted == Hears::Named || hears == Hears::Named);
            Ok(())
        });
        match mixes {
            true => Err(Error::new(Operation::Join, membership.object(), ErrorKind::SourcesOnOneInterface)),
            false => Ok(()),
        }
    }

    /// Leaves a membership. It does nothing if the socket is not a member.
    pub(crate) fn leave(&self, membership: &Membership) -> Result<()> {
        let group = membership.group().address();
        if membership.interface() == Interface::All {
            // Also where it is down, or no longer meant by `All` for another reason.
            return route::each_interface(Operation::Leave, |on| self.leave_on(membership, on.index.get()));
        }
        match self.index_of_member(membership, Operation::Leave)? {
            Some(index) => self.leave_on(membership, index.get()),
            // With index 0, the kernel finds an IPv6 membership on any interface, and an IPv4 membership by the route, if there is one.
            None if membership.interface() == Interface::Default && group.is_ipv6() => self.leave_on(membership, 0),
            None => Ok(()),
        }
    }

    /// The index of the interface that the membership names. If that is the default one, and the socket is no member there, the route
    /// has moved: then it is the interface on which the socket is a member.
    fn index_of_member(&self, membership: &Membership, operation: Operation) -> Result<Option<NonZeroU32>> {
        let group = membership.group().address();
        let named = self.index_of_any(membership, operation);
        if membership.interface() != Interface::Default {
            return named.map(Some);
        }
        let refused = |errno| Error::system(operation, membership.object(), errno);
        match named {
            Ok(index) if self.hears(group, index).map_err(refused)?.is_some() => return Ok(Some(index)),
            Ok(_) => {}
            Err(error) if route::may_come(error.kind()) || error.kind() == ErrorKind::Denied => {}
            Err(error) => return Err(error),
        }
        let (mut found, mut others) = (None, false);
        route::each_interface(operation, |on| {
            if self.hears(group, on.index).map_err(refused)?.is_some() {
                others |= found.is_some_and(|found| found != on.index);
                found = Some(on.index);
            }
            Ok(())
        })?;
        match others {
            true => Err(Error::new(operation, membership.object(), ErrorKind::InterfaceNeeded)),
            false => Ok(found),
        }
    }

    /// Leaves on the interface with this index.
    fn leave_on(&self, membership: &Membership, index: u32) -> Result<()> {
        let option = match membership.only_source() {
            None => linux::MCAST_LEAVE_GROUP,
            Some(_) => linux::MCAST_LEAVE_SOURCE_GROUP,
        };
        match self.request(option, membership, membership.only_source(), index) {
            Ok(()) | Err(Errno::NOT_AVAILABLE) => Ok(()),
            // The kernel returns this for a source of a group that is not joined.
            Err(Errno::INVALID) if membership.only_source().is_some() => Ok(()),
            Err(errno) => Err(Error::system(Operation::Leave, membership.object(), errno)),
        }
    }

    /// Leaves on the interface with this index, which may no longer exist. A membership on a deleted interface counts toward the
    /// kernel's limit until it is left.
    pub(crate) fn forget(&self, membership: &Membership, index: NonZeroU32) {
        if self.leave_on(membership, index.get()).is_err() {
            // If the interface is gone, sources cannot be left one by one, so the whole group is left. Errors do not matter: it
            // may have left already.
            let _ = self.request(linux::MCAST_LEAVE_GROUP, membership, None, index.get());
        }
    }

    /// Leaves this group wherever it is joined.
    pub(crate) fn leave_everywhere(&self, group: IpAddr) {
        // For IPv6, index 0 means any interface. For IPv4, it means the interface that the route to the group names, if there is one.
        // Bounded, in case another process joins it again.
        for _ in 0..MEMBERSHIPS {
            if self.leave_group(group, 0).is_err() {
                break;
            }
        }
        if group.is_ipv4() {
            // Nobody could handle an error.
            let _ = route::each_interface(Operation::Leave, |on| {
                let _ = self.leave_group(group, on.index.get());
                Ok(())
            });
        }
    }

    /// Leaves this group on the interface of this index.
    pub(crate) fn leave_group(&self, group: IpAddr, index: u32) -> core::result::Result<(), Errno> {
        self.request_for_group(linux::MCAST_LEAVE_GROUP, group, index)
    }

    /// Blocks or unblocks a source of the group.
    pub(crate) fn set_blocked(&self, membership: &Membership, source: IpAddr, blocked: bool) -> Result<()> {
        let (option, operation) = match blocked {
            true => (linux::MCAST_BLOCK_SOURCE, Operation::Block),
            false => (linux::MCAST_UNBLOCK_SOURCE, Operation::Unblock),
        };
        let refused = |kind| Err(Error::new(operation, membership.object(), kind));
        let failed = |errno| Error::system(operation, membership.object(), errno);
        let group = membership.group().address();
        let on_each = |index: NonZeroU32, hears: Option<Hears>| {
            if hears == Some(Hears::Named) || membership.only_source().is_some() {
                return refused(ErrorKind::MixedSources);
            }
            match self.request(option, membership, Some(source), index.get()) {
                // The source was already blocked, or was not blocked.
                Ok(()) => Ok(()),
                Err(Errno::NOT_AVAILABLE) if hears.is_some() => Ok(()),
                Err(Errno::INVALID) if hears.is_none() => refused(ErrorKind::NotJoined),
                Err(errno) if is_limit(errno) => Err(source_limit(operation, membership, errno)),
                Err(errno) => Err(failed(errno)),
            }
        };
        if membership.interface() != Interface::All {
            let Some(index) = self.index_of_member(membership, operation)? else {
                return refused(ErrorKind::NotJoined);
            };
            return on_each(index, self.hears(group, index).map_err(failed)?);
        }
        // Also where it is joined and down: it may be up again later.
        let mut is_joined = false;
        route::each_interface(operation, |Listed { index, is_meant, .. }| {
            let hears = self.hears(group, index).map_err(failed)?;
            is_joined |= hears.is_some();
            if hears.is_some() || is_meant { on_each(index, hears) } else { Ok(()) }
        })?;
        if is_joined { Ok(()) } else { refused(ErrorKind::NotJoined) }
    }

    /// Whether this socket itself is a member of the group on the interface. It asks the kernel, so the answer is right also for
    /// adopted sockets and for interfaces that were created again. An error is no answer.
    pub(crate) fn is_member(&self, group: IpAddr, interface: NonZeroU32) -> core::result::Result<bool, Errno> {
        self.hears(group, interface).map(|hears| hears.is_some())
    }

    /// Whether it is a member of the group on any interface. True if the kernel cannot tell.
    pub(crate) fn is_member_somewhere(&self, group: IpAddr) -> bool {
        let mut is_member = false;
        let asked = route::each_interface(Operation::Open, |link| {
            is_member |= self.is_member(group, link.index).unwrap_or(true);
            Ok(())
        });
        is_member || asked.is_err()
    }

    fn hears(&self, group: IpAddr, interface: NonZeroU32) -> core::result::Result<Option<Hears>, Errno> {
        hears(&self.fd, group, interface)
    }

    /// Whether the kernel says that there is no interface with this index.
    pub(crate) fn is_gone(&self, index: NonZeroU32) -> bool {
        route::is_gone(&self.fd, index)
    }

    fn request(
        &self,
        name: u32,
        membership: &Membership,
        source: Option<IpAddr>,
        index: u32,
    ) -> core::result::Result<(), Errno> {
        let group = membership.group().address();
        match source {
            None => self.request_for_group(name, group, index),
            Some(source) => self.request_for_source(name, group, source, index),
        }
    }

    // Out of line, as the next one: so only one of the two structures is on the stack.
    #[inline(never)]
    fn request_for_group(&self, name: u32, group: IpAddr, index: u32) -> core::result::Result<(), Errno> {
        let mut request = [0; REQUEST];
        fill(&mut request, group, index);
        sys::setsockopt(&self.fd, level(group), name, &request)
    }

    #[inline(never)]
    fn request_for_source(&self, name: u32, group: IpAddr, source: IpAddr, index: u32) -> core::result::Result<(), Errno> {
        let mut request = [0; SOURCE_REQUEST];
        fill(&mut request, group, index);
        put(&mut request, REQUEST, Address::of(source).as_bytes());
        sys::setsockopt(&self.fd, level(group), name, &request)
    }
}

/// Calls `join` with the index of each interface that the membership names. With [`Interface::All`], interfaces that are gone or
/// do not support the family are skipped. If a limit of the kernel is reached after some were joined, it is returned as a value.
pub(crate) fn each_interface_to_join(
    membership: &Membership,
    mut join: impl FnMut(NonZeroU32) -> Result<()>,
) -> Result<Option<Error>> {
    if membership.interface() != Interface::All {
        join(route::index_of_any(None, membership.group().address(), membership.interface(), Operation::Join)?)?;
        return Ok(None);
    }
    let (mut is_joined, mut limit) = (false, None);
    route::each_interface(Operation::Join, |Listed { index, is_meant, .. }| {
        if !is_meant {
            return Ok(());
        }
        match join(index) {
            Ok(()) => is_joined = true,
            Err(error) if matches!(error.kind(), ErrorKind::NoSuchInterface | ErrorKind::NoAddress) => {}
            Err(error) if error.kind() == ErrorKind::LimitReached => limit = Some(error),
            Err(error) => return Err(error),
        }
        Ok(())
    })?;
    match limit {
        limit if is_joined => Ok(limit),
        Some(error) => Err(error),
        None => Err(Error::new(Operation::Join, membership.object(), ErrorKind::NoSuchInterface)),
    }
}

fn is_limit(errno: Errno) -> bool {
    matches!(errno, Errno::NO_BUFFERS | Errno::NO_MEMORY)
}

/// The errno does not tell which limit was reached; the membership before the call does.
#[cold]
fn join_error(membership: &Membership, errno: Errno, before: Option<Hears>) -> Error {
    if !is_limit(errno) {
        return Error::system(Operation::Join, membership.object(), errno);
    }
    if before.is_some() {
        return source_limit(Operation::Join, membership, errno);
    }
    let setting = match membership.group().address() {
        IpAddr::V4(_) => c"/proc/sys/net/ipv4/igmp_max_memberships",
        IpAddr::V6(_) => c"/proc/sys/net/core/optmem_max",
    };
    Error::limit(Operation::Join, membership.object(), ErrorKind::LimitReached, errno, setting_of(setting))
}

#[cold]
fn source_limit(operation: Operation, membership: &Membership, errno: Errno) -> Error {
    let setting = match membership.group().address() {
        IpAddr::V4(_) => c"/proc/sys/net/ipv4/igmp_max_msf",
        IpAddr::V6(_) => c"/proc/sys/net/ipv6/mld_max_msf",
    };
    Error::limit(operation, membership.object(), ErrorKind::SourceLimitReached, errno, setting_of(setting))
}

/// The number in a file of the kernel's settings; 0 if it cannot be read.
pub(super) fn setting_of(path: &CStr) -> u32 {
    let mut text = [0; 16];
    let _ = sys::read_file(path, &mut text);
    let mut number = 0_u32;
    for byte in text {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            break;
        }
        number = number.saturating_mul(10).saturating_add(digit.into());
    }
    number
}
