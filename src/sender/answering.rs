//! Senders that can be answered: one socket for both directions.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::num::NonZeroU16;

use super::opening::{Configured, Egress, Options, bind};
use super::options::SendOptions;
use super::socket::Sender;
use super::way::{Named, bound_elsewhere, leave_as_routed, with_index};
use crate::error::{ErrorKind, Result};
use crate::filter::Filter;
use crate::group::{Family, Interface};
use crate::listener::{Inner, Listener, Receiver};
use crate::route::may_come;
use crate::socket::Socket;

impl SendOptions {
    /// Opens a sender, and the listener that receives the answers: packets that are sent to the sender's port on this machine, with
    /// `MTU` bytes of each. Both use one socket.
    ///
    /// ```no_run
    /// # use multicast::{Events, Family, Group, Interest, Outcome, Poller, Received, SendOptions, Token};
    /// # use std::time::{Duration, Instant};
    /// let ssdp: Group = "239.255.255.250:1900".parse()?;
    /// let (mut sender, mut replies) = SendOptions::new().interface("eth0".parse()?).open_with_replies::<1500>(Family::V4)?;
    /// let search = b"M-SEARCH * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\nMAN: \"ssdp:discover\"\r\nMX: 1\r\nST: ssdp:all\r\n\r\n";
    /// assert_eq!(sender.send(search, ssdp)?, Outcome::Sent);
    ///
    /// let (poller, mut events) = (Poller::new()?, Events::<1>::new());
    /// poller.register(&replies, Token(0), Interest::READABLE)?;
    /// // An end that no answer moves: a stranger may send them for ever.
    /// let end = Instant::now() + Duration::from_secs(2);
    /// while Instant::now() < end {
    ///     match replies.recv()? {
    ///         Received::Packet(answer) => println!("{}", answer.source()),
    ///         Received::Paused => continue,
    ///         Received::Empty => drop(poller.poll(&mut events, end.saturating_duration_since(Instant::now()))?),
    ///     }
    /// }
    /// # Ok::<(), multicast::Error>(())
    /// ```
    ///
    /// The socket is bound to the wildcard address, and by default to a port of its own. With [`source_port`](Self::source_port) it
    /// shares the port, but the kernel gives each answer to only one of the sockets that share it: beside a daemon on that port, ask
    /// from a port of your own.
    ///
    /// Both halves can be dropped in any order. If the listener is dropped first, the socket refuses all answers. Unregister a half from
    /// its poller before you drop it: the socket stays open, so its events would stay, too.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    // Inlined for the reason that `open_for` has: without it tiny-ask is 48 bytes larger.
    #[inline(always)]
    pub fn open_with_replies<const MTU: usize>(self, family: Family) -> Result<(Sender, Listener<MTU>)> {
        let named = match self.interface {
            Interface::Address(IpAddr::V6(_)) => Named::Interface,
            _ => Named::Nothing,
        };
        let rate = self.checked_rate()?;
        let egress = self.egress(family, None)?;
        let socket = Socket::answered(family)?;
        socket.prepare_to_send(family)?;
        let Configured { socket, index, lacks } = self.configure(socket, Options::Default, family, None, egress)?;
        // Before the bind, so that each queued packet has it.
        socket.want_packet_info(family)?;
        let any = match family {
            Family::V4 => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            Family::V6 => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        };
        bind(&socket, any, self.source_port)?;
        let listener = Listener::of_replies(socket.duplicate()?);
        let reports = Some(NonZeroU16::MIN);
        Ok((
            Sender {
                socket,
                interface: self.interface,
                index,
                named,
                reports,
                family,
                lacks,
                rate,
                refusal: self.no_refusal(),
                refused_packet: 0,
            },
            listener,
        ))
    }

    /// A sender on the socket of a listener.
    fn share<F: Filter>(mut self, listener: &mut Inner<F>) -> Result<Sender> {
        let rate = self.checked_rate()?;
        let local = listener.socket().local_addr()?;
        let (family, group) = match local.ip() {
            IpAddr::V4(_) => (Family::V4, local.try_into().ok()),
            IpAddr::V6(_) => (Family::V6, local.try_into().ok()),
        };
        // Packets of a socket that is bound to an interface can leave on that one alone.
        if let (Interface::Default, Some(bound)) = (self.interface, listener.only_interface()) {
            self.interface = Interface::Index(bound);
        }
        let egress = match self.egress(family, group) {
            // A listener that only replies needs no route to its group. Sending to the group reports that there is none.
            Err(error) if self.interface == Interface::Default && is_no_route(error.kind()) => Egress::Routed,
            Ok(Egress::On(route)) => Egress::On(with_index(route)),
            found => found?,
        };
        // The socket may have other senders, and each leaves on its own interface.
        let named = match egress {
            Egress::On(route) => Named::of(route),
            Egress::Routed => Named::Nothing,
            Egress::Later(_) => Named::Interface,
        };
        let socket = listener.socket().duplicate()?;
        listener.prepare_to_send()?;
        socket.prepare_to_send(family)?;
        let wanted = if let Egress::On(route) = &egress { route.interface } else { 0 };
        let configured = self.configure(socket, Options::Unknown, family, group, egress);
        let Configured { socket, index, lacks } =
            configured.map_err(|error| bound_elsewhere(listener.socket(), wanted, self.interface).unwrap_or(error))?;
        if named != Named::Nothing {
            leave_as_routed(&socket, family);
        }
        listener.share_to_send();
        Ok(Sender {
            socket,
            interface: self.interface,
            index,
            named,
            reports: Some(NonZeroU16::MIN),
            family,
            lacks,
            rate,
            refusal: self.no_refusal(),
            refused_packet: 0,
        })
    }
}

/// Whether the routing table names no interface for a group.
const fn is_no_route(kind: ErrorKind) -> bool {
    may_come(kind) || matches!(kind, ErrorKind::InterfaceNeeded)
}

impl<const MTU: usize, F: Filter> Listener<MTU, F> {
    /// A sender that uses this listener's socket: its packets leave from the listener's port, as mDNS and others demand, and answers
    /// come to the listener, if it is bound to a port and wants [`unicast`](crate::ListenOptions::unicast).
    ///
    /// A listener can have several senders, each with an interface of its own, and a rate. All other options, such as the time to live and
    /// whether this machine gets copies, are set on the socket, where they replace those of senders that were made before.
    /// [`source_port`](SendOptions::source_port) has no effect. If the options name no interface, packets leave on the one that the listener
    /// is bound to, else as the routing table says; for a listener that is bound to a group, as it says for that group when the sender is
    /// created. If it names none, [`reply`](Sender::reply) and [destinations](crate::Destination::on) with an interface still work.
    ///
    /// Both can be dropped in any order. If the listener is dropped first, it leaves its groups, and the socket refuses all packets from
    /// then on. (Without a guard, as with [`kernel_filter(false)`](crate::ListenOptions::kernel_filter), nobody has a list of the groups
    /// of a listener by port: they are left when the sender is dropped, too.) Unregister a half from its poller before you drop it: the
    /// socket stays open, so its events would stay, too.
    ///
    /// If the socket was adopted from a supervisor that keeps a descriptor of it, dropping the listener leaves the groups for the supervisor,
    /// too: the next instance of the program must join them again.
    ///
    /// ```no_run
    /// # use multicast::{Bind, Family, ListenOptions, Membership, Outcome, SendOptions, Ttl};
    /// let mdns: multicast::Group = "224.0.0.251:5353".parse()?;
    /// let mut listener = ListenOptions::new().unicast().bind::<9000>(Bind::Port(5353, Family::V4))?;
    /// listener.join(&Membership::any(mdns).on("eth0".parse()?))?;
    /// let options = SendOptions::new().interface("eth0".parse()?).ttl(Ttl::UNRESTRICTED).unicast_ttl(255);
    /// let mut sender = listener.sender(options)?;
    /// assert_eq!(sender.send(b"a query from port 5353", mdns)?, Outcome::Sent);
    /// # Ok::<(), multicast::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`SendOptions::packets`]; [`ErrorKind::OneInterface`] for another interface than that of
    /// [`Bind::Interface`](crate::Bind::Interface); [`ErrorKind::LimitReached`] if no second descriptor can be made. If the interface or the priority is
    /// refused, the socket is as before.
    pub fn sender(&mut self, options: SendOptions) -> Result<Sender> {
        options.share(self.inner_mut())
    }
}

impl<F: Filter> Receiver<F> {
    /// A sender that uses this receiver's socket: see [`Listener::sender`](crate::Listener::sender).
    ///
    /// # Errors
    /// As there.
    pub fn sender(&mut self, options: SendOptions) -> Result<Sender> {
        options.share(self.inner_mut())
    }
}
