//! PTP (IEEE 1588), which sets clocks: prints each message and when the kernel received it, or is a clock that others follow.
//!
//! ```sh
//! cargo run --example ptp -- listen eth0
//! cargo run --example ptp -- serve eth0
//! ```
//!
//! Events (sync, delay request) come on port 319, and everything else on port 320. What makes an event precise is the time at which it
//! came in: the kernel's, not that of this program, which may be late.

mod common;

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use common::{arguments, usage};
use multicast::filter::{Filter, Length, Masked};
use multicast::{
    Events, Group, Interest, Interface, ListenOptions, Listener, Membership, Packet, Poller, Received, Result, SendOptions,
    Token,
};

/// The header of all messages.
const HEADER: usize = 34;

fn main() -> Result<()> {
    let (role, interface) = match arguments()[..] {
        [role @ ("listen" | "serve"), interface] => (role, interface.parse()?),
        _ => return usage("ptp listen INTERFACE | serve INTERFACE"),
    };
    let mut listeners = [listener(319, interface)?, listener(320, interface)?];
    // Messages leave from the port that they go to.
    let options = SendOptions::new().interface(interface).loopback(false);
    let [mut events_out, mut others_out] = [listeners[0].sender(options)?, listeners[1].sender(options)?];
    let (poller, mut events) = (Poller::new()?, Events::<2>::new());
    for (number, listener) in listeners.iter().enumerate() {
        poller.register(listener, Token(number as u64), Interest::READABLE)?;
    }
    println!("listening");

    // Four times a second, the clock announces itself and says the time.
    let (mut next, mut count) = (Instant::now(), 0_u16);
    loop {
        let timeout = (role == "serve").then(|| next.saturating_duration_since(Instant::now()));
        if timeout == Some(Duration::ZERO) {
            // Best priority, a clock without a source, no steps from it.
            let about_clock = [&[0; 13][..], &[1, 248, 0xfe, 0xff, 0xff, 1], &CLOCK[..8], &[0, 0, 0xa0]].concat();
            let _ = others_out.send(&message(ANNOUNCE, count, &about_clock), group(320)?)?;
            let _ = events_out.send(&message(SYNC, count, &timestamp(now())), group(319)?)?;
            (next, count) = (next + Duration::from_millis(250), count.wrapping_add(1));
            continue;
        }
        for event in poller.poll(&mut events, timeout)? {
            let Some(listener) = listeners.get_mut(event.token().0 as usize) else { continue };
            loop {
                let packet = match listener.recv()? {
                    Received::Packet(packet) => packet,
                    Received::Paused => continue,
                    Received::Empty => break,
                };
                let Some((header, _)) = packet.payload().split_first_chunk::<HEADER>() else { continue };
                let received = packet.metadata().and_then(|metadata| metadata.received_at());
                let sequence = u16::from_be_bytes([header[30], header[31]]);
                print(&packet, header[0] & 0x0f, sequence, received);
                if let ("serve", DELAY_REQUEST, Some(received)) = (role, header[0] & 0x0f, received) {
                    // When the request came in, and whose it is.
                    let answer = [&timestamp(received)[..], &header[20..30]].concat();
                    let _ = others_out.send(&message(DELAY_RESPONSE, sequence, &answer), group(320)?)?;
                }
            }
        }
    }
}

fn listener(port: u16, interface: Interface) -> Result<Listener<1500, impl Filter>> {
    // Version 2, in the lower half of the second byte.
    let wanted = Masked(1, [0x0f], [0x02]).and(Length(HEADER..));
    ListenOptions::new().filter(wanted).metadata().bind(Membership::any(group(port)?).on(interface))
}

fn group(port: u16) -> Result<Group> {
    Group::new([224, 0, 1, 129], port)
}

const SYNC: u8 = 0x0;
const DELAY_REQUEST: u8 = 0x1;
const DELAY_RESPONSE: u8 = 0x9;
const ANNOUNCE: u8 = 0xb;

/// Our clock, and the number of its port.
const CLOCK: [u8; 10] = *b"multicas\0\x01";

fn message(kind: u8, sequence: u16, body: &[u8]) -> Vec<u8> {
    let ([high, low], length) = (sequence.to_be_bytes(), (HEADER + body.len()) as u8);
    let header = [&[kind, 2, 0, length][..], &[0; 16], &CLOCK, &[high, low, 5, -2_i8 as u8]].concat();
    [&header, body].concat()
}

fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// 6 bytes of seconds and 4 of nanoseconds.
fn timestamp(time: Duration) -> [u8; 10] {
    let mut bytes = [0; 10];
    bytes[..6].copy_from_slice(&time.as_secs().to_be_bytes()[2..]);
    bytes[6..].copy_from_slice(&time.subsec_nanos().to_be_bytes());
    bytes
}

fn print(packet: &Packet<'_>, kind: u8, sequence: u16, received: Option<Duration>) {
    let name = match kind {
        SYNC => "sync",
        DELAY_REQUEST => "delay request",
        DELAY_RESPONSE => "delay response",
        ANNOUNCE => "announce",
        _ => "other message",
    };
    let later = received.map(|received| now().saturating_sub(received));
    println!("{name} {sequence} from {}: received at {received:?}, read {later:?} later", packet.source().ip());
}
