//! Listening without an object of one's own: packets one by one, or a function that is called with each.

use core::cell::Cell;
use core::fmt;
use core::net::SocketAddr;
use core::ops::ControlFlow;
use std::boxed::Box;
use std::rc::Rc;
use std::vec;

use super::handler::{Flags, Handle, Handler};
use super::options::ListenOptions;
use super::poller::Poller;
use super::turn;
use super::watch::{self, Book, Keeps};
use crate::filter::{Always, Filter};
use crate::{AsFd, BorrowedFd, Change, Error, ErrorKind, Packet, Received, Receiver, Result};

/// What [`listen`](fn@super::listen) gives: the packets of a group, one for each poll.
///
/// [`next`](Self::next) hands out what a [`poll`](super::Poller::poll) has granted: after each packet, poll again. Nothing is lost
/// in between, as long as the kernel's buffer has room.
///
/// ```no_run
/// use std::time::Duration;
/// use multicast::compat::{listen, poll, sendto};
///
/// let mut listener = listen()?;
/// sendto("test")?;
/// poll(Duration::ZERO)?;
/// assert_eq!(listener.next()?.map(|packet| packet.payload()), Some(&b"test"[..]));
/// # Ok::<(), multicast::Error>(())
/// ```
///
/// It owns its socket; the poller only owns what waits for it, and keeps it a member of its group whatever becomes of the interface.
/// Dropping it ends that, leaves the group and closes the socket.
pub struct Packets<F = Always> {
    inbox: Inbox<F>,
    left: Option<u64>,
}

impl<F: Filter> Packets<F> {
    /// Joins the group of the options. [`listen`](fn@super::listen) is the same with the defaults.
    ///
    /// # Errors
    /// As [`MulticastListener::new`](super::MulticastListener::new).
    pub fn new(mut options: ListenOptions<F>) -> Result<Self> {
        let poller = options.take_poller()?;
        let left = options.packet_limit();
        let inbox = Inbox::open(&poller, options)?;
        if left == Some(0) {
            inbox.door.close();
        }
        Ok(Self { inbox, left })
    }

    /// The packet that the last poll granted, lent until the next call. It never waits.
    ///
    /// `None` where no poll has granted one since the last call, where the filter refused all that had come, and after
    /// [`limit`](ListenOptions::limit) packets.
    ///
    /// # Errors
    /// What the kernel reports of the socket; [`ErrorKind::NotRegistered`] where the poller is gone, so that no packet will be granted
    /// any more.
    // An inherent method and no `Iterator`: the packet is lent, and an iterator's items must outlive its `next`.
    #[expect(clippy::should_implement_trait)]
    pub fn next(&mut self) -> Result<Option<Packet<'_>>> {
        if self.left == Some(0) || !self.inbox.door.has_rung()? {
            return Ok(None);
        }
        // Before the packet is taken, so that an error costs none. What the kernel reports is how it is at the next poll.
        self.inbox.door.wait_again()?;
        self.inbox.catch_up();
        let received = self.inbox.receiver.recv_into(&mut self.inbox.buffer)?;
        let Received::Packet(packet) = received else { return Ok(None) };
        self.left = self.left.map(|left| left.saturating_sub(1));
        if self.left == Some(0) {
            self.inbox.door.close();
        }
        Ok(Some(packet))
    }

    /// Whether it waits for its interface, address or route, and can hear nothing until then.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        self.inbox.door.shared.waiting.get()
    }

    /// The core's receiver: its counters, its address.
    pub const fn receiver(&self) -> &Receiver<F> {
        &self.inbox.receiver
    }

    /// The core's receiver, to join its group on further interfaces, or to change its filter.
    pub const fn receiver_mut(&mut self) -> &mut Receiver<F> {
        &mut self.inbox.receiver
    }
}

impl<F: fmt::Debug> fmt::Debug for Packets<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Packets");
        debug.field("receiver", &self.inbox.receiver).field("mtu", &self.inbox.buffer.len()).field("left", &self.left);
        debug.finish_non_exhaustive()
    }
}

/// See [`listen_with`](fn@super::listen_with).
pub(super) fn listen_with<F: Filter>(
    mut handler: impl FnMut(&[u8], SocketAddr) -> ControlFlow<()>,
    mut options: ListenOptions<F>,
) -> Result<()> {
    let poller = options.take_poller()?;
    let mut left = options.packet_limit();
    let mut inbox = Inbox::open(&poller, options)?;
    loop {
        // All that is here in one go, but no more than a turn: then others have theirs.
        for _ in 0..turn::LENGTH {
            if left == Some(0) {
                return Ok(());
            }
            inbox.catch_up();
            let Received::Packet(packet) = inbox.receiver.recv_into(&mut inbox.buffer)? else { break };
            left = left.map(|left| left.saturating_sub(1));
            if handler(packet.payload(), packet.source()).is_break() {
                return Ok(());
            }
        }
        inbox.door.wait_again()?;
        while !inbox.door.has_rung()? {
            poller.poll(None)?;
        }
    }
}

/// A receiver that stays with its user, with its buffer; and in the poller a handler that notes when something has come.
///
/// So a packet can be lent, and a closure can borrow from its caller, although a poller's handlers must live on their own.
struct Inbox<F> {
    receiver: Receiver<F>,
    buffer: Box<[u8]>,
    door: Door,
}

impl<F: Filter> Inbox<F> {
    fn open(poller: &Poller, options: ListenOptions<F>) -> Result<Self> {
        let membership = options.membership();
        poller.watch(&membership)?;
        let (mut receiver, mtu) = options.receiver()?;
        let book = watch::join(membership, &mut receiver)?;
        let shared = Rc::new(Signals::default());
        shared.waiting.set(book.pending().next().is_some());
        // A descriptor of its own, since the poller drops it when it likes.
        let handle = Receiver::try_from(receiver.as_fd().try_clone_to_owned()?)?;
        let bell = Bell { handle, book, shared: Rc::clone(&shared) };
        let bell = poller.register_member(bell, Flags::ONESHOT, &membership)?;
        Ok(Self { receiver, buffer: vec![0; mtu].into_boxed_slice(), door: Door { bell, shared } })
    }

    /// To be called before a packet is taken.
    fn catch_up(&mut self) {
        if self.door.shared.changed.take() {
            self.receiver.recheck();
        }
    }
}

/// What a [`Bell`] tells the one who waits for it.
#[derive(Default)]
struct Signals {
    /// Something has come.
    rung: Cell<bool>,
    /// A membership has begun or ended.
    changed: Cell<bool>,
    /// There is no way to join yet.
    waiting: Cell<bool>,
}

/// The user's side of a [`Bell`].
struct Door {
    bell: Handle<Bell>,
    shared: Rc<Signals>,
}

impl Door {
    /// Whether something has come since [`wait_again`](Self::wait_again).
    fn has_rung(&self) -> Result<bool> {
        if self.shared.rung.get() || self.bell.is_registered() {
            return Ok(self.shared.rung.get());
        }
        Err(Error::custom(ErrorKind::NotRegistered, "take a packet: its poller is gone"))
    }

    fn wait_again(&self) -> Result<()> {
        self.shared.rung.set(false);
        match self.bell.poller().upgrade() {
            Some(shared) => shared.rearm(self.bell.key()),
            None => Ok(()),
        }
    }

    fn close(&self) {
        if let Some(shared) = self.bell.poller().upgrade() {
            drop(shared.unregister::<Bell>(self.bell.key()));
        }
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.close();
    }
}

/// Rings once when a descriptor becomes readable, and then not until it is armed again: so a packet that waits to be taken costs
/// nothing. It keeps the membership, too, which belongs to the socket, by whichever descriptor it was joined.
struct Bell {
    handle: Receiver,
    book: Book,
    shared: Rc<Signals>,
}

impl Handler for Bell {
    fn interest(&self) -> Flags {
        Flags::READ
    }

    fn handle_read(&mut self) -> Result<ControlFlow<()>> {
        self.shared.rung.set(true);
        Ok(ControlFlow::Continue(()))
    }
}

impl Keeps for Bell {
    fn keep(&mut self, change: &Change) -> Result<()> {
        let applied = self.book.apply(change, &mut self.handle)?;
        self.shared.changed.set(self.shared.changed.get() || applied.joined > 0 || applied.left > 0);
        self.shared.waiting.set(applied.pending > 0);
        Ok(())
    }
}

impl AsFd for Bell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.handle.as_fd()
    }
}
