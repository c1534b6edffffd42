//! Listens or sends, as its arguments say: the smallest tool that is of use on a device.
//!
//! ```text
//! tiny-mcast listen GROUP PORT INTERFACE [PREFIX]    prints each packet (that begins with PREFIX), a line each, until killed
//! tiny-mcast send GROUP PORT INTERFACE PACKET..      sends each PACKET
//! ```
//! GROUP is an IPv4 or IPv6 address, INTERFACE a name. A refusal of the kernel is told by its number: `errno(1)` has the words.
#![no_std]
#![no_main]

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use freestanding::{Arguments, Stream, exit, print};
use multicast::filter::Prefix;
use multicast::{
    Error, Events, Group, Interest, Interface, ListenOptions, Membership, Name, Poller, Progress, Received, SendOptions,
    Token,
};

const USAGE: &[u8] =
    b"usage: tiny-mcast listen GROUP PORT INTERFACE [PREFIX]\n       tiny-mcast send GROUP PORT INTERFACE PACKET..\n";

freestanding::program!(main);

fn main(mut arguments: Arguments) -> ! {
    let result = match arguments.next() {
        Some(b"listen") => listen(&mut arguments),
        Some(b"send") => send(&mut arguments),
        _ => Err(Failure::Usage),
    };
    match result {
        Ok(()) => exit(0),
        Err(Failure::Usage) => {
            print(Stream::Error, USAGE);
            exit(2)
        }
        Err(Failure::Refused(errno)) => {
            print(Stream::Error, b"tiny-mcast: refused, errno ");
            print_number(errno);
            exit(1)
        }
    }
}

enum Failure {
    /// The arguments make no sense.
    Usage,
    /// The kernel refused something, with this errno.
    Refused(u32),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        // Without an errno the crate has refused an argument.
        error.raw_os_error().map_or(Self::Usage, |errno| Self::Refused(errno.unsigned_abs()))
    }
}

fn listen(arguments: &mut Arguments) -> Result<(), Failure> {
    let (group, name) = place(arguments)?;
    let filter = Prefix(arguments.next().unwrap_or(b""));
    let membership = Membership::any(group).on(Interface::Name(name));
    let mut listener = ListenOptions::new().reuse_port(false).kernel_filter(false).filter(filter).bind::<1500>(membership)?;
    let (poller, mut events) = (Poller::new()?, Events::<1>::new());
    poller.register(&listener, Token(0), Interest::READABLE)?;
    loop {
        poller.poll(&mut events, None)?;
        while let Received::Packet(packet) = listener.recv()? {
            print(Stream::Output, packet.payload());
            print(Stream::Output, b"\n");
        }
    }
}

fn send(arguments: &mut Arguments) -> Result<(), Failure> {
    let (group, name) = place(arguments)?;
    let mut caster = SendOptions::new().interface(Interface::Name(name)).packets(group, arguments)?;
    let (poller, mut events) = (Poller::new()?, Events::<1>::new());
    // One-shot, so that it does not end the other waits.
    let writable = Interest::WRITABLE.oneshot();
    poller.register(&caster, Token(0), writable)?;
    loop {
        match caster.step()? {
            Progress::Done => return Ok(()),
            Progress::Wait(time) => drop(poller.poll(&mut events, time)?),
            Progress::Blocked => {
                poller.reregister(&caster, Token(0), writable)?;
                poller.poll(&mut events, None)?;
            }
            _ => {}
        }
    }
}

/// Group and interface, the first three arguments.
fn place(arguments: &mut Arguments) -> Result<(Group, Name), Failure> {
    let mut next = || arguments.next().ok_or(Failure::Usage);
    let address = address(next()?).ok_or(Failure::Usage)?;
    let port = number(next()?, 10).ok_or(Failure::Usage)?;
    let name = str::from_utf8(next()?).map_err(|_| Failure::Usage)?;
    Ok((Group::new(address, port)?, Name::new(name)?))
}

/// An IPv4 or IPv6 address. The parser of `core` has a panic path.
fn address(text: &[u8]) -> Option<IpAddr> {
    if text.contains(&b':') { ipv6(text).map(IpAddr::V6) } else { ipv4(text).map(IpAddr::V4) }
}

fn ipv4(text: &[u8]) -> Option<Ipv4Addr> {
    let mut octets = [0; 4];
    let mut parts = text.split(|byte| *byte == b'.');
    for octet in &mut octets {
        *octet = u8::try_from(number(parts.next()?, 10)?).ok()?;
    }
    parts.next().is_none().then_some(Ipv4Addr::from_octets(octets))
}

/// Eight numbers, of which `::` may stand for some that are 0 (RFC 4291, section 2.2).
fn ipv6(text: &[u8]) -> Option<Ipv6Addr> {
    // The numbers before and behind the gap, how many they are, and how many of them stand before it.
    let (mut before, mut after, mut count, mut gap) = (0_u128, 0_u128, 0_u32, None);
    let mut rest = text;
    if let Some(behind) = text.strip_prefix(b"::") {
        (rest, gap) = (behind, Some(0));
    }
    while !rest.is_empty() {
        let end = rest.iter().position(|byte| *byte == b':').unwrap_or(rest.len());
        let (digits, behind) = rest.split_at_checked(end)?;
        let half = if gap.is_some() { &mut after } else { &mut before };
        *half = (*half << 16) | u128::from(number(digits, 16)?);
        count += 1;
        rest = match behind {
            // A colon at the end joins nothing.
            [] | [b':'] if count > 8 || !behind.is_empty() => return None,
            [] => behind,
            [b':', b':', behind @ ..] if gap.is_none() => {
                gap = Some(count);
                behind
            }
            [_, behind @ ..] => behind,
        };
    }
    match gap {
        None if count == 8 => {}
        Some(gap) if count < 8 => {
            // Not in one step, for which a processor has no instruction.
            for _ in gap..8 {
                before <<= 16;
            }
        }
        _ => return None,
    }
    Some(Ipv6Addr::from_bits(before | after))
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

fn print_number(number: u32) {
    let (mut text, mut rest) = (*b"          \n", number);
    for digit in text.iter_mut().rev().skip(1) {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    print(Stream::Error, text.trim_ascii_start());
}
