//! What the examples of protocols share: arguments, and waiting.

// Each example compiles its own copy and uses a part of it.
#![allow(dead_code, unreachable_pub)]

use std::time::{Duration, Instant};

use multicast::filter::Filter;
use multicast::{Events, Interest, Listener, Packet, Poller, Received, Result, Token};

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
