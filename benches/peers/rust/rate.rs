//! Waits for packets that come at a steady rate, until the last one.

use std::io::ErrorKind;
use std::time::Duration;

use multicast::{Events, Interest, Listener, Poller, Received, Token};

use crate::Peer;
use crate::place::{BUFFER, Outcome, PATIENCE, Place, SILENCE, Tally};

/// The measured crate.
pub(crate) struct Ours {
    poller: Poller,
    listener: Listener<BUFFER>,
}

impl Ours {
    pub(crate) fn open(place: &Place) -> Outcome<Box<dyn Peer>> {
        Ok(Box::new(Self::new(place)?))
    }

    fn new(place: &Place) -> Outcome<Self> {
        let poller = Poller::new()?;
        let listener = place.listener(place.port)?;
        poller.register(&listener, Token(0), Interest::READABLE)?;
        Ok(Self { poller, listener })
    }
}

impl Peer for Ours {
    fn work(&mut self, count: u64) -> Outcome<Tally> {
        let mut tally = Tally::default();
        let mut events = Events::<16>::new();
        while tally.packets < count {
            let patience = if tally.packets == 0 { PATIENCE } else { SILENCE };
            if self.poller.poll(&mut events, patience)?.next().is_none() {
                break;
            }
            while let Received::Packet(packet) = self.listener.recv()? {
                tally.see(packet.payload(), packet.source());
            }
        }
        Ok(tally)
    }
}

/// The measured crate, which wakes up at most once in so many milliseconds.
pub(crate) struct OursGathering<const MILLISECONDS: u64>(Ours);

impl<const MILLISECONDS: u64> OursGathering<MILLISECONDS> {
    pub(crate) fn open(place: &Place) -> Outcome<Box<dyn Peer>> {
        Ok(Box::new(Self(Ours::new(place)?)))
    }
}

impl<const MILLISECONDS: u64> Peer for OursGathering<MILLISECONDS> {
    fn work(&mut self, count: u64) -> Outcome<Tally> {
        let Ours { poller, listener } = &mut self.0;
        let mut gathering = poller.gather(Duration::from_millis(MILLISECONDS));
        let mut tally = Tally::default();
        let mut events = Events::<16>::new();
        while tally.packets < count {
            let patience = if tally.packets == 0 { PATIENCE } else { SILENCE };
            if gathering.poll(&mut events, patience)?.next().is_none() {
                break;
            }
            while let Received::Packet(packet) = listener.recv()? {
                tally.see(packet.payload(), packet.source());
            }
        }
        Ok(tally)
    }
}

/// `mio`.
pub(crate) struct Mio {
    poll: mio::Poll,
    socket: mio::net::UdpSocket,
    buffer: [u8; BUFFER],
}

impl Mio {
    pub(crate) fn open(place: &Place) -> Outcome<Box<dyn Peer>> {
        let poll = mio::Poll::new()?;
        let mut socket = mio::net::UdpSocket::from_std(place.receiver(place.port)?.into());
        poll.registry().register(&mut socket, mio::Token(0), mio::Interest::READABLE)?;
        Ok(Box::new(Self { poll, socket, buffer: [0; BUFFER] }))
    }
}

impl Peer for Mio {
    fn work(&mut self, count: u64) -> Outcome<Tally> {
        let mut tally = Tally::default();
        let mut events = mio::Events::with_capacity(16);
        while tally.packets < count {
            let patience = if tally.packets == 0 { PATIENCE } else { SILENCE };
            self.poll.poll(&mut events, Some(patience))?;
            if events.is_empty() {
                break;
            }
            loop {
                match self.socket.recv_from(&mut self.buffer) {
                    Ok((length, source)) => tally.see(&self.buffer[..length], source),
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    Err(error) => return Err(error.into()),
                }
            }
        }
        Ok(tally)
    }
}

/// `tokio` on one thread.
pub(crate) struct Tokio {
    runtime: tokio::runtime::Runtime,
    socket: tokio::net::UdpSocket,
    buffer: [u8; BUFFER],
}

impl Tokio {
    pub(crate) fn open(place: &Place) -> Outcome<Box<dyn Peer>> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
        let socket = std::net::UdpSocket::from(place.receiver(place.port)?);
        let socket = runtime.block_on(async { tokio::net::UdpSocket::from_std(socket) })?;
        Ok(Box::new(Self { runtime, socket, buffer: [0; BUFFER] }))
    }
}

impl Peer for Tokio {
    fn work(&mut self, count: u64) -> Outcome<Tally> {
        let Self { runtime, socket, buffer } = self;
        let mut tally = Tally::default();
        runtime.block_on(async {
            while tally.packets < count {
                let patience = if tally.packets == 0 { PATIENCE } else { SILENCE };
                match tokio::time::timeout(patience, socket.readable()).await {
                    Ok(readable) => readable?,
                    Err(_elapsed) => break,
                }
                loop {
                    match socket.try_recv_from(buffer) {
                        Ok((length, source)) => tally.see(&buffer[..length], source),
                        Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                        Err(error) => return Err(error),
                    }
                }
            }
            std::io::Result::Ok(())
        })?;
        Ok(tally)
    }
}
