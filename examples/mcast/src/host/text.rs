//! Reading the tables of `/proc/net`: lines of fields, as bytes. What is not as expected is left out; nothing panics.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::thread;
use std::time::Duration;

/// How often a table is read that changes while it is read, and how long it is left alone before the next time.
const TRIES: u32 = 20;
const PAUSE: Duration = Duration::from_millis(2);
/// No shorter than a page, which is what the kernel writes at once.
const PAGES: usize = 65_536;

/// The rows of a table of the kernel, none left out. Errors name the file.
///
/// The kernel writes a long table page by page. Where a row goes in between, one of the others is skipped. So a table of more than a page
/// counts only if the next reading shows the same rows; `key` tells what makes rows the same.
// One for each kind of row, so that the files of both IP versions share it.
#[inline(never)]
pub(super) fn table<T, K: PartialEq>(
    path: &str,
    parse: &dyn Fn(&[u8]) -> Vec<T>,
    key: fn(&T) -> K,
) -> Result<Vec<T>, String> {
    let (text, mut is_one_page) = read(path)?;
    let mut rows = parse(&text);
    for _ in 0..TRIES {
        if is_one_page {
            return Ok(rows);
        }
        let (text, is_short_now) = read(path)?;
        let again = parse(&text);
        if again.iter().map(key).eq(rows.iter().map(key)) {
            return Ok(again);
        }
        (rows, is_one_page) = (again, is_short_now);
        thread::sleep(PAUSE);
    }
    Err(format!("read {path}: it changes all the time; try again later"))
}

/// The same of a table of IPv6, whose file is missing where the kernel has no IPv6. Read one of IPv4 before: if `/proc` itself is missing,
/// that is an error.
pub(super) fn table_of_ipv6<T, K: PartialEq>(
    path: &str,
    parse: &dyn Fn(&[u8]) -> Vec<T>,
    key: fn(&T) -> K,
) -> Result<Vec<T>, String> {
    match std::fs::exists(path) {
        Ok(false) => Ok(Vec::new()),
        _ => table(path, parse, key),
    }
}

/// The whole file, and whether the kernel wrote it at once.
#[inline(never)]
fn read(path: &str) -> Result<(Vec<u8>, bool), String> {
    let failed = |error| format!("read {path}: {error}");
    let mut file = File::open(path).map_err(failed)?;
    let (mut text, mut page) = (Vec::new(), vec![0; PAGES]);
    let mut pages = 0_u32;
    loop {
        match file.read(&mut page) {
            Ok(0) => return Ok((text, pages <= 1)),
            Ok(length) => {
                text.extend_from_slice(page.get(..length).unwrap_or(&page));
                pages = pages.saturating_add(1);
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(failed(error)),
        }
    }
}

pub(super) fn lines(table: &[u8]) -> impl Iterator<Item = &[u8]> {
    table.split(|byte| *byte == b'\n')
}

pub(super) fn fields(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(u8::is_ascii_whitespace).filter(|field| !field.is_empty())
}

/// A decimal number.
pub(super) fn number<N: core::str::FromStr>(field: &[u8]) -> Option<N> {
    core::str::from_utf8(field).ok()?.parse().ok()
}

/// As many bytes as this many hexadecimal digits, and nothing else.
pub(super) fn bytes<const N: usize>(field: &[u8]) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    if field.len() != N.checked_mul(2)? {
        return None;
    }
    for (byte, digits) in bytes.iter_mut().zip(field.chunks_exact(2)) {
        *byte = u8::try_from(hexadecimal(digits)?).ok()?;
    }
    Some(bytes)
}

/// A number of hexadecimal digits.
pub(super) fn hexadecimal(field: &[u8]) -> Option<u64> {
    // Not by `from_str_radix` alone: that takes a sign.
    let is_plain = field.iter().all(u8::is_ascii_hexdigit);
    u64::from_str_radix(core::str::from_utf8(field).ok()?, 16).ok().filter(|_| is_plain)
}

/// An address that the kernel prints as one number, or as four, each in the byte order of this host.
pub(super) fn words<const N: usize>(field: &[u8]) -> Option<[u8; N]> {
    let mut address = bytes::<N>(field)?;
    for word in address.chunks_exact_mut(4) {
        // The digits are those of a big-endian number. What the number holds in memory is the address.
        if let Ok(digits) = <[u8; 4]>::try_from(&*word) {
            word.copy_from_slice(&u32::from_be_bytes(digits).to_ne_bytes());
        }
    }
    Some(address)
}

/// A name for people: of interfaces and programs, which are bytes.
pub(super) fn name(field: &[u8]) -> String {
    String::from_utf8_lossy(field).into_owned()
}
