//! The guide, page by page, for readers who know sockets and not this crate. Every program on these pages is compiled and run as a test.
//!
//! | page | answers |
//! |---|---|
//! | [`first_program`] | how do I receive and send my first packets? |
//! | [`interfaces`] | which interface, and what when it comes and goes? Eleven questions |
//! | [`nothing_arrives`] | tcpdump sees it, and my program does not: where does it stop? |
//! | [`conversations`] | how do I ask a group and collect answers, or answer? |
//! | [`filters`] | how do I get only the packets that I want, and what does the kernel do of it? |
//! | [`ledger`] | what do the counters mean, and on which do I raise an alarm? |
//! | [`streams`] | how do I keep up with many packets a second, or get each one sooner? |
//! | [`small`] | how do I build a program of 3 kB without a C library? |
//! | [`kernels`] | which Linux do I need, and what does an older one lack? |
//! | [`from_elsewhere`] | how do I write what I wrote in Python, with socket2, or with mcjoin? |
//! | [`threats`] | what can a stranger on the network do to my program? |
//!
//! The words are those of the [glossary](crate#what-is-in-it): group, join, drop, guard, refuse, filter, reject.

#[doc = include_str!("guide/first_program.md")]
pub mod first_program {}

#[doc = include_str!("guide/interfaces.md")]
pub mod interfaces {}

#[doc = include_str!("guide/nothing_arrives.md")]
pub mod nothing_arrives {}

#[doc = include_str!("guide/conversations.md")]
pub mod conversations {}

#[doc = include_str!("guide/filters.md")]
pub mod filters {}

#[doc = include_str!("guide/ledger.md")]
pub mod ledger {}

#[doc = include_str!("guide/streams.md")]
pub mod streams {}

#[doc = include_str!("guide/small.md")]
pub mod small {}

#[doc = include_str!("guide/kernels.md")]
pub mod kernels {}

#[doc = include_str!("guide/from_elsewhere.md")]
pub mod from_elsewhere {}

#[doc = include_str!("guide/threats.md")]
pub mod threats {}
