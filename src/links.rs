//! Interfaces that come, go and change: [`Links`] tells of them, [`Memberships`] keeps a listener joined through it all.

mod memberships;

use core::fmt;
use core::net::IpAddr;
use core::num::NonZeroU32;

use linux_raw_sys::net::{AF_NETLINK, SOCK_DGRAM, net_device_flags};
use linux_raw_sys::netlink::{
    NETLINK_ROUTE, RTMGRP_IPV4_IFADDR, RTMGRP_IPV4_ROUTE, RTMGRP_IPV6_IFADDR, RTMGRP_IPV6_ROUTE, RTMGRP_LINK,
};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::net::SendFlags;

pub use memberships::{Applied, Memberships};

use crate::address::Address;
use crate::error::{Errno, Error, Object, Operation, Result};
use crate::group::Name;
#[cfg(fuzzing)]
use crate::route::netlink;
use crate::route::netlink::{Answer, Message, Question};
use crate::sys::{self, Fd, raw_fd};

/// What one read takes: the kernel writes lists in pieces of at most this (`NLMSG_GOODSIZE`).
const PIECE: usize = 8192;
/// How many times one call reads at most.
const BUDGET: u32 = 64;

/// What happened to an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Change {
    /// There is this interface, or something about it changed, its name perhaps.
    Link(Link),
    /// There is no interface of this index any more. One of the same name may come, with another index.
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
    /// An interface has this address no more.
    AddressGone {
        /// The index of the interface.
        index: NonZeroU32,
        /// The address that it had.
        address: IpAddr,
    },
    /// A route came or went: [`Interface::Default`](crate::Interface::Default) may mean another interface.
    Route,
    /// Changes came faster than they were read, and some are lost. All links and addresses that there are follow anew; what does
    /// not come again is gone.
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
    /// Whether it has a signal, and is ready to carry packets (`IFF_RUNNING`).
    pub is_running: bool,
    /// Whether it is capable of multicast (`IFF_MULTICAST`).
    pub is_multicast: bool,
}

/// Tells of interfaces, their addresses, and routes as they come, go and change (`rtnetlink(7)`).
///
/// First it tells what there is, then what changes. It is a file descriptor: register it with a poller, and call
/// [`next`](Self::next) until it gives `None` whenever it is readable.
///
/// ```no_run
/// # use multicast::{Events, Group, Interest, Links, ListenOptions, Membership, Memberships, Poller, Token};
/// # let (poller, group) = (Poller::new()?, Group::DEFAULT);
/// # let mut listener = ListenOptions::new().open::<1500>(group.port(), group.family())?;
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
    /// What was told of the lists may be out of date: they are to be asked for once more.
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
    /// Begins to watch. What there is at the moment is told first.
    ///
    /// # Errors
    /// [`ErrorKind::LimitReached`](crate::ErrorKind::LimitReached) where the process has too many descriptors open.
    #[doc(alias = "rtnetlink")]
    pub fn watch() -> Result<Self> {
        let groups = RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR | RTMGRP_IPV4_ROUTE | RTMGRP_IPV6_ROUTE;
        let socket = sys::socket(AF_NETLINK, SOCK_DGRAM, NETLINK_ROUTE).map_err(failed)?;
        sys::bind(&socket, &Address::of_netlink(groups)).map_err(failed)?;
        let mut links = Self { socket, buffer: [0; PIECE], next: 0, end: 0, asked: Asked::Nothing, is_stale: false };
        links.ask(Asked::Links).map_err(failed)?;
        Ok(links)
    }

    /// The next change, or `None` where there is none yet. It never blocks.
    ///
    /// # Errors
    /// What the kernel reports. Too many changes at once are no error: see [`Change::Overrun`].
    // An inherent method and no `Iterator`: that one ends, while there may always be another change.
    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self) -> Result<Option<Change>> {
        for _ in 0..BUDGET {
            // What was read is told first, to its end: nothing wakes anybody for it any more.
            while let Some(answer) = self.buffered() {
                match answer {
                    Answer::Done => self.ask_on().map_err(failed)?,
                    Answer::Failed(errno) => {
                        // It is the end of a list, too.
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

    /// The next message of those that were read.
    fn buffered(&mut self) -> Option<Answer> {
        let (message, after) = Message::first(self.buffer.get(self.next..self.end)?)?;
        self.next = self.end.saturating_sub(after.len());
        self.is_stale |= message.is_interrupted();
        Some(message.answer())
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

    /// Asks for all lists, at once or as soon as the one that is being written is at its end.
    fn refresh(&mut self) -> core::result::Result<(), Errno> {
        self.is_stale = self.asked != Asked::Nothing;
        if self.is_stale { Ok(()) } else { self.ask(Asked::Links) }
    }

    /// One list is at its end: asks for the next.
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

/// What a watcher makes of messages, for the fuzzer.
#[cfg(fuzzing)]
pub(crate) fn changes(bytes: &[u8]) -> impl Iterator<Item = Change> {
    netlink::messages(bytes).filter_map(|message| change(message.answer()))
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
        Answer::Failed(_) | Answer::Done | Answer::Other => None,
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

/// Gives the socket away. What was read from it and not handed out is dropped.
impl From<Links> for OwnedFd {
    fn from(links: Links) -> Self {
        links.socket.into()
    }
}

raw_fd!(Links);

impl fmt::Debug for Links {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Links").field("socket", &self.socket).field("asked", &self.asked).finish_non_exhaustive()
    }
}
