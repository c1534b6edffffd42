//! The listener of a sender that takes answers: it receives what is sent to the sender's port on this machine itself.

use super::gatekeeper::{Gatekeeper, Wants};
use super::receiving::{Admits, BUDGET, CheckedPath, Inner, Mode, State, receive_error, received_part};
use super::socket::{Listener, Own};
use crate::error::{Errno, Result};
use crate::filter::Always;
use crate::filter::kernel::INSTRUCTIONS;
use crate::packet::Received;
use crate::socket::Socket;

impl<const MTU: usize> Listener<MTU> {
    /// The listener of a socket that a sender uses, too. The socket is bound to the wildcard address, has joined no group, and reports
    /// destination and interface of each packet.
    ///
    /// It needs no guard: the kernel gives such a socket unicast and broadcasts, which the report tells apart. (And groups that other
    /// sockets have joined, if it does not know `IPV6_MULTICAST_ALL`.)
    pub(crate) fn of_replies(socket: Socket) -> Self {
        let path: CheckedPath<Always> = Inner::recv_reply;
        let gatekeeper = Gatekeeper::We(path, Wants::Metadata);
        let state = State::new(MTU, INSTRUCTIONS as u16, Admits::Unicast);
        Self { inner: Inner::new(socket, Always, gatekeeper, state, Mode::Sends), buffer: Own::new() }
    }
}

impl Inner<Always> {
    /// Receives an answer: as [`recv_checked`](Self::recv_checked) as long as no group is joined, with much less code.
    fn recv_reply<'b>(&'b mut self, buffer: &'b mut [u8]) -> Result<Received<'b>> {
        for _ in 0..BUDGET {
            match self.socket.recv_with_way(buffer) {
                Ok((datagram, way)) if way.is_to_us => {
                    self.last = way;
                    let payload = received_part(buffer, datagram.length);
                    self.accepts(payload, datagram.length, &datagram.source, None);
                    return Ok(self.packet(payload, 0, &datagram));
                }
                Ok(_) => self.refused(1),
                Err(Errno::INTERRUPTED) => {}
                Err(Errno::WOULD_BLOCK) => return Ok(Received::Empty),
                // If the receive buffer is full, the kernel queues no report, but still returns its errno.
                Err(errno) if self.take_reports() || errno.is_only_of_network() => {}
                Err(errno) => return Err(receive_error(errno)),
            }
        }
        Ok(Received::Paused)
    }
}
