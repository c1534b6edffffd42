//! Sends a number of packets as fast as it can.

use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;

use mctx_core::{Context, PublicationConfig, PublicationId};
use multicast::{Group, Interface, Multicaster, Progress, compat};
use rustix::net::SendFlags;

use crate::place::{Outcome, Place, PlainSocket, Tally};
use crate::{Peer, allocations};

/// The measured crate, which holds up to `BATCH` packets, and coalesces them if that is more than 1.
pub(crate) struct Ours<const BATCH: usize> {
    caster: Multicaster<Supply, BATCH>,
    /// How many packets the caster may still pull.
    left: Rc<Cell<usize>>,
    size: usize,
}

impl<const BATCH: usize> Ours<BATCH> {
    pub(crate) fn open(place: &Place) -> Outcome<Box<dyn Peer>> {
        let left = Rc::new(Cell::new(0));
        let supply = Supply { payload: place.payload(), left: Rc::clone(&left) };
        let caster = place.send_options().batches::<BATCH, _>(Group::new(place.group, place.port)?, supply)?;
        Ok(Box::new(Self { caster, left, size: place.size }))
    }
}

impl<const BATCH: usize> Peer for Ours<BATCH> {
    fn work(&mut self, count: u64) -> Outcome<Tally> {
        self.left.set(usize::try_from(count)?);
        let mut sent = 0;
        while sent < count {
            match self.caster.step()? {
                Progress::Sent(packets) => sent += packets as u64,
                Progress::Wait(time) => std::thread::sleep(time),
                Progress::Blocked => std::thread::yield_now(),
                other => return Err(format!("{other:?} after {sent} of {count} packets").into()),
            }
        }
        Ok(Tally::sent(sent, self.size))
    }
}

/// The same packet as often as a turn needs. It is never pulled beyond that, so it does not end between turns.
struct Supply {
    payload: &'static [u8],
    left: Rc<Cell<usize>>,
}

impl Iterator for Supply {
    type Item = &'static [u8];

    #[inline]
    fn next(&mut self) -> Option<&'static [u8]> {
        self.left.set(self.left.get().checked_sub(1)?);
        Some(self.payload)
    }

    #[inline]
    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left.get(), None)
    }
}

/// The handle-based API: a multicaster that the poller calls. Each turn creates one, since it is unregistered when its packets
/// are sent. Its time counts; its allocations are per turn, not per packet.
pub(crate) struct Compat {
    options: compat::SendOptions,
    poller: compat::Poller,
    payload: &'static [u8],
}

impl Compat {
    pub(crate) fn open(place: &Place) -> Outcome<Box<dyn Peer>> {
        let poller = compat::Poller::new()?;
        let group = place.group(place.port)?;
        let options = compat::SendOptions::new().group(group).interface(Interface::LOOPBACK).poller(&poller);
        Ok(Box::new(Self { options, poller, payload: place.payload() }))
    }
}

impl Peer for Compat {
    fn work(&mut self, count: u64) -> Outcome<Tally> {
        let packets = std::iter::repeat_n(self.payload, usize::try_from(count)?);
        let handle = compat::Multicaster::new(packets, self.options.clone())?;
        let made = allocations::count();
        while handle.is_registered() {
            self.poller.poll(None)?;
        }
        let allocations = Some(allocations::count() - made);
        Ok(Tally { allocations, ..Tally::sent(count, self.payload.len()) })
    }
}

/// Only the system call, without any abstraction.
pub(crate) struct Rustix {
    socket: socket2::Socket,
    to: SocketAddr,
    payload: &'static [u8],
}

impl Rustix {
    pub(crate) fn open(place: &Place) -> Outcome<Box<dyn Peer>> {
        Ok(Box::new(Self { socket: place.sender()?, to: place.address(place.port), payload: place.payload() }))
    }
}

impl Peer for Rustix {
    fn work(&mut self, count: u64) -> Outcome<Tally> {
        for _ in 0..count {
            rustix::net::sendto(&self.socket, self.payload, SendFlags::DONTWAIT, &self.to)?;
        }
        Ok(Tally::sent(count, self.payload.len()))
    }
}

/// `std::net::UdpSocket`, and `mio`'s, which is created from a socket of `socket2`.
pub(crate) struct Plain<S> {
    socket: S,
    to: SocketAddr,
    payload: &'static [u8],
}

pub(crate) fn open_std(place: &Place) -> Outcome<Box<dyn Peer>> {
    let socket = std::net::UdpSocket::from(place.sender()?);
    Ok(Box::new(Plain { socket, to: place.address(place.port), payload: place.payload() }))
}

pub(crate) fn open_mio(place: &Place) -> Outcome<Box<dyn Peer>> {
    let socket = mio::net::UdpSocket::from_std(place.sender()?.into());
    Ok(Box::new(Plain { socket, to: place.address(place.port), payload: place.payload() }))
}

impl<S: PlainSocket> Peer for Plain<S> {
    fn work(&mut self, count: u64) -> Outcome<Tally> {
        for _ in 0..count {
            self.socket.send_to(self.payload, self.to)?;
        }
        Ok(Tally::sent(count, self.payload.len()))
    }
}

/// `tokio` on one thread.
pub(crate) struct Tokio {
    runtime: tokio::runtime::Runtime,
    socket: tokio::net::UdpSocket,
    to: SocketAddr,
    payload: &'static [u8],
}

impl Tokio {
    pub(crate) fn open(place: &Place) -> Outcome<Box<dyn Peer>> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
        let socket = std::net::UdpSocket::from(place.sender()?);
        let socket = runtime.block_on(async { tokio::net::UdpSocket::from_std(socket) })?;
        Ok(Box::new(Self { runtime, socket, to: place.address(place.port), payload: place.payload() }))
    }
}

impl Peer for Tokio {
    fn work(&mut self, count: u64) -> Outcome<Tally> {
        self.runtime.block_on(async {
            for _ in 0..count {
                self.socket.send_to(self.payload, self.to).await?;
            }
            std::io::Result::Ok(())
        })?;
        Ok(Tally::sent(count, self.payload.len()))
    }
}

/// `mctx-core`, which connects its socket.
pub(crate) struct Mctx {
    context: Context,
    id: PublicationId,
    payload: &'static [u8],
}

impl Mctx {
    pub(crate) fn open(place: &Place) -> Outcome<Box<dyn Peer>> {
        let mut context = Context::new();
        let config = PublicationConfig::new(place.group, place.port).with_interface(std::net::Ipv4Addr::LOCALHOST);
        let id = context.add_publication(config)?;
        Ok(Box::new(Self { context, id, payload: place.payload() }))
    }
}

impl Peer for Mctx {
    fn work(&mut self, count: u64) -> Outcome<Tally> {
        for _ in 0..count {
            self.context.send(self.id, self.payload)?;
        }
        Ok(Tally::sent(count, self.payload.len()))
    }
}
