//! Polls, and receives: short bursts, and one busy listener among many.

use std::io::ErrorKind;
use std::time::Duration;

use multicast::{Events, Interest, Listener, Poller, Received, Token};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::Peer;
use crate::place::{BUFFER, Outcome, Place, Tally};

/// The most descriptors that a peer has open beside its sockets.
const SPARE_DESCRIPTORS: u64 = 64;

/// The measured crate: `number` listeners of the same group and port, so that each packet comes to all of them. Each call to
/// `poll` brings one event, and with it a burst. Edge-triggered, as `mio` is.
pub(crate) struct OurBursts {
    poller: Poller,
    listeners: Vec<Listener<BUFFER>>,
}

impl OurBursts {
    pub(crate) fn open(place: &Place) -> Outcome<Box<dyn Peer>> {
        let poller = Poller::new()?;
        // Each event is drained, so it need not be reported twice.
        let listeners = listeners(&poller, place, Interest::READABLE.edge(), |_| 0)?;
        Ok(Box::new(Self { poller, listeners }))
    }
}

impl Peer for OurBursts {
    fn work(&mut self, _count: u64) -> Outcome<Tally> {
        let mut tally = Tally::default();
        let mut events = Events::<1>::new();
        loop {
            let before = tally.packets;
            for event in self.poller.poll(&mut events, Duration::ZERO)? {
                let listener = &mut self.listeners[event.token().0 as usize];
                while let Received::Packet(packet) = listener.recv()? {
                    tally.see(packet.payload(), packet.source());
                }
            }
            if tally.packets == before {
                return Ok(tally);
            }
        }
    }
}

/// `mio`, in the same way: after an event, the socket must be drained.
pub(crate) struct MioBursts {
    poll: mio::Poll,
    sockets: Vec<mio::net::UdpSocket>,
    buffer: [u8; BUFFER],
}

impl MioBursts {
    pub(crate) fn open(place: &Place) -> Outcome<Box<dyn Peer>> {
        let poll = mio::Poll::new()?;
        let mut sockets = Vec::with_capacity(place.number);
        for index in 0..place.number {
            let mut socket = mio::net::UdpSocket::from_std(place.receiver(place.port)?.into());
            poll.registry().register(&mut socket, mio::Token(index), mio::Interest::READABLE)?;
            sockets.push(socket);
        }
        Ok(Box::new(Self { poll, sockets, buffer: [0; BUFFER] }))
    }
}

impl Peer for MioBursts {
    fn work(&mut self, _count: u64) -> Outcome<Tally> {
        let mut tally = Tally::default();
        let mut events = mio::Events::with_capacity(1);
        loop {
            let before = tally.packets;
            self.poll.poll(&mut events, Some(Duration::ZERO))?;
            for event in &events {
                let socket = &self.sockets[event.token().0];
                loop {
                    match socket.recv_from(&mut self.buffer) {
                        Ok((length, source)) => tally.see(&self.buffer[..length], source),
                        Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                        Err(error) => return Err(error.into()),
                    }
                }
            }
            if tally.packets == before {
                return Ok(tally);
            }
        }
    }
}

/// The measured crate: the first of `number` registered listeners is busy, the others, on the next ports, get nothing.
/// Each event brings one packet.
pub(crate) struct OurOneOfMany {
    poller: Poller,
    listeners: Vec<Listener<BUFFER>>,
}

impl OurOneOfMany {
    pub(crate) fn open(place: &Place) -> Outcome<Box<dyn Peer>> {
        allow_descriptors(place.number as u64 + SPARE_DESCRIPTORS)?;
        let poller = Poller::new()?;
        let listeners = listeners(&poller, place, Interest::READABLE, |index| index as u16)?;
        Ok(Box::new(Self { poller, listeners }))
    }
}

impl Peer for OurOneOfMany {
    fn work(&mut self, _count: u64) -> Outcome<Tally> {
        let mut tally = Tally::default();
        let mut events = Events::<16>::new();
        loop {
            let before = tally.packets;
            for event in self.poller.poll(&mut events, Duration::ZERO)? {
                if let Received::Packet(packet) = self.listeners[event.token().0 as usize].recv()? {
                    tally.see(packet.payload(), packet.source());
                }
            }
            if tally.packets == before {
                return Ok(tally);
            }
        }
    }
}

/// Opens `number` listeners and registers them; the result is the memory that they take, in bytes.
pub(crate) struct Memory {
    place: Place,
    taken: fn() -> Outcome<u64>,
}

impl Memory {
    /// The memory of the process, with the listeners' buffers.
    pub(crate) fn of_process(place: &Place) -> Outcome<Box<dyn Peer>> {
        Self::open(place, || bytes_of("/proc/self/status", "VmRSS:"))
    }

    /// The objects of the kernel, of all processes together: others change them, too.
    pub(crate) fn of_kernel(place: &Place) -> Outcome<Box<dyn Peer>> {
        Self::open(place, || bytes_of("/proc/meminfo", "Slab:"))
    }

    fn open(place: &Place, taken: fn() -> Outcome<u64>) -> Outcome<Box<dyn Peer>> {
        allow_descriptors(place.number as u64 + SPARE_DESCRIPTORS)?;
        let &Place { group, port, size, number } = place;
        Ok(Box::new(Self { place: Place { group, port, size, number }, taken }))
    }
}

/// The value of a line in one of the kernel's files.
fn bytes_of(path: &str, key: &str) -> Outcome<u64> {
    let text = std::fs::read_to_string(path)?;
    let value = text.lines().find_map(|line| line.strip_prefix(key)).ok_or_else(|| format!("{path} has no {key}"))?;
    Ok(value.trim().trim_end_matches(" kB").parse::<u64>()? * 1024)
}

impl Peer for Memory {
    fn work(&mut self, _count: u64) -> Outcome<Tally> {
        let poller = Poller::new()?;
        let before = (self.taken)()?;
        let listeners = listeners(&poller, &self.place, Interest::READABLE, |index| index as u16)?;
        let taken = (self.taken)()?.saturating_sub(before);
        Ok(Tally { nanoseconds: Some(taken), ..Tally::sent(listeners.len() as u64, self.place.size) })
    }
}

/// `number` registered listeners; `offset` returns the distance of each port from the first.
fn listeners(
    poller: &Poller,
    place: &Place,
    interest: Interest,
    offset: fn(usize) -> u16,
) -> Outcome<Vec<Listener<BUFFER>>> {
    let mut listeners = Vec::with_capacity(place.number);
    for index in 0..place.number {
        let listener = place.listener(place.port + offset(index))?;
        poller.register(&listener, Token(index as u64), interest)?;
        listeners.push(listener);
    }
    Ok(listeners)
}

fn allow_descriptors(needed: u64) -> Outcome<()> {
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_some_and(|current| current < needed) {
        let maximum = limit.maximum.map(|maximum| maximum.max(needed));
        setrlimit(Resource::Nofile, Rlimit { current: Some(needed), maximum })?;
    }
    Ok(())
}
