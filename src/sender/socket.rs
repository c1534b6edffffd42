//! An open socket that sends packets one at a time.

use core::fmt;
use core::net::SocketAddr;
use core::num::NonZeroU16;
use core::time::Duration;

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};

use super::destination::Destination;
use super::rate::Rate;
use super::refusal::Refusal;
use super::way::Named;
use crate::address::{Address, is_link_local};
use crate::cmsg::Way;
use crate::error::{Errno, Error, ErrorKind, Object, Operation, Result};
use crate::group::{Family, Interface};
use crate::packet::Packet;
use crate::socket::{self, Socket, raw_fd};

/// How often a packet is tried again after a report of the network, or a signal, made the call fail.
pub(super) const TRIES: u32 = 16;

/// What became of one packet.
///
/// No variants will be added: a `match` needs no `_`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "the packet was sent only if it says so"]
pub enum Outcome {
    /// The kernel accepted it.
    Sent,
    /// It was not sent, since the socket's send buffer is full (`EAGAIN`): try again when the sender is writable.
    Blocked,
    /// It was not sent, since the device's queue is full (`ENOBUFS`) or the rate requires a pause: try again after this time. No event
    /// reports that a device's queue has room.
    ///
    /// If the queue was full, listeners on this machine received their copy all the same. They receive no other one if you try the same
    /// payload to the same destination again, before other packets. A different packet gets its copy.
    Wait(Duration),
}

/// An open socket that sends packets, each when you ask for it: to groups and to unicast addresses. To send what an iterator gives,
/// use a [`Multicaster`](crate::Multicaster).
///
/// [`SendOptions::open`](crate::SendOptions::open) creates it. It is bound from the beginning, so [`local_addr`](Self::local_addr) is
/// known before the first packet. It receives nothing, so no answer and no flood wakes it. To get answers, create it with
/// [`open_with_replies`](crate::SendOptions::open_with_replies), or from a listener with
/// [`sender`](crate::ListeningSocket::sender).
///
/// ```no_run
/// # use multicast::{Family, Group, Interface, Outcome, SendOptions};
/// let group: Group = "239.1.2.3:5000".parse()?;
/// let mut sender = SendOptions::new().interface(Interface::LOOPBACK).open(Family::V4)?;
/// match sender.send(b"a packet", group)? {
///     Outcome::Sent => println!("sent from {}", sender.local_addr()?),
///     Outcome::Blocked => println!("try again when the sender is writable"),
///     Outcome::Wait(time) => println!("try again after {time:?}"),
/// }
/// # Ok::<(), multicast::Error>(())
/// ```
///
/// Wait for it to be writable only after [`Outcome::Blocked`]: an idle socket is always writable, so a loop that waits for that would
/// never sleep.
pub struct Sender {
    pub(super) socket: Socket,
    /// The interface that the options named, to find it again when it changes.
    pub(super) interface: Interface,
    /// Its index; 0 if the routing table or an address decides.
    pub(super) index: u32,
    /// The way that packets to groups name if the socket's options do not say it: others use the socket, too, or it is bound to receive,
    /// and has no source of its own.
    pub(super) named: Named,
    /// How many reports of the network were read, plus one; `None` if none can come, because nobody can answer.
    pub(super) reports: Option<NonZeroU16>,
    pub(super) family: Family,
    /// Why it cannot send at the moment: its interface is gone, or has no address.
    pub(super) lacks: Option<ErrorKind>,
    pub(super) rate: Option<Rate>,
    pub(super) refusal: Refusal,
    /// Which packet is refused, if it was sent by [`send`](Self::send): a number made of its bytes. 0 if a multicaster sent it.
    pub(super) refused_packet: u16,
}

impl Sender {
    /// Sends one packet now: to a [`Group`](crate::Group), to a `SocketAddr`, or to a [`Destination`] that also names the way. It never
    /// blocks (`sendto(2)`, `sendmsg(2)`).
    ///
    /// # Errors
    /// The packet was not sent. [`ErrorKind::TooLong`], with the packet's length; [`ErrorKind::Unreachable`] if there is no route or the
    /// interface is down, which may be temporary, if no interface has the source of [`from_address`](Destination::from_address), and for
    /// 0.0.0.0 and `::`, which the kernel would take for this machine itself; [`ErrorKind::FamilyMismatch`]; [`ErrorKind::PortZero`];
    /// [`ErrorKind::InterfaceNeeded`] for a link-local IPv6 address if neither the sender nor the destination names an interface;
    /// [`ErrorKind::OneInterface`] if the socket is bound to one interface and the destination names another;
    /// [`ErrorKind::NoSuchInterface`] and [`ErrorKind::NoAddress`] if the interface, or its address, is gone: see
    /// [`Links::follow`](crate::Links::follow); [`ErrorKind::Denied`] if a firewall forbids it, or for a broadcast address;
    /// [`ErrorKind::QueueRefused`] if the interface's queue refused it for as long as
    /// [`give_up_after`](crate::SendOptions::give_up_after) says.
    ///
    /// What the network reports about earlier packets (ICMP) is no error here: it is read, counted, and the packet is tried again.
    pub fn send(&mut self, payload: &[u8], to: impl Into<Destination>) -> Result<Outcome> {
        self.send_as_named(payload, to.into())
    }

    /// Answers a packet: sends to its source, from the address that it was sent to if that is not a group, and on the interface that it
    /// came in on if the source is on that link. See [`Destination::answering`], also for what it costs.
    ///
    /// ```no_run
    /// # use multicast::{Bind, Family, ListenOptions, Membership, Received, SendOptions};
    /// let search: multicast::Group = "239.255.255.250:1900".parse()?;
    /// let mut listener = ListenOptions::new().answers().bind::<1500>(Membership::any(search).on("eth0".parse()?))?;
    /// let mut sender = listener.sender(SendOptions::new())?;
    /// if let Received::Packet(packet) = listener.recv()? {
    ///     match sender.reply(&packet, b"here I am") {
    ///         Ok(outcome) => println!("{outcome:?}"),
    ///         // Go on: a packet with a forged source causes an error, too.
    ///         Err(error) => eprintln!("{error}"),
    ///     }
    /// }
    /// # Ok::<(), multicast::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Destination::answering`] and [`send`](Self::send).
    pub fn reply(&mut self, packet: &Packet<'_>, payload: &[u8]) -> Result<Outcome> {
        self.send_as_named(payload, Destination::answering(packet)?)
    }

    /// Refuses what the kernel would take for another destination or source, and names the source if it may be none of ours.
    // Inlined, so that nothing of it is linked for a constant group: that saves 160 bytes in tiny-ask.
    #[inline(always)]
    fn send_as_named(&mut self, payload: &[u8], to: Destination) -> Result<Outcome> {
        if let Some(kind) = to.misunderstood() {
            return Err(Error::new(Operation::Send, packet(payload.len(), to.to.internet()), kind));
        }
        match (self.send_to(payload, to), to.way) {
            (Err(error), Some(Way { source: Some(source), .. })) if error.is_about_a_way() => {
                Err(error.about(Object::From(source)))
            }
            (sent, _) => sent,
        }
    }

    fn send_to(&mut self, payload: &[u8], Destination { to, way }: Destination) -> Result<Outcome> {
        let to = self.checked(to, way, payload.len())?;
        let way = self.named.way_to(&to, way, self.interface, self.index);
        let now = self.now()?;
        if let Some(rate) = &mut self.rate {
            if let Err(wait) = rate.allowed(now, 1) {
                return Ok(Outcome::Wait(wait));
            }
        }
        let between = if self.refusal.is_some() { self.turn_to(payload, &to) } else { None };
        let outcome = self.send_checked(payload, &to, way, between.is_some());
        match between {
            Some(before) => self.refusal = before.again_after(self.refusal, self.socket.as_fd(), self.family),
            // Others may send from this socket, too, or use it after this sender.
            None if self.refusal.has_copied() => socket::set_copies(self.socket.as_fd(), self.family, true),
            None => {}
        }
        if let (Ok(Outcome::Sent), Some(rate)) = (&outcome, &mut self.rate) {
            rate.sent(now, 1);
        }
        outcome
    }

    /// Sends a packet whose destination was checked. `is_between`: while a multicaster's packet is refused.
    #[inline]
    fn send_checked(&mut self, payload: &[u8], to: &Address, way: Option<Way>, is_between: bool) -> Result<Outcome> {
        let mut tries = TRIES;
        loop {
            let sent = match way {
                None => self.socket.send(payload, to),
                Some(way) => self.socket.send_on(payload, to, way),
            };
            match sent {
                Ok(()) if is_between => {}
                Ok(()) => self.settle(),
                Err(errno) if self.should_retry(errno, &mut tries) => continue,
                Err(errno) => {
                    if !is_between && errno == Errno::NO_BUFFERS {
                        self.refused_packet = number_of(payload, to);
                    }
                    return self.refused(errno, payload.len(), to);
                }
            }
            return Ok(Outcome::Sent);
        }
    }

    /// Prepares to send this packet while one is refused. If that is a multicaster's, it keeps its turn: returns what is known of it.
    #[cold]
    fn turn_to(&mut self, payload: &[u8], to: &Address) -> Option<Refusal> {
        if self.refused_packet == 0 {
            let before = self.refusal;
            self.refusal = before.copying(self.socket.as_fd(), self.family);
            return Some(before);
        }
        if self.refused_packet != number_of(payload, to) {
            self.refusal = self.refusal.of_another(self.socket.as_fd(), self.family);
        }
        if self.refusal.has_copied() {
            socket::set_copies(self.socket.as_fd(), self.family, false);
        }
        None
    }

    /// After a packet was sent or given up: the next one gets its copy for local listeners again.
    // Inlined: see `take_reports`.
    #[inline(always)]
    pub(super) fn settle(&mut self) {
        if self.refusal.is_some() {
            self.refusal = self.refusal.over(self.socket.as_fd(), self.family);
            self.refused_packet = 0;
        }
    }

    /// The time, if the rate needs it.
    #[inline]
    pub(super) fn now(&self) -> Result<Duration> {
        if self.rate.is_some() { socket::monotonic_time() } else { Ok(Duration::ZERO) }
    }

    /// Completes the address, and refuses one that the kernel would take for another.
    fn checked(&self, address: Address, way: Option<Way>, length: usize) -> Result<Address> {
        let to = address.internet();
        let mut checked = address;
        let refused = |kind| Err(Error::new(Operation::Send, packet(length, to), kind));
        if let Some(kind) = self.lacks {
            // A way that names only the source: the kernel would choose an interface, or use the one that is gone.
            let is_on_link = to.ip().is_multicast() || is_link_local(to.ip());
            if way.is_none_or(|way| way.interface == 0 && is_on_link) {
                return refused(kind);
            }
        }
        if to.is_ipv4() != (self.family == Family::V4) {
            return refused(ErrorKind::FamilyMismatch);
        }
        if to.port() == 0 {
            return refused(ErrorKind::PortZero);
        }
        if let SocketAddr::V6(address) = to {
            if is_link_local(to.ip()) && address.scope_id() == 0 {
                match self.index {
                    0 => return refused(ErrorKind::InterfaceNeeded),
                    index => checked = checked.with_scope(index),
                }
            }
        }
        // The kernel would let IPv4 packets leave on the other interface.
        if let Some(way) = way {
            let bound = if way.interface == 0 { None } else { self.socket.bound_interface() };
            if bound.is_some_and(|bound| bound.get() != way.interface) {
                return refused(ErrorKind::OneInterface);
            }
        }
        Ok(checked)
    }

    /// Whether the call failed for another reason than this packet, so that the same packet is to be tried again: a signal, or a
    /// report of the network about an earlier packet.
    #[cold]
    pub(super) fn should_retry(&mut self, errno: Errno, tries: &mut u32) -> bool {
        *tries = tries.saturating_sub(1);
        let is_other = match errno {
            Errno::WOULD_BLOCK | Errno::NO_BUFFERS => false,
            Errno::INTERRUPTED => true,
            // The first error may be a report for which the queue had no room. The failed call has taken it, so that an error of this
            // packet comes again.
            _ => self.take_reports(errno, tries) || *tries >= TRIES.saturating_sub(2),
        };
        is_other && *tries > 0
    }

    /// Reads the queued errors, of which the kernel would report an event. Returns whether the network may have caused this errno.
    // Inlined, so that a sender which cannot get reports links no code to read them.
    #[inline(always)]
    fn take_reports(&mut self, errno: Errno, tries: &mut u32) -> bool {
        let Some(before) = self.reports else {
            // Nobody can answer, except with a forged report about the address that it is bound to.
            if !socket::drop_queued_errors(self.socket.as_fd()) {
                *tries = 1.min(*tries);
            }
            return true;
        };
        let reports = socket::take_reports(self.socket.as_fd());
        self.reports = Some(before.saturating_add(reports));
        // If the receive buffer is full, the kernel queues no report, but still returns its errno.
        reports > 0 || errno.is_only_of_earlier()
    }

    /// What to do after the kernel refused a packet of this length.
    // Inlined: see `take_reports`.
    #[inline(always)]
    pub(super) fn refused(&mut self, errno: Errno, length: usize, to: &Address) -> Result<Outcome> {
        let mut error = Error::system(Operation::Send, packet(length, to.internet()), errno);
        match errno {
            Errno::WOULD_BLOCK => return Ok(Outcome::Blocked),
            Errno::NO_BUFFERS => match self.refusal.refused(self.socket.as_fd(), self.family, length) {
                Ok(refusal) => {
                    self.refusal = refusal;
                    return Ok(Outcome::Wait(refusal.wait()));
                }
                Err(0) => error = error.of_kind(ErrorKind::QueueRefused),
                Err(_) => error = error.of_kind(ErrorKind::TooLong),
            },
            _ => {}
        }
        self.settle();
        Err(error)
    }

    /// Reads the errors that the network reported for packets that have left (the error queue, `ip(7)`), and discards them. Call it
    /// when an event [is an error](crate::Event::is_error) and there is nothing to send; otherwise the event is reported again and again.
    ///
    /// A sender without answers receives only forged ones, which quote the address that it is bound to.
    #[doc(alias = "MSG_ERRQUEUE")]
    pub fn forget_errors(&mut self) {
        self.take_reports(Errno::WOULD_BLOCK, &mut 1);
        self.socket.drop_pending_error();
    }

    /// How many reports of the network (ICMP) about packets that have left were read and discarded. Anybody can send such a report. It
    /// stops at 65,535.
    #[must_use]
    pub const fn network_reports(&self) -> u16 {
        match self.reports {
            Some(more_than) => more_than.get().saturating_sub(1),
            None => 0,
        }
    }

    /// The address family.
    #[must_use]
    pub const fn family(&self) -> Family {
        self.family
    }

    /// The address and port that it is bound to (`getsockname(2)`). The port is the source port of all its packets. The address is not
    /// their source address, which each packet gets when it is sent. Without answers it is 224.0.0.0 or ff00::, from which no answers
    /// come; with answers it is the wildcard address, or the group of the listener.
    ///
    /// # Errors
    /// What the kernel reports.
    pub fn local_addr(&self) -> Result<SocketAddr> {
        self.socket.local_addr()
    }
}

/// A number that another packet hardly has: made of payload and destination (FNV-1a), and never 0.
#[cold]
fn number_of(payload: &[u8], to: &Address) -> u16 {
    let bytes = payload.iter().chain(to.as_bytes());
    let hash = bytes.fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193));
    (hash >> 16 ^ hash) as u16 | 1
}

/// The packet as the object of an error.
pub(super) fn packet(length: usize, to: SocketAddr) -> Object {
    Object::Packet { length: u32::try_from(length).unwrap_or(u32::MAX), to }
}

impl AsFd for Sender {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl fmt::Debug for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Sender");
        debug
            .field("socket", &self.socket)
            .field("family", &self.family)
            .field("interface", &self.interface)
            .finish_non_exhaustive()
    }
}

/// Returns the socket, with the sender's interface as an option.
impl From<Sender> for OwnedFd {
    fn from(mut sender: Sender) -> Self {
        sender.settle();
        sender.named.leave_on(&sender.socket, sender.family, sender.interface, sender.index);
        sender.socket.into()
    }
}

raw_fd!(Sender);
