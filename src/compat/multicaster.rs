//! Sending: with or without a poller.

use core::fmt;
use core::ops::ControlFlow;
use core::time::Duration;
use std::thread;
use std::time::Instant;

use super::handle::Handle;
use super::handler::{Flags, Handler};
use super::options::SendOptions;
use super::packets::IntoPackets;
use super::turn::{self, Turns};
use crate::{AsFd, BorrowedFd, Change, ErrorKind, Events, Interest, Poller, Progress, Result, Token};

/// How long to wait after a socket was reported as writable but was not, for example because of a pending error that cannot be
/// read.
const SPURIOUS_WAKE_DELAY: Duration = Duration::from_millis(1);

/// Sends the packets of an iterable to a group, as fast as its socket takes them, while its poller polls.
///
/// ```no_run
/// use multicast::compat::{Multicaster, SendOptions, run};
/// use std::time::Duration;
///
/// Multicaster::new((1..=3).map(|i| format!("packet {i}")), SendOptions::new().ip("239.1.2.3")?)?;
/// run(None, Duration::ZERO)?; // until all are sent
/// # Ok::<(), multicast::Error>(())
/// ```
///
/// [`live`](Self::live) makes one that stays registered, and that you give packets while the program runs.
///
/// After 64 packets the other handlers get their turn, so the iterable may be endless. Its `next` should not wait.
///
/// No error removes it, and no packet is lost: the interface may be down, a route missing, or a firewall in the way for a while. Its
/// poller returns the error once, and it [tries again](Handler::stays_after_error). It follows its interface as listeners do: when that is
/// created again, or gets another address, it sends there. Only a packet that is [too long](crate::ErrorKind::TooLong) is skipped, since
/// it could never be sent: each is an error. To give up, unregister it, and get back [what was not sent](Self::into_unsent).
pub struct Multicaster<I: Iterator> {
    core: crate::Multicaster<I>,
    /// It stays when it has nothing to send.
    is_live: bool,
    paused_until: Option<Instant>,
    turns: Turns,
}

impl<I> Multicaster<I>
where
    I: Iterator + 'static,
    I::Item: AsRef<[u8]>,
{
    /// Registers with the poller of the options, which owns it from now on, and drops it when everything is sent.
    ///
    /// # Errors
    /// As [`SendOptions::packets`](crate::SendOptions::packets) of the core, and [`Poller::register`](super::Poller::register).
    pub fn new(packets: impl IntoIterator<IntoIter = I, Item = I::Item>, options: SendOptions) -> Result<Handle<Self>> {
        Self::register(packets, options, false)
    }

    pub(super) fn register(
        packets: impl IntoIterator<IntoIter = I, Item = I::Item>,
        mut options: SendOptions,
        is_live: bool,
    ) -> Result<Handle<Self>> {
        let poller = options.take_poller()?;
        let turns = poller.shared.registry.turns.clone();
        let core = options.packets(packets)?;
        poller.register(Self { core, is_live, paused_until: None, turns }, Flags::NONE)
    }

    /// The packets that were not sent, in their order.
    pub fn into_unsent(self) -> impl Iterator<Item = I::Item> {
        let (items, pulled) = self.core.into_parts();
        pulled.chain(items)
    }
}

impl<I: Iterator> Multicaster<I> {
    /// The core's multicaster, to read its group, its address, and the next packet.
    pub const fn core(&self) -> &crate::Multicaster<I> {
        &self.core
    }

    /// The core's multicaster, which returns the packets that were not sent.
    #[must_use]
    pub fn into_core(self) -> crate::Multicaster<I> {
        self.core
    }
}

impl<I> Handler for Multicaster<I>
where
    I: Iterator + 'static,
    I::Item: AsRef<[u8]>,
{
    fn interest(&self) -> Flags {
        // An idle socket is always writable.
        let is_idle = self.is_live && self.core.pending().is_none() && self.core.items().size_hint().0 == 0;
        if is_idle { Flags::NONE } else { Flags::WRITE }
    }

    fn stays_after_error(&self) -> bool {
        true
    }

    fn follows(&self) -> bool {
        true
    }

    fn follow(&mut self, change: &Change) -> Result<()> {
        change.apply(&mut self.core).failed.map_or(Ok(()), Err)
    }

    fn paused_until(&self) -> Option<Instant> {
        self.paused_until
    }

    fn handle_write(&mut self) -> Result<ControlFlow<()>> {
        let ended_before = self.turns.ended();
        self.paused_until = None;
        for sent in 0..turn::LENGTH {
            let wait = match self.core.step() {
                Ok(Progress::Sent(_)) if self.turns.ended() == ended_before => continue,
                Ok(Progress::Sent(_)) => break,
                Ok(Progress::Done) if self.is_live => break,
                Ok(Progress::Done) => return Ok(ControlFlow::Break(())),
                Ok(Progress::Wait(time)) => time,
                Ok(Progress::Blocked) if sent == 0 => SPURIOUS_WAKE_DELAY,
                Ok(Progress::Blocked) => break,
                Err(error) if error.kind() == ErrorKind::TooLong => {
                    // It can never be sent, and would hold up all behind it.
                    drop(self.core.discard());
                    self.paused_until = Some(Instant::now());
                    return Err(error);
                }
                // This turn has succeeded. If the error lasts, the next one returns it.
                Err(_) if sent > 0 => Duration::ZERO,
                Err(error) => return Err(error),
            };
            self.paused_until = Instant::now().checked_add(wait);
            break;
        }
        Ok(ControlFlow::Continue(()))
    }
}

impl<I: Iterator> AsFd for Multicaster<I> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.core.as_fd()
    }
}

impl<I: Iterator> fmt::Debug for Multicaster<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Multicaster");
        debug.field("core", &self.core).field("paused_until", &self.paused_until).finish_non_exhaustive()
    }
}

/// See [`sendto_with`](super::sendto_with). It waits with its own poller.
pub(super) fn sendto_with<K>(packets: impl IntoPackets<K>, options: SendOptions) -> Result<()> {
    let mut caster = options.packets(packets.into_packets())?;
    let (mut waiting, mut sent) = (None, 0_usize);
    loop {
        match caster.step().map_err(|error| error.after_sending(sent))? {
            Progress::Sent(packets) => sent = sent.saturating_add(packets),
            Progress::Done => return Ok(()),
            Progress::Wait(time) => thread::sleep(time),
            Progress::Blocked => {
                // Without a descriptor to wait with, it waits for a time.
                if wait_writable(&mut waiting, &caster).unwrap_or(true) {
                    // Without this the next wait would end at once again, with or without room.
                    caster.sender().forget_errors();
                    thread::sleep(SPURIOUS_WAKE_DELAY);
                }
            }
        }
    }
}

/// Returns whether an error is pending, so that there may be no room. The poller is created at the first wait: most calls never
/// wait.
fn wait_writable(poller: &mut Option<Poller>, socket: &impl AsFd) -> Result<bool> {
    let poller = match poller {
        Some(poller) => poller,
        None => {
            let made = Poller::new()?;
            made.register(socket, Token(0), Interest::WRITABLE)?;
            poller.insert(made)
        }
    };
    let mut events = Events::<1>::new();
    Ok(poller.poll(&mut events, None)?.any(|event| event.is_error()))
}
