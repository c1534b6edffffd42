//! Asynchronous multicast UDP for Linux.
#![no_std]
#![cfg_attr(
    not(test),
    deny(
        clippy::arithmetic_side_effects,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::unwrap_used
    )
)]

#[cfg(not(target_os = "linux"))]
compile_error!("multicast is for Linux only: it is built on epoll, rtnetlink and Linux socket options");

#[cfg(any(feature = "std", test))]
extern crate std;

mod cmsg;
mod error;
pub mod filter;
mod group;
mod listener;
mod multicaster;
mod packet;
mod poller;
mod route;
mod socket;
mod sys;

pub use error::{Error, ErrorKind, Result};
pub use group::{Family, Group, Interface, Membership, Name, Ttl};
pub use listener::{Counters, ListenOptions, Listener, Receiver};
pub use multicaster::{Multicaster, Progress, SendOptions};
pub use packet::{Packet, Received};
pub use poller::{Event, Events, Interest, Iter, Poller, Token, Waker};
pub use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
