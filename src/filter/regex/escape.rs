//! Escapes: which byte each means, and what to write instead of an unsupported one.

use std::format;
use std::string::{String, ToString};

use super::cursor::Cursor;

/// The meaning of an escape.
pub(super) enum Escape {
    /// One byte.
    Byte(u8),
    /// `\d` and similar: `d`, `s`, `w`, or in upper case their complement.
    Class(u8),
    /// A position, not a byte: `\b` and similar, by their letter.
    Place(u8),
}

/// Reads an escape; the cursor is after its `\`.
pub(super) fn read(cursor: &mut Cursor<'_>, verbose: bool) -> Result<Escape, String> {
    let Some(byte) = cursor.next() else {
        return Err("a pattern that ends with \\: write \\\\ for the character itself".to_string());
    };
    Ok(match byte {
        b'a' => Escape::Byte(0x07),
        b'f' => Escape::Byte(0x0C),
        b'n' => Escape::Byte(b'\n'),
        b'r' => Escape::Byte(b'\r'),
        b't' => Escape::Byte(b'\t'),
        b'v' => Escape::Byte(0x0B),
        b'x' => Escape::Byte(hexadecimal(cursor, verbose)?),
        b'd' | b'D' | b's' | b'S' | b'w' | b'W' => Escape::Class(byte),
        b'A' | b'z' | b'b' | b'B' | b'<' | b'>' => Escape::Place(byte),
        _ if byte.is_ascii_alphanumeric() || !byte.is_ascii() => return Err(unsupported(byte)),
        _ => Escape::Byte(byte),
    })
}

/// The byte of `\xNN` or `\x{N..}`; the cursor is after the `x`.
fn hexadecimal(cursor: &mut Cursor<'_>, verbose: bool) -> Result<u8, String> {
    cursor.skip_space(verbose);
    let braces = cursor.eat(b"{");
    let mut value = 0_u32;
    let mut digits = 0_usize;
    while braces || digits < 2 {
        cursor.skip_space(verbose);
        let digit = cursor.peek().and_then(|byte| char::from(byte).to_digit(16));
        let Some(digit) = digit else { break };
        cursor.next();
        value = value.saturating_mul(16).saturating_add(digit);
        digits = digits.saturating_add(1);
    }
    let complete = if braces { cursor.eat(b"}") && digits > 0 } else { digits == 2 };
    if !complete {
        return Err("\\x needs two hexadecimal digits, such as \\x0A".to_string());
    }
    u8::try_from(value).map_err(|_| {
        format!("\\x{{{value:X}}} is not a byte: write the character itself, or each byte of its UTF-8 form as \\xNN")
    })
}

#[cold]
fn unsupported(byte: u8) -> String {
    let letter = char::from(byte);
    match byte {
        b'0' => "octal escapes are not supported: write \\x00 for the byte 0, \\x0A for \\012".to_string(),
        b'1'..=b'9' => {
            format!("back-references (\\{letter}) are not supported; write a byte in hexadecimal, such as \\x0A")
        }
        b'u' | b'U' => {
            format!("\\{letter} is not supported: write the character itself, or each byte of its UTF-8 form as \\xNN")
        }
        b'p' | b'P' => format!("\\{letter}: packets are bytes and have no Unicode classes: write a class such as [A-Za-z]"),
        b'Z' => "\\Z is not supported: the end of the packet is \\z".to_string(),
        _ if byte.is_ascii() => format!("\\{letter} is not an escape: write {letter} for the character itself"),
        _ => "a \\ before a character that is not ASCII: write only the character".to_string(),
    }
}
