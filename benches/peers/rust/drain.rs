//! Drains a full queue: receives until there is nothing left.

use std::cell::Cell;
use std::io::ErrorKind;
use std::ops::ControlFlow;
use std::rc::Rc;
use std::time::Duration;

use mcrx_core::{Context, SubscriptionConfig};
use multicast::{COALESCING_BUFFER, CoalescingListener, Interface, Listener, Received, compat};
use rustix::io::Errno;
use rustix::net::RecvFlags;

use crate::Peer;
use crate::place::{BUFFER, Outcome, PATIENCE, Place, PlainSocket, RECEIVE_BUFFER, Tally, widen};

/// The measured crate.
pub(crate) struct Ours(Listener<BUFFER>);

impl Ours {
    pub(crate) fn open(place: &Place) -> Outcome<Box<dyn Peer>> {
        Ok(Box::new(Self(place.listener(place.port)?)))
    }
}

impl Peer for Ours {
    fn work(&mut self, _count: u64) -> Outcome<Tally> {
        let mut tally = Tally::default();
        loop {
            match self.0.recv()? {
                Received::Packet(packet) => tally.see(packet.payload(), packet.source()),
                Received::Paused => {}
                _ => return Ok(tally),
            }
        }
    }
}

/// The measured crate, with coalescing.
pub(crate) struct OursCoalesced(CoalescingListener<'static>);

impl OursCoalesced {
    pub(crate) fn open(place: &Place) -> Outcome<Box<dyn Peer>> {
        let buffer = Box::leak(Box::new([0; COALESCING_BUFFER]));
        Ok(Box::new(Self(place.listen_options().bind_coalescing(
            place.membership(place.port)?,
            COALESCING_BUFFER,
            buffer,
        )?)))
    }
}

impl Peer for OursCoalesced {
    fn work(&mut self, _count: u64) -> Outcome<Tally> {
        let mut tally = Tally::default();
        loop {
            match self.0.recv()? {
                Received::Packet(packet) => tally.see(packet.payload(), packet.source()),
                Received::Paused => {}
                _ => return Ok(tally),
            }
        }
    }
}

/// The handle-based API: a listener that the poller calls.
pub(crate) struct Compat {
    poller: compat::Poller,
    tally: Rc<Cell<Tally>>,
}

impl Compat {
    pub(crate) fn open(place: &Place) -> Outcome<Box<dyn Peer>> {
        let (poller, tally) = (compat::Poller::new()?, Rc::new(Cell::new(Tally::default())));
        let seen = Rc::clone(&tally);
        let handler = move |payload: &[u8], source| {
            let mut tally = seen.get();
            tally.see(payload, source);
            seen.set(tally);
            ControlFlow::Continue(())
        };
        let options = compat::ListenOptions::new()
            .group(place.group(place.port)?)
            .interface(Interface::LOOPBACK)
            .core(|core| core.receive_buffer(RECEIVE_BUFFER))
            .mtu(BUFFER)
            .poller(&poller);
        compat::MulticastListener::new(handler, options)?;
        Ok(Box::new(Self { poller, tally }))
    }
}

impl Peer for Compat {
    fn work(&mut self, _count: u64) -> Outcome<Tally> {
        self.tally.set(Tally::default());
        while self.poller.poll(Duration::ZERO)? > 0 {}
        Ok(self.tally.get())
    }
}

/// Only the system call, without any abstraction.
pub(crate) struct Rustix {
    socket: socket2::Socket,
    buffer: [u8; BUFFER],
}

impl Rustix {
    pub(crate) fn open(place: &Place) -> Outcome<Box<dyn Peer>> {
        Ok(Box::new(Self { socket: place.receiver(place.port)?, buffer: [0; BUFFER] }))
    }
}

impl Peer for Rustix {
    fn work(&mut self, _count: u64) -> Outcome<Tally> {
        let mut tally = Tally::default();
        loop {
            match rustix::net::recvfrom(&self.socket, &mut self.buffer, RecvFlags::DONTWAIT) {
                Ok((length, _, source)) => {
                    let source = source.ok_or("a packet without a source")?.try_into()?;
                    tally.see(&self.buffer[..length], source);
                }
                Err(Errno::AGAIN) => return Ok(tally),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// `std::net::UdpSocket`, and `mio`'s, which is created from a socket of `socket2`.
pub(crate) struct Plain<S> {
    socket: S,
    buffer: [u8; BUFFER],
}

pub(crate) fn open_std(place: &Place) -> Outcome<Box<dyn Peer>> {
    let socket = std::net::UdpSocket::from(place.receiver(place.port)?);
    Ok(Box::new(Plain { socket, buffer: [0; BUFFER] }))
}

pub(crate) fn open_mio(place: &Place) -> Outcome<Box<dyn Peer>> {
    let socket = mio::net::UdpSocket::from_std(place.receiver(place.port)?.into());
    Ok(Box::new(Plain { socket, buffer: [0; BUFFER] }))
}

impl<S: PlainSocket> Peer for Plain<S> {
    fn work(&mut self, _count: u64) -> Outcome<Tally> {
        let mut tally = Tally::default();
        loop {
            match self.socket.recv_from(&mut self.buffer) {
                Ok((length, source)) => tally.see(&self.buffer[..length], source),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(tally),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// `tokio` on one thread. It gets the number of packets, since its users await the next packet, and do not check whether there is
/// one.
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
        let drain = async {
            while tally.packets < count {
                let (length, source) = socket.recv_from(buffer).await?;
                tally.see(&buffer[..length], source);
            }
            std::io::Result::Ok(())
        };
        match runtime.block_on(async { tokio::time::timeout(PATIENCE, drain).await }) {
            Ok(outcome) => outcome?,
            // Fewer came: the result shows it.
            Err(_elapsed) => {}
        }
        Ok(tally)
    }
}

/// `mcrx-core`, whose context owns socket and buffer.
pub(crate) struct Mcrx(Context);

impl Mcrx {
    pub(crate) fn open(place: &Place) -> Outcome<Box<dyn Peer>> {
        let mut context = Context::new();
        let mut config = SubscriptionConfig::asm(place.group, place.port);
        config.interface = Some(std::net::Ipv4Addr::LOCALHOST.into());
        let id = context.add_subscription(config)?;
        widen(context.get_subscription(id).ok_or("no subscription")?.socket())?;
        context.join_subscription(id)?;
        Ok(Box::new(Self(context)))
    }
}

impl Peer for Mcrx {
    fn work(&mut self, _count: u64) -> Outcome<Tally> {
        let mut tally = Tally::default();
        while let Some(packet) = self.0.try_recv_any()? {
            tally.see(packet.payload(), packet.source);
        }
        Ok(tally)
    }
}
