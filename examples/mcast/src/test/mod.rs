//! `mcast test`: numbered and stamped packets, and what the network does to them.

mod latency;
mod packet;
mod stream;
mod streams;
mod window;
