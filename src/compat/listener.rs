//! A listener that calls a function for each packet.

use core::fmt;
use core::net::SocketAddr;
use core::ops::ControlFlow;
use std::boxed::Box;
use std::time::Instant;

use super::handle::Handle;
use super::handler::{Flags, Handler};
use super::options::ListenOptions;
use super::receiver::OwnedReceiver;
use super::turn::{self, Turns};
use crate::filter::{Always, Filter};
use crate::{AsFd, BorrowedFd, Received, Receiver, Result};

/// Handles each packet of a [`MulticastListener`]. Closures implement it, too; they must name the type of their first argument,
/// as in `|packet: &[u8], source| ..`.
pub trait PacketHandler {
    /// A packet has come from `source`: its payload, cut at the listener's `mtu`. [`ControlFlow::Break`] stops listening.
    fn handle_packet(&mut self, packet: &[u8], source: SocketAddr) -> ControlFlow<()>;
}

impl<C: FnMut(&[u8], SocketAddr) -> ControlFlow<()>> PacketHandler for C {
    fn handle_packet(&mut self, packet: &[u8], source: SocketAddr) -> ControlFlow<()> {
        self(packet, source)
    }
}

/// Joins a group and calls [`handle_packet`](PacketHandler::handle_packet) with each packet that is sent to it and that its
/// filter accepts.
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
/// Its poller keeps it a member of the group when its interface appears later, is deleted and created again, or when the route to
/// the group changes. See [`is_waiting`](Self::is_waiting). This ends when it is unregistered: registered again, it still
/// receives, but its memberships are not kept, and [`stop`](super::Poller::stop) of another poller than that of its options does
/// not end its turn.
///
/// After 64 packets the other handlers get their turn. It allocates only its buffer, once.
pub struct MulticastListener<H, F = Always> {
    owned: OwnedReceiver<F>,
    buffer: Box<[u8]>,
    handler: H,
    /// How many packets it may still hand out.
    left: Option<u64>,
    turns: Turns,
    /// Its last turn was over before its queue was empty.
    may_have_more: bool,
}

impl<H: PacketHandler + 'static, F: Filter + 'static> MulticastListener<H, F> {
    /// Joins the group of the options, and registers with their poller, which owns the listener from now on.
    ///
    /// A closure is a handler, too, and must name the type of its first argument, so that it takes a packet of any lifetime. If a
    /// filter is a closure, pass it to [`filter_fn`](ListenOptions::filter_fn), which knows both types:
    ///
    /// ```no_run
    /// use std::{net::SocketAddr, ops::ControlFlow};
    /// use multicast::compat::{ListenOptions, MulticastListener};
    ///
    /// let print = |packet: &[u8], source: SocketAddr| {
    ///     println!("{source}: {packet:?}");
    ///     ControlFlow::Continue(())
    /// };
    /// MulticastListener::new(print, ListenOptions::new().filter_fn(|packet, source| packet.len() > 4 && source.is_ipv4()))?;
    /// # Ok::<(), multicast::Error>(())
    /// ```
    ///
    /// The kernel queues packets from now on. The poller's [`poll`](super::Poller::poll) and [`run`](super::Poller::run) pass
    /// them to the handler.
    ///
    /// # Errors
    /// As [`Memberships::join`](crate::Memberships::join) and [`Links::watch`](crate::Links::watch) of the core, and
    /// [`Poller::register`](super::Poller::register); [`ErrorKind::AddressInUse`](crate::ErrorKind::AddressInUse);
    /// [`ErrorKind::OutOfRange`](crate::ErrorKind::OutOfRange) for a bad `mtu`. A missing interface is not an error, since it may
    /// appear later.
    pub fn new(handler: H, mut options: ListenOptions<F>) -> Result<Handle<Self>> {
        let poller = options.take_poller()?;
        let left = options.packet_limit();
        let (owned, buffer) = OwnedReceiver::open(options, &poller)?;
        let keep = owned.kept_by::<Self>(|listener, change| listener.owned.keep(change));
        let listener = Self { owned, buffer, handler, left, turns: poller.turns(), may_have_more: false };
        poller.register_member(listener, Flags::NONE, keep)
    }
}

impl<H, F> MulticastListener<H, F> {
    /// Whether its interface, address or route is missing, so that it cannot receive yet.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        self.owned.is_waiting()
    }

    /// The core's receiver: its counters, its address.
    pub const fn receiver(&self) -> &Receiver<F> {
        &self.owned.receiver
    }

    /// The core's receiver, to join its group on more interfaces, or to change its filter.
    pub const fn receiver_mut(&mut self) -> &mut Receiver<F> {
        &mut self.owned.receiver
    }

    /// The packet handler.
    pub const fn handler(&self) -> &H {
        &self.handler
    }

    /// The packet handler, mutable.
    pub const fn handler_mut(&mut self) -> &mut H {
        &mut self.handler
    }
}

impl<H: PacketHandler + 'static, F: Filter + 'static> Handler for MulticastListener<H, F> {
    fn interest(&self) -> Flags {
        Flags::READ
    }

    fn paused_until(&self) -> Option<Instant> {
        self.may_have_more.then(Instant::now)
    }

    fn handle_read(&mut self) -> Result<ControlFlow<()>> {
        let ended_before = self.turns.ended();
        self.may_have_more = true;
        for _ in 0..turn::LENGTH {
            if self.left == Some(0) {
                return Ok(ControlFlow::Break(()));
            }
            let packet = match self.owned.receiver.recv_into(&mut self.buffer)? {
                Received::Packet(packet) => packet,
                Received::Paused => break,
                Received::Empty => {
                    self.may_have_more = false;
                    break;
                }
            };
            self.left = self.left.map(|left| left.saturating_sub(1));
            let flow = self.handler.handle_packet(packet.payload(), packet.source());
            if flow.is_break() || self.left == Some(0) {
                return Ok(ControlFlow::Break(()));
            }
            if self.turns.ended() != ended_before {
                break;
            }
        }
        Ok(ControlFlow::Continue(()))
    }
}

impl<H, F> AsFd for MulticastListener<H, F> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.owned.receiver.as_fd()
    }
}

impl<H, F: fmt::Debug> fmt::Debug for MulticastListener<H, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("MulticastListener");
        debug.field("receiver", &self.owned.receiver).field("mtu", &self.buffer.len()).field("left", &self.left);
        debug.finish_non_exhaustive()
    }
}
