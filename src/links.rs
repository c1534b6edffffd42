//! Interfaces that appear, disappear and change: [`Links`] reports the changes, [`Memberships`] keeps a listener joined.

mod memberships;

use core::fmt;
use core::net::IpAddr;
use core::num::NonZeroU32;

use linux_raw_sys::net::{AF_NETLINK, SOCK_DGRAM, net_device_flags};
use linux_raw_sys::netlink::{
    NETLINK_ROUTE, RTMGRP_IPV4_IFADDR, RTMGRP_IPV4_ROUTE, RTMGRP_IPV6_IFADDR, RTMGRP_IPV6_ROUTE, RTMGRP_LINK,
};
use rustix::fd::{AsFd, BorrowedFd};
use rustix::net::SendFlags;

pub use memberships::{Applied, Memberships};

use crate::address::Address;
use crate::error::{Errno, Error, Object, Operation, Result};
use crate::group::Name;
use crate::route::netlink::{self, Answer, Question};
use crate::sys::{self, Fd};

/// The buffer for one read: the kernel writes lists in pieces of at most this size (`NLMSG_GOODSIZE`).
const PIECE: usize = 8192;
/// The most reads in one call.
const BUDGET: u32 = 64;

/// A change of an interface, an address or a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Change {
    /// The interface exists: it is listed at the beginning, is new, or was changed (for example its name).
    Link(Link),
    /// The interface with this index was removed. A new one with the same name gets another index.
    Gone {
        /// The index that it had.
        index: NonZeroU32,
        /// The name that it had; `None` where it was not UTF-8.
        name: Option<Name>,
    },
    /// An interface has this address.
    Address {
        /// The index of the interface.
        index: NonZeroU32,
        /// The address.
        address: IpAddr,
    },
    /// An interface no longer has this address.
    AddressGone {
        /// The index of the interface.
        index: NonZeroU32,
        /// The address that it had.
        address: IpAddr,
    },
    /// A route was added or removed: [`Interface::Default`](crate::Interface::Default) may now mean another interface.
    Route,
    /// Changes came faster than they were read, and some are lost. All existing links and addresses are reported again; those
    /// that are not reported no longer exist.
    Overrun,
}

/// An interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Link {
    /// Its index.
    pub index: NonZeroU32,
    /// Its name; `None` where it is not UTF-8.
    pub name: Option<Name>,
    /// Whether it is switched on (`IFF_UP`, `netdevice(7)`).
    pub is_up: bool,
    /// Whether it has a carrier, and can send packets (`IFF_RUNNING`).
    pub is_running: bool,
    /// Whether it supports multicast (`IFF_MULTICAST`).
    pub is_multicast: bool,
}

/// Reports changes of interfaces, their addresses, and routes (`rtnetlink(7)`).
///
/// It first reports the existing interfaces and addresses, then each change. It is a file descriptor: register it with a
/// poller, and whenever it is readable, call [`next`](Self::next) until it returns `None`.
///
/// ```no_run
/// # use multicast::{Events, Group, Interest, Links, ListenOptions, Membership, Memberships, Poller, Token};
/// # let (poller, group) = (Poller::new()?, Group::DEFAULT);
/// # let mut listener = ListenOptions::new().bind::<1500>(Bind::Port(group.port(), group.family()))?;
/// let mut links = Links::watch()?;
/// poller.register(&links, Token(1), Interest::READABLE)?;
///
/// let mut book = Memberships::<4>::new();
/// book.join(Membership::any(group).on("eth0".parse()?), &mut listener)?;
/// // Whenever Token(1) is readable:
/// while let Some(change) = links.next()? {
///     book.apply(&change, &mut listener)?;
/// }
/// # Ok::<(), multicast::Error>(())
/// ```
pub struct Links {
    socket: Fd,
    buffer: [u8; PIECE],
    /// Where in the buffer the next message begins, and where the last one ends.
    next: usize,
    end: usize,
    asked: Asked,
    /// The lists changed after they were requested, so they must be requested again.
    is_stale: bool,
}

/// Which list the kernel is writing for us; it writes one at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    Links,
    Addresses { of_ipv4: bool },
    Nothing,
}

impl Links {
    /// Starts to watch. The existing interfaces and addresses are reported first.
    ///
    /// # Errors
    /// [`ErrorKind::LimitReached`](crate::ErrorKind::LimitReached) if the process has too many open descriptors.
    #[doc(alias = "rtnetlink")]
    pub fn watch() -> Result<Self> {
        let groups = RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR | RTMGRP_IPV4_ROUTE | RTMGRP_IPV6_ROUTE;
        let socket = sys::socket(AF_NETLINK, SOCK_DGRAM, NETLINK_ROUTE).map_err(failed)?;
        sys::bind(&socket, &Address::of_netlink(groups)).map_err(failed)?;
        let mut links = Self { socket, buffer: [0; PIECE], next: 0, end: 0, asked: Asked::Nothing, is_stale: false };
        links.ask(Asked::Links).map_err(failed)?;
        Ok(links)
    }

    /// The next change, or `None` if there is none at the moment. It never blocks.
    ///
    /// # Errors
    /// What the kernel reports. Too many changes at once are not an error: see [`Change::Overrun`].
    // Not an `Iterator`: an iterator ends with `None`, but here another change may follow.
    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self) -> Result<Option<Change>> {
        for _ in 0..BUDGET {
            // First the messages that were already read: the descriptor does not become readable for them again.
            while let Some(answer) = self.buffered() {
                match answer {
                    Answer::Done => self.ask_on().map_err(failed)?,
                    Answer::Failed(errno) => {
                        // It also ends a list.
                        self.ask_on().map_err(failed)?;
                        return Err(failed(errno));
                    }
                    answer => {
                        if let Some(change) = change(answer) {
                            return Ok(Some(change));
                        }
                    }
                }
            }
            match self.read() {
                Ok(()) | Err(Errno::INTERRUPTED) => {}
                Err(Errno::WOULD_BLOCK) => return Ok(None),
                Err(Errno::NO_BUFFERS) => {
                    self.refresh().map_err(failed)?;
                    return Ok(Some(Change::Overrun));
                }
                Err(errno) => return Err(failed(errno)),
            }
        }
        Ok(None)
    }

    /// The next message in the buffer.
    fn buffered(&mut self) -> Option<Answer> {
        let (answer, is_interrupted, after) = netlink::first(self.buffer.get(self.next..self.end)?)?;
        self.next = self.end.saturating_sub(after.len());
        self.is_stale |= is_interrupted;
        Some(answer)
    }

    fn read(&mut self) -> core::result::Result<(), Errno> {
        (self.next, self.end) = (0, 0);
        let mut from = Address::EMPTY;
        let length = sys::recvfrom(&self.socket, &mut self.buffer, &mut from)?;
        if from.netlink_port() == 0 {
            self.end = length.min(PIECE);
        }
        Ok(())
    }

    fn ask(&mut self, what: Asked) -> core::result::Result<(), Errno> {
        let question = match what {
            Asked::Links => Question::links(),
            Asked::Addresses { of_ipv4 } => Question::addresses(of_ipv4),
            Asked::Nothing => return Ok(()),
        };
        self.asked = what;
        rustix::net::send(&self.socket, question.as_bytes(), SendFlags::empty())?;
        Ok(())
    }

    /// Requests all lists: at once, or at the end of the list that the kernel is writing.
    fn refresh(&mut self) -> core::result::Result<(), Errno> {
        self.is_stale = self.asked != Asked::Nothing;
        if self.is_stale { Ok(()) } else { self.ask(Asked::Links) }
    }

    /// Requests the next list, at the end of the one before.
    fn ask_on(&mut self) -> core::result::Result<(), Errno> {
        if self.is_stale {
            self.is_stale = false;
            return self.ask(Asked::Links);
        }
        match self.asked {
            Asked::Links => self.ask(Asked::Addresses { of_ipv4: true }),
            Asked::Addresses { of_ipv4: true } => self.ask(Asked::Addresses { of_ipv4: false }),
            Asked::Addresses { of_ipv4: false } | Asked::Nothing => {
                self.asked = Asked::Nothing;
                Ok(())
            }
        }
    }
}

/// Parses messages into changes, for the fuzz target.
#[cfg(fuzzing)]
pub(crate) fn changes(bytes: &[u8]) -> impl Iterator<Item = Change> {
    let mut rest = bytes;
    core::iter::from_fn(move || {
        let (answer, _, after) = netlink::first(rest)?;
        rest = after;
        Some(change(answer))
    })
    .flatten()
}

fn change(answer: Answer) -> Option<Change> {
    match answer {
        Answer::Link { interface, name, is_gone: true, .. } => {
            Some(Change::Gone { index: NonZeroU32::new(interface)?, name })
        }
        Answer::Link { interface, flags, name, is_gone: false } => {
            let has = |flag: net_device_flags| flags & flag as u32 != 0;
            Some(Change::Link(Link {
                index: NonZeroU32::new(interface)?,
                name,
                is_up: has(net_device_flags::IFF_UP),
                is_running: has(net_device_flags::IFF_RUNNING),
                is_multicast: has(net_device_flags::IFF_MULTICAST),
            }))
        }
        Answer::Address { interface, address, is_gone } => {
            let (index, address) = (NonZeroU32::new(interface)?, address?);
            Some(if is_gone { Change::AddressGone { index, address } } else { Change::Address { index, address } })
        }
        Answer::Route { .. } => Some(Change::Route),
        Answer::Failed(_) | Answer::Interrupted | Answer::Done | Answer::Other => None,
    }
}

#[cold]
fn failed(errno: Errno) -> Error {
    Error::system(Operation::Watch, Object::Nothing, errno)
}

impl AsFd for Links {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl fmt::Debug for Links {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Links").field("socket", &self.socket).field("asked", &self.asked).finish_non_exhaustive()
    }
}
