//! Asynchronous multicast UDP for Linux: receive, send and wait without callbacks, without a heap, and without the surprises
//! that the kernel has in store.
//!
//! ```no_run
//! use multicast::{Events, Group, Interest, Listener, Membership, Poller, Received, SendOptions, Token};
//!
//! fn main() -> multicast::Result<()> {
//!     let group: Group = "239.1.2.3:5000".parse()?;
//!     let mut listener = ListenOptions::new().bind::<1500>(Membership::any(group).on("lo".parse()?))?;
//!     let mut caster = SendOptions::new().interface("lo".parse()?).packets(group, ["one packet"])?;
//!     caster.step()?;
//!
//!     let (poller, mut events) = (Poller::new()?, Events::<16>::new());
//!     poller.register(&listener, Token(7), Interest::READABLE)?;
//!     for _event in poller.poll(&mut events, None)? {
//!         while let Received::Packet(packet) = listener.recv()? {
//!             println!("{}: {:?}", packet.source(), packet.payload());
//!         }
//!     }
//!     Ok(())
//! }
//! ```
//!
//! # The rooms
//! Each is built on those above it, and on nothing below.
//!
//! | room | what it is for |
//! |---|---|
//! | [`Error`] | what was tried, on what, and why it failed |
//! | [`Group`], [`Interface`], [`Ttl`], [`Membership`] | plain values: where packets go and come from |
//! | [`Packet`], [`Received`] | what a listener hands out |
//! | [`filter`] | which packets it hands out |
//! | `sys` | system calls, the only `unsafe` |
//! | `address`, `cmsg` | socket addresses and control messages: pure bytes |
//! | `route` | the kernel asked: which interface, which source address? |
//! | `socket` | one datagram socket, safe |
//! | [`Listener`], [`Receiver`] | receiving: with a buffer of a fixed size, or into the caller's |
//! | [`Multicaster`] | sending: a state machine that pulls from an iterator |
//! | [`Poller`] | waiting for any file descriptors at once |
//! | [`Links`], [`Memberships`] | interfaces that come and go, and memberships that survive it |
//! | `compat` | the documented handle-based API with its default poller |
//!
//! ```text
//! receive   datagram -> kernel (guard, filter) -> socket -> receiver -> filter -> packet -> you
//! send      your iterator -> multicaster -> socket -> kernel
//! events    epoll -> poller -> events -> you
//! ```
//!
//! # What you can rely on
//! - **Nothing that you did not join.** By default Linux delivers to a socket every group that any process of the machine joined on
//!   the port, and unicast with it. Here a listener gets the groups that it joined itself, on the interfaces on which it joined
//!   them. What else arrives at its port is refused, and counted as [`foreign`](Counters::foreign).
//! - **The interface that you named.** Joins go by index. Packets leave by index and with an address of that interface, never
//!   with 0.0.0.0. Without a name the routing table decides, as [`Interface::Default`] says.
//! - **A ledger that adds up.** What was sent to the group equals [`received`](Counters::received) + [`rejected`](Counters::rejected)
//!   + [`dropped`](Counters::dropped), as long as the network itself loses nothing.
//! - **No wake for nothing.** The kernel runs what it can of a filter: what it refuses costs the process nothing, and counts as
//!   dropped ([`kernel_refuses`](Counters::kernel_refuses)).
//! - **Bounded work.** One call refuses 64 packets at most before it returns; one step sends one batch. There is no recursion.
//! - **No heap in the core**, and one system call a packet or less. No copy of a payload, but of short ones that leave together:
//!   for the kernel to fetch them one by one takes longer. No panic on what a packet, a user or the kernel says.
//!
//! # Non-goals
//! Reliable multicast, routing daemons, other systems than Linux, removing duplicates across interfaces, and a runtime of its own.
//! A [`Poller`] is a file descriptor, and so is everything that it waits for: they fit into any runtime.
//!
//! # Features
//! A feature adds API and never changes behaviour.
//!
//! | feature | adds |
//! |---|---|
//! | `std` (default) | `compat`; [`Error`] from and into `std::io::Error`; `AsRawFd` and `IntoRawFd`; filters in a `Box` |
//! | `regex` (default) | `filter::Regex` and `ListenOptions::pattern`; needs `std` |
//!
//! Without features the crate is `no_std`, without `alloc`.
//!
//! # The core and `compat` in one program
//! Four names are in both: `ListenOptions`, `Multicaster`, `Poller` and `SendOptions`. Import the core's names, and `compat` as a
//! module; with two glob imports, the compiler refuses these four as ambiguous.
//!
//! ```no_run
//! # #[cfg(feature = "std")]
//! # fn main() -> multicast::Result<()> {
//! use multicast::{Group, Interface, SendOptions, compat};
//!
//! let group: Group = "239.1.2.3:5000".parse()?;
//! SendOptions::new().interface(Interface::LOOPBACK).packets(group, ["by the core"])?.step()?;
//! let options = compat::SendOptions::new().group(group).interface(Interface::LOOPBACK);
//! compat::sendto_with("by handles", options)?;
//! # Ok(())
//! # }
//! # #[cfg(not(feature = "std"))]
//! # fn main() {}
//! ```
//!
//! # Kernels
//! | Linux | brings | before it |
//! |---|---|---|
//! | 3.9 | `SO_REUSEPORT`, `SO_GET_FILTER`: all that is needed | listeners cannot be made |
//! | 4.12 | `SO_MEMINFO` | [`Counters::dropped`] is `None` |
//! | 4.18 | `UDP_SEGMENT` | [`SendOptions::batches`] sends singly |
//! | 4.20 | `IPV6_MULTICAST_ALL` | foreign IPv6 groups wake the listener, which refuses them |
//! | 5.0 | `UDP_GRO` | [`ListenOptions::coalesce`] is refused |
//!
//! The types of file descriptors come from `rustix`, and with the feature `std` are those of `std`.
#![no_std]
// Here and not in Cargo.toml, where they would hold for tests and examples, too.
#![warn(clippy::alloc_instead_of_core, clippy::std_instead_of_core)]
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

mod address;
mod cmsg;
#[cfg(feature = "std")]
pub mod compat;
mod error;
pub mod filter;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing;
mod group;
mod links;
mod listener;
mod multicaster;
mod packet;
mod poller;
mod route;
mod socket;
mod sys;

pub use error::{Error, ErrorKind, Result};
pub use group::{Family, Group, Interface, Membership, Name, Ttl};
pub use links::{Applied, Change, Follow, Followed, Link, Links, Memberships};
pub use listener::{
    Bind, COALESCING_BUFFER, CoalescingListener, Counters, ListenOptions, Listener, ListeningSocket, Receiver,
};
pub use multicaster::{Multicaster, Progress, SendOptions};
pub use packet::{Head, Metadata, Packet, Received};
pub use poller::{Event, Events, Interest, Iter, Poller, Token, Waker};
pub use rustix::fd::{AsFd, BorrowedFd, OwnedFd};

/// The README's code is compiled and run as a test, so that it cannot drift.
#[cfg(all(doctest, feature = "std"))]
#[doc = include_str!("../README.md")]
struct Readme;
