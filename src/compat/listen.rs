//! Listening without a handler: packets one by one, or a function that is called with each.

use core::fmt;
use core::net::SocketAddr;
use core::ops::ControlFlow;
use std::boxed::Box;

use super::handle::Handle;
use super::handler::{Flags, Handler};
use super::options::ListenOptions;
use super::poller::Poller;
use super::receiver::OwnedReceiver;
use super::registry::Rearm;
use super::turn;
use crate::filter::{Always, Filter};
use crate::{AsFd, BorrowedFd, Error, ErrorKind, Head, Metadata, Packet, Received, Receiver, Result};

/// The packets of a group, one for each poll: [`listen`](fn@super::listen) returns this.
///
/// Each [`poll`](super::Poller::poll) grants one packet, which [`next`](Self::next) returns: poll again after each packet.
/// Nothing is lost in between, as long as the kernel's buffer has room.
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
/// The poller owns the socket, and keeps it a member of the group when interfaces change. Dropping this value leaves the group
/// and closes the socket.
pub struct Packets<F: Filter + 'static = Always> {
    subscription: Subscription<F>,
    left: Option<u64>,
}

impl<F: Filter + 'static> Packets<F> {
    /// Joins the group of the options. [`listen`](fn@super::listen) is the same with the defaults.
    ///
    /// # Errors
    /// As [`MulticastListener::new`](super::MulticastListener::new).
    pub fn new(mut options: ListenOptions<F>) -> Result<Self> {
        let poller = options.take_poller()?;
        let left = options.packet_limit();
        let subscription = Subscription::open(options, &poller)?;
        if left == Some(0) {
            subscription.end();
        }
        Ok(Self { subscription, left })
    }

    /// The packet that the last poll granted, lent until the next call. It never waits.
    ///
    /// `None` if no poll has granted one since the last call, if the filter rejected all that had come, and after
    /// [`limit`](ListenOptions::limit) packets.
    ///
    /// # Errors
    /// What the kernel reports of the socket; [`ErrorKind::NotRegistered`] if the poller is gone, or has removed it after an
    /// error.
    // An inherent method and no `Iterator`: the packet is lent, and an iterator's items must outlive its `next`.
    #[expect(clippy::should_implement_trait)]
    pub fn next(&mut self) -> Result<Option<Packet<'_>>> {
        if self.left == Some(0) || !self.subscription.is_ready()? {
            return Ok(None);
        }
        let Some(head) = self.subscription.take(Rearm::Always)? else { return Ok(None) };
        self.left = self.left.map(|left| left.saturating_sub(1));
        if self.left == Some(0) {
            self.subscription.end();
        }
        Ok(Some(self.subscription.packet(head)))
    }

    /// Whether its interface, address or route is missing, so that it cannot receive yet.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        self.subscription.peek(|signal| signal.owned.is_waiting()).unwrap_or(false)
    }

    /// Lends the core's receiver to `look`, to read its counters and its address, or to join its group on more interfaces. `None`
    /// after the [`limit`](ListenOptions::limit), and if the poller is gone.
    ///
    /// # Errors
    /// As [`Handle::with`].
    pub fn with<R>(&self, look: impl FnOnce(&mut Receiver<F>) -> R) -> Result<Option<R>> {
        self.subscription.signal.with(|signal| look(&mut signal.owned.receiver))
    }
}

impl<F: Filter + 'static> fmt::Debug for Packets<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Packets");
        debug.field("handle", &self.subscription.signal).field("mtu", &self.subscription.buffer.len());
        debug.field("left", &self.left).finish_non_exhaustive()
    }
}

/// See [`listen_with`](fn@super::listen_with).
pub(super) fn listen_with<F: Filter + 'static>(
    mut handler: impl FnMut(&[u8], SocketAddr) -> ControlFlow<()>,
    mut options: ListenOptions<F>,
) -> Result<()> {
    let poller = options.take_poller()?;
    let mut left = options.packet_limit();
    let mut subscription = Subscription::open(options, &poller)?;
    loop {
        // After a whole turn, the other handlers get theirs.
        for _ in 0..turn::LENGTH {
            if left == Some(0) {
                return Ok(());
            }
            let Some(head) = subscription.take(Rearm::UnlessOneshot)? else { break };
            left = left.map(|left| left.saturating_sub(1));
            let packet = subscription.packet(head);
            if handler(packet.payload(), packet.source()).is_break() {
                return Ok(());
            }
        }
        subscription.wait_again()?;
        while !subscription.is_ready()? {
            poller.poll(None)?;
        }
    }
}

/// The handle of a [`ReadySignal`], and the buffer of the packet that is lent. Dropping it drops the signal.
///
/// The buffer is here, so that a packet can be lent, and a closure can borrow from its caller: a poller's handlers must be
/// `'static`.
struct Subscription<F: Filter + 'static> {
    signal: Handle<ReadySignal<F>>,
    buffer: Box<[u8]>,
    metadata: Option<Metadata>,
}

impl<F: Filter + 'static> Subscription<F> {
    fn open(options: ListenOptions<F>, poller: &Poller) -> Result<Self> {
        let (owned, buffer) = OwnedReceiver::open(options, poller)?;
        let keep = owned.kept_by::<ReadySignal<F>>(|signal, change| signal.owned.keep(change));
        let signal = poller.register_member(ReadySignal { owned, is_ready: false }, Flags::NONE, keep)?;
        Ok(Self { signal, buffer, metadata: None })
    }

    /// Whether it has become readable since the last packet was taken.
    fn is_ready(&self) -> Result<bool> {
        self.peek(|signal| signal.is_ready).ok_or_else(gone)
    }

    fn peek<R>(&self, look: impl FnOnce(&ReadySignal<F>) -> R) -> Option<R> {
        let slot = self.signal.slot()?;
        let signal = slot.lend()?;
        Some(look(&signal))
    }

    fn wait_again(&self) -> Result<()> {
        self.signal.lend(Rearm::Always, |signal| signal.is_ready = false)?.ok_or_else(gone)
    }

    /// Reads a packet into the buffer, if there is one.
    fn take(&mut self, rearm: Rearm) -> Result<Option<Head>> {
        let buffer = &mut self.buffer;
        let taken = self.signal.lend(rearm, |signal| signal.take(buffer))?.ok_or_else(gone)??;
        let Some((head, metadata)) = taken else { return Ok(None) };
        self.metadata = metadata;
        Ok(Some(head))
    }

    /// The packet that was taken last, of which this is the head.
    fn packet(&self, head: Head) -> Packet<'_> {
        head.packet(&self.buffer, self.metadata.as_ref())
    }

    fn end(&self) {
        self.signal.remove();
    }
}

impl<F: Filter + 'static> Drop for Subscription<F> {
    fn drop(&mut self) {
        self.end();
    }
}

fn gone() -> Error {
    Error::custom(ErrorKind::NotRegistered, "take a packet: its poller is gone")
}

/// Records once that its receiver has become readable, and then waits until it is armed again. So a packet that was not taken yet
/// costs no processor time.
struct ReadySignal<F> {
    owned: OwnedReceiver<F>,
    is_ready: bool,
}

impl<F: Filter> ReadySignal<F> {
    fn take(&mut self, buffer: &mut [u8]) -> Result<Option<(Head, Option<Metadata>)>> {
        self.is_ready = false;
        match self.owned.receiver.recv_into(buffer)? {
            Received::Packet(packet) => Ok(Some((packet.head(), packet.metadata().copied()))),
            Received::Empty | Received::Paused => Ok(None),
        }
    }
}

impl<F: Filter + 'static> Handler for ReadySignal<F> {
    fn interest(&self) -> Flags {
        Flags::READ | Flags::ONESHOT
    }

    fn handle_read(&mut self) -> Result<ControlFlow<()>> {
        self.is_ready = true;
        Ok(ControlFlow::Continue(()))
    }
}

impl<F> AsFd for ReadySignal<F> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.owned.receiver.as_fd()
    }
}
