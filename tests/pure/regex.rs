//! `Regex` compared with Python's `re` on bytes: the same in the common syntax, and different only as documented.

use core::fmt::Write as _;
use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::collections::BTreeSet;
use std::io::Write as _;
use std::process::{Command, Stdio};

use multicast::filter::{Filter, Regex};

use crate::regex_pairs::{COMMON, random_pair};

const SOURCE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 4242);

/// Reads a line for each pair: pattern and packet in hexadecimal digits. It prints whether they match, or that the pattern is an
/// error.
const PYTHON: &str = r#"
import re, sys, warnings
warnings.simplefilter("ignore")
print("%d.%03d" % sys.version_info[:2])
for line in sys.stdin.read().split("\n")[:-1]:
    pattern, packet = (bytes.fromhex(field) for field in line.split(" "))
    try:
        print("match" if re.match(pattern, packet) else "none")
    except re.error:
        print("error")
"#;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    Match,
    None,
    Error,
}

use Answer::{Error, Match, None as NoMatch};

/// Python's answers to all pairs, and its version.
fn python(pairs: &[(String, Vec<u8>)]) -> (String, Vec<Answer>) {
    let mut process = Command::new("python3")
        .args(["-c", PYTHON])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("this test needs python3 to compare with");
    let mut questions = String::new();
    for (pattern, packet) in pairs {
        writeln!(questions, "{} {}", hexadecimal(pattern.as_bytes()), hexadecimal(packet)).unwrap();
    }
    // Python reads to the end before it answers, so neither waits for the other.
    process.stdin.take().unwrap().write_all(questions.as_bytes()).unwrap();
    let output = process.wait_with_output().unwrap();
    assert!(output.status.success());
    let output = String::from_utf8(output.stdout).unwrap();
    let mut lines = output.lines();
    let version = lines.next().unwrap().to_owned();
    let answers: Vec<Answer> = lines
        .map(|line| match line {
            "match" => Match,
            "none" => NoMatch,
            "error" => Error,
            _ => panic!("python3 said {line}"),
        })
        .collect();
    assert_eq!(answers.len(), pairs.len());
    (version, answers)
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

fn ours(pattern: &str, packet: &[u8]) -> Answer {
    match Regex::new(pattern) {
        Ok(mut filter) => {
            filter.prepare(packet.len());
            if filter.accepts(packet, SOURCE) { Match } else { NoMatch }
        }
        Err(_) => Error,
    }
}

fn assert_same(pairs: &[(String, Vec<u8>)]) -> (usize, usize) {
    let (_, answers) = python(pairs);
    let mut matches = 0;
    for ((pattern, packet), answer) in pairs.iter().zip(&answers) {
        assert_ne!(*answer, Error, "not common syntax: {pattern:?}");
        assert_eq!(ours(pattern, packet), *answer, "{pattern:?} on {}", packet.escape_ascii());
        matches += usize::from(*answer == Match);
    }
    (matches, answers.len() - matches)
}

#[test]
fn the_common_syntax_matches_as_in_python() {
    let pairs: Vec<_> = COMMON.iter().map(|(pattern, packet)| ((*pattern).to_owned(), packet.to_vec())).collect();
    let (matches, others) = assert_same(&pairs);
    assert!(pairs.len() >= 150 && matches >= 60 && others >= 60, "{matches} and {others}");
    assert!(pairs.iter().filter(|(_, packet)| core::str::from_utf8(packet).is_err()).count() >= 50);
}

#[test]
fn random_patterns_match_as_in_python() {
    let pairs: Vec<_> = (0..6_000).map(random_pair).collect();
    let (matches, others) = assert_same(&pairs);
    assert!(matches > 1_000 && others > 1_000, "{matches} and {others}");
    let distinct: BTreeSet<_> = pairs.iter().map(|(pattern, _)| pattern).collect();
    assert!(distinct.len() > 3_000, "{}", distinct.len());
}

#[test]
fn all_documented_differences_exist() {
    let differences: &[(&str, &[u8], Answer, Answer)] = &[
        // Pattern, packet, Python's answer, our answer: both accept the pattern, with different meanings.
        ("a$", b"a\n", Match, NoMatch),
        ("$", b"\n", Match, NoMatch),
        (r"\<", b"<", Match, NoMatch),
        (r"\<a\>", b"a", NoMatch, Match),
        (r"\>", b">", Match, NoMatch),
        (r"\b{start}a", b"a", NoMatch, Match),
        (r"a\b{end}", b"a", NoMatch, Match),
        ("[[:alpha:]]", b"b", NoMatch, Match),
        ("[[:alpha:]]", b":]", Match, NoMatch),
        ("a{2, 3}", b"aa", NoMatch, Match),
        ("a{2, 3}", b"a{2, 3}", Match, NoMatch),
        ("(?x)[a b]", b" ", Match, NoMatch),
        ("(?x)[#]", b"#", Match, Error),
        // Errors only here.
        ("(?=a)", b"a", Match, Error),
        ("(?!a)", b"b", Match, Error),
        ("b(?<=b)", b"b", Match, Error),
        ("b(?<!a)", b"b", Match, Error),
        (r"(a)\1", b"aa", Match, Error),
        ("(?P<n>a)(?P=n)", b"aa", Match, Error),
        ("(a)?(?(1)b|c)", b"ab", Match, Error),
        ("(?#note)a", b"a", Match, Error),
        (r"\0", b"\0", Match, Error),
        (r"\012", b"\n", Match, Error),
        (r"\101", b"A", Match, Error),
        (r"a\Z", b"a", Match, Error),
        (r"[\b]", b"\x08", Match, Error),
        ("a{,3}b", b"aab", Match, Error),
        ("a{", b"a{", Match, Error),
        ("{x}", b"{x}", Match, Error),
        ("[[a]", b"[", Match, Error),
        ("[a&&b]", b"&", Match, Error),
        ("[a--b]", b"a", Error, Error),
        ("[+--]", b",", Match, Error),
        ("[a~~b]", b"~", Match, Error),
        ("(?a)a", b"a", Match, Error),
        ("(?L)a", b"a", Match, Error),
        (r"\é", "é".as_bytes(), Match, Error),
        ("(?x)é", "é".as_bytes(), Match, Error),
        // Errors only in Python.
        ("(?<name>x)", b"x", Error, Match),
        ("a**", b"aa", Error, Match),
        ("a{2}{3}", b"aaaaaa", Error, Match),
        ("^*a", b"a", Error, Match),
        (r"\x{41}", b"A", Error, Match),
        ("(?-i)a", b"a", Error, Match),
        ("(?R)a", b"a", Error, Match),
        ("(?U)a", b"a", Error, Match),
        ("(?u)a", b"a", Error, Match),
        // Errors in both.
        (r"\u0041", b"A", Error, Error),
        (r"\U00000041", b"A", Error, Error),
        (r"\x{100}", b"A", Error, Error),
        (r"\N", b"N", Error, Error),
        (r"\p{L}", b"A", Error, Error),
        ("a)|(?:b", b"a", Error, Error),
    ];
    // Python's answer depends on its version: 3.11 added possessive repetitions, and made flags in the middle an error.
    let since_3_11: &[(&str, &[u8], Answer, Answer)] = &[
        ("a*+a", b"aaa", NoMatch, Match),
        ("a++a", b"aaa", NoMatch, Match),
        ("a?+a", b"a", NoMatch, Match),
        ("a{1,2}+a", b"aa", NoMatch, Match),
        ("(?>a)", b"a", Match, Error),
        ("a(?i)b", b"aB", Error, Match),
    ];
    let before_3_14: &[(&str, &[u8], Answer, Answer)] = &[(r"\B", b"", NoMatch, Match), (r"a\z", b"a", Error, Match)];

    let pairs: Vec<_> = [differences, since_3_11, before_3_14]
        .concat()
        .iter()
        .map(|(pattern, packet, ..)| ((*pattern).to_owned(), packet.to_vec()))
        .collect();
    let (version, answers) = python(&pairs);
    let mut answers = answers.into_iter();
    for (table, counts) in [(differences, true), (since_3_11, *version >= *"3.011"), (before_3_14, *version < *"3.014")] {
        for (pattern, packet, theirs, here) in table {
            let answer = answers.next().unwrap();
            assert!(!counts || answer == *theirs, "Python {version}: {pattern} on {packet:?}: {answer:?}");
            assert_eq!(ours(pattern, packet), *here, "{pattern} on {packet:?}");
        }
    }
}
