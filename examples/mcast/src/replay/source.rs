//! Reads a capture, from a file or standard input. It never blocks longer than until a signal or the timeout.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Seek};
use std::os::fd::AsFd;
use std::path::Path;

use multicast::{Events, Interest, Poller, Token};

use crate::limits::Limits;
use crate::standard;
use crate::stop::{Stop, failed};

const READABLE: Token = Token(1);

pub(super) struct Source {
    file: File,
    name: String,
    /// For a pipe. A regular file never blocks, and cannot be polled.
    poller: Option<Poller>,
}

impl Source {
    /// Opens the file, or standard input for `-`.
    pub(super) fn open(path: &Path, limits: &Limits) -> Result<Self, Stop> {
        let (file, name) = if path == Path::new("-") {
            if standard::input_is_closed() {
                return Err(Stop::failed("standard input is closed: there is nothing to replay".to_owned()));
            }
            let input = io::stdin().as_fd().try_clone_to_owned().map_err(failed("open standard input"))?;
            (input.into(), "standard input".to_owned())
        } else {
            let name = path.display().to_string();
            (File::open(path).map_err(failed(&format!("open {name}")))?, name)
        };
        let poller = Poller::new()?;
        limits.register(&poller)?;
        let poller = match poller.register(&file, READABLE, Interest::READABLE) {
            Ok(()) => Some(poller),
            Err(error) if error.kind() == multicast::ErrorKind::NotPollable => None,
            Err(error) => return Err(error.into()),
        };
        Ok(Self { file, name, poller })
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Reads the next bytes; 0 is the end.
    pub(super) fn read(&mut self, buffer: &mut [u8], limits: &Limits) -> Result<usize, Stop> {
        loop {
            limits.check()?;
            if let Some(poller) = &self.poller {
                let mut events = Events::<2>::new();
                limits.wait(poller, &mut events, None)?;
            }
            match self.file.read(buffer) {
                Err(error) if matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::WouldBlock) => {}
                read => return read.map_err(failed(&format!("read {}", self.name))),
            }
        }
    }

    /// Begins again. An error is that it cannot, as with a pipe.
    pub(super) fn rewind(&mut self) -> Result<(), Stop> {
        self.file.rewind().map_err(failed(&format!("begin {} again", self.name)))
    }
}
