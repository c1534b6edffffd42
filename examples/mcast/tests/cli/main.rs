//! The command line of `mcast`, on `lo`.

#[path = "../../../../tests/common/mod.rs"]
mod common;
#[path = "../mcast/mod.rs"]
mod mcast;
#[path = "../../../../tests/programs/mod.rs"]
mod programs;

mod answer;
mod ask;
mod listen;
mod progress;
mod record;
mod replay;
mod send;
mod sending;
mod targets;
mod usage;
