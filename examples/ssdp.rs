//! SSDP, by which UPnP devices are found: searches for devices, hears what they announce, or is a device.
//!
//! ```sh
//! cargo run --example ssdp -- search eth0 upnp:rootdevice
//! cargo run --example ssdp -- listen eth0
//! cargo run --example ssdp -- serve eth0 urn:example:device:lamp:1 http://192.0.2.1/lamp.xml    # until its input ends
//! ```

mod common;

use std::time::Duration;

use common::{arguments, each_packet, print_answer, usage};
use multicast::filter::Prefix;
use multicast::{Family, Group, Interface, ListenOptions, Membership, Result, SendOptions, Ttl};

fn main() -> Result<()> {
    match arguments()[..] {
        ["search", interface, target] => search(interface.parse()?, target),
        ["listen", interface] => listen(interface.parse()?),
        ["serve", interface, target, location] => serve(interface.parse()?, target, location),
        _ => usage("ssdp search INTERFACE TARGET | listen INTERFACE | serve INTERFACE TARGET LOCATION"),
    }
}

fn group() -> Result<Group> {
    Group::new([239, 255, 255, 250], 1900)
}

/// The UPnP architecture recommends two hops.
fn options(interface: Interface) -> SendOptions {
    SendOptions::new().interface(interface).ttl(Ttl::new(2))
}

/// Asks the group, and collects the answers: they come to the port that the question came from.
fn search(interface: Interface, target: &str) -> Result<()> {
    let (mut sender, mut replies) = options(interface).open_with_replies::<1500>(Family::V4)?;
    // MX: devices answer after a random time of up to one second.
    let head = "M-SEARCH * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\nMAN: \"ssdp:discover\"\r\nMX: 1\r\nST: ";
    println!("{:?}", sender.send(format!("{head}{target}\r\n\r\n").as_bytes(), group()?)?);
    each_packet(&mut replies, Some(Duration::from_millis(2500)), |packet| {
        let field = |name| field(packet.payload(), name).unwrap_or_default();
        println!("{}: {} at {}", packet.source(), field("USN"), field("LOCATION"));
        Ok(())
    })
}

fn listen(interface: Interface) -> Result<()> {
    let options = ListenOptions::new().filter(Prefix("NOTIFY "));
    let mut listener = options.bind::<1500>(Membership::any(group()?).on(interface))?;
    println!("listening");
    each_packet(&mut listener, None, |packet| {
        let field = |name| field(packet.payload(), name).unwrap_or_default();
        println!("{}: {} {}", packet.source(), field("NTS"), field("USN"));
        Ok(())
    })
}

/// A device: announces itself, answers those who search for it, and says goodbye. All of that leaves from port 1900.
fn serve(interface: Interface, target: &str, location: &str) -> Result<()> {
    let usn = format!("uuid:4d756c74-6963-6173-7421-000000000001::{target}");
    let about = format!("CACHE-CONTROL: max-age=1800\r\nLOCATION: {location}\r\nSERVER: Linux/6 UPnP/1.0 multicast/0.1\r\n");
    let notify = format!("NOTIFY * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\nNT: {target}\r\nUSN: {usn}\r\n");
    let answer = format!("HTTP/1.1 200 OK\r\n{about}EXT:\r\nST: {target}\r\nUSN: {usn}\r\n\r\n");

    let listening = ListenOptions::new().filter(Prefix("M-SEARCH ")).answers();
    let mut listener = listening.bind::<1500>(Membership::any(group()?).on(interface))?;
    let mut sender = listener.sender(options(interface))?;
    let _ = sender.send(format!("{notify}{about}NTS: ssdp:alive\r\n\r\n").as_bytes(), group()?)?;
    println!("listening");
    each_packet(&mut listener, None, |packet| {
        if field(packet.payload(), "ST").is_some_and(|wanted| wanted == target || wanted == "ssdp:all") {
            print_answer(format_args!("{}:", packet.source()), sender.reply(packet, answer.as_bytes()));
        }
        Ok(())
    })?;
    println!("{:?}", sender.send(format!("{notify}NTS: ssdp:byebye\r\n\r\n").as_bytes(), group()?)?);
    Ok(())
}

/// The value of a header field. Names may be in upper and lower case.
fn field<'p>(packet: &'p [u8], name: &str) -> Option<&'p str> {
    let lines = std::str::from_utf8(packet).ok()?.lines();
    let (_, value) = lines.filter_map(|line| line.split_once(':')).find(|(key, _)| key.eq_ignore_ascii_case(name))?;
    Some(value.trim())
}
