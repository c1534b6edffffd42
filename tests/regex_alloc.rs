//! After `prepare`, packets allocate nothing. Allocations are counted for each thread separately.
#![cfg(feature = "regex")]

use core::net::{IpAddr, Ipv4Addr, SocketAddr};

use multicast::filter::{Filter, Regex};

const SOURCE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 4242);
const MTU: usize = 1500;

fn allocations_in(work: impl FnOnce()) -> u64 {
    allocation_counter::measure(work).count_total
}

fn packets() -> Vec<Vec<u8>> {
    let repeated = |bytes: &[u8]| bytes.iter().copied().cycle().take(MTU).collect::<Vec<u8>>();
    let mut packets = vec![
        vec![],
        vec![b'a'],
        vec![0xFF],
        "é".into(),
        repeated(b"a"),
        repeated(b"\xFF"),
        repeated(b"ab \n"),
        repeated(b"a\x80b\xC3\xA9\0"),
    ];
    packets.extend((0..=u8::MAX).map(|byte| vec![byte, b'a', byte, b'b', b' ', byte]));
    packets
}

#[test]
fn no_packet_allocates_once_prepared() {
    let many_ways: String = (b'a'..=b'z').map(|letter| format!("{}*|", char::from(letter))).collect();
    let patterns = [
        "",
        "a",
        "a*",
        ".*",
        r"(?s).*\xFF",
        "é|ü",
        "a?b?c?",
        "a??b*?c+?",
        "(?:a|b|c)*(d|e)?f",
        r"(?:\b|\B|^|$|a)*(?:\b|\B|^|$|b)*\z",
        r"(?:a?){100}(?:b?|\xFF?){100}",
        r".{0,1400}b",
        r"(?s)(?:(?:a*|b*|\b)*|(?:.|[^a]|\B)+)*z",
        r"(?m)(?:^|$|\b.|\B.)*q",
        "(?:(?:|a){2,}(?:|b){3,7}){0,9}",
        r"(?x) (?i: [Q-c]* | \x80? ) { 1, 30 } # all",
        &format!("(?s)(?:{many_ways}.)*!"),
        &format!("(?s)b(?:{many_ways}.)"),
        &"(?:|a)".repeat(500),
    ];
    let packets = packets();
    for pattern in patterns {
        let mut filter = Regex::new(pattern).unwrap();
        filter.prepare(MTU);
        for packet in &packets {
            let allocations = allocations_in(|| {
                filter.accepts(packet, SOURCE);
            });
            assert_eq!(allocations, 0, "{pattern} on {}", packet.escape_ascii());
        }
    }
}

/// Random patterns: nested alternatives and assertions, which make the matcher look far ahead.
#[test]
fn no_random_pattern_allocates_once_prepared() {
    const PIECES: [&str; 24] = [
        "a",
        "b",
        ".",
        r"\xFF",
        "é",
        "(?:",
        "(?:",
        "(?:",
        ")",
        ")",
        ")",
        "|",
        "|",
        "*",
        "*?",
        "+",
        "?",
        "{2}",
        "{0,3}",
        "{2,}",
        r"\b",
        r"\B",
        "^",
        "(?i)[Q-c]",
    ];
    let packets: Vec<Vec<u8>> =
        [&b""[..], b"a", b"ab", b"ba b", b"\xFFa\xFF", b" a\xC3\xA9b", b"aaaaaaab", b"\n\n"].map(Vec::from).into();
    let mut state = 11_u64;
    let mut below = |end: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).unwrap() % end
    };
    let mut tried = 0;
    for _ in 0..60_000 {
        let pattern: String = (0..=below(14)).map(|_| PIECES[below(PIECES.len())]).collect();
        let Ok(mut filter) = Regex::new(&pattern) else { continue };
        filter.prepare(8);
        let allocations = allocations_in(|| {
            for packet in &packets {
                filter.accepts(packet, SOURCE);
            }
        });
        assert_eq!(allocations, 0, "{pattern}");
        tried += 1;
    }
    assert!(tried > 5_000, "{tried}");
}

/// Without `prepare` the answer is the same, but memory is allocated, so the counter works.
#[test]
fn without_prepare_it_allocates_and_still_matches() {
    let mut filter = Regex::new(r"(?:a|\xFF)+z").unwrap();
    let allocations = allocations_in(|| assert!(filter.accepts(b"\xFFaz", SOURCE)));
    assert_ne!(allocations, 0);
    filter.prepare(MTU);
    let mut clone = filter.clone();
    clone.prepare(MTU);
    let allocations = allocations_in(|| {
        assert!(filter.accepts(b"a\xFFz", SOURCE));
        assert!(clone.accepts(b"a\xFFz", SOURCE));
    });
    assert_eq!(allocations, 0);
    let longer = vec![0xFF; 2 * MTU];
    assert!(!filter.accepts(&longer, SOURCE), "longer than prepared for");
}
