//! Standard output, or a file: each line is written at once. It never blocks longer than until a signal or the timeout, but for a line
//! that has begun: its reader has two seconds for the rest.

use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use multicast::{Events, Interest, Poller, Token};

use crate::limits::Limits;
use crate::standard;
use crate::stop::{Stop, failed};

/// A pipe that is writable takes this many bytes without blocking (`PIPE_BUF`, `pipe(7)`).
const PIECE: usize = 4096;
const WRITABLE: Token = Token(1);
/// How long a line that has begun, or the last one, waits for its reader when the command must end.
const GRACE: Duration = Duration::from_secs(2);

pub(crate) struct Output {
    file: File,
    /// What to call it in messages.
    name: String,
    /// A second poller: while the output cannot be written, incoming packets must not wake the process.
    poller: Option<Poller>,
    /// Whether what is written now is the end, which should not be lost.
    is_ending: bool,
    /// When a line first waited although the command must end.
    waits_since: Option<Instant>,
    /// Kept, so that a line needs no new memory.
    #[cfg(feature = "json")]
    line: Vec<u8>,
}

impl Output {
    #[inline(never)]
    pub(crate) fn new(limits: &Limits) -> Result<Self, Stop> {
        Self::to(open()?, "standard output".to_owned(), limits)
    }

    /// Writes to this file instead.
    #[inline(never)]
    pub(crate) fn to(file: File, name: String, limits: &Limits) -> Result<Self, Stop> {
        let poller = Poller::new()?;
        limits.register(&poller)?;
        let poller = match poller.register(&file, WRITABLE, Interest::WRITABLE) {
            Ok(()) => Some(poller),
            // A regular file never blocks.
            Err(error) if error.kind() == multicast::ErrorKind::NotPollable => None,
            Err(error) => return Err(error.into()),
        };
        Ok(Self {
            file,
            name,
            poller,
            is_ending: false,
            waits_since: None,
            #[cfg(feature = "json")]
            line: Vec::new(),
        })
    }

    /// Lets `poller` report, with a hang-up or an error, that the reader has closed the output.
    pub(crate) fn watch(&self, poller: &Poller, token: Token) -> Result<(), Stop> {
        if self.poller.is_some() {
            // Errors and hang-ups are reported for any interest. A terminal is also readable while keys are typed:
            // edge-triggered, this wakes the process only once.
            poller.register(&self.file, token, Interest::READABLE.edge())?;
        }
        Ok(())
    }

    /// Writes these bytes, a line or several.
    #[inline(never)]
    pub(crate) fn write(&mut self, bytes: &[u8], limits: &Limits) -> Result<(), Stop> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let has_begun = rest.len() < bytes.len();
            let written = self.write_piece(rest, has_begun || self.is_ending, limits)?;
            rest = rest.get(written..).unwrap_or(&[]);
        }
        Ok(())
    }

    /// What is written from now on is the end. Its reader has some time for it, also after a signal.
    pub(crate) fn end(&mut self) {
        self.is_ending = true;
    }

    /// Writes the first of these bytes, as many as go at once; returns how many.
    pub(crate) fn write_some(&mut self, bytes: &[u8], limits: &Limits) -> Result<usize, Stop> {
        self.write_piece(bytes, self.is_ending, limits)
    }

    fn write_piece(&mut self, bytes: &[u8], is_urgent: bool, limits: &Limits) -> Result<usize, Stop> {
        let piece = match &self.poller {
            Some(poller) => {
                match wait_until_writable(poller, limits) {
                    Err(Stop::Signal(_) | Stop::TimedOut) if is_urgent && self.is_read_after_all() => {}
                    waited => waited.map_err(|stop| unread(stop, &self.name))?,
                }
                bytes.get(..PIECE).unwrap_or(bytes)
            }
            None => bytes,
        };
        match self.file.write(piece) {
            Ok(0) if !bytes.is_empty() => Err(Stop::failed(format!("write to {}: it takes no more", self.name))),
            Ok(written) => Ok(written),
            Err(error) if matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::WouldBlock) => {
                limits.check().map(|()| 0)
            }
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Err(Stop::OutputClosed),
            Err(error) => Err(Stop::failed(format!("write to {}: {error}", self.name))),
        }
    }

    /// Waits for the reader although the command must end.
    #[inline(never)]
    fn is_read_after_all(&mut self) -> bool {
        let left = GRACE.saturating_sub(self.waits_since.get_or_insert_with(Instant::now).elapsed());
        // One that signals do not wake.
        let Ok(poller) = Poller::new() else { return false };
        let mut events = Events::<1>::new();
        poller.register(&self.file, WRITABLE, Interest::WRITABLE).is_ok()
            && poller.poll(&mut events, left).is_ok_and(|mut events| events.next().is_some())
    }

    /// Writes a value as one line of JSON. Each has the fields `version` and `kind`, and units in the names of its keys.
    #[cfg(feature = "json")]
    pub(crate) fn object(&mut self, value: &impl serde::Serialize, limits: &Limits) -> Result<(), Stop> {
        self.line.clear();
        let made = serde_json::to_writer(&mut self.line, value);
        self.write_object(made, limits)
    }

    /// Writes the object, if it could be made. Apart from [`object`](Self::object), of which each kind of object has its own.
    #[cfg(feature = "json")]
    #[inline(never)]
    fn write_object(&mut self, made: serde_json::Result<()>, limits: &Limits) -> Result<(), Stop> {
        made.map_err(failed("write JSON"))?;
        let mut line = std::mem::take(&mut self.line);
        line.push(b'\n');
        let written = self.write(&line, limits);
        self.line = line;
        written
    }
}

/// Output that was not written is more than the end of the time.
fn unread(stop: Stop, name: &str) -> Stop {
    match stop {
        Stop::TimedOut => Stop::failed(format!("the time is up, and nobody reads {name}: what is left is lost")),
        stop => stop,
    }
}

fn wait_until_writable(poller: &Poller, limits: &Limits) -> Result<(), Stop> {
    let mut events = Events::<2>::new();
    loop {
        let may_go_on = limits.wait(poller, &mut events, None);
        // First, so that a packet that was received before the timeout is still printed.
        if events.iter().any(|event| event.token() == WRITABLE) {
            return Ok(());
        }
        may_go_on?;
    }
}

/// Prints a text that is not a packet.
pub(crate) fn print(text: &str) -> Result<(), Stop> {
    open()?.write_all(text.as_bytes()).map_err(|error| unwritable(&error))
}

/// Standard output. Not by way of `io::stdout`, which takes a closed descriptor for one that swallows everything.
fn open() -> Result<File, Stop> {
    if standard::output_is_closed() {
        return Err(Stop::failed("standard output is closed: nothing can be printed".to_owned()));
    }
    Ok(io::stdout().as_fd().try_clone_to_owned().map_err(failed("open standard output"))?.into())
}

fn unwritable(error: &io::Error) -> Stop {
    match error.kind() {
        ErrorKind::BrokenPipe => Stop::OutputClosed,
        _ => Stop::failed(format!("write to standard output: {error}")),
    }
}

/// Adds the payload, escaped so that it stays on one line, is harmless on a terminal, and can be decoded without loss.
pub(crate) fn escape(payload: &[u8], line: &mut Vec<u8>) {
    for byte in payload {
        match byte {
            b'\\' => line.extend_from_slice(b"\\\\"),
            b' '..=b'~' => line.push(*byte),
            _ => {
                // Writing into a vector does not fail.
                let _ = write!(line, "\\x{byte:02x}");
            }
        }
    }
}
