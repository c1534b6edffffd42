//! Numbers in the headers of a capture: their order of bytes, and the units of times.

/// The order of the bytes of numbers: that of the machine that wrote the capture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    Little,
    Big,
}

impl Order {
    /// The header of a section has a number from which it can be seen.
    pub(super) fn of_section(header: &[u8]) -> Option<Self> {
        match u32::from_le_bytes(*header.get(8..)?.first_chunk()?) {
            0x1a2b_3c4d => Some(Self::Little),
            0x4d3c_2b1a => Some(Self::Big),
            _ => None,
        }
    }
}

/// Bytes of which numbers are read; `None` is behind their end.
pub(super) struct Fields<'a> {
    bytes: &'a [u8],
    order: Order,
}

impl<'a> Fields<'a> {
    pub(super) fn new(bytes: &'a [u8], order: Order) -> Self {
        Self { bytes, order }
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(super) fn byte(&self, at: usize) -> Option<u8> {
        self.bytes.get(at).copied()
    }

    pub(super) fn short(&self, at: usize) -> Option<u16> {
        let bytes = *self.bytes.get(at..)?.first_chunk()?;
        Some(match self.order {
            Order::Little => u16::from_le_bytes(bytes),
            Order::Big => u16::from_be_bytes(bytes),
        })
    }

    pub(super) fn long(&self, at: usize) -> Option<u32> {
        let bytes = *self.bytes.get(at..)?.first_chunk()?;
        Some(match self.order {
            Order::Little => u32::from_le_bytes(bytes),
            Order::Big => u32::from_be_bytes(bytes),
        })
    }

    pub(super) fn signed(&self, at: usize) -> Option<i64> {
        let bytes = *self.bytes.get(at..)?.first_chunk()?;
        Some(match self.order {
            Order::Little => i64::from_le_bytes(bytes),
            Order::Big => i64::from_be_bytes(bytes),
        })
    }
}

const NANOSECONDS: i128 = 1_000_000_000;

/// The units in which an interface has its times.
#[derive(Clone, Copy, Debug)]
pub(super) struct Resolution {
    /// As in `if_tsresol`: this many decimal digits of a second; with the highest bit, this many binary ones.
    pub(super) unit: u8,
    /// Seconds that each time lacks.
    pub(super) offset: i64,
}

impl Resolution {
    pub(super) fn digits(digits: u8) -> Self {
        Self { unit: digits, offset: 0 }
    }

    /// The time in nanoseconds since 1970. No number overflows: 2^64 s are less than 2^94 ns.
    pub(super) fn of(self, units: u64) -> i128 {
        let scaled = i128::from(units).saturating_mul(NANOSECONDS);
        let since_offset = match self.unit {
            binary @ 0x80.. => scaled >> (binary & 0x7f),
            decimal => 10_i128.checked_pow(decimal.into()).map_or(0, |units| scaled.checked_div(units).unwrap_or(0)),
        };
        since_offset.saturating_add(i128::from(self.offset).saturating_mul(NANOSECONDS))
    }

    /// The same, for a time that is written as seconds and a fraction.
    pub(super) fn of_parts(self, seconds: u32, fraction: u32) -> i128 {
        i128::from(seconds).saturating_mul(NANOSECONDS).saturating_add(self.of(fraction.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::Resolution;

    #[test]
    fn times_of_each_unit_are_nanoseconds() {
        let of = |unit, units, offset| Resolution { unit, offset }.of(units);
        assert_eq!(of(6, 1_500_000, 0), 1_500_000_000);
        assert_eq!(of(9, 1_500_000, 0), 1_500_000);
        assert_eq!(of(0, 3, 0), 3_000_000_000);
        assert_eq!(of(12, 1_500_000, 0), 1_500);
        // 1/1024 s
        assert_eq!(of(0x8a, 512, 0), 500_000_000);
        assert_eq!(of(6, 1, -1), -999_999_000);
        for unit in 0..=255 {
            for (units, offset) in [(0, 0), (u64::MAX, i64::MAX), (u64::MAX, i64::MIN)] {
                let _no_panic = of(unit, units, offset);
            }
        }
        assert_eq!(Resolution::digits(6).of_parts(7, 2), 7_000_002_000);
    }
}
