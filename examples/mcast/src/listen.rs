//! `mcast listen`: prints each packet that comes.

use std::time::Duration;

use multicast::filter::Filter;
use multicast::{
    Bind, Change, Counters, Events, Interest, Interface, Link, Links, ListenOptions, Membership, Memberships, Poller,
    Received, Receiver, Token,
};

use crate::arguments::Listen;
use crate::limits::Limits;
use crate::links::{Outage, watched};
use crate::output::Output;
use crate::stop::{Stop, complain};

const PACKETS: Token = Token(1);
const OUTPUT: Token = Token(2);
const LINKS: Token = Token(3);

/// How many packets are printed before the output, the links and signals are looked at.
const TURN: u32 = 64;

#[inline(never)]
pub(crate) fn run(order: Listen) -> Result<(), Stop> {
    let limits = Limits::new(order.timeout)?;
    let output = Output::new(&limits)?;
    let receiver = open(order.filter, Bind::Later(order.membership.group()), order.mtu)?;
    // Before the join, so that no change after it is missed.
    let mut links = Links::watch();
    // Built in its place: each move would make the stack larger.
    let mut listener = Listener {
        receiver,
        membership: order.membership,
        book: Memberships::new(),
        links: watched(&mut links)?,
        is_up: true,
        outage: Outage::none_yet(order.give_up, "listening again"),
        failed: None,
    };
    listener.join()?;
    let ended = print_packets(&mut listener, order.mtu, order.limit, output, &limits);
    // As a program that SIGPIPE ends says nothing.
    if !matches!(ended, Err(Stop::OutputClosed)) {
        report(&listener.receiver.counters());
    }
    ended
}

/// The listener of both `mcast listen` and `mcast demo`: one function and one type, so that the code for a listener is in the
/// program once.
///
/// The filter does not run in the kernel, which counts rejected packets as dropped: the counters must show both.
pub(crate) fn open(filter: Box<dyn Filter>, place: Bind, mtu: usize) -> multicast::Result<Receiver<Box<dyn Filter>>> {
    ListenOptions::new().filter(filter).kernel_filter(false).bind_receiver(place, mtu)
}

/// The next packet, for the same reason.
#[inline(never)]
pub(crate) fn receive<'b>(
    receiver: &'b mut Receiver<Box<dyn Filter>>,
    buffer: &'b mut [u8],
) -> multicast::Result<Received<'b>> {
    receiver.recv_into(buffer)
}

fn print_packets(
    listener: &mut Listener<'_>,
    mtu: usize,
    limit: Option<u64>,
    mut output: Output,
    limits: &Limits,
) -> Result<(), Stop> {
    let poller = Poller::new()?;
    limits.register(&poller)?;
    output.watch(&poller, OUTPUT)?;
    poller.register(&listener.receiver, PACKETS, Interest::READABLE)?;
    if let Some(links) = &listener.links {
        poller.register(&**links, LINKS, Interest::READABLE)?;
    }

    let mut events = Events::<4>::new();
    let mut buffer = vec![0; mtu];
    let (mut printed, mut turn) = (0, TURN);
    while limit != Some(printed) {
        limits.check()?;
        let at_most = match receive(&mut listener.receiver, &mut buffer)? {
            Received::Packet(packet) => {
                output.packet(&packet, limits)?;
                printed += 1;
                turn -= 1;
                if turn > 0 {
                    continue;
                }
                Some(Duration::ZERO)
            }
            Received::Empty => listener.outage.time_left(),
            // There may be more.
            Received::Paused => Some(Duration::ZERO),
        };
        turn = TURN;
        limits.wait(&poller, &mut events, at_most)?;
        if events.iter().any(|event| event.token() == OUTPUT && (event.is_error() || event.is_hang_up())) {
            return Err(Stop::OutputClosed);
        }
        if events.iter().any(|event| event.token() == LINKS) {
            listener.follow()?;
        }
        listener.check()?;
    }
    Ok(())
}

/// A receiver that stays joined when its interface is created again.
struct Listener<'l> {
    receiver: Receiver<Box<dyn Filter>>,
    membership: Membership,
    book: Memberships<1>,
    links: Option<&'l mut Links>,
    /// Whether the named interface is up; true if that is not known.
    is_up: bool,
    outage: Outage,
    /// The last error of joining that was printed, so that it is printed once.
    failed: Option<multicast::Error>,
}

impl Listener<'_> {
    /// Joins. What cannot be joined now is an error: most often its name is wrong.
    #[inline(never)]
    fn join(&mut self) -> Result<(), Stop> {
        let applied = self.book.join(self.membership, &mut self.receiver)?;
        if applied.pending > 0 {
            self.receiver.join(&self.membership)?;
        }
        Ok(())
    }

    /// Reads what has changed, and joins again.
    #[inline(never)]
    fn follow(&mut self) -> Result<(), Stop> {
        let Some(links) = &mut self.links else { return Ok(()) };
        while let Some(change) = links.next()? {
            match change {
                Change::Link(link) if is_named(&link, self.membership.interface()) => {
                    self.is_up = link.is_up && link.is_running;
                }
                _ => {}
            }
            let failed = self.book.apply(&change, &mut self.receiver).err();
            if failed.is_some() && failed != self.failed {
                complain(&failed.as_ref().map_or_else(String::new, ToString::to_string));
                self.failed = failed;
            }
        }
        Ok(())
    }

    /// Whether packets can come in at the moment. Says so when that changes.
    #[inline(never)]
    fn check(&mut self) -> Result<(), Stop> {
        if self.book.pending().next().is_some() {
            // The book does not say why.
            if let Err(reason) = self.receiver.join(&self.membership) {
                return self.outage.lasts(&reason);
            }
        }
        if !self.is_up {
            return self.outage.lasts(&format_args!("{} is down", self.membership.interface()));
        }
        self.outage.is_over();
        Ok(())
    }
}

/// Whether the interface is named by name or index, and is this one.
fn is_named(link: &Link, interface: Interface) -> bool {
    match interface {
        Interface::Name(name) => link.name == Some(name),
        Interface::Index(index) => link.index == index,
        _ => false,
    }
}

#[inline(never)]
fn report(counters: &Counters) {
    let Counters { received, rejected, truncated, dropped, foreign, .. } = counters;
    let dropped = dropped.map_or_else(|| "unknown".to_owned(), |dropped| dropped.to_string());
    complain(&format_args!(
        "received {received}, rejected {rejected}, truncated {truncated}, dropped {dropped}, foreign {foreign}"
    ));
}
