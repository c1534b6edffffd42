//! What scenarios share: trying again, sending, collecting, and the verdict.

use std::fmt::Display;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use multicast::filter::Filter;
use multicast::{
    Destination, ErrorKind, Events, Group, Interest, Interface, Membership, Outcome, Poller, Received, Receiver,
    SendOptions, Sender, Token,
};

/// How often something is tried again: one call fails once, and its repetition may meet what the failure left.
const TRIES: u32 = 3;
/// How long to wait for what must come.
const PATIENCE: Duration = Duration::from_millis(1500);
/// How long to wait for what must not come.
const SILENCE: Duration = Duration::from_millis(5);

pub struct Run {
    number: u16,
    pub errors: Vec<String>,
    faults: Vec<String>,
}

impl Run {
    pub fn new(number: u16) -> Self {
        Self { number, errors: Vec::new(), faults: Vec::new() }
    }

    pub fn group(&self, place: u8) -> Group {
        let [high, low] = self.number.to_be_bytes();
        Group::new([239, place, high, low], self.port()).unwrap()
    }

    pub fn group_v6(&self, place: u8) -> Group {
        format!("[ff15::{place:x}:{:x}]:{}", self.number, self.port()).parse().unwrap()
    }

    pub fn port(&self) -> u16 {
        10_000 + self.number
    }

    /// Something that must never be.
    pub fn bad(&mut self, why: impl Display) {
        self.faults.push(why.to_string());
    }

    /// Notes an error that the library returned.
    pub fn note(&mut self, error: &impl Display) {
        self.errors.push(error.to_string());
    }

    /// Tries until it works. That it never works is a fault: one call failed once.
    pub fn retry<T>(&mut self, mut work: impl FnMut() -> multicast::Result<T>) -> Option<T> {
        for _ in 0..TRIES {
            match work() {
                Ok(value) => return Some(value),
                Err(error) => self.note(&error),
            }
        }
        self.bad("it does not work again after one failure");
        None
    }

    pub fn sender(&mut self, group: Group) -> Option<Sender> {
        self.retry(|| on_lo().open(group.family()))
    }

    /// Sends each packet until the library says that it was sent.
    pub fn send(&mut self, sender: &mut Sender, to: impl Into<Destination> + Copy, packets: &[&str]) {
        let end = Instant::now() + PATIENCE;
        for packet in packets {
            let mut failures = 0;
            loop {
                match sender.send(packet.as_bytes(), to) {
                    Ok(Outcome::Sent) => break,
                    Ok(Outcome::Wait(time)) => std::thread::sleep(time),
                    Ok(Outcome::Blocked) => std::thread::sleep(Duration::from_millis(1)),
                    Err(error) => {
                        self.note(&error);
                        failures += 1;
                    }
                }
                if failures > TRIES || Instant::now() > end {
                    self.bad(format!("{packet} cannot be sent after one failure"));
                    break;
                }
            }
        }
    }

    /// A poller that waits for this listener.
    pub fn poller_for(&mut self, source: &impl AsFd) -> Option<Poller> {
        let poller = self.retry(Poller::new)?;
        self.retry(|| again(poller.register(source, Token(1), Interest::READABLE)))?;
        Some(poller)
    }

    /// Receives with `receive` until all expected payloads have come, and nothing else.
    pub fn expect(&mut self, expected: &[&str], poller: &Poller, mut receive: impl FnMut() -> multicast::Result<Heard>) {
        let mut events = Events::<4>::new();
        let (mut got, end) = (Vec::new(), Instant::now() + PATIENCE);
        loop {
            match receive() {
                Ok(Heard::Packet(payload)) => {
                    got.push(payload);
                    continue;
                }
                Ok(Heard::More) => continue,
                Ok(Heard::Nothing) => {}
                Err(error) => {
                    self.note(&error);
                    if Instant::now() < end {
                        continue;
                    }
                }
            }
            let left = end.saturating_duration_since(Instant::now());
            let is_all = got.len() >= expected.len();
            let time = if is_all { SILENCE } else { left };
            match poller.poll(&mut events, time).map(|mut events| events.next().is_some()) {
                Ok(true) => {}
                // It must not be believed that the first silence is the end: the wait itself may have failed.
                Ok(false) if is_all || left.is_zero() => break,
                Ok(false) => {}
                Err(error) => self.note(&error),
            }
        }
        if got != expected {
            self.bad(format!("{got:?} came, not {expected:?}"));
        }
    }

    /// Expects these packets at a receiver.
    pub fn expect_at<F: Filter>(&mut self, receiver: &mut Receiver<F>, expected: &[&str]) {
        let Some(poller) = self.poller_for(receiver) else { return };
        let mut buffer = [0; 2048];
        self.expect(expected, &poller, || Ok(heard(&receiver.recv_into(&mut buffer)?)));
    }

    pub fn print(&self) {
        for error in &self.errors {
            println!("error {error}");
        }
        match self.faults.as_slice() {
            [] => println!("ok"),
            faults => println!("bad {}", faults.join("; ")),
        }
    }
}

pub enum Heard {
    Packet(String),
    More,
    Nothing,
}

pub fn heard(received: &Received<'_>) -> Heard {
    match received {
        Received::Packet(packet) => Heard::Packet(String::from_utf8_lossy(packet.payload()).into_owned()),
        Received::Paused => Heard::More,
        Received::Empty => Heard::Nothing,
    }
}

pub fn on_lo() -> SendOptions {
    SendOptions::new().interface(Interface::LOOPBACK)
}

pub fn membership(group: Group) -> Membership {
    Membership::any(group).on(Interface::LOOPBACK)
}

/// A registration that an earlier try made is no error.
pub fn again(result: multicast::Result<()>) -> multicast::Result<()> {
    match result {
        Err(error) if error.kind() == ErrorKind::AlreadyRegistered => Ok(()),
        result => result,
    }
}

/// How many descriptors this process has open.
pub fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count)
}
