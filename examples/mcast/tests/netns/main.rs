//! `mcast` on links of its own, in a private network namespace.

#[path = "../../../../tests/common/mod.rs"]
mod common;
#[path = "../mcast/mod.rs"]
mod mcast;
#[path = "../../../../tests/programs/mod.rs"]
mod programs;
#[path = "../streams/mod.rs"]
mod streams;

mod conversation;
mod help;
mod links;
mod many;
mod outages;
mod record;
mod relay;
mod replay;
mod test;
mod watch;
#[cfg(all(feature = "who", feature = "json"))]
mod who;
