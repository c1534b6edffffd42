//! Round trips: *ping* sends and waits for the answer, *pong* answers. Ping receives on the given port and sends to the next
//! one, pong does the opposite.

use std::io::ErrorKind;
use std::iter::Repeat;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use multicast::{Events, Group, Interest, Listener, Multicaster, Poller, Progress, Received, Token};

use crate::Peer;
use crate::place::{BUFFER, LONG_PATIENCE, Outcome, Place, Tally};

/// How long those that spin ask before they sleep.
const SPIN: Duration = Duration::from_micros(200);

/// Sends one packet and receives one packet, with any kind of peer.
pub(crate) trait Talk {
    fn say(&mut self) -> Outcome<()>;
    fn hear(&mut self, tally: &mut Tally) -> Outcome<()>;
}

pub(crate) struct Ping<T> {
    talker: T,
    /// Kept, so that nothing is allocated after the warm-up.
    times: Vec<u64>,
}

pub(crate) struct Pong<T>(T);

impl<T: Talk> Peer for Ping<T> {
    /// The result is the median times the number of trips: one trip that the machine delayed must not count.
    fn work(&mut self, count: u64) -> Outcome<Tally> {
        let mut tally = Tally::default();
        self.times.clear();
        for _ in 0..count {
            let start = Instant::now();
            self.talker.say()?;
            self.talker.hear(&mut tally)?;
            self.times.push(start.elapsed().as_nanos() as u64);
        }
        self.times.sort_unstable();
        tally.nanoseconds = self.times.get(self.times.len() / 2).map(|median| median * count);
        Ok(tally)
    }
}

impl<T: Talk> Peer for Pong<T> {
    fn work(&mut self, count: u64) -> Outcome<Tally> {
        let mut tally = Tally::default();
        while tally.packets < count {
            self.0.hear(&mut tally)?;
            self.0.say()?;
        }
        Ok(tally)
    }
}

/// How a kind of peer opens its two ends: with the port that it receives on and the one that it sends to.
pub(crate) trait Open: Talk + Sized + 'static {
    fn open(place: &Place, hear: u16, say: u16) -> Outcome<Self>;

    fn ping(place: &Place) -> Outcome<Box<dyn Peer>> {
        let talker = Self::open(place, place.port, place.port + 1)?;
        Ok(Box::new(Ping { talker, times: Vec::new() }))
    }

    fn pong(place: &Place) -> Outcome<Box<dyn Peer>> {
        Ok(Box::new(Pong(Self::open(place, place.port + 1, place.port)?)))
    }
}

/// The measured crate.
pub(crate) struct Ours {
    poller: Poller,
    listener: Listener<BUFFER>,
    caster: Multicaster<Repeat<&'static [u8]>>,
}

impl Open for Ours {
    fn open(place: &Place, hear: u16, say: u16) -> Outcome<Self> {
        let poller = Poller::new()?;
        let listener = place.listener(hear)?;
        poller.register(&listener, Token(0), Interest::READABLE)?;
        let caster = place.send_options().packets(Group::new(place.group, say)?, std::iter::repeat(place.payload()))?;
        Ok(Self { poller, listener, caster })
    }
}

impl Talk for Ours {
    fn say(&mut self) -> Outcome<()> {
        match self.caster.step()? {
            Progress::Sent(1) => Ok(()),
            other => Err(format!("{other:?} instead of one packet sent").into()),
        }
    }

    fn hear(&mut self, tally: &mut Tally) -> Outcome<()> {
        let mut events = Events::<1>::new();
        if self.poller.poll(&mut events, LONG_PATIENCE)?.next().is_none() {
            return Err("a packet is lost".into());
        }
        if let Received::Packet(packet) = self.listener.recv()? {
            tally.see(packet.payload(), packet.source());
        }
        Ok(())
    }
}

/// The measured crate, which spins before it sleeps.
pub(crate) struct OursSpinning(Ours);

impl Open for OursSpinning {
    fn open(place: &Place, hear: u16, say: u16) -> Outcome<Self> {
        Ours::open(place, hear, say).map(Self)
    }
}

impl Talk for OursSpinning {
    fn say(&mut self) -> Outcome<()> {
        self.0.say()
    }

    fn hear(&mut self, tally: &mut Tally) -> Outcome<()> {
        let Ours { poller, listener, .. } = &mut self.0;
        let mut events = Events::<1>::new();
        if poller.spin(SPIN).poll(&mut events, LONG_PATIENCE)?.next().is_none() {
            return Err("a packet is lost".into());
        }
        if let Received::Packet(packet) = listener.recv()? {
            tally.see(packet.payload(), packet.source());
        }
        Ok(())
    }
}

/// `mio`.
pub(crate) struct Mio {
    poll: mio::Poll,
    events: mio::Events,
    receiver: mio::net::UdpSocket,
    sender: mio::net::UdpSocket,
    to: SocketAddr,
    payload: &'static [u8],
    buffer: [u8; BUFFER],
}

impl Open for Mio {
    fn open(place: &Place, hear: u16, say: u16) -> Outcome<Self> {
        let poll = mio::Poll::new()?;
        let mut receiver = mio::net::UdpSocket::from_std(place.receiver(hear)?.into());
        poll.registry().register(&mut receiver, mio::Token(0), mio::Interest::READABLE)?;
        Ok(Self {
            poll,
            events: mio::Events::with_capacity(1),
            receiver,
            sender: mio::net::UdpSocket::from_std(place.sender()?.into()),
            to: place.address(say),
            payload: place.payload(),
            buffer: [0; BUFFER],
        })
    }
}

impl Talk for Mio {
    fn say(&mut self) -> Outcome<()> {
        self.sender.send_to(self.payload, self.to)?;
        Ok(())
    }

    fn hear(&mut self, tally: &mut Tally) -> Outcome<()> {
        // Each packet is an edge, so there is an event for each one.
        loop {
            self.poll.poll(&mut self.events, Some(LONG_PATIENCE))?;
            if self.events.is_empty() {
                return Err("a packet is lost".into());
            }
            match self.receiver.recv_from(&mut self.buffer) {
                Ok((length, source)) => {
                    tally.see(&self.buffer[..length], source);
                    return Ok(());
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// `tokio` on one thread.
pub(crate) struct Tokio {
    runtime: tokio::runtime::Runtime,
    receiver: tokio::net::UdpSocket,
    sender: tokio::net::UdpSocket,
    to: SocketAddr,
    payload: &'static [u8],
    buffer: [u8; BUFFER],
}

impl Open for Tokio {
    fn open(place: &Place, hear: u16, say: u16) -> Outcome<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
        let (receiver, sender) = (place.receiver(hear)?.into(), place.sender()?.into());
        let (receiver, sender) = runtime.block_on(async {
            let receiver = tokio::net::UdpSocket::from_std(receiver)?;
            std::io::Result::Ok((receiver, tokio::net::UdpSocket::from_std(sender)?))
        })?;
        let (to, payload) = (place.address(say), place.payload());
        Ok(Self { runtime, receiver, sender, to, payload, buffer: [0; BUFFER] })
    }
}

impl Talk for Tokio {
    fn say(&mut self) -> Outcome<()> {
        self.runtime.block_on(self.sender.send_to(self.payload, self.to))?;
        Ok(())
    }

    fn hear(&mut self, tally: &mut Tally) -> Outcome<()> {
        let Self { runtime, receiver, buffer, .. } = self;
        let heard = runtime.block_on(async { tokio::time::timeout(LONG_PATIENCE, receiver.recv_from(buffer)).await });
        let (length, source) = heard.map_err(|_| "a packet is lost")??;
        tally.see(&buffer[..length], source);
        Ok(())
    }
}
