//! The command line of `mcast`, on `lo`.

#[path = "../../../../tests/common/mod.rs"]
mod common;
#[path = "../mcast/mod.rs"]
mod mcast;
#[path = "../../../../tests/programs/mod.rs"]
mod programs;

mod listen;
mod record;
mod relay;
mod replay;
mod send;
mod usage;
