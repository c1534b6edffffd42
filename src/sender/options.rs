//! Options of a multicaster, and its creation.

use core::net::{IpAddr, SocketAddr, SocketAddrV4, SocketAddrV6};
use core::num::NonZeroU32;

use super::multicaster::Multicaster;
use super::rate::Rate;
use super::segments::Segments;
use super::staging::Staging;
use crate::address::Address;
use crate::error::{Error, ErrorKind, Object, Operation, Result};
use crate::group::{Group, Interface, Ttl};
use crate::socket::Socket;

/// Options for a multicaster. The last call, [`packets`](Self::packets) or [`batches`](Self::batches), creates it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct SendOptions {
    ttl: Ttl,
    interface: Interface,
    loopback: bool,
    traffic_class: Option<u8>,
    send_buffer: Option<usize>,
    mtu_discover: bool,
    rate: Option<(u32, u32)>,
}

impl Default for SendOptions {
    fn default() -> Self {
        Self::new()
    }
}

impl SendOptions {
    /// The default options.
    pub const fn new() -> Self {
        Self {
            ttl: Ttl::SUBNET,
            interface: Interface::Default,
            loopback: true,
            traffic_class: None,
            send_buffer: None,
            mtu_discover: false,
            rate: None,
        }
    }

    /// How far packets go (`IP_MULTICAST_TTL`, `ip(7)`; `IPV6_MULTICAST_HOPS`, `ipv6(7)`). Default: 1, the local network.
    #[doc(alias = "IP_MULTICAST_TTL")]
    pub const fn ttl(mut self, ttl: Ttl) -> Self {
        self.ttl = ttl;
        self
    }

    /// The interface that packets leave on (`IP_MULTICAST_IF`, `ip(7)`; `IPV6_MULTICAST_IF`, `ipv6(7)`). It is resolved once,
    /// when the multicaster is created. Default: the one that the routing table names.
    #[doc(alias = "IP_MULTICAST_IF")]
    pub const fn interface(mut self, interface: Interface) -> Self {
        self.interface = interface;
        self
    }

    /// Whether listeners on this machine get a copy (`IP_MULTICAST_LOOP`, `ip(7)`; on Linux an option of the sender). Default:
    /// true.
    #[doc(alias = "IP_MULTICAST_LOOP")]
    pub const fn loopback(mut self, on: bool) -> Self {
        self.loopback = on;
        self
    }

    /// The traffic class of packets: DSCP in the upper six bits, ECN in the lower two (`IP_TOS`, `ip(7)`; `IPV6_TCLASS`,
    /// `ipv6(7)`; RFC 2474).
    #[doc(alias = "IP_TOS")]
    #[doc(alias = "IPV6_TCLASS")]
    pub const fn traffic_class(mut self, class: u8) -> Self {
        self.traffic_class = Some(class);
        self
    }

    /// Asks for a send buffer of this many bytes (`SO_SNDBUFFORCE`, else `SO_SNDBUF`; `socket(7)`). Without `CAP_NET_ADMIN` the
    /// kernel limits it to `net.core.wmem_max`, without an error.
    #[doc(alias = "SO_SNDBUF")]
    pub const fn send_buffer(mut self, bytes: usize) -> Self {
        self.send_buffer = Some(bytes);
        self
    }

    /// Refuses packets that are longer than the path MTU, with [`ErrorKind::TooLong`], instead of sending them in fragments
    /// (`IP_PMTUDISC_DO`, `ip(7)`).
    #[doc(alias = "IP_MTU_DISCOVER")]
    pub const fn mtu_discover(mut self) -> Self {
        self.mtu_discover = true;
        self
    }

    /// Limits the rate: at most `packets_per_second` on average, and at most `burst` packets at once after a pause; both at
    /// least 1. When the limit is reached, [`Progress::Wait`](crate::Progress::Wait) says how long to wait. Default: no limit.
    pub const fn rate(mut self, packets_per_second: u32, burst: u32) -> Self {
        self.rate = Some((packets_per_second, burst));
        self
    }

    /// Creates a multicaster that sends each item of `packets` to `group` as one packet.
    ///
    /// # Errors
    /// [`ErrorKind::Unreachable`] if there is no route and no interface was named;
    /// [`ErrorKind::NoSuchInterface`];
    /// [`ErrorKind::Zero`] for a rate or a burst of 0;
    /// [`ErrorKind::NoAddress`] if the interface has no IPv4 address, so that packets would leave without a source;
    /// [`ErrorKind::InterfaceNeeded`] for an IPv6 link-local group without an interface.
    pub fn packets<P>(self, group: Group, packets: P) -> Result<Multicaster<P::IntoIter>>
    where
        P: IntoIterator,
        P::Item: AsRef<[u8]>,
    {
        self.batches::<1, P>(group, packets)
    }

    /// Like [`packets`](Self::packets), but takes up to `BATCH` items at once, 1 to 64. With more than 1, consecutive packets
    /// of one size leave in one call (`UDP_SEGMENT`, `udp(7)`, Linux 4.18), which is many times cheaper; on the wire they look
    /// the same. If the kernel or the device does not support it, they leave one by one.
    ///
    /// Do not use it on a link with a traffic shaper whose bucket is smaller than a batch (`tc-tbf(8)`): the shaper cuts batches
    /// itself, drops the packets that its queue has no room for, and reports success. It refuses packets that are sent one by one
    /// with an error, so they are not lost.
    ///
    /// More than 64 does not compile:
    ///
    /// ```compile_fail,E0080
    /// # use multicast::{Group, SendOptions};
    /// let caster = SendOptions::new().batches::<65, _>(Group::DEFAULT, ["one", "two"])?;
    /// # Ok::<(), multicast::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`packets`](Self::packets).
    pub fn batches<const BATCH: usize, P>(self, group: Group, packets: P) -> Result<Multicaster<P::IntoIter, BATCH>>
    where
        P: IntoIterator,
        P::Item: AsRef<[u8]>,
    {
        const { assert!(BATCH >= 1 && BATCH <= 64, "a batch is 1 to 64 packets") };
        let rate = match self.rate.map(|(packets, burst)| (NonZeroU32::new(packets), NonZeroU32::new(burst))) {
            None => None,
            Some((Some(packets), Some(burst))) => Some(Rate::new(packets, burst)),
            Some(_) => return Err(Error::new(Operation::Configure, Object::Named("rate and burst"), ErrorKind::Zero)),
        };
        let family = group.family();
        let (socket, scope) = Socket::sending(group, self.interface)?;
        socket.set_ttl(family, self.ttl)?;
        socket.set_loopback(family, self.loopback)?;
        if let Some(class) = self.traffic_class {
            socket.set_traffic_class(family, class)?;
        }
        if let Some(bytes) = self.send_buffer {
            socket.set_send_buffer(bytes)?;
        }
        if self.mtu_discover {
            socket.discover_mtu(family)?;
        }
        let mut segments = Segments::new();
        if BATCH > 1 && !socket.can_segment() {
            segments.unsupported();
        }
        let to = match group.address() {
            IpAddr::V4(address) => SocketAddr::V4(SocketAddrV4::new(address, group.port())),
            IpAddr::V6(address) => SocketAddr::V6(SocketAddrV6::new(address, group.port(), 0, scope)),
        };
        let staging = Staging::new(packets.into_iter());
        Ok(Multicaster { socket, group, to: Address::to(&to), rate, segments, staging })
    }
}
