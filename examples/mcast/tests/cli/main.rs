//! The command line of `mcast`, on `lo`.

#[path = "../../../../tests/common/mod.rs"]
mod common;
#[path = "../mcast/mod.rs"]
mod mcast;
#[path = "../../../../tests/programs/mod.rs"]
mod programs;
#[path = "../streams/mod.rs"]
mod streams;

mod answer;
mod ask;
#[cfg(all(feature = "doctor", feature = "json"))]
mod doctor;
mod listen;
mod metrics;
mod ping;
mod progress;
mod record;
mod relay;
mod replay;
mod send;
mod sending;
mod surroundings;
mod targets;
mod test;
mod usage;
mod watch;
#[cfg(all(feature = "who", feature = "json"))]
mod who;
