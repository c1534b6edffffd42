//! Joining and leaving groups, and asking the kernel what a socket is a member of (RFC 3678, `ip(7)`).

use core::net::IpAddr;
use core::num::NonZeroU32;

use linux_raw_sys::net as linux;

use super::{IP, IPV6, Socket};
use crate::error::{Errno, Error, ErrorKind, Operation, Result};
use crate::group::{Interface, Membership};
use crate::route;
use crate::sys::{self, Address};

/// Where the group's address stands in a `group_req` and a `group_filter`: behind the interface's index, aligned as a pointer.
const GROUP_AT: usize = size_of::<usize>();
/// The size of a `sockaddr_storage`.
const STORAGE: usize = 128;
/// The size of a `group_req`.
const REQUEST: usize = GROUP_AT + STORAGE;
/// The size of a `group_filter` without sources: a `group_req`, the mode, and the number of sources.
const FILTER: usize = (REQUEST + 8).next_multiple_of(size_of::<usize>());

impl Socket {
    /// Joins the group on the interface. To have joined it before is fine.
    pub(crate) fn join(&self, membership: &Membership) -> Result<()> {
        let index = route::index(membership.group(), membership.interface(), Operation::Join)?;
        match self.request(linux::MCAST_JOIN_GROUP, membership, index.get()) {
            Ok(()) | Err(Errno::IN_USE) => Ok(()),
            Err(errno) => Err(Error::system(Operation::Join, membership.object(), errno)),
        }
    }

    /// Leaves the group on the interface. Not to be a member is fine.
    pub(crate) fn leave(&self, membership: &Membership) -> Result<()> {
        let index = match route::index(membership.group(), membership.interface(), Operation::Leave) {
            Ok(index) => index.get(),
            // The route by which it was joined is gone: 0 is the membership in this group on whichever interface.
            Err(error) if membership.interface() == Interface::Default && error.kind() == ErrorKind::Unreachable => 0,
            Err(error) => return Err(error),
        };
        match self.request(linux::MCAST_LEAVE_GROUP, membership, index) {
            Ok(()) | Err(Errno::NOT_AVAILABLE) => Ok(()),
            Err(errno) => Err(Error::system(Operation::Leave, membership.object(), errno)),
        }
    }

    /// Whether this socket itself is a member of the group on the interface: the kernel's own word, whatever was joined before
    /// we had the socket, and however often an interface was made anew.
    pub(crate) fn is_member(&self, group: IpAddr, interface: NonZeroU32) -> bool {
        let mut question = [0; FILTER];
        fill(&mut question, group, interface.get());
        sys::getsockopt(&self.fd, level(group), linux::MCAST_MSFILTER, &mut question).is_ok()
    }

    fn request(&self, name: u32, membership: &Membership, index: u32) -> core::result::Result<(), Errno> {
        let group = membership.group().address();
        let mut request = [0; REQUEST];
        fill(&mut request, group, index);
        sys::setsockopt(&self.fd, level(group), name, &request)
    }
}

const fn level(group: IpAddr) -> u32 {
    match group {
        IpAddr::V4(_) => IP,
        IpAddr::V6(_) => IPV6,
    }
}

/// Writes interface and group, with which both structures begin.
fn fill(bytes: &mut [u8], group: IpAddr, index: u32) {
    sys::put(bytes, 0, &index.to_ne_bytes());
    sys::put(bytes, GROUP_AT, Address::of(group).as_bytes());
}
