//! Waits during a flood of unwanted packets. A packet on the next port ends the wait.

use std::marker::PhantomData;
use std::net::UdpSocket;

use multicast::filter::{Filter, Prefix, Regex};
use multicast::{Events, Interest, Listener, Poller, Received, Token};

use crate::Peer;
use crate::place::{BUFFER, Outcome, Place, Tally};

/// The beginning of wanted packets. The packets of the flood are zeros.
const WANTED: &str = "NOTIFY ";

const FLOOD: Token = Token(0);
const ORDERS: Token = Token(1);

/// What the peer measures.
pub(crate) trait Told {
    fn tell(wakes: u64) -> Option<u64>;
}

/// The CPU time, as in all tasks.
pub(crate) struct Time;

impl Told for Time {
    fn tell(_wakes: u64) -> Option<u64> {
        None
    }
}

/// How often the flood woke the process, instead of the time.
pub(crate) struct Wakes;

impl Told for Wakes {
    fn tell(wakes: u64) -> Option<u64> {
        Some(wakes)
    }
}

struct Ours<F, T> {
    poller: Poller,
    listener: Listener<BUFFER, F>,
    orders: UdpSocket,
    size: usize,
    told: PhantomData<T>,
}

/// The filter runs in user space, and compares bytes.
pub(crate) fn user<T: Told + 'static>(place: &Place) -> Outcome<Box<dyn Peer>> {
    open::<_, T>(place, Prefix(WANTED), false)
}

/// The same with a regular expression.
pub(crate) fn regex<T: Told + 'static>(place: &Place) -> Outcome<Box<dyn Peer>> {
    open::<_, T>(place, Regex::new(WANTED)?, false)
}

/// The same bytes, compared by the kernel.
pub(crate) fn kernel<T: Told + 'static>(place: &Place) -> Outcome<Box<dyn Peer>> {
    open::<_, T>(place, Prefix(WANTED), true)
}

fn open<F: Filter + 'static, T: Told + 'static>(place: &Place, filter: F, in_kernel: bool) -> Outcome<Box<dyn Peer>> {
    let options = place.listen_options().filter(filter).kernel_filter(in_kernel);
    let listener = options.bind(place.membership(place.port)?)?;
    let orders = UdpSocket::from(place.receiver(place.port + 1)?);
    let poller = Poller::new()?;
    poller.register(&listener, FLOOD, Interest::READABLE)?;
    poller.register(&orders, ORDERS, Interest::READABLE)?;
    Ok(Box::new(Ours { poller, listener, orders, size: place.size, told: PhantomData::<T> }))
}

impl<F: Filter, T: Told> Peer for Ours<F, T> {
    fn work(&mut self, count: u64) -> Outcome<Tally> {
        let mut events = Events::<16>::new();
        let mut wakes = 0;
        let mut is_over = false;
        while !is_over {
            for event in self.poller.poll(&mut events, None)? {
                if event.token() == ORDERS {
                    is_over = true;
                    continue;
                }
                wakes += 1;
                loop {
                    match self.listener.recv()? {
                        Received::Packet(_) => return Err("a packet of the flood came through".into()),
                        Received::Paused => {}
                        Received::Empty => break,
                    }
                }
            }
        }
        while self.orders.recv(&mut [0; 8]).is_ok() {}
        Ok(Tally { nanoseconds: T::tell(wakes), ..Tally::sent(count, self.size) })
    }
}
