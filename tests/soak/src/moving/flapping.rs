//! A link that is switched off, deleted and created again, or loses its addresses. Listeners and senders follow it.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::rc::Rc;
use std::time::{Duration, Instant};

use multicast::compat::{Handle, MulticastListener, Poller};
use multicast::{Bind, Group, Interface, Links, ListenOptions, Membership, Memberships, Outcome, SendOptions, Sender};

use super::{Pair, ip};
use crate::gate::Gate;
use crate::host;
use crate::items::{Expected, item};
use crate::ledger::{Ledger, Line, Result};
use crate::stations::{Listen, PATIENCE};

const BURST: u64 = 128;
/// How many packets are tried while the link is away.
const AWAY: u64 = 8;

/// A listener with its book, what it expects, and its line.
struct Member<L> {
    kind: &'static str,
    listener: L,
    book: Memberships<1>,
    expected: Expected,
    line: Line,
}

type Handler = Box<dyn FnMut(&[u8], SocketAddr) -> ControlFlow<()>>;

struct Flapping {
    pair: Pair,
    groups: [Group; 2],
    links: Links,
    senders: [Sender; 2],
    v4: Member<multicast::Listener<1500>>,
    v6: Member<multicast::Receiver>,
    poller: Poller,
    handle: Handle<MulticastListener<Handler>>,
    handled: Rc<RefCell<Expected>>,
    handled_line: Line,
    /// How many packets of each group the sender refused with an error, while the link was away.
    refused: [u64; 2],
    next: u64,
}

/// Flaps until all is over.
pub fn flap(gate: &Gate, ledger: &Ledger) -> Result<()> {
    let mut flapping = gate.turn(Flapping::new).transpose()?;
    let mut round = 0_u64;
    while let Some(flapping) = &mut flapping
        && let Some(done) = gate.turn(|| {
            host::begin_turn();
            flapping.round(round, ledger)
        })
    {
        done?;
        round += 1;
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

impl Flapping {
    fn new() -> Result<Self> {
        let text = |error: multicast::Error| error.to_string();
        let pair = Pair { a: "soaka", b: "soakb", number: 1 };
        pair.create()?;
        let groups: [Group; 2] = ["239.77.200.1:9001", "[ff15::77:200:1]:9002"]
            .map(|group| group.parse::<Group>())
            .into_iter()
            .collect::<multicast::Result<Vec<_>>>()
            .map_err(text)?
            .try_into()
            .map_err(|_| "two groups".to_owned())?;
        let interface = |name: &str| name.parse::<Interface>().map_err(text);
        let [a, b] = [interface(pair.a)?, interface(pair.b)?];
        let open = |group: Group| SendOptions::new().interface(a).later().open(group.family()).map_err(text);
        let senders = [open(groups[0])?, open(groups[1])?];
        let links = Links::watch().map_err(text)?;
        let mut v4 = Member {
            kind: "flapping link, by name",
            listener: ListenOptions::new().bind::<1500>(Bind::Later(groups[0])).map_err(text)?,
            book: Memberships::new(),
            expected: Expected::from(0, 1),
            line: Line::default(),
        };
        v4.book.join(Membership::any(groups[0]).on(b), &mut v4.listener).map_err(text)?;
        let mut v6 = Member {
            kind: "v6 flapping link, by name",
            listener: ListenOptions::new()
                .bind_receiver(Bind::Port(groups[1].port(), groups[1].family()), 1500)
                .map_err(text)?,
            book: Memberships::new(),
            expected: Expected::from(0, 1),
            line: Line::default(),
        };
        v6.book.join(Membership::any(groups[1]).on(b), &mut v6.listener).map_err(text)?;
        let poller = Poller::new().map_err(text)?;
        let handled = Rc::new(RefCell::new(Expected::from(0, 1)));
        let log = Rc::clone(&handled);
        let handler: Handler = Box::new(move |packet, _| {
            log.borrow_mut().packet(packet);
            ControlFlow::Continue(())
        });
        let options = multicast::compat::ListenOptions::new().group(groups[0]).interface(b).poller(&poller);
        let handle = MulticastListener::new(handler, options).map_err(text)?;
        let (handled_line, refused) = (Line::default(), [0; 2]);
        Ok(Self { pair, groups, links, senders, v4, v6, poller, handle, handled, handled_line, refused, next: 0 })
    }

    fn follow(&mut self) -> Result<usize> {
        let [first, second] = &mut self.senders;
        let Member { listener, book, .. } = &mut self.v4;
        let Member { listener: listener_v6, book: book_v6, .. } = &mut self.v6;
        let followed = self.links.follow(&mut (book.with(listener), book_v6.with(listener_v6), first, second));
        let followed = followed.map_err(|error| format!("follow: {error}"))?;
        match followed.failed {
            Some(error) => Err(format!("follow: {error}")),
            None => Ok(followed.applied.pending),
        }
    }

    /// Tries to send while the link is away, when an error is right.
    fn try_to_send(&mut self, number: u64) {
        let senders = self.senders.iter_mut().zip(self.groups).zip(&mut self.refused);
        for ((sender, group), refused) in senders {
            let is_taken = matches!(sender.send(&item(number), group), Ok(Outcome::Sent));
            *refused += u64::from(!is_taken);
        }
    }

    fn round(&mut self, round: u64, ledger: &Ledger) -> Result<()> {
        let Pair { a, b, .. } = self.pair;
        let way = round % 3;
        match way {
            0 => ip(&format!("link set {b} down"))?,
            1 => ip(&format!("link delete {a}"))?,
            _ => ip(&format!("addr flush dev {a}"))?,
        };
        for number in 0..AWAY {
            self.try_to_send(self.next + number);
            if number == AWAY / 2 {
                self.follow()?;
            }
        }
        self.next += AWAY;
        match way {
            0 => self.pair.up().and_then(|()| self.pair.give_addresses())?,
            1 => self.pair.create()?,
            _ => self.pair.give_addresses()?,
        }
        let deadline = Instant::now() + PATIENCE;
        loop {
            let pending = self.follow()?;
            self.poller.poll(Duration::ZERO).map_err(|error| format!("flapping, compat: {error}"))?;
            let waits = self.handle.with(|listener| listener.is_waiting()).map_err(|error| error.to_string())?;
            if pending == 0 && waits == Some(false) {
                break;
            }
            if Instant::now() > deadline {
                return Err(format!("flapping, way {way}: {pending} are pending, compat waits: {waits:?}"));
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        let first = self.next;
        self.next += BURST;
        for number in first..self.next {
            for (sender, group) in self.senders.iter_mut().zip(self.groups) {
                crate::senders::send_one(sender, &item(number), group)
                    .map_err(|error| format!("flapping, way {way}: {error}"))?;
            }
        }
        ledger.sent("link flaps", 1);
        let [v4, v6] = self.refused.map(|refused| Sent { end: self.next, refused });
        settle(&mut self.v4, v4, ledger).map_err(|error| format!("way {way}: {error}"))?;
        settle(&mut self.v6, v6, ledger).map_err(|error| format!("way {way}: {error}"))?;
        self.settle_handled(v4, ledger)
    }

    fn settle_handled(&mut self, sent: Sent, ledger: &Ledger) -> Result<()> {
        const KIND: &str = "flapping link, compat";
        let since = Instant::now();
        let counters = loop {
            self.poller.poll(Duration::from_millis(1)).map_err(|error| format!("{KIND}: {error}"))?;
            let counters = self.handle.with(|listener| listener.receiver().counters()).map_err(|error| error.to_string())?;
            let is_whole = self.handled.borrow().is_at(self.next) || host::has_lost(1, since);
            match counters {
                Some(counters) if is_whole => break counters,
                Some(_) if since.elapsed() < PATIENCE => {}
                _ => return Err(format!("{KIND}: {:?} of {}", self.handled.borrow(), self.next)),
            }
        };
        let mut expected = self.handled.borrow_mut();
        close(KIND, &mut expected, &mut self.handled_line, &counters, sent, ledger)
    }
}

/// What was sent to a group: all packets below `end`, except those that the sender refused.
#[derive(Clone, Copy)]
struct Sent {
    end: u64,
    refused: u64,
}

/// Takes what has come, until the last burst is whole.
fn settle<L: Listen>(member: &mut Member<L>, sent: Sent, ledger: &Ledger) -> Result<()> {
    let Member { kind, listener, expected, line, .. } = member;
    let since = Instant::now();
    while !expected.is_at(sent.end) && !host::has_lost(1, since) {
        listener.drain(&mut |packet| expected.packet(packet.payload())).map_err(|error| format!("{kind}: {error}"))?;
        if since.elapsed() > PATIENCE {
            return Err(format!("{kind}: {expected:?} of {}, {:?}", sent.end, listener.counters()));
        }
    }
    close(kind, expected, line, &listener.counters(), sent, ledger)
}

/// The ledger must be exact: what is missing was refused by the sender, or taken by the kernel while the link was away.
fn close(
    kind: &'static str,
    expected: &mut Expected,
    line: &mut Line,
    counters: &multicast::Counters,
    sent: Sent,
    ledger: &Ledger,
) -> Result<()> {
    expected.close(sent.end).map_err(|error| format!("{kind}: {error}"))?;
    let lost = expected.missing.checked_sub(sent.refused);
    let lost = lost.ok_or_else(|| format!("{kind}: a packet came that the sender refused with an error"))?;
    let now = Line { lost, ..Line::of(sent.end - sent.refused, counters) };
    if now.open() != 0 {
        return Err(format!("{kind}: the ledger is not exact: {now:?}"));
    }
    let more = lost - line.lost;
    if more > AWAY + u64::from(host::dropped_in_turn()) {
        return Err(format!("{kind}: {} packets are missing, and {AWAY} were sent while the link was away", more));
    }
    ledger.add(kind, now, line);
    Ok(())
}
