//! Sending: a [`Multicaster`] pulls packets from an iterator and sends them as fast as the socket takes them.
//!
//! It is a state machine: [`Multicaster::step`] does a limited amount of work and returns when to call it again. What to send
//! next and what was sent is separate from the socket, in [`staging`].

mod adopting;
mod answering;
mod batching;
mod destination;
mod multicaster;
mod opening;
mod options;
mod outbox;
mod rate;
mod refusal;
mod renewing;
pub(crate) mod segments;
mod socket;
pub(crate) mod staging;
mod way;

pub use destination::Destination;
pub use multicaster::{Multicaster, Progress};
pub use options::SendOptions;
pub use outbox::Outbox;
pub use socket::{Outcome, Sender};
