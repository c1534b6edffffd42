//! Multicasters that stay registered, and are given packets while the program runs.

use core::cell::RefCell;
use core::fmt;
use std::collections::VecDeque;
use std::rc::{Rc, Weak};

use super::handle::Handle;
use super::multicaster::Multicaster;
use super::options::SendOptions;
use crate::Result;

impl<T: AsRef<[u8]> + 'static> Multicaster<Queue<T>> {
    /// Makes a multicaster that stays registered: you [push](Live::push) packets while the program runs. It begins with these
    /// packets, which must come to an end; give `[]` for none.
    ///
    /// ```no_run
    /// use multicast::compat::{ListenOptions, Multicaster, MulticastListener, SendOptions, run};
    /// use std::{net::SocketAddr, ops::ControlFlow, time::Duration};
    ///
    /// let live = Multicaster::live([], SendOptions::new().ip("239.1.2.4")?)?;
    /// let forward = move |packet: &[u8], _source: SocketAddr| {
    ///     if live.push(packet.to_vec()).is_err() {
    ///         eprintln!("the queue is full: a packet is dropped");
    ///     }
    ///     ControlFlow::Continue(())
    /// };
    /// MulticastListener::new(forward, ListenOptions::new().ip("239.1.2.3")?)?;
    /// while let Err(error) = run(None, Duration::ZERO) {
    ///     eprintln!("{error}"); // it stays, and tries again
    /// }
    /// # Ok::<(), multicast::Error>(())
    /// ```
    ///
    /// While it has nothing to send, it waits for nothing and causes no events. [`run`](super::Poller::run) does not end because
    /// of that: unregister it ([`Live::handle`]) or stop the loop.
    ///
    /// It may be made before its interface exists: until then, sending is an error that its poller returns once, and the packets wait.
    ///
    /// # Errors
    /// As [`new`](Self::new), but a missing interface, address or route is not an error.
    pub fn live(packets: impl IntoIterator<Item = T>, options: SendOptions) -> Result<Live<T>> {
        let capacity = options.queue;
        let items = Rc::new(RefCell::new(packets.into_iter().collect()));
        let weak = Rc::downgrade(&items);
        Ok(Live {
            handle: Self::register(Queue { items }, options.core(crate::SendOptions::later), true)?,
            items: weak,
            capacity,
        })
    }
}

/// Gives packets to a [live multicaster](Multicaster::live). Clones give them to the same one; dropping them changes nothing.
pub struct Live<T> {
    handle: Handle<Multicaster<Queue<T>>>,
    items: Weak<RefCell<VecDeque<T>>>,
    capacity: usize,
}

impl<T: AsRef<[u8]> + 'static> Live<T> {
    /// Adds a packet behind the others. It is sent while the poller polls, so this may be called from anywhere in its thread: also
    /// from a handler, and while the multicaster itself is running.
    ///
    /// # Errors
    /// Returns the packet if the queue is full ([`SendOptions::queue`]), or if the multicaster is no longer registered.
    pub fn push(&self, packet: T) -> Result<(), T> {
        let Some(items) = self.items.upgrade().filter(|_| self.handle.is_registered()) else { return Err(packet) };
        if items.borrow().len() >= self.capacity {
            return Err(packet);
        }
        items.borrow_mut().push_back(packet);
        // If it is running, it is armed when its call is over.
        self.handle.arm_soon();
        Ok(())
    }

    /// How many packets wait to be sent. The one that is being tried may not count.
    #[must_use]
    pub fn queued(&self) -> usize {
        self.items.upgrade().map_or(0, |items| items.borrow().len())
    }

    /// Its handle, to unregister it: [`Poller::unregister`](super::Poller::unregister) returns the multicaster, and
    /// [`Multicaster::into_unsent`] its packets. If it is running right now, its packets are dropped when its call returns.
    #[must_use]
    pub const fn handle(&self) -> &Handle<Multicaster<Queue<T>>> {
        &self.handle
    }
}

// Written by hand, since a derived one would require the packets to be `Clone`.
impl<T> Clone for Live<T> {
    fn clone(&self) -> Self {
        Self { handle: self.handle.clone(), items: self.items.clone(), capacity: self.capacity }
    }
}

impl<T> fmt::Debug for Live<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Live").field("handle", &self.handle).field("capacity", &self.capacity).finish_non_exhaustive()
    }
}

/// The packets that a [live multicaster](Multicaster::live) has not pulled yet.
pub struct Queue<T> {
    /// No user code runs while it is borrowed: packets are dropped outside.
    items: Rc<RefCell<VecDeque<T>>>,
}

/// Removes the oldest packet. It is not fused: after `None` it gives the packets that were pushed since.
impl<T> Iterator for Queue<T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        self.items.borrow_mut().pop_front()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let length = self.items.borrow().len();
        (length, Some(length))
    }
}

impl<T> ExactSizeIterator for Queue<T> {}

impl<T> fmt::Debug for Queue<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue").field("length", &self.len()).finish()
    }
}
