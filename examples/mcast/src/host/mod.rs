//! What this machine says about its network: read only, and never guessed. A fact that cannot be had is an error, not a zero.

// Its first users are the commands `doctor` and `who`.
#![allow(dead_code)]

pub(crate) mod counters;
pub(crate) mod features;
pub(crate) mod groups;
pub(crate) mod links;
pub(crate) mod netlink;
pub(crate) mod owners;
pub(crate) mod routes;
pub(crate) mod sockets;
mod text;
