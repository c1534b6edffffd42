//! Streaming ACN (ANSI E1.31), the light control of stages: hears any number of universes, or sends one.
//!
//! ```sh
//! cargo run --example sacn -- listen eth0 1 30    # prints what comes in universes 1 to 30
//! cargo run --example sacn -- send eth0 7         # sends a second of light in universe 7
//! ```
//!
//! Each universe is a group. Linux lets a socket join 20 of them (`net.ipv4.igmp_max_memberships`): then this makes a second listener.

use std::time::Duration;

use multicast::filter::{At, Length};
use multicast::{
    Bind, ErrorKind, Events, Family, Group, Interest, Interface, ListenOptions, Listener, Membership, Poller, Progress,
    Received, Result, SendOptions, Token, filter::Filter,
};

const PORT: u16 = 5568;
/// A packet with all 512 slots, as this program sends it.
const LENGTH: usize = 638;
/// Where the universe stands, and where the slots begin.
const UNIVERSE: usize = 113;
const SLOTS: usize = 126;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["listen", interface, first, last] => listen(interface.parse()?, number(first)..=number(last)),
        ["send", interface, universe] => send(interface.parse()?, number(universe)),
        _ => {
            eprintln!("usage: sacn listen INTERFACE FIRST LAST | send INTERFACE UNIVERSE");
            Ok(())
        }
    }
}

fn number(text: &str) -> u16 {
    text.parse().unwrap_or(1)
}

fn group(universe: u16) -> Result<Group> {
    let [high, low] = universe.to_be_bytes();
    Group::new([239, 255, high, low], PORT)
}

fn listener() -> Result<Listener<LENGTH, impl Filter>> {
    // The identifier of the protocol, and room for one slot at least.
    let wanted = At(4, b"ASC-E1.17\0\0\0").and(Length(SLOTS..));
    ListenOptions::new().filter(wanted).bind(Bind::Port(PORT, Family::V4))
}

fn listen(interface: Interface, universes: std::ops::RangeInclusive<u16>) -> Result<()> {
    let mut listeners = vec![listener()?];
    for universe in universes {
        let membership = Membership::any(group(universe)?).on(interface);
        match listeners.last_mut().map(|last| last.join(&membership)) {
            Some(Err(error)) if error.kind() == ErrorKind::LimitReached => {
                let mut next = listener()?;
                next.join(&membership)?;
                listeners.push(next);
            }
            Some(joined) => joined?,
            None => {}
        }
    }
    println!("{} listeners", listeners.len());

    let (poller, mut events) = (Poller::new()?, Events::<16>::new());
    for (number, listener) in listeners.iter().enumerate() {
        poller.register(listener, Token(number as u64), Interest::READABLE)?;
    }
    loop {
        for event in poller.poll(&mut events, None)? {
            let Some(listener) = listeners.get_mut(event.token().0 as usize) else { continue };
            loop {
                match listener.recv()? {
                    Received::Packet(packet) => {
                        let (head, slots) = packet.payload().split_at(SLOTS);
                        let universe = u16::from_be_bytes([head[UNIVERSE], head[UNIVERSE + 1]]);
                        println!("universe {universe}: {:?} from {}", &slots[..slots.len().min(4)], packet.source());
                    }
                    Received::Paused => continue,
                    Received::Empty => break,
                }
            }
        }
    }
}

/// Sends one second of frames. The rate is the multicaster's: 44 frames a second, the fastest that DMX allows.
fn send(interface: Interface, universe: u16) -> Result<()> {
    let frames = (0..44).map(|number| frame(universe, number));
    let mut caster = SendOptions::new().interface(interface).rate(44, 1).packets(group(universe)?, frames)?;
    loop {
        match caster.step()? {
            Progress::Done => return Ok(()),
            Progress::Sent(_) => {}
            Progress::Wait(time) => std::thread::sleep(time),
            Progress::Blocked => std::thread::sleep(Duration::from_millis(1)),
        }
    }
}

/// A packet: the root layer, the framing layer, the DMP layer, and all slots at the same value, which rises with each frame.
fn frame(universe: u16, number: u8) -> [u8; LENGTH] {
    let mut packet = [number; LENGTH];
    packet[..126].fill(0);
    let mut put = |at: usize, bytes: &[u8]| packet[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, b"\x00\x10\x00\x00ASC-E1.17\x00\x00\x00\x72\x6e\x00\x00\x00\x04");
    put(22, &std::process::id().to_be_bytes()); // The component's identifier: 16 bytes.
    put(38, b"\x72\x58\x00\x00\x00\x02multicast");
    put(108, &[100, 0, 0, number, 0]); // Priority, synchronisation, sequence, options.
    put(UNIVERSE, &universe.to_be_bytes());
    put(115, b"\x72\x0b\x02\xa1\x00\x00\x00\x01\x02\x01\x00");
    packet
}
