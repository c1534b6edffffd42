//! A group is left and joined again between bursts, by a listener of the group and by one of the port.

use multicast::{AsFd as _, Bind, Group, Interest, ListenOptions, Listener, Membership, Packet, Poller, Sender, Token};
use std::cell::RefCell;
use std::rc::Rc;

use super::{Lane, part};
use crate::items::item;
use crate::ledger::{Ledger, Result};
use crate::senders::{on_lo, send_one};
use crate::stations::{Listen, Station, on_lo as membership};

const BURST: u64 = 16;
const BURSTS: u64 = 256;

/// A listener that both its station and this lane use.
#[derive(Clone)]
struct Shared(Rc<RefCell<Listener<1500>>>);

impl Listen for Shared {
    fn drain(&mut self, take: &mut dyn FnMut(&Packet<'_>)) -> multicast::Result<()> {
        Listen::drain(&mut *self.0.borrow_mut(), take)
    }

    fn counters(&self) -> multicast::Counters {
        self.0.borrow().counters()
    }

    fn watch(&self, poller: &Poller) -> multicast::Result<()> {
        poller.register(&self.0.borrow().as_fd(), Token(0), Interest::READABLE)
    }
}

pub struct Churn {
    kind: &'static str,
    membership: Membership,
    sender: Sender,
    members: [(Shared, Station); 2],
    next: u64,
}

impl Churn {
    pub fn new(kind: &'static str, group: Group) -> Result<Self> {
        let text = |error: multicast::Error| error.to_string();
        let member = |place: Bind, kind| {
            let shared = Shared(Rc::new(RefCell::new(ListenOptions::new().bind(place).map_err(text)?)));
            Ok::<_, String>((shared.clone(), Station::new(kind, shared, 1)?))
        };
        let v6 = group.address().is_ipv6();
        let kinds = if v6 { ["v6 joins, by group", "v6 joins, by port"] } else { ["joins, by group", "joins, by port"] };
        let members = [member(Bind::Later(group), kinds[0])?, member(Bind::Port(group.port(), group.family()), kinds[1])?];
        let sender = on_lo().open(group.family()).map_err(text)?;
        Ok(Self { kind, membership: membership(group), sender, members, next: 0 })
    }

    /// Half of the packets are sent while nobody is a member: none of those may come.
    fn burst(&mut self, ledger: &Ledger) -> Result<()> {
        for is_member in [true, false] {
            for (listener, station) in &mut self.members {
                let mut listener = listener.0.borrow_mut();
                let changed = if is_member { listener.join(&self.membership) } else { listener.leave(&self.membership) };
                changed.map_err(|error| format!("{}: {error}", station.kind))?;
            }
            let first = self.next;
            self.next += BURST;
            for number in first..self.next {
                send_one(&mut self.sender, &item(number), self.membership.group())?;
            }
            ledger.sent(if is_member { "joins" } else { "packets to nobody" }, if is_member { 2 } else { BURST });
            for (_, station) in &mut self.members {
                let missing = station.missing();
                if is_member {
                    station.sent += BURST;
                }
                station.settle(self.next, ledger)?;
                let missing = station.missing().saturating_sub(missing);
                let expected = if is_member { 0 } else { BURST };
                if missing != expected {
                    return Err(format!("{}: {missing} packets are missing, not {expected}", station.kind));
                }
            }
        }
        Ok(())
    }
}

impl Lane for Churn {
    fn name(&self) -> &'static str {
        self.kind
    }

    fn turn(&mut self, ledger: &Ledger) -> Result<()> {
        (0..BURSTS).try_for_each(|_| self.burst(ledger))
    }

    /// A join costs as much as many packets: a hundredth of the goal is enough.
    fn progress(&self, ledger: &Ledger) -> f64 {
        let kinds = self.members.iter().map(|(_, station)| ledger.seen(station.kind));
        part(kinds.min().unwrap_or(0)) * 100.0
    }
}
