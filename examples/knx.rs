//! KNXnet/IP, the network of buildings: searches for gateways, or is one, as far as searching goes.
//!
//! ```sh
//! cargo run --example knx -- search eth0
//! cargo run --example knx -- serve eth0 "My gateway"    # until its input ends
//! ```
//!
//! A search names the address and port that the answer must go to. So the port must be known before anything is sent.

mod common;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use common::{arguments, each_packet, print_answer, usage};
use multicast::filter::Prefix;
use multicast::{Bind, Family, Group, Interface, ListenOptions, Membership, Result, SendOptions, Ttl};

const SEARCH: [u8; 4] = [0x06, 0x10, 0x02, 0x01];
const RESPONSE: [u8; 4] = [0x06, 0x10, 0x02, 0x02];
/// Where in an answer the gateway's own address in the bus stands, and its name.
const BUS_ADDRESS: usize = 6 + 8 + 4;
const NAME: std::ops::Range<usize> = 6 + 8 + 24..6 + 8 + 54;

fn main() -> Result<()> {
    match arguments()[..] {
        ["search", interface] => search(interface.parse()?),
        ["serve", interface, name] => serve(interface.parse()?, name),
        _ => usage("knx search INTERFACE | serve INTERFACE NAME"),
    }
}

fn group() -> Result<Group> {
    Group::new([224, 0, 23, 12], 3671)
}

fn options(interface: Interface) -> SendOptions {
    SendOptions::new().interface(interface).ttl(Ttl::new(16))
}

/// An address and port, as it stands in messages.
fn endpoint(address: Ipv4Addr, port: u16) -> [u8; 8] {
    let ([a, b, c, d], [high, low]) = (address.octets(), port.to_be_bytes());
    [8, 1, a, b, c, d, high, low]
}

fn search(interface: Interface) -> Result<()> {
    let (mut sender, mut replies) = options(interface).open_with_replies::<512>(Family::V4)?;
    let IpAddr::V4(own) = interface.address(Family::V4)? else { return Ok(()) };
    let port = sender.local_addr()?.port();
    let question = [&SEARCH[..], &[0, 14], &endpoint(own, port)].concat();
    println!("search that names {own}:{port}: {:?}", sender.send(&question, group()?)?);
    each_packet(&mut replies, Some(Duration::from_secs(2)), |packet| {
        let answer = packet.payload();
        if let (true, Some(name), Some([high, low])) =
            (answer.starts_with(&RESPONSE), answer.get(NAME), answer.get(BUS_ADDRESS..BUS_ADDRESS + 2))
        {
            let name = String::from_utf8_lossy(name);
            println!("{}: {}.{}.{low} {}", packet.source(), high >> 4, high & 0x0f, name.trim_end_matches('\0'));
        }
        Ok(())
    })
}

fn serve(interface: Interface, name: &str) -> Result<()> {
    let wanted = ListenOptions::new().filter(Prefix(SEARCH)).answers();
    let mut listener = wanted.bind::<512>(Bind::Group(Membership::any(group()?).on(interface)))?;
    let mut sender = listener.sender(options(interface))?;
    let IpAddr::V4(own) = interface.address(Family::V4)? else { return Ok(()) };
    println!("listening");
    each_packet(&mut listener, None, |packet| {
        let Some(&[8, 1, a, b, c, d, high, low]) = packet.payload().get(6..14) else { return Ok(()) };
        let answer = answer(own, name);
        let answered = match SocketAddr::from(([a, b, c, d], u16::from_be_bytes([high, low]))) {
            // Behind a router that translates addresses, the searcher does not know its own, and names none.
            to if to.ip().is_unspecified() || to.port() == 0 => sender.reply(packet, &answer),
            // Not wherever a stranger wants it: an answer is longer than a search.
            to if to.ip() == packet.source().ip() => sender.send(&answer, to),
            _ => return Ok(()),
        };
        print_answer(format_args!("{}:", packet.source()), answered);
        Ok(())
    })
}

/// Where the gateway can be reached, what it is, and which services it has.
fn answer(own: Ipv4Addr, name: &str) -> Vec<u8> {
    let mut device = [0; 54];
    // Medium: twisted pair; no programming mode; address 1.1.250; project 0; serial number; multicast address.
    device[..9].copy_from_slice(&[54, 1, 2, 0, 0x11, 250, 0, 0, 0xfa]);
    device[14..18].copy_from_slice(&[224, 0, 23, 12]);
    let name = &name.as_bytes()[..name.len().min(29)];
    device[24..24 + name.len()].copy_from_slice(name);
    // Core, tunnelling and routing, in version 1.
    let services = [8, 2, 2, 1, 4, 1, 5, 1];
    [&RESPONSE[..], &[0, 76], &endpoint(own, 3671), &device, &services].concat()
}
