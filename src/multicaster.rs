//! Sending: a [`Multicaster`] pulls packets from an iterator and sends them as fast as the socket takes them.
//!
//! It is a state machine: [`Multicaster::step`] does a bounded piece of work and says when to call again. What to send next and
//! what was sent is kept apart from the socket, in [`staging`].

mod options;
pub(crate) mod staging;

use core::fmt;
use core::net::SocketAddr;
use core::time::Duration;

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};

pub use options::SendOptions;

use crate::error::{Errno, Error, Object, Operation, Result};
use crate::group::Group;
use crate::socket::Socket;
use staging::Staging;

/// How long to wait where the device's queue is full: there is no event that tells when it has room again.
const BACK_OFF: Duration = Duration::from_millis(1);

/// What one [`Multicaster::step`] came to, and with it when to call again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
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
/// back](Self::into_parts).
///
/// ```no_run
/// # use multicast::{Group, Progress, SendOptions};
/// let mut caster = SendOptions::new().packets(Group::DEFAULT, ["one", "two"])?;
/// loop {
///     match caster.step()? {
///         Progress::Sent(_) => {}
///         Progress::Done => break,
///         other => { /* wait until it is writable, or for the time that Wait names */ }
///     }
/// }
/// # Ok::<(), multicast::Error>(())
/// ```
pub struct Multicaster<I: Iterator, const BATCH: usize = 1> {
    socket: Socket,
    group: Group,
    /// The group, with the scope id that a link-local one needs.
    to: SocketAddr,
    staging: Staging<I, BATCH>,
}

impl<I, const BATCH: usize> Multicaster<I, BATCH>
where
    I: Iterator,
    I::Item: AsRef<[u8]>,
{
    fn new(socket: Socket, group: Group, to: SocketAddr, items: I) -> Self {
        Self { socket, group, to, staging: Staging::new(items) }
    }

    /// Sends what can be sent at once, up to `BATCH` packets, and says how to go on (`sendto(2)`). It never blocks.
    ///
    /// # Errors
    /// The packet that could not be sent stays the next one: calling again tries it again, [`discard`](Self::discard) drops it.
    ///
    /// [`ErrorKind::TooLong`](crate::ErrorKind::TooLong) names its length;
    /// [`ErrorKind::Unreachable`](crate::ErrorKind::Unreachable) where the interface is down or gone;
    /// [`ErrorKind::Denied`](crate::ErrorKind::Denied) where a firewall forbids it.
    #[inline]
    pub fn step(&mut self) -> Result<Progress> {
        self.staging.fill();
        let mut sent = 0_usize;
        while let Some(item) = self.staging.front() {
            let payload = item.as_ref();
            match self.socket.send(payload, &self.to) {
                Ok(()) => {
                    self.staging.sent();
                    sent = sent.saturating_add(1);
                }
                Err(Errno::INTERRUPTED) => {}
                // What went before is told first; the refusal comes again at the next call, if it lasts.
                Err(Errno::WOULD_BLOCK | Errno::NO_BUFFERS) if sent > 0 => break,
                Err(Errno::WOULD_BLOCK) => return Ok(Progress::Blocked),
                Err(Errno::NO_BUFFERS) => return Ok(Progress::Wait(BACK_OFF)),
                Err(errno) => {
                    self.socket.clear_errors();
                    if sent > 0 {
                        break;
                    }
                    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
                    return Err(Error::system(Operation::Send, Object::Packet { length, group: self.group }, errno));
                }
            }
        }
        Ok(if sent > 0 { Progress::Sent(sent) } else { Progress::Done })
    }

    /// Drops the packet that is next, and gives it back: the way on behind one that is too long. `None` where none was pulled.
    pub fn discard(&mut self) -> Option<I::Item> {
        self.staging.sent()
    }

    /// The packet that is next, if one was pulled and not sent yet.
    pub fn pending(&self) -> Option<&I::Item> {
        self.staging.front()
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
        f.debug_struct("Multicaster").field("socket", &self.socket).field("to", &self.to).finish_non_exhaustive()
    }
}

/// Gives the socket away; what was not sent is dropped.
impl<I: Iterator, const BATCH: usize> From<Multicaster<I, BATCH>> for OwnedFd {
    fn from(multicaster: Multicaster<I, BATCH>) -> Self {
        multicaster.socket.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_multicaster_is_small() {
        let empty = size_of::<Multicaster<core::iter::Empty<u8>>>();
        assert!(empty <= 96, "{empty}");
    }
}
