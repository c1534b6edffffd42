//! Where a relay sends: groups on interfaces, and unicast addresses.
//!
//! Unlike a sender of its own packets, a relay does not wait for an interface that is gone: the packets of that time are lost there, and
//! counted.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use multicast::{Change, Destination, Events, Family, Group, Interface, Outcome, Poller, SendOptions, Sender};
use rustix::net::sockopt;

use super::own::Own;
use crate::limits::Limits;
use crate::outage::Outages;
use crate::senders::{self, may_pass};
use crate::stop::{Stop, complain};

/// How long a packet is tried that the queue of an interface refuses. Longer, and packets are lost on the other side.
pub(super) const PATIENCE: Duration = Duration::from_millis(100);
/// How many routers a unicast packet may pass, if it is not said.
const UNICAST_HOPS: u8 = 64;

/// Where packets go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum To {
    Group(Group),
    /// To the group that they were sent to.
    SameGroup,
    Unicast(SocketAddr),
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Way {
    pub(super) to: To,
    pub(super) interface: Interface,
}

impl Way {
    /// Where a packet for this group goes, which came in on this interface; `None` if that is where it comes from. `index` is that of the
    /// way's interface.
    pub(super) fn destination(
        &self,
        index: Option<NonZeroU32>,
        sent_to: SocketAddr,
        came_on: Option<NonZeroU32>,
    ) -> Option<SocketAddr> {
        let to = match self.to {
            To::Group(group) => group.into(),
            To::SameGroup => sent_to,
            To::Unicast(address) => return Some(address),
        };
        let is_back = to.ip() == sent_to.ip() && to.port() == sent_to.port() && came_on.is_some() && came_on == index;
        (!is_back).then_some(to)
    }
}

/// The highest TTL with which packets leave; `None` is 1 for groups, which no router passes on, and 64 for unicast.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hops(pub(super) Option<u8>);

impl Hops {
    /// For a packet that came with this TTL; `None` if it must stay.
    pub(super) fn for_packet(self, received: u8, to: To) -> Option<u8> {
        let usual = if matches!(to, To::Unicast(_)) { UNICAST_HOPS } else { 1 };
        let lowered = received.saturating_sub(1).min(self.0.unwrap_or(usual));
        (lowered > 0).then_some(lowered)
    }
}

pub(super) struct Outputs {
    senders: Vec<Sender>,
    /// Of the sender of the same number: the way, its family, the index of its interface, and the TTL that is set.
    ways: Vec<(Way, Family, Option<NonZeroU32>, u8)>,
    hops: Hops,
    outages: Outages,
    poller: Poller,
    /// Renewing a sender failed, and must be tried again.
    failed_at: Option<Instant>,
    has_sent: bool,
    last_error: Option<multicast::Error>,
    pub(super) lost: Lost,
}

/// What became of a packet, on the way where it came farthest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Sent {
    /// It would only go to where it came from.
    Back,
    /// Its TTL does not let it go on.
    Stayed,
    /// It was refused, or the interface was gone.
    Lost,
    Left,
}

/// Copies of packets that did not leave.
#[derive(Clone, Copy, Default)]
pub(super) struct Lost {
    /// While the interface was gone.
    pub(super) in_outages: u64,
    /// By a full queue, a firewall, or since they are too long.
    pub(super) refused: u64,
}

impl Outputs {
    /// Opens a sender for each way and family.
    pub(super) fn open(
        ways: &[Way],
        families: &[Family],
        options: SendOptions,
        hops: Hops,
        give_up: Option<Duration>,
        limits: &Limits,
    ) -> Result<Self, Stop> {
        let poller = Poller::new()?;
        limits.register(&poller)?;
        let mut outputs = Self {
            senders: Vec::new(),
            ways: Vec::new(),
            hops,
            outages: Outages::none_yet(give_up, "relaying again"),
            poller,
            failed_at: None,
            has_sent: false,
            last_error: None,
            lost: Lost::default(),
        };
        for way in ways {
            for family in families_of(way.to, families) {
                outputs.senders.push(senders::open(options.interface(way.interface), family)?);
                outputs.ways.push((*way, family, None, 0));
                outputs.outages.add(way.interface);
            }
        }
        Ok(outputs)
    }

    /// The ports that packets leave from.
    pub(super) fn ports(&self) -> Result<Vec<u16>, Stop> {
        let ports: multicast::Result<_> = self.senders.iter().map(|sender| Ok(sender.local_addr()?.port())).collect();
        Ok(ports?)
    }

    /// Applies a change of the links.
    pub(super) fn apply(&mut self, change: &Change, own: &Own) {
        if change.apply(self.senders.as_mut_slice()).failed.is_some() {
            self.failed_at.get_or_insert_with(Instant::now);
        }
        for (way, _, index, _) in &mut self.ways {
            *index = own.index_of(way.interface);
        }
    }

    /// Sends a packet everywhere, with its TTL lowered by one.
    #[inline(never)]
    pub(super) fn send(
        &mut self,
        payload: &[u8],
        sent_to: SocketAddr,
        came_on: Option<NonZeroU32>,
        received_hops: u8,
        limits: &Limits,
    ) -> Result<Sent, Stop> {
        let mut sent = Sent::Back;
        for number in 0..self.ways.len() {
            let Some((way, family, index, _)) = self.ways.get(number).copied() else { continue };
            let is_its_family = matches!(way.to, To::SameGroup) && (family == Family::V4) != sent_to.is_ipv4();
            let Some(to) = way.destination(index, sent_to, came_on).filter(|_| !is_its_family) else { continue };
            let Some(hops) = self.hops.for_packet(received_hops, way.to) else {
                sent = sent.max(Sent::Stayed);
                continue;
            };
            let has_left = self.send_on(number, payload, to, hops, limits)?;
            sent = sent.max(if has_left { Sent::Left } else { Sent::Lost });
        }
        Ok(sent)
    }

    /// Sends on one way. Returns whether the packet left.
    fn send_on(&mut self, number: usize, payload: &[u8], to: SocketAddr, hops: u8, limits: &Limits) -> Result<bool, Stop> {
        self.retry();
        let begin = Instant::now();
        loop {
            let (Some(sender), Some((way, family, _, set))) = (self.senders.get_mut(number), self.ways.get_mut(number))
            else {
                return Ok(false);
            };
            if *set != hops {
                set_hops(sender, *family, hops).map_err(crate::stop::failed("set the TTL"))?;
                *set = hops;
            }
            let time = match sender.send(payload, Destination::from(to)) {
                Ok(Outcome::Sent) => {
                    self.outages.is_over(way.interface);
                    self.has_sent = true;
                    return Ok(true);
                }
                Ok(Outcome::Wait(time)) => time,
                Ok(Outcome::Blocked) => Duration::from_millis(1),
                // If it never worked, more likely something is wrong than that it will work later.
                Err(error) if may_pass(error.kind()) && !self.has_sent => return Err(error.into()),
                Err(error) if may_pass(error.kind()) => {
                    self.outages.lasts(way.interface, &error)?;
                    self.failed_at.get_or_insert(begin);
                    self.lost.in_outages = self.lost.in_outages.saturating_add(1);
                    return Ok(false);
                }
                Err(error) => {
                    self.refuse(Some(error));
                    return Ok(false);
                }
            };
            let Some(left) = PATIENCE.checked_sub(begin.elapsed()) else {
                self.refuse(None);
                return Ok(false);
            };
            limits.wait(&self.poller, &mut Events::<2>::new(), Some(time.min(left)))?;
        }
    }

    /// Counts a packet that was refused. An error is said once, until another one comes.
    fn refuse(&mut self, error: Option<multicast::Error>) {
        self.lost.refused = self.lost.refused.saturating_add(1);
        if let Some(error) = error
            && self.last_error.as_ref().map(multicast::Error::kind) != Some(error.kind())
        {
            complain(&error);
            self.last_error = Some(error);
        }
    }

    /// Renews senders again, at most once a second, while that fails.
    fn retry(&mut self) {
        if self.failed_at.is_some_and(|failed| failed.elapsed() >= Duration::from_secs(1)) {
            let failed = Change::Overrun.apply(self.senders.as_mut_slice()).failed;
            self.failed_at = failed.map(|_| Instant::now());
        }
    }
}

/// The families of a way; of one to the same group all that packets come in.
pub(super) fn families_of(to: To, families: &[Family]) -> Vec<Family> {
    match to {
        To::SameGroup => families.to_vec(),
        To::Group(group) => vec![group.family()],
        To::Unicast(address) => vec![if address.is_ipv4() { Family::V4 } else { Family::V6 }],
    }
}

/// Sets the TTL of the packets that follow, both to groups and to unicast addresses.
pub(super) fn set_hops(sender: &Sender, family: Family, hops: u8) -> rustix::io::Result<()> {
    match family {
        Family::V4 => {
            sockopt::set_ip_multicast_ttl(sender, hops.into())?;
            sockopt::set_ip_ttl(sender, hops.into())
        }
        Family::V6 => {
            sockopt::set_ipv6_multicast_hops(sender, hops.into())?;
            sockopt::set_ipv6_unicast_hops(sender, Some(hops))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ttl_is_lowered_and_bounded_and_1_stays() {
        let (group, unicast) = (To::SameGroup, To::Unicast("10.0.0.1:5000".parse().unwrap()));
        for (most, received, to, expected) in [
            (None, 0, group, None),
            (None, 1, group, None),
            (None, 2, group, Some(1)),
            (None, 255, group, Some(1)),
            (Some(32), 2, group, Some(1)),
            (Some(32), 20, group, Some(19)),
            (Some(32), 200, group, Some(32)),
            (Some(255), 255, group, Some(254)),
            (Some(0), 255, group, None),
            (None, 1, unicast, None),
            (None, 20, unicast, Some(19)),
            (None, 255, unicast, Some(64)),
            (Some(3), 255, unicast, Some(3)),
        ] {
            assert_eq!(Hops(most).for_packet(received, to), expected, "{most:?} {received} {to:?}");
        }
    }

    #[test]
    fn a_packet_never_goes_back_to_its_group_on_its_interface() {
        let index = NonZeroU32::new;
        let group: Group = "239.1.2.3:5000".parse().unwrap();
        let (here, other) = (SocketAddr::from(group), "239.1.2.4:5000".parse().unwrap());
        let way = |to| Way { to, interface: Interface::LOOPBACK };
        for to in [To::SameGroup, To::Group(group)] {
            assert_eq!(way(to).destination(index(2), here, index(2)), None);
            assert_eq!(way(to).destination(index(2), here, index(3)), Some(here));
            assert_eq!(way(to).destination(None, here, index(3)), Some(here));
        }
        assert_eq!(way(To::Group(group)).destination(index(2), other, index(2)), Some(here));
        assert_eq!(way(To::Unicast(here)).destination(index(2), here, index(2)), Some(here));
    }
}
