//! PTP (IEEE 1588), which sets clocks: prints each message, and when the kernel received it.
//!
//! ```sh
//! cargo run --example ptp -- eth0
//! ```
//!
//! Events (sync, delay request) come on port 319, and everything else on port 320. What makes an event precise is the time at which
//! it came in: the kernel's, not that of this program, which may be late.

use std::net::Ipv4Addr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use multicast::filter::{Filter, Length, Masked};
use multicast::{
    Events, Group, Interest, Interface, ListenOptions, Listener, Membership, Packet, Poller, Received, Result, Token,
};

/// The header of all messages.
const HEADER: usize = 34;

fn main() -> Result<()> {
    let Some(interface) = std::env::args().nth(1) else {
        eprintln!("usage: ptp INTERFACE");
        return Ok(());
    };
    let interface = interface.parse()?;
    let mut listeners = [listener(319, interface)?, listener(320, interface)?];
    let (poller, mut events) = (Poller::new()?, Events::<2>::new());
    for (number, listener) in listeners.iter().enumerate() {
        poller.register(listener, Token(number as u64), Interest::READABLE)?;
    }
    println!("listening");
    loop {
        for event in poller.poll(&mut events, None)? {
            let Some(listener) = listeners.get_mut(event.token().0 as usize) else { continue };
            loop {
                match listener.recv()? {
                    Received::Packet(packet) => print(&packet),
                    Received::Paused => continue,
                    Received::Empty => break,
                }
            }
        }
    }
}

fn listener(port: u16, interface: Interface) -> Result<Listener<1500, impl Filter>> {
    let group = Group::new(Ipv4Addr::new(224, 0, 1, 129), port)?;
    // Version 2, in the lower half of the second byte.
    let wanted = Masked(1, [0x0f], [0x02]).and(Length(HEADER..));
    ListenOptions::new().filter(wanted).metadata().bind(Membership::any(group).on(interface))
}

fn print(packet: &Packet<'_>) {
    let Some((header, body)) = packet.payload().split_first_chunk::<HEADER>() else { return };
    let name = match header[0] & 0x0f {
        0x0 => "sync",
        0x1 => "delay request",
        0x8 => "follow-up",
        0x9 => "delay response",
        0xb => "announce",
        _ => "other message",
    };
    let sequence = u16::from_be_bytes([header[30], header[31]]);
    // In most messages the body begins with a time: 6 bytes of seconds and 4 of nanoseconds.
    let time = body.first_chunk::<10>().map_or(Duration::ZERO, |bytes| {
        let number = |bytes: &[u8]| bytes.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte));
        Duration::new(number(&bytes[..6]), number(&bytes[6..]) as u32 % 1_000_000_000)
    });
    let received = packet.metadata().and_then(|metadata| metadata.received_at());
    let read_later = received.and_then(|at| SystemTime::now().duration_since(UNIX_EPOCH).ok()?.checked_sub(at));
    println!(
        "{name} {sequence} from {} says {time:?}: received at {received:?}, read {read_later:?} later",
        packet.source().ip()
    );
}
