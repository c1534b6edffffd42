//! CoAP (RFC 7252) with groups: asks all servers of a group at once and collects their answers, or is one of the servers.
//!
//! ```sh
//! cargo run --example coap -- get eth0 224.0.1.187:5683 hello
//! cargo run --example coap -- get eth0 [ff02::fd]:5683 .well-known/core
//! cargo run --example coap -- serve eth0 224.0.1.187:5683 hello "good day"    # until its input ends
//! ```

mod common;

use std::time::Duration;

use common::{arguments, each_packet, print_answer, usage};
use multicast::filter::Masked;
use multicast::{Group, Interface, ListenOptions, Membership, Result, SendOptions};

/// A request that wants no acknowledgement (NON), which is what may be sent to a group.
const NON: u8 = 0b0101_0000;
const GET: u8 = 0x01;
const CONTENT: u8 = 0x45;
const URI_PATH: u16 = 11;
const URI_QUERY: u16 = 15;
/// How long the answers may take: servers wait a random time of up to five seconds.
const LEISURE: Duration = Duration::from_secs(5);

fn main() -> Result<()> {
    match arguments()[..] {
        ["get", interface, group, path] => get(interface.parse()?, group.parse()?, path),
        ["serve", interface, group, path, text] => serve(interface.parse()?, group.parse()?, path, text),
        _ => usage("coap get INTERFACE GROUP PATH | serve INTERFACE GROUP PATH TEXT"),
    }
}

fn get(interface: Interface, group: Group, path: &str) -> Result<()> {
    let (mut sender, mut replies) = SendOptions::new().interface(interface).open_with_replies::<1500>(group.family())?;
    // The token tells which request an answer belongs to. Here it is the only one.
    let token = std::process::id().to_be_bytes();
    let question = [&[NON | token.len() as u8, GET, 0, 1], &token[..], &options(path)].concat();
    println!("{:?}", sender.send(&question, group)?);
    each_packet(&mut replies, Some(LEISURE), |packet| {
        match message(packet.payload()) {
            Some((code, [answered, _, text])) if answered == token => {
                println!("{}: {}.{:02} {}", packet.source(), code >> 5, code & 31, String::from_utf8_lossy(text));
            }
            _ => {}
        }
        Ok(())
    })
}

fn serve(interface: Interface, group: Group, path: &str, text: &str) -> Result<()> {
    let requests = Masked(0, [0xf0, 0xff], [NON, GET]);
    let mut listener = ListenOptions::new().filter(requests).answers().bind::<1500>(Membership::any(group).on(interface))?;
    let mut sender = listener.sender(SendOptions::new().interface(interface))?;
    println!("listening");
    let mut number = 0_u16;
    each_packet(&mut listener, None, |packet| {
        match message(packet.payload()) {
            Some((_, [token, options, _])) if path_of(options).as_deref() == Some(path) => {
                number = number.wrapping_add(1);
                let head = [NON | token.len() as u8, CONTENT];
                let answer = [&head[..], &number.to_be_bytes(), token, b"\xff", text.as_bytes()].concat();
                print_answer(format_args!("{}:", packet.source()), sender.reply(packet, &answer));
            }
            _ => println!("{}: asks for something else: no answer", packet.source()),
        }
        Ok(())
    })
}

/// The options for a path with a query: each part with the difference of its number to the one before, and its length.
fn options(path: &str) -> Vec<u8> {
    let (path, query) = path.split_once('?').map_or((path, None), |(path, query)| (path, Some(query)));
    let parts = path.split('/').map(|part| (URI_PATH, part)).chain(query.map(|query| (URI_QUERY, query)));
    let (mut bytes, mut before) = (Vec::new(), 0);
    for (number, part) in parts.filter(|(_, part)| !part.is_empty()) {
        let difference = (number - before) as u8;
        // From 13 on, lengths are written in a second byte.
        match part.len() {
            length @ ..13 => bytes.push(difference << 4 | length as u8),
            length => bytes.extend([difference << 4 | 13, (length - 13) as u8]),
        }
        bytes.extend(part.as_bytes());
        before = number;
    }
    bytes
}

/// A message: code, token, options, payload.
fn message(bytes: &[u8]) -> Option<(u8, [&[u8]; 3])> {
    let (head, rest) = bytes.split_first_chunk::<4>()?;
    let (token, rest) = rest.split_at_checked((head[0] & 0x0f).into())?;
    let mut parts = rest.splitn(2, |byte| *byte == 0xff);
    Some((head[1], [token, parts.next()?, parts.next().unwrap_or(&[])]))
}

/// The path that is asked for, without its query.
fn path_of(mut options: &[u8]) -> Option<String> {
    let (mut number, mut parts) = (0, Vec::new());
    while let Some((head, rest)) = options.split_first() {
        let (difference, rest) = extended(head >> 4, rest)?;
        let (length, rest) = extended(head & 0x0f, rest)?;
        let (value, rest) = rest.split_at_checked(length.into())?;
        number = difference.checked_add(number)?;
        if number == URI_PATH {
            parts.push(std::str::from_utf8(value).ok()?);
        }
        options = rest;
    }
    Some(parts.join("/"))
}

/// A number of four bits, which may go on in the next byte. No option here is so long that it needs two.
fn extended(number: u8, rest: &[u8]) -> Option<(u16, &[u8])> {
    match number {
        ..13 => Some((number.into(), rest)),
        13 => rest.split_first().map(|(next, rest)| (u16::from(*next) + 13, rest)),
        _ => None,
    }
}
