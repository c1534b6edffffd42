//! Parses rtnetlink messages, and the changes of interfaces in them. With any bytes, parsing ends, and an errno is valid.
//! Messages written as the kernel writes them are parsed correctly.
#![no_main]

use std::net::IpAddr;

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use multicast::Change;
use multicast::fuzzing::{link_changes, netlink_answers};

const HEADER: usize = 16;

#[derive(Arbitrary, Debug)]
enum Input {
    Bytes(Vec<u8>),
    Messages {
        messages: Vec<Message>,
        /// How many bytes of the end are missing.
        cut: u16,
    },
}

#[derive(Arbitrary, Debug)]
enum Message {
    /// `RTM_NEWLINK` or `RTM_DELLINK`
    Link {
        index: u32,
        flags: u32,
        attributes: Vec<Attribute>,
        is_gone: bool,
    },
    /// `RTM_NEWADDR` or `RTM_DELADDR`
    Address {
        index: u32,
        attributes: Vec<Attribute>,
        is_gone: bool,
    },
    /// `RTM_NEWROUTE`
    Route {
        attributes: Vec<Attribute>,
    },
    /// What may change routes without a message about one: `RTM_NEWRULE`, `RTM_DELRULE`, `RTM_NEWNEXTHOP`, `RTM_DELNEXTHOP`
    Way(u8),
    /// `NLMSG_ERROR`
    Error {
        number: i32,
    },
    /// `NLMSG_DONE`
    Done,
    Other {
        kind: u16,
        body: Vec<u8>,
    },
}

#[derive(Arbitrary, Debug)]
struct Attribute {
    kind: Kind,
    value: Vec<u8>,
}

/// The attributes that are read, with the numbers of `linux/if_addr.h` and `linux/rtnetlink.h`, and any other.
#[derive(Arbitrary, Debug)]
enum Kind {
    /// `IFA_ADDRESS`, `RTA_DST`
    One,
    /// `IFLA_IFNAME`
    Three,
    /// `IFA_LOCAL`
    Two,
    /// `RTA_OIF`
    Four,
    /// `RTA_PREFSRC`
    Seven,
    Other(u16),
}

impl Attribute {
    fn kind(&self) -> u16 {
        match self.kind {
            Kind::One => 1,
            Kind::Three => 3,
            Kind::Two => 2,
            Kind::Four => 4,
            Kind::Seven => 7,
            // The upper two bits are flags.
            Kind::Other(kind) => kind & 0x3fff,
        }
    }

    /// At most as long as 16 bits of length allow.
    fn value(&self) -> &[u8] {
        &self.value[..self.value.len().min(usize::from(u16::MAX) - 4)]
    }
}

fn first(attributes: &[Attribute], kind: u16) -> Option<&[u8]> {
    attributes.iter().find(|attribute| attribute.kind() == kind).map(Attribute::value)
}

fn number(value: &[u8]) -> Option<u32> {
    Some(u32::from_ne_bytes(value.get(..4)?.try_into().ok()?))
}

fn ip(value: &[u8]) -> Option<IpAddr> {
    <[u8; 4]>::try_from(value).map(IpAddr::from).or_else(|_| <[u8; 16]>::try_from(value).map(IpAddr::from)).ok()
}

fn with_attributes(mut body: Vec<u8>, attributes: &[Attribute]) -> Vec<u8> {
    for attribute in attributes {
        body.resize(body.len().next_multiple_of(4), 0);
        body.extend((attribute.value().len() as u16 + 4).to_ne_bytes());
        body.extend(attribute.kind().to_ne_bytes());
        body.extend(attribute.value());
    }
    body
}

type Answer = (&'static str, Option<u32>, Option<IpAddr>);

impl Message {
    /// The type and the body of the message.
    fn parts(&self) -> (u16, Vec<u8>) {
        match self {
            Self::Link { index, flags, attributes, is_gone } => {
                let body = [[0; 4], index.to_ne_bytes(), flags.to_ne_bytes(), [0; 4]].concat();
                (if *is_gone { 17 } else { 16 }, with_attributes(body, attributes))
            }
            Self::Address { index, attributes, is_gone } => {
                let kind = if *is_gone { 21 } else { 20 };
                (kind, with_attributes([[0; 4], index.to_ne_bytes()].concat(), attributes))
            }
            Self::Route { attributes } => (24, with_attributes(vec![0; 12], attributes)),
            Self::Way(kind) => ([32, 33, 104, 105][usize::from(kind % 4)], vec![0; 8]),
            Self::Error { number } => (2, number.to_ne_bytes().to_vec()),
            Self::Done => (3, vec![0; 4]),
            Self::Other { kind, body } => (*kind, body.clone()),
        }
    }

    /// The expected answer; `None` if the message is any bytes.
    fn meaning(&self) -> Option<Answer> {
        Some(match self {
            Self::Link { index, .. } => ("link", Some(*index), None),
            Self::Address { index, attributes, .. } => {
                let value = first(attributes, 2).or_else(|| first(attributes, 1));
                ("address", Some(*index), value.and_then(ip))
            }
            Self::Route { attributes } => {
                ("route", first(attributes, 4).and_then(number), first(attributes, 7).and_then(ip))
            }
            Self::Way(_) => ("route", None, None),
            Self::Error { number: 0 } | Self::Done => ("done", None, None),
            Self::Error { number: number @ -4095..0 } => ("failed", Some(number.unsigned_abs()), None),
            // The kernel never sends this; it still counts as a failure.
            Self::Error { .. } => return None,
            Self::Other { kind: 2 | 3 | 16 | 17 | 20 | 21 | 24 | 25 | 32 | 33 | 92 | 104 | 105, .. } => return None,
            Self::Other { .. } => ("other", None, None),
        })
    }
}

impl Message {
    /// The expected change, as text: the inner `None` for no change, the outer one if the message is any bytes.
    fn change(&self) -> Option<Option<String>> {
        Some(match self {
            // No interface has index 0.
            Self::Link { index: 0, .. } | Self::Address { index: 0, .. } => None,
            Self::Link { index, attributes, is_gone: true, .. } => Some(format!("gone {index} {:?}", name(attributes))),
            Self::Link { index, flags, attributes, is_gone: false } => {
                // IFF_UP, IFF_RUNNING, IFF_MULTICAST of `linux/if.h`.
                let [up, running, multicast] = [0x1, 0x40, 0x1000].map(|flag| flags & flag != 0);
                Some(format!("link {index} {:?} {up} {running} {multicast}", name(attributes)))
            }
            Self::Address { index, attributes, is_gone } => {
                let address = first(attributes, 2).or_else(|| first(attributes, 1)).and_then(ip);
                address.map(|address| format!("address {index} {address} {is_gone}"))
            }
            Self::Route { .. } | Self::Way(_) => Some("route".to_owned()),
            Self::Error { .. } | Self::Done => None,
            Self::Other { kind: 16 | 17 | 20 | 21 | 24 | 25 | 32 | 33 | 104 | 105, .. } => return None,
            Self::Other { .. } => None,
        })
    }
}

/// The name of a link, if the kernel allows it.
fn name(attributes: &[Attribute]) -> Option<String> {
    let bytes = first(attributes, 3)?.split(|byte| *byte == 0).next()?;
    let text = std::str::from_utf8(bytes).ok()?;
    multicast::Name::new(text).ok().map(|name| name.as_str().to_owned())
}

fn text_of(change: &Change) -> String {
    let named = |name: &Option<multicast::Name>| name.map(|name| name.as_str().to_owned());
    match change {
        Change::Link(link) => {
            let name = named(&link.name);
            format!("link {} {name:?} {} {} {}", link.index, link.is_up, link.is_running, link.is_multicast)
        }
        Change::Gone { index, name } => format!("gone {index} {:?}", named(name)),
        Change::Address { index, address } => format!("address {index} {address} false"),
        Change::AddressGone { index, address } => format!("address {index} {address} true"),
        Change::Route => "route".to_owned(),
        other => panic!("no message says {other:?}"),
    }
}

fn check(answer: &Answer) {
    if let ("failed", errno, _) = answer {
        assert!(errno.is_some_and(|errno| (1..=4095).contains(&errno)), "no errno: {errno:?}");
    }
}

fuzz_target!(|input: Input| {
    match input {
        Input::Bytes(bytes) => {
            let answers: Vec<_> = netlink_answers(&bytes).inspect(check).collect();
            assert!(answers.len() <= bytes.len().div_ceil(HEADER), "more answers than headers");
            assert!(link_changes(&bytes).map(|change| text_of(&change)).count() <= answers.len());
        }
        Input::Messages { messages, cut } => {
            let mut bytes = Vec::new();
            let mut ends = Vec::new();
            for message in &messages {
                bytes.resize(bytes.len().next_multiple_of(4), 0);
                let (kind, body) = message.parts();
                bytes.extend(((HEADER + body.len()) as u32).to_ne_bytes());
                bytes.extend(kind.to_ne_bytes());
                bytes.extend([0; 10]);
                bytes.extend(body);
                ends.push(bytes.len());
            }
            bytes.truncate(bytes.len() - usize::from(cut).min(bytes.len()));
            let answers: Vec<_> = netlink_answers(&bytes).inspect(check).collect();
            // Of a message that is cut off, the present part is read.
            let whole = ends.iter().filter(|end| **end <= bytes.len()).count();
            assert!((whole..=whole + 1).contains(&answers.len()), "{whole} whole messages, {answers:?}");
            for (message, answer) in messages.iter().zip(&answers).take(whole) {
                if let Some(meaning) = message.meaning() {
                    assert_eq!(*answer, meaning, "{message:?}");
                }
            }
            let changes: Option<Vec<_>> = messages.iter().take(whole).map(Message::change).collect();
            // If no message is any bytes.
            if let Some(expected) = changes {
                let told: Vec<_> = link_changes(&bytes).map(|change| text_of(&change)).collect();
                let expected: Vec<_> = expected.into_iter().flatten().collect();
                assert!(told.starts_with(&expected) && told.len() <= expected.len() + 1, "{told:?}, {expected:?}");
            }
        }
    }
});
