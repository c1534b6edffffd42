//! Tests that need no network: values, texts, filters, patterns, and pollers with pipes.

#[path = "../bpf/mod.rs"]
mod bpf;
#[path = "../common/mod.rs"]
mod common;
#[cfg(feature = "std")]
#[path = "../compat_help/mod.rs"]
mod compat_help;
#[cfg(feature = "regex")]
#[path = "../regex_pairs/mod.rs"]
mod regex_pairs;

#[cfg(feature = "std")]
mod compat_flags;
#[cfg(feature = "std")]
mod compat_poller;
mod poller_wait;
mod pushdown;
#[cfg(feature = "regex")]
mod regex;
mod text;
mod traits;
