//! A multicaster: the sending state machine.

use core::fmt;
use core::net::{IpAddr, SocketAddr, SocketAddrV4, SocketAddrV6};
use core::ops::ControlFlow;
use core::time::Duration;

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};

use super::segments::Segments;
use super::socket::{Outcome, Sender, TRIES, packet};
use super::staging::Staging;
use crate::address::Address;
use crate::error::{Errno, Error, ErrorKind, Operation, Result};
use crate::group::Group;
use crate::socket::raw_fd;

/// What one [`Multicaster::step`] did, and when to call it again.
///
/// No variants will be added: a `match` needs no `_`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// The kernel accepted this many packets, at least one: call again.
    Sent(usize),
    /// The socket's send buffer is full (`EAGAIN`): call again when the multicaster is writable.
    Blocked,
    /// The device's queue is full (`ENOBUFS`), or the rate requires a pause: call again after this time. If the queue was full, the
    /// packet did not leave, but listeners on this machine that joined on that interface received their copy. They receive no other
    /// one at the next tries, unless an error is returned in between.
    Wait(Duration),
    /// All items were sent, and the iterator has no more now. The next call asks it again: call after you gave it items
    /// ([`Outbox`](crate::Outbox)), and never if it has ended. Do not wait until the multicaster is writable: an idle socket
    /// always is, so that wait would return at once, again and again.
    Done,
}

/// Sends the packets of an iterator to a group.
///
/// An item is anything that gives bytes (`AsRef<[u8]>`). Each item is one packet, also an empty one. `BATCH` is how many items
/// are held at once, 1 to 64. After the first item it pulls only as many as the lower bound of [`Iterator::size_hint`]: a packet
/// never waits because the iterator blocks.
///
/// After the iterator returned `None`, the next step asks it again: so a queue such as [`Outbox`](crate::Outbox) can feed a
/// multicaster as long as the program runs ([`items_mut`](Self::items_mut)). If your iterator must not be asked again after its
/// end, because it would panic or begin again, pass it with [`.fuse()`](Iterator::fuse). What to wait for, [`Progress`] says: for
/// a writable socket only after [`Blocked`](Progress::Blocked), for time after [`Wait`](Progress::Wait), for nothing after
/// [`Done`](Progress::Done).
///
/// No item that was pulled is lost: it stays until it is sent, [discarded](Self::discard), or [returned](Self::into_parts). Sent
/// items are dropped together: when all are sent, or at the next step once they are at least as many as the unsent ones.
///
/// ```no_run
/// # use multicast::{Events, Group, Interest, Poller, Progress, SendOptions, Token};
/// let mut caster = SendOptions::new().packets(Group::DEFAULT, ["one", "two"])?;
/// let (poller, mut events) = (Poller::new()?, Events::<1>::new());
/// // One-shot: a writable socket must not end every other wait.
/// let writable = Interest::WRITABLE.oneshot();
/// poller.register(&caster, Token(0), writable)?;
/// loop {
///     match caster.step()? {
///         Progress::Sent(_) => {}
///         Progress::Blocked => {
///             poller.reregister(&caster, Token(0), writable)?;
///             poller.poll(&mut events, None)?;
///         }
///         Progress::Wait(time) => drop(poller.poll(&mut events, time)?),
///         Progress::Done => break,
///     }
/// }
/// # Ok::<(), multicast::Error>(())
/// ```
// In this order, the error of a `Result` does not lie in the place of the sender. Else the compiler loses what it knows of the sender, such
// as that it has no rate, and links the code for it: tiny-mcast is 1,100 bytes larger.
#[repr(C)]
pub struct Multicaster<I: Iterator, const BATCH: usize = 1> {
    /// The group's address and port as the kernel reads them, with the scope id that a link-local group needs.
    pub(super) to: Address,
    pub(super) segments: Segments,
    /// How many of the next packets local listeners have got already, though the queue refused them. Not used if `BATCH` is 1.
    pub(super) copied: u8,
    /// How many of the staged items were sent.
    pub(super) sent: u8,
    pub(super) staging: Staging<I, BATCH>,
    pub(super) sender: Sender,
}

impl<I, const BATCH: usize> Multicaster<I, BATCH>
where
    I: Iterator,
    I::Item: AsRef<[u8]>,
{
    /// Sends as many packets as it can without blocking, up to `BATCH`, and returns when to call again (`sendto(2)`,
    /// `sendmsg(2)`).
    ///
    /// # Errors
    /// The packet that could not be sent stays the next one: the next call tries it again, and [`discard`](Self::discard) removes
    /// it.
    ///
    /// [`ErrorKind::TooLong`], with the packet's length;
    /// [`ErrorKind::Unreachable`] if the interface is down, which may be temporary; this or
    /// [`ErrorKind::NoSuchInterface`] or [`ErrorKind::NoAddress`]
    /// if the interface or its IPv4 address is gone, even if it was created again, until the multicaster
    /// [follows the interface](crate::Links::follow) to the new one;
    /// [`ErrorKind::Denied`] if a firewall forbids it;
    /// [`ErrorKind::QueueRefused`] if the interface's queue refused it for as long as
    /// [`give_up_after`](crate::SendOptions::give_up_after) says.
    // Inlined down to the system call, as the hot receive is, and so are `step_at`, `send` and `send_singly`: with `#[inline]`, there
    // is a call around the system call in programs of opt-level "z" that send in several places; for `step_at` in those of
    // opt-level 3, too. It saves no bytes, except 8 of tiny-mcast.
    #[inline(always)]
    pub fn step(&mut self) -> Result<Progress> {
        let now = self.sender.now()?;
        self.step_at(now)
    }

    /// As [`step`](Self::step), with your own clock for [`SendOptions::rate`](crate::SendOptions::rate): any time that does not go back. If it
    /// does, the next wait is that of one packet. If you also send by its [`sender`](Self::sender), which reads `CLOCK_MONOTONIC`, it
    /// must be that clock.
    ///
    /// # Errors
    /// As [`step`](Self::step).
    // Inlined: see `step`.
    #[inline(always)]
    pub fn step_at(&mut self, now: Duration) -> Result<Progress> {
        self.staging.fill(&mut self.sent);
        let staged = self.staging.left(self.sent).len();
        if staged == 0 {
            return Ok(Progress::Done);
        }
        if let Some(kind) = self.sender.lacks {
            return Err(self.cannot_send(kind));
        }
        let allowed = match &mut self.sender.rate {
            None => staged,
            Some(rate) => match rate.allowed(now, staged) {
                Ok(allowed) => allowed,
                Err(wait) => return Ok(Progress::Wait(wait)),
            },
        };
        let progress = self.send(allowed)?;
        if let (Progress::Sent(packets), Some(rate)) = (progress, &mut self.sender.rate) {
            rate.sent(now, packets);
        }
        Ok(progress)
    }

    /// Sends up to `most` of the staged items. There must be at least one.
    // Inlined: see `step`.
    #[inline(always)]
    fn send(&mut self, most: usize) -> Result<Progress> {
        if self.sender.refused_packet != 0 {
            // Another packet, which was sent by the sender itself.
            self.sender.settle();
            self.copied = 0;
        }
        if BATCH == 1 {
            return match self.send_next() {
                Ok(()) => Ok(Progress::Sent(1)),
                Err(errno) => self.refused(errno),
            };
        }
        match self.send_run(most) {
            ControlFlow::Break(progress) => progress,
            ControlFlow::Continue(packets) => self.send_singly(packets),
        }
    }

    /// Sends the next packet.
    // Inlined: see `step`.
    #[inline(always)]
    pub(super) fn send_next(&mut self) -> core::result::Result<(), Errno> {
        let mut tries = TRIES;
        // A copy: after a value is lent to a system call, the compiler must reload it and everything next to it.
        let to = self.to;
        while let Some(item) = self.staging.left(self.sent).first() {
            match self.sender.socket.send(item.as_ref(), &to) {
                Ok(()) => {
                    self.settle(1);
                    self.staging.sent(&mut self.sent, 1);
                    break;
                }
                Err(errno) if self.sender.should_retry(errno, &mut tries) => {}
                Err(errno) => return Err(errno),
            }
        }
        Ok(())
    }

    /// After this many packets were sent or given up: whether the next one gets its copy.
    // Inlined: see `step`.
    #[inline(always)]
    pub(super) fn settle(&mut self, packets: usize) {
        if !self.sender.refusal.is_some() {
            return;
        }
        if BATCH > 1 {
            self.copied = self.copied.saturating_sub(packets as u8);
            if self.copied > 0 {
                self.sender.refusal = self.sender.refusal.next();
                return;
            }
        }
        self.sender.settle();
    }

    /// The result of a step that could not send the next packet.
    // Inlined: see `step`.
    #[inline(always)]
    pub(super) fn refused(&mut self, errno: Errno) -> Result<Progress> {
        let length = self.next_length();
        match self.sender.refused(errno, length, &self.to) {
            Ok(outcome) => {
                if BATCH > 1 && self.sender.refusal.has_copied() {
                    self.copied = self.copied.max(1);
                }
                Ok(match outcome {
                    Outcome::Sent => Progress::Sent(1),
                    Outcome::Blocked => Progress::Blocked,
                    Outcome::Wait(time) => Progress::Wait(time),
                })
            }
            Err(error) => {
                self.copied = 0;
                Err(error)
            }
        }
    }

    #[cold]
    fn cannot_send(&self, kind: ErrorKind) -> Error {
        Error::new(Operation::Send, packet(self.next_length(), self.to.internet()), kind)
    }

    fn next_length(&self) -> usize {
        self.staging.left(self.sent).first().map_or(0, |item| item.as_ref().len())
    }

    /// The sender that it sends with: to send single packets, also to other destinations, from the same port.
    pub const fn sender(&mut self) -> &mut Sender {
        &mut self.sender
    }

    /// Removes the next packet, and returns it: use this to skip a packet that is too long. `None` if none was pulled.
    pub fn discard(&mut self) -> Option<I::Item> {
        self.settle(1);
        self.staging.discard(&mut self.sent)
    }

    /// The next packet, if one was pulled and not sent yet.
    pub fn pending(&self) -> Option<&I::Item> {
        self.staging.left(self.sent).first()
    }

    /// The iterator. Items that were pulled from it and not sent yet are no longer in it.
    pub const fn items(&self) -> &I {
        self.staging.items()
    }

    /// The iterator, to give it more items: see [`Outbox`](crate::Outbox). The next step pulls them.
    pub const fn items_mut(&mut self) -> &mut I {
        self.staging.items_mut()
    }

    /// Returns the iterator, and an iterator over the items that were pulled from it and not sent, in their order. The socket is
    /// closed.
    pub fn into_parts(self) -> (I, impl Iterator<Item = I::Item>) {
        self.staging.into_parts(self.sent)
    }

    /// The address and port that it is bound to: see [`Sender::local_addr`].
    ///
    /// # Errors
    /// What the kernel reports.
    pub fn local_addr(&self) -> Result<SocketAddr> {
        self.sender.local_addr()
    }
}

impl<I: Iterator, const BATCH: usize> Multicaster<I, BATCH> {
    /// The group.
    pub fn group(&self) -> Group {
        let to = self.to.internet();
        // It was made of a group, so this is one.
        Group::known(to.ip(), to.port()).unwrap_or(Group::DEFAULT)
    }

    /// The sender, for those who follow.
    pub(crate) const fn plain(&self) -> &Sender {
        &self.sender
    }

    // Inlined, as what creates the sender is: with `#[inline]`, the family of a group that is known would not be.
    #[inline(always)]
    pub(super) fn new(sender: Sender, group: Group, packets: I) -> Self {
        let segments = Self::segments_of(&sender);
        let mut caster = Self { sender, to: Address::EMPTY, segments, copied: 0, sent: 0, staging: Staging::new(packets) };
        caster.aim_at(group);
        caster
    }

    /// Sets the address to send to: that of the group, and the scope id that a link-local group needs.
    #[inline(always)]
    pub(super) fn aim_at(&mut self, group: Group) {
        let scope = if group.is_link_local() { self.sender.index } else { 0 };
        self.to = Address::to(&match group.address() {
            IpAddr::V4(address) => SocketAddr::V4(SocketAddrV4::new(address, group.port())),
            IpAddr::V6(address) => SocketAddr::V6(SocketAddrV6::new(address, group.port(), 0, scope)),
        });
    }
}

impl<I: Iterator, const BATCH: usize> AsFd for Multicaster<I, BATCH> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.sender.as_fd()
    }
}

impl<I: Iterator, const BATCH: usize> fmt::Debug for Multicaster<I, BATCH> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Multicaster").field("sender", &self.sender).field("to", &self.to).finish_non_exhaustive()
    }
}

/// Returns the socket. Unsent items are dropped.
impl<I: Iterator, const BATCH: usize> From<Multicaster<I, BATCH>> for OwnedFd {
    fn from(multicaster: Multicaster<I, BATCH>) -> Self {
        multicaster.sender.into()
    }
}

raw_fd!([I: Iterator, const BATCH: usize] Multicaster<I, BATCH>);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_multicaster_is_little_larger_than_its_iterator_and_items() {
        const fn beside<I: Iterator, const BATCH: usize>() -> usize {
            size_of::<Multicaster<I, BATCH>>() - size_of::<I>() - BATCH * size_of::<I::Item>()
        }
        let sizes = [
            beside::<core::iter::Empty<u8>, 1>(),
            beside::<core::array::IntoIter<&[u8], 4>, 1>(),
            beside::<core::array::IntoIter<&[u8], 4>, 64>(),
            beside::<core::iter::Repeat<[u8; 16]>, 64>(),
            beside::<core::iter::Repeat<heapless::Vec<u8, 100>>, 64>(),
        ];
        assert!(sizes.iter().all(|size| *size <= 104), "{sizes:?}");
    }
}
