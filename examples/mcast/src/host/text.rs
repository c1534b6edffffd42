//! Reading the tables of `/proc/net`: lines of fields, as bytes. What is not as expected is left out; nothing panics.

use std::io::ErrorKind;

/// The whole file. Errors name it.
pub(super) fn read(path: &str) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|error| format!("read {path}: {error}"))
}

/// The same for a file that is missing where the kernel has no IPv6, which is the same as an empty one. Read a file of IPv4 before:
/// if `/proc` is missing, that is an error.
pub(super) fn read_ipv6(path: &str) -> Result<Vec<u8>, String> {
    match std::fs::read(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        read => read.map_err(|error| format!("read {path}: {error}")),
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
