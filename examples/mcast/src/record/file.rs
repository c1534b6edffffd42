//! The file of a recording: blocks go in whole, so that what is there can be read whenever the program ends.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, IsTerminal};
use std::ops::Range;
use std::path::Path;

use multicast::{Poller, Token};

use super::pcapng;
use crate::limits::Limits;
use crate::output::Output;
use crate::stop::Stop;

/// Where a recording goes.
pub(super) struct Recording {
    output: Output,
    /// A regular file, which can be shortened.
    file: Option<File>,
    /// What to call it in messages.
    name: String,
    /// Descriptions of interfaces, which come before the packets that were received there.
    heads: Vec<u8>,
    packets: Vec<u8>,
    /// Where in `packets` each begins and ends, with its time.
    times: Vec<(u64, Range<usize>)>,
    pub(super) kept: Kept,
}

/// What is in the file.
#[derive(Clone, Copy, Default)]
pub(super) struct Kept {
    pub(super) packets: u64,
    pub(super) bytes: u64,
}

/// More are written at once, even if more packets are waiting.
const ENOUGH: usize = 1 << 18;

impl Recording {
    /// Opens the file, or standard output for `-`. A file that is there already is not overwritten, unless the user says so.
    pub(super) fn open(path: &Path, overwrite: bool, limits: &Limits) -> Result<Self, Stop> {
        // Standard output may be closed, if nothing goes there.
        let (output, file, name) = if path == Path::new("-") {
            if std::io::stdout().is_terminal() {
                return Err(Stop::misused(
                    "a terminal cannot show a recording: give a FILE, or redirect the output".to_owned(),
                ));
            }
            (Output::new(limits)?, None, "standard output".to_owned())
        } else {
            let file = create(path, overwrite)?;
            let is_regular = file.metadata().is_ok_and(|metadata| metadata.is_file());
            let regular = if is_regular { file.try_clone().ok() } else { None };
            let name = path.display().to_string();
            (Output::to(file, name.clone(), limits)?, regular, name)
        };
        let mut recording =
            Self { output, file, name, heads: Vec::new(), packets: Vec::new(), times: Vec::new(), kept: Kept::default() };
        pcapng::section(&mut recording.heads);
        recording.write(limits)?;
        Ok(recording)
    }

    /// Lets `poller` report that nobody reads the recording any more.
    pub(super) fn watch(&self, poller: &Poller, token: Token) -> Result<(), Stop> {
        self.output.watch(poller, token)
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Describes an interface, which gets the next number, from 0 on.
    pub(super) fn add_interface(&mut self, name: &str) {
        pcapng::interface(&mut self.heads, name);
    }

    /// Adds a packet. It is in the file after [`write`](Self::write).
    pub(super) fn add_packet(&mut self, interface: u32, nanoseconds: u64, data: &[u8]) {
        let start = self.packets.len();
        pcapng::packet(&mut self.packets, interface, nanoseconds, data);
        self.times.push((nanoseconds, start..self.packets.len()));
    }

    pub(super) fn add_statistics(&mut self, interface: u32, nanoseconds: u64, received: u64, dropped: Option<u64>) {
        pcapng::statistics(&mut self.heads, interface, nanoseconds, received, dropped);
    }

    pub(super) fn has_unwritten(&self) -> bool {
        !self.times.is_empty()
    }

    pub(super) fn has_enough(&self) -> bool {
        self.packets.len() >= ENOUGH
    }

    /// Writes all that was added. Packets of several sockets are put into the order of their times.
    #[inline(never)]
    pub(super) fn write(&mut self, limits: &Limits) -> Result<(), Stop> {
        let mut blocks = std::mem::take(&mut self.heads);
        let before = blocks.len();
        sort(&mut self.times);
        for (_, range) in self.times.drain(..) {
            blocks.extend(self.packets.get(range).unwrap_or(&[]));
        }
        self.packets.clear();
        let mut written = 0;
        let ended = loop {
            let Some(rest @ [_, ..]) = blocks.get(written..) else { break Ok(()) };
            match self.output.write_some(rest, limits) {
                Ok(length) => written = written.saturating_add(length),
                Err(stop) => break Err(stop),
            }
        };
        self.keep(&blocks, before, written);
        // The memory is used again.
        blocks.clear();
        self.heads = blocks;
        ended.map_err(|stop| self.with_what_is_kept(stop))
    }

    /// Counts what was written of these blocks. The first packet is `before` bytes behind their begin. What is only a part of a block is
    /// taken out of the file again.
    fn keep(&mut self, blocks: &[u8], before: usize, written: usize) {
        let mut whole = 0_usize;
        while let Some(length) = blocks.get(whole..written).and_then(pcapng::block_length) {
            if whole >= before {
                self.kept.packets = self.kept.packets.saturating_add(1);
            }
            whole = whole.saturating_add(length);
        }
        self.kept.bytes = self.kept.bytes.saturating_add(whole as u64);
        if let (true, Some(file)) = (whole < written, &self.file) {
            // If this fails, the file ends within a block, and readers say so.
            let _ = file.set_len(self.kept.bytes);
        }
    }

    fn with_what_is_kept(&self, stop: Stop) -> Stop {
        match stop {
            Stop::Failed(reason) => {
                let Kept { packets, bytes } = self.kept;
                Stop::failed(format!("{reason}; {packets} packets ({bytes} bytes) are kept in it"))
            }
            stop => stop,
        }
    }
}

/// Puts the packets into the order of their times. There are few, and those of one socket are in order already: the sort of the standard
/// library would be more code, and not faster.
fn sort(times: &mut [(u64, Range<usize>)]) {
    for end in 1..times.len() {
        let mut at = end;
        while let Some([before, this]) = at.checked_sub(1).and_then(|before| times.get_mut(before..=at)) {
            if before.0 <= this.0 {
                break;
            }
            std::mem::swap(before, this);
            at = at.saturating_sub(1);
        }
    }
}

fn create(path: &Path, overwrite: bool) -> Result<File, Stop> {
    let refused = |reason: &dyn std::fmt::Display| Stop::failed(format!("create {}: {reason}", path.display()));
    match OpenOptions::new().write(true).create_new(true).open(path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        created => return created.map_err(|error| refused(&error)),
    }
    // A device or a pipe has nothing that could be lost.
    let is_regular = std::fs::metadata(path).is_ok_and(|metadata| metadata.is_file());
    if is_regular && !overwrite {
        return Err(refused(&"it exists: give another name, or --overwrite"));
    }
    OpenOptions::new().write(true).truncate(true).open(path).map_err(|error| refused(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_of_one_time_keep_their_order() {
        let mut times: Vec<_> = [5, 3, 4, 3, 9, 1, 5].into_iter().zip([0..1, 1..2, 2..3, 3..4, 4..5, 5..6, 6..7]).collect();
        sort(&mut times);
        let sorted: Vec<_> = times.iter().map(|(time, range)| (*time, range.start)).collect();
        assert_eq!(sorted, [(1, 5), (3, 1), (3, 3), (4, 2), (5, 0), (5, 6), (9, 4)]);
        sort(&mut []);
    }
}
