//! The handle-based API: packets one by one, one for each poll.
//!
//! ```sh
//! cargo run --example generator
//! ```
//!
//! It stays on `lo`, so that it runs on any machine. Without `.interface(..)` the routing table chooses the interface, and other
//! machines receive the packets: `listen()` and `sendto(["one", "two"])`.

use std::time::Duration;

use multicast::Interface;
use multicast::compat::{ListenOptions, Packets, SendOptions, poll, sendto_with};

fn main() -> multicast::Result<()> {
    let mut listener = Packets::new(ListenOptions::new().interface(Interface::LOOPBACK))?;

    sendto_with(["one", "two"], SendOptions::new().interface(Interface::LOOPBACK))?;

    // Without a poll there is no packet: it stays in the kernel's buffer.
    assert_eq!(listener.next()?, None);

    for _ in 0..2 {
        poll(Duration::from_secs(1))?;
        // The packet is borrowed until the next call: nothing is copied.
        if let Some(packet) = listener.next()? {
            println!("{}: {}", packet.source(), String::from_utf8_lossy(packet.payload()));
        }
    }
    Ok(())
}
