//! Packets that a device's queue refuses (`ENOBUFS`): when to try again, when to give up, and that this machine gets one copy alone.

use core::time::Duration;

use rustix::fd::BorrowedFd;

use crate::group::Family;
use crate::socket;

/// After how many seconds to give up, if the options do not say.
pub(super) const DEFAULT_LIMIT: u8 = 5;

/// Local listeners are to get copies (`IP_MULTICAST_LOOP`).
const COPIES: u8 = 0x80;
/// They have got that of the refused packet, so copies are off at the moment.
const COPIED: u8 = 0x40;
/// How many milliseconds to wait for the next try; 0 if no packet is refused.
const WAIT: u8 = 0x0f;
/// The longest wait. Each is twice as long as the one before. Longer ones starve a sender beside others on a full queue.
const LONGEST: u8 = 10;

/// No send buffer is as large.
const TRY_AGAIN: u32 = u32::MAX;

/// What is known of the packet that a queue refused last.
///
/// While the socket's queued bytes become fewer or more, the queue drains, and the packet has a chance. Where a queue, a shaper or an
/// egress filter takes it never, they do not change.
// Passed by value: after a reference to a part of a sender was passed on, the compiler would no longer know what the other parts hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    /// After how many seconds to give up.
    limit: u8,
    /// Three of the above.
    state: u8,
    /// When the queued bytes changed last, as [`socket::ticks`] tells.
    since: u16,
    /// How many bytes were queued: the lower bits, since only changes matter.
    queued: u16,
}

impl Refusal {
    /// No packet is refused.
    pub(super) const fn none(limit: u8, copies: bool) -> Self {
        Self { limit, state: if copies { COPIES } else { 0 }, since: 0, queued: 0 }
    }

    /// Whether a packet is refused, or its copy was made, so that copies are off.
    pub(super) const fn is_some(self) -> bool {
        self.state & (COPIED | WAIT) != 0
    }

    /// Whether the last packet was refused.
    pub(super) const fn waits(self) -> bool {
        self.state & WAIT != 0
    }

    /// Whether local listeners have got the copy of the refused packet.
    pub(super) const fn has_copied(self) -> bool {
        self.state & COPIED != 0
    }

    pub(super) fn wait(self) -> Duration {
        Duration::from_millis((self.state & WAIT).into())
    }

    /// A queue refused a packet of this length: returns when to try again ([`wait`](Self::wait)), or an error if it is to be given up.
    /// Then `Err` holds the size of the send buffer if that is too small for the packet, else 0.
    #[inline(always)]
    pub(super) fn refused(self, socket: BorrowedFd<'_>, family: Family, length: usize) -> Result<Self, u32> {
        // A copy, so that only this is lent.
        let mut noted = self;
        match noted.note(socket, family, length) {
            TRY_AGAIN => Ok(noted),
            buffer => Err(buffer),
        }
    }

    /// As [`refused`](Self::refused). This form is the smallest.
    #[cold]
    #[inline(never)]
    fn note(&mut self, socket: BorrowedFd<'_>, family: Family, length: usize) -> u32 {
        // What the kernel does not tell must not look like a dead queue, nor like one that drains.
        let queued = socket::queued_or(1, socket);
        let buffer = socket::send_buffer_or(u32::MAX, socket);
        let wait = self.state & WAIT;
        // Twice in a row: the last packet before may have left after the refusal.
        let is_same = wait > 0 && self.queued == queued as u16;
        // Where a packet needs fragments, the kernel also refuses it so if all of them need more than twice the send buffer; with the
        // kernel's own overhead, a fragment of 1,500 bytes needs 1.6 times as much. Then it makes no copy. (The sum is never too large:
        // no slice is longer than half of what a `usize` counts.)
        if length.wrapping_add(queued as usize / 2) <= buffer as usize {
            self.state = copied(self.state, socket, family);
        } else if is_same && queued == 0 {
            return buffer;
        }
        let now = match socket::ticks() {
            Some(now) => now,
            // Without a clock, each try counts as one tick.
            None => {
                self.since = self.since.wrapping_sub(1);
                0
            }
        };
        if !is_same {
            (self.since, self.queued) = (now, queued as u16);
        } else if wait == LONGEST && now.wrapping_sub(self.since) >= self.limit() {
            return 0;
        }
        self.state = self.state & !WAIT | wait.saturating_mul(2).clamp(1, LONGEST);
        TRY_AGAIN
    }

    /// Local listeners have got their copy: they get no other one until [`over`](Self::over).
    pub(super) fn copied(self, socket: BorrowedFd<'_>, family: Family) -> Self {
        Self { state: copied(self.state, socket, family), ..self }
    }

    /// Another packet is sent meanwhile, and gets its copy.
    #[inline(always)]
    pub(super) fn copying(mut self, socket: BorrowedFd<'_>, family: Family) -> Self {
        if self.has_copied() {
            self.state &= !COPIED;
            socket::set_copies(socket, family, true);
        }
        self
    }

    /// As it was before another packet was sent, which left `now`.
    #[cold]
    pub(super) fn again_after(self, now: Self, socket: BorrowedFd<'_>, family: Family) -> Self {
        let resumed = Self { state: self.state & !COPIED | now.state & COPIED, ..self };
        if self.has_copied() { resumed.copied(socket, family) } else { resumed.copying(socket, family) }
    }

    /// Another packet is sent, since the refused one is given up. If the queue refuses this one, too, the time goes on, so that several
    /// packets in turn do not wait for ever. It begins again if nothing was tried for long.
    #[cold]
    pub(super) fn of_another(self, socket: BorrowedFd<'_>, family: Family) -> Self {
        let passed = socket::ticks().map_or(0, |now| now.wrapping_sub(self.since));
        if passed > self.limit().saturating_add(socket::TICKS) {
            return self.over(socket, family);
        }
        self.copying(socket, family)
    }

    /// After how many ticks to give up.
    fn limit(self) -> u16 {
        socket::TICKS.saturating_mul(self.limit.into())
    }

    /// The packet was sent, or is given up: the next one gets its copy again.
    // Inlined, and so is `copying`: that is smaller.
    #[inline(always)]
    pub(super) fn over(self, socket: BorrowedFd<'_>, family: Family) -> Self {
        if self.has_copied() {
            socket::set_copies(socket, family, true);
        }
        Self { state: self.state & COPIES, ..self }
    }

    /// One of several packets was sent whose copies were made: the others are not to be copied again.
    pub(super) const fn next(mut self) -> Self {
        self.state &= !WAIT;
        self
    }
}

fn copied(state: u8, socket: BorrowedFd<'_>, family: Family) -> u8 {
    if state & (COPIES | COPIED) != COPIES {
        return state;
    }
    socket::set_copies(socket, family, false);
    state | COPIED
}
