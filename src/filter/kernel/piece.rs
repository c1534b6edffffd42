//! How a run of bytes is cut into numbers that the kernel loads at once.

/// Some bytes of a longer run that are loaded and compared at once.
#[derive(Clone, Copy)]
pub(super) struct Piece {
    pub(super) offset: usize,
    /// 4, 2 or 1.
    size: usize,
}

impl Piece {
    /// Of how many pieces a run of this length is made.
    pub(super) const fn count(length: usize) -> usize {
        match length {
            3 => 2,
            _ => length.div_ceil(4),
        }
    }

    /// One of them. Where the last one would be short, it begins earlier.
    pub(super) fn of(length: usize, index: usize) -> Self {
        match length {
            4.. => Self { offset: index.saturating_mul(4).min(length.saturating_sub(4)), size: 4 },
            3 if index == 1 => Self { offset: 2, size: 1 },
            2 | 3 => Self { offset: 0, size: 2 },
            _ => Self { offset: 0, size: 1 },
        }
    }

    /// The number that its bytes are, as the kernel loads it; what the run does not have are zeros.
    pub(super) fn number(self, run: &[u8]) -> u32 {
        let bytes = run.iter().copied().chain(core::iter::repeat(0));
        bytes.skip(self.offset).take(self.size).fold(0, |number, byte| (number << 8) | u32::from(byte))
    }

    /// The number of all ones.
    pub(super) const fn all(self) -> u32 {
        match self.size {
            4 => u32::MAX,
            2 => u16::MAX as u32,
            _ => u8::MAX as u32,
        }
    }

    /// The code of its load, from that of the load of a word.
    pub(super) const fn load(self, word: u16) -> u16 {
        match self.size {
            4 => word,
            2 => word | 0x08,
            _ => word | 0x10,
        }
    }
}
