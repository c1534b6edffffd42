//! The command line of `mcast`, on `lo`.

#[path = "../../../../tests/common/mod.rs"]
mod common;
#[path = "../mcast/mod.rs"]
mod mcast;
#[path = "../../../../tests/programs/mod.rs"]
mod programs;
#[path = "../streams/mod.rs"]
mod streams;

mod listen;
mod metrics;
mod ping;
mod record;
mod relay;
mod replay;
mod send;
mod test;
mod usage;
mod watch;
