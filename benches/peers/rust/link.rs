//! Packets of an ordinary sender over a link: waits, and receives, until the last one. `number` is the index of the interface.

use std::num::NonZeroU32;

use multicast::{
    COALESCING_BUFFER, CoalescingListener, Events, Interest, Interface, Listener, Membership, Poller, Received, Token,
};

use crate::Peer;
use crate::place::{BUFFER, LONG_PATIENCE, Outcome, Place, SILENCE, Tally};

/// The measured crate: a plain listener, and one that coalesces.
pub(crate) struct Ours<L> {
    poller: Poller,
    listener: L,
}

fn membership(place: &Place) -> Outcome<Membership> {
    let index = u32::try_from(place.number).ok().and_then(NonZeroU32::new).ok_or("not the index of an interface")?;
    Ok(Membership::any(place.group(place.port)?).on(Interface::Index(index)))
}

impl Ours<Listener<BUFFER>> {
    pub(crate) fn plain(place: &Place) -> Outcome<Box<dyn Peer>> {
        let listener = place.listen_options().bind(membership(place)?)?;
        let poller = Poller::new()?;
        poller.register(&listener, Token(0), Interest::READABLE)?;
        Ok(Box::new(Self { poller, listener }))
    }
}

impl Ours<CoalescingListener<'static>> {
    pub(crate) fn coalescing(place: &Place) -> Outcome<Box<dyn Peer>> {
        let buffer = Box::leak(Box::new([0; COALESCING_BUFFER]));
        let listener = place.listen_options().bind_coalescing(membership(place)?, BUFFER, buffer)?;
        let poller = Poller::new()?;
        poller.register(&listener, Token(0), Interest::READABLE)?;
        Ok(Box::new(Self { poller, listener }))
    }
}

/// What both kinds of listener can do.
pub(crate) trait Receive {
    fn receive(&mut self) -> multicast::Result<Received<'_>>;
}

impl Receive for Listener<BUFFER> {
    #[inline(always)]
    fn receive(&mut self) -> multicast::Result<Received<'_>> {
        self.recv()
    }
}

impl Receive for CoalescingListener<'_> {
    #[inline(always)]
    fn receive(&mut self) -> multicast::Result<Received<'_>> {
        self.recv()
    }
}

impl<L: Receive> Peer for Ours<L> {
    fn work(&mut self, count: u64) -> Outcome<Tally> {
        let mut tally = Tally::default();
        let mut events = Events::<1>::new();
        while tally.packets < count {
            let patience = if tally.packets == 0 { LONG_PATIENCE } else { SILENCE };
            if self.poller.poll(&mut events, patience)?.next().is_none() {
                break;
            }
            while let Received::Packet(packet) = self.listener.receive()? {
                tally.see(packet.payload(), packet.source());
            }
        }
        Ok(tally)
    }
}
