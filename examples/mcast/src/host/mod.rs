//! What this machine says about its network: read only, and never guessed. A fact that cannot be had is an error, not a zero.

// `doctor` and `who` use different parts.
#![allow(dead_code)]

#[cfg(feature = "doctor")]
pub(crate) mod counters;
mod diag;
#[cfg(feature = "doctor")]
pub(crate) mod features;
pub(crate) mod groups;
#[cfg(feature = "who")]
pub(crate) mod holders;
#[cfg(feature = "doctor")]
pub(crate) mod links;
pub(crate) mod netlink;
pub(crate) mod owners;
#[cfg(feature = "doctor")]
pub(crate) mod routes;
#[cfg(feature = "doctor")]
pub(crate) mod rules;
pub(crate) mod sockets;
mod text;
