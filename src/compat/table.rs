//! The slots of a poller's handlers, and the queue of those that are ready. No user code runs while the table is borrowed: it
//! calls no handler and drops none, since the caller that removes a slot still holds it.

use core::cell::Cell;
use core::ops::Bound;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::time::Instant;

use super::handler::Flags;
use super::slot::{Entry, State};
use crate::{Event, Token};

/// The token of the poller's own `Links`. Handlers have higher tokens.
pub(super) const LINKS: Token = Token(0);

pub(super) struct Table {
    /// In the order of their registration. A token is never used again, so an event for a handler that has left is ignored.
    entries: BTreeMap<Token, Rc<dyn Entry>>,
    last: Token,
    /// The handlers to call, in the order of events. Those that have left are skipped.
    queue: VecDeque<Rc<dyn Entry>>,
    /// How many timers run.
    timers: usize,
}

impl Default for Table {
    fn default() -> Self {
        Self { entries: BTreeMap::new(), last: LINKS, queue: VecDeque::new(), timers: 0 }
    }
}

impl Table {
    pub(super) const fn next_token(&mut self) -> Token {
        self.last = Token(self.last.0.saturating_add(1));
        self.last
    }

    pub(super) fn insert(&mut self, entry: Rc<dyn Entry>) {
        self.entries.insert(entry.state().token, entry);
        // Reserved now, so that events cause no allocation.
        self.queue.reserve(self.entries.len().saturating_sub(self.queue.len()));
    }

    /// Removes a slot, with the events that were not reported to its handler.
    pub(super) fn remove(&mut self, state: &State) {
        state.is_registered.set(false);
        self.set(&state.paused_until, None);
        self.set(&state.follows_at, None);
        self.entries.remove(&state.token);
    }

    /// Sets or ends a timer of a handler.
    pub(super) fn set(&mut self, timer: &Cell<Option<Instant>>, until: Option<Instant>) {
        let before = timer.replace(until);
        self.timers = self.timers.saturating_add(until.is_some().into()).saturating_sub(before.is_some().into());
    }

    /// Any handler that can get events: one that does not run.
    pub(super) fn any_idle(&self) -> Option<Rc<dyn Entry>> {
        self.entries.values().find(|entry| entry.lend().is_some()).cloned()
    }

    /// The next handler after this one that follows changes of interfaces.
    pub(super) fn follower_after(&self, token: Token) -> Option<Rc<dyn Entry>> {
        self.behind(token).find(|entry| entry.state().follows).cloned()
    }

    fn behind(&self, token: Token) -> impl Iterator<Item = &Rc<dyn Entry>> {
        self.entries.range((Bound::Excluded(token), Bound::Unbounded)).map(|(_, entry)| entry)
    }

    /// The first handler after this one of which a timer has ended.
    pub(super) fn due_after(&self, token: Token, now: Instant) -> Option<Rc<dyn Entry>> {
        if self.timers == 0 {
            return None;
        }
        self.behind(token).find(|entry| entry.state().due().is_some_and(|due| due <= now)).cloned()
    }

    /// When the next timer ends.
    pub(super) fn next_due(&self) -> Option<Instant> {
        if self.timers == 0 {
            return None;
        }
        self.entries.values().filter_map(|entry| entry.state().due()).min()
    }

    /// Records an event, and queues its handler.
    pub(super) fn record_event(&mut self, event: Event) {
        let Some(entry) = self.entries.get(&event.token()) else { return };
        let state = entry.state();
        let mut ready = state.ready.get();
        // After an error or a hang-up an event is both.
        if event.is_readable() && state.armed.get().contains(Flags::READ) {
            ready |= Flags::READ;
        }
        if event.is_writable() && state.armed.get().contains(Flags::WRITE) {
            ready |= Flags::WRITE;
        }
        state.ready.set(ready);
        enqueue(&mut self.queue, entry);
    }

    /// Queues a handler again that was running when it became ready.
    pub(super) fn enqueue_ready(&mut self, token: Token) {
        if let Some(entry) = self.entries.get(&token).filter(|entry| !entry.state().ready.get().is_none()) {
            enqueue(&mut self.queue, entry);
        }
    }

    /// The length of the queue.
    pub(super) fn queued(&self) -> usize {
        self.queue.len()
    }

    /// The next handler in the queue that can be called. A running handler is queued again when its call is over.
    pub(super) fn next_ready(&mut self) -> Option<Rc<dyn Entry>> {
        while let Some(entry) = self.queue.pop_front() {
            entry.state().is_queued.set(false);
            if entry.state().is_registered.get() && entry.lend().is_some() {
                return Some(entry);
            }
        }
        None
    }
}

fn enqueue(queue: &mut VecDeque<Rc<dyn Entry>>, entry: &Rc<dyn Entry>) {
    if !entry.state().is_queued.replace(true) {
        queue.push_back(Rc::clone(entry));
    }
}
