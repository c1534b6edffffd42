//! Changes of interfaces: [`Links`] reports them, [`Memberships`] keeps a listener joined, and senders follow them.

mod change;
mod follow;
mod memberships;
mod senders;

use core::fmt;

use core::num::NonZeroU32;

use linux_raw_sys::netlink::{
    RTMGRP_IPV4_IFADDR, RTMGRP_IPV4_ROUTE, RTMGRP_IPV4_RULE, RTMGRP_IPV6_IFADDR, RTMGRP_IPV6_ROUTE, RTMGRP_LINK,
    rtnetlink_groups,
};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::net::SendFlags;

pub use change::{Change, Link};
pub use follow::{Follow, Followed};
pub use memberships::{Applied, Memberships};

use crate::address::Address;
use crate::error::{Errno, Error, Object, Operation, Result};
#[cfg(fuzzing)]
use crate::route::netlink;
use crate::route::netlink::{Answer, Message, Question};
use crate::route::{self, PIECE};
use crate::sys::{self, Fd, raw_fd};

/// The most reads in one call.
const BUDGET: u32 = 64;

/// What the kernel reports: interfaces, addresses, routes, and what changes routes without a report of its own: rules and next hops.
/// Kernels that do not know the last group (before 5.3) ignore it.
const GROUPS: u32 = RTMGRP_LINK
    | RTMGRP_IPV4_IFADDR
    | RTMGRP_IPV6_IFADDR
    | RTMGRP_IPV4_ROUTE
    | RTMGRP_IPV6_ROUTE
    | RTMGRP_IPV4_RULE
    | bit(rtnetlink_groups::RTNLGRP_IPV6_RULE)
    | bit(rtnetlink_groups::RTNLGRP_NEXTHOP);

/// The bit of a group; groups count from 1.
const fn bit(group: rtnetlink_groups) -> u32 {
    1 << (group as u32).saturating_sub(1)
}

/// Reports changes of interfaces, their addresses, and routes (`rtnetlink(7)`).
///
/// It first reports the existing interfaces and addresses, then each change. It is a file descriptor: register it with a
/// poller, and whenever it is readable, call [`follow`](Self::follow), or [`next`](Self::next) until it returns `None`.
///
/// ```no_run
/// # use multicast::{Bind, Events, Group, Interest, Links, ListenOptions, Membership, Memberships, Poller, Token};
/// # let (poller, group) = (Poller::new()?, Group::DEFAULT);
/// # let mut listener = ListenOptions::new().bind::<1500>(Bind::Port(group.port(), group.family()))?;
/// let mut links = Links::watch()?;
/// poller.register(&links, Token(1), Interest::READABLE)?;
///
/// let mut book = Memberships::<4>::new();
/// book.join(Membership::any(group).on("eth0".parse()?), &mut listener)?;
/// // Whenever Token(1) is readable:
/// loop {
///     let followed = links.follow(&mut book.with(&mut listener))?;
///     if let Some(error) = followed.failed {
///         eprintln!("{error}");
///     }
///     if !followed.more {
///         break;
///     }
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
    /// The kernel has not taken the question yet, so it must be sent again.
    is_unsent: bool,
    /// The lists changed after they were requested, so they must be requested again.
    is_stale: bool,
    /// A piece of the list of interfaces was cut off, so they must be asked for one by one.
    is_cut: bool,
    /// The first of the interfaces that could not be asked about, since there was no descriptor, or no memory.
    unknown: Option<NonZeroU32>,
    /// One of the lists failed, so all must be requested again.
    is_lacking: bool,
    /// They are requested again for that reason.
    is_repeated: bool,
    /// A follower failed, so it must be tried again even if nothing changes.
    has_failed: bool,
}

/// Which list the kernel is writing for us; it writes one at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    Links,
    /// The interfaces with their counters: short answers, of which each gives an index to ask about.
    Indexes,
    Addresses {
        of_ipv4: bool,
    },
    Nothing,
}

/// The result of one step of reading.
enum Step {
    Change(Change),
    /// Everything was read.
    Nothing,
    /// The call has used up its reads, and there may be more.
    Paused,
}

impl Links {
    /// Starts to watch. The existing interfaces and addresses are reported first.
    ///
    /// # Errors
    /// [`ErrorKind::LimitReached`](crate::ErrorKind::LimitReached) if the process has too many open descriptors.
    #[doc(alias = "rtnetlink")]
    pub fn watch() -> Result<Self> {
        let socket = route::open().map_err(failed)?;
        sys::bind(&socket, &Address::of_netlink(GROUPS)).map_err(failed)?;
        // The value is built last, in its place: moved, its buffer would take stack twice.
        rustix::net::send(&socket, Question::links().as_bytes(), SendFlags::empty())
            .map_err(|errno| failed(errno.into()))?;
        Ok(Self::on(socket, Asked::Links))
    }

    // Inlined, so that it is built in its place.
    #[inline(always)]
    const fn on(socket: Fd, asked: Asked) -> Self {
        Self {
            socket,
            buffer: [0; PIECE],
            next: 0,
            end: 0,
            asked,
            is_unsent: false,
            is_stale: false,
            is_cut: false,
            unknown: None,
            is_lacking: false,
            is_repeated: false,
            has_failed: false,
        }
    }

    /// The next change, or `None` if there is none at the moment. It never blocks.
    ///
    /// It reads 64 times at most. If none of that was a change, it returns `None` as well, and stays readable; with an
    /// edge-triggered poller use [`follow`](Self::follow), which distinguishes the two.
    ///
    /// # Errors
    /// What the kernel reports. Too many changes at once are not an error: see [`Change::Overrun`]. After an error call again after a
    /// time, for example after a second: what was not possible is tried again, and no event reports that it is possible.
    // Not an `Iterator`: an iterator ends with `None`, but here another change may follow.
    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self) -> Result<Option<Change>> {
        match self.advance(&mut { BUDGET })? {
            Step::Change(change) => Ok(Some(change)),
            Step::Nothing | Step::Paused => Ok(None),
        }
    }

    /// Returns the next change. Each read subtracts one from `reads`.
    fn advance(&mut self, reads: &mut u32) -> Result<Step> {
        loop {
            if self.is_unsent {
                self.ask(self.asked).map_err(failed)?;
            }
            // First the messages that were already read: the descriptor does not become readable for them again.
            while let Some(answer) = self.buffered() {
                match answer {
                    Answer::Done => self.ask_on().map_err(failed)?,
                    // One interface alone does not fit into an answer.
                    Answer::Failed(Errno::TOO_LONG) if self.asked == Asked::Links => {
                        self.is_cut = true;
                        self.ask_on().map_err(failed)?;
                    }
                    // It also ends a list.
                    Answer::Failed(errno) => {
                        if self.list_failed(errno).map_err(failed)? {
                            return Err(failed(errno));
                        }
                    }
                    Answer::Counters { interface } => {
                        let Some(index) = NonZeroU32::new(interface) else { continue };
                        match route::link_of(index) {
                            Ok(link) => {
                                if let Some(change) = link.and_then(Change::of) {
                                    return Ok(Step::Change(change));
                                }
                            }
                            // When all else is read: an error now would hold that up.
                            Err(errno) if errno.may_pass() => self.unknown = self.unknown.or(Some(index)),
                            Err(errno) => return Err(failed(errno)),
                        }
                    }
                    answer => {
                        if let Some(change) = Change::of(answer) {
                            return Ok(Step::Change(change));
                        }
                    }
                }
            }
            *reads = match reads.checked_sub(1) {
                Some(left) => left,
                None => return Ok(Step::Paused),
            };
            match self.read() {
                Ok(()) | Err(Errno::INTERRUPTED) => {}
                Err(Errno::WOULD_BLOCK) => {
                    if !self.complete().map_err(failed)? {
                        return Ok(Step::Nothing);
                    }
                }
                Err(Errno::NO_BUFFERS) => {
                    self.refresh().map_err(failed)?;
                    return Ok(Step::Change(Change::Overrun));
                }
                Err(errno) => return Err(failed(errno)),
            }
        }
    }

    /// The next message in the buffer.
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
        // Any process may send to this socket.
        if from.netlink_port() == 0 {
            self.end = length.min(PIECE);
            // A list ends with a message that is never cut off. Other messages come alone, and what is needed of them is at the beginning.
            self.is_cut |= length > PIECE && self.asked == Asked::Links;
        }
        Ok(())
    }

    fn ask(&mut self, what: Asked) -> core::result::Result<(), Errno> {
        let question = match what {
            Asked::Links => Question::links(),
            Asked::Indexes => Question::counters(),
            Asked::Addresses { of_ipv4 } => Question::addresses(of_ipv4),
            Asked::Nothing => return Ok(()),
        };
        self.is_lacking &= what != Asked::Links;
        (self.asked, self.is_unsent) = (what, true);
        rustix::net::send(&self.socket, question.as_bytes(), SendFlags::empty())?;
        self.is_unsent = false;
        Ok(())
    }

    /// Requests all lists: at once, or at the end of the list that the kernel is writing.
    fn refresh(&mut self) -> core::result::Result<(), Errno> {
        self.is_stale = self.asked != Asked::Nothing;
        if self.is_stale { Ok(()) } else { self.ask(Asked::Links) }
    }

    /// A list ended with this error. Returns whether to report it.
    fn list_failed(&mut self, errno: Errno) -> core::result::Result<bool, Errno> {
        // The list before this one failed since there was no room for it, and the kernel writes it all the same: the next one is requested
        // at its end.
        if errno == Errno::BUSY {
            self.is_lacking = true;
            return Ok(false);
        }
        let may_pass = errno.may_pass();
        self.is_lacking |= may_pass;
        if may_pass && self.is_repeated {
            // The next list would make the descriptor readable, and whoever waits for that would try again without a pause.
            self.asked = Asked::Nothing;
            return Ok(true);
        }
        // Where too many changes are queued, there is no room for a list. When they are read, there is.
        self.ask_on().map(|()| !may_pass)
    }

    /// When all is read: requests the lists again if one of them failed, or if an interface could not be asked about. Returns whether
    /// answers follow.
    fn complete(&mut self) -> core::result::Result<bool, Errno> {
        if self.asked != Asked::Nothing {
            return Ok(false);
        }
        if let Some(index) = self.unknown {
            // First about one: as long as that fails, no list makes the descriptor readable.
            match route::link_of(index) {
                Err(errno) if errno.may_pass() => return Err(errno),
                _ => (self.unknown, self.is_lacking) = (None, true),
            }
        }
        if self.is_lacking {
            self.is_repeated = true;
            self.ask(Asked::Links)?;
        }
        Ok(self.asked != Asked::Nothing)
    }

    /// Requests the next list, at the end of the one before.
    fn ask_on(&mut self) -> core::result::Result<(), Errno> {
        if self.is_stale {
            self.is_stale = false;
            return self.ask(Asked::Links);
        }
        match self.asked {
            Asked::Links if self.is_cut => {
                self.is_cut = false;
                self.ask(Asked::Indexes)
            }
            Asked::Links | Asked::Indexes => self.ask(Asked::Addresses { of_ipv4: true }),
            Asked::Addresses { of_ipv4: true } => self.ask(Asked::Addresses { of_ipv4: false }),
            Asked::Addresses { of_ipv4: false } | Asked::Nothing => {
                (self.asked, self.is_repeated) = (Asked::Nothing, false);
                Ok(())
            }
        }
    }
}

/// Parses messages into changes, for the fuzz target.
#[cfg(fuzzing)]
pub(crate) fn changes(bytes: &[u8]) -> impl Iterator<Item = Change> {
    netlink::messages(bytes).filter_map(|message| Change::of(message.answer()))
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

/// Returns the socket. Changes that were read and not returned yet are lost.
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

// Without `std`, descriptors have another type.
#[cfg(all(test, feature = "std"))]
mod tests;
