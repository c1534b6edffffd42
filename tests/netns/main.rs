//! Tests that need interfaces, routes or a firewall of their own. `make test` runs them in a private network namespace; where that is
//! not possible, it leaves this program out.

#[path = "../bpf/mod.rs"]
mod bpf;
#[path = "../common/mod.rs"]
mod common;
#[cfg(feature = "std")]
#[path = "../compat_help/mod.rs"]
mod compat_help;
#[path = "../programs/mod.rs"]
mod programs;

#[cfg(feature = "std")]
mod adoption;
mod answers;
mod bound_interface;
mod coalescing;
#[cfg(feature = "std")]
mod compat;
#[cfg(feature = "std")]
mod compat_answers;
#[cfg(feature = "std")]
mod compat_links;
#[cfg(feature = "std")]
mod compat_passing;
mod conversation;
mod default_route;
mod destinations;
mod error_texts;
mod every_interface;
#[cfg(feature = "std")]
mod examples;
mod follow;
mod follow_overrun;
mod follow_senders;
#[cfg(feature = "std")]
mod hops;
mod host_drops;
mod isolation;
#[cfg(feature = "std")]
mod kernel_filter;
mod links;
mod links_overrun;
mod lost_memberships;
mod memberships;
mod metadata;
mod model;
mod multicaster;
#[cfg(feature = "std")]
mod named_addresses;
mod neighbours;
mod outbox;
mod own_address;
mod path_mtu;
mod peers;
mod pinned_neighbours;
mod questions;
mod queue;
#[cfg(feature = "std")]
mod queue_shared;
mod receive_buffer;
mod refusals;
mod reports;
#[cfg(feature = "std")]
mod route_changes;
#[cfg(feature = "std")]
mod sources;
#[cfg(feature = "std")]
mod strange_links;
mod tshark;
#[cfg(feature = "std")]
mod without_netlink;
