//! Shared by the tests of the handle-based API.

// Each test file compiles its own copy and uses a part of it.
#![allow(dead_code, unreachable_pub)]

use std::cell::RefCell;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::time::Duration;

use multicast::compat::{Flags, Handler, ListenOptions, SendOptions};
use multicast::{Group, Interface, Result};

pub const GO_ON: ControlFlow<()> = ControlFlow::Continue(());
pub const BREAK: ControlFlow<()> = ControlFlow::Break(());

/// Options to send to the group on `lo`.
pub fn to(group: Group) -> SendOptions {
    SendOptions::new().group(group).interface(Interface::LOOPBACK)
}

/// Options to listen to the group on `lo`.
pub fn from(group: Group) -> ListenOptions {
    ListenOptions::new().group(group).interface(Interface::LOOPBACK)
}

/// Two ends of a non-blocking pipe.
pub fn pipe() -> (UnixStream, UnixStream) {
    let (here, there) = UnixStream::pair().unwrap();
    here.set_nonblocking(true).unwrap();
    there.set_nonblocking(true).unwrap();
    (here, there)
}

/// A pipe's end that is readable, and its other end.
pub fn readable_pipe() -> (UnixStream, UnixStream) {
    let (here, mut there) = pipe();
    there.write_all(b"!").unwrap();
    (here, there)
}

/// Reads everything that is available.
pub fn drain(mut stream: &UnixStream) -> usize {
    let mut total = 0;
    let mut buffer = [0; 64];
    while let Ok(count @ 1..) = stream.read(&mut buffer) {
        total += count;
    }
    total
}

/// A handler for the end of a pipe. It waits for `interest`, and calls a closure for each event.
pub struct On<C> {
    pub stream: UnixStream,
    pub interest: Flags,
    pub call: C,
}

impl<C: FnMut(&UnixStream) -> Result<ControlFlow<()>>> On<C> {
    pub fn read(stream: UnixStream, call: C) -> Self {
        Self { stream, interest: Flags::READ, call }
    }

    pub fn write(stream: UnixStream, call: C) -> Self {
        Self { stream, interest: Flags::WRITE, call }
    }
}

impl<C> AsFd for On<C> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

impl<C: FnMut(&UnixStream) -> Result<ControlFlow<()>> + 'static> Handler for On<C> {
    fn interest(&self) -> Flags {
        self.interest
    }

    fn handle_read(&mut self) -> Result<ControlFlow<()>> {
        (self.call)(&self.stream)
    }

    fn handle_write(&mut self) -> Result<ControlFlow<()>> {
        (self.call)(&self.stream)
    }
}

/// A list that handlers write into and the test reads.
pub struct Log<T>(Rc<RefCell<Vec<T>>>);

impl<T> Log<T> {
    pub fn new() -> Self {
        Self(Rc::default())
    }

    pub fn add(&self, entry: T) {
        self.0.borrow_mut().push(entry);
    }

    pub fn len(&self) -> usize {
        self.0.borrow().len()
    }

    pub fn take(&self) -> Vec<T> {
        self.0.take()
    }
}

impl<T> Clone for Log<T> {
    fn clone(&self) -> Self {
        Self(Rc::clone(&self.0))
    }
}

/// A value that records its drop.
pub struct Dropped(pub Log<()>);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.add(());
    }
}

/// A packet handler that records all packets.
pub fn noting(log: &Log<Vec<u8>>) -> impl FnMut(&[u8], SocketAddr) -> ControlFlow<()> + 'static {
    let log = log.clone();
    move |packet: &[u8], _source| {
        log.add(packet.to_vec());
        GO_ON
    }
}

/// How long this thread has been on a processor.
pub fn cpu_time() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(text.split(' ').next().unwrap().parse().unwrap())
}

/// A function that a handler calls and that is set after the handler was created: for functions that need the handler's own
/// handle.
pub struct Later(Rc<RefCell<Box<dyn Fn()>>>);

impl Later {
    pub fn new() -> Self {
        Self(Rc::new(RefCell::new(Box::new(|| panic!("not made yet")))))
    }

    pub fn set(&self, function: impl Fn() + 'static) {
        *self.0.borrow_mut() = Box::new(function);
    }

    pub fn call(&self) {
        self.0.borrow()();
    }
}

impl Clone for Later {
    fn clone(&self) -> Self {
        Self(Rc::clone(&self.0))
    }
}
