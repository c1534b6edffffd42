//! What this host says about multicast, asked without privilege: each room reads one kind of source, and its parsers are pure.

// Each command uses a part of it, and a build may have any of them.
#![allow(dead_code)]

pub(crate) mod groups;
pub(crate) mod owners;
pub(crate) mod sockets;
mod text;
