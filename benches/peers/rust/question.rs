//! Questions and answers: one peer sends to the group and waits for the answer to its own port, the other receives from the group and
//! answers. Each of them has one socket for both directions.

use std::time::Instant;

use multicast::{Events, Family, Group, Interest, Listener, Outcome as Sent, Poller, Received, SendOptions, Sender, Token};

use crate::Peer;
use crate::place::{BUFFER, LONG_PATIENCE, Outcome, Place, Tally};

/// The measured crate, which asks.
pub(crate) struct Ask {
    poller: Poller,
    sender: Sender,
    replies: Listener<BUFFER>,
    group: Group,
    payload: &'static [u8],
    /// Kept, so that nothing is allocated after the warm-up.
    times: Vec<u64>,
}

impl Ask {
    pub(crate) fn open(place: &Place) -> Outcome<Box<dyn Peer>> {
        let (sender, replies) = place.send_options().open_with_replies(Family::V4)?;
        let poller = Poller::new()?;
        poller.register(&replies, Token(0), Interest::READABLE)?;
        let (group, payload) = (place.group(place.port)?, place.payload());
        Ok(Box::new(Self { poller, sender, replies, group, payload, times: Vec::new() }))
    }
}

impl Peer for Ask {
    /// The result is the median times the number of questions: one that the machine delayed must not count.
    fn work(&mut self, count: u64) -> Outcome<Tally> {
        let mut tally = Tally::default();
        self.times.clear();
        for _ in 0..count {
            let start = Instant::now();
            is_sent(self.sender.send(self.payload, self.group)?)?;
            wait(&self.poller)?;
            if let Received::Packet(packet) = self.replies.recv()? {
                tally.see(packet.payload(), packet.source());
            }
            self.times.push(start.elapsed().as_nanos() as u64);
        }
        self.times.sort_unstable();
        tally.nanoseconds = self.times.get(self.times.len() / 2).map(|median| median * count);
        Ok(tally)
    }
}

/// The measured crate, which answers: to the packet's source, as the routing table says; or by `reply`, which asks the kernel for the way
/// back each time.
pub(crate) struct Answer<const REPLIES: bool> {
    poller: Poller,
    listener: Listener<BUFFER>,
    sender: Sender,
    payload: &'static [u8],
}

impl<const REPLIES: bool> Answer<REPLIES> {
    pub(crate) fn open(place: &Place) -> Outcome<Box<dyn Peer>> {
        let options = place.listen_options();
        let options = if REPLIES { options.answers() } else { options };
        let mut listener = options.bind(place.membership(place.port)?)?;
        let sender = listener.sender(SendOptions::new())?;
        let poller = Poller::new()?;
        poller.register(&listener, Token(0), Interest::READABLE)?;
        Ok(Box::new(Self { poller, listener, sender, payload: place.payload() }))
    }
}

impl<const REPLIES: bool> Peer for Answer<REPLIES> {
    fn work(&mut self, count: u64) -> Outcome<Tally> {
        let mut tally = Tally::default();
        while tally.packets < count {
            wait(&self.poller)?;
            if let Received::Packet(packet) = self.listener.recv()? {
                tally.see(packet.payload(), packet.source());
                is_sent(match REPLIES {
                    true => self.sender.reply(&packet, self.payload)?,
                    false => self.sender.send(self.payload, packet.source())?,
                })?;
            }
        }
        Ok(tally)
    }
}

fn wait(poller: &Poller) -> Outcome<()> {
    match poller.poll(&mut Events::<1>::new(), LONG_PATIENCE)?.next() {
        Some(_) => Ok(()),
        None => Err("a packet is lost".into()),
    }
}

fn is_sent(outcome: Sent) -> Outcome<()> {
    match outcome {
        Sent::Sent => Ok(()),
        other => Err(format!("{other:?} instead of one packet sent").into()),
    }
}
