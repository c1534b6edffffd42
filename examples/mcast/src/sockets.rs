//! Sockets as all commands create them: with one type each, and one function, since what creates them is long.

use multicast::filter::{Always, Filter};
use multicast::{Bind, Family, ListenOptions, Listener, Receiver, SendOptions, Sender};

/// What is sent back to the port of a sender. As long as every packet.
pub(crate) type Replies = Listener<65_535>;

/// Binds a receiver.
#[inline(never)]
pub(crate) fn bind_receiver(
    options: ListenOptions<Box<dyn Filter>>,
    place: Bind,
    mtu: usize,
) -> multicast::Result<Receiver<Box<dyn Filter>>> {
    options.bind_receiver(place, mtu)
}

/// The filter of a receiver that takes every packet.
pub(crate) fn everything() -> Box<dyn Filter> {
    Box::new(Always)
}

/// A sender, and what receives the answers.
#[inline(never)]
pub(crate) fn open_with_replies(options: SendOptions, family: Family) -> multicast::Result<(Sender, Box<Replies>)> {
    let (sender, replies) = options.open_with_replies(family)?;
    Ok((sender, Box::new(replies)))
}
