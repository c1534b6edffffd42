//! Waits, and calls the handlers that are ready. [`Poller`](super::Poller) and its clones share this state.

use core::cell::{Cell, RefCell};
use core::time::Duration;
use std::boxed::Box;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use super::registry::{Rearm, Registry};
use super::retry::Retry;
use super::stop::Stop;
use super::table::LINKS;
use crate::{Change, Error, ErrorKind, Events, Interest, Links, Result};

/// How many handlers one poll calls at most.
const BATCH: usize = 64;
/// How many changes one poll reads at most. Each that is given to handlers counts once more for each of them.
const CHANGES: usize = 1024;

pub(super) struct Shared {
    pub(super) registry: Registry,
    /// Reports changes of interfaces while there are handlers that follow them. It is not a handler: `run` does not wait for it, and
    /// `poll` neither returns for it nor counts it.
    links: RefCell<Option<Box<Links>>>,
    /// The last poll has not read all changes. Those that `Links` has in its buffer cause no event.
    has_changes: Cell<bool>,
    /// How often a change was given to all that follow.
    dispatched: Cell<usize>,
    /// How reading changes failed. What `Links` could not ask causes no event either.
    watching: Cell<Retry>,
    pub(super) stop: Arc<Stop>,
    /// How many calls of `poll` are on the stack.
    polls: Cell<u32>,
    /// How many calls of `run` are on the stack.
    runs: Cell<u32>,
    /// The thread is ending, and no more handlers are accepted.
    is_closed: Cell<bool>,
}

impl Shared {
    pub(super) fn new() -> Result<Self> {
        Ok(Self {
            registry: Registry::new()?,
            links: RefCell::default(),
            has_changes: Cell::default(),
            dispatched: Cell::default(),
            watching: Cell::default(),
            stop: Arc::default(),
            polls: Cell::default(),
            runs: Cell::default(),
            is_closed: Cell::default(),
        })
    }

    pub(super) fn check_open(&self) -> Result<()> {
        if self.is_closed.get() { Err(gone()) } else { Ok(()) }
    }

    pub(super) fn poll(&self, timeout: Option<Duration>) -> Result<usize> {
        self.check_open()?;
        let (core, table) = (&self.registry.core, &self.registry.table);
        let level = Level::enter(&self.polls);
        if level.is_outermost() {
            self.put_back_leftovers()?;
        }
        // A time that the clock cannot represent means no timeout.
        let end = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let mut events = Events::<BATCH>::new();
        loop {
            let next_due = self.end_timers()?;
            let has_work = table.borrow().queued() > 0 || self.has_changes.get();
            let wait_end = if has_work { Some(Instant::now()) } else { [end, next_due].into_iter().flatten().min() };
            let wait = wait_end.map(|end| end.saturating_duration_since(Instant::now()));
            let is_empty = core.poll(&mut events, wait)?.next().is_none();
            for event in &events {
                match event.token() {
                    LINKS => self.has_changes.set(true),
                    _ => table.borrow_mut().record_event(event),
                }
            }
            if self.has_changes.take() {
                self.follow_links()?;
            }
            let called = self.call_ready()?;
            let now = Instant::now();
            let stopped = events.woken() && self.stop.is_requested();
            let interrupted = is_empty && !events.woken() && wait_end.is_none_or(|end| now < end);
            if called > 0 || stopped || interrupted || end.is_some_and(|end| end <= now) {
                return Ok(called);
            }
        }
    }

    /// An earlier poll may have ended before it called all ready handlers. They may not be ready any more, so the kernel is asked
    /// again.
    fn put_back_leftovers(&self) -> Result<()> {
        loop {
            let next = self.registry.table.borrow_mut().next_ready();
            let Some(entry) = next else { return Ok(()) };
            if let Some(call) = self.registry.call(&*entry) {
                call.ask_again()?;
            }
        }
    }

    /// Arms handlers whose pause is over, lets those follow again that failed to, reads changes again if that failed, and returns when the
    /// next timer ends.
    fn end_timers(&self) -> Result<Option<Instant>> {
        let (now, mut token) = (Instant::now(), LINKS);
        let watches_at = self.watching.get().until;
        if watches_at.is_some_and(|at| at <= now) {
            self.has_changes.set(true);
        }
        loop {
            let due = self.registry.table.borrow().due_after(token, now);
            let Some(entry) = due else {
                let next_due = self.registry.table.borrow().next_due();
                return Ok([next_due, watches_at].into_iter().flatten().min());
            };
            token = entry.state().token;
            if entry.state().follows_at.get().is_some_and(|at| at <= now) {
                self.registry.follow_missed(&*entry)?;
            }
            if entry.state().paused_until.get().is_some_and(|until| until <= now) {
                if let Some(call) = self.registry.call(&*entry) {
                    call.finish(Rearm::Always)?;
                }
            }
        }
    }

    /// Calls the ready handlers, each once, and returns how many.
    fn call_ready(&self) -> Result<usize> {
        let mut called = 0_usize;
        let queued = self.registry.table.borrow().queued();
        for _ in 0..queued {
            // A nested poll may have called some of them already.
            let next = self.registry.table.borrow_mut().next_ready();
            let Some(entry) = next else { break };
            let Some(call) = self.registry.call(&*entry) else { continue };
            called = called.saturating_add(1);
            call.report()?;
        }
        Ok(called)
    }

    /// Watches the interfaces from now on, for a handler that follows them. Where that is not allowed, as without `AF_NETLINK`, the
    /// handler works, and does not follow.
    pub(super) fn watch_links_if_allowed(&self) -> Result<()> {
        match self.watch_links() {
            Err(error) if matches!(error.kind(), ErrorKind::Unsupported | ErrorKind::Denied) => Ok(()),
            watched => watched,
        }
    }

    /// Watches the interfaces from now on.
    pub(super) fn watch_links(&self) -> Result<()> {
        let mut links = self.links.borrow_mut();
        if links.is_none() {
            let made = Box::new(Links::watch()?);
            self.registry.core.register(&*made, LINKS, Interest::READABLE)?;
            *links = Some(made);
        }
        Ok(())
    }

    /// Reads changes, within a budget, and lets handlers follow them. Returns the first error, when each has followed.
    fn follow_links(&self) -> Result<()> {
        let (mut budget, mut routes_changed, mut result) = (CHANGES, false, Ok(()));
        while self.registry.table.borrow().follower_after(LINKS).is_some() {
            if budget == 0 {
                self.has_changes.set(true);
                break;
            }
            budget = budget.saturating_sub(1);
            let next = self.links.borrow_mut().as_deref_mut().map_or(Ok(None), Links::next);
            match next {
                Ok(Some(Change::Route)) => routes_changed = true,
                Ok(Some(change)) => budget = budget.saturating_sub(self.follow(change, &mut result)),
                Ok(None) => {
                    self.watching.take();
                    break;
                }
                Err(error) => {
                    let mut watching = self.watching.get();
                    result = result.and(watching.failed(error));
                    self.watching.set(watching);
                    break;
                }
            }
        }
        if self.registry.table.borrow().follower_after(LINKS).is_none() {
            if let Some(links) = self.links.take() {
                // An error does not matter: it may have left the set already.
                let _ = self.registry.core.unregister(&*links);
                self.watching.take();
            }
        } else if routes_changed {
            // Once for all, since the change does not say which: where routers learn thousands of routes, handlers would ask the kernel
            // about each.
            self.follow(Change::Route, &mut result);
        }
        result
    }

    /// Lets all handlers follow a change, and returns how many they are. Adds the first error to the result.
    fn follow(&self, change: Change, result: &mut Result<()>) -> usize {
        let (mut count, mut token) = (0_usize, LINKS);
        let (mut known, dispatched) = (BTreeMap::new(), self.dispatched.get().wrapping_add(1));
        self.dispatched.set(dispatched);
        loop {
            let next = self.registry.table.borrow().follower_after(token);
            let Some(entry) = next else { return count };
            token = entry.state().token;
            count = count.saturating_add(1);
            // A handler has polled, and others have followed later changes.
            if self.dispatched.get() != dispatched {
                known.clear();
            }
            let followed = self.registry.follow(&*entry, change, &mut |group| {
                *known.entry(group.address()).or_insert_with(|| change.for_group(group))
            });
            if result.is_ok() {
                *result = followed;
            }
        }
    }

    /// Whether reading changes fails with an error of this kind, and is tried again.
    pub(super) fn fails_to_watch(&self, kind: ErrorKind) -> bool {
        self.watching.get().fails_with(kind)
    }

    pub(super) fn run(&self, timeout: Option<Duration>, interval: Duration) -> Result<()> {
        let level = Level::enter(&self.runs);
        let goes_on = || self.is_polling() && self.registry.table.borrow().any_idle().is_some();
        while goes_on() {
            self.poll(timeout)?;
            if !interval.is_zero() && goes_on() {
                self.stop.sleep(interval);
            }
        }
        // A stop request ends all loops on the stack; the outermost clears it. After an error the request is kept for the next
        // loop.
        if level.is_outermost() {
            self.stop.clear();
        }
        Ok(())
    }

    pub(super) fn is_polling(&self) -> bool {
        self.runs.get() > 0 && !self.stop.is_requested()
    }

    /// Drops all handlers. Their `drop` may call this poller.
    pub(super) fn close(&self) {
        self.is_closed.set(true);
        loop {
            let any = self.registry.table.borrow().any_idle();
            let Some(entry) = any else { return };
            self.registry.remove(&*entry);
        }
    }
}

/// The error of the default poller while its thread ends.
pub(super) const fn gone() -> Error {
    Error::custom(ErrorKind::InvalidInput, "use the default poller: it is gone, since its thread ends")
}

/// Counts a call while it is on the stack. A panic ends the count, too.
struct Level<'c> {
    count: &'c Cell<u32>,
}

impl<'c> Level<'c> {
    fn enter(count: &'c Cell<u32>) -> Self {
        count.set(count.get().saturating_add(1));
        Self { count }
    }

    fn is_outermost(&self) -> bool {
        self.count.get() == 1
    }
}

impl Drop for Level<'_> {
    fn drop(&mut self) {
        self.count.set(self.count.get().saturating_sub(1));
    }
}

#[cfg(test)]
mod tests {
    use core::cell::RefMut;
    use std::io::{Stdin, stdin};
    use std::rc::Rc;

    use super::*;
    use crate::compat::handler::{Flags, Handler};
    use crate::compat::slot::{Entry, Slot, State};
    use crate::{AsFd, BorrowedFd};

    /// It waits for nothing, so its descriptor is never in the set.
    struct Idle(Stdin);

    impl AsFd for Idle {
        fn as_fd(&self) -> BorrowedFd<'_> {
            self.0.as_fd()
        }
    }

    impl Handler for Idle {
        fn interest(&self) -> Flags {
            Flags::NONE
        }
    }

    /// Counts how often somebody looks at it.
    struct Counting {
        slot: Slot<Idle>,
        looks: Rc<Cell<usize>>,
    }

    impl Entry for Counting {
        fn state(&self) -> &State {
            self.looks.set(self.looks.get() + 1);
            self.slot.state()
        }

        fn lend(&self) -> Option<RefMut<'_, dyn Handler>> {
            Entry::lend(&self.slot)
        }

        fn drop_handler(&self) {
            self.slot.drop_handler();
        }
    }

    /// How many looks at handlers it takes to end this many pauses.
    fn looks_to_end(pauses: usize) -> usize {
        let shared = Shared::new().unwrap();
        let looks = Rc::new(Cell::new(0));
        for _ in 0..pauses {
            let mut table = shared.registry.table.borrow_mut();
            let slot = Slot::new(table.next_token(), Idle(stdin()), Flags::NONE);
            let entry = Rc::new(Counting { slot, looks: Rc::clone(&looks) });
            table.insert(Rc::<Counting>::clone(&entry));
            table.set(&entry.slot.state().paused_until, Some(Instant::now()));
        }
        looks.set(0);
        assert_eq!(shared.end_timers().unwrap(), None, "all pauses are over");
        looks.get()
    }

    #[test]
    fn many_pauses_end_in_one_walk_over_the_handlers() {
        assert_eq!(looks_to_end(200), 2 * looks_to_end(100));
    }
}
