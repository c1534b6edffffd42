//! Several threads, each with a listener of its own to the same group: each of them receives every packet.
//!
//! `threads [GROUP:PORT [INTERFACE [THREADS]]]`. Each thread prints its number and the packet. It ends by Ctrl-C or `SIGTERM`.

use std::io::{self, Read};
use std::thread::{Builder, JoinHandle};

use multicast::{Events, Group, Interest, Interface, ListenOptions, Listener, Membership, Poller, Received, Token};

fn main() -> io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let mut next = |default: &str| arguments.next().unwrap_or_else(|| default.to_owned());
    let (group, interface): (Group, Interface) = (next("239.1.2.3:5000").parse()?, next("lo").parse()?);
    let count: usize = next("4").parse().map_err(io::Error::other)?;

    let mut stop = runtimes::stop()?;
    let (mut wakers, mut threads) = (Vec::new(), Vec::<JoinHandle<multicast::Result<u64>>>::new());
    for number in 0..count {
        // Opened here, so that an error ends the program before a thread has begun.
        let listener = ListenOptions::new().bind::<1500>(Membership::any(group).on(interface))?;
        let poller = Poller::new()?;
        wakers.push(poller.waker()?);
        threads.push(Builder::new().spawn(move || listen(number, listener, &poller))?);
    }

    stop.set_nonblocking(false)?;
    // Blocks until the signal comes.
    stop.read_exact(&mut [0])?;
    for waker in &wakers {
        waker.wake()?;
    }
    for (number, thread) in threads.into_iter().enumerate() {
        let received = thread.join().map_err(|_| io::Error::other("a thread has panicked"))??;
        println!("{number} received {received}");
    }
    Ok(())
}

/// Prints packets until it is woken. Returns how many.
fn listen(number: usize, mut listener: Listener<1500>, poller: &Poller) -> multicast::Result<u64> {
    poller.register(&listener, Token(0), Interest::READABLE)?;
    let mut events = Events::<1>::new();
    loop {
        poller.poll(&mut events, None)?;
        loop {
            match listener.recv()? {
                Received::Packet(packet) => println!("{number}: {}", packet.payload().escape_ascii()),
                Received::Paused => continue,
                Received::Empty => break,
            }
        }
        if events.woken() {
            return Ok(listener.counters().received);
        }
    }
}
