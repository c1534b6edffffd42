//! Receiving: a [`Receiver`] reads into any buffer, a [`Listener`] brings its own of a fixed size.
//!
//! No packet comes through that was not sent to a group that this very listener joined, on an interface on which it joined it.
//! Where the kernel's own options do not see to that, a program does that it runs (the *guard*), and where that cannot be, each
//! packet's destination is looked at.

mod coalescing;
mod groups;
mod kernel;
mod options;
mod receiver;
mod state;

use core::fmt;

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};

pub use coalescing::{COALESCING_BUFFER, CoalescingListener, CoalescingOptions};
pub use options::ListenOptions;
pub use receiver::Receiver;

use crate::error::{Error, Result};
use crate::filter::{Always, Filter};
use crate::group::Membership;
use crate::packet::Received;

/// What a listener did with what the kernel brought, since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counters {
    /// Packets that were handed out.
    pub received: u64,
    /// Packets that the filter refused.
    pub rejected: u64,
    /// Packets, of those handed out or refused, that were longer than the buffer. It begins again at 0 after 2^32.
    pub truncated: u64,
    /// Datagrams that were sent to the same port and that nobody here had asked for: unicast, broadcast, other groups, other
    /// interfaces. They are refused before the filter, and count as nothing else. Where the kernel refuses them
    /// ([`kernel_refuses`](Self::kernel_refuses)), they count as dropped instead. It begins again at 0 after 2^32.
    pub foreign: u64,
    /// Datagrams that the kernel dropped, because the receive buffer was full or the checksum wrong (`SO_MEMINFO`, exact at any
    /// time). It begins again at 0 after 2^32. `None` on kernels before 4.12, which cannot tell.
    ///
    /// Where [`kernel_refuses`](Self::kernel_refuses), it counts those with them that guard and filter refused in the kernel: what was
    /// sent is still what was received, rejected and dropped, but the kernel keeps one number for what it lost and what it was
    /// told to refuse. With [`kernel_filter(false)`](ListenOptions::kernel_filter) all is refused here, and the two are told apart.
    ///
    /// On a [`CoalescingListener`] packets that came together are lost together, and count as one here.
    pub dropped: Option<u64>,
    /// Whether the kernel runs a program for this listener, or did: a filter, or a guard against what was not joined, which
    /// listeners have that are bound neither to an IPv4 group nor to an interface. Then [`dropped`](Self::dropped) has in it what that refused.
    pub kernel_refuses: bool,
}

/// A [`Receiver`] with a buffer of `MTU` bytes, 1 to 65,535: the longest packet that is received whole. The default is the
/// documented 4,096; 1,472 is what an Ethernet frame carries over IPv4 without fragments.
///
/// It lives wherever it is put, and allocates nothing. Dropping it leaves all groups and closes the socket.
pub struct Listener<const MTU: usize = 4096, F = Always> {
    receiver: Receiver<F>,
    /// Always full: what lies in it is overwritten by each packet. A short type for its length keeps the listener small.
    buffer: heapless::Vec<u8, MTU, u16>,
}

impl<const MTU: usize> Listener<MTU> {
    /// Listens to one group: all packets that are sent to it, on the membership's interface.
    ///
    /// # Errors
    /// As [`ListenOptions::bind`].
    pub fn bind(membership: Membership) -> Result<Self> {
        ListenOptions::new().bind(membership)
    }
}

impl<const MTU: usize, F: Filter> Listener<MTU, F> {
    fn from_receiver(receiver: Receiver<F>) -> Self {
        const { assert!(MTU >= 1 && MTU <= u16::MAX as usize, "a listener's MTU is 1 to 65,535 bytes") };
        Self { receiver, buffer: heapless::Vec::from_array([0; MTU]) }
    }

    /// Receives one packet, which is lent until the next call. It never blocks.
    ///
    /// Packets that the filter refuses are read, counted and passed over, 64 in one call at most.
    ///
    /// ```no_run
    /// # use multicast::{Group, Listener, Membership, Received};
    /// # let mut listener = <Listener>::bind(Membership::any(Group::DEFAULT))?;
    /// while let Received::Packet(packet) = listener.recv()? {
    ///     println!("{}: {} bytes", packet.source(), packet.payload().len());
    /// }
    /// # Ok::<(), multicast::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Receiver::recv_into`].
    // An inherent method and no `Iterator`: the packet is lent, and an iterator's items must outlive its `next`.
    #[inline(always)]
    pub fn recv(&mut self) -> Result<Received<'_>> {
        self.receiver.recv_into(&mut self.buffer)
    }
}

impl<const MTU: usize, F> core::ops::Deref for Listener<MTU, F> {
    type Target = Receiver<F>;

    fn deref(&self) -> &Receiver<F> {
        &self.receiver
    }
}

impl<const MTU: usize, F> core::ops::DerefMut for Listener<MTU, F> {
    fn deref_mut(&mut self) -> &mut Receiver<F> {
        &mut self.receiver
    }
}

impl<const MTU: usize, F> AsFd for Listener<MTU, F> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.receiver.as_fd()
    }
}

impl<const MTU: usize, F: fmt::Debug> fmt::Debug for Listener<MTU, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listener").field("receiver", &self.receiver).finish_non_exhaustive()
    }
}

impl<const MTU: usize, F> From<Listener<MTU, F>> for OwnedFd {
    fn from(listener: Listener<MTU, F>) -> Self {
        listener.receiver.into()
    }
}

impl<const MTU: usize> TryFrom<OwnedFd> for Listener<MTU> {
    type Error = Error;

    fn try_from(fd: OwnedFd) -> Result<Self> {
        Receiver::try_from(fd).map(Self::from_receiver)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_is_its_buffer_and_little_more() {
        assert!(size_of::<Listener<1500>>() <= 1600, "{}", size_of::<Listener<1500>>());
        assert!(size_of::<Receiver>() <= 96, "{}", size_of::<Receiver>());
        assert!(size_of::<CoalescingListener<'_>>() <= 176, "{}", size_of::<CoalescingListener<'_>>());
    }
}
