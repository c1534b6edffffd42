//! Asynchronous multicast UDP for Linux: receive, send and wait, without callbacks and without a heap, and with Linux's surprises
//! handled.
//!
//! ```no_run
//! use multicast::{Events, Group, Interest, Listener, Membership, Poller, Received, SendOptions, Token};
//!
//! fn main() -> multicast::Result<()> {
//!     let group: Group = "239.1.2.3:5000".parse()?;
//!     let mut listener = Listener::bind(Membership::any(group).on("lo".parse()?))?;
//!     let mut caster = SendOptions::new().interface("lo".parse()?).packets(group, ["one packet"])?;
//!     caster.step()?;
//!
//!     let (poller, mut events) = (Poller::new()?, Events::<16>::new());
//!     poller.register(&listener, Token(7), Interest::READABLE)?;
//!     for _event in poller.poll(&mut events, None)? {
//!         loop {
//!             match listener.recv()? {
//!                 Received::Packet(packet) => println!("{}: {:?}", packet.source(), packet.payload()),
//!                 Received::Paused => continue,
//!                 Received::Empty => break,
//!             }
//!         }
//!     }
//!     Ok(())
//! }
//! ```
//!
//! # What is in it
//! | item | what it is for |
//! |---|---|
//! | [`Group`], [`Interface`], [`Ttl`], [`Membership`] | plain values: where packets go to and come from |
//! | [`ListenOptions`], [`Bind`] | options for receiving: how and where to listen |
//! | [`Listener`], [`Receiver`], [`CoalescingListener`] | receiving: into a buffer of its own, into yours, many packets in one call. All are a [`ListeningSocket`] |
//! | [`Received`], [`Packet`], [`Head`], [`Metadata`], [`Counters`] | what a listener returns, and what it counts |
//! | [`filter`] | which packets it returns |
//! | [`SendOptions`] | options for sending |
//! | [`Sender`], [`Destination`], [`Outcome`] | sending packets one at a time, to groups and unicast addresses, and answering |
//! | [`Multicaster`], [`Progress`] | sending what an iterator gives: a state machine that pulls packets |
//! | [`Outbox`] | a queue as that iterator: for packets that come up while the program runs |
//! | [`Poller`], [`Events`], [`Interest`], [`Token`], [`Waker`] | waiting for any file descriptors at once |
//! | [`Links`], [`Memberships`] | interfaces that come and go, and listeners that stay joined |
//! | [`Error`] | what was tried, on what, and why it failed |
//! | [`guide`] | page by page: first program, interfaces, nothing arrives, conversations, filters, the ledger, streams, small programs, kernels, coming from elsewhere, threats |
//! | `compat` | the handle-based API, with callbacks and a default poller |
//!
//! ```text
//! receive   datagram -> kernel (guard, filter) -> listener (filter) -> packet -> you
//! send      you, or your iterator -> sender -> kernel
//! answer    packet -> sender on the same socket -> the packet's source
//! events    epoll -> poller -> events -> you
//! ```
//!
//! Ten words that the documentation uses in one sense only:
//!
//! | word | sense |
//! |---|---|
//! | group | a multicast address and a UDP port |
//! | join, leave | begin and end a membership: a group on an interface |
//! | interface, link | a network interface; as [`Link`], what the kernel reports about it |
//! | drop | the kernel discards a packet: its buffer is full, or its program says so |
//! | guard | the part of the kernel's program that passes only what the listener joined |
//! | refuse | guard or listener discard what the listener did not join |
//! | filter, reject | the user's test of a packet, and that it fails |
//! | program | guard and filter as classic BPF, run by the kernel |
//! | coalesce | hand over several packets in one call |
//! | token | the number by which you recognise whose event it is |
//!
//! # Conversations
//! A question goes to a group, and the answers come back by unicast. Who asks opens a sender
//! [with replies](SendOptions::open_with_replies), on a port of its own. Who answers takes a sender from
//! [the listener's socket](Listener::sender), and [replies](Sender::reply). Protocols that ask and answer on one port, such as mDNS, use
//! a listener by port that wants [unicast](ListenOptions::unicast).
//!
//! The kernel gives each unicast packet to only one of the sockets that share a port, whatever their filters. So beside a daemon that
//! answers on the port, ask from a port of your own. A [`Sender`] without replies takes nothing away from others: it is bound to a
//! multicast address that it never joins.
//!
//! # What you can rely on
//! - **Nothing that you did not join.** By default Linux delivers to a socket every group that any process of the machine joined on
//!   the port, and unicast as well. A listener returns packets of the groups that it joined itself, on the interfaces on which it joined
//!   them. It refuses all else, and counts it as [`foreign`](Counters::foreign). Only if you ask for [unicast](ListenOptions::unicast) does
//!   it return that as well.
//! - **The interface that you named.** Joins go by index. Packets leave by index and with an address of that interface, never
//!   with 0.0.0.0. (If it has none, with the one that the route to the group names: see [`Interface`].) If you name none, the routing
//!   table decides: see [`Interface::Default`].
//! - **Nobody else stops it.** What a stranger sends, what another program does on the port, a link that goes, a question that the kernel
//!   cannot answer at the moment: none of it ends a listener or a sender. Each retry has a bound, and its end is an error with words.
//! - **A ledger that adds up.** What was sent to the group equals [`received`](Counters::received) plus
//!   [`rejected`](Counters::rejected) plus [`dropped`](Counters::dropped), as long as neither the network nor the host loses a packet before
//!   the socket: a firewall, for example, or the reverse path filter; [`guide::nothing_arrives`] says which counter tells. Two exceptions: a
//!   [`CoalescingListener`] counts packets that came together and were dropped together as one; and if the kernel runs a program,
//!   `dropped` also includes what that refused or rejected ([`kernel_refuses`](Counters::kernel_refuses)).
//! - **Few wake-ups.** The kernel runs as much of a filter as it can, and drops unwanted packets: the process does not wake up for them.
//! - **Bounded work.** One call refuses or rejects 64 packets at most before it returns; one step sends one batch. There is no recursion.
//! - **No heap in the core**, and one system call a packet or less. Payloads are not copied, except short ones that leave together: the
//!   kernel takes longer to fetch them one by one. No panic, whatever a packet, a user or the kernel says.
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
//! | `regex` (default) | `filter::Regex`; needs `std` |
//!
//! Without features the crate is `no_std`, without `alloc`.
//!
//! # The core and `compat` in one program
//! Four names are in both: `ListenOptions`, `Multicaster`, `Poller` and `SendOptions`. Import the core's names, and `compat` as a
//! module; with two glob imports in one place, the compiler refuses these four as ambiguous, and a glob import inside a function hides
//! those outside it.
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
//! | 3.9 | `SO_REUSEPORT`, `SO_GET_FILTER`: the least that listeners need | listeners cannot be made |
//! | 4.12 | `SO_MEMINFO` | [`Counters::dropped`] is `None` |
//! | 4.18 | `UDP_SEGMENT` | [`SendOptions::batches`] sends singly |
//! | 4.20 | `IPV6_MULTICAST_ALL` | packets of foreign IPv6 groups wake the process, and the listener refuses them |
//! | 5.0 | `UDP_GRO` | [`ListenOptions::bind_coalescing`] is refused |
//! | 5.7 | `SO_BINDTOIFINDEX` without privilege | [`Bind::Interface`] needs `CAP_NET_RAW` |
//!
//! The types of file descriptors come from `rustix`, and with the feature `std` are those of `std`.
#![no_std]
#![cfg_attr(docsrs, feature(doc_cfg))]
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
pub mod guide;
mod links;
mod listener;
mod packet;
mod poller;
mod route;
mod sender;
mod socket;
mod sys;

pub use error::{Error, ErrorKind, Result};
pub use group::{Family, Group, Interface, Membership, Name, Ttl};
pub use links::{Applied, Change, Follow, Followed, Link, Links, Memberships};
pub use listener::{
    Bind, COALESCING_BUFFER, CoalescingListener, Counters, ListenOptions, Listener, ListeningSocket, Receiver,
};
pub use packet::{Head, Metadata, Packet, Received};
pub use poller::{Event, Events, Gathering, Interest, Iter, Poller, Spinning, Token, Waker};
pub use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
pub use sender::{Destination, Multicaster, Outbox, Outcome, Progress, SendOptions, Sender};

/// The README's code is compiled and run as a test, so that it cannot drift.
#[cfg(all(doctest, feature = "std"))]
#[doc = include_str!("../README.md")]
struct Readme;
