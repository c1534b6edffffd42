//! A listener that a poller calls with each packet.

use core::fmt;
use core::net::SocketAddr;
use core::ops::ControlFlow;
use std::boxed::Box;
use std::vec;

use super::handler::{Flags, Handle, Handler};
use super::options::ListenOptions;
use super::turn::{self, Turn};
use super::watch::{self, Book, Keeps};
use crate::filter::{Always, Filter};
use crate::{AsFd, BorrowedFd, Change, Received, Receiver, Result};

/// What a [`MulticastListener`] does with each packet. Closures can do it, too; they must name the type of their first argument, as
/// in `|packet: &[u8], source| ..`.
pub trait PacketHandler {
    /// A packet has come from `source`: its payload, cut at the listener's `mtu`. [`ControlFlow::Break`] stops listening.
    fn handle_packet(&mut self, packet: &[u8], source: SocketAddr) -> ControlFlow<()>;
}

impl<C: FnMut(&[u8], SocketAddr) -> ControlFlow<()>> PacketHandler for C {
    fn handle_packet(&mut self, packet: &[u8], source: SocketAddr) -> ControlFlow<()> {
        self(packet, source)
    }
}

/// Joins a group and calls [`handle_packet`](PacketHandler::handle_packet) with each packet that is sent to it and that its filter
/// accepts.
///
/// ```no_run
/// use std::{net::SocketAddr, ops::ControlFlow, time::Duration};
/// use multicast::compat::{ListenOptions, MulticastListener, PacketHandler, poll, sendto};
///
/// struct Printer;
///
/// impl PacketHandler for Printer {
///     fn handle_packet(&mut self, packet: &[u8], _source: SocketAddr) -> ControlFlow<()> {
///         println!("{}", String::from_utf8_lossy(packet));
///         ControlFlow::Break(()) // Stop listening
///     }
/// }
///
/// MulticastListener::new(Printer, ListenOptions::new().filter_fn(|_packet, _source| true))?;
/// sendto("test")?;
/// poll(Duration::ZERO)?;
/// # Ok::<(), multicast::Error>(())
/// ```
///
/// Its poller keeps it a member of the group: on an interface that comes after it, or that is deleted and made anew, and where the
/// routing table comes to lead elsewhere. See [`is_waiting`](Self::is_waiting).
///
/// A turn is 64 packets at most, then other handlers have theirs. It allocates nothing but its buffer, when it is made.
pub struct MulticastListener<H, F = Always> {
    receiver: Receiver<F>,
    book: Book,
    buffer: Box<[u8]>,
    handler: H,
    /// How many packets it may hand out yet.
    left: Option<u64>,
}

impl<H: PacketHandler + 'static, F: Filter + 'static> MulticastListener<H, F> {
    /// Joins the group of the options, and registers with their poller, which owns the listener from now on.
    ///
    /// Packets are received from now on, and handed out by the poller's [`poll`](super::Poller::poll) and
    /// [`run`](super::Poller::run).
    ///
    /// # Errors
    /// As [`Memberships::join`](crate::Memberships::join) and [`Links::watch`](crate::Links::watch) of the core, and
    /// [`Poller::register`](super::Poller::register); [`ErrorKind::AddressInUse`](crate::ErrorKind::AddressInUse);
    /// [`ErrorKind::OutOfRange`](crate::ErrorKind::OutOfRange) for a bad `mtu`. Not where an interface is missing that may come.
    pub fn new(handler: H, mut options: ListenOptions<F>) -> Result<Handle<Self>> {
        let poller = options.take_poller()?;
        let (left, membership) = (options.packet_limit(), options.membership());
        poller.watch(&membership)?;
        let (mut receiver, mtu) = options.receiver()?;
        let book = watch::join(membership, &mut receiver)?;
        let listener = Self { receiver, book, buffer: vec![0; mtu].into_boxed_slice(), handler, left };
        poller.register_member(listener, Flags::NONE, &membership)
    }
}

impl<H, F> MulticastListener<H, F> {
    /// Whether it waits for its interface, address or route, and can hear nothing until then.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        self.book.pending().next().is_some()
    }

    /// The core's receiver: its counters, its address.
    pub const fn receiver(&self) -> &Receiver<F> {
        &self.receiver
    }

    /// The core's receiver, to join its group on further interfaces, or to change its filter.
    pub const fn receiver_mut(&mut self) -> &mut Receiver<F> {
        &mut self.receiver
    }

    /// What handles the packets.
    pub const fn handler(&self) -> &H {
        &self.handler
    }

    /// What handles the packets, to be changed.
    pub const fn handler_mut(&mut self) -> &mut H {
        &mut self.handler
    }
}

impl<H: PacketHandler + 'static, F: Filter + 'static> Handler for MulticastListener<H, F> {
    fn interest(&self) -> Flags {
        Flags::READ
    }

    fn handle_read(&mut self) -> Result<ControlFlow<()>> {
        let turn = Turn::begin();
        for _ in 0..turn::LENGTH {
            if self.left == Some(0) {
                return Ok(ControlFlow::Break(()));
            }
            let Received::Packet(packet) = self.receiver.recv_into(&mut self.buffer)? else { break };
            self.left = self.left.map(|left| left.saturating_sub(1));
            let flow = self.handler.handle_packet(packet.payload(), packet.source());
            if flow.is_break() || self.left == Some(0) {
                return Ok(ControlFlow::Break(()));
            }
            if turn.has_ended() {
                break;
            }
        }
        Ok(ControlFlow::Continue(()))
    }
}

impl<H: PacketHandler + 'static, F: Filter + 'static> Keeps for MulticastListener<H, F> {
    fn keep(&mut self, change: &Change) -> Result<()> {
        self.book.apply(change, &mut self.receiver).map(|_| ())
    }
}

impl<H, F> AsFd for MulticastListener<H, F> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.receiver.as_fd()
    }
}

impl<H, F: fmt::Debug> fmt::Debug for MulticastListener<H, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("MulticastListener");
        debug.field("receiver", &self.receiver).field("mtu", &self.buffer.len()).field("left", &self.left);
        debug.finish_non_exhaustive()
    }
}
