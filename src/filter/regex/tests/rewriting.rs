//! Rewriting keeps the meaning: compares random patterns with regex-lite on the original pattern.

use std::vec::Vec;

use super::*;

/// Random pieces of syntax, most of them nonsense: what regex-lite refuses is refused, and what it accepts means the same after
/// rewriting.
#[test]
fn rewriting_keeps_the_meaning() {
    const PIECES: [&str; 48] = [
        "a",
        "b",
        "A",
        " ",
        "\n",
        "#",
        "|",
        "(",
        ")",
        "(",
        ")",
        "(?:",
        "(?x)",
        "(?-x)",
        "(?x:",
        "(?i)",
        "(?i-x:",
        "( ?: ",
        "(?P<n>",
        "(?<m>",
        "*",
        "+",
        "?",
        "??",
        "{2}",
        "{0}",
        "{0,2}",
        "{ 1 , }",
        "{2,1}",
        "[ab]",
        "[^a]",
        "[ b #\n]",
        "[[:alpha:] ]",
        "[\\]\\x41-c]",
        "[^\\W_]",
        "\\",
        "\\x61",
        "\\x{A}",
        "\\x 6 1",
        "\\b",
        "\\b{ start }",
        "\\B",
        "^",
        "$",
        "\\z",
        "\\d",
        "\\ ",
        ".",
    ];
    const PACKETS: [&str; 14] = ["", "a", "b", "ab", "aab", "A", " ", "a b", "#", "a#\n", "\n", "]", "ba\na", "AbA"];
    let mut random = Random(42);
    let mut compared = 0;
    for _ in 0..60_000 {
        let pattern: String = (0..=random.below(9)).map(|_| PIECES[random.below(PIECES.len())]).collect();
        let Ok(alone) = regex_lite::Regex::new(&pattern) else {
            assert!(Regex::new(&pattern).is_err(), "{pattern:?} is no pattern");
            continue;
        };
        let mut filter = Regex::new(&pattern).unwrap_or_else(|error| panic!("{error}: {pattern:?}"));
        for packet in PACKETS {
            // The leftmost match starts at 0 if any does.
            let expected = alone.find(packet).is_some_and(|found| found.start() == 0);
            assert_eq!(filter.accepts(packet.as_bytes(), SOURCE), expected, "{pattern:?} on {packet:?}");
            compared += 1;
        }
    }
    assert!(compared > 100_000, "{compared}");
}

/// Only classes, over all bytes; without the flag `i`, which regex-lite gets wrong.
#[test]
fn classes_mean_what_regex_lite_reads() {
    const PIECES: [&str; 24] = [
        "a",
        "z",
        "-",
        "-",
        "-",
        "]",
        "^",
        "[:digit:]",
        "[:^space:]",
        "[:x:]",
        "\\d",
        "\\W",
        "\\S",
        "\\-",
        "\\]",
        "\\n",
        "\\x00",
        "\\xFF",
        "\\x{80}",
        "é",
        "&",
        "~",
        "b-y",
        "0-9",
    ];
    let mut random = Random(7);
    let mut compared = 0;
    for _ in 0..4_000 {
        let inside: String = (0..=random.below(5)).map(|_| PIECES[random.below(PIECES.len())]).collect();
        if ["]", "^]", "-", "^-"].iter().any(|python| inside.starts_with(python)) {
            continue;
        }
        let pattern = format!("[{inside}]");
        let characters: String = pattern.bytes().map(char::from).collect();
        let alone = regex_lite::Regex::new(&characters);
        let filter = Regex::new(&pattern);
        assert_eq!(alone.is_ok(), filter.is_ok(), "{pattern}: {filter:?}");
        let (Ok(alone), Ok(mut filter)) = (alone, filter) else { continue };
        for byte in 0..=u8::MAX {
            // If a class ends early, there is text after it.
            let packet: Vec<u8> = [byte].into_iter().chain(*b"-z]a]").collect();
            let text: String = packet.iter().copied().map(char::from).collect();
            let expected = alone.find(&text).is_some_and(|found| found.start() == 0);
            assert_eq!(filter.accepts(&packet, SOURCE), expected, "{pattern} on {byte:02X}");
        }
        compared += 1;
    }
    assert!(compared > 1_000, "{compared}");
}

/// Knuth's linear congruential generator: the same numbers each time.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % end
    }
}
