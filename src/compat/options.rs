//! The options of this module: group, interface, poller, and the core's options.

use core::net::{IpAddr, SocketAddr};

use super::poller::{Poller, default_poller};
use crate::filter::{Always, By, Filter, by};
use crate::{Error, ErrorKind, Group, Interface, Result, Ttl};

/// The default of [`SendOptions::queue`].
const QUEUE: usize = 1024;

/// The default of [`ListenOptions::mtu`].
const MTU: usize = 4096;

/// Where to send, and how: the arguments of [`sendto_with`](super::sendto_with) and
/// [`Multicaster::new`](super::Multicaster::new).
///
/// Defaults: the group 224.0.42.42, port 4242 and TTL 1; the interface that the routing table names; copies for listeners on this
/// machine; the default poller.
///
/// ```
/// use multicast::{Ttl, compat::SendOptions};
///
/// let options = SendOptions::new().ip("239.1.2.3")?.port(5000)?.ttl(Ttl::SITE).interface("lo".parse()?);
/// # Ok::<(), multicast::Error>(())
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct SendOptions {
    core: crate::SendOptions,
    group: Group,
    pub(super) queue: usize,
    poller: Option<Poller>,
}

impl Default for SendOptions {
    fn default() -> Self {
        Self::new()
    }
}

impl SendOptions {
    /// The defaults.
    pub const fn new() -> Self {
        Self { core: crate::SendOptions::new(), group: Group::DEFAULT, queue: QUEUE, poller: None }
    }

    /// The group and the port to send to.
    pub const fn group(mut self, group: Group) -> Self {
        self.group = group;
        self
    }

    /// The address of the group, as text.
    ///
    /// # Errors
    /// [`ErrorKind::Syntax`]; [`ErrorKind::NotMulticast`].
    pub fn ip(mut self, ip: &str) -> Result<Self> {
        self.group = Group::new(address(ip)?, self.group.port())?;
        Ok(self)
    }

    /// The port, 1 to 65,535.
    ///
    /// # Errors
    /// [`ErrorKind::PortZero`].
    pub fn port(mut self, port: u16) -> Result<Self> {
        self.group = Group::new(self.group.address(), port)?;
        Ok(self)
    }

    /// How far packets go: see [`SendOptions::ttl`](crate::SendOptions::ttl) of the core.
    pub const fn ttl(mut self, ttl: Ttl) -> Self {
        self.core = self.core.ttl(ttl);
        self
    }

    /// The interface that packets leave on: see [`SendOptions::interface`](crate::SendOptions::interface) of the core.
    pub const fn interface(mut self, interface: Interface) -> Self {
        self.core = self.core.interface(interface);
        self
    }

    /// Changes the core's options: for everything that has no method here, such as copies for this machine, the traffic class,
    /// the send buffer, or a rate.
    ///
    /// ```
    /// use multicast::compat::SendOptions;
    ///
    /// let options = SendOptions::new().core(|core| core.loopback(false).rate(1_000, 10));
    /// ```
    pub fn core(mut self, change: impl FnOnce(crate::SendOptions) -> crate::SendOptions) -> Self {
        self.core = change(self.core);
        self
    }

    /// How many packets wait at most in the queue of a [live multicaster](super::Multicaster::live). Default: 1,024. Others do not
    /// use it.
    pub const fn queue(mut self, packets: usize) -> Self {
        self.queue = packets;
        self
    }

    /// The poller that a multicaster registers with. [`sendto_with`](super::sendto_with) does not use it.
    pub fn poller(mut self, poller: &Poller) -> Self {
        self.poller = Some(poller.clone());
        self
    }

    pub(super) fn take_poller(&mut self) -> Result<Poller> {
        self.poller.take().map_or_else(default_poller, Ok)
    }

    pub(super) fn packets<P>(self, packets: P) -> Result<crate::Multicaster<P::IntoIter>>
    where
        P: IntoIterator,
        P::Item: AsRef<[u8]>,
    {
        self.core.packets(self.group, packets)
    }
}

/// What to listen to, and how: the arguments of [`listen_with`](super::listen_with), [`Packets::new`](super::Packets::new) and
/// [`MulticastListener::new`](super::MulticastListener::new).
///
/// Defaults: the group 224.0.42.42, port 4242 and `mtu` 4096; no filter and no limit; the interface that the routing table names;
/// the default poller.
///
/// ```
/// use multicast::compat::ListenOptions;
///
/// let options = ListenOptions::new().ip("239.1.2.3")?.port(5000)?.mtu(1472).filter_fn(|packet, _| packet.len() > 4);
/// # Ok::<(), multicast::Error>(())
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct ListenOptions<F = Always> {
    pub(super) core: crate::ListenOptions<F>,
    pub(super) group: Group,
    pub(super) interface: Interface,
    pub(super) mtu: usize,
    pub(super) limit: Option<u64>,
    pub(super) unicast: bool,
    pub(super) answers: Option<crate::SendOptions>,
    poller: Option<Poller>,
}

impl Default for ListenOptions {
    fn default() -> Self {
        Self::new()
    }
}

impl ListenOptions {
    /// The defaults.
    pub const fn new() -> Self {
        let (core, group, interface) = (crate::ListenOptions::new(), Group::DEFAULT, Interface::Default);
        Self { core, group, interface, mtu: MTU, limit: None, unicast: false, answers: None, poller: None }
    }
}

impl<F: Filter> ListenOptions<F> {
    /// The group and the port to listen to.
    pub fn group(self, group: Group) -> Self {
        Self { group, ..self }
    }

    /// The address of the group, as text.
    ///
    /// # Errors
    /// [`ErrorKind::Syntax`]; [`ErrorKind::NotMulticast`].
    pub fn ip(self, ip: &str) -> Result<Self> {
        let group = Group::new(address(ip)?, self.group.port())?;
        Ok(self.group(group))
    }

    /// The port, 1 to 65,535.
    ///
    /// # Errors
    /// [`ErrorKind::PortZero`].
    pub fn port(self, port: u16) -> Result<Self> {
        let group = Group::new(self.group.address(), port)?;
        Ok(self.group(group))
    }

    /// The interface to listen on. Interface, address or route to the group may be missing: the poller joins when they appear.
    /// Only an index must be that of an existing interface; if that one is deleted, the next interface with this index is meant.
    pub fn interface(self, interface: Interface) -> Self {
        Self { interface, ..self }
    }

    /// How many bytes of a packet are read, 1 to 65,535; longer packets are cut. A buffer of this size is allocated once.
    pub fn mtu(self, bytes: usize) -> Self {
        Self { mtu: bytes, ..self }
    }

    /// Stops listening after this many packets. Packets that the filter rejects do not count.
    pub fn limit(self, packets: u64) -> Self {
        Self { limit: Some(packets), ..self }
    }

    /// Receives only packets that this filter accepts. It replaces the previous filter.
    pub fn filter<G: Filter>(self, filter: G) -> ListenOptions<G> {
        self.core(|core| core.filter(filter))
    }

    /// Receives only packets for which the closure returns true. Its arguments are payload and sender.
    pub fn filter_fn<C: FnMut(&[u8], SocketAddr) -> bool>(self, closure: C) -> ListenOptions<By<C>> {
        self.filter(by(closure))
    }

    /// Receives only packets that match a regular expression from their first byte on: see [`Regex`](crate::filter::Regex).
    ///
    /// # Errors
    /// [`ErrorKind::Pattern`], with a sentence that says what is wrong.
    #[cfg(feature = "regex")]
    pub fn pattern(self, pattern: &str) -> Result<ListenOptions<crate::filter::Regex>> {
        Ok(self.filter(crate::filter::Regex::new(pattern)?))
    }

    /// Also receives what is sent to this machine itself: see [`ListenOptions::unicast`](crate::ListenOptions::unicast) of the core. The
    /// kernel gives each such packet to one of the sockets that share the port, so it may be missing elsewhere.
    pub fn unicast(self) -> Self {
        Self { unicast: true, ..self }.core(crate::ListenOptions::unicast)
    }

    /// Lets a [`MulticastListener`](super::MulticastListener) answer packets, from its own port: see
    /// [`PacketHandler::handle`](super::PacketHandler::handle). These options of the core are those of the answers. Others do not use it:
    /// make a sender from [`Packets::with`](super::Packets::with).
    pub fn answers(self, options: crate::SendOptions) -> Self {
        Self { answers: Some(options.later()), ..self }.core(crate::ListenOptions::answers)
    }

    /// Changes the core's options: for everything that has no method here, such as metadata, the receive buffer, the filter in
    /// the kernel, or how the port is shared.
    ///
    /// ```no_run
    /// use multicast::compat::{ListenOptions, Packets, poll};
    ///
    /// let options = ListenOptions::new().core(|core| core.metadata().receive_buffer(1 << 20));
    /// let mut packets = Packets::new(options)?;
    /// poll(None)?;
    /// if let Some(packet) = packets.next()? {
    ///     println!("{:?}", packet.metadata());
    /// }
    /// # Ok::<(), multicast::Error>(())
    /// ```
    pub fn core<G>(self, change: impl FnOnce(crate::ListenOptions<F>) -> crate::ListenOptions<G>) -> ListenOptions<G> {
        let Self { core, group, interface, mtu, limit, unicast, answers, poller } = self;
        ListenOptions { core: change(core), group, interface, mtu, limit, unicast, answers, poller }
    }

    /// The poller that the listener registers with.
    pub fn poller(self, poller: &Poller) -> Self {
        Self { poller: Some(poller.clone()), ..self }
    }

    pub(super) fn take_poller(&mut self) -> Result<Poller> {
        self.poller.take().map_or_else(default_poller, Ok)
    }
}

fn address(ip: &str) -> Result<IpAddr> {
    let refused = |_| Error::custom(ErrorKind::Syntax, "parse ip: write an address alone, as 239.1.2.3 or ff02::4242");
    ip.parse().map_err(refused)
}
