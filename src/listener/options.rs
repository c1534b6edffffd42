//! The options of a listener, and how it is created.

use core::net::SocketAddr;

use super::bind::{Bind, Place};
use super::coalescing::{COALESCING_BUFFER, Coalescing};
use super::gatekeeper::Wants;
use super::offload::{attach, within_limits};
use super::receiving::{Admits, Asks, Inner, Mode, State};
use super::socket::{CoalescingListener, Listener, ListeningSocket, Own, Receiver};
use crate::address::Address;
use crate::error::{Error, ErrorKind, Object, Operation, Result};
use crate::filter::kernel::INSTRUCTIONS;
use crate::filter::{Always, Filter};
use crate::group::{Interface, Membership};
use crate::socket::{LOOPBACK, Socket, family_of};

/// Options for a listener. Set them first, then create the listener with one of three calls:
///
/// | call | creates a | packets are in |
/// |---|---|---|
/// | [`bind`](Self::bind) | [`Listener`] | its own buffer |
/// | [`bind_receiver`](Self::bind_receiver) | [`Receiver`] | the buffer that you pass to each call |
/// | [`bind_coalescing`](Self::bind_coalescing) | [`CoalescingListener`] | one buffer that you lend, many at a time |
///
/// Each takes a [`Bind`], which says where to listen, or a [`Membership`].
///
/// ```no_run
/// # use multicast::{ListenOptions, Membership, filter::Prefix};
/// # let membership = Membership::any(multicast::Group::DEFAULT);
/// let listener = ListenOptions::new().filter(Prefix(b"NOTIFY ")).receive_buffer(1 << 20).bind::<1500>(membership)?;
/// # Ok::<(), multicast::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
#[must_use]
pub struct ListenOptions<F = Always> {
    filter: F,
    receive_buffer: Option<usize>,
    metadata: bool,
    answers: bool,
    unicast: bool,
    kernel_filter: bool,
    max_instructions: u16,
    reuse_port: bool,
}

impl ListenOptions {
    /// Options with all defaults.
    pub const fn new() -> Self {
        Self {
            filter: Always,
            receive_buffer: None,
            metadata: false,
            answers: false,
            unicast: false,
            kernel_filter: true,
            max_instructions: INSTRUCTIONS as u16,
            reuse_port: true,
        }
    }
}

impl Default for ListenOptions {
    fn default() -> Self {
        Self::new()
    }
}

impl<F: Filter> ListenOptions<F> {
    /// The listener returns only packets that this filter accepts. It replaces the previous filter. Default: [`Always`], which
    /// accepts all.
    ///
    /// The [kernel runs](crate::filter#in-the-kernel) the part of it that it can, so the process does not wake up for packets
    /// that it rejects. For a closure use [`by`](crate::filter::by), for a regular expression `filter::Regex`.
    ///
    /// With a filter that needs the hop limit ([`Hops`](crate::filter::Hops)), each packet takes as long as with
    /// [`metadata`](Self::metadata).
    pub fn filter<G: Filter>(self, filter: G) -> ListenOptions<G> {
        let Self { receive_buffer, metadata, answers, unicast, kernel_filter, max_instructions, reuse_port, .. } = self;
        ListenOptions { filter, receive_buffer, metadata, answers, unicast, kernel_filter, max_instructions, reuse_port }
    }

    /// Whether the kernel runs guard and filter, as far as it can (`SO_ATTACH_FILTER`, `socket(7)`). Default: true.
    ///
    /// Use `false` for exact counters: the kernel counts packets that guard and filter refuse as
    /// [dropped](crate::Counters::dropped). The listener returns the same packets with both values, except for a packet whose fragments
    /// came in on different interfaces: the kernel reassembles them without regard to the interface, and tells the guard and this process
    /// different ones. If the kernel does not accept a program, guard and filter run in this process.
    #[doc(alias = "SO_ATTACH_FILTER")]
    pub const fn kernel_filter(mut self, on: bool) -> Self {
        self.kernel_filter = on;
        self
    }

    /// How many instructions the filter's program in the kernel may have, 2 to 4,096. Other values are set to the nearest of
    /// these. Default: 64.
    ///
    /// The program is built on the stack, where an instruction takes 8 bytes. Above 64 instructions, that takes 32 KiB of stack
    /// while the listener is created and while its filter is replaced.
    ///
    /// ```no_run
    /// # use multicast::{ListenOptions, Membership, filter::Prefix};
    /// # let membership = Membership::any(multicast::Group::DEFAULT);
    /// let long = Prefix([0x47; 200]);
    /// let listener = ListenOptions::new().filter(long).max_instructions(128).bind::<1500>(membership)?;
    /// # Ok::<(), multicast::Error>(())
    /// ```
    pub const fn max_instructions(mut self, instructions: usize) -> Self {
        self.max_instructions = within_limits(instructions);
        self
    }

    /// Asks for a receive buffer of this many bytes (`SO_RCVBUFFORCE`, else `SO_RCVBUF`; `socket(7)`). Default: the system's.
    ///
    /// Without `CAP_NET_ADMIN` the kernel limits it to `net.core.rmem_max` and reports no error.
    /// [`receive_buffer`](ListeningSocket::receive_buffer) of the listener returns the granted size.
    #[doc(alias = "SO_RCVBUF")]
    pub const fn receive_buffer(mut self, bytes: usize) -> Self {
        self.receive_buffer = Some(bytes);
        self
    }

    /// Asks the kernel for more than payload and source of each packet: see [`Packet::metadata`](crate::Packet::metadata).
    /// Default: off.
    ///
    /// Each packet then takes about 25 percent more time, since it is received by `recvmsg(2)` with control messages.
    pub const fn metadata(mut self) -> Self {
        self.metadata = true;
        self
    }

    /// Asks the kernel where each packet was sent to and came in, so that [`Sender::reply`](crate::Sender::reply) can answer it.
    /// Default: off. [`metadata`](Self::metadata) and [`unicast`](Self::unicast) include it.
    ///
    /// [`Packet::metadata`](crate::Packet::metadata) then has these two fields. Each packet takes more time, as with `metadata`.
    pub const fn answers(mut self) -> Self {
        self.answers = true;
        self
    }

    /// Also returns packets that were sent to this machine itself (unicast), for a listener that is bound to a port
    /// ([`Bind::Port`]): those that came in on an interface where it has joined any group, and those that a process of this machine
    /// sent to an address of such an interface or of `lo`. Broadcasts are refused. Default: off.
    ///
    /// The kernel gives each unicast packet to only one of the sockets that share a port, whatever they filter. So if another
    /// program on this machine answers on the port, such as an mDNS or SSDP daemon, each of the two takes packets away from the other
    /// (also [without this option](Bind::Port)): then ask from a port of your own ([`SendOptions::open_with_replies`](crate::SendOptions::open_with_replies)).
    ///
    /// A program that answers every packet must not answer its own: anybody on an IPv6 link can send one whose source is forged to be an
    /// address and port of this listener.
    ///
    /// If the kernel runs no guard (with [`kernel_filter(false)`](Self::kernel_filter), in a virtual routing domain, or with hundreds
    /// of memberships), unicast that came in on any interface is returned: the guard has the only list of interfaces.
    pub const fn unicast(mut self) -> Self {
        self.unicast = true;
        self
    }

    /// Whether to share the port also with sockets that have `SO_REUSEPORT` but not `SO_REUSEADDR` (`socket(7)`). Default: true.
    ///
    /// The listener can then be created beside such sockets of the same user. They can be bound beside it as long as it is
    /// [pinned](Bind::Group) to an interface, and for an IPv6 group also after it was unpinned. With `false`, whoever comes second gets
    /// [`ErrorKind::AddressInUse`], and a program that listens to one IPv4 group is about 700 bytes smaller.
    ///
    /// With `true` there is one neighbour that takes packets away: a program of the same user that pins a socket to the same interface, and
    /// then binds it to the same IPv4 group with `SO_REUSEPORT`. If only one of the two sockets has joined the source of a packet, the kernel
    /// gives it to either (Linux 6.6 and later). With `false` each gets its own.
    #[doc(alias = "SO_REUSEPORT")]
    pub const fn reuse_port(mut self, on: bool) -> Self {
        self.reuse_port = on;
        self
    }

    /// Creates a listener with its own buffer of `MTU` bytes. Longer packets are cut. Name the number, as in `bind::<1500>(membership)`,
    /// or name the listener's type.
    ///
    /// # Errors
    /// As [`ListeningSocket::join`] if it joins; [`ErrorKind::AddressInUse`] if another socket
    /// holds the port and does not share it. For [`Bind::Interface`], also if the kernel does not pin to the interface:
    /// [`ErrorKind::Denied`] before Linux 5.7 without `CAP_NET_RAW`;
    /// [`ErrorKind::Unsupported`] before Linux 5.0;
    /// [`ErrorKind::OneInterface`] for [`Interface::All`]. [`ErrorKind::InvalidInput`] for [`unicast`](Self::unicast) with anything but
    /// [`Bind::Port`].
    // Inlined, so that a program which names its places in the source links only what those places need: without it two-listeners is
    // 18,456 bytes larger.
    #[inline(always)]
    pub fn bind<const MTU: usize>(self, place: impl Into<Bind>) -> Result<Listener<MTU, F>> {
        let inner = self.open(place.into(), MTU, false)?;
        Ok(ListeningSocket { inner, buffer: Own::new() })
    }

    /// Creates a listener without a buffer: [`recv_into`](Receiver::recv_into) reads packets of up to `mtu` bytes into yours.
    ///
    /// # Errors
    /// As [`bind`](Self::bind).
    // Inlined for the reason that `bind` has.
    #[inline(always)]
    pub fn bind_receiver(self, place: impl Into<Bind>, mtu: usize) -> Result<Receiver<F>> {
        let inner = self.open(place.into(), mtu, false)?;
        Ok(ListeningSocket { inner, buffer: () })
    }

    /// Creates a listener for which the kernel coalesces packets of one sender, and delivers them in one call (`UDP_GRO`,
    /// `udp(7)`, Linux 5.0). That is many times cheaper if the sender sends batches (`UDP_SEGMENT`), or if the network interface
    /// coalesces. The listener still returns packets one by one. Packets longer than `mtu` bytes are cut.
    ///
    /// With a filter that needs the hop limit ([`Hops`](crate::filter::Hops)) nothing is coalesced: kernels before 6.9 also
    /// coalesce packets whose hop limits differ, and report only that of the first.
    ///
    /// You lend it the buffer, so that 64 KiB are never moved: a `static`, a `Box`, or a local variable.
    ///
    /// ```no_run
    /// # use multicast::{COALESCING_BUFFER, Group, ListenOptions, Membership};
    /// let mut buffer = [0; COALESCING_BUFFER];
    /// let listener = ListenOptions::new().bind_coalescing(Membership::any(Group::DEFAULT), 1500, &mut buffer)?;
    /// # Ok::<(), multicast::Error>(())
    /// ```
    ///
    /// A buffer that is too short for the longest datagram would lose packets, so it does not compile:
    ///
    /// ```compile_fail,E0308
    /// # use multicast::{Group, ListenOptions, Membership};
    /// let mut buffer = [0; 4096];
    /// let listener = ListenOptions::new().bind_coalescing(Membership::any(Group::DEFAULT), 1500, &mut buffer)?;
    /// # Ok::<(), multicast::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`bind`](Self::bind), and [`ErrorKind::Unsupported`] before Linux 5.0.
    #[doc(alias = "UDP_GRO")]
    // Inlined for the reason that `bind` has.
    #[inline(always)]
    pub fn bind_coalescing(
        self,
        place: impl Into<Bind>,
        mtu: usize,
        buffer: &mut [u8; COALESCING_BUFFER],
    ) -> Result<CoalescingListener<'_, F>> {
        let inner = self.open(place.into(), mtu, true)?;
        Ok(ListeningSocket { inner, buffer: Coalescing::new(buffer) })
    }

    /// Creates every listener.
    // Inlined for the reason that `bind` has: without it two-listeners is 18,408 bytes larger.
    #[inline(always)]
    fn open(self, bind: Bind, mtu: usize, coalesces: bool) -> Result<Inner<F>> {
        if mtu == 0 || mtu > u16::MAX as usize {
            return Err(Error::custom(ErrorKind::OutOfRange, "bind: the mtu is out of range: give 1 to 65535 bytes"));
        }
        // The options are first read into plain values: after a system call the compiler must assume that memory has changed.
        let place = bind.place();
        let (may_need_guard, needs_scope) = (place.needs_guard(), place.needs_scope());
        let Place { address, port, needs_port, group, membership, needs_pin } = place;
        let address = SocketAddr::new(address, port);
        let (family, address) = (family_of(&address), Address::to(&address));
        let Self { mut filter, receive_buffer, metadata, answers, unicast, kernel_filter, max_instructions, reuse_port } =
            self;
        if unicast && group.is_some() {
            return Err(not_by_port());
        }
        let asks = Asks { all: metadata, way: answers || unicast, hop_limit: filter.needs_hop_limit() };
        let wants = match (asks.all || asks.way, asks.hop_limit) {
            (true, _) => Wants::Metadata,
            (false, true) => Wants::HopLimit,
            (false, false) => Wants::Payload,
        };
        let on_one = match membership {
            Some(membership) => needs_pin || !matches!(membership.interface(), Interface::All),
            None => false,
        };
        let has_source = membership.is_some_and(|membership| membership.only_source().is_some());

        let socket = Socket::listening(family)?;
        filter.prepare(mtu);
        if let Some(bytes) = receive_buffer {
            socket.set_receive_buffer(bytes)?;
        }
        let index = match membership {
            Some(membership) if on_one => {
                let operation = if needs_pin { Operation::Bind } else { Operation::Join };
                Some(socket.interface_index(membership.group(), membership.interface(), operation)?)
            }
            _ => None,
        };
        // Everything is set before the bind, so that no unwanted packet is queued.
        let mut pinned = None;
        if let (Some(membership), Some(index)) = (membership, index) {
            if needs_pin {
                socket.pin_first(membership.group(), membership.interface(), index)?;
                pinned = Some(index);
            } else if (reuse_port || may_need_guard) && socket.pin(index).is_ok() {
                pinned = Some(index);
            }
        }
        let is_pinned = needs_pin || pinned.is_some();
        let needs_guard = may_need_guard && !is_pinned;
        let mut gatekeeper = Inner::gatekeeper(&socket, family, needs_guard, wants, asks)?;
        // Kernels before 6.9 coalesce packets of different hop limits, and report that of the first.
        let coalesces = coalesces && !filter.needs_hop_limit();
        if coalesces {
            socket.want_coalesced()?;
            // So that packets in the buffer can be checked again after a membership has ended.
            socket.want_packet_info(family)?;
        }
        let admits = match (needs_pin, is_pinned, unicast) {
            (true, _, _) => Admits::JoinedOnOne,
            (false, true, _) => Admits::JoinedPinned,
            (false, false, true) => Admits::JoinedAndUnicast,
            (false, false, false) => Admits::Joined,
        };
        let mode = if coalesces { Mode::Coalesces } else { Mode::Plain };
        let mut state = State::new(mtu, if kernel_filter { max_instructions } else { 0 }, admits);
        if kernel_filter {
            let (has_guard, offload) = attach(&socket, &filter, family, needs_guard, state, mode);
            state.offload = offload;
            if has_guard {
                gatekeeper.guard_attached();
            }
            if has_guard && unicast {
                gatekeeper.guard_passes_unicast(Inner::recv_checked);
            }
        }
        // Until it joins, a listener of one group is pinned where it joins nothing. Only now: there is no guard for a pinned socket.
        if group.is_some() && index.is_none() && reuse_port && socket.pin(LOOPBACK).is_ok() {
            pinned = Some(LOOPBACK);
            state.admits = Admits::JoinedPinned;
        }
        let bound = match needs_port {
            true => socket.bind_to_free_port(&address),
            false => socket.bind_to(&address, needs_scope, pinned, reuse_port),
        };
        if let Err(errno) = bound {
            return Err(Error::system(Operation::Bind, group.map_or(Object::Port(port), Object::Group), errno));
        }
        // The first membership of a socket without a guard cannot conflict with another one or exceed a limit, so a simple join
        // is enough.
        let is_simple = on_one && !has_source && !(needs_guard && kernel_filter);
        if let (Some(membership), Some(index), true) = (membership, index, is_simple) {
            socket.join_first(membership.group(), membership.interface(), index)?;
        }
        let mut inner = Inner::new(socket, filter, gatekeeper, state, mode);
        if let (Some(membership), false) = (membership, is_simple) {
            // On all interfaces, a limit is no reason to have no listener. `join` tells it again.
            let _limit = inner.join_within_limits(&membership)?;
        }
        Ok(inner)
    }
}

#[cold]
const fn not_by_port() -> Error {
    Error::custom(
        ErrorKind::InvalidInput,
        "bind: unicast() and one group do not go together: use Bind::Port, and join the group",
    )
}

impl Listener {
    /// Creates a listener for all packets of one group, on the membership's interface, with a buffer of 4,096 bytes.
    ///
    /// For other lengths and options see [`ListenOptions::bind`].
    ///
    /// # Errors
    /// As [`ListenOptions::bind`].
    pub fn bind(membership: Membership) -> Result<Self> {
        ListenOptions::new().bind(membership)
    }
}
