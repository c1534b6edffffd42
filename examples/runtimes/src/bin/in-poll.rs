//! Without a runtime, and beside anything that waits with `poll(2)`: a [`Poller`] is one descriptor for all that it waits for.
//!
//! The arguments are those of [`runtimes`].

use std::io;
use std::time::{Duration, Instant};

use multicast::{Events, Interest, Poller, Progress, Token};
use runtimes::{Node, at_most, stop};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

const PACKETS: Token = Token(0);
const ANSWERS: Token = Token(1);
const LINKS: Token = Token(2);
const ROOM: Token = Token(3);

fn main() -> io::Result<()> {
    let (mut node, stop) = (Node::open("poll")?, stop()?);
    let (poller, mut events) = (Poller::new()?, Events::<4>::new());
    poller.register(&node.listener, PACKETS, Interest::READABLE)?;
    poller.register(&node.replies, ANSWERS, Interest::READABLE)?;
    poller.register(&node.links, LINKS, Interest::READABLE)?;
    // One-shot, and armed again only after `Blocked`: an idle socket is always writable.
    let room = Interest::WRITABLE.oneshot();
    poller.register(&node.caster, ROOM, room)?;

    let mut tick = Instant::now();
    loop {
        let progress = node.send()?;
        if progress == Progress::Blocked {
            poller.reregister(&node.caster, ROOM, room)?;
        }
        // Level-triggered, so that after `Turn::More` this returns at once.
        let mut ready = [PollFd::new(&poller, PollFlags::IN), PollFd::new(&stop, PollFlags::IN)];
        let time = Timespec::try_from(at_most(progress, tick)).ok();
        match poll(&mut ready, time.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        let [_, ended] = ready.map(|ready| !ready.revents().is_empty());
        if ended {
            break;
        }
        for event in poller.poll(&mut events, Duration::ZERO)? {
            let _more = match event.token() {
                PACKETS => node.receive()?,
                ANSWERS => node.collect()?,
                LINKS => node.follow()?,
                // `ROOM`: the next round sends.
                _ => continue,
            };
        }
        if tick <= Instant::now() {
            node.tick()?;
            tick += node.period();
        }
    }
    node.end();
    Ok(())
}
