//! A bound socket that receives, over a buffer of one of three kinds.

use core::fmt;
use core::net::SocketAddr;

use super::coalescing::Coalescing;
use super::receiving::{Counters, Inner};
use crate::error::{Error, ErrorKind, Result};
use crate::filter::{Always, Filter};
use crate::packet::{Head, Packet, Received};

/// A bound socket that receives packets of multicast groups, with a filter `F` and counters, over a buffer `B`.
///
/// There are three kinds, by their buffer: [`Listener`], [`Receiver`] and [`CoalescingListener`]. [`ListenOptions`](crate::ListenOptions) makes each. Write
/// `ListeningSocket<B, F>` in a function that takes any of them.
///
/// Dropping it leaves all groups and closes the socket.
pub struct ListeningSocket<B, F = Always> {
    pub(super) inner: Inner<F>,
    pub(super) buffer: B,
}

/// A [`ListeningSocket`] with a buffer of its own of `MTU` bytes, 1 to 65,535: the longest packet that is received whole. 1,472 is what
/// an Ethernet frame carries over IPv4 without fragments. Default: 4,096.
///
/// It lives wherever you put it, and allocates nothing.
pub type Listener<const MTU: usize = 4096, F = Always> = ListeningSocket<Own<MTU>, F>;

/// A [`ListeningSocket`] without a buffer: it receives into any slice of yours.
pub type Receiver<F = Always> = ListeningSocket<(), F>;

/// A [`ListeningSocket`] that takes many packets in one call, into a buffer that you lend it, and hands them out one by one.
///
/// ```no_run
/// # use multicast::{COALESCING_BUFFER, Group, ListenOptions, Membership, Received};
/// let mut buffer = [0; COALESCING_BUFFER];
/// let mut listener = ListenOptions::new().bind_coalescing(Membership::any(Group::DEFAULT), 1472, &mut buffer)?;
/// loop {
///     match listener.recv()? {
///         Received::Packet(packet) => println!("{}: {} bytes", packet.source(), packet.payload().len()),
///         Received::Paused => continue,
///         Received::Empty => break,
///     }
/// }
/// # Ok::<(), multicast::Error>(())
/// ```
///
/// It has no way to receive a datagram as the kernel coalesced it:
///
/// ```compile_fail,E0599
/// # use multicast::{COALESCING_BUFFER, Group, ListenOptions, Membership};
/// # let mut buffer = [0; COALESCING_BUFFER];
/// # let mut listener = ListenOptions::new().bind_coalescing(Membership::any(Group::DEFAULT), 1472, &mut buffer)?;
/// let packets_glued_together = listener.recv_into(&mut [0; 1472])?;
/// # Ok::<(), multicast::Error>(())
/// ```
///
/// Packets wait in its buffer as well as in the kernel's. So call `recv` until it says [`Empty`](Received::Empty) before you wait: a
/// poller knows only of the kernel's. A socket that is made of it goes on to coalesce packets; those that were not handed out are
/// dropped.
pub type CoalescingListener<'b, F = Always> = ListeningSocket<Coalescing<'b>, F>;

/// The buffer of a [`Listener`].
pub struct Own<const MTU: usize> {
    /// Always full: each packet overwrites what lies in it. A short type for its length keeps the listener small.
    bytes: heapless::Vec<u8, MTU, u16>,
}

impl<const MTU: usize> Own<MTU> {
    pub(super) fn new() -> Self {
        const { assert!(MTU >= 1 && MTU <= u16::MAX as usize, "a listener's MTU is 1 to 65,535 bytes") };
        Self { bytes: heapless::Vec::from_array([0; MTU]) }
    }
}

impl<const MTU: usize> AsRef<[u8]> for Own<MTU> {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl<const MTU: usize, F: Filter> Listener<MTU, F> {
    /// Receives one packet, which is lent until the next call. It never blocks. [`Received`] shows the loop that takes all there is.
    ///
    /// Packets that the filter rejects are read, counted and passed over, 64 in one call at most.
    ///
    /// # Errors
    /// What the kernel reports of the socket. Nothing is lost by an error; call again.
    // An inherent method and no `Iterator`: the packet is lent, and an iterator's items must outlive its `next`.
    // Inlined down to the system call (see `Inner::recv_into`): with `#[inline]`, a program of opt-level "z" that receives in several
    // places makes one more call a packet. It saves no bytes.
    #[inline(always)]
    pub fn recv(&mut self) -> Result<Received<'_>> {
        self.inner.recv_into(&mut self.buffer.bytes)
    }
}

impl<F: Filter> CoalescingListener<'_, F> {
    /// Receives one packet, which is lent until the next call. It never blocks. Filter, mtu and counters see packets as they were
    /// sent, not as the kernel coalesced them.
    ///
    /// Packets that the filter rejects are counted and passed over, 64 in one call at most, and those that came together with the
    /// last of them.
    ///
    /// # Errors
    /// What the kernel reports of the socket. Nothing is lost by an error; call again.
    #[inline]
    pub fn recv(&mut self) -> Result<Received<'_>> {
        self.buffer.recv(&mut self.inner)
    }
}

impl<F: Filter> Receiver<F> {
    /// Receives one packet into `buffer`, which should be as long as the longest packet that is expected (`recvfrom(2)`,
    /// `recvmsg(2)`). It never blocks.
    ///
    /// Packets that the filter rejects are read, counted and passed over, 64 in one call at most. The filter sees as many bytes of
    /// a packet as the mtu that the receiver was made with, even where the buffer holds more.
    ///
    /// # Errors
    /// What the kernel reports of the socket. Nothing is lost by an error; call again. [`ErrorKind::InvalidInput`] where the kernel
    /// runs the filter, and the buffer is shorter than the mtu: the filter would judge bytes that the buffer does not hold.
    // Inlined for the reason that `Listener::recv` has.
    #[inline(always)]
    pub fn recv_into<'b>(&'b mut self, buffer: &'b mut [u8]) -> Result<Received<'b>> {
        if self.inner.setup.kernel_filters && buffer.len() < usize::from(self.inner.setup.mtu) {
            return Err(short_buffer());
        }
        self.inner.recv_into(buffer)
    }
}

#[cold]
const fn short_buffer() -> Error {
    Error::custom(
        ErrorKind::InvalidInput,
        "receive: the buffer is shorter than the mtu that the kernel's filter was made for: give a longer one, or turn kernel_filter off",
    )
}

impl<B: AsRef<[u8]>, F> ListeningSocket<B, F> {
    /// The packet of this head, which the last `recv` handed out, lent once more: see [`Head`].
    #[must_use]
    pub fn packet(&self, head: Head) -> Packet<'_>
    where
        F: Filter,
    {
        head.packet(self.buffer.as_ref(), self.inner.metadata())
    }
}

impl<B, F> ListeningSocket<B, F> {
    /// The filter.
    pub const fn filter(&self) -> &F {
        &self.inner.filter
    }

    /// What became of the packets so far: one system call (`getsockopt(2)`).
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.inner.counters()
    }

    /// The address that it is bound to (`getsockname(2)`): the group, or the wildcard address, and the port.
    ///
    /// # Errors
    /// What the kernel reports.
    pub fn local_addr(&self) -> Result<SocketAddr> {
        self.inner.socket.local_addr()
    }

    /// The size of the receive buffer in bytes that the kernel granted (`SO_RCVBUF`, `socket(7)`). It reports twice of what was asked
    /// for, since it counts its own bookkeeping: a packet of 64 bytes takes 832 bytes of it.
    ///
    /// # Errors
    /// What the kernel reports.
    #[doc(alias = "SO_RCVBUF")]
    pub fn receive_buffer(&self) -> Result<usize> {
        self.inner.socket.receive_buffer()
    }

    /// For the book of its memberships.
    pub(crate) const fn inner_mut(&mut self) -> &mut Inner<F> {
        &mut self.inner
    }
}

impl<B, F: fmt::Debug> fmt::Debug for ListeningSocket<B, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { socket, filter, gatekeeper, .. } = &self.inner;
        let mut debug = f.debug_struct("ListeningSocket");
        debug.field("socket", socket).field("filter", filter).field("gatekeeper", gatekeeper).finish_non_exhaustive()
    }
}
