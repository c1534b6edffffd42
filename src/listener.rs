//! Receiving: a [`ListeningSocket`] over one of three kinds of buffer.
//!
//! A listener returns only packets that were sent to a group that this listener itself joined, on an interface on which it joined
//! it. Where the kernel's own options do not ensure that, a program in the kernel does (the *guard*). Where the kernel runs no
//! guard, the listener itself checks the destination of each packet. What the kernel cannot tell apart, a listener cannot either:
//! fragments of one packet that came in on different interfaces, and a new interface that has the index of a deleted one on which the
//! group was joined, unless it is left then (as [`Memberships`](crate::Memberships) do).

mod bind;
mod coalescing;
mod descriptor;
mod gatekeeper;
mod joining;
mod offload;
mod options;
mod receiving;
mod replies;
mod reports;
mod socket;

pub use bind::Bind;
pub use coalescing::COALESCING_BUFFER;
pub use options::ListenOptions;
pub use receiving::Counters;
pub(crate) use receiving::Inner;
pub use socket::{CoalescingListener, Listener, ListeningSocket, Receiver};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_is_little_larger_than_its_buffer() {
        assert!(size_of::<Listener<1500>>() <= 1600, "{}", size_of::<Listener<1500>>());
        assert!(size_of::<Receiver>() <= 96, "{}", size_of::<Receiver>());
        assert!(size_of::<CoalescingListener<'_>>() <= 176, "{}", size_of::<CoalescingListener<'_>>());
    }

    #[test]
    fn default_options_equal_new_options() {
        assert_eq!(std::format!("{:?}", ListenOptions::default()), std::format!("{:?}", ListenOptions::new()));
    }
}
