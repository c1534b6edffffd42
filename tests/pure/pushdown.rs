//! Programs of filters: a program passes every packet that its filter accepts, and no other if it is `Exact`.

use core::net::SocketAddr;
use core::ops::Bound;

use crate::bpf::{Bytes, Program, Sent, Tree, World, assert_sound, noise, run};
use multicast::Family;
use multicast::filter::kernel::{Assembler, Fit, Instruction, Listing, MAX_INSTRUCTIONS};
use multicast::filter::{Filter, Hops, Length, Not, Or, Prefix, Source, Subnet, Suffix};
use proptest::prelude::*;

fn world(family: Family) -> World {
    match family {
        Family::V4 => World::v4(),
        Family::V6 => World::v6(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 20_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_program_passes_what_its_filter_accepts(
        (seed, is_ipv4) in (proptest::collection::vec(any::<u8>(), 0..400), any::<bool>()),
        room in prop_oneof![2_usize..40, Just(64), Just(300), Just(MAX_INSTRUCTIONS)],
        mtu in prop_oneof![1_usize..10, Just(64), Just(1500), Just(65_535)],
    ) {
        let world = world(if is_ipv4 { Family::V4 } else { Family::V6 });
        let mut bytes = Bytes(&seed);
        let mut tree = Tree::grow(&mut bytes, &world, 4);
        let mut buffer = vec![Instruction::ZERO; room];
        let mut code = Assembler::new(&mut buffer, mtu, world.family);
        let fit = tree.compile(&mut code);
        prop_assert!(code.instructions().len() >= 2);
        for _ in 0..8 {
            assert_sound(&mut tree, &code, fit, &world.packet(&mut bytes));
        }
    }
}

#[cfg(feature = "regex")]
mod patterns {
    use multicast::filter::Regex;

    use super::*;
    use crate::regex_pairs::{COMMON, random_pair};

    /// Runs the program on a packet and on similar ones: it must pass those that the filter accepts.
    fn judge(pattern: &str, packet_bytes: &[u8]) -> (usize, usize) {
        let mut filter = Regex::new(pattern).unwrap();
        let (mut accepted, mut refused) = (0, 0);
        for (room, mtu) in [(64, 1500), (300, 3), (20, 1500)] {
            let mut buffer = vec![Instruction::ZERO; room];
            let mut code = Assembler::new(&mut buffer, mtu, Family::V4);
            let fit = filter.compile(&mut code);
            let mut others = vec![packet_bytes.to_vec(), [packet_bytes, b"more"].concat()];
            for place in 0..packet_bytes.len().min(6) {
                others.push(packet_bytes[..place].to_vec());
                let mut other = packet_bytes.to_vec();
                other[place] ^= 0x20;
                others.push(other);
            }
            for other in others {
                let sent = packet(other);
                accepted += usize::from(assert_sound(&mut filter, &code, fit, &sent));
                refused += usize::from(run(code.instructions(), &sent) == 0);
            }
        }
        (accepted, refused)
    }

    #[test]
    fn a_program_passes_what_its_pattern_matches() {
        let pairs = COMMON.iter().map(|(pattern, packet)| ((*pattern).to_owned(), packet.to_vec()));
        let (mut accepted, mut refused) = (0, 0);
        for (pattern, packet) in pairs.chain((0..6_000).map(random_pair)) {
            let (more_accepted, more_refused) = judge(&pattern, &packet);
            accepted += more_accepted;
            refused += more_refused;
        }
        assert!(accepted > 20_000 && refused > 20_000, "{accepted}, {refused}");
    }
}

/// How many of 2,000 random trees are exact with this much room.
fn exact(room: usize) -> usize {
    let world = World::v4();
    let mut buffer = vec![Instruction::ZERO; room];
    (0..2000_u64)
        .filter(|seed| {
            let tree = Tree::grow(&mut Bytes(&noise(*seed, 100)), &world, 3);
            tree.compile(&mut Assembler::new(&mut buffer, 1500, Family::V4)) == Fit::Exact
        })
        .count()
}

#[test]
fn more_room_makes_programs_exact() {
    let (little, usual, plenty) = (exact(4), exact(64), exact(MAX_INSTRUCTIONS));
    assert!(little < usual && usual <= plenty, "{little}, {usual}, {plenty}");
    // All are exact except those with a closure, or with bytes at any offset.
    assert!(plenty > 1000, "{plenty}");
}

fn packet(payload: Vec<u8>) -> Sent {
    Sent {
        payload,
        source: "192.0.2.1:1900".parse().unwrap(),
        destination: "239.1.2.3".parse().unwrap(),
        interface: 1,
        hop_limit: 1,
    }
}

fn passes(program: &Program, payload: &[u8]) -> bool {
    run(&program.instructions, &packet(payload.to_vec())) != 0
}

#[test]
fn conditional_jumps_reach_over_programs_of_any_length() {
    // Jumps over more than two times 255 instructions, in each place that a test can jump to.
    let long: Vec<u8> = (0..1400_u32).map(|index| (index * 7) as u8).collect();
    let flipped = |place: usize| {
        let mut other = long.clone();
        other[place] ^= 1;
        other
    };
    let plain = Program::of(&Prefix(&long), 1024, 1500, Family::V4);
    let either = Program::of(&Or(Prefix(&long), Suffix(&long)), 2048, 1500, Family::V4);
    let not = Program::of(&Not(Prefix(&long)), 1024, 1500, Family::V4);
    assert_eq!([plain.fit, either.fit, not.fit], [Fit::Exact; 3]);
    assert!(plain.instructions.len() > 700);
    assert!(passes(&plain, &long) && passes(&either, &long) && !passes(&not, &long));
    for place in [0, 3, 4, 500, 700, 1396, 1399] {
        let other = flipped(place);
        assert!(!passes(&plain, &other) && !passes(&either, &other) && passes(&not, &other), "{place}");
        assert!(passes(&either, &[b"more", &long[..]].concat()), "the second alternative");
    }
    assert!(passes(&not, b"") && !passes(&plain, &long[..1399]));
}

#[test]
fn a_prefix_that_does_not_fit_is_compared_as_far_as_it_does() {
    let long = [b'x'; 300];
    let program = Program::of(&Prefix(long), 64, 1500, Family::V4);
    assert_eq!(program.fit, Fit::Superset);
    assert!(passes(&program, &long));
    assert!(!passes(&program, &long[..299]), "its length is known");
    let mut other = long;
    other[80] = b'y';
    assert!(!passes(&program, &other));
    other[80] = b'x';
    other[299] = b'y';
    assert!(passes(&program, &other), "left to the filter itself");
    // The length that the documentation states.
    assert_eq!(Program::of(&Prefix([0; 96]), 64, 1500, Family::V4).fit, Fit::Exact);
}

#[test]
fn programs_do_not_see_bytes_beyond_the_mtu() {
    let program = |filter: &dyn Filter| Program::of(filter, 64, 4, Family::V4);
    for (filter, accepted) in [
        (&Prefix(b"abcde") as &dyn Filter, false),
        (&Not(Prefix(b"abcde")), true),
        (&Suffix(b"cd"), true),
        (&Suffix(b"ef"), false),
        (&Not(Suffix(b"cd")), false),
        (&Length(..=4), true),
        (&Length(5..), false),
        (&Not(Length(6..=6)), true),
    ] {
        assert_eq!(program(filter).fit, Fit::Exact);
        assert_eq!(passes(&program(filter), b"abcdef"), accepted);
    }
}

#[cfg(feature = "std")]
#[test]
fn a_borrowed_or_boxed_filter_has_the_program_of_the_filter_itself() {
    let mut filter = Or(Prefix("yes"), Suffix("yes"));
    let own = Program::of(&filter, 64, 1500, Family::V4);
    let boxed: Box<dyn Filter> = Box::new(filter);
    assert_eq!(Program::of(&boxed, 64, 1500, Family::V4), own);
    let mut lent = &mut filter;
    assert_eq!(Program::of(&lent, 64, 1500, Family::V4), own);
    let source = "192.0.2.1:1900".parse().unwrap();
    // Called by the name of the trait, so that the implementation for references is used.
    assert!(Filter::accepts(&mut lent, b"oh yes", source) && !Filter::accepts(&mut lent, b"no", source));
}

#[test]
fn length_bounds_may_be_missing_and_an_empty_range_passes_nothing() {
    let sizes = |filter: &dyn Filter| {
        let program = Program::of(filter, 64, 1500, Family::V4);
        assert_eq!(program.fit, Fit::Exact);
        (0..8).filter(|size| passes(&program, &vec![0; *size])).collect::<Vec<_>>()
    };
    assert_eq!(sizes(&Length((Bound::Excluded(2), Bound::Excluded(5)))), [3, 4]);
    assert_eq!(sizes(&Length((Bound::Excluded(5), Bound::Unbounded))), [6, 7]);
    assert_eq!(sizes(&Length(..2)), [0, 1]);
    // These ranges of lengths are empty.
    assert_eq!(sizes(&Length((Bound::Excluded(usize::MAX), Bound::Unbounded))), []);
    assert_eq!(sizes(&Length(..0)), []);
    assert_eq!(sizes(&Not(Length(..0))).len(), 8);
}

#[test]
fn hop_limits_are_tested_at_their_place_in_the_header() {
    for world in [World::v4(), World::v6()] {
        let passed = |filter: &dyn Filter| {
            let program = Program::of(filter, 64, 1500, world.family);
            assert_eq!(program.fit, Fit::Exact);
            let sent = |hop_limit| Sent { hop_limit, ..world.packet(&mut Bytes(&[])) };
            (0..=u8::MAX).filter(|hops| run(&program.instructions, &sent(*hops)) != 0).collect::<Vec<_>>()
        };
        assert_eq!(passed(&Hops(255..)), [255]);
        assert_eq!(passed(&Hops(..2)), [0, 1]);
        assert_eq!(passed(&Hops(3..=4)), [3, 4]);
        assert_eq!(passed(&Hops((Bound::Excluded(4), Bound::Excluded(7)))), [5, 6]);
        assert_eq!(passed(&Not(Hops(1..))), [0]);
        assert_eq!(passed(&Hops(..)).len(), 256);
        assert_eq!(passed(&Or(Hops(..1), Hops(255..))), [0, 255]);
        // These ranges are empty.
        assert_eq!(passed(&Hops(..0)), []);
        assert_eq!(passed(&Hops((Bound::Included(9), Bound::Excluded(9)))), []);
        assert_eq!(passed(&Hops((Bound::Excluded(255), Bound::Unbounded))), []);
    }
}

#[test]
fn an_ipv6_sender_never_matches_an_ipv4_network() {
    let subnet: Subnet = "2001:db8::/32".parse().unwrap();
    assert_eq!((subnet.network().to_string(), subnet.bits()), ("2001:db8::".to_owned(), 32));
    let program = Program::of(&Source(subnet), 64, 1500, Family::V4);
    assert_eq!(program.fit, Fit::Exact);
    assert!(!passes(&program, b"x"));
    assert!(passes(&Program::of(&Not(Source(subnet)), 64, 1500, Family::V4), b"x"));
}

#[test]
fn an_assembler_has_mtu_and_family_and_limits_the_ranges_of_a_byte() {
    let mut buffer = [Instruction::ZERO; 300];
    let mut code = Assembler::new(&mut buffer, 100_000, Family::V6);
    assert_eq!((code.mtu(), code.family()), (65_535, Family::V6));
    let ranges: Vec<_> = (0..33).map(|byte| (4 * byte, 4 * byte + 1)).collect();
    // The program has no instruction for it: the filter itself decides.
    assert_eq!(code.byte_in(0, &ranges), Fit::Superset);
    assert_eq!(code.instructions().len(), 2);
    assert_eq!(code.byte_in(0, &ranges[..32]), Fit::Exact);
    for (byte, is_in) in [(0, true), (1, true), (2, false), (3, false), (124, true), (125, true), (126, false), (255, false)]
    {
        assert_eq!(run(code.instructions(), &packet(vec![byte])) != 0, is_in, "{byte}");
    }
    assert_eq!(run(code.instructions(), &packet(vec![])), 0, "there is no byte");
}

/// Accepts packets from a port above 1023 that begin with a digit: two tests that no filter of the crate has.
#[derive(Clone, Copy, Debug)]
struct Unprivileged;

impl Filter for Unprivileged {
    fn accepts(&mut self, payload: &[u8], source: SocketAddr) -> bool {
        source.port() >= 1024 && payload.first().is_some_and(u8::is_ascii_digit)
    }

    fn compile(&self, code: &mut Assembler<'_>) -> Fit {
        code.port(1024, u16::MAX).and(code.byte_in(0, &[(b'0', b'9')]))
    }
}

#[test]
fn a_custom_filter_combines_with_others() {
    let mut filter = Or(Not(Unprivileged), Prefix(b"12")).and(Length(1..));
    let mut buffer = [Instruction::ZERO; 64];
    let mut code = Assembler::new(&mut buffer, 1500, Family::V4);
    let fit = filter.compile(&mut code);
    assert_eq!(fit, Fit::Exact);
    let mut accepted = Vec::new();
    for port in [53, 1023, 1024, 40_000] {
        for payload in ["", "1", "12", "a"] {
            let source = SocketAddr::from(([192, 0, 2, 1], port));
            if assert_sound(&mut filter, &code, fit, &Sent { source, ..packet(payload.into()) }) {
                accepted.push((port, payload));
            }
        }
    }
    let expected = [
        (53, "1"),
        (53, "12"),
        (53, "a"),
        (1023, "1"),
        (1023, "12"),
        (1023, "a"),
        (1024, "12"),
        (1024, "a"),
        (40_000, "12"),
    ];
    assert_eq!(accepted, [&expected[..], &[(40_000, "a")]].concat());
}

#[test]
fn a_listing_prints_programs_of_other_tools() {
    // The output of `tcpdump -d`, and an instruction that our programs do not use: the negation of A.
    let program = [(0x40, 0, 0, 4), (0x48, 0, 0, 2), (0x50, 0, 0, u32::MAX), (0x84, 0, 0, 0), (0x06, 0, 0, 0xffff)];
    let listed = Listing(&program.map(Instruction::from_parts)).to_string();
    let lines: Vec<_> = listed.lines().collect();
    assert_eq!(
        lines,
        ["(000) ld [x + 4]", "(001) ldh [x + 2]", "(002) ldb [x + -1]", "(003) 0x84 0 0 0x0", "(004) ret #0xffff"]
    );
    assert_eq!(program.map(|parts| Instruction::from_parts(parts).parts()), program);
}
