//! The sockets on the port, of all users.

use std::net::IpAddr;

use super::super::case::Case;
use super::super::evidence::setting;
use super::super::report::{Check, Status, shown};
use super::super::tree::Stage;
use crate::host::sockets::Socket;

/// The file that lists the socket.
const fn file_of(socket: &Socket) -> &'static str {
    match socket.local.ip() {
        IpAddr::V4(_) => "/proc/net/udp",
        IpAddr::V6(_) => "/proc/net/udp6",
    }
}

pub(super) fn port(case: &Case, stage: Stage) -> Check {
    let counter = case.counter("Udp:IgnoredMulti", "Udp6IgnoredMulti");
    let mut check = Check::new("port").counts(case.listening(), counter);
    let takers = case.takers();
    for taker in takers.iter().flatten() {
        check = check.sees(format!("{} {}", file_of(taker), taker.local), case.owner_of(taker));
    }
    let port = case.order.group.port();
    let zero = if case.is_ipv6() { "; or their checksum is 0" } else { "" };
    match (stage, takers) {
        (Stage::Port, _) => check.is(
            Status::Fail,
            format!("The group comes, and no socket takes it: its packets go to another port than {port}, or from a source that is blocked{zero}."),
        ),
        (_, Err(error)) => check.is(Status::Unknown, format!("The sockets cannot be read: {error}.")),
        (_, Ok(takers)) if takers.is_empty() => {
            check.is(Status::Warn, format!("No program is bound to UDP port {port}: start it, or compare the port."))
        }
        (_, Ok(_)) => check.is(Status::Ok, format!("A program is bound to UDP port {port}.")),
    }
}

pub(super) fn buffer(case: &Case, stage: Stage) -> Check {
    let full = case.full_buffers();
    let whole = case.whole();
    let mut check = Check::new("receive-buffer").counts(whole, case.counter("Udp:RcvbufErrors", "Udp6RcvbufErrors"));
    let drops_before = |socket: &Socket| {
        let before = case.start.sockets.as_ref().ok()?.iter().find(|before| before.inode == socket.inode)?;
        Some(before.drops)
    };
    let takers = match case.takers() {
        Ok(takers) => takers,
        Err(error) => return check.is(Status::Unknown, format!("The sockets cannot be read: {error}.")),
    };
    for taker in &takers {
        let what = format!("{} {} drops of {}", file_of(taker), taker.local, case.owner_of(taker));
        check = check.saw(what, shown(drops_before(taker)), taker.drops);
    }
    let limit = setting("net/core/rmem_max");
    check = check.sees("/proc/sys/net/core/rmem_max", shown(limit));
    match full.first() {
        Some((socket, drops)) => {
            let owner = case.owner_of(socket);
            let status = if stage == Stage::Buffer { Status::Fail } else { Status::Warn };
            check.is(status, format!("The receive buffer of {owner} was full for {drops} packets: read faster, or set a larger SO_RCVBUF there."))
        }
        None if whole.grown("Udp:RcvbufErrors").is_none() => {
            check.is(Status::Unknown, "The kernel does not count full buffers.")
        }
        None => check.is(Status::Ok, "No receive buffer on the port was full."),
    }
}

pub(super) fn unicast(case: &Case, _: Stage) -> Check {
    let mut check = Check::new("unicast");
    let takers = match case.takers() {
        Ok(takers) => takers,
        Err(error) => return check.is(Status::Unknown, format!("The sockets cannot be read: {error}.")),
    };
    let wildcard: Vec<_> = takers.iter().filter(|taker| taker.is_wildcard_for(case.address())).collect();
    for taker in &wildcard {
        check = check.sees(format!("{} {}", file_of(taker), taker.local), case.owner_of(taker));
    }
    let same_user = wildcard.iter().any(|one| wildcard.iter().any(|other| one.inode != other.inode && one.uid == other.uid));
    match wildcard.len() {
        0 | 1 => check.is(Status::Ok, "No two programs share the port in a way that one takes the other's unicast."),
        _ if same_user => check.is(
            Status::Warn,
            "Sockets of one user share the port: one takes all unicast, and with SO_REUSEPORT also multicast of the others; bind to the group.",
        ),
        _ => check.is(Status::Warn, "Programs share the port: one of them takes all unicast; bind to the group, or ask from another port."),
    }
}
