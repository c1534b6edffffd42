use std::string::ToString;
use std::vec::Vec;

use super::kernel::{Assembler, Fit, Instruction, Listing};
use super::*;
use crate::{ErrorKind, Family};

const SOURCE: &str = "192.0.2.1:4242";

#[track_caller]
fn assert_judges(mut filter: impl Filter, accepted: &[&[u8]], refused: &[&[u8]]) {
    let source = SOURCE.parse().unwrap();
    for (payloads, expected) in [(accepted, true), (refused, false)] {
        for payload in payloads {
            assert_eq!(filter.accepts(payload, source), expected, "{}", payload.escape_ascii());
        }
    }
}

#[test]
fn filters_of_the_payload_judge_by_their_bytes() {
    assert_judges(Prefix(b"ab"), &[b"ab", b"abc"], &[b"", b"a", b"b", b"xab"]);
    assert_judges(Suffix(b"ab"), &[b"ab", b"cab"], &[b"", b"b", b"abc"]);
    assert_judges(At(1, b"b"), &[b"ab", b"xbx"], &[b"", b"a", b"ba"]);
    assert_judges(At(9, b""), &[b""], &[]);
    assert_judges(At(usize::MAX, b"a"), &[], &[b"", b"a"]);
    assert_judges(Contains(b"aab"), &[b"aab", b"aaab", b"xaabx"], &[b"", b"aa", b"abab", b"aaba".split_at(2).0]);
    assert_judges(Contains(b""), &[b"", b"a"], &[]);
    assert_judges(Length(1..3), &[b"a", b"ab"], &[b"", b"abc"]);
    assert_judges(Length(..=0), &[b""], &[b"a"]);
    assert_judges(Length(2..), &[b"ab", b"abc"], &[b"", b"a"]);
}

#[test]
fn masks_look_at_their_bits_alone() {
    assert_judges(Masked(1, [0x0f], [0x05]), &[b"a\xf5", b"a\x05b"], &[b"a\x06", b"\x05", b""]);
    // A mask that is too short is extended with zeros, but the payload must be long enough.
    assert_judges(Masked(0, &b"\xff"[..], &b"ab"[..]), &[b"ab", b"ax"], &[b"a", b"xb"]);
    assert_judges(Masked(0, &b"\xff\xff"[..], &b"a"[..]), &[b"a", b"ab"], &[b""]);
    assert_judges(Masked(usize::MAX, [0], [0]), &[], &[b"", b"a"]);
    assert_judges(Masked(7, [], []), &[b""], &[]);
}

#[test]
fn filters_combine_as_they_read() {
    let both = Prefix(b"a").and(Suffix(b"z"));
    assert_judges(both, &[b"az", b"a-z"], &[b"a", b"z"]);
    assert_judges(Prefix(b"a").or(Suffix(b"z")), &[b"a", b"z", b"az"], &[b"b", b""]);
    assert_judges(both.not(), &[b"a", b"z", b""], &[b"az"]);
    assert_judges(Never.or(Always), &[b""], &[]);
    assert_judges(Never.and(Always), &[], &[b""]);
}

#[test]
fn senders_are_told_by_address_and_port() {
    let contains = |subnet: &str, address: &str| Source(subnet.parse().unwrap()).accepts(b"", address.parse().unwrap());
    for (subnet, address, expected) in [
        ("192.0.2.0/24", "192.0.2.255:1", true),
        ("192.0.2.0/24", "192.0.3.0:1", false),
        ("192.0.2.77/24", "192.0.2.1:1", true),
        ("192.0.2.1", "192.0.2.1:1", true),
        ("192.0.2.1", "192.0.2.0:1", false),
        ("0.0.0.0/0", "203.0.113.1:1", true),
        ("0.0.0.0/0", "[2001:db8::1]:1", false),
        ("0.0.0.0/0", "[::ffff:203.0.113.1]:1", true),
        ("::/0", "[2001:db8::1]:1", true),
        ("::/0", "203.0.113.1:1", false),
        ("::/0", "[::ffff:203.0.113.1]:1", false),
        ("::ffff:192.0.2.0/120", "192.0.2.9:1", true),
        ("2001:db8::/33", "[2001:db8:7fff::1]:1", true),
        ("2001:db8::/33", "[2001:db8:8000::1]:1", false),
        ("fe80::1", "[fe80::1%7]:1", true),
    ] {
        assert_eq!(contains(subnet, address), expected, "{address} in {subnet}");
    }
    assert!(Port(4242).accepts(b"", SOURCE.parse().unwrap()) && !Port(4243).accepts(b"", SOURCE.parse().unwrap()));
}

#[test]
fn hop_limits_are_judged_if_they_are_known_and_rejected_if_not() {
    #[track_caller]
    fn assert_accepted(mut filter: impl Filter, needs: bool, expected: [bool; 4]) {
        let source = SOURCE.parse().unwrap();
        assert_eq!(filter.needs_hop_limit(), needs);
        let known = [0, 1, 255].map(|hop_limit| filter.accepts_with_hop_limit(b"ab", source, hop_limit));
        assert_eq!((known, filter.accepts(b"ab", source)), ([expected[0], expected[1], expected[2]], expected[3]));
    }
    const LOCAL: Hops<core::ops::RangeFrom<u8>> = Hops(255..);
    // With a hop limit of:                                             0      1      255    unknown
    assert_accepted(LOCAL, true, [false, false, true, false]);
    assert_accepted(Hops(..=1), true, [true, true, false, false]);
    assert_accepted(Not(LOCAL), true, [true, true, false, false]);
    assert_accepted(Not(Not(LOCAL)), true, [false, false, true, false]);
    assert_accepted(And(Prefix(b"a"), LOCAL), true, [false, false, true, false]);
    assert_accepted(And(LOCAL, Prefix(b"b")), true, [false; 4]);
    assert_accepted(Not(And(LOCAL, Prefix(b"b"))), true, [true, true, true, false]);
    assert_accepted(Or(LOCAL, Prefix(b"b")), true, [false, false, true, false]);
    assert_accepted(Or(Prefix(b"a"), LOCAL), true, [true; 4]);
    assert_accepted(Not(Or(Prefix(b"a"), LOCAL)), true, [false; 4]);
    assert_accepted(&mut Not(LOCAL), true, [true, true, false, false]);
    #[cfg(feature = "std")]
    assert_accepted(std::boxed::Box::new(Not(LOCAL)) as std::boxed::Box<dyn Filter>, true, [true, true, false, false]);
    assert_accepted(Not(Prefix(b"b")), false, [true; 4]);
    assert_accepted(by(|payload, _| payload == b"ab"), false, [true; 4]);
}

#[test]
fn a_subnet_that_is_none_says_what_to_write() {
    for (text, kind, reason) in [
        ("", ErrorKind::Syntax, "as 192.0.2.0/24"),
        ("192.0.2/24", ErrorKind::Syntax, "as 192.0.2.0/24"),
        ("192.0.2.0/", ErrorKind::Syntax, "as 192.0.2.0/24"),
        ("192.0.2.0/+4", ErrorKind::Syntax, "as 192.0.2.0/24"),
        ("192.0.2.0/33", ErrorKind::OutOfRange, "0 to 32"),
        ("192.0.2.0/999", ErrorKind::OutOfRange, "0 to 32"),
        ("2001:db8::/129", ErrorKind::OutOfRange, "IPv6: 0 to 128"),
    ] {
        let error = text.parse::<Subnet>().unwrap_err();
        assert_eq!(error.kind(), kind);
        assert!(error.to_string().starts_with("parse subnet ") && error.to_string().contains(reason), "{error}");
    }
    assert_eq!("192.0.2.1".parse::<Subnet>().unwrap().to_string(), "192.0.2.1/32");
    assert_eq!("2001:db8::/32".parse::<Subnet>().unwrap().to_string(), "2001:db8::/32");
}

#[test]
fn filters_are_values_of_constants() {
    type Others = Or<Port, Contains<[u8; 2]>>;
    const WANTED: And<Prefix<&[u8]>, Not<Others>> = And(Prefix(b"NOTIFY "), Not(Or(Port(1900), Contains(*b"no"))));
    assert_judges(WANTED, &[b"NOTIFY *"], &[b"NOTIFY no", b"M-SEARCH *"]);
}

fn listing(filter: &impl Filter, mtu: usize, family: Family) -> (Vec<std::string::String>, Fit) {
    let mut buffer = [Instruction::ZERO; 32];
    let mut code = Assembler::new(&mut buffer, mtu, family);
    let fit = filter.compile(&mut code);
    (Listing(code.instructions()).to_string().lines().map(|line| line[6..].into()).collect(), fit)
}

#[test]
fn programs_are_as_short_as_can_be() {
    let returns = ["ret #0xffffffff", "ret #0"];
    let expected = |tests: &[&str]| -> Vec<_> { tests.iter().chain(&returns).map(ToString::to_string).collect() };
    let (lines, fit) = listing(&Prefix(b"NOTIFY "), 1500, Family::V4);
    // The second word overlaps the first; in a packet that is too short, loading it ends the program.
    assert_eq!(lines, expected(&["ld [8]", "jeq #0x4e4f5449 jt 2 jf 5", "ld [11]", "jeq #0x49465920 jt 4 jf 5"]));
    assert_eq!(fit, Fit::Exact);
    let (lines, fit) = listing(&Not(Prefix(b"ab")), 1500, Family::V4);
    let tests = ["ld #len", "jge #0xa jt 2 jf 5", "ldh [8]", "jeq #0x6162 jt 4 jf 5", "ret #0"];
    assert_eq!((lines, fit), (expected(&tests), Fit::Exact));
    let source = Source("192.0.2.0/24".parse().unwrap());
    let (lines, fit) = listing(&source, 1500, Family::V4);
    let tests = ["ld [net + 12]", "and #0xffffff00", "jeq #0xc0000200 jt 3 jf 4"];
    assert_eq!((lines, fit), (expected(&tests), Fit::Exact));
    assert_eq!(listing(&source, 1500, Family::V6).0.len(), 4 * 2 + 1 + 2);
    assert_eq!(listing(&Suffix(b"ab"), 1500, Family::V4).0.len(), 2 + 3 + 2 + 2);
    assert_eq!(listing(&Always.or(Prefix(b"ab")), 1500, Family::V4), (expected(&[]), Fit::Exact));
}

#[test]
fn what_the_kernel_cannot_decide_is_wider() {
    let by = by(|_, _| false);
    for (fit, expected) in [
        (listing(&by, 1500, Family::V4), Fit::Superset),
        (listing(&Not(by), 1500, Family::V4), Fit::Superset),
        (listing(&Contains(b"a"), 1500, Family::V4), Fit::Superset),
        (listing(&Prefix([0; 61]), 1500, Family::V4), Fit::Superset),
        // Its end is beyond the cut, so the payload never has all of it.
        (listing(&Prefix([0; 61]), 60, Family::V4), Fit::Exact),
        (listing(&Not(Prefix([0; 61])), 60, Family::V4), Fit::Exact),
        (listing(&Not(Prefix([0; 61])), 1500, Family::V4), Fit::Superset),
    ] {
        assert_eq!(fit.1, expected);
    }
    // The program has no instructions for what it could not decide.
    assert_eq!(listing(&Not(Contains(b"a")), 1500, Family::V4).0.len(), 2);
}
