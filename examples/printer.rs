//! The handle-based API: listens for a single request, prints it, and ends.
//!
//! ```sh
//! cargo run --example printer
//! ```
//!
//! It stays on `lo`, so that it runs on any machine. Without `.interface(..)` the routing table chooses the interface, and other
//! machines receive the packet: `MulticastListener::new(Printer, ListenOptions::new())` and `sendto("test")`.

use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::time::Duration;

use multicast::Interface;
use multicast::compat::{ListenOptions, MulticastListener, PacketHandler, SendOptions, run, sendto_with};

struct Printer;

impl PacketHandler for Printer {
    fn handle_packet(&mut self, packet: &[u8], addr: SocketAddr) -> ControlFlow<()> {
        println!("{addr}: {}", String::from_utf8_lossy(packet));
        ControlFlow::Break(()) // Stop listening
    }
}

fn main() -> multicast::Result<()> {
    let options = ListenOptions::new().filter_fn(|_packet, _addr| true).interface(Interface::LOOPBACK);
    MulticastListener::new(Printer, options)?;

    sendto_with("test", SendOptions::new().interface(Interface::LOOPBACK))?;

    // Runs until nothing is registered. `poll(Duration::ZERO)` would only handle packets that have already come.
    run(None, Duration::ZERO)
}
