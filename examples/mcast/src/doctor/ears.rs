//! What the doctor does itself: it joins, listens, and sends one looped packet. All of it ends with its sockets.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::os::fd::{AsRawFd, RawFd};
use std::time::{Duration, Instant};

use multicast::filter::{Always, Filter};
use multicast::{
    Bind, Events, Group, Interface, ListenOptions, Membership, Outcome, Poller, Received, SendOptions, Token, Ttl,
};

use super::evidence::Told;
use crate::host::groups;
use crate::limits::Limits;
use crate::receivers::{self, Filtered};
use crate::senders;
use crate::stop::{Stop, failed};

const MTU: usize = 65_535;
/// How long a looped packet may take. The kernel delivers it before it returns from sending, mostly.
const LOOP: Duration = Duration::from_millis(700);
/// How many senders are kept apart.
const SENDERS: usize = 16;

/// What was heard by one listener.
#[derive(Clone, Debug, Default)]
pub(super) struct Heard {
    pub(super) packets: u64,
    /// The first senders.
    pub(super) senders: Vec<IpAddr>,
    pub(super) least_ttl: Option<u8>,
    pub(super) longest: usize,
}

/// A listener on an interface.
pub(super) struct Ear {
    receiver: Filtered,
    pub(super) index: u32,
    pub(super) heard: Heard,
}

impl Ear {
    /// Joins the group on the interface.
    pub(super) fn open(group: Group, source: Option<IpAddr>, index: u32) -> multicast::Result<Self> {
        // There is no interface 0: the crate says so.
        let interface = NonZeroU32::new(index).map_or(Interface::Default, Interface::Index);
        let membership = source.map_or_else(|| Membership::any(group), |source| Membership::source(group, source));
        // Long streams come in bursts; its own drops would look like somebody's fault.
        let options = ListenOptions::new().metadata().receive_buffer(4 << 20).filter(Box::new(Always) as Box<dyn Filter>);
        let receiver = receivers::bind(options, membership.on(interface).into(), MTU)?;
        Ok(Self { receiver, index, heard: Heard::default() })
    }

    /// Joins the group, and listens on a port of its own: beside a program that does not share the group's port. The host is a member, so
    /// the counters tell, but nothing is heard.
    pub(super) fn beside(group: Group, index: u32) -> multicast::Result<Self> {
        let options = ListenOptions::new().filter(Box::new(Always) as Box<dyn Filter>);
        let mut receiver = receivers::bind(options, Bind::Port(0, group.family()), MTU)?;
        let interface = NonZeroU32::new(index).map_or(Interface::Default, Interface::Index);
        let group = Group::new(group.address(), receiver.local_addr()?.port())?;
        receiver.join(&Membership::any(group).on(interface))?;
        Ok(Self { receiver, index, heard: Heard::default() })
    }

    /// Takes what has come; returns whether the packet with this payload was in it.
    fn take(&mut self, buffer: &mut [u8], wanted: Option<&[u8]>) -> Result<bool, Stop> {
        let mut is_there = false;
        loop {
            match self.receiver.recv_into(buffer)? {
                Received::Packet(packet) if wanted == Some(packet.payload()) => is_there = true,
                Received::Packet(packet) => {
                    let heard = &mut self.heard;
                    heard.packets = heard.packets.saturating_add(1);
                    heard.longest = heard.longest.max(packet.wire_length());
                    let ttl = packet.metadata().and_then(|metadata| metadata.hop_limit);
                    heard.least_ttl = heard.least_ttl.into_iter().chain(ttl).min();
                    let sender = packet.source().ip();
                    if heard.senders.len() < SENDERS && !heard.senders.contains(&sender) {
                        heard.senders.push(sender);
                    }
                }
                Received::Paused => {}
                Received::Empty => return Ok(is_there),
            }
        }
    }
}

impl AsRawFd for Ear {
    fn as_raw_fd(&self) -> RawFd {
        self.receiver.as_raw_fd()
    }
}

/// Lets all of them listen for this long, or until the first of them has the wanted packet; returns whether it came.
pub(super) fn listen(ears: &mut [Ear], limits: &Limits, time: Duration, wanted: Option<&[u8]>) -> Result<bool, Stop> {
    let poller = Poller::new()?;
    limits.register(&poller)?;
    for ear in ears.iter() {
        poller.register(&ear.receiver, Token(1), multicast::Interest::READABLE)?;
    }
    let end = Instant::now().checked_add(time);
    let mut buffer = vec![0; MTU];
    let mut events = Events::<8>::new();
    loop {
        let left = end.map(|end| end.saturating_duration_since(Instant::now()));
        if left == Some(Duration::ZERO) {
            return Ok(false);
        }
        limits.wait(&poller, &mut events, left)?;
        for (place, ear) in ears.iter_mut().enumerate() {
            if ear.take(&mut buffer, wanted.filter(|_| place == 0))? {
                return Ok(true);
            }
        }
    }
}

/// What became of a packet that this host sent to itself.
#[derive(Debug)]
pub(super) enum Looped {
    Heard,
    Lost,
    /// The kernel did not take it.
    Refused(multicast::Error),
    /// It was not sent, for this reason.
    NotTried(String),
}

/// Sends one packet to the group with a TTL of 0, looped, and waits until it is heard.
///
/// Such a packet stays on this host only while the host is a member of the group from any source on this interface, so this is checked
/// first. `ear` must be that member.
#[inline(never)]
pub(super) fn send_looped(ears: &mut [Ear], group: Group, limits: &Limits) -> Result<Looped, Stop> {
    let Some(index) = ears.first().map(|ear| ear.index) else {
        return Ok(Looped::NotTried("there is no listener".to_owned()));
    };
    if let Err(reason) = is_member(group, index) {
        return Ok(Looped::NotTried(reason));
    }
    let interface = NonZeroU32::new(index).map_or(Interface::Default, Interface::Index);
    let payload = format!("mcast doctor {}: a packet that does not leave this host", std::process::id());
    let options = SendOptions::new().interface(interface).ttl(Ttl::HOST).give_up_after(LOOP);
    let sent = senders::open(options, group.family()).and_then(|mut sender| sender.send(payload.as_bytes(), group));
    match sent {
        Ok(Outcome::Sent) => {}
        Ok(Outcome::Blocked | Outcome::Wait(_)) => return Ok(Looped::NotTried("the queue is full".to_owned())),
        Err(error) => return Ok(Looped::Refused(error)),
    }
    Ok(if listen(ears, limits, LOOP, Some(payload.as_bytes()))? { Looped::Heard } else { Looped::Lost })
}

/// Whether the kernel lists the group on the interface.
fn is_member(group: Group, index: u32) -> Told<()> {
    let is_listed = groups::joined()?.iter().any(|joined| joined.group == group.address() && joined.index == index);
    is_listed.then_some(()).ok_or_else(|| "this host is no member of the group on the interface".to_owned())
}

/// Waits without listening.
pub(super) fn wait(limits: &Limits, time: Duration) -> Result<(), Stop> {
    let poller = Poller::new().map_err(failed("wait"))?;
    limits.register(&poller)?;
    let end = Instant::now().checked_add(time);
    let mut events = Events::<2>::new();
    loop {
        let left = end.map(|end| end.saturating_duration_since(Instant::now()));
        if left == Some(Duration::ZERO) {
            return Ok(());
        }
        limits.wait(&poller, &mut events, left)?;
    }
}
