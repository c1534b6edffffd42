//! Hex digits.

/// The bytes that these digits mean. Blanks may stand between bytes.
pub(crate) fn decode(text: &[u8]) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::with_capacity(text.len() / 2);
    let mut rest = text.iter().enumerate().filter(|(_, byte)| !byte.is_ascii_whitespace());
    let value = |(place, digit): (usize, &u8)| {
        let value = char::from(*digit).to_digit(16);
        value.ok_or_else(|| format!("--hex: not a hex digit at byte {} of the text", place.saturating_add(1)))
    };
    while let Some(high) = rest.next() {
        let high = value(high)?;
        let low = value(rest.next().ok_or("--hex: there is an odd number of digits: each byte has two")?)?;
        bytes.push((high << 4 | low) as u8);
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::decode;

    #[test]
    fn digits_become_bytes_with_and_without_blanks() {
        assert_eq!(decode(b"00fF 10\t2a"), Ok(vec![0, 255, 16, 42]));
        assert_eq!(decode(b""), Ok(vec![]));
    }

    #[test]
    fn what_is_no_byte_is_said() {
        assert!(decode(b"123").unwrap_err().contains("odd"));
        assert!(decode(b"12 g0").unwrap_err().contains("at byte 4"));
        assert!(decode(b"12 0 g").unwrap_err().contains("at byte 6"));
    }
}
