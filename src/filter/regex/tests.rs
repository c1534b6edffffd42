mod rewriting;

use core::net::SocketAddr;
use std::borrow::ToOwned;
use std::{format, thread};

use super::*;
use crate::ErrorKind;

const SOURCE: SocketAddr = SocketAddr::new(core::net::IpAddr::V4(core::net::Ipv4Addr::LOCALHOST), 4242);

fn accepts(pattern: &str, packet: &[u8]) -> bool {
    let mut filter = Regex::new(pattern).unwrap_or_else(|error| panic!("{error}"));
    let unprepared = filter.accepts(packet, SOURCE);
    filter.prepare(packet.len());
    assert_eq!(filter.accepts(packet, SOURCE), unprepared, "prepare changed what {pattern} matches");
    unprepared
}

#[track_caller]
fn assert_matches(pattern: &str, packet: &[u8]) {
    assert!(accepts(pattern, packet), "{pattern} should match {}", packet.escape_ascii());
}

#[track_caller]
fn assert_no_match(pattern: &str, packet: &[u8]) {
    assert!(!accepts(pattern, packet), "{pattern} should not match {}", packet.escape_ascii());
}

#[track_caller]
fn assert_refused(pattern: &str, advice: &str) {
    let error = Regex::new(pattern).expect_err(pattern);
    assert_eq!(error.kind(), ErrorKind::Pattern);
    let message = error.to_string();
    assert!(message.starts_with("parse pattern: "), "{message}");
    assert!(message.contains(advice), "{message}\nshould advise: {advice}");
    assert!(!message.contains('\n'), "{message:?} is more than a line");
}

#[test]
fn a_match_starts_at_the_first_byte_and_may_end_anywhere() {
    assert_matches("b", b"bc");
    assert_no_match("b", b"abc");
    assert_matches(".*b", b"abc");
    assert_no_match("a|b", b"cb");
    assert_no_match("(?m)^b", b"a\nb");
    assert_no_match("(?R).", b"\r");
    assert_matches("(?mR)a$", b"a\r\n");
    assert_matches("", b"");
    assert_matches("", b"\xFF");
}

#[test]
fn every_byte_is_one_character() {
    for byte in 0..=u8::MAX {
        let packet = [byte, byte];
        assert_matches(&format!(r"\x{byte:02X}{{2}}\z"), &packet);
        assert_matches(&format!(r"[\x{byte:02x}]\x{{{byte:X}}}\z"), &packet);
        assert_matches(r"(?s)..\z", &packet);
        assert_no_match(&format!(r"[^\x{byte:02X}]"), &packet);
        assert_eq!(accepts(r"..\z", &packet), byte != b'\n');
        assert_eq!(accepts(r"\d", &packet), byte.is_ascii_digit());
        assert_eq!(accepts(r"\D", &packet), !byte.is_ascii_digit());
        assert_eq!(accepts(r"\w", &packet), byte.is_ascii_alphanumeric() || byte == b'_');
        assert_eq!(accepts(r"\W", &packet), !byte.is_ascii_alphanumeric() && byte != b'_');
        assert_eq!(accepts(r"\s", &packet), b" \t\n\x0B\x0C\r".contains(&byte));
        assert_eq!(accepts(r"\b", &packet), byte.is_ascii_alphanumeric() || byte == b'_');
    }
}

#[test]
fn text_means_its_utf8_bytes() {
    assert_matches("é", b"\xC3\xA9");
    assert_no_match("é", b"\xE9");
    assert_matches(r"é*\z", b"\xC3\xA9\xA9\xA9");
    assert_no_match(r"é*\z", b"\xC3\xA9\xC3\xA9");
    assert_matches(r"(?:é)*\z", b"\xC3\xA9\xC3\xA9");
    assert_matches(r"[é]\z", b"\xC3");
    assert_matches(r"[é]\z", b"\xA9");
    assert_no_match(r"[é]\z", b"\xC3\xA9");
    assert_matches("温度: ", "温度: 21".as_bytes());
    assert_matches(".{4}$", "🌡".as_bytes());
}

#[test]
fn only_ascii_letters_have_a_case() {
    for byte in 0..=u8::MAX {
        for other in 0..=u8::MAX {
            let pattern = format!(r"(?i)\x{byte:02X}");
            let mut filter = Regex::new(&pattern).unwrap();
            let same = byte.eq_ignore_ascii_case(&other);
            assert_eq!(filter.accepts(&[other], SOURCE), same, "{pattern} on {other:02X}");
        }
    }
    assert_no_match("(?i)é", "É".as_bytes());
    assert_no_match(r"(?i)\xB5", b"\x9C");
}

#[test]
fn ranges_over_both_cases_fold_whole() {
    for byte in 0..=u8::MAX {
        let folded = matches!(byte, b'Q'..=b'c') || matches!(byte, b'q'..=b'z' | b'A'..=b'C');
        assert_eq!(accepts("(?i)[Q-c]", &[byte]), folded, "{byte:02X}");
        assert_eq!(accepts("(?i)[^Q-c]", &[byte]), !folded, "{byte:02X}");
        assert_eq!(accepts("(?i:[Q-c])", &[byte]), folded, "{byte:02X}");
        assert_eq!(accepts("(?i:)[Q-c]", &[byte]), matches!(byte, b'Q'..=b'c'), "{byte:02X}");
    }
}

#[test]
fn classes_begin_as_in_python() {
    assert_matches(r"[]a]\z", b"]");
    assert_matches(r"[^]a]\z", b"b");
    assert_matches(r"[]-a]\z", b"^");
    assert_matches(r"[--/]\z", b".");
    assert_matches(r"[-a]\z", b"-");
    assert_matches(r"[a-]\z", b"-");
    assert_no_match(r"[\s\S][^\s\S]", b"ab");
    assert_refused("[--+]", "to a higher one");
}

#[test]
fn a_pattern_stands_for_itself() {
    assert_refused("a)|(?:b", r"write \) for the character");
    assert_refused("(a", r"write \( for the character");
    assert_refused(")", r"write \) for the character");
    assert_refused("a|*", r"write \ before it");
    assert_refused("{2}", r"write \ before it");
    assert_refused("a{9999999}", "lower the counts");
    assert_refused(&"(".repeat(200), "at most 100 levels");
    assert_no_match("b|a", b"cb");
}

#[test]
fn a_comment_ends_with_the_pattern() {
    assert_matches("(?x) a b # the end", b"abc");
    assert_no_match("(?x) a b # the end", b"a b");
    assert_matches("(?x)a#|b\n c", b"ac");
    assert_matches("(?x: a # one\n)b", b"ab");
    // Outside the group the flag is off: `#` and white space are characters.
    assert_matches("(?x: a ) #", b"a #");
    assert_no_match("(?x: a ) #", b"a");
    assert_matches("(?x)(?-x: #)# )", b" #");
    assert_no_match("(?x)(?-x: #)# )", b"#");
    assert_matches("(?x)a(?-x) b", b"a b");
    assert_matches("(?i-x)a b", b"A b");
    assert_matches("(?:(?x) a ) b", b"a b");
    assert_matches(r"a\#(?x)\ # \", b"a# ");
    assert_matches(r"[(?x)] #", b"x #");
    assert_matches(r"\(?x\) #", b"x) #");
    assert_matches("(?x)( ?: a ) \\x 4 1 b { 2 , 3 } ? [ c d ] # )", b"aAbbd");
    assert_matches("(?x)\\b{ start }a", b"a");
}

#[test]
fn what_is_not_supported_says_what_to_write() {
    for (pattern, advice) in [
        (r"\u00E9", r"each byte of its UTF-8 form as \xNN"),
        (r"\U000000E9", r"each byte of its UTF-8 form as \xNN"),
        (r"\u{41}", r"each byte of its UTF-8 form as \xNN"),
        (r"[\u0041]", r"each byte of its UTF-8 form as \xNN"),
        (r"\x{100}", r"\x{100} is not a byte"),
        (r"[\x{0FFFFFFFFFF}]", "is not a byte"),
        (r"\x{}", "two hexadecimal digits"),
        (r"\x4", "two hexadecimal digits"),
        (r"\xZZ", "two hexadecimal digits"),
        ("(?x)é", r"\xNN"),
        ("é(?x: a )", r"\xNN"),
        (r"a\Z", r"\z"),
        (r"\1", "back-references"),
        (r"\012", r"\x0A for \012"),
        (r"\p{L}", "[A-Za-z]"),
        (r"\N", "write N"),
        (r"\é", "write only the character"),
        (r"a\", r"write \\"),
        ("(?=a)", "combine filters"),
        ("(?!a)", "combine filters"),
        ("(?<=a)", "combine filters"),
        ("(?<!a)", "combine filters"),
        ("(?P<n>a)(?P=n)", "back-references"),
        ("(?P>n)", "recursion"),
        ("(?>a)", "(?:..)"),
        ("(a)(?(1)b|c)", "alternatives"),
        ("(?#note)", "the flag x"),
        ("(?a)b", "leave it out"),
        ("(?L)b", "leave it out"),
        ("(?q)b", "the flags are"),
        ("(?i", "write ) after it"),
        ("a{,3}", "{0,n}"),
        ("a{", r"\{"),
        ("{a}", r"\{"),
        ("a{2;}", r"\{"),
        ("[[a]]", r"\["),
        ("[[:letter:]]", r"\["),
        ("[a", "write ] after it"),
        ("[a&&b]", "before the second"),
        ("[a--b]", "before the second"),
        ("[a~~b]", "before the second"),
        (r"[\b]", r"\x08"),
        (r"[\z]", "cannot be in a class"),
        (r"[a-\d]", r"\-"),
        ("[z-a]", r"\-"),
        ("line\n(", r"in `line\n(`"),
    ] {
        assert_refused(pattern, advice);
    }
    // An escaped backslash, not an escape.
    assert_matches(r"\\x{3}", br"\xxx");
    assert_matches(r"\\u00E9", br"\u00E9");
    assert_matches(r"[\\u00E9]", b"u");
    assert_matches(r"[a\&&]", b"&");
    assert_matches(r"\x{41}[\x{e9}]", b"A\xE9");
}

#[test]
fn a_long_pattern_is_cut_in_messages() {
    let message = Regex::new(&format!("{}(", "a".repeat(5000))).unwrap_err().to_string();
    assert!(message.len() < 200 && message.ends_with("aaa...`"), "{message}");
}

/// Without limits, each would take gigabytes, minutes, or more than the stack.
#[test]
fn limits_hold_on_a_small_stack() {
    let patterns = [
        "(".repeat(10_000),
        format!("{}a{}", "(".repeat(8_000), ")".repeat(8_000)),
        format!("{}a{}", "(?:".repeat(4_000), ")".repeat(4_000)),
        format!("{}a{}", "(?:b|c".repeat(2_000), ")*".repeat(2_000)),
        "a".to_owned() + &"*".repeat(16_000),
        "a".to_owned() + &"{2}".repeat(1_000),
        "a{4294967295}".to_owned(),
        "a{99999999999999999999}".to_owned(),
        "(?:a{0,65535}){0,65535}".to_owned(),
        "(?:(?:){9999999}){9999999}".to_owned(),
        "(?:|){4294967295}".to_owned(),
        "a".repeat(16 * 1024 + 1),
        "()".repeat(8_000) + "{4000000000}",
        "a{0,4294967295}".repeat(1_000),
    ];
    let on_a_small_stack = thread::Builder::new().stack_size(SMALL_STACK).spawn(move || {
        for pattern in patterns {
            let error = Regex::new(&pattern).expect_err(&pattern);
            assert_eq!(error.kind(), ErrorKind::Pattern);
        }
        // The deepest nesting that is allowed.
        let deepest = (1..200).rev().map(|depth| format!("{}a{}", "(?:b|".repeat(depth), ")".repeat(depth)));
        assert!(deepest.filter_map(|pattern| Regex::new(&pattern).ok()).any(|mut filter| filter.accepts(b"a", SOURCE)));
        // Thousands of groups: within the limits, since none captures.
        assert!(Regex::new(&"()".repeat(8_000)).unwrap().accepts(b"", SOURCE));
        assert!(Regex::new("[a-z]{5000}").unwrap().accepts(&[b'a'; 5000], SOURCE));
        assert!(Regex::new("(?:[a-z]?){1400}z").unwrap().accepts(&[b'z'; 1400], SOURCE));
    });
    on_a_small_stack.unwrap().join().unwrap();
}

const SMALL_STACK: usize = 512 * 1024;

#[test]
fn a_clone_and_any_order_of_calls_are_as_right() {
    let mut filter: Regex = r"\xFF+\z".parse().unwrap();
    filter.prepare(2);
    assert!(filter.accepts(&[0xFF; 1000], SOURCE), "a packet longer than prepared for");
    filter.prepare(usize::MAX);
    filter.prepare(0);
    assert!(filter.accepts(&[0xFF; 1000], SOURCE));
    let mut clone = filter.clone();
    assert!(clone.accepts(b"\xFF", SOURCE) && !clone.accepts(b"\xFFa", SOURCE) && !clone.accepts(b"", SOURCE));
    assert_eq!(clone.as_str(), r"\xFF+\z");
    assert_eq!(format!("{filter:?}"), r#"Regex("\\xFF+\\z")"#);
}

#[test]
fn a_filter_may_move_to_another_thread() {
    fn assert_send_and_sync<T: Send + Sync>() {}
    assert_send_and_sync::<Regex>();
}

/// All packets of up to five bytes of a small alphabet.
fn all_packets() -> std::vec::Vec<std::vec::Vec<u8>> {
    let mut packets = std::vec![std::vec::Vec::new()];
    let mut begin = 0;
    for _ in 0..5 {
        let end = packets.len();
        for index in begin..end {
            for byte in *b"abAB\n" {
                packets.push([&packets[index][..], &[byte]].concat());
            }
        }
        begin = end;
    }
    packets
}

#[test]
fn what_is_refused_before_matching_does_not_match() {
    let packets = all_packets();
    let (mut refused, mut matched) = (0, 0);
    for pattern in [
        "a",
        "ab|ba",
        "ab|a",
        "a|",
        "|a",
        "a||b",
        "(a|b)*ab",
        "(?:a|b)+?ba",
        "a{2}b",
        "a{0}b",
        "a{0,2}b",
        "a{1,}b",
        "(?:ab){2}",
        "(?:ab|b){2}a",
        "(?:a?b?){3}",
        "(?:a*b){2}",
        "(?:){3}a",
        "(?:|a)b",
        "(?i)ab",
        "(?i:a)b",
        "a(?i)b(?-i)a",
        "(?i)[^a]b",
        "(?:(?i)a)b",
        "(?x) a b # c",
        "(?x)a {2} b",
        "(?x)a+ ?b",
        "(?s).b",
        ".b",
        ".*b",
        ".*ba.*ab",
        "a.*b",
        "a.?b",
        "[ab][^ab]",
        "[^a]*a",
        r"\w\W",
        r"\s",
        r"\Da",
        r"a\b",
        r"\Ba",
        r"a\bb*",
        "^a$",
        "(?m)a$\n^b",
        r"a\z|b",
        r"\Aa|\Ab",
        r"\x61\x{62}",
        r"\<a\>",
        r"\b{start}a",
        "a+b+a+",
        "(a(b(a)?)?)?b",
        "((a|b)(a|b))+a",
        "[^\\x00-\\xFF]|a",
        "a[^\\x00-\\xFF]?b",
        "(?R).b",
        "a**b",
        "a{2}{2}",
        "(?:a{2}|b)*?ab",
        "aabba",
        "(?:aab|abb|bab)a",
    ] {
        let filter = Regex::new(pattern).unwrap_or_else(|error| panic!("{error}"));
        for packet in &packets {
            let text: String = packet.iter().copied().map(char::from).collect();
            let (is_match, is_allowed) = (filter.compiled.is_match(&text), filter.outline.allows(packet));
            assert!(!is_match || is_allowed, "{pattern:?} on {}", packet.escape_ascii());
            matched += usize::from(is_match);
            refused += usize::from(!is_allowed);
        }
    }
    assert!(matched > 10_000 && refused > 50_000, "{matched}, {refused}");
}
