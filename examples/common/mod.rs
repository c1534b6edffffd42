//! What the examples of protocols share: arguments, waiting, and an address of one's own.

// Each example compiles its own copy and uses a part of it.
#![allow(dead_code, unreachable_pub)]

use std::net::IpAddr;
use std::time::{Duration, Instant};

use multicast::filter::Filter;
use multicast::{Change, Events, Family, Interest, Links, Listener, Name, Packet, Poller, Received, Result, Token};

/// The program's arguments. They live as long as the program.
pub fn arguments() -> Vec<&'static str> {
    std::env::args().skip(1).map(|argument| &*argument.leak()).collect()
}

/// Says how the program is called.
pub fn usage(text: &str) -> Result<()> {
    eprintln!("usage: {text}");
    Ok(())
}

/// Gives each packet to the function, for this time; without a time, until the standard input ends.
pub fn each_packet<const MTU: usize, F: Filter>(
    listener: &mut Listener<MTU, F>,
    time: Option<Duration>,
    mut f: impl FnMut(&Packet<'_>) -> Result<()>,
) -> Result<()> {
    let (poller, mut events) = (Poller::new()?, Events::<2>::new());
    poller.register(&*listener, Token(0), Interest::READABLE)?;
    if time.is_none() {
        poller.register(&std::io::stdin(), Token(1), Interest::READABLE)?;
    }
    let end = time.map(|time| Instant::now() + time);
    loop {
        match listener.recv()? {
            Received::Packet(packet) => f(&packet)?,
            Received::Paused => {}
            Received::Empty => {
                let left = end.map(|end| end.saturating_duration_since(Instant::now()));
                let input = poller.poll(&mut events, left)?.any(|event| event.token() == Token(1));
                if input || left == Some(Duration::ZERO) {
                    return Ok(());
                }
            }
        }
    }
}

/// An address of this family that the interface has: some protocols write it into their messages. The unspecified address if it has
/// none.
pub fn own_address(interface: Name, family: Family) -> Result<IpAddr> {
    let (wanted, mut links) = (interface.index()?, Links::watch()?);
    // First it lists what there is.
    while let Some(change) = links.next()? {
        match change {
            Change::Address { index, address } if index == wanted && address.is_ipv4() == (family == Family::V4) => {
                return Ok(address);
            }
            _ => {}
        }
    }
    Ok(match family {
        Family::V4 => IpAddr::from([0; 4]),
        Family::V6 => IpAddr::from([0; 16]),
    })
}
