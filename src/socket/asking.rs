//! Asking the kernel what a socket is a member of (RFC 3678, `ip(7)`).

use core::net::IpAddr;
use core::num::NonZeroU32;

use linux_raw_sys::net as linux;
use rustix::fd::AsFd;

use super::{IP, IPV6};
use crate::address::{Address, put};
use crate::error::{Errno, Error, Operation, Result};
use crate::group::{Interface, Membership};
use crate::{route, sys};

/// The offset of the group's address in a `group_req` and similar structures: after the interface's index, aligned as a pointer.
const GROUP_AT: usize = size_of::<usize>();
/// The size of a `sockaddr_storage`.
const STORAGE: usize = 128;
/// The size of a `group_req`, and the offset of the source in a `group_source_req`.
pub(super) const REQUEST: usize = GROUP_AT + STORAGE;
/// The size of a `group_source_req`.
pub(super) const SOURCE_REQUEST: usize = REQUEST + STORAGE;
/// The size of a `group_filter` without sources: a `group_req`, the mode, and the number of sources.
const FILTER: usize = (REQUEST + 8).next_multiple_of(size_of::<usize>());

/// How often a question that the kernel did not answer is asked again.
const TRIES: u32 = 3;

/// How a socket has joined a group on an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hears {
    /// From any source, except blocked ones.
    Any,
    /// From named sources.
    Named,
}

impl Membership {
    /// Whether this socket has joined the group on this interface, asked of the kernel (`MCAST_MSFILTER`, RFC 3678). Nothing about the
    /// socket changes, so it may be anybody's: a second descriptor of another program's socket (`pidfd_getfd(2)`), for example.
    ///
    /// Only the group's address and the interface are compared, not the port, nor the source. With [`Interface::All`], a
    /// membership on any interface counts. A socket of another network namespace has interfaces of its own, and their indexes say
    /// nothing about those of this one.
    ///
    /// # Errors
    /// Those of [`Interface::index`]; and what the kernel returns for a descriptor that is no socket, or an IPv4 socket that is asked
    /// for an IPv6 group. An error is no answer.
    ///
    /// ```no_run
    /// # use multicast::{Interface, Listener, Membership};
    /// let membership = Membership::any("239.1.2.3:5000".parse()?).on(Interface::LOOPBACK);
    /// let listener = Listener::bind(membership)?;
    /// assert!(membership.is_held_by(&listener)?);
    /// # Ok::<(), multicast::Error>(())
    /// ```
    #[doc(alias = "MCAST_MSFILTER")]
    pub fn is_held_by(&self, socket: &impl AsFd) -> Result<bool> {
        let group = self.group().address();
        let is_member = |index| match hears(socket, group, index) {
            Ok(hears) => Ok(hears.is_some()),
            Err(errno) => Err(Error::system(Operation::Resolve, self.object(), errno)),
        };
        if self.interface() != Interface::All {
            return is_member(route::index_of_any(None, group, self.interface(), Operation::Resolve)?);
        }
        let mut found = false;
        route::each_interface(Operation::Resolve, |link| {
            found |= is_member(link.index)?;
            Ok(())
        })?;
        Ok(found)
    }
}

/// How this socket has joined the group on the interface; `None` if it has not.
pub(super) fn hears(socket: &impl AsFd, group: IpAddr, interface: NonZeroU32) -> core::result::Result<Option<Hears>, Errno> {
    let mut question = [0; FILTER];
    let mut tries = TRIES;
    let length = loop {
        fill(&mut question, group, interface.get());
        match sys::getsockopt(socket, level(group), linux::MCAST_MSFILTER, &mut question) {
            Ok(length) => break length,
            // Older kernels look for the interface first.
            Err(Errno::NOT_AVAILABLE | Errno::NO_DEVICE) => return Ok(None),
            // Most often memory is short for a moment.
            Err(errno) if tries == 0 => return Err(errno),
            Err(_) => tries = tries.saturating_sub(1),
        }
    };
    let mode = question.get(REQUEST..length).and_then(|mode| mode.first_chunk::<4>()).ok_or(Errno::PROTOCOL)?;
    let is_named = u32::from_ne_bytes(*mode) == linux::MCAST_INCLUDE;
    Ok(Some(if is_named { Hears::Named } else { Hears::Any }))
}

pub(super) const fn level(group: IpAddr) -> u32 {
    match group {
        IpAddr::V4(_) => IP,
        IpAddr::V6(_) => IPV6,
    }
}

/// Writes interface and group: all these structures begin with them.
pub(super) fn fill(bytes: &mut [u8], group: IpAddr, index: u32) {
    put(bytes, 0, &index.to_ne_bytes());
    put(bytes, GROUP_AT, Address::of(group).as_bytes());
}
