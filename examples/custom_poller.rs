//! One poller for everything that a program waits for: two groups, a timer and standard input, routed by token.
//!
//! `custom_poller [GROUP:PORT GROUP:PORT]`, on `lo`. It ends at the end of standard input; any line prints the counters.

use std::io::{self, BufRead, Write};

use multicast::{
    ErrorKind, Events, Group, Interest, Interface, ListenOptions, Listener, Membership, Poller, Received, Token,
};
use rustix::time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec};

/// You choose the tokens: here the first ones are the indexes of the listeners.
const TIMER: Token = Token(10);
const INPUT: Token = Token(11);

fn main() -> Result<(), Box<dyn core::error::Error>> {
    let mut groups = std::env::args().skip(1);
    let mut listen = |default: &str| -> multicast::Result<Listener<1500>> {
        let group: Group = groups.next().as_deref().unwrap_or(default).parse()?;
        ListenOptions::new().bind(Membership::any(group).on(Interface::LOOPBACK))
    };
    let mut listeners = [listen("239.1.1.1:5001")?, listen("239.1.1.2:5002")?];
    let timer = every_second()?;
    let (input, mut output) = (io::stdin(), io::stdout());

    let poller = Poller::new()?;
    for (token, listener) in (0..).zip(&listeners) {
        poller.register(listener, Token(token), Interest::READABLE)?;
    }
    poller.register(&timer, TIMER, Interest::READABLE)?;
    match poller.register(&input, INPUT, Interest::READABLE) {
        // A regular file is always ready, and cannot be polled.
        Err(error) if error.kind() == ErrorKind::NotPollable => writeln!(output, "no standard input to wait for")?,
        other => other?,
    }

    let mut seconds = 0;
    let mut events = Events::<4>::new();
    loop {
        for event in poller.poll(&mut events, None)? {
            match event.token() {
                TIMER => {
                    // How often the timer expired since it was last read, as a number of eight bytes.
                    let mut count = [0; 8];
                    rustix::io::read(&timer, &mut count)?;
                    seconds += u64::from_ne_bytes(count);
                    writeln!(output, "second {seconds}")?;
                }
                INPUT => {
                    // Take all that was read: for a rest in the buffer, no poller reports an event.
                    let length = input.lock().fill_buf()?.len();
                    if length == 0 {
                        return Ok(());
                    }
                    input.lock().consume(length);
                    for (number, listener) in listeners.iter().enumerate() {
                        writeln!(output, "listener {number}: {:?}", listener.counters())?;
                    }
                }
                Token(number) => {
                    let Some(listener) = listeners.get_mut(number as usize) else { continue };
                    loop {
                        match listener.recv()? {
                            Received::Packet(packet) => {
                                writeln!(output, "listener {number}: {}", packet.payload().escape_ascii())?;
                            }
                            Received::Paused => continue,
                            Received::Empty => break,
                        }
                    }
                }
            }
        }
    }
}

fn every_second() -> rustix::io::Result<rustix::fd::OwnedFd> {
    let timer = rustix::time::timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::CLOEXEC)?;
    let second = Timespec { tv_sec: 1, tv_nsec: 0 };
    let times = Itimerspec { it_interval: second, it_value: second };
    rustix::time::timerfd_settime(&timer, TimerfdTimerFlags::empty(), &times)?;
    Ok(timer)
}
