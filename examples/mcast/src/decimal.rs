//! Numbers with a fraction, for times and rates.

use std::time::Duration;

/// A decimal number, 0 or more: `20`, `0.5`, `1e-3`. One beyond the range of `f64` is infinite, and one above 0 stays above 0.
///
/// Not by `str::parse`: to round each number exactly, that needs 14,000 bytes of code and tables. This is exact to 15 digits or so.
pub(crate) fn parse(text: &str) -> Option<f64> {
    let (digits, exponent) = match text.split_once(['e', 'E']) {
        Some((digits, exponent)) => (digits, parse_exponent(exponent)?),
        None => (text, 0),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    // From the last digit to the first, so that the smallest parts are added first.
    let mut value = 0.0;
    for digit in fraction.chars().rev() {
        value = (value + f64::from(digit.to_digit(10)?)) / 10.0;
    }
    let mut power = 1.0;
    for digit in whole.chars().rev() {
        match digit.to_digit(10)? {
            // Not multiplied: the power of a long number is infinite.
            0 => {}
            digit => value += f64::from(digit) * power,
        }
        power *= 10.0;
    }
    for _ in 0..exponent.unsigned_abs() {
        value = if exponent < 0 { value / 10.0 } else { value * 10.0 };
    }
    if value == 0.0 && digits.contains(|digit| matches!(digit, '1'..='9')) {
        return Some(f64::MIN_POSITIVE);
    }
    Some(value)
}

/// An exponent. One that no number of `f64` has is cut to one that leads beyond them all.
fn parse_exponent(text: &str) -> Option<i16> {
    const BEYOND: i16 = 10_000;
    let (sign, digits) = match text.as_bytes() {
        [b'-', digits @ ..] => (-1, digits),
        [b'+', digits @ ..] | digits => (1, digits),
    };
    let mut exponent = 0_i16;
    for digit in digits {
        let digit = char::from(*digit).to_digit(10)? as i16;
        exponent = exponent.saturating_mul(10).saturating_add(digit).min(BEYOND);
    }
    (!digits.is_empty()).then_some(exponent.saturating_mul(sign))
}

/// A time of so many seconds. One beyond the range of `Duration` is longer than any program runs, and so is the longest one.
pub(crate) fn seconds(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
}

/// A number, 0 or more, with so many digits after the point. Not by `format!`, for the same reason as [`parse`].
pub(crate) fn fixed(number: f64, digits: u32) -> String {
    let scale = 10_u64.saturating_pow(digits);
    // Rounded; one that is too large is the largest.
    let scaled = (number * scale as f64).round() as u64;
    let (whole, fraction) = (scaled / scale, scaled % scale);
    if digits == 0 { whole.to_string() } else { format!("{whole}.{fraction:0width$}", width = digits as usize) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_any_size_are_numbers() {
        for (text, expected) in [
            ("20", 20.0),
            ("0.5", 0.5),
            (".5", 0.5),
            ("5.", 5.0),
            ("1e-3", 0.001),
            ("1E+3", 1000.0),
            ("1e20", 1e20),
            ("0e99999", 0.0),
            ("1e400", f64::INFINITY),
            ("1e99999999999999999999", f64::INFINITY),
            ("1e-400", f64::MIN_POSITIVE),
            ("0.1e-99999999999999999999", f64::MIN_POSITIVE),
            ("0.000", 0.0),
        ] {
            assert_eq!(parse(text), Some(expected), "{text}");
        }
        for text in
            ["", ".", "e5", "1e", "1e+", "1e-", "1e+-5", "-1", "+1", "nan", "inf", "1,5", "1.2.3", "0x10", "1e5.0", " 1"]
        {
            assert_eq!(parse(text), None, "{text}");
        }
        assert_eq!(seconds(f64::INFINITY), Duration::MAX);
        assert_eq!(seconds(1e20), Duration::MAX);
    }

    #[test]
    fn numbers_are_rounded_to_their_last_digit() {
        let texts = [fixed(0.0, 1), fixed(0.049, 1), fixed(0.05, 1), fixed(12.34, 3), fixed(9.999, 2), fixed(1.5, 0)];
        assert_eq!(texts, ["0.0", "0.0", "0.1", "12.340", "10.00", "2"]);
        assert_eq!((fixed(f64::NAN, 1), fixed(-1.0, 1)), ("0.0".to_owned(), "0.0".to_owned()));
    }
}
