//! Splits a run of bytes into numbers that the kernel loads with one instruction each.

/// The bytes of a run that one instruction loads and compares.
#[derive(Clone, Copy)]
pub(super) struct Piece {
    pub(super) offset: usize,
    /// 4, 2 or 1.
    size: usize,
}

impl Piece {
    /// How many pieces a run of this length has.
    pub(super) const fn count(length: usize) -> usize {
        match length {
            3 => 2,
            _ => length.div_ceil(4),
        }
    }

    /// The piece at this index. The last one begins earlier where it would be shorter than the others.
    pub(super) fn of(length: usize, index: usize) -> Self {
        match length {
            4.. => Self { offset: index.saturating_mul(4).min(length.saturating_sub(4)), size: 4 },
            3 if index == 1 => Self { offset: 2, size: 1 },
            2 | 3 => Self { offset: 0, size: 2 },
            _ => Self { offset: 0, size: 1 },
        }
    }

    /// The number that the kernel loads from its bytes. Bytes beyond the end of the run count as zeros.
    pub(super) fn number(self, run: &[u8]) -> u32 {
        let bytes = run.iter().copied().chain(core::iter::repeat(0));
        bytes.skip(self.offset).take(self.size).fold(0, |number, byte| (number << 8) | u32::from(byte))
    }

    /// The number with all bits set.
    pub(super) const fn all(self) -> u32 {
        match self.size {
            4 => u32::MAX,
            2 => u16::MAX as u32,
            _ => u8::MAX as u32,
        }
    }

    /// The code of the instruction that loads it, given the code that loads a word.
    pub(super) const fn load(self, word: u16) -> u16 {
        match self.size {
            4 => word,
            2 => word | 0x08,
            _ => word | 0x10,
        }
    }
}
