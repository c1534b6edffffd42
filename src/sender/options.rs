//! Options of a multicaster, and its creation.

use core::time::Duration;

use super::multicaster::Multicaster;
use super::refusal::{DEFAULT_LIMIT, Refusal};
use super::socket::Sender;
use crate::error::Result;
use crate::group::{Family, Group, Interface, Ttl};

/// Options for a sender or a multicaster. Set them first, then create it with one of these calls:
///
/// | call | creates a | sends |
/// |---|---|---|
/// | [`open`](Self::open) | [`Sender`] | each packet when you ask for it, to any destination |
/// | [`open_with_replies`](Self::open_with_replies) | [`Sender`] and [`Listener`](crate::Listener) | the same, and receives the answers |
/// | [`packets`](Self::packets) | [`Multicaster`] | the packets of an iterator, to one group |
/// | [`batches`](Self::batches) | [`Multicaster`] | the same, many packets in one call |
///
/// To send from a listener's port and socket, give the options to [`ListeningSocket::sender`](crate::ListeningSocket::sender).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct SendOptions {
    pub(super) ttl: Ttl,
    pub(super) unicast_ttl: Option<u8>,
    pub(super) interface: Interface,
    pub(super) later: bool,
    pub(super) source_port: u16,
    pub(super) loopback: bool,
    pub(super) traffic_class: Option<u8>,
    pub(super) priority: Option<u32>,
    pub(super) send_buffer: Option<usize>,
    pub(super) mtu_discover: bool,
    pub(super) rate: Option<(u32, u32)>,
    pub(super) give_up_after: u8,
}

impl Default for SendOptions {
    fn default() -> Self {
        Self::new()
    }
}

impl SendOptions {
    /// No packet is refused yet.
    #[inline]
    pub(super) const fn no_refusal(&self) -> Refusal {
        Refusal::none(self.give_up_after, self.loopback)
    }

    /// The default options.
    pub const fn new() -> Self {
        Self {
            ttl: Ttl::SUBNET,
            unicast_ttl: None,
            interface: Interface::Default,
            later: false,
            source_port: 0,
            loopback: true,
            traffic_class: None,
            priority: None,
            send_buffer: None,
            mtu_discover: false,
            rate: None,
            give_up_after: DEFAULT_LIMIT,
        }
    }

    /// How far packets to groups go (`IP_MULTICAST_TTL`, `ip(7)`; `IPV6_MULTICAST_HOPS`, `ipv6(7)`). Default: 1, the local network.
    #[doc(alias = "IP_MULTICAST_TTL")]
    pub const fn ttl(mut self, ttl: Ttl) -> Self {
        self.ttl = ttl;
        self
    }

    /// How many routers unicast packets may pass, 1 to 255 (`IP_TTL`, `ip(7)`; `IPV6_UNICAST_HOPS`, `ipv6(7)`). Default: the system's,
    /// mostly 64. Answers of mDNS need 255 (RFC 6762, section 11).
    #[doc(alias = "IP_TTL")]
    pub const fn unicast_ttl(mut self, hops: u8) -> Self {
        self.unicast_ttl = Some(hops);
        self
    }

    /// The interface that packets to groups leave on (`IP_MULTICAST_IF`, `ip(7)`; `IPV6_MULTICAST_IF`, `ipv6(7)`). It is looked up once,
    /// when the sender is created, and again if you let the sender [follow the interface](crate::Links::follow). Default: the one that
    /// the routing table names.
    ///
    /// The kernel knows it by its index. If it is deleted and another interface gets this index, IPv6 packets leave there, with
    /// [`Outcome::Sent`](crate::Outcome::Sent), until the sender has followed that change. An interface that is named by its index
    /// ([`Interface::Index`]) is whichever has it.
    #[doc(alias = "IP_MULTICAST_IF")]
    pub const fn interface(mut self, interface: Interface) -> Self {
        self.interface = interface;
        self
    }

    /// Creates the sender even if the interface, its address, or the route does not exist yet. Until
    /// [`Links::follow`](crate::Links::follow) finds it, sending returns the error that creating would have returned, and nothing leaves
    /// on another interface.
    pub const fn later(mut self) -> Self {
        self.later = true;
        self
    }

    /// The source port of all packets. The port is shared with every other socket that shares it (`SO_REUSEADDR`, `SO_REUSEPORT`;
    /// `socket(7)`). Default: a free port that the kernel chooses.
    pub const fn source_port(mut self, port: u16) -> Self {
        self.source_port = port;
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

    /// The priority in the device's queue: 0 to 6, with `CAP_NET_ADMIN` more (`SO_PRIORITY`, `socket(7)`). Default: 0, or what the traffic
    /// class implies.
    #[doc(alias = "SO_PRIORITY")]
    pub const fn priority(mut self, priority: u32) -> Self {
        self.priority = Some(priority);
        self
    }

    /// Asks for a send buffer of this many bytes (`SO_SNDBUFFORCE`, else `SO_SNDBUF`; `socket(7)`). Without `CAP_NET_ADMIN` the
    /// kernel limits it to `net.core.wmem_max`, without an error.
    #[doc(alias = "SO_SNDBUF")]
    pub const fn send_buffer(mut self, bytes: usize) -> Self {
        self.send_buffer = Some(bytes);
        self
    }

    /// Refuses packets that would need fragments, with [`ErrorKind::TooLong`](crate::ErrorKind::TooLong): for IPv4 those that are longer
    /// than the interface's MTU (`IP_PMTUDISC_PROBE`, `ip(7)`), for IPv6 than the path's (`IPV6_PMTUDISC_DO`, `ipv6(7)`), which anybody
    /// can lower to 1,280 bytes with an ICMP message. Default: longer packets leave in fragments, and the path MTU that ICMP messages tell
    /// is ignored (`IP_PMTUDISC_OMIT`).
    #[doc(alias = "IP_MTU_DISCOVER")]
    pub const fn mtu_discover(mut self) -> Self {
        self.mtu_discover = true;
        self
    }

    /// Limits the rate: at most `packets_per_second` on average, and at most `burst` packets at once after a pause; both at
    /// least 1. When the limit is reached, nothing is sent, and [`Progress::Wait`](crate::Progress::Wait) or
    /// [`Outcome::Wait`](crate::Outcome::Wait) says how long to wait. Default: no limit.
    pub const fn rate(mut self, packets_per_second: u32, burst: u32) -> Self {
        self.rate = Some((packets_per_second, burst));
        self
    }

    /// How long to try a packet that the interface's queue refuses (`ENOBUFS`), while none of the sender's queued bytes leaves
    /// (`SIOCOUTQ`, `udp(7)`). Then [`ErrorKind::QueueRefused`](crate::ErrorKind::QueueRefused) is returned. In whole seconds, at most
    /// 255; a part of a second counts as a whole one. A packet is tried at least six times. Default: 5 seconds.
    ///
    /// A queue that drains, however slowly, is waited for without an end.
    #[doc(alias = "ENOBUFS")]
    pub const fn give_up_after(mut self, time: Duration) -> Self {
        let seconds = time.as_secs().saturating_add(if time.subsec_nanos() > 0 { 1 } else { 0 });
        self.give_up_after = if seconds > 255 { 255 } else { seconds as u8 };
        self
    }

    /// Opens a sender without answers. It is bound to a multicast address that it never joins, so it receives nothing, and takes no packet
    /// away from another socket on its port. An ICMP message about one of its packets does not find it, since that quotes another source
    /// address.
    ///
    /// # Errors
    /// [`ErrorKind::NoSuchInterface`](crate::ErrorKind::NoSuchInterface);
    /// [`ErrorKind::NoAddress`](crate::ErrorKind::NoAddress) if the interface has no IPv4 address, so that packets would leave without a
    /// source; [`ErrorKind::OneInterface`](crate::ErrorKind::OneInterface) for [`Interface::All`];
    /// [`ErrorKind::Zero`](crate::ErrorKind::Zero) for a rate, a burst, or a [`unicast_ttl`](Self::unicast_ttl) of 0;
    /// [`ErrorKind::AddressInUse`](crate::ErrorKind::AddressInUse) if another socket holds the source port and does not share it;
    /// [`ErrorKind::Denied`](crate::ErrorKind::Denied) for a source port below 1,024 (`net.ipv4.ip_unprivileged_port_start`, `ip(7)`)
    /// without `CAP_NET_BIND_SERVICE`, and for a [`priority`](Self::priority) above 6 without `CAP_NET_ADMIN`;
    /// [`ErrorKind::LimitReached`](crate::ErrorKind::LimitReached) if the process has too many open descriptors.
    pub fn open(self, family: Family) -> Result<Sender> {
        self.open_for(family, None)
    }

    /// Creates a multicaster that sends each item of `packets` to `group` as one packet.
    ///
    /// # Errors
    /// As [`open`](Self::open); [`ErrorKind::Unreachable`](crate::ErrorKind::Unreachable) if there is no route and no interface was
    /// named; [`ErrorKind::InterfaceNeeded`](crate::ErrorKind::InterfaceNeeded) for an IPv6 link-local group without an interface.
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
    /// Items that lie side by side in memory, such as `buffer.chunks(1316)`, leave as one part and without a copy: this is the cheapest
    /// way to send. Others are gathered from their places, or copied to one place if they are few and short.
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
        let sender = self.open_for(group.family(), Some(group))?;
        Ok(Multicaster::new(sender, group, packets.into_iter()))
    }
}
