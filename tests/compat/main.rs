//! Tests of the handle-based API, `multicast::compat`, on `lo`.
#![cfg(feature = "std")]

#[path = "../common/mod.rs"]
mod common;
#[path = "../compat_help/mod.rs"]
mod compat_help;

mod classes;
mod exit;
mod listen;
mod live;
mod model;
mod nested;
mod refusals;
mod run;
mod sendto;
mod slots;
