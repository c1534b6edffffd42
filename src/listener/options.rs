//! How a listener is made.

use core::net::SocketAddr;

use super::receiver::Receiver;
use super::state::Look;
use super::{COALESCING_BUFFER, CoalescingOptions, Listener};
use crate::error::{Error, Object, Operation, Result};
use crate::filter::kernel::INSTRUCTIONS;
use crate::filter::{Always, By, Filter, by};
use crate::group::{Family, Group, Interface, Membership};
use crate::socket::{Socket, family_of, wildcard};

/// Options for a listener; the last call makes it.
///
/// ```no_run
/// # use multicast::{ListenOptions, Membership, filter::Prefix};
/// # let membership = Membership::any(multicast::Group::DEFAULT);
/// let listener = ListenOptions::new().filter(Prefix(b"NOTIFY ")).receive_buffer(1 << 20).bind::<1500>(membership)?;
/// # Ok::<(), multicast::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
#[must_use]
pub struct ListenOptions<F = Always, const PROGRAM: usize = INSTRUCTIONS> {
    filter: F,
    receive_buffer: Option<usize>,
    metadata: bool,
    userspace_only: bool,
    reuse_port: bool,
}

impl ListenOptions {
    /// No filter, and the system's receive buffer.
    pub const fn new() -> Self {
        Self { filter: Always, receive_buffer: None, metadata: false, userspace_only: false, reuse_port: true }
    }
}

impl<F: Filter, const PROGRAM: usize> ListenOptions<F, PROGRAM> {
    /// Hands out only packets that this filter accepts. It takes the place of the filter before.
    ///
    /// What it can decide [in the kernel](crate::filter#in-the-kernel) is decided there, before the packet wakes anybody.
    pub fn filter<G: Filter>(self, filter: G) -> ListenOptions<G, PROGRAM> {
        let Self { receive_buffer, metadata, userspace_only, reuse_port, .. } = self;
        ListenOptions { filter, receive_buffer, metadata, userspace_only, reuse_port }
    }

    /// Whether the kernel runs what it can of filter and guard (`SO_ATTACH_FILTER`, `socket(7)`). It does unless this is `false`.
    ///
    /// `false` is for an exact ledger: the kernel counts what it was told to refuse as [dropped](crate::Counters::dropped). Which packets
    /// are handed out is the same either way. Where the kernel does not take a program, all is decided here in any case.
    #[doc(alias = "SO_ATTACH_FILTER")]
    pub const fn kernel_filter(mut self, on: bool) -> Self {
        self.userspace_only = !on;
        self
    }

    /// How many instructions the filter's program in the kernel may have: 64 where this is not said, 2 to 4,096. It is made on
    /// the stack, where one takes 8 bytes.
    ///
    /// ```no_run
    /// # use multicast::{ListenOptions, Membership, filter::Prefix};
    /// # let membership = Membership::any(multicast::Group::DEFAULT);
    /// let long = Prefix([0x47; 200]);
    /// let listener = ListenOptions::new().filter(long).instructions::<128>().bind::<1500>(membership)?;
    /// # Ok::<(), multicast::Error>(())
    /// ```
    pub fn instructions<const N: usize>(self) -> ListenOptions<F, N> {
        let Self { filter, receive_buffer, metadata, userspace_only, reuse_port } = self;
        ListenOptions { filter, receive_buffer, metadata, userspace_only, reuse_port }
    }

    /// Hands out only packets for which the closure, given payload and sender, is true.
    pub fn filter_fn<C: FnMut(&[u8], SocketAddr) -> bool>(self, closure: C) -> ListenOptions<By<C>, PROGRAM> {
        self.filter(by(closure))
    }

    /// Hands out only packets that match a regular expression, from their first byte on: see
    /// [`Regex`](crate::filter::Regex).
    ///
    /// # Errors
    /// [`ErrorKind::Pattern`](crate::ErrorKind::Pattern), with a sentence that says what is wrong.
    #[cfg(feature = "regex")]
    pub fn pattern(self, pattern: &str) -> Result<ListenOptions<crate::filter::Regex, PROGRAM>> {
        Ok(self.filter(crate::filter::Regex::new(pattern)?))
    }

    /// Asks for a receive buffer of this many bytes (`SO_RCVBUFFORCE`, else `SO_RCVBUF`; `socket(7)`).
    ///
    /// Without `CAP_NET_ADMIN` the kernel caps it in silence at `net.core.rmem_max`:
    /// [`Receiver::receive_buffer`] tells what was granted.
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

    /// Whether to share the port, too, with sockets that have `SO_REUSEPORT` and not `SO_REUSEADDR` (`socket(7)`); it is so if not
    /// called. With `false` a port that such a socket holds is [`ErrorKind::AddressInUse`](crate::ErrorKind::AddressInUse).
    ///
    /// A socket that shares in this way may be given what another one joined, so that each packet's destination must be looked at.
    /// A program that renounces it, and listens to one IPv4 group without metadata, is linked without the code for that: some
    /// 1,500 bytes.
    #[doc(alias = "SO_REUSEPORT")]
    pub const fn reuse_port(mut self, on: bool) -> Self {
        self.reuse_port = on;
        self
    }

    /// Lets the kernel put packets of one sender together and hand them over in one call (`UDP_GRO`, `udp(7)`, Linux 5.0), which
    /// is many times cheaper where the sender does the same. Packets still come out one by one.
    ///
    /// The buffer is the caller's, so that its 64 KiB never travel by value: a `static`, a `Box`, or a local variable. One that is
    /// too short for the longest datagram would lose packets, and does not compile:
    ///
    /// ```compile_fail,E0308
    /// # use multicast::{Group, ListenOptions, Membership};
    /// let mut buffer = [0; 4096];
    /// let listener = ListenOptions::new().coalesce(&mut buffer).bind(Membership::any(Group::DEFAULT))?;
    /// # Ok::<(), multicast::Error>(())
    /// ```
    #[doc(alias = "UDP_GRO")]
    pub fn coalesce(self, buffer: &mut [u8; COALESCING_BUFFER]) -> CoalescingOptions<'_, F> {
        CoalescingOptions::new(self.instructions(), buffer)
    }

    /// Makes a listener that is bound to the one group of `membership`, and joins it.
    ///
    /// # Errors
    /// As [`Receiver::join`]; [`ErrorKind::AddressInUse`](crate::ErrorKind::AddressInUse) where another socket holds the port
    /// and does not share it.
    pub fn bind<const MTU: usize>(self, membership: Membership) -> Result<Listener<MTU, F>> {
        self.bind_receiver(membership, MTU).map(Listener::from_receiver)
    }

    /// The same without a buffer: packets of up to `mtu` bytes will be read into the caller's.
    ///
    /// # Errors
    /// As [`bind`](Self::bind).
    pub fn bind_receiver(self, membership: Membership, mtu: usize) -> Result<Receiver<F>> {
        self.bound(membership, mtu, false)
    }

    /// Makes a listener that is bound to the one group, and joins it nowhere yet: for [`Memberships`](crate::Memberships), which joins
    /// as interfaces come. What [`bind`](Self::bind) is too early for, as a program that starts before the network.
    ///
    /// # Errors
    /// [`ErrorKind::AddressInUse`](crate::ErrorKind::AddressInUse) where another socket holds the port and does not share it.
    pub fn bind_to<const MTU: usize>(self, group: Group) -> Result<Listener<MTU, F>> {
        self.bind_receiver_to(group, MTU).map(Listener::from_receiver)
    }

    /// The same without a buffer: packets of up to `mtu` bytes will be read into the caller's.
    ///
    /// # Errors
    /// As [`bind_to`](Self::bind_to).
    pub fn bind_receiver_to(self, group: Group, mtu: usize) -> Result<Receiver<F>> {
        self.bound_to(group, mtu, false)
    }

    /// Makes a listener that is bound to the one group of `membership`, and to its interface, for good (`SO_BINDTOIFINDEX`,
    /// `socket(7)`, Linux 5.0).
    ///
    /// It hears what one of [`bind`](Self::bind) hears, and the kernel alone sees to that, for IPv6 as for IPv4: without a guard,
    /// and without a look at where each packet came in. A program for IPv6 that makes its listeners so is linked without the code
    /// for that, some 5,000 bytes, if it also says [`reuse_port(false)`](Self::reuse_port) and wants no metadata.
    ///
    /// In return it can be joined on no other interface, ever: [`ErrorKind::OneInterface`](crate::ErrorKind::OneInterface). One
    /// that is deleted and made anew under the same name is another interface, and takes a new listener;
    /// [`Memberships`](crate::Memberships) says so by the same error.
    ///
    /// ```no_run
    /// # use multicast::{Group, ListenOptions, Membership};
    /// let group: Group = "[ff15::4242]:4242".parse()?;
    /// let listener = ListenOptions::new().bind_to_interface::<1500>(Membership::any(group).on("eth0".parse()?))?;
    /// # Ok::<(), multicast::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`bind`](Self::bind), and where the kernel does not bind to the interface: never is there a listener that hears more.
    /// [`ErrorKind::Denied`](crate::ErrorKind::Denied) before Linux 5.7 without `CAP_NET_RAW`;
    /// [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported) before Linux 5.0;
    /// [`ErrorKind::OneInterface`](crate::ErrorKind::OneInterface) for [`Interface::All`].
    #[doc(alias = "SO_BINDTODEVICE")]
    #[doc(alias = "SO_BINDTOIFINDEX")]
    pub fn bind_to_interface<const MTU: usize>(self, membership: Membership) -> Result<Listener<MTU, F>> {
        self.bind_receiver_to_interface(membership, MTU).map(Listener::from_receiver)
    }

    /// The same without a buffer: packets of up to `mtu` bytes will be read into the caller's.
    ///
    /// # Errors
    /// As [`bind_to_interface`](Self::bind_to_interface).
    pub fn bind_receiver_to_interface(self, membership: Membership, mtu: usize) -> Result<Receiver<F>> {
        self.bound_to_both(membership, mtu)
    }

    /// Makes a listener that is bound to a port alone, 1 to 65,535, and joins no group yet: then [`join`](Receiver::join) any
    /// groups of that port. Port 0 lets the kernel choose one.
    ///
    /// The kernel runs a program for it that looks at each packet's destination, which a listener to one IPv4 group does not need.
    ///
    /// # Errors
    /// [`ErrorKind::AddressInUse`](crate::ErrorKind::AddressInUse) where another socket holds the port and does not share it.
    pub fn open<const MTU: usize>(self, port: u16, family: Family) -> Result<Listener<MTU, F>> {
        self.open_receiver(port, family, MTU).map(Listener::from_receiver)
    }

    /// The same without a buffer: packets of up to `mtu` bytes will be read into the caller's.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_receiver(self, port: u16, family: Family, mtu: usize) -> Result<Receiver<F>> {
        self.opened(port, family, mtu, false)
    }

    // Inlined, so that a program which names its group in the source is linked with what that group needs alone.
    #[inline(always)]
    pub(super) fn bound(self, membership: Membership, mtu: usize, is_coalesced: bool) -> Result<Receiver<F>> {
        // All that decides the way is read first: behind the first system call the compiler trusts no memory.
        let (group, interface, source) = (membership.group(), membership.interface(), membership.only_source());
        let userspace_only = self.userspace_only;
        let mut receiver = self.bound_to(group, mtu, is_coalesced)?;
        let has_guard_there = group.is_ipv6() && !userspace_only;
        if !has_guard_there && source.is_none() && !matches!(interface, Interface::All) {
            receiver.socket.join_first(group, interface)?;
        } else {
            receiver.join(&membership)?;
        }
        Ok(receiver)
    }

    #[inline(always)]
    fn bound_to(self, group: Group, mtu: usize, is_coalesced: bool) -> Result<Receiver<F>> {
        // An address of link scope binds the socket to one interface for good, so that it could never be joined on another
        // one: the guard keeps other groups out instead.
        let address = if group.is_link_local() { wildcard(group.family(), group.port()) } else { SocketAddr::from(group) };
        // Bound to an IPv4 group, and to nothing else, it needs no guard.
        let look = Look::new(group.is_ipv6(), self.metadata, is_coalesced);
        self.receiver(Socket::listening(group.family())?, address, Some(group), mtu, look)
    }

    pub(super) fn opened(self, port: u16, family: Family, mtu: usize, is_coalesced: bool) -> Result<Receiver<F>> {
        let look = Look::new(true, self.metadata, is_coalesced);
        self.receiver(Socket::listening(family)?, wildcard(family, port), None, mtu, look)
    }

    #[inline(always)]
    fn bound_to_both(self, membership: Membership, mtu: usize) -> Result<Receiver<F>> {
        let (group, interface, source) = (membership.group(), membership.interface(), membership.only_source());
        // The kernel itself keeps to the group and to the interface: neither family needs a guard.
        let look = Look::new(false, self.metadata, false);
        let socket = Socket::listening(group.family())?;
        let index = socket.bind_to_interface(group, interface)?;
        let mut receiver = self.receiver(socket, SocketAddr::from(group), Some(group), mtu, look)?;
        receiver.state.set_one_interface();
        if source.is_none() {
            receiver.socket.join_first_on(group, interface, index)?;
        } else {
            receiver.join(&membership)?;
        }
        Ok(receiver)
    }

    /// Binds a socket on which nothing is joined yet.
    #[inline(always)]
    fn receiver(
        mut self,
        socket: Socket,
        address: SocketAddr,
        group: Option<Group>,
        mtu: usize,
        look: Look,
    ) -> Result<Receiver<F>> {
        let family = family_of(&address);
        let refused = |errno| {
            let object = group.map_or(Object::Port(address.port()), Object::Group);
            Error::system(Operation::Bind, object, errno)
        };
        self.filter.prepare(mtu);
        let (in_kernel, reuse_port) = (!self.userspace_only, self.reuse_port);
        if let Some(bytes) = self.receive_buffer {
            socket.set_receive_buffer(bytes)?;
        }
        // All is set before the socket is bound, so that nothing slips in that was not meant to.
        let mut receiver = Receiver::new(socket, self.filter, family, group, look)?;
        receiver.cut_at(mtu);
        if in_kernel {
            receiver.attach::<PROGRAM>(family, look);
        }
        let bound = receiver.socket.bind(&address);
        if reuse_port && bound.is_err() {
            let sharing = receiver.socket.bind_beside(bound, &address).map_err(refused)?;
            receiver.guard_against(sharing, &address)?;
        } else {
            bound.map_err(refused)?;
        }
        Ok(receiver)
    }
}
