//! SAP (RFC 2974), which announces streams: prints what is announced, or announces a session.
//!
//! ```sh
//! cargo run --example sap -- listen eth0
//! cargo run --example sap -- announce eth0 "My film" 239.1.1.1:5004
//! ```

mod common;

use std::net::IpAddr;
use std::time::Duration;

use common::{arguments, each_packet, usage};
use multicast::filter::Masked;
use multicast::{Family, Group, Interface, ListenOptions, Membership, Outcome, Result, SendOptions};

/// Announcements are sent again and again: here each second, for half a minute.
const INTERVAL: Duration = Duration::from_secs(1);
const TIMES: u32 = 30;

fn main() -> Result<()> {
    match arguments()[..] {
        ["listen", interface] => listen(interface.parse()?),
        ["announce", interface, name, stream] => announce(interface.parse()?, name, stream.parse()?),
        _ => usage("sap listen INTERFACE | announce INTERFACE NAME GROUP"),
    }
}

fn group() -> Result<Group> {
    Group::new([224, 2, 127, 254], 9875)
}

fn listen(interface: Interface) -> Result<()> {
    // Version 1, IPv4, neither encrypted nor compressed: an announcement, or the end of one.
    let wanted = Masked(0, [0b1111_1011], [0b0010_0000]);
    let mut listener = ListenOptions::new().filter(wanted).bind::<1500>(Membership::any(group()?).on(interface))?;
    println!("listening");
    each_packet(&mut listener, None, |packet| {
        match session(packet.payload()) {
            Some((true, text)) => println!("{}: {}", packet.source(), text.replace("\r\n", " ")),
            Some((false, _)) => println!("{}: a session has ended", packet.source()),
            None => println!("{}: no SDP", packet.source()),
        }
        Ok(())
    })
}

/// Whether the session goes on, and its description (SDP), which comes after the header and, mostly, its type.
fn session(packet: &[u8]) -> Option<(bool, String)> {
    let goes_on = packet.first()? & 0b100 == 0;
    let text = packet.get(8 + 4 * usize::from(*packet.get(1)?)..)?;
    let text = text.strip_prefix(b"application/sdp\0").unwrap_or(text);
    Some((goes_on, String::from_utf8_lossy(text).into_owned()))
}

fn announce(interface: Interface, name: &str, stream: Group) -> Result<()> {
    let IpAddr::V4(own) = interface.address(Family::V4)? else { return Ok(()) };
    let (address, port) = (stream.address(), stream.port());
    // Type 33 is MPEG-TS in RTP.
    let text =
        format!("v=0\r\no=- 1 1 IN IP4 {own}\r\ns={name}\r\nc=IN IP4 {address}/1\r\nt=0 0\r\nm=video {port} RTP/AVP 33\r\n");
    let hash = (text.bytes().fold(1_u16, |sum, byte| sum.rotate_left(1) ^ u16::from(byte))).to_be_bytes();
    let announcement = [&[0x20, 0][..], &hash, &own.octets(), b"application/sdp\0", text.as_bytes()].concat();
    let mut end = announcement.clone();
    end[0] |= 0b100;

    let mut sender = SendOptions::new().interface(interface).open(Family::V4)?;
    for packet in std::iter::repeat_n(&announcement, TIMES as usize).chain([&end]) {
        while let Outcome::Blocked | Outcome::Wait(_) = sender.send(packet, group()?)? {
            std::thread::sleep(Duration::from_millis(1));
        }
        println!("announced from port {}", sender.local_addr()?.port());
        std::thread::sleep(INTERVAL);
    }
    Ok(())
}
