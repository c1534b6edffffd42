//! Sending: a [`Multicaster`] pulls packets from an iterator and sends them as fast as the socket takes them.
//!
//! It is a state machine: [`Multicaster::step`] does a bounded piece of work and says when to call again. What to send next and
//! what was sent is kept apart from the socket, in [`staging`].

mod options;
mod rate;
pub(crate) mod segments;
pub(crate) mod staging;

use core::fmt;
use core::net::SocketAddr;
use core::ops::ControlFlow;
use core::time::Duration;

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};

pub use options::SendOptions;

use crate::address::Address;
use crate::error::{Errno, Error, Object, Operation, Result};
use crate::group::Group;
use crate::socket::{self, Socket, raw_fd};
use rate::Rate;
use segments::{COPIED, Run, Segments};
use staging::Staging;

/// How long to wait where the device's queue is full: there is no event that tells when it has room again.
const BACK_OFF: Duration = Duration::from_millis(1);

/// What one [`Multicaster::step`] came to, and with it when to call again.
///
/// These four are all: a `match` needs no `_`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// So many packets went to the kernel, at least one: call again.
    Sent(usize),
    /// The socket's send buffer is full (`EAGAIN`): call again when the multicaster is writable.
    Blocked,
    /// The device's queue is full (`ENOBUFS`), or it is too early: call again after this time. The packet did not leave. But
    /// listeners on this machine that joined on that interface got their copy, and get another one with the next try:
    /// [`SendOptions::loopback`] turns their copies off.
    Wait(Duration),
    /// The iterator is at its end and all that it gave is sent.
    Done,
}

/// Sends the packets of an iterator to a group.
///
/// Items are anything that gives bytes (`AsRef<[u8]>`); each is one packet, and an empty one is one, too. `BATCH` is how many
/// items are held at once, 1 to 64; beyond the first it takes only items that the iterator has promised
/// ([`Iterator::size_hint`]), so that an iterator that waits never holds a packet back.
///
/// No item that was pulled is ever lost: it stays until it is sent, [discarded](Self::discard), or [handed
/// back](Self::into_parts). Items that were sent are dropped together: when none is left,
/// or with the next step once they are no fewer than those left.
///
/// ```no_run
/// # use multicast::{Events, Group, Interest, Poller, Progress, SendOptions, Token};
/// let mut caster = SendOptions::new().packets(Group::DEFAULT, ["one", "two"])?;
/// let (poller, mut events) = (Poller::new()?, Events::<1>::new());
/// // One event for each time that it is armed, so that it does not end other waits.
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
pub struct Multicaster<I: Iterator, const BATCH: usize = 1> {
    socket: Socket,
    group: Group,
    /// The group's address and port as the kernel reads them, with the scope id that a link-local group needs.
    to: Address,
    rate: Option<Rate>,
    segments: Segments,
    staging: Staging<I, BATCH>,
}

impl<I, const BATCH: usize> Multicaster<I, BATCH>
where
    I: Iterator,
    I::Item: AsRef<[u8]>,
{
    /// Sends what can be sent at once, up to `BATCH` packets, and says how to go on (`sendto(2)`, `sendmsg(2)`). It never blocks.
    ///
    /// # Errors
    /// The packet that could not be sent stays the next one: calling again tries it again, [`discard`](Self::discard) drops it.
    ///
    /// [`ErrorKind::TooLong`](crate::ErrorKind::TooLong) names its length;
    /// [`ErrorKind::Unreachable`](crate::ErrorKind::Unreachable) where the interface is down, which may pass; this or
    /// [`ErrorKind::NoSuchInterface`](crate::ErrorKind::NoSuchInterface) where it or its IPv4 address is gone, also if it was made anew:
    /// that takes a new multicaster, and [`into_parts`](Self::into_parts) gives back what was not sent;
    /// [`ErrorKind::Denied`](crate::ErrorKind::Denied) where a firewall forbids it.
    // Inlined down to the system call, as the hot receive is, and so are `step_at`, `send` and `send_singly`: with `#[inline]`, there
    // is a call around the system call in programs of opt-level "z" that send in several places; for `step_at` in those of
    // opt-level 3, too. It saves no bytes, except 8 of tiny-mcast.
    #[inline(always)]
    pub fn step(&mut self) -> Result<Progress> {
        let now = if self.rate.is_some() { socket::monotonic_time() } else { Duration::ZERO };
        self.step_at(now)
    }

    /// The same with a clock of the caller's, which matters where [`SendOptions::rate`] is set: any time that does not go back.
    ///
    /// # Errors
    /// As [`step`](Self::step).
    // Inlined: see `step`.
    #[inline(always)]
    pub fn step_at(&mut self, now: Duration) -> Result<Progress> {
        self.staging.fill();
        let staged = self.staging.left().len();
        if staged == 0 {
            return Ok(Progress::Done);
        }
        let allowed = match &mut self.rate {
            None => staged,
            Some(rate) => match rate.allowed(now, staged) {
                Ok(allowed) => allowed,
                Err(wait) => return Ok(Progress::Wait(wait)),
            },
        };
        let progress = self.send(allowed)?;
        if let (Progress::Sent(packets), Some(rate)) = (progress, &mut self.rate) {
            rate.sent(now, packets);
        }
        Ok(progress)
    }

    /// Sends up to `most` of the staged items, of which there is one at least.
    // Inlined: see `step`.
    #[inline(always)]
    fn send(&mut self, most: usize) -> Result<Progress> {
        if BATCH == 1 {
            return self.send_singly(1);
        }
        match self.send_run(most) {
            ControlFlow::Break(progress) => progress,
            ControlFlow::Continue(packets) => self.send_singly(packets),
        }
    }

    // Inlined: see `step`.
    #[inline(always)]
    fn send_singly(&mut self, packets: usize) -> Result<Progress> {
        let mut sent = 0_usize;
        // A copy: what is lent to a system call, the compiler trusts no more, nor what lies beside it.
        let to = self.to;
        while let Some(item) = self.staging.left().first().filter(|_| sent < packets) {
            match self.socket.send(item.as_ref(), &to) {
                Ok(()) => {
                    self.staging.sent(1);
                    sent = sent.saturating_add(1);
                }
                Err(Errno::INTERRUPTED) => {}
                // What went before is told first; the refusal comes again at the next call, if it lasts.
                Err(_) if sent > 0 => break,
                Err(errno) => return self.refused(errno),
            }
        }
        Ok(Progress::Sent(sent))
    }

    /// Sends the packets at the front that can leave in one call; or else tells how many are to be sent singly.
    fn send_run(&mut self, most: usize) -> ControlFlow<Result<Progress>, usize> {
        let lengths = self.staging.left().iter().take(most).map(|item| item.as_ref().len());
        let Some(run) = self.segments.run(lengths) else { return ControlFlow::Continue(1) };
        match self.send_together(run) {
            Ok(()) => {
                self.staging.sent(run.count);
                return ControlFlow::Break(Ok(Progress::Sent(run.count)));
            }
            // Longer than the link's MTU: the kernel does not fragment segments. EINVAL on older kernels.
            Err(Errno::TOO_LONG | Errno::INVALID) => self.segments.refused(run.size),
            // A device that cannot compute checksums.
            Err(Errno::IO | Errno::NO_OPTION) => self.segments.unsupported(),
            // A device's queue may have room for one packet, and never for so many: the first one tells.
            Err(Errno::NO_BUFFERS | Errno::INTERRUPTED) => return ControlFlow::Continue(1),
            Err(errno) => return ControlFlow::Break(self.refused(errno)),
        }
        ControlFlow::Continue(run.count)
    }

    /// Sends the packets of this run in one call.
    fn send_together(&self, run: Run) -> core::result::Result<(), Errno> {
        let parts = || self.staging.left().iter().take(run.count).map(AsRef::as_ref);
        if run.is_copied() {
            let mut together = heapless::Vec::<u8, COPIED>::new();
            if parts().all(|part| together.extend_from_slice(part).is_ok()) {
                return self.socket.send_segments(core::iter::once(together.as_slice()), run.size, &self.to);
            }
        }
        self.socket.send_segments(parts(), run.size, &self.to)
    }

    /// What a refusal of the next packet means.
    #[cold]
    fn refused(&self, errno: Errno) -> Result<Progress> {
        match errno {
            Errno::WOULD_BLOCK => Ok(Progress::Blocked),
            Errno::NO_BUFFERS => Ok(Progress::Wait(BACK_OFF)),
            _ => {
                // The kernel queues some refusals, too, and would report the socket as erroneous until they are read.
                self.socket.forget_errors();
                let length = self.staging.left().first().map_or(0, |item| item.as_ref().len());
                let length = u32::try_from(length).unwrap_or(u32::MAX);
                Err(Error::system(Operation::Send, Object::Packet { length, group: self.group }, errno))
            }
        }
    }

    /// Forgets what the network reported of packets that have left (the error queue, `ip(7)`): to be called on an event that
    /// [is an error](crate::Event::is_error), which would come again and again otherwise.
    ///
    /// Multicast packets are hardly ever reported on: routers must not answer them.
    #[doc(alias = "MSG_ERRQUEUE")]
    pub fn forget_errors(&mut self) {
        self.socket.forget_errors();
    }

    /// Drops the packet that is next, and gives it back: the way on behind one that is too long. `None` where none was pulled.
    pub fn discard(&mut self) -> Option<I::Item> {
        self.staging.discard()
    }

    /// The packet that is next, if one was pulled and not sent yet.
    pub fn pending(&self) -> Option<&I::Item> {
        self.staging.left().first()
    }

    /// The iterator, and an iterator over the items that were pulled from it and not sent, in their order. The socket is closed.
    pub fn into_parts(self) -> (I, impl Iterator<Item = I::Item>) {
        self.staging.into_parts()
    }

    /// The group.
    pub const fn group(&self) -> Group {
        self.group
    }

    /// The address and port that packets are sent from (`getsockname(2)`). The kernel gives the port with the first packet; the
    /// address is the wildcard's, since each packet's is chosen when it is sent.
    ///
    /// # Errors
    /// What the kernel reports.
    pub fn local_addr(&self) -> Result<SocketAddr> {
        self.socket.local_addr()
    }
}

impl<I: Iterator, const BATCH: usize> AsFd for Multicaster<I, BATCH> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl<I: Iterator, const BATCH: usize> fmt::Debug for Multicaster<I, BATCH> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Multicaster").field("socket", &self.socket).field("group", &self.group).finish_non_exhaustive()
    }
}

/// Gives the socket away; what was not sent is dropped.
impl<I: Iterator, const BATCH: usize> From<Multicaster<I, BATCH>> for OwnedFd {
    fn from(multicaster: Multicaster<I, BATCH>) -> Self {
        multicaster.socket.into()
    }
}

raw_fd!([I: Iterator, const BATCH: usize] Multicaster<I, BATCH>);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_multicaster_is_small_beside_its_iterator_and_the_items_it_holds() {
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
        assert!(sizes.iter().all(|size| *size <= 96), "{sizes:?}");
    }
}
