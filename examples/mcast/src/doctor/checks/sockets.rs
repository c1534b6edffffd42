//! The sockets on the port, of all users.

use std::net::IpAddr;

use super::super::case::Case;
use super::super::evidence::setting;
use super::super::report::{Check, Status};
use super::super::tree::Stage;
use super::blamed;
use crate::host::sockets::Socket;

/// Where the socket is listed.
fn place_of(socket: &Socket) -> String {
    let file = match socket.local.ip() {
        _ if socket.details.is_some() => "sock_diag ",
        IpAddr::V4(_) => "/proc/net/udp ",
        IpAddr::V6(_) => "/proc/net/udp6 ",
    };
    file.to_owned() + &socket.local.to_string()
}

pub(super) fn port(case: &Case, stage: Stage, check: &mut Check) {
    check.counts(case.listening(), case.counter("Udp:IgnoredMulti", "Udp6IgnoredMulti"));
    let takers = case.takers();
    for taker in takers.iter().flatten() {
        check.sees(&place_of(taker), &case.owner_of(taker));
    }
    match takers {
        _ if stage == Stage::Port && case.is_ipv6() => check.is(
            Status::Fail,
            "The group comes, and no socket takes it: its packets go to another port than {port}, come from a blocked source, or have no checksum.",
        ),
        _ if stage == Stage::Port => check.is(
            Status::Fail,
            "The group comes, and no socket takes it: its packets go to another port than {port}, or come from a blocked source.",
        ),
        Err(error) => check.is_of(Status::Unknown, "The sockets cannot be read: {}.", &error),
        Ok(_) if case.deaf.is_some() => check.is(
            Status::Warn,
            "A program holds UDP port {port} and does not share it, so no other can listen: set SO_REUSEADDR there.",
        ),
        Ok(takers) if takers.is_empty() => {
            check.is(Status::Warn, "No program is bound to UDP port {port}: start it, or compare the port.");
        }
        Ok(_) => check.is(Status::Ok, "A program is bound to UDP port {port}."),
    }
}

pub(super) fn buffer(case: &Case, stage: Stage, check: &mut Check) {
    let counter = case.counter("Udp:RcvbufErrors", "Udp6RcvbufErrors");
    check.counts(case.whole(), counter);
    let takers = match case.takers() {
        Ok(takers) => takers,
        Err(error) => return check.is_of(Status::Unknown, "The sockets cannot be read: {}.", &error),
    };
    for taker in &takers {
        let before =
            case.start.sockets.as_ref().ok().and_then(|sockets| sockets.iter().find(|before| before.inode == taker.inode));
        let what = [place_of(taker), " drops of ".to_owned(), case.owner_of(taker)].concat();
        check.saw_number(&what, before.map(|before| before.drops), Some(taker.drops));
        if let Some(details) = &taker.details {
            check.sees("its receive buffer, in bytes", &details.buffer);
        }
    }
    check.sees_setting("net/core/rmem_max", setting("net/core/rmem_max").as_deref());
    match case.full_buffers().first() {
        Some((socket, _)) => check.is_of(
            blamed(stage == Stage::Buffer),
            "The receive buffer of {} was full: read faster, or set a larger SO_RCVBUF there.",
            &case.owner_of(socket),
        ),
        None if case.whole().grown(counter).is_none() => {
            check.is(Status::Unknown, "The kernel does not count full buffers.")
        }
        None => check.is(Status::Ok, "No receive buffer on the port was full."),
    }
}

pub(super) fn unicast(case: &Case, _: Stage, check: &mut Check) {
    let takers = match case.takers() {
        Ok(takers) => takers,
        Err(error) => return check.is_of(Status::Unknown, "The sockets cannot be read: {}.", &error),
    };
    let wildcard: Vec<_> = takers.iter().filter(|taker| taker.is_wildcard_for(case.address(), case.place.index)).collect();
    for taker in &wildcard {
        check.sees(&place_of(taker), &case.owner_of(taker));
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
