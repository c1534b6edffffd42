//! The current position while a pattern is read.

/// The rest of the pattern.
#[derive(Clone, Copy)]
pub(super) struct Cursor<'p>(&'p [u8]);

impl<'p> Cursor<'p> {
    pub(super) const fn new(pattern: &'p [u8]) -> Self {
        Self(pattern)
    }

    pub(super) fn peek(self) -> Option<u8> {
        self.0.first().copied()
    }

    pub(super) fn starts_with(self, text: &[u8]) -> bool {
        self.0.starts_with(text)
    }

    pub(super) fn next(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    /// Skips `text`, if it is next, and returns whether it was.
    pub(super) fn eat(&mut self, text: &[u8]) -> bool {
        let rest = self.0.strip_prefix(text);
        self.0 = rest.unwrap_or(self.0);
        rest.is_some()
    }

    /// Skips white space and comments if the flag `x` is set, as regex-lite does; otherwise nothing.
    pub(super) fn skip_space(&mut self, verbose: bool) {
        if !verbose {
            return;
        }
        loop {
            match self.peek() {
                Some(byte) if is_space(byte) => {
                    self.next();
                }
                Some(b'#') => while !matches!(self.next(), None | Some(b'\n')) {},
                _ => return,
            }
        }
    }

    /// Takes the longest run of bytes that are `wanted`.
    pub(super) fn take_while(&mut self, wanted: impl Fn(u8) -> bool) -> &'p [u8] {
        let length = self.0.iter().take_while(|byte| wanted(**byte)).count();
        let (run, rest) = self.0.split_at_checked(length).unwrap_or((self.0, &[]));
        self.0 = rest;
        run
    }
}

/// White space as the flag `x` defines it: unlike `u8::is_ascii_whitespace`, with the vertical tab.
pub(super) const fn is_space(byte: u8) -> bool {
    matches!(byte, b'\t'..=b'\r' | b' ')
}
