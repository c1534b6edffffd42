//! Asks the kernel over rtnetlink, and reads its answers (`rtnetlink(7)`).

use core::num::NonZeroU32;

use linux_raw_sys::net::{AF_NETLINK, SOCK_DGRAM, SOL_NETLINK};
use linux_raw_sys::netlink::{NETLINK_GET_STRICT_CHK, NETLINK_ROUTE};
use rustix::net::SendFlags;

use super::netlink::{Answer, Message, Question};
use crate::address::Address;
use crate::error::Errno;
use crate::sys::{self, Fd};

/// The buffer for one read of an answer: the kernel writes lists in pieces of at most this size, unless an interface alone needs more.
/// It is `NLMSG_GOODSIZE`: at most 8 KiB, of which the kernel uses 320 bytes or more itself (`skb_shared_info`).
pub(crate) const PIECE: usize = 8192 - 320;
/// The buffer for the answer about one interface. What follows after these bytes is not needed.
pub(crate) const ONE_LINK: usize = 2048;
/// The most pieces of a list that are read: about 100,000 addresses.
const PIECES: usize = 1000;
/// How often a list is requested if it changes while it is read.
const ATTEMPTS: u32 = 10;

/// Sends a question to the kernel, and calls `is_enough` with each message of the answer until it returns true. A list that
/// changes while it is read is requested again, so some messages may come twice.
///
/// [`Errno::TOO_LONG`] means that a list is not whole: the kernel had no room for an entry, or a piece was longer than `ROOM`.
pub(super) fn ask<const ROOM: usize>(
    question: &Question,
    is_enough: &mut dyn FnMut(Message<'_>) -> bool,
) -> Result<(), Errno> {
    let mut buffer = [0; ROOM];
    again_if_interrupted(&mut || {
        let socket = open()?;
        if question.is_strict {
            // A kernel that does not know it answers more.
            let _ = sys::setsockopt_int(&socket, SOL_NETLINK, NETLINK_GET_STRICT_CHK, 1);
        }
        // An unconnected netlink socket sends to port 0: the kernel, which answers before the call returns.
        rustix::net::send(&socket, question.as_bytes(), SendFlags::empty())?;
        read_answer(&socket, &mut buffer, is_enough)
    })
}

/// A socket for questions. Where a sandbox does not allow it, the error is always the same.
pub(crate) fn open() -> Result<Fd, Errno> {
    match sys::socket(AF_NETLINK, SOCK_DGRAM, NETLINK_ROUTE) {
        Err(Errno::NOT_PERMITTED | Errno::NO_ACCESS) => Err(Errno::NO_FAMILY),
        result => result,
    }
}

fn again_if_interrupted(once: &mut dyn FnMut() -> Result<(), Errno>) -> Result<(), Errno> {
    for _ in 0..ATTEMPTS {
        match once() {
            Err(Errno::INTERRUPTED) => {}
            result => return result,
        }
    }
    Err(Errno::INTERRUPTED)
}

// Out of line and with a `dyn`, so that all questions share one copy.
fn read_answer(socket: &Fd, buffer: &mut [u8], is_enough: &mut dyn FnMut(Message<'_>) -> bool) -> Result<(), Errno> {
    for _ in 0..PIECES {
        let mut from = Address::EMPTY;
        let length = match sys::recvfrom(socket, buffer, &mut from) {
            Err(Errno::INTERRUPTED) => continue,
            other => other?,
        };
        // Any process may send to this socket.
        if from.netlink_port() != 0 {
            continue;
        }
        let mut rest = buffer.get(..length).unwrap_or(buffer);
        while let Some((message, after)) = Message::first(rest) {
            rest = after;
            match message.end() {
                Some(Answer::Failed(errno)) => return Err(errno),
                Some(_) => return Ok(()),
                None if is_enough(message) => return Ok(()),
                None => {}
            }
        }
        if length > buffer.len() {
            return Err(Errno::TOO_LONG);
        }
    }
    Err(Errno::PROTOCOL)
}

/// Calls `is_enough` with each interface, until it returns true. Also if the description of one alone does not fit into an answer, as
/// that of one with 90 long alternative names.
pub(super) fn each_link(is_enough: &mut dyn FnMut(Answer) -> bool) -> Result<(), Errno> {
    let listed = ask::<PIECE>(&Question::links(), &mut |message| message.link().is_some_and(&mut *is_enough));
    match listed {
        Err(Errno::TOO_LONG) => each_link_alone(is_enough),
        result => result,
    }
}

/// As [`each_link`], but asks about one interface at a time: so no answer about one hides another one.
#[cold]
fn each_link_alone(is_enough: &mut dyn FnMut(Answer) -> bool) -> Result<(), Errno> {
    let mut result = Ok(());
    ask::<PIECE>(&Question::counters(), &mut |message| {
        let Some(Answer::Counters { interface }) = message.counters() else { return false };
        match NonZeroU32::new(interface).map(link_of) {
            Some(Ok(Some(link))) => is_enough(link),
            Some(Err(errno)) => {
                result = Err(errno);
                true
            }
            _ => false,
        }
    })?;
    result
}

/// The interface of this index; `None` if there is none.
pub(crate) fn link_of(index: NonZeroU32) -> Result<Option<Answer>, Errno> {
    let mut found = None;
    match ask::<ONE_LINK>(&Question::link_of(index), &mut |message| {
        found = message.link();
        found.is_some()
    }) {
        Err(Errno::NO_DEVICE) => Ok(None),
        result => result.map(|()| found),
    }
}

// Without `std`, descriptors have another type.
#[cfg(all(test, feature = "std"))]
mod tests;
