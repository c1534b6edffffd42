//! The slots in which a poller keeps its handlers. It only keeps them: it calls nobody, so that no user code ever runs while it is
//! borrowed.

use core::fmt;
use std::boxed::Box;
use std::collections::VecDeque;
use std::time::Instant;
use std::vec::Vec;

use super::handler::{Flags, Handler};
use super::watch::Keep;
use crate::{Change, Error, Event, Token};

/// Names a slot and one of its tenants: a later tenant of the same slot has another generation. It begins again after 2^32.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Key {
    index: u32,
    generation: u32,
}

impl Key {
    pub(super) fn token(self) -> Token {
        Token((u64::from(self.generation) << 32) | u64::from(self.index))
    }

    pub(super) const fn place(self) -> usize {
        self.index as usize
    }

    const fn of(token: Token) -> Self {
        Self { index: token.0 as u32, generation: (token.0 >> 32) as u32 }
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.index, self.generation)
    }
}

/// What the kernel was told of a handler.
#[derive(Clone, Copy, Default)]
pub(super) struct Arming {
    /// What the caller of `register` added.
    pub(super) added: Flags,
    /// Its descriptor is in the epoll set.
    pub(super) in_set: bool,
    /// What it waits for there; nothing after an event, until it is armed again.
    pub(super) armed: Flags,
    /// It is to be armed at this time.
    pub(super) paused: Option<Instant>,
}

enum State {
    Free,
    Idle(Box<dyn Handler>),
    /// It is being called, and on the stack of that call.
    Running,
}

struct Slot {
    generation: u32,
    state: State,
    arming: Arming,
    /// What happened and was not told the handler yet.
    ready: Flags,
    /// It stands in the queue.
    queued: bool,
    /// A handler that runs asked to be armed again.
    rearm: bool,
    /// How its memberships are kept, where they are.
    keep: Option<Keep>,
    /// Interfaces changed while it ran.
    missed: bool,
}

/// What [`Table::remove`] found.
pub(super) enum Removed {
    /// Nothing: it left before.
    Nothing,
    /// It runs: whoever called it will find that it is not registered any more.
    Running,
    Idle(Box<dyn Handler>, Arming),
}

#[derive(Default)]
pub(super) struct Table {
    slots: Vec<Slot>,
    free: Vec<u32>,
    /// Whom to call, in the order of events. A key whose tenant has left is passed over.
    queue: VecDeque<Key>,
    idle: usize,
    paused: usize,
    kept: usize,
}

impl Table {
    /// A slot whose tenant is yet to come, and how its memberships are to be kept; `None` where 2^32 - 1 are taken.
    pub(super) fn reserve(&mut self, keep: Option<Keep>) -> Option<Key> {
        let index = match self.free.pop() {
            Some(index) => index,
            None => {
                // Token(u64::MAX) is the waker's, and the one of generation 0 is that of the links.
                let index = u32::try_from(self.slots.len()).ok().filter(|index| *index != u32::MAX)?;
                let (state, arming) = (State::Free, Arming::default());
                self.slots.push(Slot {
                    generation: 0,
                    state,
                    arming,
                    ready: Flags::NONE,
                    queued: false,
                    rearm: false,
                    keep: None,
                    missed: false,
                });
                // Nothing is to be allocated when events come, or when a slot becomes free.
                self.queue.reserve(self.slots.len().saturating_sub(self.queue.len()));
                self.free.reserve(self.slots.len());
                index
            }
        };
        let slot = self.slots.get_mut(index as usize)?;
        (slot.state, slot.keep) = (State::Running, keep);
        self.kept = self.kept.saturating_add(usize::from(keep.is_some()));
        Some(Key { index, generation: slot.generation })
    }

    fn slot(&mut self, key: Key) -> Option<&mut Slot> {
        let slot = self.slots.get_mut(key.index as usize)?;
        let taken = !matches!(slot.state, State::Free);
        (slot.generation == key.generation && taken).then_some(slot)
    }

    pub(super) fn contains(&mut self, key: Key) -> bool {
        self.slot(key).is_some()
    }

    /// How many handlers can get events: all but those that run.
    pub(super) const fn idle(&self) -> usize {
        self.idle
    }

    /// Takes a handler out to be called, where it is not being called already.
    pub(super) fn take(&mut self, key: Key) -> Option<(Box<dyn Handler>, Arming)> {
        let slot = self.slot(key)?;
        match core::mem::replace(&mut slot.state, State::Running) {
            State::Idle(handler) => {
                let arming = slot.arming;
                self.leave_idle(&arming);
                Some((handler, arming))
            }
            state => {
                slot.state = state;
                None
            }
        }
    }

    /// Puts it back after its call. It comes back where it was unregistered meanwhile.
    pub(super) fn put(&mut self, key: Key, handler: Box<dyn Handler>, arming: Arming) -> Result<(), Box<dyn Handler>> {
        let Some(slot) = self.slot(key) else { return Err(handler) };
        slot.state = State::Idle(handler);
        slot.arming = arming;
        let missed = !slot.ready.is_none() && !slot.queued;
        slot.queued |= missed;
        if missed {
            self.queue.push_back(key);
        }
        self.idle = self.idle.saturating_add(1);
        self.paused = self.paused.saturating_add(usize::from(arming.paused.is_some()));
        Ok(())
    }

    /// Frees the slot. Events that it has not been told of are dropped with it.
    pub(super) fn remove(&mut self, key: Key) -> Removed {
        let Some(slot) = self.slot(key) else { return Removed::Nothing };
        let state = core::mem::replace(&mut slot.state, State::Free);
        let arming = slot.arming;
        slot.generation = slot.generation.wrapping_add(1);
        (slot.ready, slot.queued, slot.rearm, slot.missed) = (Flags::NONE, false, false, false);
        let was_kept = slot.keep.take().is_some();
        self.kept = self.kept.saturating_sub(usize::from(was_kept));
        self.free.push(key.index);
        match state {
            State::Idle(handler) => {
                self.leave_idle(&arming);
                Removed::Idle(handler, arming)
            }
            _ => Removed::Running,
        }
    }

    fn leave_idle(&mut self, arming: &Arming) {
        self.idle = self.idle.saturating_sub(1);
        self.paused = self.paused.saturating_sub(usize::from(arming.paused.is_some()));
    }

    /// How many have memberships that are kept.
    pub(super) const fn kept(&self) -> usize {
        self.kept
    }

    /// Tells those in the slots from `place` on of a change, up to the first that fails. Those that run are told later.
    pub(super) fn keep_from(&mut self, place: usize, change: &Change) -> Option<(Key, Error)> {
        let slots = (0_u32..).zip(&mut self.slots).skip(place);
        for (index, slot) in slots {
            let Some(keep) = slot.keep else { continue };
            match &mut slot.state {
                State::Idle(handler) => {
                    if let Err(error) = keep(&mut **handler, change) {
                        return Some((Key { index, generation: slot.generation }, error));
                    }
                }
                State::Running => slot.missed = true,
                State::Free => {}
            }
        }
        None
    }

    /// How the memberships of a handler are to be kept, if interfaces changed while it ran, which is noted no more.
    pub(super) fn missed(&mut self, key: Key) -> Option<Keep> {
        let slot = self.slot(key)?;
        core::mem::take(&mut slot.missed).then_some(slot.keep)?
    }

    /// Any handler that does not run.
    pub(super) fn any_idle(&self) -> Option<Key> {
        self.find(|_| true)
    }

    /// A handler whose pause is over.
    pub(super) fn due(&self, now: Instant) -> Option<Key> {
        if self.paused == 0 {
            return None;
        }
        self.find(|slot| slot.arming.paused.is_some_and(|until| until <= now))
    }

    /// When the next pause is over.
    pub(super) fn next_due(&self) -> Option<Instant> {
        if self.paused == 0 {
            return None;
        }
        self.slots.iter().filter(|slot| matches!(slot.state, State::Idle(_))).filter_map(|slot| slot.arming.paused).min()
    }

    fn find(&self, wanted: impl Fn(&Slot) -> bool) -> Option<Key> {
        let index = self.slots.iter().position(|slot| matches!(slot.state, State::Idle(_)) && wanted(slot))?;
        Some(Key { index: u32::try_from(index).ok()?, generation: self.slots.get(index)?.generation })
    }

    /// Notes an event, and queues its handler. What was meant for a handler that has left reaches nobody.
    pub(super) fn note(&mut self, event: Event) {
        let key = Key::of(event.token());
        let Some(slot) = self.slot(key) else { return };
        let waits_to_read = slot.arming.armed.contains(Flags::READ);
        let failed = event.is_error() || event.is_hang_up();
        if event.is_readable() || (failed && waits_to_read) {
            slot.ready |= Flags::READ;
        }
        if event.is_writable() || (failed && !waits_to_read) {
            slot.ready |= Flags::WRITE;
        }
        let queued = core::mem::replace(&mut slot.queued, true);
        if !queued {
            self.queue.push_back(key);
        }
    }

    /// How many stand in the queue.
    pub(super) fn queued(&self) -> usize {
        self.queue.len()
    }

    /// The next of the queue that can be called, taken out to be called, with what happened. One that is being called already is
    /// queued again by [`put`](Self::put).
    pub(super) fn take_ready(&mut self) -> Option<(Key, Box<dyn Handler>, Arming, Flags)> {
        while let Some(key) = self.queue.pop_front() {
            let Some(slot) = self.slot(key) else { continue };
            slot.queued = false;
            let ready = slot.ready;
            let Some((handler, arming)) = self.take(key) else { continue };
            if let Some(slot) = self.slot(key) {
                slot.ready = Flags::NONE;
            }
            return Some((key, handler, arming, ready));
        }
        None
    }

    /// Notes that a handler that runs wants to be armed after its call.
    pub(super) fn rearm_later(&mut self, key: Key) {
        if let Some(slot) = self.slot(key) {
            slot.rearm = true;
        }
    }

    /// Whether it asked for it, which is noted no more.
    pub(super) fn wants_rearm(&mut self, key: Key) -> bool {
        self.slot(key).is_some_and(|slot| core::mem::take(&mut slot.rearm))
    }
}
