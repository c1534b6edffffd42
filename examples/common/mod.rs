//! What the examples of protocols share: arguments, waiting, and what is printed about answers.

// Each example compiles its own copy and uses a part of it.
#![allow(dead_code, unreachable_pub)]

use std::fmt::Display;
use std::time::{Duration, Instant};

use multicast::filter::Filter;
use multicast::{Events, Interest, Listener, Outcome, Packet, Poller, Received, Result, Token};

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
    for turn in 1_u64.. {
        let is_empty = match listener.recv()? {
            Received::Packet(packet) => {
                f(&packet)?;
                false
            }
            Received::Paused => false,
            Received::Empty => true,
        };
        // In a flood the queue is never empty: look at the time and at the input all the same.
        if is_empty || turn % 64 == 0 {
            let left = end.map(|end| end.saturating_duration_since(Instant::now()));
            let wait = if is_empty { left } else { Some(Duration::ZERO) };
            let input = poller.poll(&mut events, wait)?.any(|event| event.token() == Token(1));
            if input || left == Some(Duration::ZERO) {
                break;
            }
        }
    }
    Ok(())
}

/// Prints what became of an answer. An error does not end the program: any stranger could end it, by a question from port 0.
pub fn print_answer(question: impl Display, answered: Result<Outcome>) {
    match answered {
        Ok(outcome) => println!("{question} answer {outcome:?}"),
        Err(error) => println!("{question} no answer: {error}"),
    }
}
