//! Filters, with any pattern and any packets: no panic, no hang, and a result that depends only on these two.
#![no_main]

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use multicast::filter::{Filter, Prefix, Regex, by};

/// Longer patterns find nothing more and are slow. A slow pattern is no bug: the user writes it.
const LONGEST_PATTERN: usize = 48;
const LONGEST_PACKET: usize = 256;

#[derive(Arbitrary)]
struct Input {
    pattern: Pattern,
    packets: Vec<Vec<u8>>,
    prefix: Vec<u8>,
}

#[derive(Arbitrary)]
enum Pattern {
    /// Any text: mostly not a valid pattern.
    Text(String),
    /// Pieces of the syntax: often a valid pattern.
    Pieces(Vec<Piece>),
}

#[derive(Arbitrary)]
enum Piece {
    Literal(char),
    Byte(u8),
    Range(char, char),
    Count(u8, u8),
    Syntax(Syntax),
}

macro_rules! syntax {
    ($($name:ident = $text:literal,)*) => {
        #[derive(Arbitrary)]
        enum Syntax {
            $($name,)*
        }
        impl Syntax {
            fn text(&self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }
        }
    };
}

syntax! {
    Any = ".", Star = "*", Plus = "+", Maybe = "?", Lazily = "*?", Or = "|", Begin = "^", End = "$", Text = "\\A",
    AllText = "\\z", Open = "(", OpenPlain = "(?:", OpenNamed = "(?P<n>", Close = ")", Class = "[", NotClass = "[^",
    ClassEnd = "]", Dash = "-", Digit = "\\d", NotDigit = "\\D", Word = "\\w", NotWord = "\\W", Blank = "\\s", Edge = "\\b",
    NotEdge = "\\B", Case = "(?i)", Lines = "(?m)", Dots = "(?s)", Spaced = "(?x)", Comment = "#", Line = "\n", Back = "\\",
    Wide = "\\x{ff}", Wider = "\\u0100", WordBegin = "\\<", Posix = "[[:alpha:]]", Possessive = "*+", Ahead = "(?=",
    Again = "\\1", Accent = "é", Euro = "€",
}

impl Pattern {
    fn text(&self) -> String {
        let text = match self {
            Self::Text(text) => text.clone(),
            Self::Pieces(pieces) => pieces.iter().map(|piece| piece.to_string()).collect(),
        };
        text.chars().take(LONGEST_PATTERN).collect()
    }
}

impl fmt::Display for Piece {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Literal(literal) => write!(f, "{literal}"),
            Self::Byte(byte) => write!(f, "\\x{byte:02x}"),
            Self::Range(from, to) => write!(f, "[{from}-{to}]"),
            // Small, since nested counts could make a program of many megabytes.
            Self::Count(from, to) => write!(f, "{{{},{}}}", from % 8, to % 8),
            Self::Syntax(syntax) => f.write_str(syntax.text()),
        }
    }
}

/// Prints the code that does the same.
impl fmt::Debug for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\nlet pattern = {:?};", self.pattern.text())?;
        writeln!(f, "let prefix = b\"{}\";", self.prefix.escape_ascii())?;
        writeln!(f, "let packets: [&[u8]; {}] = [", self.packets.len())?;
        for packet in self.packets.iter().map(|packet| cut(packet)) {
            writeln!(f, "    b\"{}\",", packet.escape_ascii())?;
        }
        f.write_str("];")
    }
}

fn cut(packet: &[u8]) -> &[u8] {
    &packet[..packet.len().min(LONGEST_PACKET)]
}

const SOURCE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 4242);

fuzz_target!(|input: Input| {
    let prefix = cut(&input.prefix);
    let literal: String = prefix.iter().map(|byte| format!("\\x{byte:02x}")).collect();
    let mut literal = Regex::new(&literal).expect("escaped bytes are a pattern");
    for packet in &input.packets {
        let expected = packet.starts_with(prefix);
        assert_eq!(Prefix(prefix).accepts(packet, SOURCE), expected);
        assert_eq!(by(|payload, _| payload.starts_with(prefix)).accepts(packet, SOURCE), expected);
        assert_eq!(literal.accepts(packet, SOURCE), expected, "a pattern of these bytes");
    }

    let fresh = match Regex::new(&input.pattern.text()) {
        Ok(regex) => regex,
        Err(error) => {
            let text = error.to_string();
            assert!(!text.is_empty() && !text.chars().any(char::is_control), "{text:?}");
            return;
        }
    };
    // One filter gets all packets, as in a listener; another one is new for each packet.
    let mut prepared = fresh.clone();
    prepared.prepare(LONGEST_PACKET);
    for packet in input.packets.iter().map(|packet| cut(packet)) {
        let mut unprepared = fresh.clone();
        let answer = unprepared.accepts(packet, SOURCE);
        assert_eq!(unprepared.accepts(packet, SOURCE), answer, "asked twice");
        assert_eq!(prepared.accepts(packet, SOURCE), answer, "prepared, and used before");
    }
});
