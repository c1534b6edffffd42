//! Handlers that do everything in every order, against a model of who is registered: `STEPS` random steps (100,000), and the seed is
//! printed; `SEED` repeats a run.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::io::Write;
use std::ops::ControlFlow;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::{Rc, Weak};
use std::time::Duration;

use crate::compat_help::{BREAK, GO_ON, drain, pipe};
use multicast::Result;
use multicast::compat::{Flags, Handle, Handler, Poller};

/// The most handlers at a time, and the deepest nesting of calls.
const MOST: usize = 24;
const DEEPEST: usize = 5;
const ON_PURPOSE: &str = "on purpose";

fn from_environment<T: std::str::FromStr>(name: &str) -> Option<T> {
    std::env::var(name).ok()?.parse().ok()
}

/// What the model knows of a handler.
struct Member {
    /// The test may have dropped it.
    handle: Option<Handle<Scripted>>,
    there: UnixStream,
    is_registered: bool,
    is_running: bool,
    /// It was written to, and has not read yet.
    is_ready: bool,
    drops: u32,
}

struct World {
    poller: Poller,
    members: RefCell<BTreeMap<u64, Member>>,
    random: Cell<u64>,
    made: Cell<u64>,
    depth: Cell<usize>,
    /// Handlers read, and do nothing else.
    is_quiet: Cell<bool>,
    calls: Cell<u64>,
}

struct Scripted {
    number: u64,
    here: UnixStream,
    world: Weak<World>,
}

impl AsFd for Scripted {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.here.as_fd()
    }
}

impl Handler for Scripted {
    fn interest(&self) -> Flags {
        Flags::READ
    }

    fn handle_read(&mut self) -> Result<ControlFlow<()>> {
        let world = self.world.upgrade().expect("the poller is gone, and a handler is called");
        world.calls.set(world.calls.get() + 1);
        drain(&self.here);
        world.change(self.number, |member| {
            assert!(member.is_registered, "a removed handler is called");
            assert!(!member.is_running, "a running handler is called");
            (member.is_running, member.is_ready) = (true, false);
        });
        if !world.is_quiet.get() && world.depth.get() < DEEPEST {
            world.depth.set(world.depth.get() + 1);
            (0..world.below(3)).for_each(|_| world.act());
            world.depth.set(world.depth.get() - 1);
        }
        let end = if world.is_quiet.get() { 9 } else { world.below(10) };
        world.change(self.number, |member| {
            member.is_running = false;
            member.is_registered &= end > 2;
        });
        match end {
            0 => Ok(BREAK),
            1 => Err(std::io::Error::other(ON_PURPOSE).into()),
            // Without the hook that prints a panic.
            2 => resume_unwind(Box::new(ON_PURPOSE)),
            _ => Ok(GO_ON),
        }
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        if let Some(world) = self.world.upgrade() {
            world.change(self.number, |member| {
                member.drops += 1;
                assert_eq!(member.drops, 1, "a handler is dropped twice");
                assert!(!member.is_registered && !member.is_running, "a registered handler is dropped");
            });
        }
    }
}

impl World {
    fn new(seed: u64) -> Rc<Self> {
        Rc::new(Self {
            poller: Poller::new().unwrap(),
            members: RefCell::default(),
            random: Cell::new(seed | 1),
            made: Cell::new(0),
            depth: Cell::new(0),
            is_quiet: Cell::new(false),
            calls: Cell::new(0),
        })
    }

    fn change(&self, number: u64, change: impl FnOnce(&mut Member)) {
        change(self.members.borrow_mut().get_mut(&number).expect("a handler that the model does not know"));
    }

    /// A number below this one (xorshift).
    fn below(&self, end: u64) -> u64 {
        let mut word = self.random.get();
        word ^= word << 13;
        word ^= word >> 7;
        word ^= word << 17;
        self.random.set(word);
        (word >> 11) % end
    }

    fn any(&self) -> Option<u64> {
        let count = self.members.borrow().len() as u64;
        if count == 0 {
            return None;
        }
        let place = self.below(count) as usize;
        self.members.borrow().keys().nth(place).copied()
    }

    fn register(self: &Rc<Self>) {
        if self.members.borrow().len() >= MOST {
            return;
        }
        let ((here, there), number) = (pipe(), self.made.get());
        self.made.set(number + 1);
        let handler = Scripted { number, here, world: Rc::downgrade(self) };
        let member = Member { handle: None, there, is_registered: true, is_running: false, is_ready: false, drops: 0 };
        self.members.borrow_mut().insert(number, member);
        let handle = self.poller.register(handler, Flags::NONE).unwrap();
        self.change(number, |member| member.handle = Some(handle));
    }

    fn unregister(&self, number: u64) {
        let members = self.members.borrow();
        let Some(member) = members.get(&number) else { return };
        let (Some(handle), is_whole) = (member.handle.clone(), member.is_registered && !member.is_running) else { return };
        drop(members);
        self.change(number, |member| member.is_registered = false);
        let returned = self.poller.unregister(&handle).unwrap();
        assert_eq!(returned.as_ref().map(|handler| handler.number), is_whole.then_some(number));
    }

    fn poll(&self) -> Option<usize> {
        match catch_unwind(AssertUnwindSafe(|| self.poller.poll(Duration::ZERO))) {
            Ok(polled) => polled.ok(),
            Err(panic) if panic.downcast_ref() == Some(&ON_PURPOSE) => None,
            Err(panic) => resume_unwind(panic),
        }
    }

    /// One random step.
    fn act(self: &Rc<Self>) {
        let Some(number) = self.any() else { return self.register() };
        match self.below(10) {
            0 | 1 => self.register(),
            2..=4 => self.change(number, |member| {
                // If it is no longer registered, the other end is closed.
                member.is_ready |= member.there.write(b"!").is_ok();
            }),
            5 => self.unregister(number),
            6 => drop(self.poll()),
            7 => {
                // A handle that is dropped changes nothing.
                let handle = self.members.borrow_mut().get_mut(&number).and_then(|member| member.handle.take());
                if self.below(2) == 0 {
                    self.change(number, |member| member.handle = handle);
                }
            }
            _ => self.look(number),
        }
    }

    /// The handle says what the model says, and lends what is there.
    fn look(&self, number: u64) {
        let members = self.members.borrow();
        let Some(Member { handle: Some(handle), is_registered, is_running, .. }) = members.get(&number) else { return };
        let (handle, is_registered, is_running) = (handle.clone(), *is_registered, *is_running);
        drop(members);
        assert_eq!(handle.is_registered(), is_registered);
        let lent = handle.with(|handler| handler.number).unwrap();
        assert_eq!(lent, (is_registered && !is_running).then_some(number));
    }

    /// All who are ready get their turn; those who have gone are dropped.
    fn settle(&self) {
        self.is_quiet.set(true);
        let mut polls = 0;
        while self.poll() != Some(0) {
            polls += 1;
            assert!(polls < 1000, "polling has no end");
        }
        self.is_quiet.set(false);
        let mut members = self.members.borrow_mut();
        for (number, member) in members.iter() {
            assert!(!member.is_running, "{number}");
            assert!(!(member.is_registered && member.is_ready), "{number} is ready, and was not called");
            assert_eq!(member.drops, u32::from(!member.is_registered), "{number}");
        }
        members.retain(|_, member| member.is_registered);
    }
}

#[test]
fn whatever_handlers_do_each_is_called_while_registered_and_dropped_once() {
    let steps = from_environment("STEPS").unwrap_or(100_000);
    let seed = from_environment("SEED").unwrap_or_else(|| RandomState::new().hash_one(std::process::id()));
    println!("SEED={seed} STEPS={steps}");
    let (mut made, mut calls) = (0, 0);
    for round in 0..10 {
        let world = World::new(seed.wrapping_add(round));
        for step in 0..steps / 10 {
            world.act();
            if step % 64 == 0 {
                world.settle();
            }
        }
        world.settle();
        // The poller goes, and with it all handlers that are left.
        world.members.borrow_mut().values_mut().for_each(|member| member.is_registered = false);
        (made, calls) = (made + world.made.get(), calls + world.calls.get());
        let weak = Rc::downgrade(&world);
        drop(world);
        assert!(weak.upgrade().is_none());
    }
    assert!(made > steps / 20 && calls > steps / 20, "{made} handlers, {calls} calls");
}
