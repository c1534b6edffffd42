//! Classes of bytes in square brackets.
//!
//! We compute them here and do not pass them to regex-lite, for two reasons. With the flag `i`, regex-lite folds only one half
//! of a range over letters of both cases: its `(?i)[Q-c]` does not contain `q`. And if a class begins with `]` or `-`,
//! regex-lite does not let a range begin there, while Python does.

use core::array;
use std::format;
use std::string::{String, ToString};

use super::cursor::{Cursor, is_space};
use super::escape::{self, Escape};

/// A set of bytes.
pub(super) struct Class([bool; 256]);

/// One item of a class.
enum Item {
    Byte(u8),
    /// `\d` and similar, by their letter.
    Perl(u8),
}

impl Class {
    /// Reads a class; the cursor is after its `[`.
    pub(super) fn read(cursor: &mut Cursor<'_>, verbose: bool, ignore_case: bool) -> Result<Self, String> {
        cursor.skip_space(verbose);
        let negated = cursor.eat(b"^");
        let mut class = Self::of(|_| false);
        let mut is_first = true;
        loop {
            cursor.skip_space(verbose);
            if !is_first && cursor.eat(b"]") {
                break;
            }
            refuse_operators(*cursor, is_first)?;
            is_first = false;
            if cursor.eat(b"[") {
                let named = Self::named(cursor)?;
                class = class.or(|byte| named.contains(byte));
                // A hyphen after it is a plain hyphen.
                continue;
            }
            match (Item::read(cursor, verbose)?, range_end(cursor, verbose)?) {
                (Item::Byte(start), Some(Item::Byte(end))) if start <= end => {
                    class = class.or(|byte| (start..=end).contains(&byte));
                }
                (Item::Byte(only), None) => class = class.or(|byte| byte == only),
                (Item::Perl(letter), None) => class = class.or(|byte| is_perl(letter, byte)),
                _ => {
                    return Err("a range in a class must go from a byte to a higher one: write \\- for a hyphen".to_string());
                }
            }
        }
        if ignore_case {
            // Before the complement: `(?i)[^x]` contains neither `x` nor `X`.
            class = Self::of(|byte| {
                class.contains(byte)
                    || class.contains(byte.to_ascii_lowercase())
                    || class.contains(byte.to_ascii_uppercase())
            });
        }
        Ok(if negated { Self::of(|byte| !class.contains(byte)) } else { class })
    }

    /// Writes the class in the syntax of regex-lite, so that it means the same under any flags.
    pub(super) fn write(&self, text: &mut String) {
        let mut bytes = (0..=u8::MAX).filter(|byte| self.contains(*byte)).peekable();
        // There is no syntax for an empty class: this one contains only characters above U+00FF, which no packet has.
        text.push_str(if bytes.peek().is_none() { "[^\\x00-\\xFF" } else { "[" });
        while let Some(start) = bytes.next() {
            let mut end = start;
            while let Some(next) = bytes.next_if(|next| end.checked_add(1) == Some(*next)) {
                end = next;
            }
            write_byte(start, text);
            if end != start {
                text.push('-');
                write_byte(end, text);
            }
        }
        text.push(']');
    }

    fn of(member: impl Fn(u8) -> bool) -> Self {
        Self(array::from_fn(|index| u8::try_from(index).is_ok_and(&member)))
    }

    fn or(&self, member: impl Fn(u8) -> bool) -> Self {
        Self::of(|byte| self.contains(byte) || member(byte))
    }

    pub(super) fn contains(&self, byte: u8) -> bool {
        self.0.get(usize::from(byte)).is_some_and(|member| *member)
    }

    /// `[:alpha:]` and similar; the cursor is after the inner `[`.
    fn named(cursor: &mut Cursor<'_>) -> Result<Self, String> {
        let mut ahead = *cursor;
        if ahead.eat(b":") {
            let name = ahead.take_while(|byte| byte != b':');
            if let (Some(class), true) = (Self::posix(name), ahead.eat(b":]")) {
                *cursor = ahead;
                return Ok(class);
            }
        }
        Err("a class in a class is not supported, except [:alpha:] and similar: write \\[ for the character [".to_string())
    }

    fn posix(name: &[u8]) -> Option<Self> {
        let (negated, name) = name.strip_prefix(b"^").map_or((false, name), |name| (true, name));
        let member: fn(u8) -> bool = match name {
            b"alnum" => |byte| byte.is_ascii_alphanumeric(),
            b"alpha" => |byte| byte.is_ascii_alphabetic(),
            b"ascii" => |byte| byte.is_ascii(),
            b"blank" => |byte| matches!(byte, b'\t' | b' '),
            b"cntrl" => |byte| byte.is_ascii_control(),
            b"digit" => |byte| byte.is_ascii_digit(),
            b"graph" => |byte| byte.is_ascii_graphic(),
            b"lower" => |byte| byte.is_ascii_lowercase(),
            b"print" => |byte| matches!(byte, b' '..=b'~'),
            b"punct" => |byte| byte.is_ascii_punctuation(),
            b"space" => is_space,
            b"upper" => |byte| byte.is_ascii_uppercase(),
            b"word" => is_word,
            b"xdigit" => |byte| byte.is_ascii_hexdigit(),
            _ => return None,
        };
        Some(Self::of(|byte| member(byte) != negated))
    }
}

impl Item {
    fn read(cursor: &mut Cursor<'_>, verbose: bool) -> Result<Self, String> {
        let Some(byte) = cursor.next() else {
            return Err("a class without an end: write ] after it, or \\[ for the character [".to_string());
        };
        if byte != b'\\' {
            return Ok(Self::Byte(byte));
        }
        match escape::read(cursor, verbose)? {
            Escape::Byte(byte) => Ok(Self::Byte(byte)),
            Escape::Class(letter) => Ok(Self::Perl(letter)),
            Escape::Place(b'b') => Err("\\b in a class is not supported: write \\x08 for a backspace".to_string()),
            Escape::Place(letter) => Err(format!("\\{} is not a byte, so it cannot be in a class", char::from(letter))),
        }
    }
}

/// Refuses the set operators of other dialects.
fn refuse_operators(cursor: Cursor<'_>, is_first: bool) -> Result<(), String> {
    for operator in ["&&", "--", "~~"] {
        // Two hyphens at the beginning are a range from the hyphen, in Python and here.
        if cursor.starts_with(operator.as_bytes()) && !(is_first && operator == "--") {
            return Err(format!("{operator} in a class is not supported: write \\ before the second character"));
        }
    }
    Ok(())
}

/// Whether the class of this letter, as in `\d`, contains this byte.
pub(super) const fn is_perl(letter: u8, byte: u8) -> bool {
    let member = match letter.to_ascii_lowercase() {
        b'd' => byte.is_ascii_digit(),
        b's' => is_space(byte),
        _ => is_word(byte),
    };
    member != letter.is_ascii_uppercase()
}

const fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// The end of a range, if a hyphen that makes one comes next.
fn range_end(cursor: &mut Cursor<'_>, verbose: bool) -> Result<Option<Item>, String> {
    cursor.skip_space(verbose);
    let mut ahead = *cursor;
    if !ahead.eat(b"-") {
        return Ok(None);
    }
    ahead.skip_space(verbose);
    if matches!(ahead.peek(), None | Some(b']' | b'-')) {
        return Ok(None);
    }
    *cursor = ahead;
    Item::read(cursor, verbose).map(Some)
}

fn write_byte(byte: u8, text: &mut String) {
    if byte.is_ascii_alphanumeric() {
        text.push(char::from(byte));
    } else {
        text.push_str(&format!("\\x{byte:02X}"));
    }
}
