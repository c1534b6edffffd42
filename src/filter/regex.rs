//! Regular expressions over bytes: what the pattern means, and how a packet is matched without a heap.
//!
//! regex-lite matches text, and packets are bytes. So each byte is read as the character of the same number, U+0000 to
//! U+00FF, in the pattern as in the packet. `rewrite` turns the pattern into one that regex-lite reads in the same way.

mod class;
mod cursor;
mod escape;
mod rewrite;
mod shape;
#[cfg(test)]
mod tests;

use core::fmt;
use core::net::SocketAddr;
use std::boxed::Box;
use std::format;
use std::string::{String, ToString};

use shape::Outline;

use super::Filter;
use super::kernel::{Assembler, Fit};
use crate::error::{Error, Result};

/// The longest pattern, in bytes. Compiling one takes up to 400 times its length in memory, 6 MiB at most.
const LONGEST_PATTERN: usize = 16 * 1024;

/// How large a compiled pattern may be, in bytes: `[a-z]{5000}` fits. What a packet costs grows with this size.
const LARGEST_PROGRAM: usize = 1024 * 1024;

/// How deep groups, alternatives and repetitions may be nested: regex-lite recurses over them, and stays below 128 KiB of
/// stack so (512 KiB without optimization).
const DEEPEST_NESTING: u32 = 100;

/// No UDP packet is longer, whatever the listener's buffer could hold.
const LONGEST_PACKET: usize = 65_535;

/// Accepts packets that match a regular expression, from their first byte on.
///
/// The pattern is over bytes, as in Python's `re` with `bytes`: each byte of the packet is one character, and non-ASCII text
/// in the pattern means its UTF-8 bytes. So every packet can match, whether it is UTF-8 or not. A match starts at the
/// packet's first byte, as with Python's `re.match`, and may end anywhere: put `.*` in front to search (`(?s).*` where there
/// are newlines), and `$` at the end to match the packet as a whole.
///
/// ```
/// # use multicast::filter::{Filter, Regex};
/// # fn main() -> Result<(), multicast::Error> {
/// # let source = "192.0.2.1:1900".parse().unwrap();
/// let mut announcements = Regex::new(r"(?i)NOTIFY \* HTTP/1\.[01]\r\n")?;
/// assert!(announcements.accepts(b"NOTIFY * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\n", source));
/// assert!(!announcements.accepts(b"M-SEARCH * HTTP/1.1\r\n", source));
///
/// let mut frames = Regex::new(r"\x7E[\x80-\xFF]")?;
/// assert!(frames.accepts(b"\x7E\xC0\x00\xFF", source));
/// # Ok(())
/// # }
/// ```
///
/// # Syntax
/// Matching takes time in proportion to the packet's length, at most times the pattern's size: there is no backtracking to
/// blow up.
///
/// | pattern | matches |
/// |---|---|
/// | `.` | any byte but `\n`; with the flag `s` any byte |
/// | `[a-z]` `[^a-z]` `[[:alpha:]]` | one byte of a class, of its complement, of an ASCII class |
/// | `\d` `\w` `\s`, `\D` `\W` `\S` | ASCII digit, word byte, white space, and their complements; in a class too |
/// | `\x7F` `\x{7F}` | that byte; in a class too |
/// | `\a` `\f` `\t` `\n` `\r` `\v`, `\` and punctuation | that byte |
/// | `xy` `x\|y` `(x)` `(?:x)` `(?P<name>x)` | sequence, alternatives, groups (all alike: nothing is captured) |
/// | `x*` `x+` `x?` `x{n}` `x{n,}` `x{n,m}` | repetitions; a `?` behind them changes nothing here |
/// | `^` `\A`, `$` `\z` | the beginning, the very end; with the flag `m`, `^` and `$` are those of lines |
/// | `\b` `\B`, `\<` `\>` | a word boundary, none; the beginning, the end of a word (ASCII) |
/// | `(?i)` `(?ims-x)` `(?i:x)` | flags, up to the end of the group, or for `x` alone |
///
/// Flags: `i` ignores the case of ASCII letters, `m` and `s` as above, `x` allows white space and `#` comments, and with
/// `R` a line ends at `\r`, `\n` or `\r\n`, for `.` too.
///
/// # Differences from Python
/// Where both accept a pattern, but mean something else by it:
///
/// | pattern | Python | here |
/// |---|---|---|
/// | `a$` | also before a newline that ends the packet | only at the very end |
/// | `\<` `\>` | the characters `<` and `>` | beginning and end of a word |
/// | `\b{start}` `\b{end}` | `\b` and the text `{start}` | beginning and end of a word |
/// | `[[:alpha:]]` | one of `[:alph` and then `]` | a letter |
/// | `a*+` `a++` `a?+` `a{2}+` | possessive: gives nothing back | a repetition of a repetition: may give back |
/// | `a{2, 3}` | that text | two or three times |
/// | `\B` on an empty packet | no match before Python 3.14 | matches |
/// | `(?x)[a b]` | white space and `#` in a class are members | white space and comments are skipped there too: write `\x20`, `\#` |
///
/// What Python accepts and is an error here; the message says what to write instead:
///
/// | pattern | here |
/// |---|---|
/// | `(?=x)` `(?!x)` `(?<=x)` `(?<!x)` | no look-around: combine filters, as `And(a, Not(b))` |
/// | `\1` `(?P=name)` `(?(1)x\|y)` | no back-references, no conditions |
/// | `(?>x)` `(?#text)` | no atomic groups, no comments but with `(?x)` |
/// | `\0` `\012` | no octal: `\x00`, `\x0A` |
/// | `\Z` | `\z` |
/// | `[\b]` | `[\x08]` |
/// | `a{,3}` | `a{0,3}` |
/// | `a{` `{x}` | `a\{`, `\{x\}` |
/// | `[[a]` `[a&&b]` `[+--]` `[a~~b]` | `[\[a]` `[a\&b]`: these mean sets of sets elsewhere |
/// | `(?a)` `(?L)` | left out: bytes are ASCII always, locales never count |
/// | `\é` | the character without `\` |
/// | `(?x)é` | `(?x)\xC3\xA9`: a pattern with the flag `x` is ASCII |
///
/// What Python refuses and is accepted here: `(?<name>x)`, `a**`, `a{2}{3}` and `^*`, `\z` (Python has it since 3.14),
/// `\x{41}`, flags in the middle of a pattern (`a(?i)b`) and unset for the rest of it (`(?-i)`), the flag `R`, and the flags
/// `U` and `u`, which change nothing.
///
/// `\u` and `\U` are errors in both, and so is `\x{..}` above FF here: a character is one to four bytes, so write the character
/// itself, or its bytes as `\xNN`. Mind that in `é*` the star belongs to the last byte, as in Python: write `(?:é)*`. And
/// `[é]` is one of two bytes: write `(?:é|ü)` instead of `[éü]`.
///
/// # Limits
/// A pattern may be up to 16 KiB long, nested 100 deep (a repeated group of alternatives counts four), and 1 MiB large when
/// compiled (`[a-z]{5000}` fits). Beyond that it is an error, like any mistake in it.
///
/// # Speed
/// Most packets that do not match are refused before the matcher is asked, and by the kernel before they wake anybody: where they
/// are shorter than every match, do not begin as a match does (up to 32 bytes are told apart: literal text, letters in both cases,
/// classes), or, here alone, lack a text that every match has somewhere. So write `NOTIFY .*alive` rather than `.*alive`.
///
/// # Memory
/// [`prepare`](Filter::prepare), which every listener calls, reserves twice the listener's buffer, for packets that are not
/// all ASCII, and the matcher's own memory: as much as the compiled pattern, some kilobytes for most. From then on no packet
/// takes memory from the heap. Without it, `accepts` is as right, and reserves what it needs by and by. A clone starts
/// unprepared.
pub struct Regex {
    compiled: regex_lite::Regex,
    outline: Outline,
    pattern: Box<str>,
    /// The packet as text, where it is not all ASCII.
    text: String,
}

impl Regex {
    /// Compiles a pattern.
    ///
    /// # Errors
    /// [`ErrorKind::Pattern`](crate::ErrorKind::Pattern) where the pattern is none, or one that is [not
    /// supported](Self#differences-from-python), or beyond the [limits](Self#limits).
    ///
    /// ```
    /// # use multicast::filter::Regex;
    /// let error = Regex::new(r"temperature: \d+\Z").unwrap_err();
    /// assert_eq!(
    ///     error.to_string(),
    ///     r"parse pattern: \Z is not supported: the end of the packet is \z, in `temperature: \d+\Z`"
    /// );
    /// ```
    pub fn new(pattern: &str) -> Result<Self> {
        compile(pattern).map_err(|reason| Error::pattern(format!("{reason}, in `{}`", OneLine(pattern))))
    }

    /// The pattern, as it was given.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.pattern
    }
}

impl Filter for Regex {
    fn accepts(&mut self, payload: &[u8], _source: SocketAddr) -> bool {
        if !self.outline.allows(payload) {
            return false;
        }
        if payload.is_ascii() {
            return core::str::from_utf8(payload).is_ok_and(|text| self.compiled.is_match(text));
        }
        self.text.clear();
        self.text.extend(payload.iter().copied().map(char::from));
        self.compiled.is_match(&self.text)
    }

    fn prepare(&mut self, mtu: usize) {
        // U+0080 to U+00FF take two bytes each.
        let longest = mtu.min(LONGEST_PACKET).saturating_mul(2);
        self.text.clear();
        // Where there is no memory now, `accepts` tries again when it needs some.
        let _ = self.text.try_reserve_exact(longest);
        self.compiled.is_match(rewrite::WARM_UP);
    }

    fn compile(&self, code: &mut Assembler<'_>) -> Fit {
        self.outline.compile(code);
        Fit::Superset
    }
}

impl Clone for Regex {
    fn clone(&self) -> Self {
        let Self { compiled, outline, pattern, .. } = self;
        Self { compiled: compiled.clone(), outline: outline.clone(), pattern: pattern.clone(), text: String::new() }
    }
}

impl fmt::Debug for Regex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Regex").field(&self.pattern).finish()
    }
}

impl core::str::FromStr for Regex {
    type Err = Error;

    fn from_str(pattern: &str) -> Result<Self> {
        Self::new(pattern)
    }
}

fn compile(pattern: &str) -> core::result::Result<Regex, String> {
    if pattern.len() > LONGEST_PATTERN {
        return Err(format!("the pattern has {} bytes, more than {LONGEST_PATTERN}", pattern.len()));
    }
    let rewritten = rewrite::rewrite(pattern.as_bytes())?;
    // Alone first: inside the brackets that anchor it, `a)|(?:b` would turn into something else than was written. Rewriting
    // is no proof of syntax either, it leaves most mistakes to regex-lite.
    let alone: String = pattern.bytes().map(char::from).collect();
    build(&alone, DEEPEST_NESTING)?;
    // The brackets nest too, and must not be what breaks the limit.
    let compiled = build(&rewritten.anchored(), DEEPEST_NESTING.saturating_add(rewrite::OWN_NESTING))?;
    Ok(Regex { compiled, outline: rewritten.outline, pattern: Box::from(pattern), text: String::new() })
}

fn build(pattern: &str, nesting: u32) -> core::result::Result<regex_lite::Regex, String> {
    regex_lite::RegexBuilder::new(pattern)
        .size_limit(LARGEST_PROGRAM)
        .nest_limit(nesting)
        .build()
        .map_err(|error| with_advice(error.to_string()))
}

/// A message of regex-lite, which says what is wrong, with what to do about it.
fn with_advice(message: String) -> String {
    const ADVICE: [(&str, &str); 5] = [
        ("size limit", "at most 1 MiB: lower the counts of repetitions"),
        ("too much nesting", "at most 100 levels"),
        ("must be applied to a sub-expression", "write \\ before it for the character itself"),
        ("without matching '('", "write \\) for the character"),
        ("without closing ')'", "write \\( for the character"),
    ];
    match ADVICE.iter().find(|(part, _)| message.contains(part)) {
        Some((_, advice)) => format!("{message}: {advice}"),
        None => message,
    }
}

/// The beginning of a pattern, printed on one line.
struct OneLine<'p>(&'p str);

impl fmt::Display for OneLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const CHARACTERS: usize = 80;
        let mut characters = self.0.chars();
        for character in characters.by_ref().take(CHARACTERS) {
            // Not `escape_debug`: it doubles backslashes, and the pattern should look as it was written.
            if character.is_control() {
                write!(f, "{}", character.escape_default())?;
            } else {
                fmt::Write::write_char(f, character)?;
            }
        }
        if characters.next().is_some() { f.write_str("...") } else { Ok(()) }
    }
}
