//! With a Unix socket, which runs programs and has no memberships: each question about one is an error.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;

use super::*;
use crate::sys::Fd;

#[test]
fn a_group_stays_admitted_if_the_kernel_does_not_say_whether_it_is_joined() {
    let socket = Socket { fd: Fd::from(OwnedFd::from(UnixDatagram::unbound().unwrap())) };
    let group = IpAddr::from([239, 1, 2, 3]);
    let index = NonZeroU32::MIN;
    assert!(socket.is_member(group, index).is_err());
    let pass = [Instruction::new(code::RETURN, u32::MAX)];
    assert!(socket.guard(Family::V4, Unicast::Refused, &pass));
    assert_eq!(socket.admit(group, index, true), Ok(Guard::Kept));
    assert_eq!(socket.prune(Family::V4, true), Ok(Guard::Kept));
    assert_eq!(socket.first_entry(Family::V4), Some((group, index.get())));
}
