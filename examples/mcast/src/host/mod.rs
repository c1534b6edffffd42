//! What this machine says about its network: read only, and never guessed. A fact that cannot be had is an error, not a zero.

// Its first users are the commands `doctor` and `who`.
#![allow(dead_code)]

mod diag;
pub(crate) mod groups;
pub(crate) mod holders;
pub(crate) mod netlink;
pub(crate) mod owners;
pub(crate) mod sockets;
mod text;
