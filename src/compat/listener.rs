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
use crate::{AsFd, BorrowedFd, Change, Error, ErrorKind, Group, Outcome, Packet, Received, Receiver, Result, Sender};

/// Handles each packet of a [`MulticastListener`]. Closures implement it, too; they must name the type of their first argument,
/// as in `|packet: &[u8], source| ..`.
pub trait PacketHandler {
    /// A packet has come from `source`: its payload, cut at the listener's `mtu`. [`ControlFlow::Break`] stops listening.
    fn handle_packet(&mut self, packet: &[u8], source: SocketAddr) -> ControlFlow<()>;

    /// A packet has come. Write this method to answer it, or to read its metadata. The listener calls only this one; by default it calls
    /// [`handle_packet`](Self::handle_packet).
    ///
    /// ```no_run
    /// use std::{net::SocketAddr, ops::ControlFlow, time::Duration};
    /// use multicast::compat::{Answer, ListenOptions, MulticastListener, PacketHandler, run};
    /// use multicast::{Packet, SendOptions};
    ///
    /// struct Echo;
    ///
    /// impl PacketHandler for Echo {
    ///     fn handle(&mut self, packet: &Packet<'_>, answer: &mut Answer<'_>) -> ControlFlow<()> {
    ///         if let Err(error) = answer.send(packet.payload()) {
    ///             eprintln!("{error}");
    ///         }
    ///         ControlFlow::Continue(())
    ///     }
    ///
    ///     fn handle_packet(&mut self, _packet: &[u8], _source: SocketAddr) -> ControlFlow<()> {
    ///         ControlFlow::Continue(()) // Not called, since `handle` is written.
    ///     }
    /// }
    ///
    /// MulticastListener::new(Echo, ListenOptions::new().ip("239.1.2.3")?.answers(SendOptions::new()))?;
    /// run(None, Duration::ZERO)?;
    /// # Ok::<(), multicast::Error>(())
    /// ```
    fn handle(&mut self, packet: &Packet<'_>, answer: &mut Answer<'_>) -> ControlFlow<()> {
        let _ = answer;
        self.handle_packet(packet.payload(), packet.source())
    }
}

/// Answers the packet that a [`PacketHandler`] handles.
#[derive(Debug)]
pub struct Answer<'l> {
    packet: &'l Packet<'l>,
    sender: Option<&'l mut Sender>,
}

impl Answer<'_> {
    /// Sends one packet to the source of the packet that is being handled, from the listener's port: see [`Sender::reply`]. It never
    /// waits: [`Outcome`] says whether it was sent.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] if the listener was made without [`answers`](ListenOptions::answers); otherwise as [`Sender::reply`].
    pub fn send(&mut self, payload: &[u8]) -> Result<Outcome> {
        const NO_SENDER: Error = Error::custom(
            ErrorKind::InvalidInput,
            "answer: the listener was made without a sender: use ListenOptions::answers",
        );
        self.sender.as_mut().ok_or(NO_SENDER)?.reply(self.packet, payload)
    }

    /// The sender, to send to other destinations from the listener's port: to the group, for example. `None` if the listener was made
    /// without [`answers`](ListenOptions::answers).
    pub fn sender(&mut self) -> Option<&mut Sender> {
        self.sender.as_deref_mut()
    }
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
/// the group changes. See [`is_waiting`](Self::is_waiting). Registered with another poller than that of its options, it does not end its
/// turn when that one is [stopped](super::Poller::stop).
///
/// No error removes it, since what causes one may pass: a limit, a route that prohibits, no descriptor for a question. Its poller returns
/// the error once, the listener receives what it can, and [tries again](Handler::stays_after_error).
///
/// After 64 packets the other handlers get their turn. It allocates only its buffer, once.
pub struct MulticastListener<H, F = Always> {
    owned: OwnedReceiver<F>,
    buffer: Box<[u8]>,
    handler: H,
    sender: Option<Sender>,
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
    /// [`Poller::register`](super::Poller::register); [`ErrorKind::AddressInUse`];
    /// [`ErrorKind::OutOfRange`] for a bad `mtu`. A missing interface is not an error, since it may
    /// appear later.
    pub fn new(handler: H, mut options: ListenOptions<F>) -> Result<Handle<Self>> {
        let poller = options.take_poller()?;
        let answers = options.answers.take();
        let (mut owned, buffer) = OwnedReceiver::open(options, &poller)?;
        let sender = answers.map(|options| owned.receiver.sender(options)).transpose()?;
        let turns = poller.shared.registry.turns.clone();
        poller.register(Self { owned, buffer, handler, sender, turns, may_have_more: false }, Flags::NONE)
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
        self.may_have_more = false;
        for _ in 0..turn::LENGTH {
            if self.owned.is_over() {
                return Ok(ControlFlow::Break(()));
            }
            let packet = match self.owned.recv(&mut self.buffer)? {
                Received::Packet(packet) => packet,
                Received::Paused => break,
                Received::Empty => return Ok(ControlFlow::Continue(())),
            };
            let mut answer = Answer { packet: &packet, sender: self.sender.as_mut() };
            let flow = self.handler.handle(&packet, &mut answer);
            if flow.is_break() || self.owned.is_over() {
                return Ok(ControlFlow::Break(()));
            }
            if self.turns.ended() != ended_before {
                break;
            }
        }
        self.may_have_more = true;
        Ok(ControlFlow::Continue(()))
    }

    fn stays_after_error(&self) -> bool {
        true
    }

    fn follows(&self) -> bool {
        true
    }

    fn route_to(&self) -> Option<Group> {
        self.owned.route_to()
    }

    fn follow(&mut self, change: &Change) -> Result<()> {
        self.owned.follow(change).and(change.apply(self.sender.as_mut_slice()).failed.map_or(Ok(()), Err))
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
        debug.field("receiver", &self.owned.receiver).field("mtu", &self.buffer.len()).field("left", &self.owned.left);
        debug.finish_non_exhaustive()
    }
}
