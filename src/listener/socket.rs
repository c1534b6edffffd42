//! A bound socket that receives, with a buffer of one of three kinds.

use core::fmt;
use core::net::SocketAddr;

use super::coalescing::Coalescing;
use super::receiving::{Counters, Inner, Offload};
use crate::error::{Error, ErrorKind, Result};
use crate::filter::{Always, Filter};
use crate::packet::{Head, Packet, Received};

/// A bound socket that receives packets of multicast groups, with a buffer `B`, a filter `F`, and counters.
///
/// There are three kinds, which differ in their buffer: [`Listener`], [`Receiver`] and [`CoalescingListener`].
/// [`ListenOptions`](crate::ListenOptions) creates all of them. In a function that joins, filters or counts, write
/// `ListeningSocket<B, F>`; to receive, name the kind.
///
/// It is a file descriptor (`AsFd`; with `std` also `AsRawFd`), so it can be registered with any runtime: call `recv` until it returns
/// [`Empty`](Received::Empty) before you wait again.
///
/// It returns packets that came in on interfaces where it joined their group. The kernel tells interfaces apart by their index, and not
/// when it reassembles fragments. So if an interface is deleted, leave its groups, as [`Memberships`](crate::Memberships) do: a new
/// interface may get the same index.
///
/// Dropping it leaves all groups and closes the socket.
pub struct ListeningSocket<B, F = Always> {
    pub(super) inner: Inner<F>,
    pub(super) buffer: B,
}

/// A [`ListeningSocket`] with its own buffer of `MTU` bytes, 1 to 65,535. Longer packets are cut. An Ethernet frame carries 1,472
/// bytes over IPv4 without fragmentation. Default: 4,096.
///
/// The buffer is part of the value; nothing is allocated.
pub type Listener<const MTU: usize = 4096, F = Always> = ListeningSocket<Own<MTU>, F>;

/// A [`ListeningSocket`] without a buffer: it receives into the slice that you pass to each call.
pub type Receiver<F = Always> = ListeningSocket<(), F>;

/// A [`ListeningSocket`] that receives many packets in one system call, into a buffer that you lend it, and returns them one by
/// one.
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
/// It cannot receive a datagram as the kernel coalesced it:
///
/// ```compile_fail,E0599
/// # use multicast::{COALESCING_BUFFER, Group, ListenOptions, Membership};
/// # let mut buffer = [0; COALESCING_BUFFER];
/// # let mut listener = ListenOptions::new().bind_coalescing(Membership::any(Group::DEFAULT), 1472, &mut buffer)?;
/// let coalesced = listener.recv_into(&mut [0; 1472])?;
/// # Ok::<(), multicast::Error>(())
/// ```
///
/// Packets wait in its buffer as well as in the kernel's, and a poller reports only those in the kernel's. So call `recv` until
/// it returns [`Empty`](Received::Empty) before you wait. If you convert it into an `OwnedFd`, the socket still coalesces
/// packets, and packets in the buffer are lost.
pub type CoalescingListener<'b, F = Always> = ListeningSocket<Coalescing<'b>, F>;

/// The buffer of a [`Listener`].
pub struct Own<const MTU: usize> {
    /// Its length is always `MTU`: each packet overwrites the previous one. The short type of the length keeps the listener
    /// small.
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
    /// Receives one packet, which is lent until the next call. It never blocks. [`Received`] shows a loop that takes all queued
    /// packets, and [`Head`] how a function can wait for a packet and return it.
    ///
    /// It counts and skips packets that the filter rejects, at most 64 in one call.
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
    /// Receives one packet, which is lent until the next call. It never blocks. Filter, mtu and counters apply to packets as they
    /// were sent, not as the kernel coalesced them.
    ///
    /// It counts and skips packets that the filter rejects: at most 64 in one call, and the rest of the datagram that the last of
    /// them was part of.
    ///
    /// # Errors
    /// What the kernel reports of the socket. Nothing is lost by an error; call again.
    #[inline]
    pub fn recv(&mut self) -> Result<Received<'_>> {
        self.buffer.recv(&mut self.inner)
    }
}

impl<F: Filter> Receiver<F> {
    /// Receives one packet into `buffer` (`recvfrom(2)`, `recvmsg(2)`). A longer packet is cut. It never blocks.
    ///
    /// It counts and skips packets that the filter rejects, at most 64 in one call. The filter sees at most `mtu` bytes of a
    /// packet, even if the buffer holds more; `mtu` is that of [`bind_receiver`](crate::ListenOptions::bind_receiver).
    ///
    /// # Errors
    /// What the kernel reports of the socket. Nothing is lost by an error; call again. [`ErrorKind::InvalidInput`] if the kernel
    /// runs the filter, and the buffer is shorter than the mtu: the kernel would check bytes that the buffer does not hold.
    // Inlined for the reason that `Listener::recv` has.
    #[inline(always)]
    pub fn recv_into<'b>(&'b mut self, buffer: &'b mut [u8]) -> Result<Received<'b>> {
        if self.inner.state.offload == Offload::Filter && buffer.len() < usize::from(self.inner.state.mtu) {
            return Err(short_buffer());
        }
        self.inner.recv_into(buffer)
    }
}

#[cold]
const fn short_buffer() -> Error {
    Error::custom(
        ErrorKind::InvalidInput,
        "receive: the buffer is shorter than the mtu that the kernel filters with: use a longer one, or kernel_filter(false)",
    )
}

impl<B: AsRef<[u8]>, F> ListeningSocket<B, F> {
    /// The packet of this head, which the last `recv` returned, lent once more: see [`Head`].
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

    /// The counters since the listener was created. It makes one system call (`getsockopt(2)`).
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.inner.counters()
    }

    /// The address and port that it is bound to (`getsockname(2)`): the group's address, without a scope, or the wildcard address.
    ///
    /// # Errors
    /// What the kernel reports.
    pub fn local_addr(&self) -> Result<SocketAddr> {
        let mut local = self.inner.socket.local_addr()?;
        if let SocketAddr::V6(address) = &mut local {
            // Of a link-local group, the kernel reports the interface that the socket is pinned to at the moment.
            address.set_scope_id(0);
        }
        Ok(local)
    }

    /// The size of the receive buffer in bytes that the kernel granted (`SO_RCVBUF`, `socket(7)`). The kernel reports twice the
    /// requested size, since it counts its own overhead: a packet of 64 bytes takes 832 bytes.
    ///
    /// # Errors
    /// What the kernel reports.
    #[doc(alias = "SO_RCVBUF")]
    pub fn receive_buffer(&self) -> Result<usize> {
        self.inner.socket.receive_buffer()
    }

    /// For the book of memberships.
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
