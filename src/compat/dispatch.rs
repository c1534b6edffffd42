//! Calling handlers. What a [`Poller`](super::Poller) and its clones share.
//!
//! A handler is taken out of its slot while it is called, and nothing is borrowed meanwhile: it may do whatever its caller may.
//!
//! Each handler is registered one-shot, and armed again when its call is over. So the kernel itself keeps a handler that runs out of
//! a nested poll, which then neither calls it nor spins; and a handler that stands in the batch of an outer poll cannot be in
//! the batch of an inner one as well. It costs one system call a turn, of up to 64 packets.
//!
//! Edge-triggered handlers stay armed, since arming one would make a new edge: what happens while they run is told them afterwards.

use core::cell::{Cell, RefCell};
use core::ops::ControlFlow;
use core::time::Duration;
use std::boxed::Box;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use super::handler::{Flags, Handle, Handler};
use super::stop::Stop;
use super::table::{Arming, Key, Removed, Table};
use super::turn;
use super::watch::{Keep, LINKS};
use crate::{Change, Error, ErrorKind, Events, Links, Poller, Result};

/// How many handlers one poll calls at most.
const BATCH: usize = 64;

pub(super) struct Shared {
    pub(super) core: Poller,
    pub(super) table: RefCell<Table>,
    /// Tells of interfaces, while there are memberships to keep.
    pub(super) links: RefCell<Option<Box<Links>>>,
    pub(super) stop: Arc<Stop>,
    /// How many calls of `poll` are on the stack.
    polls: Cell<u32>,
    /// How many calls of `run` are on the stack.
    runs: Cell<u32>,
    /// Its thread ends, and it takes no handlers any more.
    closed: Cell<bool>,
}

impl Shared {
    pub(super) fn new() -> Result<Self> {
        let (table, stop) = (RefCell::new(Table::default()), Arc::new(Stop::default()));
        let (polls, runs, closed) = (Cell::new(0), Cell::new(0), Cell::new(false));
        Ok(Self { core: Poller::new()?, table, links: RefCell::new(None), stop, polls, runs, closed })
    }

    fn check_open(&self) -> Result<()> {
        if self.closed.get() { Err(gone()) } else { Ok(()) }
    }

    pub(super) fn register<T: Handler>(self: &Rc<Self>, handler: T, flags: Flags, keep: Option<Keep>) -> Result<Handle<T>> {
        self.check_open()?;
        let full = || Error::custom(ErrorKind::LimitReached, "register a handler: this poller has 2^32 of them");
        let key = self.table.borrow_mut().reserve(keep).ok_or_else(full)?;
        let arming = Arming { added: flags, ..Arming::default() };
        self.call(key, Box::new(handler), arming).put_back(true)?;
        Ok(Handle::new(Rc::downgrade(self), key))
    }

    pub(super) fn unregister<T: Handler>(&self, key: Key) -> Option<T> {
        // A statement of its own, so that the table is free again before user code runs.
        let removed = self.table.borrow_mut().remove(key);
        match removed {
            Removed::Nothing => None,
            Removed::Running => {
                turn::end();
                None
            }
            Removed::Idle(handler, arming) => {
                self.forget(&*handler, &arming);
                let handler: Box<dyn core::any::Any> = handler;
                handler.downcast().ok().map(|handler| *handler)
            }
        }
    }

    /// Takes the descriptor out of the epoll set.
    pub(super) fn forget(&self, handler: &dyn Handler, arming: &Arming) {
        if arming.in_set {
            // It may have left by itself: a handler that has closed its descriptor, or has another one now.
            let _ = self.core.unregister(&handler.as_fd());
        }
    }

    pub(super) fn is_registered(&self, key: Key) -> bool {
        self.table.borrow_mut().contains(key)
    }

    pub(super) fn rearm(&self, key: Key) -> Result<()> {
        let taken = self.table.borrow_mut().take(key);
        match taken {
            Some((handler, arming)) => self.call(key, handler, arming.disarmed()).put_back(true),
            None => {
                self.table.borrow_mut().rearm_later(key);
                Ok(())
            }
        }
    }

    pub(super) fn with<T: Handler, R>(&self, key: Key, look: impl FnOnce(&mut T) -> R) -> Result<Option<R>> {
        let taken = self.table.borrow_mut().take(key);
        let Some((handler, arming)) = taken else { return Ok(None) };
        let mut call = self.call(key, handler, arming);
        let was_waiting = !arming.armed.is_none() || arming.paused.is_some();
        let looked = call.handler::<T>().map(look);
        call.arming = call.arming.disarmed();
        call.put_back(was_waiting)?;
        Ok(looked)
    }

    pub(super) fn poll(&self, timeout: Option<Duration>) -> Result<usize> {
        self.check_open()?;
        let level = Level::enter(&self.polls);
        if level.is_outermost() {
            self.put_back_leftovers()?;
        }
        // A time that the clock does not reach is none.
        let end = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let mut events = Events::<BATCH>::new();
        loop {
            self.end_pauses()?;
            let wait_end = if self.table.borrow().queued() > 0 {
                Some(Instant::now())
            } else {
                [end, self.table.borrow().next_due()].into_iter().flatten().min()
            };
            let wait = wait_end.map(|end| end.saturating_duration_since(Instant::now()));
            let is_empty = self.core.poll(&mut events, wait)?.next().is_none();
            let mut links_changed = false;
            for event in &events {
                match event.token() {
                    LINKS => links_changed = true,
                    _ => self.table.borrow_mut().note(event),
                }
            }
            if links_changed {
                self.keep_memberships()?;
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

    /// An earlier poll may have ended before it had called all that were ready. What was true then need not be so now: the kernel is
    /// asked again.
    fn put_back_leftovers(&self) -> Result<()> {
        loop {
            let taken = self.table.borrow_mut().take_ready();
            let Some((key, handler, arming, _)) = taken else { return Ok(()) };
            self.call(key, handler, arming.disarmed()).put_back(true)?;
        }
    }

    fn end_pauses(&self) -> Result<()> {
        let now = Instant::now();
        loop {
            let mut table = self.table.borrow_mut();
            let Some(key) = table.due(now) else { return Ok(()) };
            let taken = table.take(key);
            drop(table);
            if let Some((handler, arming)) = taken {
                self.call(key, handler, arming).put_back(true)?;
            }
        }
    }

    /// Calls those that are ready by now, each once, and says how many.
    fn call_ready(&self) -> Result<usize> {
        let mut called = 0_usize;
        let queued = self.table.borrow().queued();
        for _ in 0..queued {
            // A nested poll may have called some of them already.
            let taken = self.table.borrow_mut().take_ready();
            let Some((key, handler, arming, ready)) = taken else { break };
            called = called.saturating_add(1);
            let arming = if arming.armed.stays_armed() { arming } else { arming.disarmed() };
            let mut call = self.call(key, handler, arming);
            match call.tell(ready) {
                Ok(ControlFlow::Continue(())) => call.put_back(false)?,
                Ok(ControlFlow::Break(())) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(called)
    }

    const fn call(&self, key: Key, handler: Box<dyn Handler>, arming: Arming) -> Call<'_> {
        Call { shared: self, key, handler: Some(handler), arming }
    }

    pub(super) fn run(&self, timeout: Option<Duration>, interval: Duration) -> Result<()> {
        let level = Level::enter(&self.runs);
        let goes_on = || self.is_polling() && self.table.borrow().idle() > 0;
        while goes_on() {
            self.poll(timeout)?;
            if !interval.is_zero() && goes_on() {
                self.stop.sleep(interval);
            }
        }
        // It ends all loops that are on the stack, and then it is done with. After an error it waits for the next one.
        if level.is_outermost() {
            self.stop.clear();
        }
        Ok(())
    }

    pub(super) fn is_polling(&self) -> bool {
        self.runs.get() > 0 && !self.stop.is_requested()
    }

    /// Drops all handlers, whose `drop` may call here again.
    pub(super) fn close(&self) {
        self.closed.set(true);
        loop {
            let mut table = self.table.borrow_mut();
            let Some(key) = table.any_idle() else { return };
            let removed = table.remove(key);
            drop(table);
            drop(removed);
        }
    }
}

/// What the functions of a thread say that ends.
pub(super) const fn gone() -> Error {
    Error::custom(ErrorKind::InvalidInput, "use the default poller: it is gone, since its thread ends")
}

/// A handler that is being called. Dropped, also by a panic, it is out of its poller for good.
struct Call<'s> {
    shared: &'s Shared,
    key: Key,
    handler: Option<Box<dyn Handler>>,
    arming: Arming,
}

impl Call<'_> {
    fn handler<T: Handler>(&mut self) -> Option<&mut T> {
        let handler: &mut dyn core::any::Any = self.handler.as_deref_mut()?;
        handler.downcast_mut()
    }

    fn tell(&mut self, ready: Flags) -> Result<ControlFlow<()>> {
        let Some(handler) = self.handler.as_deref_mut() else { return Ok(ControlFlow::Break(())) };
        if ready.contains(Flags::READ) && handler.handle_read()?.is_break() {
            return Ok(ControlFlow::Break(()));
        }
        if ready.contains(Flags::WRITE) && self.shared.is_registered(self.key) {
            return handler.handle_write();
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Ends the call: arms the handler, and puts it back into its slot. One-shot handlers are armed only where that is asked for.
    fn put_back(mut self, even_oneshot: bool) -> Result<()> {
        let Some(handler) = self.handler.as_deref() else { return Ok(()) };
        let wanted = handler.interest() | self.arming.added;
        let mut table = self.shared.table.borrow_mut();
        if !table.contains(self.key) {
            drop(table);
            return Ok(());
        }
        let rearm = table.wants_rearm(self.key);
        let missed = table.missed(self.key);
        drop(table);
        if let (Some(keep), Some(handler)) = (missed, self.handler.as_deref_mut()) {
            keep(handler, &Change::Overrun)?;
        }
        let Some(handler) = self.handler.as_deref() else { return Ok(()) };
        if even_oneshot || rearm || !wanted.contains(Flags::ONESHOT) {
            let paused = handler.paused_until().filter(|until| *until > Instant::now());
            self.arming = self.shared.arm(self.key, handler, self.arming, wanted, paused)?;
        }
        let Some(handler) = self.handler.take() else { return Ok(()) };
        let put = self.shared.table.borrow_mut().put(self.key, handler, self.arming);
        // It was unregistered while it was asked: dropped with `self`.
        self.handler = put.err();
        Ok(())
    }
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        if let Some(handler) = self.handler.take() {
            // Its slot says that it runs, or belongs to somebody else: nothing comes back.
            self.shared.table.borrow_mut().remove(self.key);
            self.shared.forget(&*handler, &self.arming);
        }
    }
}

impl Arming {
    /// As it is after an event.
    const fn disarmed(self) -> Self {
        Self { armed: Flags::NONE, paused: None, ..self }
    }
}

impl Shared {
    /// Tells the kernel what a handler waits for.
    fn arm(
        &self,
        key: Key,
        handler: &dyn Handler,
        before: Arming,
        wanted: Flags,
        paused: Option<Instant>,
    ) -> Result<Arming> {
        let Some(interest) = wanted.as_interest().filter(|_| paused.is_none()) else {
            // In the set it would go on hearing of errors and hang-ups.
            self.forget(handler, &before);
            return Ok(Arming { in_set: false, armed: Flags::NONE, paused, ..before });
        };
        let after = Arming { in_set: true, armed: wanted, paused, ..before };
        if before.armed == wanted {
            return Ok(after);
        }
        let descriptor = handler.as_fd();
        let modified = if before.in_set { self.core.reregister(&descriptor, key.token(), interest) } else { Err(gone()) };
        match modified {
            Ok(()) => Ok(after),
            // It is new, or it has another descriptor now.
            Err(error) if !before.in_set || error.kind() == ErrorKind::NotRegistered => {
                self.core.register(&descriptor, key.token(), interest)?;
                Ok(after)
            }
            Err(error) => Err(error),
        }
    }
}

/// Counts a call while it is on the stack, also through a panic.
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
