//! In calloop: each source has a callback, and the node is what they share.
//!
//! The arguments are those of [`runtimes`].

use std::error::Error;
use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use calloop::generic::Generic;
use calloop::timer::{TimeoutAction, Timer};
use calloop::{EventLoop, Interest, Mode, PostAction};
use multicast::{AsFd, Progress};
use runtimes::{Node, Turn, stop};

/// What the callbacks share.
struct Shared {
    node: Node,
    ended: bool,
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut shared = Shared { node: Node::open("calloop")?, ended: false };
    let mut event_loop = EventLoop::<Shared>::try_new()?;
    let handle = event_loop.handle();
    let node = &shared.node;
    handle.insert_source(source(&node.listener)?, |_, _, shared| then(shared.node.receive()))?;
    handle.insert_source(source(&node.replies)?, |_, _, shared| then(shared.node.collect()))?;
    handle.insert_source(source(&node.links)?, |_, _, shared| then(shared.node.follow()))?;
    handle.insert_source(source(&stop()?)?, |_, _, shared| {
        shared.ended = true;
        Ok(PostAction::Continue)
    })?;
    // One-shot, and armed again only after `Blocked`: an idle socket is always writable.
    let room = Generic::new(descriptor(&node.caster)?, Interest::WRITE, Mode::OneShot);
    let room = handle.insert_source(room, |_, _, _| Ok(PostAction::Continue))?;
    handle.insert_source(Timer::immediate(), |due, (), shared| match shared.node.tick() {
        Ok(()) => TimeoutAction::ToInstant(due + shared.node.period()),
        Err(error) => {
            eprintln!("{error}");
            TimeoutAction::Drop
        }
    })?;

    while !shared.ended {
        let time = match shared.node.send()? {
            Progress::Sent(_) => Some(Duration::ZERO),
            Progress::Wait(time) => Some(time),
            Progress::Blocked => {
                handle.update(&room)?;
                None
            }
            Progress::Done => None,
        };
        event_loop.dispatch(time, &mut shared)?;
    }
    shared.node.end();
    Ok(())
}

/// A second descriptor of the same socket, for calloop to wait for. With the listener itself in the `Generic`, receiving would need
/// `get_mut`, which is `unsafe`.
fn descriptor(source: &impl AsFd) -> io::Result<OwnedFd> {
    source.as_fd().try_clone_to_owned()
}

fn source(source: &impl AsFd) -> io::Result<Generic<OwnedFd>> {
    Ok(Generic::new(descriptor(source)?, Interest::READ, Mode::Level))
}

/// Level-triggered: after `Turn::More` the callback is called again by itself. With `Mode::Edge` it would not be.
fn then(turn: io::Result<Turn>) -> io::Result<PostAction> {
    turn.map(|_| PostAction::Continue)
}
