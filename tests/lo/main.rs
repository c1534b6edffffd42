//! Tests of the core whose packets stay on `lo`: one file for each part of the API.

#[path = "../bpf/mod.rs"]
mod bpf;
#[path = "../common/mod.rs"]
mod common;
#[path = "../programs/mod.rs"]
mod programs;

mod adjacent;
mod batches;
#[cfg(feature = "std")]
mod both_families;
mod coalescing;
mod conversation;
#[cfg(feature = "std")]
mod custom_poller;
#[cfg(feature = "std")]
mod errors;
mod front_door;
#[cfg(feature = "std")]
mod held_by;
mod isolation;
#[cfg(feature = "std")]
mod kernel_filter;
#[cfg(feature = "std")]
mod kernel_filter_refusals;
#[cfg(feature = "std")]
mod ledger;
mod listener;
#[cfg(feature = "std")]
mod listener_adoption;
mod listener_groups;
mod metadata;
mod multicaster;
mod outbox;
mod peers;
mod poller;
#[cfg(feature = "std")]
mod quiet;
mod rate;
mod receive_refusals;
mod refusals;
#[cfg(feature = "std")]
mod sender_adoption;
#[cfg(feature = "std")]
mod sender_sharing;
#[cfg(feature = "std")]
mod waiting;
