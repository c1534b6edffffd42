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
/// The same, where it may never come.
const LASTING_PATIENCE: Duration = Duration::from_millis(150);
/// The same for sending: longer than a queue may refuse a packet.
const SENDING_PATIENCE: Duration = Duration::from_millis(6500);
/// How long to wait for what must not come.
const SILENCE: Duration = Duration::from_millis(5);

pub struct Run {
    number: u16,
    /// What fails may fail at each try: then it is enough that the library reports it.
    is_lasting: bool,
    pub errors: Vec<String>,
    faults: Vec<String>,
    failures: Vec<String>,
}

impl Run {
    pub fn new(number: u16, is_lasting: bool) -> Self {
        Self { number, is_lasting, errors: Vec::new(), faults: Vec::new(), failures: Vec::new() }
    }

    pub fn patience(&self) -> Duration {
        if self.is_lasting { LASTING_PATIENCE } else { PATIENCE }
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

    /// One refusal that lasts is enough to see.
    pub fn sending_patience(&self) -> Duration {
        if self.is_lasting && self.has_failed() { LASTING_PATIENCE } else { SENDING_PATIENCE }
    }

    /// Something that must never be.
    pub fn bad(&mut self, why: impl Display) {
        self.faults.push(why.to_string());
    }

    /// Something that must not be after one failure, and is right if it fails each time and the library says so.
    pub fn failed(&mut self, why: impl Display) {
        self.failures.push(why.to_string());
    }

    pub fn has_failed(&self) -> bool {
        !self.failures.is_empty()
    }

    /// Notes an error that the library returned.
    pub fn note(&mut self, error: &impl Display) {
        // What is said at each of a thousand tries is said once.
        let error = error.to_string();
        if !self.errors.contains(&error) {
            self.errors.push(error);
        }
    }

    /// Tries until it works. That it never works is a fault: one call failed once.
    pub fn retry<T>(&mut self, mut work: impl FnMut() -> multicast::Result<T>) -> Option<T> {
        for _ in 0..TRIES {
            match work() {
                Ok(value) => return Some(value),
                Err(error) => self.note(&error),
            }
        }
        self.failed("it does not work again after one failure");
        None
    }

    pub fn sender(&mut self, group: Group) -> Option<Sender> {
        self.retry(|| on_lo().open(group.family()))
    }

    /// Sends each packet until the library says that it was sent.
    pub fn send(&mut self, sender: &mut Sender, to: impl Into<Destination> + Copy, packets: &[&str]) {
        let end = Instant::now() + self.sending_patience();
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
                    return self.failed(format!("{packet} cannot be sent after one failure"));
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
        let (mut got, end) = (Vec::new(), Instant::now() + self.patience());
        // Whatever fails each time must not keep this loop going.
        while Instant::now() < end + SILENCE {
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
        self.judge(&got, expected);
    }

    /// That packets are missing may be right. That one comes twice, out of its order, or that nobody expects, is never.
    pub fn judge(&mut self, got: &[String], expected: &[&str]) {
        let mut rest = expected.iter();
        let is_part = got.iter().all(|packet| rest.any(|expected| packet == expected));
        let why = format!("{got:?} came, not {expected:?}");
        match (got == expected, is_part) {
            (true, _) => {}
            (false, true) => self.failed(why),
            (false, false) => self.bad(why),
        }
    }

    /// Expects these packets at a receiver.
    pub fn expect_at<F: Filter>(&mut self, receiver: &mut Receiver<F>, expected: &[&str]) {
        let Some(poller) = self.poller_for(receiver) else { return };
        let mut buffer = [0; 2048];
        self.expect(expected, &poller, || Ok(heard(&receiver.recv_into(&mut buffer)?)));
    }

    /// What failed in silence, and what must never be.
    fn faults(&self) -> Vec<&str> {
        let is_excused = self.is_lasting && !self.errors.is_empty();
        let failures = if is_excused { &[] } else { self.failures.as_slice() };
        self.faults.iter().chain(failures).map(String::as_str).collect()
    }

    pub fn print(&self) {
        for error in &self.errors {
            println!("error {error}");
        }
        match self.faults().as_slice() {
            [] => println!("ok"),
            faults => println!("bad {}", faults.join("; ")),
        }
    }

    /// Whether nothing was wrong, and no error was reported.
    pub fn is_clean(&self) -> bool {
        self.errors.is_empty() && self.faults().is_empty() && self.failures.is_empty()
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
    SendOptions::new().interface(Interface::LOOPBACK).give_up_after(Duration::from_secs(1))
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
