//! How a multicaster sends a batch: in one call where packets can leave together, else one by one.

use core::ops::ControlFlow;

use rustix::fd::AsFd;

use super::multicaster::{Multicaster, Progress};
use super::segments::{COPIED, Run, are_side_by_side};
use super::socket::TRIES;
use crate::error::{Errno, Result};

impl<I, const BATCH: usize> Multicaster<I, BATCH>
where
    I: Iterator,
    I::Item: AsRef<[u8]>,
{
    /// Sends this many of the next packets one by one.
    pub(super) fn send_singly(&mut self, packets: usize) -> Result<Progress> {
        let mut sent = 0_usize;
        while sent < packets {
            match self.send_next() {
                Ok(()) => sent = sent.saturating_add(1),
                Err(errno) if sent == 0 => return self.refused(errno),
                Err(errno) => {
                    if errno == Errno::NO_BUFFERS {
                        // Remembers that the copy was made.
                        let _ = self.refused(errno);
                    }
                    // The packets before are reported first. If the error lasts, the next call returns it.
                    break;
                }
            }
        }
        Ok(Progress::Sent(sent))
    }

    /// Sends the first packets in one call, if they can leave together. Otherwise returns how many to send one by one.
    pub(super) fn send_run(&mut self, most: usize) -> ControlFlow<Result<Progress>, usize> {
        if self.sender.refusal.waits() {
            return ControlFlow::Continue(1);
        }
        let most = match self.copied {
            0 => most,
            // Either all packets of a run get their copies, or none.
            copied => most.min(copied.into()),
        };
        let lengths = self.staging.left(self.sent).iter().take(most).map(|item| item.as_ref().len());
        let Some(run) = self.segments.run(lengths) else { return ControlFlow::Continue(1) };
        let mut tries = TRIES;
        loop {
            return match self.send_together(run) {
                Ok(()) => {
                    self.settle(run.count);
                    self.staging.sent(&mut self.sent, run.count);
                    ControlFlow::Break(Ok(Progress::Sent(run.count)))
                }
                // A device's queue may have room for one packet and not for this many: try the first one.
                Err(Errno::NO_BUFFERS) => {
                    self.note_copied(run.count);
                    ControlFlow::Continue(1)
                }
                Err(Errno::INTERRUPTED) => ControlFlow::Continue(1),
                Err(errno) if self.sender.should_retry(errno, &mut tries) => continue,
                // Longer than the link's MTU: the kernel does not fragment segments. Older kernels return EINVAL.
                Err(Errno::TOO_LONG | Errno::INVALID) => {
                    self.segments.refused(run.size);
                    ControlFlow::Continue(run.count)
                }
                // A device that cannot compute checksums.
                Err(Errno::IO | Errno::NO_OPTION) => {
                    self.segments.unsupported();
                    ControlFlow::Continue(run.count)
                }
                Err(errno) => ControlFlow::Break(self.refused(errno)),
            };
        }
    }

    /// The kernel made copies of this many packets for local listeners, though the queue refused them.
    #[cold]
    fn note_copied(&mut self, packets: usize) {
        let sender = &mut self.sender;
        sender.refusal = sender.refusal.copied(sender.socket.as_fd(), sender.family);
        if sender.refusal.has_copied() {
            // A batch is at most 64.
            self.copied = self.copied.max(packets as u8);
        }
    }

    /// Sends the packets of this run in one call. Those side by side in memory leave as one part, without a copy.
    fn send_together(&self, run: Run) -> core::result::Result<(), Errno> {
        let parts = || self.staging.left(self.sent).iter().take(run.count).map(AsRef::as_ref);
        if run.is_copied() && !are_side_by_side(parts()) {
            let mut together = heapless::Vec::<u8, COPIED>::new();
            if parts().all(|part| together.extend_from_slice(part).is_ok()) {
                return self.sender.socket.send_segments(core::iter::once(together.as_slice()), run.size, &self.to);
            }
        }
        self.sender.socket.send_segments(parts(), run.size, &self.to)
    }
}
