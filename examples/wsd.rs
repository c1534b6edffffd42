//! WS-Discovery, by which Windows, printers and cameras (ONVIF) find devices: searches for them, or is one.
//!
//! ```sh
//! cargo run --example wsd -- probe eth0
//! cargo run --example wsd -- serve eth0    # until its input ends
//! ```
//!
//! Messages are XML. A program that does more than this needs a parser for it.

mod common;

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use common::{arguments, each_packet, print_answer, usage};
use multicast::filter::Contains;
use multicast::{Family, Group, Interface, ListenOptions, Membership, Result, SendOptions};

const DEVICE: &str = "urn:uuid:4d756c74-6963-6173-7421-000000000002";
const ALL: &str = "urn:schemas-xmlsoap-org:ws:2005:04:discovery";

fn main() -> Result<()> {
    match arguments()[..] {
        ["probe", interface] => probe(interface.parse()?),
        ["serve", interface] => serve(interface.parse()?),
        _ => usage("wsd probe INTERFACE | serve INTERFACE"),
    }
}

fn group() -> Result<Group> {
    Group::new([239, 255, 255, 250], 3702)
}

/// Asks all devices. They answer to the port that the question came from, after up to half a second.
fn probe(interface: Interface) -> Result<()> {
    let options = SendOptions::new().interface(interface);
    let (mut sender, mut replies) = options.open_with_replies::<8000>(Family::V4)?;
    let question = envelope("Probe", ALL, "", "<d:Probe><d:Types>wsdp:Device</d:Types></d:Probe>");
    println!("{:?}", sender.send(question.as_bytes(), group()?)?);
    each_packet(&mut replies, Some(Duration::from_secs(2)), |packet| {
        let text = String::from_utf8_lossy(packet.payload());
        // Only what answers this question.
        if text.contains("ProbeMatches") && element(&text, "RelatesTo") == element(&question, "MessageID") {
            println!("{}: {}", packet.source(), element(&text, "Address").unwrap_or_default());
        }
        Ok(())
    })
}

/// A device: it announces itself, answers those who look for it, and says goodbye.
fn serve(interface: Interface) -> Result<()> {
    let membership = Membership::any(group()?).on(interface);
    let listening = ListenOptions::new().filter(Contains(b"/discovery/")).answers();
    let mut listener = listening.bind::<8000>(membership)?;
    let mut sender = listener.sender(SendOptions::new().interface(interface))?;
    let own = interface.address(Family::V4)?;
    let device = format!(
        "<a:EndpointReference><a:Address>{DEVICE}</a:Address></a:EndpointReference><d:Types>wsdp:Device</d:Types>\
         <d:XAddrs>http://{own}:5357/</d:XAddrs><d:MetadataVersion>1</d:MetadataVersion>"
    );
    let hello = envelope("Hello", ALL, "", &format!("<d:Hello>{device}</d:Hello>"));
    println!("hello {:?}", sender.send(hello.as_bytes(), group()?)?);
    each_packet(&mut listener, None, |packet| {
        let text = String::from_utf8_lossy(packet.payload());
        let action = element(&text, "Action").and_then(|action| action.rsplit('/').next());
        let (Some(action), Some(question)) = (action, element(&text, "MessageID")) else { return Ok(()) };
        let is_wanted = match action {
            "Probe" => element(&text, "Types").is_none_or(|types| types.is_empty() || types.ends_with(":Device")),
            "Resolve" => element(&text, "Address") == Some(DEVICE) || text.contains(DEVICE),
            _ => false,
        };
        if is_wanted {
            let body = format!("<d:{action}Matches><d:{action}Match>{device}</d:{action}Match></d:{action}Matches>");
            let relates = format!("<a:RelatesTo>{question}</a:RelatesTo>");
            let to = "http://schemas.xmlsoap.org/ws/2004/08/addressing/role/anonymous";
            let answer = envelope(&format!("{action}Matches"), to, &relates, &body);
            print_answer(format_args!("{}: {action},", packet.source()), sender.reply(packet, answer.as_bytes()));
        }
        Ok(())
    })?;
    let bye = format!("<d:Bye><a:EndpointReference><a:Address>{DEVICE}</a:Address></a:EndpointReference></d:Bye>");
    println!("bye {:?}", sender.send(envelope("Bye", ALL, "", &bye).as_bytes(), group()?)?);
    Ok(())
}

/// A message. Each has a number of its own, which answers repeat.
fn envelope(action: &str, to: &str, relates: &str, body: &str) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let (program, count) = (std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
    format!(
        "<?xml version=\"1.0\" encoding=\"utf-8\"?><s:Envelope xmlns:s=\"http://www.w3.org/2003/05/soap-envelope\" \
         xmlns:a=\"http://schemas.xmlsoap.org/ws/2004/08/addressing\" xmlns:d=\"http://schemas.xmlsoap.org/ws/2005/04/discovery\" \
         xmlns:wsdp=\"http://schemas.xmlsoap.org/ws/2006/02/devprof\"><s:Header><a:To>{to}</a:To>\
         <a:Action>http://schemas.xmlsoap.org/ws/2005/04/discovery/{action}</a:Action>\
         <a:MessageID>urn:uuid:{program:08x}-0000-4000-8000-{count:012x}</a:MessageID>{relates}</s:Header>\
         <s:Body>{body}</s:Body></s:Envelope>"
    )
}

/// The text of the first element with this name, in whatever namespace.
fn element<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    let (_, rest) = text.split('<').filter_map(|part| part.split_once('>')).find(|(tag, _)| {
        let tag = tag.split_whitespace().next().unwrap_or_default();
        !tag.starts_with('/') && tag.rsplit(':').next() == Some(name)
    })?;
    Some(rest.trim())
}
