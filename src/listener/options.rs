//! How a listener is made.

use super::bind::{Bind, Place};
use super::coalescing::{COALESCING_BUFFER, Coalescing};
use super::gatekeeper::Wants;
use super::offload::{attach, within_limits};
use super::receiving::{Inner, Setup};
use super::socket::{CoalescingListener, Listener, ListeningSocket, Own, Receiver};
use crate::address::Address;
use crate::error::{Error, Object, Operation, Result};
use crate::filter::kernel::INSTRUCTIONS;
use crate::filter::{Always, Filter};
use crate::group::{Interface, Membership};
use crate::socket::{Socket, family_of};

/// Options for a listener; the last call, one of three, makes it:
///
/// | call | makes a | whose packets lie in |
/// |---|---|---|
/// | [`bind`](Self::bind) | [`Listener`] | a buffer of its own |
/// | [`bind_receiver`](Self::bind_receiver) | [`Receiver`] | the buffer that you give to each call |
/// | [`bind_coalescing`](Self::bind_coalescing) | [`CoalescingListener`] | one buffer of yours, many at a time |
///
/// Each takes a [`Bind`], which says where to listen, or simply a [`Membership`].
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
    kernel_filter: bool,
    max_instructions: u16,
    reuse_port: bool,
}

impl ListenOptions {
    /// No filter, and the system's receive buffer.
    pub const fn new() -> Self {
        Self {
            filter: Always,
            receive_buffer: None,
            metadata: false,
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
    /// Hands out only packets that this filter accepts. It replaces the previous filter. Default: all packets.
    ///
    /// What the [kernel can decide](crate::filter#in-the-kernel) is decided there, before the process wakes up. A closure is a filter by
    /// way of [`by`](crate::filter::by), a regular expression by way of `filter::Regex`.
    pub fn filter<G: Filter>(self, filter: G) -> ListenOptions<G> {
        let Self { receive_buffer, metadata, kernel_filter, max_instructions, reuse_port, .. } = self;
        ListenOptions { filter, receive_buffer, metadata, kernel_filter, max_instructions, reuse_port }
    }

    /// Whether the kernel runs what it can of filter and guard (`SO_ATTACH_FILTER`, `socket(7)`). Default: true.
    ///
    /// Use `false` for an exact ledger: the kernel counts what it was told to refuse as [dropped](crate::Counters::dropped). The same
    /// packets are handed out either way. If the kernel does not take a program, all is decided in this process in any case.
    #[doc(alias = "SO_ATTACH_FILTER")]
    pub const fn kernel_filter(mut self, on: bool) -> Self {
        self.kernel_filter = on;
        self
    }

    /// How many instructions the filter's program in the kernel may have, 2 to 4,096; a number beyond that counts as the nearest.
    /// Default: 64.
    ///
    /// The program is built on the stack, where an instruction takes 8 bytes. Above 64 a function of its own builds it, with 32 KiB of
    /// stack: while the listener is made, and while its filter is replaced.
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
    /// Without `CAP_NET_ADMIN` the kernel caps it at `net.core.rmem_max` and reports no error:
    /// [`receive_buffer`](ListeningSocket::receive_buffer) of the listener tells what was granted.
    #[doc(alias = "SO_RCVBUF")]
    pub const fn receive_buffer(mut self, bytes: usize) -> Self {
        self.receive_buffer = Some(bytes);
        self
    }

    /// Asks for what the kernel tells of each packet beside its payload: see [`Packet::metadata`](crate::Packet::metadata).
    ///
    /// Without it a listener to one IPv4 group reads with the cheapest call there is; with it each packet costs about a quarter
    /// more (`recvmsg(2)` with control messages).
    pub const fn metadata(mut self) -> Self {
        self.metadata = true;
        self
    }

    /// Whether to share the port also with sockets that have `SO_REUSEPORT` and not `SO_REUSEADDR` (`socket(7)`). Default: true. With
    /// `false` a port that such a socket holds is [`ErrorKind::AddressInUse`](crate::ErrorKind::AddressInUse).
    ///
    /// A socket that shares in this way may be given what another one joined, so each packet's destination must be checked. With
    /// `false`, a program that listens to one IPv4 group without metadata is some 1,500 bytes smaller: the code for that check is not
    /// linked.
    #[doc(alias = "SO_REUSEPORT")]
    pub const fn reuse_port(mut self, on: bool) -> Self {
        self.reuse_port = on;
        self
    }

    /// Makes a listener with a buffer of its own, of `MTU` bytes: the longest packet that is received whole.
    ///
    /// # Errors
    /// As [`ListeningSocket::join`], where something is joined at once; [`ErrorKind::AddressInUse`](crate::ErrorKind::AddressInUse) if another socket holds the port
    /// and does not share it. For [`Bind::Interface`], also if the kernel does not bind to the interface:
    /// [`ErrorKind::Denied`](crate::ErrorKind::Denied) before Linux 5.7 without `CAP_NET_RAW`; [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported) before Linux 5.0;
    /// [`ErrorKind::OneInterface`](crate::ErrorKind::OneInterface) for [`Interface::All`].
    pub fn bind<const MTU: usize>(self, place: impl Into<Bind>) -> Result<Listener<MTU, F>> {
        let inner = self.open(place.into(), MTU, false)?;
        Ok(ListeningSocket { inner, buffer: Own::new() })
    }

    /// Makes a listener without a buffer: [`recv_into`](Receiver::recv_into) reads packets of up to `mtu` bytes into one of yours.
    ///
    /// # Errors
    /// As [`bind`](Self::bind).
    pub fn bind_receiver(self, place: impl Into<Bind>, mtu: usize) -> Result<Receiver<F>> {
        let inner = self.open(place.into(), mtu, false)?;
        Ok(ListeningSocket { inner, buffer: () })
    }

    /// Makes a listener for which the kernel coalesces packets of one sender, and hands them over in one call (`UDP_GRO`, `udp(7)`,
    /// Linux 5.0). That is many times cheaper where the sender, or the network interface, does the same. Packets still come out
    /// one by one; what is longer than `mtu` bytes is cut.
    ///
    /// You lend it the buffer, so that its 64 KiB never travel by value: a `static`, a `Box`, or a local variable. A buffer that is
    /// too short for the longest datagram would lose packets, and does not compile:
    ///
    /// ```compile_fail,E0308
    /// # use multicast::{Group, ListenOptions, Membership};
    /// let mut buffer = [0; 4096];
    /// let listener = ListenOptions::new().bind_coalescing(Membership::any(Group::DEFAULT), 1500, &mut buffer)?;
    /// # Ok::<(), multicast::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`bind`](Self::bind), and [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported) before Linux 5.0.
    #[doc(alias = "UDP_GRO")]
    pub fn bind_coalescing(
        self,
        place: impl Into<Bind>,
        mtu: usize,
        buffer: &mut [u8; COALESCING_BUFFER],
    ) -> Result<CoalescingListener<'_, F>> {
        let inner = self.open(place.into(), mtu, true)?;
        Ok(ListeningSocket { inner, buffer: Coalescing::new(buffer) })
    }

    /// The one way to make a listener.
    fn open(self, bind: Bind, mtu: usize, coalesces: bool) -> Result<Inner<F>> {
        // All that decides the way is read first, into plain values: after the first system call the compiler trusts no memory.
        let place = bind.place();
        let (needs_guard, must_unbind) = (place.needs_guard(), place.must_unbind());
        let Place { address, group, membership, one_interface } = place;
        let (family, port, address) = (family_of(&address), address.port(), Address::to(&address));
        let Self { mut filter, receive_buffer, metadata, kernel_filter, max_instructions, reuse_port } = self;
        let wants = if metadata { Wants::Metadata } else { Wants::Payload };
        let refused = match group {
            Some(group) => Object::Group(group),
            None => Object::Port(port),
        };
        // The first membership of a socket without a guard can meet neither another one nor a limit: that takes less code.
        let (join, is_simple) = match membership {
            Some(membership) => {
                let (group, interface) = (membership.group(), membership.interface());
                let on_one = one_interface || !matches!(interface, Interface::All);
                let has_guard = needs_guard && kernel_filter;
                (Some((group, interface)), on_one && membership.only_source().is_none() && !has_guard)
            }
            None => (None, true),
        };

        let socket = Socket::listening(family)?;
        filter.prepare(mtu);
        if let Some(bytes) = receive_buffer {
            socket.set_receive_buffer(bytes)?;
        }
        // All is set before the socket is bound, so that nothing slips in that was not meant to.
        let index = match join {
            Some((group, interface)) if one_interface => Some(socket.bind_to_interface(group, interface)?),
            _ => None,
        };
        let mut gatekeeper = Inner::gatekeeper(&socket, family, needs_guard, wants)?;
        if coalesces {
            socket.want_coalesced()?;
        }
        let mut setup = Setup::new(mtu, if kernel_filter { max_instructions } else { 0 }, coalesces);
        setup.one_interface = one_interface;
        if kernel_filter && attach(&socket, &filter, family, needs_guard, &mut setup) {
            gatekeeper.guard_attached();
        }
        let mut bound = socket.bind(&address);
        if reuse_port && bound.is_err() {
            match socket.bind_beside(bound, &address) {
                Ok(sharing) => {
                    Inner::guard_against(sharing, &socket, family, &mut gatekeeper)?;
                    bound = Ok(());
                }
                Err(errno) => bound = Err(errno),
            }
        }
        if must_unbind && bound.is_ok() {
            bound = socket.unbind_from_interface();
        }
        if let Err(errno) = bound {
            return Err(Error::system(Operation::Bind, refused, errno));
        }
        match (join, index) {
            (Some((group, interface)), Some(index)) if is_simple => socket.join_first_on(group, interface, index)?,
            (Some((group, interface)), None) if is_simple => socket.join_first(group, interface)?,
            _ => {}
        }
        let mut inner = Inner::new(socket, filter, gatekeeper, setup);
        if let (Some(membership), false) = (membership, is_simple) {
            inner.join(&membership)?;
        }
        Ok(inner)
    }
}

impl Listener {
    /// Listens to all packets of one group, on the membership's interface, in a buffer of 4,096 bytes.
    ///
    /// For other lengths, and all else, see [`ListenOptions::bind`].
    ///
    /// # Errors
    /// As [`ListenOptions::bind`].
    pub fn bind(membership: Membership) -> Result<Self> {
        ListenOptions::new().bind(membership)
    }
}
