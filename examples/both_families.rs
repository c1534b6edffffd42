//! IPv4 and IPv6 side by side in one poller: a service that answers questions to a group of each family.
//!
//! `both_families [GROUP4:PORT [GROUP6]:PORT]`, on `lo`. A listener has one family, so there are two, each with a sender that answers
//! from the same socket. It answers each packet with the word `pong` and the packet, until it is ended.

use std::io::{self, Write};

use multicast::{
    Events, Group, Interest, Interface, ListenOptions, Listener, Membership, Outcome, Poller, Received, SendOptions, Sender,
    Token,
};

/// One listener and its sender.
struct Service {
    listener: Listener<1500>,
    sender: Sender,
}

impl Service {
    fn open(group: Group) -> multicast::Result<Self> {
        let membership = Membership::any(group).on(Interface::LOOPBACK);
        let mut listener = ListenOptions::new().answers().bind(membership)?;
        let sender = listener.sender(SendOptions::new().interface(Interface::LOOPBACK))?;
        Ok(Self { listener, sender })
    }

    /// Answers all queued packets.
    fn answer(&mut self) -> Result<(), Box<dyn core::error::Error>> {
        loop {
            match self.listener.recv()? {
                Received::Packet(packet) => {
                    let answer = [b"pong ", packet.payload()].concat();
                    match self.sender.reply(&packet, &answer)? {
                        Outcome::Sent => writeln!(io::stdout(), "answered {}", packet.source().ip())?,
                        // Whoever asks will ask again: an answer that cannot leave now is not worth waiting for.
                        Outcome::Blocked | Outcome::Wait(_) => writeln!(io::stdout(), "busy")?,
                    }
                }
                Received::Paused => continue,
                Received::Empty => return Ok(()),
            }
        }
    }
}

fn main() -> Result<(), Box<dyn core::error::Error>> {
    let mut groups = std::env::args().skip(1);
    let mut open = |default: &str| Service::open(groups.next().as_deref().unwrap_or(default).parse()?);
    let mut services = [open("239.1.1.1:5001")?, open("[ff05::4242]:5001")?];

    let (poller, mut events) = (Poller::new()?, Events::<2>::new());
    for (token, service) in (0..).zip(&services) {
        poller.register(&service.listener, Token(token), Interest::READABLE)?;
    }
    loop {
        for event in poller.poll(&mut events, None)? {
            if let Some(service) = services.get_mut(event.token().0 as usize) {
                service.answer()?;
            }
        }
    }
}
