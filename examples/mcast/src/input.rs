//! Standard input: line by line, or all of it.

use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::os::fd::{AsFd, BorrowedFd};

#[cfg(feature = "ask")]
use multicast::{Events, Interest, Poller, Token};

#[cfg(feature = "ask")]
use crate::limits::Limits;
use crate::standard;
use crate::stop::{Stop, failed};

/// The most bytes that are kept of a line; more are only counted. Longer than any packet of IPv4 and IPv6.
const KEPT: usize = 65_536;

pub(crate) struct Lines {
    file: File,
    chunk: Box<[u8]>,
    /// The part of the chunk that was read, but not split into lines yet.
    unread: core::ops::Range<usize>,
    line: Line,
    at_end: bool,
}

/// A line without its newline.
#[derive(Default)]
pub(crate) struct Line {
    /// Its beginning; complete if it can be a packet.
    pub(crate) bytes: Vec<u8>,
    pub(crate) length: usize,
    /// The number of the line, from 1 on.
    pub(crate) number: u64,
}

pub(crate) enum Next {
    Line(Line),
    /// Wait until there is input, then [`Lines::read`].
    Wait,
    End,
}

impl Lines {
    pub(crate) fn from_standard_input() -> Result<Self, Stop> {
        if standard::input_is_closed() {
            return Err(Stop::failed("standard input is closed: there is nothing to send".to_owned()));
        }
        let file = io::stdin().as_fd().try_clone_to_owned().map_err(failed("open standard input"))?.into();
        let line = Line { number: 1, ..Line::default() };
        Ok(Self { file, chunk: vec![0; KEPT].into(), unread: 0..0, line, at_end: false })
    }

    /// The next line, if all of it was read. The last one needs no newline.
    pub(crate) fn next(&mut self) -> Next {
        let unread = self.chunk.get(self.unread.clone()).unwrap_or(&[]);
        if let Some(end) = unread.iter().position(|byte| *byte == b'\n') {
            self.line.extend(unread.get(..end).unwrap_or(&[]));
            self.unread.start += end + 1;
            return Next::Line(self.take_line());
        }
        self.line.extend(unread);
        self.unread = 0..0;
        match (self.at_end, self.line.length) {
            (false, _) => Next::Wait,
            (true, 0) => Next::End,
            (true, _) => Next::Line(self.take_line()),
        }
    }

    fn take_line(&mut self) -> Line {
        let number = self.line.number + 1;
        core::mem::replace(&mut self.line, Line { number, ..Line::default() })
    }

    /// Reads available input. Blocks if there is none.
    pub(crate) fn read(&mut self) -> Result<(), Stop> {
        match self.file.read(&mut self.chunk) {
            Ok(0) => self.at_end = true,
            Ok(length) => self.unread = 0..length,
            // Nothing to read: the next turn waits again.
            Err(error) if matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::WouldBlock) => {}
            Err(error) => return Err(Stop::failed(format!("read standard input: {error}"))),
        }
        Ok(())
    }
}

/// All of standard input, for one packet. It waits no longer than the program may run.
#[cfg(feature = "ask")]
#[inline(never)]
pub(crate) fn all(limits: &Limits) -> Result<Vec<u8>, Stop> {
    const INPUT: Token = Token(1);
    let mut input = Lines::from_standard_input()?;
    let poller = Poller::new()?;
    limits.register(&poller)?;
    let is_pollable = match poller.register(&input, INPUT, Interest::READABLE) {
        Ok(()) => true,
        Err(error) if error.kind() == multicast::ErrorKind::NotPollable => false,
        Err(error) => return Err(error.into()),
    };
    let (mut bytes, mut events) = (Vec::new(), Events::<2>::new());
    loop {
        if is_pollable {
            limits.wait(&poller, &mut events, None)?;
        }
        input.read()?;
        bytes.extend_from_slice(input.chunk.get(input.unread.clone()).unwrap_or(&[]));
        input.unread = 0..0;
        if input.at_end {
            return Ok(bytes);
        }
        if bytes.len() > KEPT {
            return Err(Stop::failed("standard input is too long for a packet: at most 65507 bytes".to_owned()));
        }
        limits.check()?;
    }
}

impl AsFd for Lines {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl Line {
    fn extend(&mut self, bytes: &[u8]) {
        self.length = self.length.saturating_add(bytes.len());
        let room = KEPT.saturating_sub(self.bytes.len());
        self.bytes.extend_from_slice(bytes.get(..room).unwrap_or(bytes));
    }

    /// Whether its end was not kept, since no packet can be that long.
    pub(crate) fn is_cut(&self) -> bool {
        self.length > self.bytes.len()
    }
}
