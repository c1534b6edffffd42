//! Control messages that we send, in the layout of any processor: what is written is read back, and is one whole message. And the
//! messages that describe a queued error: with any bytes, reading ends, and finds an origin only in a message of that kind.
#![no_main]

use std::net::IpAddr;

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use multicast::fuzzing::{control_messages, is_of_network, outgoing};

/// Levels and options, with the numbers of `linux/in.h` and `linux/in6.h`.
const PKTINFO: (u32, u32) = (0, 8);
const PKTINFO6: (u32, u32) = (41, 50);
const RECVERR: [(u32, u32); 2] = [(0, 11), (41, 25)];

#[derive(Arbitrary, Debug)]
struct Input {
    wide: bool,
    big_endian: bool,
    to_ipv4: bool,
    interface: u32,
    source: Option<IpAddr>,
    queued: Vec<u8>,
}

fuzz_target!(|input: Input| {
    let Input { wide, big_endian, to_ipv4, interface, source, queued } = input;
    let word = if wide { 8 } else { 4 };
    outgoing(interface, source, to_ipv4, word, big_endian, |bytes| {
        let messages: Vec<_> = control_messages(bytes, word, big_endian).collect();
        let [(level, kind, data)] = messages[..] else { panic!("{} messages", messages.len()) };
        assert_eq!((level, kind), if to_ipv4 { PKTINFO } else { PKTINFO6 });
        // `struct in_pktinfo` has 12 bytes, `struct in6_pktinfo` 20. The kernel wants the padding behind it, too.
        assert_eq!(data.len(), if to_ipv4 { 12 } else { 20 });
        assert_eq!(bytes.len(), (word + 8 + data.len()).next_multiple_of(word));
        let (interface_at, source_at, length) = if to_ipv4 { (0, 4, 4) } else { (16, 0, 16) };
        let index: [u8; 4] = data[interface_at..interface_at + 4].try_into().unwrap();
        let index = if big_endian { u32::from_be_bytes(index) } else { u32::from_le_bytes(index) };
        assert_eq!(index, interface);
        // A source of the other family is not written.
        let expected = match source {
            Some(IpAddr::V4(source)) if to_ipv4 => source.octets().to_vec(),
            Some(IpAddr::V6(source)) if !to_ipv4 => source.octets().to_vec(),
            _ => vec![0; length],
        };
        assert_eq!(data[source_at..source_at + length], expected);
    });

    let error = control_messages(&queued, word, big_endian).find(|(level, kind, _)| RECVERR.contains(&(*level, *kind)));
    let origin = error.and_then(|(_, _, data)| data.get(4).copied());
    assert_eq!(is_of_network(&queued, word, big_endian), origin.map(|origin| matches!(origin, 2 | 3)));
});
