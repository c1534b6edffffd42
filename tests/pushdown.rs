//! Programs of filters: what a filter accepts, its program lets through; and nothing else where it says that it is exact.

mod bpf;
#[cfg(feature = "regex")]
mod regex_pairs;

use bpf::{Bytes, Sent, Tree, World, assert_sound, noise, run};
use multicast::Family;
use multicast::filter::kernel::{Assembler, Fit, Instruction, MOST_INSTRUCTIONS, Program};
use multicast::filter::{Filter, Length, Not, Or, Prefix, Suffix};
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
    fn a_program_lets_through_what_its_filter_accepts(
        (seed, is_ipv4) in (proptest::collection::vec(any::<u8>(), 0..400), any::<bool>()),
        room in prop_oneof![2_usize..40, Just(64), Just(300), Just(MOST_INSTRUCTIONS)],
        mtu in prop_oneof![1_usize..10, Just(64), Just(1500), Just(65_535)],
    ) {
        let world = world(if is_ipv4 { Family::V4 } else { Family::V6 });
        let mut bytes = Bytes(&seed);
        let mut tree = Tree::grow(&mut bytes, &world, 4);
        let mut buffer = vec![Instruction::NOTHING; room];
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

    /// Judges a packet, and some that are almost like it: by the program, as the filter does where that accepts.
    fn judge(pattern: &str, packet_bytes: &[u8]) -> (usize, usize) {
        let mut filter = Regex::new(pattern).unwrap();
        let (mut accepted, mut refused) = (0, 0);
        for (room, mtu) in [(64, 1500), (300, 3), (20, 1500)] {
            let mut buffer = vec![Instruction::NOTHING; room];
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
    fn a_program_lets_through_what_its_pattern_matches() {
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

/// How many of many random trees are exact, with so much room.
fn exact(room: usize) -> usize {
    let world = World::v4();
    let mut buffer = vec![Instruction::NOTHING; room];
    (0..2000_u64)
        .filter(|seed| {
            let tree = Tree::grow(&mut Bytes(&noise(*seed, 100)), &world, 3);
            tree.compile(&mut Assembler::new(&mut buffer, 1500, Family::V4)) == Fit::Exact
        })
        .count()
}

#[test]
fn more_room_makes_programs_exact() {
    let (little, usual, plenty) = (exact(4), exact(64), exact(MOST_INSTRUCTIONS));
    assert!(little < usual && usual <= plenty, "{little}, {usual}, {plenty}");
    // All but those with a closure, or with bytes that can be anywhere.
    assert!(plenty > 1000, "{plenty}");
}

fn packet(payload: Vec<u8>) -> Sent {
    Sent { payload, source: "192.0.2.1:1900".parse().unwrap(), destination: "239.1.2.3".parse().unwrap(), interface: 1 }
}

fn passes<const N: usize>(program: &Program<N>, payload: &[u8]) -> bool {
    run(program.instructions(), &packet(payload.to_vec())) != 0
}

#[test]
fn conditional_jumps_reach_over_programs_of_any_length() {
    // Two steps of 255 instructions, in each place where a test can lead to.
    let long: Vec<u8> = (0..1400_u32).map(|index| (index * 7) as u8).collect();
    let flipped = |place: usize| {
        let mut other = long.clone();
        other[place] ^= 1;
        other
    };
    let plain = Program::<1024>::of(&Prefix(&long), 1500, Family::V4);
    let either = Program::<2048>::of(&Or(Prefix(&long), Suffix(&long)), 1500, Family::V4);
    let not = Program::<1024>::of(&Not(Prefix(&long)), 1500, Family::V4);
    assert_eq!([plain.fit(), either.fit(), not.fit()], [Fit::Exact; 3]);
    assert!(plain.instructions().len() > 700);
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
    let program = Program::<64>::of(&Prefix(long), 1500, Family::V4);
    assert_eq!(program.fit(), Fit::Wider);
    assert!(passes(&program, &long));
    assert!(!passes(&program, &long[..299]), "its length is known");
    let mut other = long;
    other[80] = b'y';
    assert!(!passes(&program, &other));
    other[80] = b'x';
    other[299] = b'y';
    assert!(passes(&program, &other), "left to the filter itself");
    // Just as much as the documentation promises.
    assert_eq!(Program::<64>::of(&Prefix([0; 96]), 1500, Family::V4).fit(), Fit::Exact);
}

#[test]
fn what_lies_beyond_the_cut_is_not_there() {
    let program = |filter: &dyn Filter| Program::<64>::of(filter, 4, Family::V4);
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
        assert_eq!(program(filter).fit(), Fit::Exact);
        assert_eq!(passes(&program(filter), b"abcdef"), accepted);
    }
}
