//! What all packets that match a pattern have in common: the bytes at their beginning, a least length, bytes somewhere in them.
//! A packet without these is rejected before regex-lite runs, and already in the kernel where it can check them.
//!
//! The shape is computed item by item while the pattern is read. It holds for every match, and may say less than the pattern.

use std::vec::Vec;

use super::class::Class;
use crate::filter::kernel::Assembler;
use crate::filter::payload;

/// How many bytes at the beginning are checked.
const HEAD: usize = 32;

/// A set of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Set([u64; 4]);

impl Set {
    pub(super) const ALL: Self = Self([u64::MAX; 4]);
    const NONE: Self = Self([0; 4]);

    pub(super) fn of(member: impl Fn(u8) -> bool) -> Self {
        (0..=u8::MAX).filter(|byte| member(*byte)).fold(Self::NONE, |set, byte| set.or(Self::only(byte)))
    }

    fn only(byte: u8) -> Self {
        let mut words = [0; 4];
        if let Some(word) = words.get_mut(usize::from(byte >> 6)) {
            *word = 1 << (byte & 63);
        }
        Self(words)
    }

    fn or(self, other: Self) -> Self {
        let (Self([a, b, c, d]), Self([e, f, g, h])) = (self, other);
        Self([a | e, b | f, c | g, d | h])
    }

    fn contains(self, byte: u8) -> bool {
        self.0.get(usize::from(byte >> 6)).is_some_and(|word| word >> (byte & 63) & 1 == 1)
    }

    fn members(self) -> impl Iterator<Item = u8> {
        (0..=u8::MAX).filter(move |byte| self.contains(*byte))
    }

    fn size(self) -> u32 {
        self.0.iter().map(|word| word.count_ones()).sum()
    }

    /// Its byte, if it has exactly one.
    fn single(self) -> Option<u8> {
        self.members().next().filter(|_| self.size() == 1)
    }

    /// A mask and a value that select exactly its members, if there are such: for one byte, a letter in both cases, or any byte.
    fn masked(self) -> Option<(u8, u8)> {
        let first = self.members().next()?;
        let free = self.members().fold(0, |free, byte| free | (byte ^ first));
        (self.size() == 1 << free.count_ones()).then_some((!free, first & !free))
    }

    /// Its members as ranges.
    fn ranges(self) -> Vec<(u8, u8)> {
        let mut ranges: Vec<(u8, u8)> = Vec::new();
        for byte in self.members() {
            match ranges.last_mut() {
                Some((_, last)) if last.checked_add(1) == Some(byte) => *last = byte,
                _ => ranges.push((byte, byte)),
            }
        }
        ranges
    }
}

impl From<&Class> for Set {
    fn from(class: &Class) -> Self {
        Self::of(|byte| class.contains(byte))
    }
}

/// What is known about all texts that a part of a pattern matches.
#[derive(Clone, Debug)]
pub(super) struct Shape {
    /// The sets of its first bytes; the text has at least this many.
    head: Vec<Set>,
    /// Whether the text has exactly as many bytes as `head`.
    is_whole: bool,
    /// The least length of the text in bytes.
    least: usize,
    /// Bytes that are somewhere in the text.
    needle: Vec<u8>,
}

impl Shape {
    /// Matches no byte: a position, or nothing.
    pub(super) const EMPTY: Self = Self { head: Vec::new(), is_whole: true, least: 0, needle: Vec::new() };

    /// One byte of a set.
    pub(super) fn byte(set: Set) -> Self {
        Self { head: Vec::from([set]), is_whole: true, least: 1, needle: set.single().into_iter().collect() }
    }

    /// This one followed by the other.
    fn then(mut self, next: &Self) -> Self {
        let room = HEAD.saturating_sub(self.head.len());
        if self.is_whole {
            self.head.extend(next.head.iter().take(room));
            self.is_whole = next.is_whole && next.head.len() <= room;
        }
        self.least = self.least.saturating_add(next.least);
        if next.needle.len() > self.needle.len() {
            self.needle.clone_from(&next.needle);
        }
        self
    }

    /// One of the two.
    fn or(self, other: &Self) -> Self {
        let is_whole = self.is_whole && other.is_whole && self.head.len() == other.head.len();
        let head = self.head.iter().zip(&other.head).map(|(one, other)| one.or(*other)).collect();
        // Both may contain the same bytes, but this is rare.
        Self { head, is_whole, least: self.least.min(other.least), needle: Vec::new() }
    }

    /// This one, `least` to `most` times.
    fn repeated(self, least: usize, most: Option<usize>) -> Self {
        if least == 0 {
            return Self { is_whole: most == Some(0), ..Self::EMPTY };
        }
        let mut all = self.clone();
        // Each round adds at least one byte, or changes nothing.
        for _ in 1..least.min(HEAD.saturating_add(1)) {
            all = all.then(&self);
        }
        all.is_whole &= most == Some(least) && (least <= HEAD || self.head.is_empty());
        all.least = self.least.saturating_mul(least);
        all
    }
}

/// A part of a pattern while it is read: a group, or all of it.
#[derive(Clone, Debug)]
pub(super) struct Reading {
    /// The alternatives that were read before.
    others: Option<Shape>,
    /// This alternative so far, without the last item, which a repetition may still multiply.
    before: Shape,
    last: Shape,
    /// The literal bytes at the end of `before`.
    run: Vec<u8>,
}

impl Default for Reading {
    fn default() -> Self {
        Self { others: None, before: Shape::EMPTY, last: Shape::EMPTY, run: Vec::new() }
    }
}

impl Reading {
    /// Adds an item.
    pub(super) fn push(&mut self, item: Shape) {
        let last = core::mem::replace(&mut self.last, item);
        match (last.needle.first(), last.is_whole && last.least == 1) {
            (Some(byte), true) => self.run.push(*byte),
            // A position adds no bytes.
            _ if last.is_whole && last.least == 0 && last.head.is_empty() => {}
            _ => self.end_run(),
        }
        self.before = core::mem::replace(&mut self.before, Shape::EMPTY).then(&last);
    }

    fn end_run(&mut self) {
        if self.run.len() > self.before.needle.len() {
            self.before.needle.clone_from(&self.run);
        }
        self.run.clear();
    }

    /// Repeats the last item `least` to `most` times.
    pub(super) fn repeat(&mut self, least: usize, most: Option<usize>) {
        self.last = core::mem::replace(&mut self.last, Shape::EMPTY).repeated(least, most);
    }

    /// Begins another alternative.
    pub(super) fn alternative(&mut self) {
        let shape = core::mem::take(self).finish();
        self.others = Some(shape);
    }

    /// Ends the group, and returns its shape.
    pub(super) fn finish(mut self) -> Shape {
        self.push(Shape::EMPTY);
        self.end_run();
        match self.others {
            Some(others) => others.or(&self.before),
            None => self.before,
        }
    }
}

/// The shape of a whole pattern, in the form that is checked for each packet.
#[derive(Clone, Debug)]
pub(super) struct Outline {
    /// The literal bytes at the beginning of a packet.
    prefix: Vec<u8>,
    /// The sets of the bytes after them.
    sets: Vec<Set>,
    /// The same sets as tests for the kernel, in the order of their offsets.
    tests: Vec<Test>,
    least: usize,
    needle: Vec<u8>,
}

/// A test of the bytes at an offset.
#[derive(Clone, Debug)]
enum Test {
    Masked { offset: usize, masks: Vec<u8>, values: Vec<u8> },
    In { offset: usize, ranges: Vec<(u8, u8)> },
}

impl From<Shape> for Outline {
    fn from(shape: Shape) -> Self {
        let Shape { mut head, least, mut needle, .. } = shape;
        while head.last() == Some(&Set::ALL) {
            head.pop();
        }
        let prefix: Vec<u8> = head.iter().map_while(|set| set.single()).collect();
        let sets = head.split_off(prefix.len());
        // The prefix contains it, so there is no need to search for it.
        if needle.is_empty() || prefix.windows(needle.len()).any(|part| part == needle) {
            needle.clear();
        }
        let tests = Test::of(prefix.len(), &sets);
        Self { prefix, sets, tests, least, needle }
    }
}

impl Outline {
    /// Whether the payload can match.
    #[inline]
    pub(super) fn allows(&self, payload: &[u8]) -> bool {
        let Some(rest) = payload.strip_prefix(&self.prefix[..]) else { return false };
        payload.len() >= self.least
            && self.sets.iter().zip(rest).all(|(set, byte)| set.contains(*byte))
            && (self.needle.is_empty() || payload::contains(payload, &self.needle))
    }

    /// Writes the tests of [`allows`](Self::allows) for the kernel, without the search for the needle.
    pub(super) fn compile(&self, code: &mut Assembler<'_>) {
        // The prefix is written last, since the kernel runs the last test first. Room is reserved for it.
        let reserved = self.prefix.len().saturating_add(24);
        let _ = code.length(self.least, usize::MAX);
        for test in self.tests.iter().rev() {
            if code.room() >= test.instructions().saturating_add(reserved) {
                test.compile(code);
            }
        }
        let _ = code.bytes(0, &self.prefix);
    }
}

impl Test {
    /// The fewest tests for these sets, of which the first is for the byte at `offset`.
    fn of(offset: usize, sets: &[Set]) -> Vec<Self> {
        let mut tests = Vec::new();
        for (offset, set) in (offset..).zip(sets) {
            match (set.masked(), tests.last_mut()) {
                (Some((mask, value)), Some(Self::Masked { masks, values, .. })) => {
                    masks.push(mask);
                    values.push(value);
                }
                (Some((mask, value)), _) => {
                    tests.push(Self::Masked { offset, masks: Vec::from([mask]), values: Vec::from([value]) });
                }
                (None, _) => tests.push(Self::In { offset, ranges: set.ranges() }),
            }
        }
        tests
    }

    /// An upper limit of its instructions.
    const fn instructions(&self) -> usize {
        match self {
            Self::Masked { masks, .. } => masks.len().saturating_add(24),
            Self::In { ranges, .. } => ranges.len().saturating_mul(2).saturating_add(16),
        }
    }

    fn compile(&self, code: &mut Assembler<'_>) {
        let _ = match self {
            Self::Masked { offset, masks, values } => code.masked(*offset, masks, values),
            Self::In { offset, ranges } => code.byte_in(*offset, ranges),
        };
    }
}

#[cfg(test)]
mod tests;
