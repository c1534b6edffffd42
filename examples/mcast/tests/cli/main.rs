//! The command line of `mcast`, on `lo`.

#[path = "../../../../tests/common/mod.rs"]
mod common;
#[path = "../mcast/mod.rs"]
mod mcast;
#[path = "../../../../tests/programs/mod.rs"]
mod programs;

mod listen;
mod send;
mod streams;
mod usage;
#[cfg(all(feature = "who", feature = "json"))]
mod who;
