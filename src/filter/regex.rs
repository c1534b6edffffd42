//! Regular expressions over bytes: their syntax, and how a packet is matched without the heap.
//!
//! regex-lite matches text, but packets are bytes. So each byte, in the pattern and in the packet, is read as the character of
//! the same number, U+0000 to U+00FF. `rewrite` turns the pattern into one that means this to regex-lite.

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

/// The largest size of a compiled pattern, in bytes: `[a-z]{5000}` fits. The time per packet grows with this size.
const LARGEST_PROGRAM: usize = 1024 * 1024;

/// How deep groups, alternatives and repetitions may be nested. regex-lite recurses over them; with this limit it needs less than
/// 128 KiB of stack (512 KiB without optimization).
const DEEPEST_NESTING: u32 = 100;

/// The longest possible UDP packet; a listener's buffer may be longer.
const LONGEST_PACKET: usize = 65_535;

/// Accepts packets that match a regular expression from their first byte on.
///
/// The pattern is over bytes, as in Python's `re` with `bytes`: each byte of the packet is one character, and non-ASCII text
/// in the pattern means its UTF-8 bytes. So every packet can match, also if it is not UTF-8. A match starts at the
/// packet's first byte, as with Python's `re.match`, and may end anywhere: put `.*` in front to search (`(?s).*` if there
/// may be newlines), and `$` at the end to match the whole packet.
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
/// Matching does not backtrack: it takes at most the time of the packet's length times the pattern's size.
///
/// | pattern | matches |
/// |---|---|
/// | `.` | any byte except `\n`; with the flag `s` any byte |
/// | `[a-z]` `[^a-z]` `[[:alpha:]]` | one byte of a class, of its complement, of an ASCII class |
/// | `\d` `\w` `\s`, `\D` `\W` `\S` | ASCII digit, word byte, white space, and their complements; in a class too |
/// | `\x7F` `\x{7F}` | that byte; in a class too |
/// | `\a` `\f` `\t` `\n` `\r` `\v`, `\` and punctuation | that byte |
/// | `xy` `x\|y` `(x)` `(?:x)` `(?P<name>x)` | sequence, alternatives, groups (all the same: nothing is captured) |
/// | `x*` `x+` `x?` `x{n}` `x{n,}` `x{n,m}` | repetitions; a `?` after them changes nothing here |
/// | `^` `\A`, `$` `\z` | the beginning, the very end; with the flag `m`, `^` and `$` match at lines |
/// | `\b` `\B`, `\<` `\>` | a word boundary, no word boundary; the beginning, the end of a word (ASCII) |
/// | `(?i)` `(?ims-x)` `(?i:x)` | flags, up to the end of the group, or only for `x` |
///
/// Flags: `i` ignores the case of ASCII letters, `m` and `s` as above, `x` allows white space and `#` comments, and with
/// `R` a line ends at `\r`, `\n` or `\r\n`, also for `.`.
///
/// # Differences from Python
/// Both accept these patterns, but with different meanings:
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
/// Python accepts these patterns; here they are errors, whose message says what to write instead:
///
/// | pattern | here |
/// |---|---|
/// | `(?=x)` `(?!x)` `(?<=x)` `(?<!x)` | no look-around: combine filters, for example `And(a, Not(b))` |
/// | `\1` `(?P=name)` `(?(1)x\|y)` | no back-references, no conditions |
/// | `(?>x)` `(?#text)` | no atomic groups; comments only with `(?x)` |
/// | `\0` `\012` | no octal: `\x00`, `\x0A` |
/// | `\Z` | `\z` |
/// | `[\b]` | `[\x08]` |
/// | `a{,3}` | `a{0,3}` |
/// | `a{` `{x}` | `a\{`, `\{x\}` |
/// | `[[a]` `[a&&b]` `[+--]` `[a~~b]` | `[\[a]` `[a\&b]`: other dialects read these as set operations |
/// | `(?a)` `(?L)` | leave it out: bytes are always ASCII, and locales are not used |
/// | `\é` | the character without `\` |
/// | `(?x)é` | `(?x)\xC3\xA9`: a pattern with the flag `x` is ASCII |
///
/// Python refuses these, and they are accepted here: `(?<name>x)`, `a**`, `a{2}{3}` and `^*`, `\z` (Python has it since 3.14),
/// `\x{41}`, flags in the middle of a pattern (`a(?i)b`), flags switched off for the rest of a pattern (`(?-i)`), the flag `R`,
/// and the flags `U` and `u`, which change nothing.
///
/// `\u` and `\U` are errors in both, and `\x{..}` above FF is an error here: a character is one to four bytes, so write the
/// character itself, or its bytes as `\xNN`. In `é*` the star repeats only the last byte, as in Python: write `(?:é)*`. And `[é]`
/// matches one of two bytes: write `(?:é|ü)` instead of `[éü]`.
///
/// # Limits
/// A pattern may be up to 16 KiB long, nested 100 deep (a repeated group of alternatives counts four), and 1 MiB large when
/// compiled (`[a-z]{5000}` fits). A pattern beyond these limits is an error.
///
/// # Speed
/// Most packets that do not match are rejected before the matcher runs. The kernel checks the least length of a match, and up
/// to 32 bytes at its beginning (literal text, letters in both cases, classes), and drops the others without waking the
/// process. The process checks the same, and whether the packet has a text that every match contains. So `NOTIFY .*alive` is
/// faster than `.*alive`.
///
/// # Memory
/// [`prepare`](Filter::prepare), which every listener calls, reserves twice the size of the listener's buffer, for packets that
/// are not all ASCII, and the matcher's own memory: as much as the compiled pattern, some kilobytes for most. After it,
/// `accepts` takes no memory from the heap. Without it, `accepts` gives the same results, and allocates when it needs memory. A
/// clone is not prepared.
pub struct Regex {
    compiled: regex_lite::Regex,
    outline: Outline,
    pattern: Box<str>,
    /// The packet as text, if it is not all ASCII.
    text: String,
}

impl Regex {
    /// Compiles a pattern.
    ///
    /// # Errors
    /// [`ErrorKind::Pattern`](crate::ErrorKind::Pattern) if the pattern is not valid, [not
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

    /// The pattern that this was compiled from.
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
        // If this fails, `accepts` tries again when it needs the memory.
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
    // First without the anchoring group: inside it, `a)|(?:b` would compile, with another meaning. The rewriting does not check
    // the syntax either; it leaves most mistakes to regex-lite.
    let alone: String = pattern.bytes().map(char::from).collect();
    build(&alone, DEEPEST_NESTING)?;
    // The anchoring group nests too, and must not exceed the limit by itself.
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

/// Adds to regex-lite's message, which says what is wrong, what to do about it.
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
            // Not `escape_debug`: it doubles backslashes, and the pattern must look as it was written.
            if character.is_control() {
                write!(f, "{}", character.escape_default())?;
            } else {
                fmt::Write::write_char(f, character)?;
            }
        }
        if characters.next().is_some() { f.write_str("...") } else { Ok(()) }
    }
}
