//! Shared by the tests and the fuzz targets of kernel filters: an interpreter for classic BPF, and filters and packets from
//! bytes.

// Each user compiles its own copy and uses a part of it.
#![allow(dead_code, unreachable_pub)]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use multicast::Family;
use multicast::filter::kernel::{Assembler, Fit, Instruction, Listing};
use multicast::filter::{
    Always, And, At, Contains, Filter, Hops, Length, Masked, Never, Not, Or, Port, Prefix, Source, Subnet, Suffix, by,
};

/// A datagram as it was received.
#[derive(Clone, Debug)]
pub struct Sent {
    pub payload: Vec<u8>,
    pub source: SocketAddr,
    pub destination: IpAddr,
    pub interface: u32,
    /// The remaining hop limit, or time to live.
    pub hop_limit: u8,
}

impl Sent {
    /// What a program sees from offset 0 on: UDP header and payload.
    fn datagram(&self) -> Vec<u8> {
        let length = (self.payload.len() + 8) as u16;
        let header = [self.source.port().to_be_bytes(), [0x12, 0x34], length.to_be_bytes(), [0, 0]].concat();
        [&header, &self.payload[..]].concat()
    }

    /// The network header, followed by the datagram.
    fn network(&self) -> Vec<u8> {
        let header = match (self.source.ip(), self.destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                [&[0x45; 8][..], &[self.hop_limit; 1], &[0x45; 3], &source.octets(), &destination.octets()].concat()
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                [&[0x60; 7][..], &[self.hop_limit; 1], &source.octets(), &destination.octets()].concat()
            }
            mixed => panic!("families are mixed: {mixed:?}"),
        };
        [header, self.datagram()].concat()
    }
}

/// Runs a program as the kernel does, and checks what the kernel checks when it is attached. Returns how many bytes of the
/// datagram it passes.
pub fn run(program: &[Instruction], sent: &Sent) -> u32 {
    let (datagram, network) = (sent.datagram(), sent.network());
    let (mut a, mut x, mut line) = (0_u32, 0_u32, 0_usize);
    let load = |at: u32, size: usize| -> Option<u32> {
        let (bytes, at) = match at {
            0xffff_f008 => return Some(sent.interface),
            0xfff0_0000.. => (&network, (at - 0xfff0_0000) as usize),
            _ => (&datagram, at as usize),
        };
        let bytes = bytes.get(at..at.checked_add(size)?)?;
        Some(bytes.iter().fold(0, |number, byte| number << 8 | u32::from(*byte)))
    };
    loop {
        let instruction = program.get(line).unwrap_or_else(|| panic!("it runs out at {line}:\n{}", Listing(program)));
        let (code, if_true, if_false, k) = instruction.parts();
        line += 1;
        let mut jump = |is_so: bool| line += usize::from(if is_so { if_true } else { if_false });
        // A load beyond the end rejects the packet.
        let loaded = match code {
            0x20 => load(k, 4),
            0x28 => load(k, 2),
            0x30 => load(k, 1),
            0x40 => load(x.wrapping_add(k), 4),
            0x48 => load(x.wrapping_add(k), 2),
            0x50 => load(x.wrapping_add(k), 1),
            0x00 => Some(k),
            0x80 => Some(datagram.len() as u32),
            0x54 => Some(a & k),
            _ => {
                match code {
                    0x01 => x = k,
                    0x07 => x = a,
                    0x05 => line += k as usize,
                    0x15 => jump(a == k),
                    0x25 => jump(a > k),
                    0x35 => jump(a >= k),
                    0x06 => return k,
                    _ => panic!("no instruction of ours: {code:#x}"),
                }
                continue;
            }
        };
        match loaded {
            Some(number) => a = number,
            None => return 0,
        }
    }
}

/// Pseudo-random numbers, the same in every run.
pub fn noise(seed: u64, count: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 24) as u8
    };
    (0..count).map(|_| next()).collect()
}

/// Bytes from which filters and packets are generated; zeros when they are used up.
#[derive(Clone, Debug)]
pub struct Bytes<'b>(pub &'b [u8]);

impl Bytes<'_> {
    pub fn next(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    pub fn below(&mut self, limit: usize) -> usize {
        usize::from(u16::from_be_bytes([self.next(), self.next()])) % limit
    }

    pub fn choose<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    /// A few letters of an alphabet of two, so that packets often match filters; sometimes many.
    pub fn text(&mut self) -> Vec<u8> {
        let length = match self.next() {
            0..=239 => self.below(6),
            240..=250 => self.below(70),
            _ => self.below(700),
        };
        if length < 12 {
            return (0..length).map(|_| b'a' + self.next() % 2).collect();
        }
        let mut text = vec![b'a'; length];
        let place = self.below(2 * length);
        text.iter_mut().skip(place).take(1).for_each(|byte| *byte = b'b');
        text
    }
}

/// The addresses of the packets, and of their senders.
#[derive(Clone, Debug)]
pub struct World {
    pub family: Family,
    pub sources: Vec<SocketAddr>,
    pub destination: IpAddr,
    pub interface: u32,
}

impl World {
    pub fn v4() -> Self {
        let sources = ["192.0.2.1:1900", "192.0.2.200:1901", "198.51.100.1:1900"];
        Self {
            family: Family::V4,
            sources: sources.map(|source| source.parse().unwrap()).to_vec(),
            destination: Ipv4Addr::new(239, 1, 2, 3).into(),
            interface: 1,
        }
    }

    pub fn v6() -> Self {
        let sources = ["[2001:db8::1]:1900", "[2001:db8::ffff]:1901", "[::ffff:192.0.2.1]:1900", "[fe80::1]:1901"];
        Self {
            family: Family::V6,
            sources: sources.map(|source| source.parse().unwrap()).to_vec(),
            destination: Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x4242).into(),
            interface: 1,
        }
    }

    pub fn packet(&self, bytes: &mut Bytes<'_>) -> Sent {
        Sent {
            source: bytes.choose(&self.sources),
            payload: bytes.text(),
            destination: self.destination,
            interface: self.interface,
            hop_limit: bytes.choose(&HOP_LIMITS),
        }
    }
}

/// The hop limits of packets, and those that filters test for.
const HOP_LIMITS: [u8; 5] = [0, 1, 64, 254, 255];

/// A filter made of filters.
#[derive(Clone, Debug)]
pub enum Tree {
    Always,
    Never,
    Prefix(Vec<u8>),
    Suffix(Vec<u8>),
    Contains(Vec<u8>),
    At(usize, Vec<u8>),
    Masked(usize, Vec<u8>, Vec<u8>),
    Length(usize, usize),
    Source(Subnet),
    Port(u16),
    Hops(u8, u8),
    /// A closure, which the kernel cannot run: whether the packet has an even length.
    Even,
    And(Box<Self>, Box<Self>),
    Or(Box<Self>, Box<Self>),
    Not(Box<Self>),
}

impl Tree {
    pub fn grow(bytes: &mut Bytes<'_>, world: &World, depth: u32) -> Self {
        let sub = |bytes: &mut Bytes<'_>| Box::new(Self::grow(bytes, world, depth - 1));
        match bytes.below(if depth == 0 { 13 } else { 26 }) {
            0 => Self::Always,
            1 => Self::Never,
            2 | 3 => Self::Prefix(bytes.text()),
            4 => Self::Suffix(bytes.text()),
            5 => Self::Contains(bytes.text()),
            6 => Self::At(bytes.below(4), bytes.text()),
            7 => {
                let masks = [0, 1, 2, 3, 0xff, 0xff];
                Self::Masked(bytes.below(4), (0..bytes.below(7)).map(|_| bytes.choose(&masks)).collect(), bytes.text())
            }
            8 => {
                let first = bytes.below(8);
                Self::Length(first, bytes.choose(&[first, 2, 6, 100, 65_535, usize::MAX]))
            }
            9 => {
                let network = bytes.choose(&world.sources).ip();
                let most = if network.is_ipv4() { 32 } else { 128 };
                Self::Source(Subnet::new(network, bytes.choose(&[0, 1, 20, 24, 25, 31, 32, most, most - 1])).unwrap())
            }
            10 => Self::Port(bytes.choose(&world.sources).port()),
            11 => Self::Even,
            12 => Self::Hops(bytes.choose(&HOP_LIMITS), bytes.choose(&HOP_LIMITS)),
            13..=16 => Self::And(sub(bytes), sub(bytes)),
            17..=20 => Self::Or(sub(bytes), sub(bytes)),
            _ => Self::Not(sub(bytes)),
        }
    }
}

/// Whether a payload has an even length.
fn even() -> impl Filter {
    by(|payload: &[u8], _| payload.len().is_multiple_of(2))
}

macro_rules! ask {
    ($tree:expr, $filter:ident => $question:expr) => {
        match $tree {
            Tree::Always => {
                #[allow(unused_mut)]
                let mut $filter = Always;
                $question
            }
            Tree::Never => {
                #[allow(unused_mut)]
                let mut $filter = Never;
                $question
            }
            Tree::Prefix(bytes) => {
                #[allow(unused_mut)]
                let mut $filter = Prefix(bytes);
                $question
            }
            Tree::Suffix(bytes) => {
                #[allow(unused_mut)]
                let mut $filter = Suffix(bytes);
                $question
            }
            Tree::Contains(bytes) => {
                #[allow(unused_mut)]
                let mut $filter = Contains(bytes);
                $question
            }
            Tree::At(offset, bytes) => {
                #[allow(unused_mut)]
                let mut $filter = At(*offset, bytes);
                $question
            }
            Tree::Masked(offset, mask, value) => {
                #[allow(unused_mut)]
                let mut $filter = Masked(*offset, mask, value);
                $question
            }
            Tree::Length(least, most) => {
                #[allow(unused_mut)]
                let mut $filter = Length(*least..=*most);
                $question
            }
            Tree::Source(subnet) => {
                #[allow(unused_mut)]
                let mut $filter = Source(*subnet);
                $question
            }
            Tree::Port(port) => {
                #[allow(unused_mut)]
                let mut $filter = Port(*port);
                $question
            }
            Tree::Hops(least, most) => {
                #[allow(unused_mut)]
                let mut $filter = Hops(*least..=*most);
                $question
            }
            Tree::Even => {
                #[allow(unused_mut)]
                let mut $filter = even();
                $question
            }
            Tree::And(a, b) => {
                #[allow(unused_mut)]
                let mut $filter = And((**a).clone(), (**b).clone());
                $question
            }
            Tree::Or(a, b) => {
                #[allow(unused_mut)]
                let mut $filter = Or((**a).clone(), (**b).clone());
                $question
            }
            Tree::Not(a) => {
                #[allow(unused_mut)]
                let mut $filter = Not((**a).clone());
                $question
            }
        }
    };
}

impl Filter for Tree {
    fn accepts(&mut self, payload: &[u8], source: SocketAddr) -> bool {
        ask!(&*self, filter => filter.accepts(payload, source))
    }

    fn needs_hop_limit(&self) -> bool {
        ask!(self, filter => filter.needs_hop_limit())
    }

    fn accepts_with_hop_limit(&mut self, payload: &[u8], source: SocketAddr, hop_limit: u8) -> bool {
        ask!(&*self, filter => filter.accepts_with_hop_limit(payload, source, hop_limit))
    }

    fn compile(&self, code: &mut Assembler<'_>) -> Fit {
        ask!(self, filter => filter.compile(code))
    }
}

/// The program of a filter.
#[derive(Debug, PartialEq)]
pub struct Program {
    pub instructions: Vec<Instruction>,
    pub fit: Fit,
}

impl Program {
    /// A program of at most this many instructions, for packets that are cut at `mtu` bytes.
    pub fn of<F: Filter + ?Sized>(filter: &F, room: usize, mtu: usize, family: Family) -> Self {
        let mut buffer = vec![Instruction::ZERO; room];
        let mut code = Assembler::new(&mut buffer, mtu, family);
        let fit = filter.compile(&mut code);
        Self { instructions: code.instructions().to_vec(), fit }
    }
}

impl std::fmt::Display for Program {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        Listing(&self.instructions).fmt(f)
    }
}

/// Asserts that the program passes every packet that the filter accepts, and no other if it is exact.
pub fn assert_sound<F: Filter + std::fmt::Debug>(filter: &mut F, code: &Assembler<'_>, fit: Fit, sent: &Sent) -> bool {
    let seen = &sent.payload[..sent.payload.len().min(code.mtu())];
    let accepted = filter.accepts_with_hop_limit(seen, sent.source, sent.hop_limit);
    let accepts_unknown = filter.accepts(seen, sent.source);
    assert!(accepted || !accepts_unknown, "{filter:?} rejects {sent:?}, and accepts it if the hop limit is unknown");
    assert!(accepted == accepts_unknown || filter.needs_hop_limit(), "{filter:?} depends on it and does not say so");
    let verdict = run(code.instructions(), sent);
    assert!(verdict == 0 || verdict == u32::MAX, "a packet is let through as it is, or not at all");
    let passes = verdict != 0;
    let is_sound = passes == accepted || (passes && fit == Fit::Superset);
    let program = Listing(code.instructions());
    assert!(is_sound, "{filter:?}, mtu {}: {fit:?}, {accepted}, {passes}\n{sent:?}\n{program}", code.mtu());
    accepted
}
