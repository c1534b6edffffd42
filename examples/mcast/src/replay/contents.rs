//! The packets of a capture that can be sent, and what is left out.

use std::fmt::Write;
use std::net::SocketAddr;

use multicast::Group;

use super::capture::{Capture, Fault, Step};
use super::packets::Content;
use super::source::Source;
use crate::decimal::fixed;
use crate::limits::Limits;
use crate::options::Common;
use crate::output::Output;
use crate::stop::{Stop, complain};
use crate::target::Target;

/// How many bytes are read at once.
const PIECE: usize = 1 << 16;
/// A list has no more groups than this.
const MOST_LISTED: usize = 65_536;

/// A packet to a group.
pub(super) struct Packet<'c> {
    /// Nanoseconds since 1970, if the capture has times.
    pub(super) time: Option<i128>,
    pub(super) group: Group,
    pub(super) payload: &'c [u8],
}

/// Which packets are wanted: all, if there is no target.
pub(super) struct Choice(pub(super) Vec<Target>);

impl Choice {
    fn has(&self, source: SocketAddr, group: Group) -> bool {
        self.0.is_empty()
            || self.0.iter().any(|target| {
                target.contains(group.address())
                    && target.port().is_none_or(|port| port == group.port())
                    && target.source.is_none_or(|wanted| wanted == source.ip())
            })
    }
}

/// How many packets were left out, and why.
#[derive(Default)]
pub(super) struct LeftOut {
    pub(super) fragments: u64,
    pub(super) cut: u64,
    pub(super) not_udp: u64,
    pub(super) not_to_a_group: u64,
    pub(super) not_chosen: u64,
    pub(super) of_unknown_links: u64,
    /// By an interface's queue, or since they are too long.
    pub(super) refused: u64,
    /// A kind of link that is not known, for the message.
    link_type: u32,
}

impl LeftOut {
    /// `None` if nothing was.
    pub(super) fn text(&self) -> Option<String> {
        let mut text = String::new();
        for (packets, what) in [
            (self.fragments, "fragments"),
            (self.cut, "cut by the capture"),
            (self.not_udp, "not UDP"),
            (self.not_to_a_group, "not to a group"),
            (self.not_chosen, "not chosen by --from"),
            (self.refused, "refused by the interface"),
        ] {
            if packets > 0 {
                let comma = if text.is_empty() { "" } else { ", " };
                // Writing into a string does not fail.
                let _ = write!(text, "{comma}{packets} {what}");
            }
        }
        if self.of_unknown_links > 0 {
            let comma = if text.is_empty() { "" } else { ", " };
            let _ = write!(text, "{comma}{} of links of an unknown kind ({})", self.of_unknown_links, self.link_type);
        }
        (!text.is_empty()).then_some(text)
    }

    fn count(&mut self, content: &Content<'_>) {
        let counter = match content {
            Content::Udp { .. } => &mut self.not_to_a_group,
            Content::Fragment => &mut self.fragments,
            Content::Cut => &mut self.cut,
            Content::Other => &mut self.not_udp,
            Content::UnknownLink(link_type) => {
                self.link_type = *link_type;
                &mut self.of_unknown_links
            }
        };
        *counter = counter.saturating_add(1);
    }
}

/// Whether to go on.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Then {
    GoOn,
    Stop,
}

/// Reads the capture to its end, and gives each packet that can be sent to `each`.
#[inline(never)]
pub(super) fn read(
    source: &mut Source,
    choice: &Choice,
    left_out: &mut LeftOut,
    limits: &Limits,
    each: &mut dyn FnMut(&Packet<'_>) -> Result<Then, Stop>,
) -> Result<(), Stop> {
    let mut capture = Capture::default();
    let mut piece = vec![0; PIECE];
    loop {
        let frame = match capture.next() {
            Ok(Step::Frame(frame)) => frame,
            Ok(Step::More) => {
                match source.read(&mut piece, limits)? {
                    0 => capture.end(),
                    length => capture.push(piece.get(..length).unwrap_or(&piece)),
                }
                continue;
            }
            Ok(Step::End) => return Ok(()),
            Err(fault) => return Err(faulty(source.name(), &fault)),
        };
        let content = Content::of(&frame);
        if let Content::Udp { source, destination, payload } = content
            && let Ok(group) = Group::new(destination.ip(), destination.port())
        {
            if !choice.has(source, group) {
                left_out.not_chosen = left_out.not_chosen.saturating_add(1);
            } else if each(&Packet { time: frame.time, group, payload })? == Then::Stop {
                return Ok(());
            }
        } else {
            left_out.count(&content);
        }
    }
}

#[cold]
fn faulty(name: &str, fault: &Fault) -> Stop {
    Stop::failed(match fault {
        Fault::NoCapture => format!("{name} is not a capture: neither pcapng nor pcap"),
        Fault::CutShort(at) => {
            format!("{name} is cut short: it ends within the block that begins at byte {at}; all before that was used")
        }
        Fault::Malformed(what, at) => format!("{name} has, at byte {at}, {what}; all before that was used"),
    })
}

/// A group of a capture.
struct Listed {
    group: Group,
    packets: u64,
    bytes: u64,
    first: Option<i128>,
    last: Option<i128>,
}

impl Listed {
    fn nanoseconds(&self) -> i128 {
        self.last.zip(self.first).map_or(0, |(last, first)| last.saturating_sub(first))
    }
}

/// Prints which groups the capture has.
#[inline(never)]
pub(super) fn list(source: &mut Source, choice: &Choice, common: &Common, limits: &Limits) -> Result<(), Stop> {
    let mut output = Output::new(limits)?;
    // In the order of the groups.
    let (mut groups, mut left_out) = (Vec::<Listed>::new(), LeftOut::default());
    let ended = read(source, choice, &mut left_out, limits, &mut |packet| {
        let found = groups.binary_search_by_key(&packet.group, |listed| listed.group);
        if found.is_err() && groups.len() >= MOST_LISTED {
            return Err(Stop::failed(format!("there are more than {MOST_LISTED} groups: choose some by --from")));
        }
        let place = found.unwrap_or_else(|place| {
            groups.insert(place, Listed { group: packet.group, packets: 0, bytes: 0, first: None, last: None });
            place
        });
        let Some(listed) = groups.get_mut(place) else { return Ok(Then::GoOn) };
        listed.packets = listed.packets.saturating_add(1);
        listed.bytes = listed.bytes.saturating_add(packet.payload.len() as u64);
        listed.first = listed.first.or(packet.time);
        listed.last = listed.last.max(packet.time);
        Ok(Then::GoOn)
    });
    for listed in &groups {
        #[cfg(feature = "json")]
        if common.json {
            output.object(
                &super::json::Report::new(listed.group, listed.packets, listed.bytes, listed.nanoseconds()),
                limits,
            )?;
            continue;
        }
        let Listed { group, packets, bytes, .. } = listed;
        let seconds = fixed(listed.nanoseconds() as f64 / 1e9, 3);
        let line = format!("{group} {packets} packets, {bytes} bytes, {seconds} s\n");
        output.write(line.as_bytes(), limits)?;
    }
    #[cfg(feature = "json")]
    if common.json {
        output.object(&super::json::ListTotal::new(groups.len(), &left_out), limits)?;
    }
    if let (false, Some(text)) = (common.quiet, left_out.text()) {
        complain(&format_args!("left out: {text}"));
    }
    match ended {
        Ok(()) if groups.is_empty() => Err(Stop::failed(format!("{} has no packet that can be sent", source.name()))),
        ended => ended,
    }
}
