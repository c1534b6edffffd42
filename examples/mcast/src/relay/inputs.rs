//! What a relay receives beside groups: unicast to an address of this machine, for example from another relay.

use std::net::{IpAddr, SocketAddr};

use multicast::filter::{Always, Filter};
use multicast::{Bind, Family, Interest, ListenOptions, Packet, Poller, Received, Receiver, Token};

use crate::receivers::{LARGE_BUFFER, bind};
use crate::stop::Stop;

/// A socket for one address and port.
pub(super) struct Unicast {
    receiver: Receiver<Box<dyn Filter>>,
    address: SocketAddr,
}

/// How many packets of one socket are received before others get their turn.
const TURN: u32 = 64;
/// The most sockets: so many tokens are free.
pub(super) const MOST: usize = 8;

impl Unicast {
    pub(super) fn open(address: SocketAddr, poller: &Poller, token: Token) -> Result<Self, Stop> {
        let family = if address.is_ipv4() { Family::V4 } else { Family::V6 };
        // What the guard refuses would be counted as dropped, and there is nothing for it to refuse.
        let options = ListenOptions::new()
            .filter(Box::new(Always) as Box<dyn Filter>)
            .metadata()
            .unicast()
            .kernel_filter(false)
            .receive_buffer(LARGE_BUFFER);
        let receiver = bind(options, Bind::Port(address.port(), family), usize::from(u16::MAX))?;
        poller.register(&receiver, token, Interest::READABLE)?;
        Ok(Self { receiver, address })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many packets the kernel dropped; `None` if it does not tell.
    pub(super) fn dropped(&self) -> Option<u64> {
        self.receiver.counters().dropped
    }

    /// Gives each packet that has come to `each`.
    pub(super) fn receive(
        &mut self,
        buffer: &mut [u8],
        each: &mut dyn FnMut(&Packet<'_>) -> Result<(), Stop>,
    ) -> Result<(), Stop> {
        for _ in 0..TURN {
            match self.receiver.recv_into(buffer)? {
                Received::Packet(packet) => {
                    let sent_to = packet.metadata().and_then(|metadata| metadata.destination);
                    if sent_to.is_some_and(|sent_to| is_meant(self.address.ip(), sent_to)) {
                        each(&packet)?;
                    }
                }
                Received::Empty | Received::Paused => break,
            }
        }
        Ok(())
    }
}

/// 0.0.0.0 and `::` stand for all addresses of this machine.
fn is_meant(address: IpAddr, sent_to: IpAddr) -> bool {
    address.is_unspecified() || address == sent_to
}
