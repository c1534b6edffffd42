//! Parses control messages in the layout of any processor. With any bytes, parsing ends, and returns nothing that is not in them.
//! Messages written as the kernel writes them are found.
#![no_main]

use std::net::IpAddr;
use std::num::NonZeroU32;

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use multicast::Metadata;
use multicast::fuzzing::{arrival, control_messages, set_received, set_unicast};

/// Levels and options, with the numbers of `linux/in.h`, `linux/in6.h`, `asm/socket.h` and `linux/udp.h`.
const PKTINFO: (u32, u32) = (0, 8);
const TTL: (u32, u32) = (0, 2);
const TOS: (u32, u32) = (0, 1);
const PKTINFO6: (u32, u32) = (41, 50);
const HOPLIMIT: (u32, u32) = (41, 52);
const TCLASS: (u32, u32) = (41, 67);
const TIME_OLD: (u32, u32) = (1, 35);
const TIME_NEW: (u32, u32) = (1, 64);
const GRO: (u32, u32) = (17, 104);
const KNOWN: [(u32, u32); 9] = [PKTINFO, TTL, TOS, PKTINFO6, HOPLIMIT, TCLASS, TIME_OLD, TIME_NEW, GRO];

#[derive(Arbitrary, Debug)]
struct Input {
    wide: bool,
    big_endian: bool,
    control: Control,
}

#[derive(Arbitrary, Debug)]
enum Control {
    Bytes(Vec<u8>),
    Messages {
        messages: Vec<Message>,
        /// How many bytes of the end are missing.
        cut: u16,
    },
}

#[derive(Arbitrary, Debug)]
enum Message {
    V4 {
        interface: u32,
        own: [u8; 4],
        destination: [u8; 4],
    },
    V6 {
        interface: u32,
        destination: [u8; 16],
    },
    Ttl(u32),
    HopLimit(u32),
    Tos(u8),
    TrafficClass(u32),
    /// In words of 4 bytes.
    OldTime {
        seconds: u32,
        nanoseconds: u32,
    },
    /// In words of 8 bytes.
    NewTime {
        seconds: u64,
        nanoseconds: u64,
    },
    Segment(u32),
    Other {
        level: u32,
        kind: u32,
        data: Vec<u8>,
    },
}

#[derive(Clone, Copy)]
struct Layout {
    word: usize,
    big_endian: bool,
}

impl Layout {
    fn number(self, number: u64, size: usize) -> Vec<u8> {
        match self.big_endian {
            true => number.to_be_bytes()[8 - size..].to_vec(),
            false => number.to_le_bytes()[..size].to_vec(),
        }
    }

    fn int(self, number: u32) -> Vec<u8> {
        self.number(number.into(), 4)
    }
}

impl Message {
    fn parts(&self, layout: Layout) -> ((u32, u32), Vec<u8>) {
        match self {
            Self::V4 { interface, own, destination } => {
                (PKTINFO, [&layout.int(*interface), &own[..], &destination[..]].concat())
            }
            Self::V6 { interface, destination } => (PKTINFO6, [&destination[..], &layout.int(*interface)].concat()),
            Self::Ttl(hops) => (TTL, layout.int(*hops)),
            Self::HopLimit(hops) => (HOPLIMIT, layout.int(*hops)),
            Self::Tos(class) => (TOS, vec![*class]),
            Self::TrafficClass(class) => (TCLASS, layout.int(*class)),
            Self::OldTime { seconds, nanoseconds } => (TIME_OLD, [layout.int(*seconds), layout.int(*nanoseconds)].concat()),
            Self::NewTime { seconds, nanoseconds } => {
                (TIME_NEW, [layout.number(*seconds, 8), layout.number(*nanoseconds, 8)].concat())
            }
            Self::Segment(size) => (GRO, layout.int(*size)),
            Self::Other { level, kind, data } => ((*level, *kind), data.clone()),
        }
    }

    /// Adds what the message says. A later message replaces an earlier one.
    fn tell(&self, metadata: &mut Metadata, segment: &mut Option<u32>) {
        match self {
            Self::V4 { interface, own, destination } => {
                metadata.interface = NonZeroU32::new(*interface);
                metadata.destination = Some(IpAddr::from(*destination));
                set_unicast(metadata, own == destination);
            }
            Self::V6 { interface, destination } => {
                metadata.interface = NonZeroU32::new(*interface);
                metadata.destination = Some(IpAddr::from(*destination));
                set_unicast(metadata, destination[0] != 0xff);
            }
            Self::Ttl(hops) | Self::HopLimit(hops) => metadata.hop_limit = Some(*hops as u8),
            Self::Tos(class) => metadata.traffic_class = Some(*class),
            Self::TrafficClass(class) => metadata.traffic_class = Some(*class as u8),
            Self::OldTime { seconds, nanoseconds } => {
                set_received(metadata, time((*seconds).into(), (*nanoseconds).into()));
            }
            Self::NewTime { seconds, nanoseconds } => set_received(metadata, time(*seconds, *nanoseconds)),
            Self::Segment(size) => *segment = Some(*size),
            Self::Other { .. } => {}
        }
    }
}

fn time(seconds: u64, nanoseconds: u64) -> Option<u64> {
    let time = u128::from(seconds) * 1_000_000_000 + u128::from(nanoseconds);
    u64::try_from(time).ok().filter(|_| nanoseconds < 1_000_000_000)
}

fuzz_target!(|input: Input| {
    let layout = Layout { word: if input.wide { 8 } else { 4 }, big_endian: input.big_endian };
    let header = layout.word + 8;
    let read = |bytes: &[u8]| -> Vec<((u32, u32), Vec<u8>)> {
        let messages = control_messages(bytes, layout.word, layout.big_endian);
        messages.map(|(level, kind, data)| ((level, kind), data.to_vec())).collect()
    };
    match input.control {
        Control::Bytes(bytes) => {
            let messages = read(&bytes);
            let taken: usize = messages.iter().map(|(_, data)| header + data.len()).sum();
            assert!(taken <= bytes.len(), "messages overlap or are longer than the bytes");
            let told = arrival(&bytes, layout.word, layout.big_endian);
            if !messages.iter().any(|(option, _)| KNOWN.contains(option)) {
                assert_eq!(told, (Metadata::default(), None), "out of nothing");
            }
        }
        Control::Messages { messages, cut } => {
            let (mut bytes, mut ends, mut parts) = (Vec::new(), Vec::new(), Vec::new());
            for message in &messages {
                let ((level, kind), data) = message.parts(layout);
                bytes.resize(bytes.len().next_multiple_of(layout.word), 0);
                bytes.extend(layout.number((header + data.len()) as u64, layout.word));
                bytes.extend(layout.int(level));
                bytes.extend(layout.int(kind));
                bytes.extend(&data);
                ends.push(bytes.len());
                parts.push(((level, kind), data));
            }
            bytes.truncate(bytes.len() - usize::from(cut).min(bytes.len()));
            // A message counts only if it is complete.
            let whole = ends.iter().filter(|end| **end <= bytes.len()).count();
            assert_eq!(read(&bytes), parts[..whole]);

            let told = arrival(&bytes, layout.word, layout.big_endian);
            let strange = |message: &Message| matches!(message, Message::Other { level, kind, .. } if KNOWN.contains(&(*level, *kind)));
            if !messages.iter().any(strange) {
                let (mut metadata, mut segment) = (Metadata::default(), None);
                messages[..whole].iter().for_each(|message| message.tell(&mut metadata, &mut segment));
                assert_eq!(told, (metadata, segment));
            }
        }
    }
});
