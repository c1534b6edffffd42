//! Turns a pattern over bytes into one over the characters U+0000 to U+00FF, anchored, and such that matching needs no heap.
//!
//! The changes: bytes become characters; groups capture nothing (regex-lite's tables for captures grow with groups times states);
//! classes are written out ([`Class`] says why); escapes for characters above U+00FF are refused; and what the flag `x` skips is
//! removed, so that no comment can hide the bracket after the pattern.

use std::format;
use std::string::{String, ToString};
use std::vec::Vec;

use super::class::{self, Class};
use super::cursor::{Cursor, is_space};
use super::escape::{self, Escape};
use super::shape::{Outline, Reading, Set, Shape};

/// A text that no packet contains. Matching it once makes the matcher's stack as large as it can get.
pub(super) const WARM_UP: &str = "\u{100}";

/// How many levels the rewriting adds to the nesting: an anchor, alternatives, a sequence, and a reserve.
pub(super) const OWN_NESTING: u32 = 8;

/// A pattern over characters, not yet anchored.
pub(super) struct Rewritten {
    text: String,
    /// An upper limit of the choices in regex-lite's program.
    splits: usize,
    pub(super) outline: Outline,
}

/// Rewrites a pattern, or returns what to write instead. It does not find every mistake: compile the original pattern, too.
pub(super) fn rewrite(pattern: &[u8]) -> Result<Rewritten, String> {
    let mut rewriter = Rewriter {
        cursor: Cursor::new(pattern),
        flags: Flags::default(),
        is_ascii: pattern.is_ascii(),
        level: Level::default(),
        outer: Vec::new(),
        text: String::new(),
    };
    rewriter.run()?;
    let Rewriter { text, level, .. } = rewriter;
    Ok(Rewritten { text, splits: level.splits(), outline: level.reading.finish().into() })
}

impl Rewritten {
    /// The anchored pattern, with an alternative that warms up the matcher. Only for patterns whose original compiled within the
    /// limit of size, which also limits the warm-up.
    ///
    /// regex-lite follows alternatives with a stack on the heap, which grows when a packet needs it. It visits each state once
    /// per byte, so the stack never holds more entries than the program has choices. After [`WARM_UP`] come as many empty
    /// alternatives, which regex-lite puts on its stack all at once.
    pub(super) fn anchored(&self) -> String {
        let pattern = &self.text;
        if self.splits == 0 {
            return format!("\\A(?:{pattern})");
        }
        // One more, for the choice between the warm-up and the pattern. The warm-up comes first: after a pattern that matches the
        // empty text, such as `a*`, it would never be tried.
        let choices = "|".repeat(self.splits.saturating_add(1));
        format!("\\A(?:{WARM_UP}(?:{choices})|(?:{pattern}))")
    }
}

#[derive(Clone, Copy, Default)]
struct Flags {
    ignore_case: bool,
    verbose: bool,
}

impl Flags {
    /// What a byte of the pattern matches.
    fn byte(self, byte: u8) -> Shape {
        let folded = self.ignore_case && byte.is_ascii_alphabetic();
        Shape::byte(Set::of(|other| other == byte || (folded && other.eq_ignore_ascii_case(&byte))))
    }
}

/// A group that is being read.
#[derive(Default)]
struct Level {
    /// The flags to return to when it ends.
    outer_flags: Flags,
    /// Choices so far, without those of the last item, which a repetition may still multiply.
    before: usize,
    /// Choices in the last item.
    last: usize,
    /// What the group matches.
    reading: Reading,
}

impl Level {
    const fn splits(&self) -> usize {
        self.before.saturating_add(self.last)
    }

    fn push(&mut self, splits: usize, shape: Shape) {
        self.before = self.splits();
        self.last = splits;
        self.reading.push(shape);
    }

    /// Repeats the last item. Each repetition has choices whether to continue.
    fn repeat(&mut self, least: usize, most: Option<usize>) {
        let (copies, choices) = match most {
            Some(most) => (most, most.saturating_sub(least)),
            // Two choices for `a*`, since `a` may be empty.
            None => (least.max(1), 2),
        };
        self.last = self.last.saturating_mul(copies).saturating_add(choices);
        self.reading.repeat(least, most);
    }

    /// Another alternative begins.
    fn alternative(&mut self) {
        self.before = self.splits();
        self.last = 1;
        self.reading.alternative();
    }
}

struct Rewriter<'p> {
    cursor: Cursor<'p>,
    flags: Flags,
    is_ascii: bool,
    level: Level,
    /// The groups around it, outermost first.
    outer: Vec<Level>,
    text: String,
}

impl Rewriter<'_> {
    fn run(&mut self) -> Result<(), String> {
        loop {
            self.cursor.skip_space(self.flags.verbose);
            let Some(byte) = self.cursor.next() else { return Ok(()) };
            match byte {
                b'(' => self.open()?,
                b')' => self.close(),
                b'[' => {
                    let class = Class::read(&mut self.cursor, self.flags.verbose, self.flags.ignore_case)?;
                    class.write(&mut self.text);
                    self.level.push(0, Shape::byte(Set::from(&class)));
                }
                b'\\' => self.escape()?,
                b'{' => self.count()?,
                b'|' => {
                    self.text.push('|');
                    self.level.alternative();
                }
                b'?' | b'*' | b'+' => {
                    self.text.push(char::from(byte));
                    self.level.repeat((byte == b'+').into(), (byte == b'?').then_some(1));
                    self.laziness();
                }
                b'.' => {
                    self.text.push('.');
                    // An upper limit: `.` may exclude ends of lines.
                    self.level.push(0, Shape::byte(Set::ALL));
                }
                b'^' | b'$' => {
                    self.text.push(char::from(byte));
                    self.level.push(0, Shape::EMPTY);
                }
                _ => {
                    self.text.push(char::from(byte));
                    self.level.push(0, self.flags.byte(byte));
                }
            }
        }
    }

    fn open(&mut self) -> Result<(), String> {
        self.cursor.skip_space(self.flags.verbose);
        if self.cursor.starts_with(b"?") {
            refuse_group(self.cursor)?;
        }
        if self.cursor.eat(b"?P<") || self.cursor.eat(b"?<") {
            self.cursor.take_while(|byte| byte != b'>');
            self.cursor.next();
        } else if self.cursor.eat(b"?") {
            return self.flags();
        }
        self.text.push_str("(?:");
        self.enter(self.flags);
        Ok(())
    }

    /// Reads flags for the rest of the group, or for a group of their own; the cursor is after `(?`.
    fn flags(&mut self) -> Result<(), String> {
        let mut flags = self.flags;
        let mut on = true;
        self.text.push_str("(?");
        loop {
            let Some(byte) = self.cursor.next() else {
                return Err("a group without an end: write ) after it, or \\( for the character (".to_string());
            };
            self.text.push(char::from(byte));
            match byte {
                b'-' => on = false,
                b'i' => flags.ignore_case = on,
                b'x' => flags.verbose = on,
                b'm' | b's' | b'R' | b'U' | b'u' => {}
                b')' | b':' => {
                    if flags.verbose && !self.is_ascii {
                        return Err(
                            "with the flag x the pattern must be ASCII: write other characters as \\xNN, one for each byte \
                                    of their UTF-8 form"
                                .to_string(),
                        );
                    }
                    if byte == b':' {
                        self.enter(flags);
                    }
                    self.flags = flags;
                    return Ok(());
                }
                b'a' | b'L' => {
                    let letter = char::from(byte);
                    return Err(format!("the flag {letter} is not supported: leave it out, bytes are always ASCII"));
                }
                _ => return Err("unknown flag in (?: the flags are i, m, s, x, R, U".to_string()),
            }
        }
    }

    fn enter(&mut self, flags: Flags) {
        let level = Level { outer_flags: self.flags, ..Level::default() };
        self.outer.push(core::mem::replace(&mut self.level, level));
        self.flags = flags;
    }

    fn close(&mut self) {
        self.text.push(')');
        // regex-lite refuses one too many.
        if let Some(outer) = self.outer.pop() {
            let closed = core::mem::replace(&mut self.level, outer);
            self.flags = closed.outer_flags;
            let splits = closed.splits();
            self.level.push(splits, closed.reading.finish());
        }
    }

    fn escape(&mut self) -> Result<(), String> {
        let shape = match escape::read(&mut self.cursor, self.flags.verbose)? {
            Escape::Byte(byte) => {
                self.text.push_str(&format!("\\x{byte:02X}"));
                self.flags.byte(byte)
            }
            Escape::Class(letter) => {
                self.text.push('\\');
                self.text.push(char::from(letter));
                Shape::byte(Set::of(|byte| class::is_perl(letter, byte)))
            }
            Escape::Place(letter) => {
                self.text.push('\\');
                self.text.push(char::from(letter));
                self.word_place(letter);
                Shape::EMPTY
            }
        };
        self.level.push(0, shape);
        Ok(())
    }

    /// Reads the rest of `\b{start}` and similar; `\b{2}` is a repetition.
    fn word_place(&mut self, letter: u8) {
        let mut ahead = self.cursor;
        if letter != b'b' || !ahead.eat(b"{") {
            return;
        }
        ahead.skip_space(self.flags.verbose);
        if ahead.peek().is_none_or(|byte| !byte.is_ascii_alphabetic() && byte != b'-') {
            return;
        }
        self.cursor = ahead;
        self.text.push('{');
        while let Some(byte) = self.cursor.next() {
            self.text.push(char::from(byte));
            if byte == b'}' {
                return;
            }
            self.cursor.skip_space(self.flags.verbose);
        }
    }

    /// Reads a counted repetition; the cursor is after its `{`.
    fn count(&mut self) -> Result<(), String> {
        let least = self.number()?;
        let Some(least) = least else {
            return Err(if self.cursor.starts_with(b",") {
                "{,n} is not supported: write {0,n}".to_string()
            } else {
                "{ begins a repetition, such as {2}, {2,} or {2,3}: write \\{ for the character".to_string()
            });
        };
        let most = if self.cursor.eat(b",") { self.number()? } else { Some(least) };
        if !self.cursor.eat(b"}") {
            return Err("a repetition is written {2}, {2,} or {2,3}: write \\{ for the character {".to_string());
        }
        match most {
            Some(most) => {
                self.text.push_str(&format!("{{{least},{most}}}"));
                self.level.repeat(least, Some(most));
            }
            None => {
                self.text.push_str(&format!("{{{least},}}"));
                self.level.repeat(least, None);
            }
        }
        // With the flag `x`, white space may come before the `?` here, but not after other repetitions.
        self.cursor.skip_space(self.flags.verbose);
        self.laziness();
        Ok(())
    }

    /// Makes every repetition lazy, which does not change whether there is a match. So a `?` that is a repetition itself, as in
    /// `(?x)a+ ?`, cannot be read as the mark of a lazy one.
    fn laziness(&mut self) {
        self.cursor.eat(b"?");
        self.text.push('?');
    }

    /// Reads a number, and the white space around it, which regex-lite also allows without the flag `x`.
    fn number(&mut self) -> Result<Option<usize>, String> {
        let mut value = None;
        loop {
            self.cursor.take_while(is_space);
            self.cursor.skip_space(self.flags.verbose);
            let Some(digit) = self.cursor.peek().and_then(|byte| char::from(byte).to_digit(10)) else { break };
            self.cursor.next();
            let digit = usize::try_from(digit).unwrap_or(0);
            value = Some(value.unwrap_or(0_usize).saturating_mul(10).saturating_add(digit));
        }
        Ok(value)
    }
}

/// Refuses groups of other dialects; the cursor is at their `?`.
fn refuse_group(cursor: Cursor<'_>) -> Result<(), String> {
    const REFUSED: [(&str, &str); 9] = [
        ("?=", "look-around is not supported: combine filters with And, Or and Not"),
        ("?!", "look-around is not supported: combine filters with And, Or and Not"),
        ("?<=", "look-around is not supported: combine filters with And, Or and Not"),
        ("?<!", "look-around is not supported: combine filters with And, Or and Not"),
        ("?P=", "back-references are not supported"),
        ("?P>", "recursion is not supported"),
        ("?>", "atomic groups are not supported: write (?:..), nothing here backtracks"),
        ("?(", "conditions are not supported: write both cases as alternatives"),
        ("?#", "comments in brackets are not supported: leave them out, or use the flag x and # comments"),
    ];
    for (start, reason) in REFUSED {
        if cursor.starts_with(start.as_bytes()) {
            return Err(format!("({start}: {reason}"));
        }
    }
    Ok(())
}
