use std::string::{String, ToString};

use super::*;
use crate::Family;
use crate::filter::Filter;
use crate::filter::kernel::{Assembler, INSTRUCTIONS, Instruction, Listing};
use crate::filter::regex::Regex;

fn outline(pattern: &str) -> Outline {
    Regex::new(pattern).unwrap_or_else(|error| panic!("{error}")).outline
}

/// Prefix, the number of checked bytes after it, least length, needle.
fn summary(pattern: &str) -> (String, usize, usize, String) {
    let Outline { prefix, sets, least, needle, .. } = outline(pattern);
    (prefix.escape_ascii().to_string(), sets.len(), least, needle.escape_ascii().to_string())
}

#[test]
fn what_all_matches_have_in_common_is_found() {
    for (pattern, prefix, sets, least, needle) in [
        ("", "", 0, 0, ""),
        ("NOTIFY ", "NOTIFY ", 0, 7, ""),
        ("(?:NOT)(IFY) ", "NOTIFY ", 0, 7, ""),
        (r"\x7E[\x80-\xFF].", "~", 1, 3, ""),
        ("é", r"\xc3\xa9", 0, 2, ""),
        ("NOTIFY|NOTE", "NOT", 1, 4, ""),
        ("NOTIFY|M-SEARCH", "", 6, 6, ""),
        ("a|", "", 0, 0, ""),
        ("(?i)ab1", "", 3, 3, "1"),
        ("(?i:a)b", "", 2, 2, "b"),
        ("(?x) a b # c", "ab", 0, 2, ""),
        (".*needle", "", 0, 6, "needle"),
        ("x.*(?:needle)+y", "x", 0, 8, "needle"),
        ("a.c", "a", 2, 3, ""),
        ("ab*c", "a", 0, 2, ""),
        ("ab+c", "ab", 0, 3, ""),
        ("ab?c", "a", 0, 2, ""),
        ("a{3}b", "aaab", 0, 4, ""),
        ("a{2,}bc", "aa", 0, 4, "bc"),
        ("a{0}b", "b", 0, 1, ""),
        ("(?:ab){2,3}c", "abab", 0, 5, ""),
        ("(?:a|b){2}", "", 2, 2, ""),
        ("(?:){9}a", "a", 0, 1, ""),
        (r"\Aab\b$", "ab", 0, 2, ""),
        (r"a\b{start}b", "ab", 0, 2, ""),
        ("[^\\x00-\\xFF]", "", 1, 1, ""),
        ("(a|(b|c)d)e", "", 1, 2, "e"),
        (r"temperature=\d+", "temperature=", 1, 13, ""),
    ] {
        let expected = (prefix.to_string(), sets, least, needle.to_string());
        assert_eq!(summary(pattern), expected, "{pattern}");
    }
}

#[test]
fn long_and_repeated_patterns_are_cut() {
    let (prefix, sets, least, needle) = summary(&"abcd".repeat(100));
    assert_eq!((prefix.len(), sets, least, needle.len()), (HEAD, 0, 400, 400));
    assert_eq!(summary("(?:abc){1000}").2, 3000);
    assert_eq!(summary("(?:abc){1000}").0.len(), HEAD);
    assert_eq!(summary("[ab]{40}").1, HEAD);
    assert_eq!(summary("(?:a{0,9}b){3}").2, 3);
}

fn listing(pattern: &str) -> String {
    let mut buffer = [Instruction::ZERO; INSTRUCTIONS];
    let mut code = Assembler::new(&mut buffer, 1500, Family::V4);
    let _ = Regex::new(pattern).unwrap().compile(&mut code);
    Listing(code.instructions()).to_string()
}

#[test]
fn the_kernel_is_told_of_prefix_classes_and_length() {
    let text = listing(r"(?i)noti(?-i)[0-9].");
    // Four letters in both cases with one load.
    assert!(text.contains("and #0xdfdfdfdf") && text.contains("jeq #0x4e4f5449"), "{text}");
    assert!(text.contains("jgt #0x39") && text.contains("jge #0x30"), "{text}");
    assert!(text.contains("jge #0xe"), "six bytes and the header: {text}");
    assert!(listing("NOTI").contains("jeq #0x4e4f5449"));
    assert_eq!(listing(".*").lines().count(), 2, "nothing to tell");
}

#[test]
fn sets_know_their_masks_and_ranges() {
    let set = |members: &[u8]| Set::of(|byte| members.contains(&byte));
    assert_eq!(set(b"a").masked(), Some((0xff, b'a')));
    assert_eq!(set(b"aA").masked(), Some((0xdf, b'A')));
    assert_eq!(set(b"ab").masked(), None);
    assert_eq!(Set::ALL.masked(), Some((0, 0)));
    assert_eq!(Set::NONE.masked(), None);
    assert_eq!(set(b"abcx\xff").ranges(), [(b'a', b'c'), (b'x', b'x'), (0xff, 0xff)]);
    assert_eq!((set(b"q").single(), set(b"qr").single()), (Some(b'q'), None));
}
