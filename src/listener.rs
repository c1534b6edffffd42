//! Receiving: a [`ListeningSocket`] over one of three kinds of buffer.
//!
//! No packet comes through that was not sent to a group that this very listener joined, on an interface on which it joined it.
//! Where the kernel's own options do not see to that, a program in the kernel does (the *guard*); where that cannot be, each packet's
//! destination is checked here.

mod bind;
mod coalescing;
mod descriptor;
mod gatekeeper;
mod joining;
mod offload;
mod options;
mod receiving;
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
    fn a_listener_is_its_buffer_and_little_more() {
        assert!(size_of::<Listener<1500>>() <= 1600, "{}", size_of::<Listener<1500>>());
        assert!(size_of::<Receiver>() <= 96, "{}", size_of::<Receiver>());
        assert!(size_of::<CoalescingListener<'_>>() <= 176, "{}", size_of::<CoalescingListener<'_>>());
    }

    #[test]
    fn the_default_options_are_the_new_ones() {
        assert_eq!(std::format!("{:?}", ListenOptions::default()), std::format!("{:?}", ListenOptions::new()));
    }
}
