//! Listening without a handler: packets one by one, or a function that is called with each.

use core::fmt;
use core::net::SocketAddr;
use core::ops::ControlFlow;
use std::boxed::Box;

use super::handle::Handle;
use super::handler::Flags;
use super::options::ListenOptions;
use super::poller::Poller;
use super::receiver::OwnedReceiver;
use super::registry::Rearm;
use super::turn;
use crate::filter::{Always, Filter};
use crate::{Error, ErrorKind, Head, Metadata, Packet, Received, Receiver, Result};

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
    signal: Handle<OwnedReceiver<F>>,
    /// The buffer is here, so that a packet can be lent, and a closure can borrow from its caller: a poller's handlers must be
    /// `'static`.
    buffer: Box<[u8]>,
    metadata: Option<Metadata>,
    is_over: bool,
    /// The error of the last call, which had a packet to return: the next call returns it.
    failed: Option<Error>,
}

impl<F: Filter + 'static> Packets<F> {
    /// Joins the group of the options. [`listen`](fn@super::listen) is the same with the defaults.
    ///
    /// # Errors
    /// As [`MulticastListener::new`](super::MulticastListener::new).
    pub fn new(mut options: ListenOptions<F>) -> Result<Self> {
        let poller = options.take_poller()?;
        Self::open(options, &poller)
    }

    fn open(options: ListenOptions<F>, poller: &Poller) -> Result<Self> {
        let (owned, buffer) = OwnedReceiver::open(options, poller)?;
        let is_over = owned.is_over();
        let packets = Self { signal: poller.register(owned, Flags::NONE)?, buffer, metadata: None, is_over, failed: None };
        if is_over {
            packets.signal.remove();
        }
        Ok(packets)
    }

    /// The packet that the last poll granted, lent until the next call. It never waits.
    ///
    /// `None` if no poll has granted one since the last call, if the filter rejected all that had come, and after
    /// [`limit`](ListenOptions::limit) packets.
    ///
    /// # Errors
    /// What the kernel reports of the socket: nothing is lost, call again. [`ErrorKind::NotRegistered`] if the poller is gone, or has
    /// dropped its handlers since the thread ends.
    // An inherent method and no `Iterator`: the packet is lent, and an iterator's items must outlive its `next`.
    #[expect(clippy::should_implement_trait)]
    pub fn next(&mut self) -> Result<Option<Packet<'_>>> {
        self.report()?;
        if self.is_over || !self.is_ready()? {
            return Ok(None);
        }
        Ok(self.take(Rearm::Always)?.map(|head| self.packet(head)))
    }

    /// Whether its interface, address or route is missing, so that it cannot receive yet.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        self.peek(|owned| owned.is_waiting()).unwrap_or(false)
    }

    /// Lends the core's receiver to `look`, to read its counters and its address, or to join its group on more interfaces. `None`
    /// after the [`limit`](ListenOptions::limit), and if the poller is gone.
    ///
    /// # Errors
    /// As [`Handle::with`].
    pub fn with<R>(&self, look: impl FnOnce(&mut Receiver<F>) -> R) -> Result<Option<R>> {
        self.signal.with(|owned| look(&mut owned.receiver))
    }

    fn report(&mut self) -> Result<()> {
        self.failed.take().map_or(Ok(()), Err)
    }

    /// Whether it has become readable since the last packet was taken.
    fn is_ready(&self) -> Result<bool> {
        self.peek(|owned| owned.is_ready).ok_or_else(|| self.gone())
    }

    fn peek<R>(&self, look: impl FnOnce(&OwnedReceiver<F>) -> R) -> Option<R> {
        let slot = self.signal.slot()?;
        let owned = slot.lend()?;
        Some(look(&owned))
    }

    /// Reads a packet into the buffer, if there is one.
    fn take(&mut self, rearm: Rearm) -> Result<Option<Head>> {
        self.report()?;
        let buffer = &mut self.buffer;
        let (mut taken, mut is_over) = (None, false);
        let lent = self.signal.lend(rearm, |owned| -> Result<()> {
            owned.is_ready = false;
            if let Received::Packet(packet) = owned.recv(buffer)? {
                taken = Some((packet.head(), packet.metadata().copied()));
            }
            is_over = owned.is_over();
            Ok(())
        });
        match lent {
            // The packet is here, though the kernel was not told to report the next one.
            Err(error) if taken.is_some() => self.failed = Some(error),
            lent => lent?.ok_or_else(|| self.gone())??,
        }
        if is_over {
            self.is_over = true;
            self.signal.remove();
        }
        Ok(taken.map(|(head, metadata)| {
            self.metadata = metadata;
            head
        }))
    }

    /// The packet that was taken last, of which this is the head.
    fn packet(&self, head: Head) -> Packet<'_> {
        head.packet(&self.buffer, self.metadata.as_ref())
    }

    fn gone(&self) -> Error {
        Error::custom(
            ErrorKind::NotRegistered,
            match self.signal.has_poller() {
                true => "take a packet: its poller does not have the listener any more",
                false => "take a packet: its poller is gone",
            },
        )
    }
}

impl<F: Filter + 'static> Drop for Packets<F> {
    fn drop(&mut self) {
        self.signal.remove();
    }
}

impl<F: Filter + 'static> fmt::Debug for Packets<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Packets");
        debug.field("handle", &self.signal).field("mtu", &self.buffer.len()).field("is_over", &self.is_over);
        debug.finish_non_exhaustive()
    }
}

/// See [`listen_with`](fn@super::listen_with).
pub(super) fn listen_with<F: Filter + 'static>(
    mut handler: impl FnMut(&[u8], SocketAddr) -> ControlFlow<()>,
    mut options: ListenOptions<F>,
) -> Result<()> {
    let poller = options.take_poller()?;
    let mut packets = Packets::open(options, &poller)?;
    loop {
        // After a whole turn, the other handlers get theirs.
        for _ in 0..turn::LENGTH {
            if packets.is_over {
                return Ok(());
            }
            let Some(head) = packets.take(Rearm::UnlessOneshot)? else { break };
            let packet = packets.packet(head);
            if handler(packet.payload(), packet.source()).is_break() {
                return Ok(());
            }
        }
        if packets.is_over {
            return Ok(());
        }
        packets.signal.lend(Rearm::Always, |owned| owned.is_ready = false)?.ok_or_else(|| packets.gone())?;
        while !packets.is_ready()? {
            match poller.poll(None) {
                // It tries again by itself. To return the error would end it.
                Err(error) if packets.signal.fails_to_follow(error.kind()) || poller.shared.fails_to_watch(error.kind()) => {
                }
                polled => drop(polled?),
            }
        }
    }
}
