//! mDNS (RFC 6762), names without a server: asks for a name, or answers for one.
//!
//! ```sh
//! cargo run --example mdns -- query 4 eth0 lamp.local          # 4 or 6: IPv4 or IPv6
//! cargo run --example mdns -- legacy 4 eth0 lamp.local         # as a simple program does, from any port
//! cargo run --example mdns -- serve 4 lamp.local eth0 eth1     # until its input ends
//! ```

mod common;

use std::net::IpAddr;
use std::time::Duration;

use common::{arguments, each_packet, print_answer, usage};
use multicast::filter::Hops;
use multicast::{Bind, Destination, Family, Group, Interface, ListenOptions, Membership, Result, SendOptions, Ttl};
use simple_dns::rdata::{A, AAAA, RData};
use simple_dns::{CLASS, Name, Packet as Message, PacketFlag, QCLASS, QTYPE, Question, ResourceRecord, TYPE};

const PORT: u16 = 5353;

fn main() -> Result<()> {
    match arguments()[..] {
        ["query", family, link, name] => ask(group(family)?, link.parse()?, name, true),
        ["legacy", family, link, name] => ask(group(family)?, link.parse()?, name, false),
        ["serve", family, name, ref links @ ..] => serve(group(family)?, name, links),
        _ => usage("mdns query|legacy 4|6 INTERFACE NAME | serve 4|6 NAME INTERFACE .."),
    }
}

fn group(family: &str) -> Result<Group> {
    if family == "6" { "[ff02::fb]:5353".parse() } else { "224.0.0.251:5353".parse() }
}

/// Everything leaves with 255 hops. A question that arrives with fewer came through a router, and gets no answer.
fn options() -> SendOptions {
    SendOptions::new().ttl(Ttl::UNRESTRICTED).unicast_ttl(255)
}

/// A question for the address of this name; `QU`, if the answer may come by unicast.
fn question(group: Group, name: &str, is_unicast: bool) -> Vec<u8> {
    let kind = if group.family() == Family::V4 { TYPE::A } else { TYPE::AAAA };
    let mut message = Message::new_query(if is_unicast { 0 } else { 0x1234 });
    let name = Name::new_unchecked(name);
    message.questions.push(Question::new(name, QTYPE::TYPE(kind), QCLASS::CLASS(CLASS::IN), is_unicast));
    message.build_bytes_vec().unwrap_or_default()
}

/// Asks, and prints the answers of two seconds. A full member has port 5353, where it hears answers to the group and to itself. Their
/// hops are not checked, since some responders, such as Python's zeroconf, send unicast with 64.
fn ask(group: Group, link: Interface, name: &str, is_member: bool) -> Result<()> {
    let options = options().interface(link);
    let (mut sender, mut listener) = if is_member {
        let mut listener = ListenOptions::new().unicast().bind::<9000>(Bind::Port(PORT, group.family()))?;
        listener.join(&Membership::any(group).on(link))?;
        (listener.sender(options)?, listener)
    } else {
        options.open_with_replies(group.family())?
    };
    println!("{:?}", sender.send(&question(group, name, is_member), group)?);
    each_packet(&mut listener, Some(Duration::from_secs(2)), |packet| {
        let Ok(message) = Message::parse(packet.payload()) else { return Ok(()) };
        let sent_to = packet.metadata().and_then(|metadata| metadata.destination);
        let way = if sent_to.is_some_and(|address| address.is_multicast()) { "multicast" } else { "unicast" };
        for record in &message.answers {
            let address = match record.rdata {
                RData::A(A { address }) => IpAddr::V4(address.into()),
                RData::AAAA(AAAA { address }) => IpAddr::V6(address.into()),
                _ => continue,
            };
            println!("{} by {way}, id {}: {} is {address}", packet.source(), message.id(), record.name);
        }
        Ok(())
    })
}

/// Answers on each link with the address there. It is bound to the group, so others on the port, as avahi, keep their unicast.
fn serve(group: Group, name: &str, links: &[&str]) -> Result<()> {
    let mut listener = ListenOptions::new().filter(Hops(255..)).answers().bind::<9000>(Bind::Later(group))?;
    let first = links.first().unwrap_or(&"lo").parse()?;
    let mut sender = listener.sender(options().interface(first))?;
    let (name, mut own) = (Name::new_unchecked(name), Vec::new());
    for link in links {
        let link: Interface = link.parse()?;
        listener.join(&Membership::any(group).on(link))?;
        own.push((link.index()?, link.address(group.family())?));
    }
    println!("listening");
    each_packet(&mut listener, None, |packet| {
        let arrived_on = packet.metadata().and_then(|metadata| metadata.interface);
        let Some((index, address)) = own.iter().find(|(index, _)| Some(*index) == arrived_on) else { return Ok(()) };
        let Ok(asked) = Message::parse(packet.payload()) else { return Ok(()) };
        let is_simple = packet.source().port() != PORT;
        let Some(answer) = answer(&asked, &name, *address, is_simple) else { return Ok(()) };
        let answered = if is_simple || asked.questions.iter().all(|question| question.unicast_response) {
            sender.reply(packet, &answer)
        } else {
            Destination::from(group).on(Interface::Index(*index)).and_then(|to| sender.send(&answer, to))
        };
        print_answer(format_args!("{} on {index}:", packet.source()), answered);
        Ok(())
    })
}

/// Our record, if somebody asks for its name.
fn answer(asked: &Message<'_>, name: &Name<'_>, address: IpAddr, is_simple: bool) -> Option<Vec<u8>> {
    let is_ours = !asked.has_flags(PacketFlag::RESPONSE) && asked.questions.iter().any(|question| question.qname == *name);
    // Simple programs get their question back, and may keep the answer only for a short time.
    let mut message = Message::new_reply(if is_simple { asked.id() } else { 0 });
    message.set_flags(PacketFlag::AUTHORITATIVE_ANSWER);
    message.questions.extend(asked.questions.iter().filter(|_| is_simple).cloned());
    let data = match address {
        IpAddr::V4(address) => RData::A(A { address: address.into() }),
        IpAddr::V6(address) => RData::AAAA(AAAA { address: address.into() }),
    };
    let record = ResourceRecord::new(name.clone(), CLASS::IN, if is_simple { 10 } else { 120 }, data);
    message.answers.push(record.with_cache_flush(!is_simple));
    message.build_bytes_vec().ok().filter(|_| is_ours)
}
