//! Listens or sends, as its arguments say: the smallest useful tool for a device.
//!
//! ```text
//! tiny-mcast listen GROUP PORT INTERFACE [PREFIX]    prints each packet (that begins with PREFIX) on a line, until killed
//! tiny-mcast send GROUP PORT INTERFACE PACKET..      sends each PACKET
//! ```
//! GROUP is an IPv4 or IPv6 address, INTERFACE a name as in `ip link`; to send to an IPv4 group, an address of the interface.
//! Status 1: an error of the kernel. Status 2: wrong arguments.
#![no_std]
#![no_main]

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::num::NonZeroU32;

use freestanding::{Arguments, Stream, exit, or_exit, print};
use multicast::filter::Prefix;
use multicast::{
    Bind, Events, Group, Interest, Interface, ListenOptions, Membership, Multicaster, Name, Poller, Progress, Received,
    SendOptions, Token,
};

const USAGE: &[u8] =
    b"usage: tiny-mcast listen GROUP PORT INTERFACE [PREFIX]\n       tiny-mcast send GROUP PORT INTERFACE PACKET..\n";

freestanding::program!(main);

fn main(mut arguments: Arguments) -> ! {
    let poller = or_exit(Poller::new());
    match arguments.next() {
        Some(b"listen") => listen(arguments, &poller),
        Some(b"send") => send(arguments, &poller),
        _ => usage(),
    }
}

#[cold]
fn usage() -> ! {
    print(Stream::Error, USAGE);
    exit(2)
}

/// The value of an argument; ends the program if there is none.
#[inline(always)]
fn or_usage<T>(value: Option<T>) -> T {
    value.unwrap_or_else(|| usage())
}

fn listen(mut arguments: Arguments, poller: &Poller) -> ! {
    let group = place(&mut arguments);
    let interface = Interface::Index(index(or_usage(arguments.next())));
    let filter = Prefix(arguments.next().unwrap_or(b""));
    // Bound to its interface, it needs no guard, also for IPv6. The kernel runs the filter.
    let options = ListenOptions::new().reuse_port(false).filter(filter);
    let mut listener = or_exit(options.bind::<1500>(Bind::Interface(Membership::any(group).on(interface))));
    let mut events = Events::<1>::new();
    or_exit(poller.register(&listener, Token(0), Interest::READABLE));
    loop {
        match or_exit(listener.recv()) {
            Received::Packet(packet) => {
                print(Stream::Output, packet.payload());
                print(Stream::Output, b"\n");
            }
            Received::Paused => {}
            Received::Empty => {
                or_exit(poller.poll(&mut events, None));
            }
        }
    }
}

fn send(mut arguments: Arguments, poller: &Poller) -> ! {
    let group = place(&mut arguments);
    let interface = or_usage(arguments.next());
    // Separate code for the families, so that each links only what it needs.
    let mut caster: Multicaster<Arguments> = match group.address() {
        IpAddr::V4(address) => {
            let group = or_usage(Group::known(IpAddr::V4(address), group.port()));
            let interface = Interface::Address(IpAddr::V4(or_usage(ipv4(interface))));
            or_exit(SendOptions::new().interface(interface).packets(group, arguments))
        }
        IpAddr::V6(address) => {
            let group = or_usage(Group::known(IpAddr::V6(address), group.port()));
            let interface = Interface::Index(index(interface));
            or_exit(SendOptions::new().interface(interface).packets(group, Words(arguments)))
        }
    };
    let mut events = Events::<1>::new();
    // One-shot, so that it does not end other waits.
    let writable = Interest::WRITABLE.oneshot();
    or_exit(poller.register(&caster, Token(0), writable));
    loop {
        match or_exit(caster.step()) {
            Progress::Done => exit(0),
            Progress::Wait(time) => drop(or_exit(poller.poll(&mut events, time))),
            Progress::Blocked => {
                or_exit(poller.reregister(&caster, Token(0), writable));
                or_exit(poller.poll(&mut events, None));
            }
            Progress::Sent(_) => {}
        }
    }
}

/// The same words as another type, so that the multicasters of the two families are compiled separately.
struct Words(Arguments);

impl IntoIterator for Words {
    type Item = &'static [u8];
    type IntoIter = Arguments;

    fn into_iter(self) -> Arguments {
        self.0
    }
}

/// The group: the next two arguments.
fn place(arguments: &mut Arguments) -> Group {
    let mut next = || or_usage(arguments.next());
    let address = or_usage(address(next()));
    or_usage(Group::known(address, or_usage(number(next(), 10))))
}

/// The index of the interface of this name.
fn index(name: &[u8]) -> NonZeroU32 {
    or_exit(or_usage(Name::from_ascii(name)).index())
}

/// An IPv4 or IPv6 address. The parser of `core` has a panic path.
fn address(text: &[u8]) -> Option<IpAddr> {
    match ipv4(text) {
        Some(address) => Some(IpAddr::V4(address)),
        None => ipv6(text).map(IpAddr::V6),
    }
}

fn ipv4(text: &[u8]) -> Option<Ipv4Addr> {
    let mut octets = [0; 4];
    let count = numbers(text, b'.', 10, &mut octets)?;
    // Each number is one byte, so its upper byte must be 0.
    match octets.map(u16::to_be_bytes) {
        [[0, a], [0, b], [0, c], [0, d]] if count == 4 => Some(Ipv4Addr::new(a, b, c, d)),
        _ => None,
    }
}

/// Eight numbers; `::` stands for some that are 0 (RFC 4291, section 2.2).
fn ipv6(text: &[u8]) -> Option<Ipv6Addr> {
    let (mut segments, mut behind) = ([0; 8], [0; 8]);
    match text.windows(2).position(|pair| pair == b"::") {
        None if numbers(text, b':', 16, &mut segments)? == 8 => {}
        None => return None,
        Some(gap) => {
            let before = numbers(text.get(..gap)?, b':', 16, &mut segments)?;
            let count = numbers(text.get(gap + 2..)?, b':', 16, &mut behind)?;
            if before + count >= 8 {
                return None;
            }
            for (to, from) in segments.iter_mut().rev().zip(behind.get(..count)?.iter().rev()) {
                *to = *from;
            }
        }
    }
    Some(Ipv6Addr::from(segments))
}

/// Reads numbers with separators between them; returns how many there were.
fn numbers(text: &[u8], separator: u8, base: u32, room: &mut [u16]) -> Option<usize> {
    let mut count = 0;
    if !text.is_empty() {
        for part in text.split(|byte| *byte == separator) {
            *room.get_mut(count)? = number(part, base)?;
            count += 1;
        }
    }
    Some(count)
}

/// A number of up to 16 bits.
fn number(text: &[u8], base: u32) -> Option<u16> {
    let mut number = 0_u32;
    for byte in text {
        number = number * base + char::from(*byte).to_digit(base)?;
        if number > u32::from(u16::MAX) {
            return None;
        }
    }
    if text.is_empty() { None } else { u16::try_from(number).ok() }
}
